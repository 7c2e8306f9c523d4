//! Where limits and proofs are remembered between requests.
//!
//! A store only keeps values; what they mean is decided in [`crate::failover`]. A store that fails
//! or is slow must never fail or delay a request: the callers bound every call and go on without.

pub mod embedded;
pub mod memory;

use std::future::Future;

use jiff::SignedDuration;

use self::embedded::EmbeddedStore;
use self::memory::MemoryStore;
use crate::failover::cooldown::{
    Cooldown, Fingerprint, KeyOwner, Known, LimitKey, ModelClass, Proof, Timestamp,
};

/// How long a proof is kept, counted from the moment it was given.
pub const PROOF_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// How many limits, and how many proofs, a local store keeps unless it is told otherwise.
pub const CAPACITY: usize = 10_000;

/// Remembers limits and proofs, per credential.
///
/// `now` is an argument everywhere: what has expired at `now` is never returned, whether or not it
/// has been deleted.
pub trait RateLimitStore: Send + Sync {
    /// Returns what is in force, in one round trip.
    fn look_up(
        &self,
        query: &Query<'_>,
        now: Timestamp,
    ) -> impl Future<Output = Result<Known, StoreError>> + Send;

    /// Records `cooldown`, keeping whichever of the two ends later.
    fn remember_limit(
        &self,
        key: &LimitKey,
        cooldown: &Cooldown,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes the limit that was recorded at `recorded_at`; a newer one stays.
    fn forget_limit(
        &self,
        key: &LimitKey,
        recorded_at: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Records `proof`, keeping whichever of the two is newer. It expires after 24 hours.
    fn remember_proof(
        &self,
        fingerprint: &Fingerprint,
        proof: &Proof,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Deletes the proof: Anthropic has refused the credential.
    fn forget_proof(
        &self,
        fingerprint: &Fingerprint,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// What a request wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// The limits and the proof of a credential, for one model class.
    pub subject: Option<(&'a Fingerprint, &'a ModelClass)>,
    /// The owner of a proxy key, by the digest of the whole key. Only a table that is shared has
    /// keys: other stores know none.
    pub key: Option<&'a Fingerprint>,
}

impl Query<'_> {
    /// What a store without keys says about the one that is asked for.
    fn keyless(&self) -> KeyOwner {
        self.key.map_or(KeyOwner::Unread, |_| KeyOwner::Nobody)
    }
}

/// Why a store could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("no answer in time")]
    TimedOut,
    #[error("cannot {action}")]
    Failed {
        action: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The store that was configured.
#[derive(Debug)]
pub enum Store {
    Memory(MemoryStore),
    Embedded(EmbeddedStore),
}

impl RateLimitStore for Store {
    async fn look_up(&self, query: &Query<'_>, now: Timestamp) -> Result<Known, StoreError> {
        match self {
            Self::Memory(store) => store.look_up(query, now).await,
            Self::Embedded(store) => store.look_up(query, now).await,
        }
    }

    async fn remember_limit(&self, key: &LimitKey, cooldown: &Cooldown) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.remember_limit(key, cooldown).await,
            Self::Embedded(store) => store.remember_limit(key, cooldown).await,
        }
    }

    async fn forget_limit(&self, key: &LimitKey, recorded_at: Timestamp) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.forget_limit(key, recorded_at).await,
            Self::Embedded(store) => store.forget_limit(key, recorded_at).await,
        }
    }

    async fn remember_proof(
        &self,
        fingerprint: &Fingerprint,
        proof: &Proof,
    ) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.remember_proof(fingerprint, proof).await,
            Self::Embedded(store) => store.remember_proof(fingerprint, proof).await,
        }
    }

    async fn forget_proof(&self, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.forget_proof(fingerprint).await,
            Self::Embedded(store) => store.forget_proof(fingerprint).await,
        }
    }
}

/// When a proof is no proof any more.
fn proof_ends(proof: &Proof) -> Timestamp {
    proof.proven_at.checked_add(PROOF_LIFETIME).unwrap_or(Timestamp::MAX)
}

/// Whether the limit that is stored stays, because `new` would not extend it.
fn outlasts(stored: &Cooldown, new: &Cooldown) -> bool {
    stored.is_in_force(new.recorded_at) && stored.until >= new.until
}
