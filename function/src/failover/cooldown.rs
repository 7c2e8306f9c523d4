//! What is known about a credential: the limits it has met, and the proof that Anthropic takes it.
//!
//! Values only. Nothing here reads a clock, a header or a store, and no type can hold a credential:
//! a [`Fingerprint`] is all that the rest of the program ever sees of one.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use jiff::Timestamp;

/// Right clocks of two machines, or one clock that is set a little, are apart by so much at most.
pub const SKEW: Duration = Duration::from_secs(1);

/// How long ago a moment was; `None` where it lies ahead by more than [`SKEW`].
///
/// A clock was wrong then, or is wrong now: what was written at such a moment is of no known age.
#[must_use]
pub fn age(moment: Timestamp, now: Timestamp) -> Option<Duration> {
    let age = now.duration_since(moment);
    let ahead = age.is_negative() && age.unsigned_abs() > SKEW;
    (!ahead).then(|| age.try_into().unwrap_or_default())
}

/// No remembered limit lasts longer than this, whatever a header says.
pub const LONGEST_COOLDOWN: Duration = Duration::from_secs(6 * 60 * 60);

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
pub enum Scope {
    /// Everything: the five-hour and the weekly window of a subscription.
    Account,
    /// The models of one class.
    Class(ModelClass),
}

impl Scope {
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
    pub scope: Scope,
}

/// A limit known to be exhausted until a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooldown {
    /// When the limit ends.
    pub until: Timestamp,
    /// When Anthropic said so; that answer is also proof of the credential.
    pub recorded_at: Timestamp,
    /// What the end was read from: `retry-after`, or the name of a window such as `5h`.
    pub reason: String,
    /// The hint in seconds from `recorded_at`, before the cap.
    pub retry_after_seconds: u64,
    /// The model that was asked for, as the client named it.
    pub model: String,
    /// The label of the person who met the limit, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl Cooldown {
    /// Whether the limit still holds at `now`.
    ///
    /// A limit that is over is no limit; nor is one that would last longer than any does, or was
    /// met in the future: it was written while a clock was wrong.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        let left = self.until.duration_since(now);
        let is_right = left.unsigned_abs() <= LONGEST_COOLDOWN + Duration::from_secs(1);
        left.is_positive() && is_right && age(self.recorded_at, now).is_some()
    }
}

/// Evidence that Anthropic itself accepted a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub proven_at: Timestamp,
    /// `anthropic-organization-id` of the answer, where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
}

/// What is known about one credential and one model class, and whose proxy key came along.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub class: Option<Cooldown>,
    pub account: Option<Cooldown>,
    pub proof: Option<Proof>,
    pub key: KeyOwner,
    /// What of this the store could not say; then its absence means nothing.
    pub unread: Unread,
}

/// What a store was asked for and could not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    pub class: bool,
    pub account: bool,
    pub proof: bool,
}

impl Unread {
    /// Nothing could be read.
    pub const ALL: Self = Self { class: true, account: true, proof: true };

    /// Whether anything is missing.
    #[must_use]
    pub const fn any(self) -> bool {
        self.class || self.account || self.proof
    }
}

/// Whose a proxy key is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeyOwner {
    /// It was not asked for, or the store could not say.
    #[default]
    Unread,
    /// There is no such key.
    Nobody,
    User(String),
}

impl Known {
    /// The limit that ends last, of those that a request of this class runs into.
    #[must_use]
    pub fn cooldown(&self) -> Option<&Cooldown> {
        [&self.class, &self.account].into_iter().flatten().max_by_key(|cooldown| cooldown.until)
    }

    /// Takes what could not be read from `seen`, which somebody has seen earlier.
    #[must_use]
    pub fn or(self, seen: Self) -> Self {
        let Unread { class, account, proof } = self.unread;
        Self {
            class: if class { seen.class } else { self.class },
            account: if account { seen.account } else { self.account },
            proof: if proof { seen.proof } else { self.proof },
            key: if self.key == KeyOwner::Unread { seen.key } else { self.key },
            unread: self.unread,
        }
    }
}
