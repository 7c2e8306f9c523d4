//! Who answers which session, as this instance knows it.
//!
//! As long as the same side answers, nobody has to be asked or told. What other instances may have
//! written since is read again along with the limits, after ten seconds.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::failover::cooldown::{Timestamp, age};
use crate::failover::identity::Fingerprint;
use crate::failover::known::Known;
use crate::session::Session;
use crate::store::Query;

/// More sessions than this are not remembered.
const MOST: usize = 10_000;
/// For so long nothing is read of a session that others may change.
const FRESH_FOR: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct SessionCache {
    seen: Mutex<BTreeMap<Fingerprint, Seen>>,
    /// Other instances change them too.
    are_shared: bool,
}

#[derive(Debug)]
struct Seen {
    session: Option<Session>,
    /// When it was read or written.
    at: Timestamp,
}

impl SessionCache {
    pub(super) fn new(are_shared: bool) -> Self {
        Self { seen: Mutex::default(), are_shared }
    }

    /// Whether nothing has to be read about a session.
    pub(super) fn knows(&self, digest: &Fingerprint, now: Timestamp) -> bool {
        let seen = self.seen();
        let is_fresh = |at| age(at, now).is_some_and(|age| age < FRESH_FOR);
        seen.get(digest).is_some_and(|known| !self.are_shared || is_fresh(known.at))
    }

    /// Takes in what a read has brought that began at `now`, unless there is something newer.
    pub(super) fn saw(&self, query: &Query<'_>, known: &Known, now: Timestamp) {
        let Some(digest) = query.session.filter(|_| !known.unread.session) else { return };
        let mut seen = self.seen();
        // What is of the future was seen before a clock was set back.
        let is_newer = |known: &Seen| known.at > now && age(known.at, now).is_some();
        if !seen.get(digest).is_some_and(is_newer) {
            let session = known.session.as_deref().cloned();
            put(&mut seen, *digest, Seen { session, at: now });
        }
    }

    /// All that are known.
    pub(super) fn all(&self, now: Timestamp) -> Vec<Session> {
        let seen = self.seen();
        let known = seen.values().filter_map(|seen| seen.session.as_ref());
        known.filter(|session| session.ends() > now).cloned().collect()
    }

    /// What is known of a session without asking anybody.
    pub(super) fn known(&self, digest: &Fingerprint) -> Option<Session> {
        self.seen().get(digest)?.session.clone()
    }

    /// Its client has been told of the change of this moment.
    pub(super) fn told(&self, digest: &Fingerprint, since: Timestamp) {
        let mut seen = self.seen();
        let session = seen.get_mut(digest).and_then(|seen| seen.session.as_mut());
        if let Some(session) = session.filter(|session| session.since == since) {
            session.told = Some(since);
        }
    }

    /// Takes in what `after` makes of a session, and returns it if that is anything else.
    pub(super) fn change(
        &self,
        digest: Fingerprint,
        now: Timestamp,
        after: impl FnOnce(Option<&Session>) -> Option<Session>,
    ) -> Option<Session> {
        let mut seen = self.seen();
        let known = seen.get(&digest).and_then(|seen| seen.session.as_ref());
        let session = after(known.filter(|session| session.ends() > now))?;
        put(&mut seen, digest, Seen { session: Some(session.clone()), at: now });
        Some(session)
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<Fingerprint, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts a session in. Where there are too many all are forgotten: the store still knows.
fn put(seen: &mut BTreeMap<Fingerprint, Seen>, digest: Fingerprint, new: Seen) {
    if seen.len() >= MOST && !seen.contains_key(&digest) {
        seen.clear();
    }
    seen.insert(digest, new);
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::failover::Upstream;
    use crate::session::{Answered, Whose};

    #[test]
    fn what_was_seen_before_a_clock_was_set_back_is_replaced_at_once() {
        let (cache, digest) = (SessionCache::new(true), fingerprint());
        let query = Query { session: Some(&digest), ..Query::default() };
        let saw = |side, second| {
            let known = Known { session: session(side, second), ..Known::default() };
            cache.saw(&query, &known, at(second));
        };
        let side = || cache.known(&digest).map(|session| session.side);
        saw(Upstream::Bedrock, 3600);
        assert!(cache.knows(&digest, at(3609)) && !cache.knows(&digest, at(10)));
        saw(Upstream::Anthropic, 10);
        assert_eq!(side(), Some(Upstream::Anthropic));
        assert!(cache.knows(&digest, at(19)) && !cache.knows(&digest, at(20)));
        // A read that began earlier, if only by a moment, says nothing.
        saw(Upstream::Bedrock, 9);
        assert_eq!(side(), Some(Upstream::Anthropic));
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn fingerprint() -> Fingerprint {
        Fingerprint::of(&[b"session"]).expect("there is something")
    }

    fn session(side: Upstream, second: i64) -> Option<Box<Session>> {
        let (reason, class) = (Some("cooldown".to_owned()), "opus".to_owned());
        let answered = Answered { side, reason, class, limit: None, before: None };
        let subject = "alice".to_owned();
        let whose = || Whose { subject, user: None, fingerprint: fingerprint() };
        Session::after(None, answered, whose, at(second)).map(Box::new)
    }
}
