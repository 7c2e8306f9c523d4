//! Who asks, and for what.
//!
//! Reads the caller's label, credential and target off the head of a request, and says which
//! headers travel on. A label (a [`User`]) is for tracking and reports: it must never decide what
//! anybody may do. A credential leaves this module only as a [`Fingerprint`], and nothing here
//! normalises a path: what is not plainly well-formed is [`InvalidTarget`].

mod headers;
mod target;

use std::fmt;
use std::str::FromStr;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, Uri};

use crate::failover::identity::Fingerprint;
use crate::wire::names;

pub use headers::{client_headers, seal, upstream_headers};
pub use target::{Endpoint, InvalidTarget, Source, Target};

/// The header in which a client may name its user.
pub(crate) const USER_HEADER: &str = "x-claude-code-user";

/// The header that carries a proxy key.
pub const KEY_HEADER: &str = "x-claude-proxy-key";

static USER_NAME: HeaderName = HeaderName::from_static(USER_HEADER);
static KEY_NAME: HeaderName = HeaderName::from_static(KEY_HEADER);

/// The name that a person goes by in logs and reports; never a credential.
///
/// 1 to 64 of `A-Za-z0-9._@+-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct User(String);

impl User {
    /// The longest name, in bytes.
    pub const LONGEST: usize = 64;

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no user name. The text itself is not repeated: it may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a user name is 1 to {} of A-Z a-z 0-9 . _ @ + -", User::LONGEST)]
pub struct InvalidUser;

impl TryFrom<String> for User {
    type Error = InvalidUser;

    fn try_from(name: String) -> Result<Self, InvalidUser> {
        let fits = (1..=Self::LONGEST).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@+-".contains(&b));
        if fits { Ok(Self(name)) } else { Err(InvalidUser) }
    }
}

impl FromStr for User {
    type Err = InvalidUser;

    fn from_str(name: &str) -> Result<Self, InvalidUser> {
        name.to_owned().try_into()
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Digests the credentials in `x-api-key` and `Authorization`; `None` where there is none.
///
/// The scheme `Bearer` (in any case) and the header play no part. Where several different
/// credentials came, also in repeated headers, all of them count: which one Anthropic would
/// judge is not ours to guess. Taken of [`upstream_headers`], it covers just what Anthropic sees.
#[must_use]
pub fn fingerprint(headers: &HeaderMap) -> Option<Fingerprint> {
    let keys = headers.get_all(&names::API_KEY).iter().map(|value| value.as_bytes().trim_ascii());
    let tokens =
        headers.get_all(AUTHORIZATION).iter().map(|value| without_bearer(value.as_bytes()));
    let credentials: Vec<&[u8]> = keys.chain(tokens).filter(|found| !found.is_empty()).collect();
    Fingerprint::of(&credentials)
}

/// The value of an `Authorization` header without the scheme `Bearer`; other schemes stay.
fn without_bearer(value: &[u8]) -> &[u8] {
    let value = value.trim_ascii();
    let scheme = value.iter().position(u8::is_ascii_whitespace).unwrap_or(value.len());
    let (scheme, token) = value.split_at(scheme);
    if scheme.eq_ignore_ascii_case(b"bearer") { token.trim_ascii() } else { value }
}

/// What tells one caller from another before anything of it is checked, as it was written: the
/// proxy key where there is one, else the credentials.
#[must_use]
pub fn told_apart_by<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> [&'a [u8]; 2] {
    let text = |name: &HeaderName| headers.get(name).map_or(&b""[..], |value| value.as_bytes());
    let in_path = || uri.path().strip_prefix("/k/")?.split('/').next().map(str::as_bytes);
    match text(&KEY_NAME) {
        b"" => in_path().map_or([text(&names::API_KEY), text(&AUTHORIZATION)], |key| [key, b""]),
        key => [key, b""],
    }
}
