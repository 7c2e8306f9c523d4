//! What a warm instance has seen in the shared table, and may go by for a while.
//!
//! A limit in force, a proof, a good key. Never their absence: what is not here has to be read. Far
//! too little for a store, and it forgets what it likes.

mod sequenced;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub(super) use self::sequenced::Sequence;
use self::sequenced::SequencedMap;
use crate::failover::cooldown::{Cooldown, Timestamp, age};
use crate::failover::identity::{Fingerprint, LimitKey, LimitScope};
use crate::failover::known::{KeyOwner, Known, Owner, Proof};
use crate::store::Query;

/// A limit or a key that was seen this lately needs no reading.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// While the store fails, a key that was seen this lately is good.
const KEY_FOR: Duration = Duration::from_secs(60 * 60);
/// How far what was seen is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// For ten seconds, without asking the store.
    Fresh,
    /// For as long as it may hold, while the store cannot be asked.
    StaleIfError,
}

#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<Cached>);

#[derive(Debug, Default)]
struct Cached {
    limits: SequencedMap<LimitKey, Cooldown>,
    proofs: SequencedMap<Fingerprint, Proof>,
    owners: SequencedMap<Fingerprint, Owner>,
    /// How many reads and writes have begun.
    sequences: u64,
}

impl Cache {
    /// Begins a read.
    pub(super) fn begin(&self) -> Sequence {
        self.cached().begin()
    }

    /// What may be believed of that which is asked for.
    pub(super) fn known(&self, query: &Query<'_>, freshness: Freshness, now: Timestamp) -> Known {
        let cached = self.cached();
        let mut known = Known::default();
        if let Some((fingerprint, class)) = query.subject {
            let limit = |scope| {
                let (limit, at) =
                    cached.limits.get(&LimitKey { fingerprint: *fingerprint, scope })?;
                let fresh = age(at, now).is_some_and(|age| age < FRESH_FOR);
                let believed = freshness == Freshness::StaleIfError || fresh;
                (believed && limit.is_in_force(now)).then(|| limit.clone())
            };
            known.class = limit(LimitScope::Class(class.clone()));
            known.account = limit(LimitScope::Account);
            known.proof = cached.proofs.get(fingerprint).map(|(proof, _)| proof.clone());
        }
        let longest = if freshness == Freshness::StaleIfError { KEY_FOR } else { FRESH_FOR };
        let owner = query.key.and_then(|digest| cached.owners.get(digest));
        let is_believed = |at| age(at, now).is_some_and(|age| age < longest);
        if let Some((user, _)) = owner.filter(|(_, at)| is_believed(*at)) {
            known.key = KeyOwner::User(user.clone());
        }
        known
    }

    /// Takes in what a read has brought that began in this order, at `now`.
    pub(super) fn saw(
        &self,
        query: &Query<'_>,
        known: &Known,
        (sequence, now): (Sequence, Timestamp),
    ) {
        let mut cached = self.cached();
        if let Some((fingerprint, class)) = query.subject {
            let limits = [
                (LimitScope::Class(class.clone()), &known.class, known.unread.class),
                (LimitScope::Account, &known.account, known.unread.account),
            ];
            for (scope, limit, _) in limits.into_iter().filter(|(_, _, unread)| !unread) {
                let key = LimitKey { fingerprint: *fingerprint, scope };
                match limit {
                    Some(limit) => cached.limits.put(key, limit.clone(), (sequence, now)),
                    None => cached.limits.end(&key, sequence),
                }
            }
            match &known.proof {
                _ if known.unread.proof => {}
                Some(proof) => cached.proofs.put(*fingerprint, proof.clone(), (sequence, now)),
                None => cached.proofs.end(fingerprint, sequence),
            }
        }
        match (query.key, &known.key) {
            (Some(digest), KeyOwner::User(user)) => {
                cached.owners.put(*digest, user.clone(), (sequence, now));
            }
            (Some(digest), KeyOwner::Nobody) => {
                // Also of a key that was not here: an earlier read may be on its way with it.
                cached.owners.bury(*digest, sequence);
            }
            (Some(_), KeyOwner::Unread) | (None, _) => {}
        }
    }

    pub(super) fn remember_limit(&self, key: &LimitKey, limit: &Cooldown, now: Timestamp) {
        let mut cached = self.cached();
        let sequence = cached.begin();
        let longer =
            |(known, _): (&Cooldown, _)| known.is_in_force(now) && known.until > limit.until;
        if !cached.limits.get(key).is_some_and(longer) {
            cached.limits.put(key.clone(), limit.clone(), (sequence, now));
        }
    }

    pub(super) fn forget_limit(&self, key: &LimitKey, recorded_at: Timestamp) {
        let mut cached = self.cached();
        let sequence = cached.begin();
        if cached.limits.get(key).is_some_and(|(known, _)| known.recorded_at == recorded_at) {
            cached.limits.end(key, sequence);
        }
    }

    pub(super) fn remember_proof(&self, whose: Fingerprint, proof: &Proof, now: Timestamp) {
        let mut cached = self.cached();
        let sequence = cached.begin();
        cached.proofs.put(whose, proof.clone(), (sequence, now));
    }

    pub(super) fn forget_proof(&self, whose: &Fingerprint) {
        let mut cached = self.cached();
        let sequence = cached.begin();
        cached.proofs.end(whose, sequence);
    }

    fn cached(&self) -> MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cached {
    fn begin(&mut self) -> Sequence {
        self.sequences += 1;
        Sequence(self.sequences)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::failover::identity::ModelClass;

    #[test]
    fn a_good_key_is_believed_for_ten_seconds_and_for_an_hour_while_the_store_fails() {
        let cache = Cache::default();
        let digest = fingerprint("key");
        let query = Query { subject: None, key: Some(&digest), session: None };
        let ada = KeyOwner::User(Owner::named("ada"));
        cache.saw(&query, &Known { key: ada.clone(), ..Known::default() }, read(&cache, 0));
        let owner = |freshness, second| cache.known(&query, freshness, at(second)).key;
        assert_eq!(
            (owner(Freshness::Fresh, 9), owner(Freshness::Fresh, 10)),
            (ada.clone(), UNREAD)
        );
        assert_eq!(
            (owner(Freshness::StaleIfError, 3599), owner(Freshness::StaleIfError, 3600)),
            (ada.clone(), UNREAD)
        );
        cache.saw(&query, &Known::default(), read(&cache, 20));
        assert_eq!(owner(Freshness::StaleIfError, 20), ada, "an unread key says nothing");
        cache.saw(&query, &nobody(), read(&cache, 30));
        assert_eq!(owner(Freshness::StaleIfError, 30), UNREAD, "a removed user is out at once");
    }

    #[test]
    fn a_limit_is_believed_for_ten_seconds_and_until_its_end_while_the_store_fails() {
        let cache = Cache::default();
        let (whose, class) = (fingerprint("a"), opus());
        let query = Query { subject: Some((&whose, &class)), key: None, session: None };
        let known = Known { class: Some(until(60)), ..Known::default() };
        cache.saw(&query, &known, read(&cache, 0));
        let is_known =
            |freshness, second| cache.known(&query, freshness, at(second)).class.is_some();
        assert!(is_known(Freshness::Fresh, 9) && !is_known(Freshness::Fresh, 10));
        assert!(is_known(Freshness::StaleIfError, 59) && !is_known(Freshness::StaleIfError, 60));
        cache.saw(&query, &Known::default(), read(&cache, 20));
        assert!(!is_known(Freshness::StaleIfError, 21), "the table says that it is gone");
    }

    #[test]
    fn a_read_says_nothing_about_what_came_after_it_began() {
        let cache = Cache::default();
        let (whose, class) = (fingerprint("a"), opus());
        let query = Query { subject: Some((&whose, &class)), key: None, session: None };
        let key = LimitKey { fingerprint: whose, scope: LimitScope::Class(class.clone()) };
        let early = read(&cache, 5);
        cache.remember_limit(&key, &until(60), at(5));
        cache.saw(&query, &Known::default(), early);
        assert_eq!(cache.known(&query, Freshness::Fresh, at(6)).class, Some(until(60)));
        cache.remember_limit(&key, &until(30), at(7));
        assert_eq!(cache.known(&query, Freshness::Fresh, at(8)).class, Some(until(60)));
        cache.forget_limit(&key, at(1));
        assert!(cache.known(&query, Freshness::Fresh, at(8)).class.is_some(), "a newer one stays");
        cache.forget_limit(&key, at(0));
        assert_eq!(cache.known(&query, Freshness::StaleIfError, at(8)), Known::default());
    }

    #[test]
    fn a_removed_key_is_not_brought_back_by_a_read_that_began_before() {
        for is_known in [true, false] {
            let (cache, digest) = (Cache::default(), fingerprint("key"));
            let query = Query { subject: None, key: Some(&digest), session: None };
            let owned = Known { key: KeyOwner::User(Owner::named("ada")), ..Known::default() };
            if is_known {
                cache.saw(&query, &owned, read(&cache, 0));
            }
            let (early, late) = (read(&cache, 1), read(&cache, 1));
            cache.saw(&query, &nobody(), late);
            cache.saw(&query, &owned, early);
            let key = |second| cache.known(&query, Freshness::StaleIfError, at(second)).key;
            assert_eq!(key(1), UNREAD, "known before: {is_known}");
            cache.saw(&query, &owned, read(&cache, 2));
            assert_eq!(key(2), owned.key, "a key that is given again is good");
        }
    }

    #[test]
    fn what_was_seen_before_a_clock_was_set_back_is_replaced_at_once() {
        let (cache, (whose, class)) = (Cache::default(), (fingerprint("a"), opus()));
        let query = Query { subject: Some((&whose, &class)), key: Some(&whose), session: None };
        let owned = |user: &str| KeyOwner::User(Owner::named(user));
        let known = |user, second: i64| {
            let limit = Cooldown { recorded_at: at(second - 1), ..until(second + 60) };
            Known { class: Some(limit), key: owned(user), ..Known::default() }
        };
        cache.saw(&query, &known("ada", 3600), read(&cache, 3600));
        let before = cache.known(&query, Freshness::StaleIfError, at(10));
        assert_eq!((before.key, before.class), (UNREAD, None), "of no known age");
        cache.saw(&query, &known("bob", 10), read(&cache, 10));
        let now = cache.known(&query, Freshness::Fresh, at(11));
        assert_eq!((now.key, now.class.map(|limit| limit.until)), (owned("bob"), Some(at(70))));
        cache.saw(&query, &nobody(), read(&cache, 11));
        assert_eq!(cache.known(&query, Freshness::StaleIfError, at(12)).key, UNREAD);
    }

    /// A read that begins at this second.
    fn read(cache: &Cache, second: i64) -> (Sequence, Timestamp) {
        (cache.begin(), at(second))
    }

    fn nobody() -> Known {
        Known { key: KeyOwner::Nobody, ..Known::default() }
    }

    const UNREAD: KeyOwner = KeyOwner::Unread;

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn fingerprint(who: &str) -> Fingerprint {
        Fingerprint::of(&[who.as_bytes()]).expect("there is a credential")
    }

    fn opus() -> ModelClass {
        ModelClass::of("opus").expect("it is a class")
    }

    /// A limit met at second 0.
    fn until(second: i64) -> Cooldown {
        Cooldown {
            until: at(second),
            recorded_at: at(0),
            reason: "retry-after".to_owned(),
            retry_after_seconds: 60,
            model: "opus".to_owned(),
            user: None,
        }
    }
}
