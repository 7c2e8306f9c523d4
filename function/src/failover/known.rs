//! What is known about a credential: the limits it has met, and the proof that Anthropic takes it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cooldown::{Cooldown, Timestamp};
use crate::money::budget::Exception;
use crate::session::Session;

/// Evidence that Anthropic itself accepted a credential.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    pub proven_at: Timestamp,
    /// `anthropic-organization-id` of the answer, where it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
}

/// What is known about one credential and one model class, whose proxy key came along, and who
/// answers its session.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    pub class: Option<Cooldown>,
    pub account: Option<Cooldown>,
    pub proof: Option<Proof>,
    pub key: KeyOwner,
    pub session: Option<Box<Session>>,
    /// What of this the store could not say; then its absence means nothing.
    pub unread: Unread,
}

/// What a store was asked for and could not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    pub class: bool,
    pub account: bool,
    pub proof: bool,
    pub session: bool,
}

impl Unread {
    /// Nothing could be read.
    pub const ALL: Self = Self { class: true, account: true, proof: true, session: true };

    /// Whether anything is missing.
    #[must_use]
    pub const fn any(self) -> bool {
        self.class || self.account || self.proof || self.session
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
    User(Owner),
}

/// Somebody whom a proxy key belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    pub name: String,
    /// What they may spend, where that is not what everybody may.
    pub exception: Option<Arc<Exception>>,
}

impl Owner {
    /// Somebody who may spend what everybody may.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), exception: None }
    }
}

impl Known {
    /// What is known where a store says nothing at all.
    #[must_use]
    pub fn unread() -> Self {
        Self { unread: Unread::ALL, ..Self::default() }
    }

    /// The limit that ends last, of those that a request of this class runs into.
    #[must_use]
    pub fn cooldown(&self) -> Option<&Cooldown> {
        [&self.class, &self.account].into_iter().flatten().max_by_key(|cooldown| cooldown.until)
    }

    /// Takes what could not be read from `seen`, which somebody has seen earlier.
    #[must_use]
    pub fn or(self, seen: Self) -> Self {
        let Unread { class, account, proof, session } = self.unread;
        Self {
            class: if class { seen.class } else { self.class },
            account: if account { seen.account } else { self.account },
            proof: if proof { seen.proof } else { self.proof },
            key: if self.key == KeyOwner::Unread { seen.key } else { self.key },
            session: if session { seen.session } else { self.session },
            unread: self.unread,
        }
    }
}
