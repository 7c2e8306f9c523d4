//! The store as a request sees it: quick, or not there.
//!
//! Every call is bounded; a store that fails or is slow costs one warning a minute and nothing
//! else. What a shared store has said is remembered for a while, so that it is asked less and
//! missed less.

mod bridged;
mod cache;
mod sessions;
mod tombstones;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::bridged::Bridged;
use self::cache::{Cache, Freshness};
use self::sessions::SessionCache;
use self::tombstones::Tombstones;
use crate::clock;
use crate::drill::Drill;
use crate::failover::cooldown::{Cooldown, Timestamp, age};
use crate::failover::identity::{Fingerprint, LimitKey};
use crate::failover::known::{KeyOwner, Known, Proof};
use crate::money::budget::{Change, Changed, Month};
use crate::session::Session;
use crate::store::budgets::{Account, Budgets};
use crate::store::sessions::Sessions as _;
use crate::store::{LONGER, Query, RateLimitStore, Store, StoreError};
use crate::translate::mend::Lesson;

/// Between two warnings.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// What may be waiting to be seen to its end.
const MOST_LATE: usize = 1024;
/// A reservation that nobody waits for leaves a settlement, and that leaves nothing.
const MOST_ROUNDS: usize = 2;
/// A look-up that came too late is seen to its end this often at most.
const LATE_EVERY: Duration = Duration::from_secs(10);

/// A call that is on its way. It is awaited beside the answer, never after it.
pub(super) type Write = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(super) struct CachedStore {
    store: Store,
    /// What a request is willing to wait for the store.
    patience: Duration,
    /// `None` where nobody else writes to the store: it is as quick as any memory of ours.
    cache: Option<Cache>,
    tombstones: Tombstones,
    sessions: SessionCache,
    late: Mutex<Late>,
    bridged: Bridged,
    failing: AtomicBool,
    warned_at: Mutex<Option<Timestamp>>,
}

/// Calls that nobody waits for.
#[derive(Default)]
struct Late {
    calls: Vec<Write>,
    /// When the last look-up that came too late became one of them.
    kept_at: Option<Timestamp>,
}

impl std::fmt::Debug for CachedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CachedStore").field("store", &self.store).finish_non_exhaustive()
    }
}

impl CachedStore {
    pub(super) fn new(store: Store, patience: Duration) -> Self {
        let cache = store.is_shared().then(Cache::default);
        let (tombstones, late, warned_at) =
            (Tombstones::default(), Mutex::default(), Mutex::default());
        let (sessions, failing) = (SessionCache::new(store.is_shared()), AtomicBool::new(false));
        let bridged = Bridged::default();
        Self { store, patience, cache, tombstones, sessions, late, bridged, failing, warned_at }
    }

    /// Whether other instances read and write the store too.
    pub(super) const fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// Whether the last look-up failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// Makes the first request as quick as the next ones. Takes no longer than `within`; what is
    /// unfinished then is awaited beside the first answer.
    pub(super) async fn reach_store(self: &Arc<Self>, within: Duration) {
        let this = Arc::clone(self);
        let mut reaching: Write = Box::pin(async move {
            if let Err(error) = this.store.warm_up().await {
                this.warn(&error);
            }
        });
        if tokio::time::timeout(within, &mut reaching).await.is_err() {
            self.leave(reaching);
        }
    }

    /// What is in force for this credential, and whose the key is; nothing, where neither the
    /// store nor this instance can say. Waits four times as long for an unseen key: nobody
    /// can go on without it.
    pub(super) async fn look_up(self: &Arc<Self>, query: &Query<'_>, now: Timestamp) -> Known {
        let session = query.session.filter(|digest| !self.sessions.knows(digest, now));
        let query = &Query { session, ..*query };
        let Some(cache) = &self.cache else {
            // Of our own, it answers at once.
            let answer = self.store.look_up(query, now).await;
            let known = self.told(query, answer).unwrap_or_else(Known::unread);
            self.sessions.saw(query, &known, now);
            return self.tombstones.sift(query, known);
        };
        let cached = |freshness| self.tombstones.sift(query, cache.known(query, freshness, now));
        let fresh = cached(Freshness::Fresh);
        let unseen = Query {
            subject: query.subject.filter(|_| fresh.cooldown().is_none()),
            key: query.key.filter(|_| fresh.key == KeyOwner::Unread),
            session,
        };
        // Who answers a session is read along with something else, or not at all.
        if unseen.subject.is_none() && unseen.key.is_none() {
            return fresh;
        }
        let stale = cached(Freshness::StaleIfError);
        let waits = unseen.key.is_some() && stale.key == KeyOwner::Unread;
        let patience = if waits { self.patience * LONGER } else { self.patience };
        let Some(read) = self.read(&unseen, patience, now).await else {
            return Known::unread().or(stale);
        };
        if unseen.subject.is_none() {
            let key = Known { key: read.key, ..Known::default() }.or(stale).key;
            return Known { key, ..fresh };
        }
        self.tombstones.sift(query, read).or(stale)
    }

    /// Asks the store. An answer that comes too late for this request is waited for by
    /// [`Self::take_late`]: without that, a connection that takes long to make would never be made.
    async fn read(
        self: &Arc<Self>,
        query: &Query<'_>,
        patience: Duration,
        now: Timestamp,
    ) -> Option<Known> {
        let this = Arc::clone(self);
        let subject = query.subject.map(|(whose, class)| (*whose, class.clone()));
        let (key, session) = (query.key.copied(), query.session.copied());
        let sequence = self.cache.as_ref().map(Cache::begin);
        let mut reading = Box::pin(async move {
            let subject = subject.as_ref().map(|(whose, class)| (whose, class));
            let query = Query { subject, key: key.as_ref(), session: session.as_ref() };
            let known = this.store.look_up(&query, now).await?;
            this.sessions.saw(&query, &known, now);
            if let (Some(cache), Some(sequence)) = (&this.cache, sequence) {
                cache.saw(&query, &known, (sequence, now));
            }
            Ok(known)
        });
        let answer = tokio::time::timeout(patience, &mut reading).await;
        if answer.is_err() {
            let mut late = self.late();
            if elapsed(late.kept_at, LATE_EVERY, now) {
                late.kept_at = Some(now);
                drop(late);
                self.leave(Box::pin(async move { drop(reading.await) }));
            }
        }
        self.told(query, answer.unwrap_or(Err(StoreError::TimedOut)))
    }

    /// Takes note of how well the store has answered.
    fn told(&self, query: &Query<'_>, answer: Result<Known, StoreError>) -> Option<Known> {
        self.failing.store(answer.is_err(), Ordering::Relaxed);
        let known = answer.inspect_err(|error| self.warn(error)).ok()?;
        let keyless = query.key.is_some() && known.key == KeyOwner::Unread;
        if keyless || known.unread.any() {
            self.warn(&StoreError::Partial);
        }
        Some(known)
    }

    /// Changes the month of a budget, if its condition holds.
    pub(super) async fn change(
        &self,
        account: &Account<'_>,
        change: &Change,
    ) -> Result<Changed, StoreError> {
        self.store.change(account, change).await.inspect_err(|error| self.warn(error))
    }

    /// What is known of a subject's month; nothing, where that takes too long.
    pub(super) async fn month(&self, subject: &str, month: &str) -> Option<Month> {
        self.within(self.patience, Box::pin(self.store.month(subject, month))).await
    }

    /// The same, for whoever looks to the time and says what is wrong.
    pub(super) async fn month_of(&self, subject: &str, month: &str) -> Result<Month, StoreError> {
        self.store.month(subject, month).await.inspect_err(|error| self.warn(error))
    }

    /// What is kept of a session.
    pub(super) async fn session(
        &self,
        digest: &Fingerprint,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        self.store.session(digest, now).await.inspect_err(|error| self.warn(error))
    }

    /// Whether nobody has told of the change of this moment yet.
    pub(super) async fn tell(&self, digest: &Fingerprint, since: Timestamp) -> bool {
        let first = self.store.tell(digest, since).await.inspect_err(|error| self.warn(error));
        self.sessions.told(digest, since);
        first.unwrap_or(false)
    }

    /// The sessions that are kept, or that this instance knows of a store which others share.
    pub(super) fn sessions(&self, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        if self.is_shared() { Ok(self.sessions.all(now)) } else { self.store.sessions(now) }
    }

    /// The limits in force, where no other machine keeps any.
    pub(super) fn limits(&self, now: Timestamp) -> Result<Vec<(LimitKey, Cooldown)>, StoreError> {
        self.store.limits(now)
    }

    /// What is known of a session without asking anybody.
    pub(super) fn known_session(&self, digest: &Fingerprint) -> Option<Session> {
        self.sessions.known(digest)
    }

    /// Keeps what `after` makes of a session, if that is anything else than before.
    pub(super) fn change_session(
        self: &Arc<Self>,
        digest: Fingerprint,
        now: Timestamp,
        after: impl FnOnce(Option<&Session>) -> Option<Session>,
    ) -> Option<Write> {
        let session = self.sessions.change(digest, now, after)?;
        let this = Arc::clone(self);
        Some(Box::pin(async move {
            this.bounded(this.store.change_session(&digest, &session)).await;
        }))
    }

    /// All subjects and what is known of their month, where this machine keeps them.
    pub(super) fn months(&self, month: &str) -> Result<Vec<(String, Month)>, StoreError> {
        self.store.months(month)
    }

    /// How many seconds of this limit of a subject's nobody has counted yet as bridged.
    pub(super) fn bridged(&self, subject: &str, limit: (i64, i64)) -> u64 {
        self.bridged.seconds(subject, limit)
    }

    /// Leaves a call to be awaited beside an answer: of this request, or of the next one.
    pub(super) fn leave(&self, call: Write) {
        let calls = &mut self.late().calls;
        if calls.len() < MOST_LATE {
            calls.push(call);
        }
    }

    /// What is to be awaited beside an answer.
    pub(super) fn take_late(&self) -> Vec<Write> {
        std::mem::take(&mut self.late().calls)
    }

    /// Sees to its end what was left, and what that leaves.
    pub(super) async fn settle(&self) {
        for _ in 0..MOST_ROUNDS {
            futures_util::future::join_all(self.take_late()).await;
        }
    }

    fn late(&self) -> MutexGuard<'_, Late> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What other instances have found out about a model, and until when it holds.
    pub(super) async fn lesson(&self, model: &str, now: Timestamp) -> Option<(Lesson, Timestamp)> {
        let reading = Box::pin(self.store.lesson(model, now));
        self.within(self.patience, reading).await?
    }

    /// Takes a drill away that may take place; nobody else gets it after that.
    pub(super) async fn take_drill(&self, digest: &Fingerprint, now: Timestamp) -> Option<Drill> {
        let taking = self.store.take_drill(digest, now);
        let taken = tokio::time::timeout(self.patience * LONGER, taking).await;
        let taken = taken.unwrap_or(Err(StoreError::TimedOut));
        taken.inspect_err(|error| self.warn(error)).ok()?
    }

    pub(super) fn remember_lesson(self: &Arc<Self>, model: String, lesson: Lesson) -> Write {
        let this = Arc::clone(self);
        Box::pin(async move {
            this.bounded(this.store.remember_lesson(&model, &lesson, clock::now())).await;
        })
    }

    pub(super) fn remember_limit(self: &Arc<Self>, key: LimitKey, cooldown: Cooldown) -> Write {
        self.tombstones.met(&key, cooldown.recorded_at);
        if let Some(cache) = &self.cache {
            cache.remember_limit(&key, &cooldown, clock::now());
        }
        let this = Arc::clone(self);
        Box::pin(async move {
            this.bounded(this.store.remember_limit(&key, &cooldown)).await;
        })
    }

    pub(super) fn forget_limit(self: &Arc<Self>, key: LimitKey, recorded_at: Timestamp) -> Write {
        self.tombstones.limit(&key, recorded_at);
        if let Some(cache) = &self.cache {
            cache.forget_limit(&key, recorded_at);
        }
        let this = Arc::clone(self);
        Box::pin(async move {
            this.bounded(this.store.forget_limit(&key, recorded_at)).await;
        })
    }

    pub(super) fn remember_proof(self: &Arc<Self>, whose: Fingerprint, proof: Proof) -> Write {
        self.tombstones.accepted(&whose, proof.proven_at);
        if let Some(cache) = &self.cache {
            cache.remember_proof(whose, &proof, clock::now());
        }
        let this = Arc::clone(self);
        Box::pin(async move {
            this.bounded(this.store.remember_proof(&whose, &proof)).await;
        })
    }

    /// Takes note that Anthropic has refused the credential at `now`.
    pub(super) fn refused(&self, whose: Fingerprint, now: Timestamp) {
        self.tombstones.credential(whose, now);
    }

    pub(super) fn forget_proof(self: &Arc<Self>, whose: Fingerprint) -> Write {
        if let Some(cache) = &self.cache {
            cache.forget_proof(&whose);
        }
        let this = Arc::clone(self);
        Box::pin(async move {
            this.bounded(this.store.forget_proof(&whose)).await;
        })
    }

    async fn bounded<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Option<T> {
        // A write goes on beside the answer, and may have to make a connection first.
        let longer = if self.is_failing() { 1 } else { LONGER };
        self.within(self.patience * longer, call).await
    }

    async fn within<T>(
        &self,
        patience: Duration,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Option<T> {
        let answer = tokio::time::timeout(patience, call).await;
        match answer.unwrap_or(Err(StoreError::TimedOut)) {
            Ok(value) => Some(value),
            Err(error) => {
                self.warn(&error);
                None
            }
        }
    }

    fn warn(&self, error: &StoreError) {
        let now = clock::now();
        {
            let mut warned_at = self.warned_at.lock().unwrap_or_else(PoisonError::into_inner);
            if !elapsed(*warned_at, WARN_EVERY, now) {
                return;
            }
            *warned_at = Some(now);
        }
        let cause = std::error::Error::source(error).map(ToString::to_string);
        tracing::warn!(%error, cause, "the store does not answer; going on without it");
    }
}

/// Whether so much time has passed since a moment, if there was one; also where a clock was set
/// back meanwhile, so that nothing waits until it has caught up.
pub(super) fn elapsed(since: Option<Timestamp>, time: Duration, now: Timestamp) -> bool {
    since.and_then(|since| age(since, now)).is_none_or(|age| age >= time)
}
