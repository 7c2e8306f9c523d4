//! The store as a request sees it: quick, or not there.
//!
//! Every call is bounded; a store that fails or is slow costs one warning a minute and nothing
//! else.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock;
use crate::failover::cooldown::{Cooldown, Fingerprint, Known, LimitKey, Proof, Timestamp};
use crate::limits::{Query, RateLimitStore, Store, StoreError};

/// What a request is willing to wait for the store.
const BUDGET: Duration = Duration::from_millis(250);
/// Seconds between two warnings.
const WARN_EVERY: i64 = 60;

/// A write that is on its way. It is awaited beside the answer, never after it.
pub(super) type Write = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug)]
pub(super) struct Memory {
    store: Store,
    warned_at: AtomicI64,
}

impl Memory {
    pub(super) const fn new(store: Store) -> Self {
        Self { store, warned_at: AtomicI64::new(i64::MIN) }
    }

    /// What is in force for this credential; nothing, where the store does not say.
    pub(super) async fn look_up(&self, query: &Query<'_>, now: Timestamp) -> Known {
        self.bounded(self.store.look_up(query, now)).await.unwrap_or_default()
    }

    pub(super) fn remember_limit(self: &Arc<Self>, key: LimitKey, cooldown: Cooldown) -> Write {
        let this = Arc::clone(self);
        Box::pin(async move {
            this.bounded(this.store.remember_limit(&key, &cooldown)).await;
        })
    }

    pub(super) fn forget_limit(self: &Arc<Self>, key: LimitKey, recorded_at: Timestamp) -> Write {
        let this = Arc::clone(self);
        Box::pin(async move {
            this.bounded(this.store.forget_limit(&key, recorded_at)).await;
        })
    }

    pub(super) fn remember_proof(self: &Arc<Self>, whose: Fingerprint, proof: Proof) -> Write {
        let this = Arc::clone(self);
        Box::pin(async move {
            this.bounded(this.store.remember_proof(&whose, &proof)).await;
        })
    }

    pub(super) fn forget_proof(self: &Arc<Self>, whose: Fingerprint) -> Write {
        let this = Arc::clone(self);
        Box::pin(async move {
            this.bounded(this.store.forget_proof(&whose)).await;
        })
    }

    async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Option<T> {
        let answer = tokio::time::timeout(BUDGET, call).await;
        match answer.unwrap_or(Err(StoreError::TimedOut)) {
            Ok(value) => Some(value),
            Err(error) => {
                self.warn(&error);
                None
            }
        }
    }

    fn warn(&self, error: &StoreError) {
        let now = clock::now().as_second();
        let last = self.warned_at.load(Ordering::Relaxed);
        if now.saturating_sub(last) < WARN_EVERY {
            return;
        }
        self.warned_at.store(now, Ordering::Relaxed);
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%error, cause, "the store does not answer; going on without it");
    }
}
