//! Where limits, proofs and lessons are remembered between requests.
//!
//! A store only keeps values; what they mean is decided in [`crate::failover`]. A store that fails
//! or is slow must never fail or delay a request: the callers bound every call and go on without.

pub mod budgets;
#[cfg(feature = "proxy")]
mod chosen;
pub mod dynamo;
#[cfg(feature = "proxy")]
pub mod embedded;
#[cfg(feature = "proxy")]
pub mod memory;
#[cfg(feature = "proxy")]
pub mod sessions;

use std::future::{Future, ready};

use jiff::SignedDuration;

use crate::drill::Drill;
use crate::failover::cooldown::{Cooldown, Timestamp};
use crate::failover::identity::{Fingerprint, LimitKey, ModelClass};
use crate::failover::known::{KeyOwner, Known, Proof};
use crate::translate::mend::Lesson;

#[cfg(feature = "proxy")]
pub use self::chosen::Store;

/// How long a proof is kept, counted from the moment it was given.
pub const PROOF_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// How long a lesson about a model is kept: Bedrock learns too.
pub const LESSON_LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// What two right writers write is never so far apart. What is written there by one whose clock was
/// ahead by more would otherwise stay until all others have caught up.
const AHEAD: SignedDuration = SignedDuration::from_mins(2);

/// A write, and a read that nobody can go on without, is waited for so many times as long as
/// another read.
pub const LONGER: u32 = 4;

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

    /// Records `cooldown`, keeping whichever of the two ends later, unless a wrong clock wrote it.
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

    /// Records `proof`, keeping whichever of the two is newer, unless a wrong clock wrote it. It
    /// expires after 24 hours.
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

    /// Takes the drill of this nonce's digest away, if it may take place at `now`. Of two who ask
    /// at once, one gets it. Only a shared store has drills.
    fn take_drill(
        &self,
        _digest: &Fingerprint,
        _now: Timestamp,
    ) -> impl Future<Output = Result<Option<Drill>, StoreError>> + Send {
        ready(Ok(None))
    }

    /// Returns what other instances have found out about a model, and until when that holds.
    ///
    /// Only a store that is shared knows: every instance remembers its own lessons itself.
    fn lesson(
        &self,
        _model: &str,
        _now: Timestamp,
    ) -> impl Future<Output = Result<Option<(Lesson, Timestamp)>, StoreError>> + Send {
        ready(Ok(None))
    }

    /// Adds to what is known about a model, for 24 hours. A store that is not shared keeps none.
    fn remember_lesson(
        &self,
        _model: &str,
        _lesson: &Lesson,
        _now: Timestamp,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        ready(Ok(()))
    }
}

/// What a request wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// The limits and the proof of a credential, for one model class.
    pub subject: Option<(&'a Fingerprint, &'a ModelClass)>,
    /// The owner of a proxy key, by the digest of the whole key. Only a table that is shared has
    /// keys: other stores know none.
    pub key: Option<&'a Fingerprint>,
    /// A session, by the digest of its name.
    pub session: Option<&'a Fingerprint>,
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
    #[error("only a part of what was asked for was read")]
    Partial,
    #[error("cannot {action}")]
    Failed {
        action: &'static str,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// When a proof is no proof any more.
fn proof_ends(proof: &Proof) -> Timestamp {
    proof.proven_at.checked_add(PROOF_LIFETIME).unwrap_or(Timestamp::MAX)
}

/// Whether the limit that is stored stays, because `new` would not extend it.
fn outlasts(stored: &Cooldown, new: &Cooldown) -> bool {
    let seen_from = new.recorded_at.max(stored.recorded_at);
    !is_ahead(stored.recorded_at, new.recorded_at)
        && stored.is_in_force(seen_from)
        && stored.until >= new.until
}

/// Whether the proof that is stored stays, because `new` is no newer.
fn is_newer(stored: &Proof, new: &Proof) -> bool {
    !is_ahead(stored.proven_at, new.proven_at) && stored.proven_at >= new.proven_at
}

/// Whether a clock was wrong when the one was written, seen from the other.
fn is_ahead(stored: Timestamp, new: Timestamp) -> bool {
    stored.duration_since(new) > AHEAD
}
