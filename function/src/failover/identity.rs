//! Who is limited, and on what?
//!
//! No type can hold a credential: a [`Fingerprint`] is all that the rest of the program ever sees
//! of one.

use std::borrow::Cow;
use std::fmt;

use sha2::{Digest, Sha256};

/// SHA-256 of a credential: who is limited, without knowing who that is.
///
/// Credentials are long random strings, so the digest needs no secret, and every instance of the
/// proxy computes the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Digests the credentials that came with a request, at most one from each header.
    ///
    /// One and the same credential in both headers counts once. Two different ones are digested
    /// together, sorted, each behind its length, so that no two pairs can be confused.
    #[must_use]
    pub fn of(credentials: &[&[u8]]) -> Option<Self> {
        let (first, others) = credentials.split_first()?;
        if others.iter().all(|other| other == first) {
            return Some(Self(Sha256::digest(first).into()));
        }
        let mut parts = credentials.to_vec();
        parts.sort_unstable();
        parts.dedup();
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        Some(Self(digest.finalize().into()))
    }

    /// Reads a digest as it is written: 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Some(byte - b'0'),
            b'a'..=b'f' => Some(byte - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
        if pairs.len() != bytes.len() {
            return None;
        }
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(bytes))
    }

    /// The digest itself, for a comparison in constant time.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.map(|byte| [byte >> 4, byte & 15].map(|half| HEX[usize::from(half)]));
        f.write_str(str::from_utf8(digits.as_flattened()).unwrap_or_default())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// The models that share one limit at Anthropic: a family, or a single model of no known family.
///
/// At most 64 of `[a-z0-9.-]`; a name that does not fit has no class, and so no fallback.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelClass(Cow<'static, str>);

impl ModelClass {
    const FAMILIES: [&str; 5] = ["opus", "sonnet", "haiku", "fable", "mythos"];

    /// Finds the class of a model by the name that clients send.
    #[must_use]
    pub fn of(model: &str) -> Option<Self> {
        let mut name = Cow::Borrowed(model);
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            name.to_mut().make_ascii_lowercase();
        }
        if let Some(family) = Self::FAMILIES.iter().find(|family| name.contains(**family)) {
            return Some(Self(Cow::Borrowed(family)));
        }
        let fits = (1..=64).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
        fits.then(|| Self(Cow::Owned(name.into_owned())))
    }

    /// Whether a word names one of Anthropic's families.
    #[must_use]
    pub fn is_family(word: &str) -> bool {
        Self::FAMILIES.contains(&word)
    }

    /// The class as it is stored and logged.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How much of an account a limit stops.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitScope {
    /// Everything: the five-hour and the weekly window of a subscription.
    Account,
    /// The models of one class.
    Class(ModelClass),
}

impl LimitScope {
    /// The sort key under which the limit is stored: `*` for the whole account.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Account => "*",
            Self::Class(class) => class.as_str(),
        }
    }
}

/// Whose limit, and on what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitKey {
    pub fingerprint: Fingerprint,
    pub scope: LimitScope,
}
