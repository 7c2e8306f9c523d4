//! Who may use the proxy, and who may spend the operator's money?
//!
//! Proxy keys and the three modes, as values. Nothing here reads a store, and nothing keeps a key:
//! a request's key is digested at once, and only digests are compared. A label that a client gives
//! itself must never open anything.

use std::fmt;
use std::str::FromStr;

use subtle::{Choice, ConstantTimeEq};

use crate::caller::User;
use crate::failover::identity::Fingerprint;

/// How the proxy is guarded (`ACCESS_MODE`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessMode {
    /// Every request needs a proxy key: one of these, or one that the store knows.
    Key(ProxyKeys),
    /// Anyone may pass through to Anthropic; Bedrock serves credentials of these organizations.
    Organization(Vec<String>),
    /// Whoever reaches the proxy may use it.
    Open,
}

/// What a request's proxy key is worth before any store has been asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessDecision {
    /// It may go on, under the name of its key's owner where a key has let it in.
    Granted(Option<User>),
    /// Only the store knows whose key this is.
    Ask(Fingerprint),
    /// No key, or one that cannot be any.
    Denied,
}

impl AccessMode {
    /// Judges the key that a request has shown.
    #[must_use]
    pub fn decide(&self, shown: &Shown) -> AccessDecision {
        match (self, shown) {
            (Self::Organization(_) | Self::Open, _) => AccessDecision::Granted(None),
            (Self::Key(_), Shown::Nothing | Shown::Malformed) => AccessDecision::Denied,
            (Self::Key(keys), Shown::Key(digest)) => match keys.owner(digest) {
                Some(owner) => AccessDecision::Granted(Some(owner.clone())),
                None => AccessDecision::Ask(*digest),
            },
        }
    }

    /// The organizations whose credentials may use Bedrock; `None` where every one may that
    /// Anthropic accepts.
    #[must_use]
    pub fn organizations(&self) -> Option<&[String]> {
        match self {
            Self::Organization(listed) => Some(listed),
            Self::Key(_) | Self::Open => None,
        }
    }
}

/// A key to the proxy: `ccp_` and 256 bits as text.
///
/// A new one is written in 64 hexadecimal digits. Any text of 43 to 64 of `A-Za-z0-9_-` is taken
/// behind the prefix, which leaves room for 256 bits in base64url. It is never decoded: what counts
/// is the digest of the whole text.
#[derive(Clone)]
pub struct ProxyKey(String);

impl ProxyKey {
    const PREFIX: &str = "ccp_";

    /// Makes a key of random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(Self::PREFIX.to_owned() + &hex::encode(bytes))
    }

    /// The key itself, to be shown once to the person it is made for.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored and compared instead of the key: its SHA-256.
    #[must_use]
    pub fn digest(&self) -> Fingerprint {
        Fingerprint::of(&[self.0.as_bytes()]).expect("there is one text to digest")
    }
}

impl fmt::Debug for ProxyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ProxyKey")
    }
}

/// Why a text is no proxy key. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a proxy key is `ccp_` and 43 to 64 of A-Z a-z 0-9 _ -")]
pub struct InvalidKey;

impl FromStr for ProxyKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let rest = text.strip_prefix(Self::PREFIX).ok_or(InvalidKey)?;
        let fits = (43..=64).contains(&rest.len())
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidKey) }
    }
}

/// What a request has shown as its proxy key, in all places where one can stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shown {
    #[default]
    Nothing,
    /// A text that is no key, or two different keys.
    Malformed,
    /// The digest of the key.
    Key(Fingerprint),
}

impl Shown {
    /// Reads the texts that stand where a key belongs.
    #[must_use]
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let read = |text| std::str::from_utf8(text).ok()?.parse::<ProxyKey>().ok();
        let mut shown = Self::Nothing;
        for text in texts {
            shown = match (shown, read(text).map(|key| key.digest())) {
                (Self::Nothing, Some(digest)) => Self::Key(digest),
                (Self::Key(known), Some(digest)) if known == digest => shown,
                _ => return Self::Malformed,
            };
        }
        shown
    }
}

/// The keys that the operator has written down (`PROXY_KEYS`): whose they are, by their digests.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyKeys(Vec<(User, Fingerprint)>);

impl ProxyKeys {
    #[must_use]
    pub const fn new(keys: Vec<(User, Fingerprint)>) -> Self {
        Self(keys)
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whose key has this digest.
    ///
    /// All entries are compared, each in constant time: with a comparison that stops early, a
    /// stranger could measure how far a digest of theirs agrees with one of these.
    #[must_use]
    pub fn owner(&self, digest: &Fingerprint) -> Option<&User> {
        let mut found = None;
        for (owner, known) in &self.0 {
            let same: Choice = known.as_bytes().ct_eq(digest.as_bytes());
            if same.into() {
                found = Some(owner);
            }
        }
        found
    }
}

impl fmt::Debug for ProxyKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyKeys({})", self.0.len())
    }
}
