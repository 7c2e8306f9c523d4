//! What a warm instance has seen in the shared table, and may go by for a while.
//!
//! A limit in force, a proof, a good key. Never their absence: what is not here has to be read. Far
//! too little for a store, and it forgets what it likes.

mod shelf;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use self::shelf::Shelf;
pub(super) use self::shelf::Turn;
use crate::failover::cooldown::{Cooldown, Timestamp, age};
use crate::failover::identity::{Fingerprint, LimitKey, Scope};
use crate::failover::known::{KeyOwner, Known, Owner, Proof};
use crate::store::Query;

/// A limit or a key that was seen this lately needs no reading.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// While the store fails, a key that was seen this lately is good.
const KEY_FOR: Duration = Duration::from_secs(60 * 60);
/// How far what was seen is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Faith {
    /// For ten seconds, without asking the store.
    Fresh,
    /// For as long as it may hold, while the store cannot be asked.
    Blind,
}

#[derive(Debug, Default)]
pub(super) struct Recall(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    limits: Shelf<LimitKey, Cooldown>,
    proofs: Shelf<Fingerprint, Proof>,
    owners: Shelf<Fingerprint, Owner>,
    /// How many reads and writes have begun.
    turns: u64,
}

impl Recall {
    /// Begins a read.
    pub(super) fn begin(&self) -> Turn {
        self.seen().begin()
    }

    /// What may be believed of that which is asked for.
    pub(super) fn known(&self, query: &Query<'_>, faith: Faith, now: Timestamp) -> Known {
        let seen = self.seen();
        let mut known = Known::default();
        if let Some((fingerprint, class)) = query.subject {
            let limit = |scope| {
                let (limit, at) =
                    seen.limits.get(&LimitKey { fingerprint: *fingerprint, scope })?;
                let fresh = age(at, now).is_some_and(|age| age < FRESH_FOR);
                let believed = faith == Faith::Blind || fresh;
                (believed && limit.is_in_force(now)).then(|| limit.clone())
            };
            known.class = limit(Scope::Class(class.clone()));
            known.account = limit(Scope::Account);
            known.proof = seen.proofs.get(fingerprint).map(|(proof, _)| proof.clone());
        }
        let longest = if faith == Faith::Blind { KEY_FOR } else { FRESH_FOR };
        let owner = query.key.and_then(|digest| seen.owners.get(digest));
        let is_believed = |at| age(at, now).is_some_and(|age| age < longest);
        if let Some((user, _)) = owner.filter(|(_, at)| is_believed(*at)) {
            known.key = KeyOwner::User(user.clone());
        }
        known
    }

    /// Takes in what a read has brought that began in its turn, at `now`.
    pub(super) fn saw(&self, query: &Query<'_>, known: &Known, (turn, now): (Turn, Timestamp)) {
        let mut seen = self.seen();
        if let Some((fingerprint, class)) = query.subject {
            let limits = [
                (Scope::Class(class.clone()), &known.class, known.unread.class),
                (Scope::Account, &known.account, known.unread.account),
            ];
            for (scope, limit, _) in limits.into_iter().filter(|(_, _, unread)| !unread) {
                let key = LimitKey { fingerprint: *fingerprint, scope };
                match limit {
                    Some(limit) => seen.limits.put(key, limit.clone(), (turn, now)),
                    None => seen.limits.end(&key, turn),
                }
            }
            match &known.proof {
                _ if known.unread.proof => {}
                Some(proof) => seen.proofs.put(*fingerprint, proof.clone(), (turn, now)),
                None => seen.proofs.end(fingerprint, turn),
            }
        }
        match (query.key, &known.key) {
            (Some(digest), KeyOwner::User(user)) => {
                seen.owners.put(*digest, user.clone(), (turn, now));
            }
            (Some(digest), KeyOwner::Nobody) => {
                // Also of a key that was not here: an earlier read may be on its way with it.
                seen.owners.bury(*digest, turn);
            }
            (Some(_), KeyOwner::Unread) | (None, _) => {}
        }
    }

    pub(super) fn remember_limit(&self, key: &LimitKey, limit: &Cooldown, now: Timestamp) {
        let mut seen = self.seen();
        let turn = seen.begin();
        let longer =
            |(known, _): (&Cooldown, _)| known.is_in_force(now) && known.until > limit.until;
        if !seen.limits.get(key).is_some_and(longer) {
            seen.limits.put(key.clone(), limit.clone(), (turn, now));
        }
    }

    pub(super) fn forget_limit(&self, key: &LimitKey, recorded_at: Timestamp) {
        let mut seen = self.seen();
        let turn = seen.begin();
        if seen.limits.get(key).is_some_and(|(known, _)| known.recorded_at == recorded_at) {
            seen.limits.end(key, turn);
        }
    }

    pub(super) fn remember_proof(&self, whose: Fingerprint, proof: &Proof, now: Timestamp) {
        let mut seen = self.seen();
        let turn = seen.begin();
        seen.proofs.put(whose, proof.clone(), (turn, now));
    }

    pub(super) fn forget_proof(&self, whose: &Fingerprint) {
        let mut seen = self.seen();
        let turn = seen.begin();
        seen.proofs.end(whose, turn);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn begin(&mut self) -> Turn {
        self.turns += 1;
        Turn(self.turns)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::failover::identity::ModelClass;

    #[test]
    fn a_good_key_is_believed_for_ten_seconds_and_blindly_for_an_hour() {
        let recall = Recall::default();
        let digest = fingerprint("key");
        let query = Query { subject: None, key: Some(&digest), session: None };
        let ada = KeyOwner::User(Owner::named("ada"));
        recall.saw(&query, &Known { key: ada.clone(), ..Known::default() }, read(&recall, 0));
        let owner = |faith, second| recall.known(&query, faith, at(second)).key;
        assert_eq!((owner(Faith::Fresh, 9), owner(Faith::Fresh, 10)), (ada.clone(), UNREAD));
        assert_eq!((owner(Faith::Blind, 3599), owner(Faith::Blind, 3600)), (ada.clone(), UNREAD));
        recall.saw(&query, &Known::default(), read(&recall, 20));
        assert_eq!(owner(Faith::Blind, 20), ada, "an unread key says nothing");
        recall.saw(&query, &nobody(), read(&recall, 30));
        assert_eq!(owner(Faith::Blind, 30), UNREAD, "a removed user is out at once");
    }

    #[test]
    fn a_limit_is_believed_for_ten_seconds_and_blindly_until_its_end() {
        let recall = Recall::default();
        let (whose, class) = (fingerprint("a"), opus());
        let query = Query { subject: Some((&whose, &class)), key: None, session: None };
        let known = Known { class: Some(until(60)), ..Known::default() };
        recall.saw(&query, &known, read(&recall, 0));
        let is_known = |faith, second| recall.known(&query, faith, at(second)).class.is_some();
        assert!(is_known(Faith::Fresh, 9) && !is_known(Faith::Fresh, 10));
        assert!(is_known(Faith::Blind, 59) && !is_known(Faith::Blind, 60));
        recall.saw(&query, &Known::default(), read(&recall, 20));
        assert!(!is_known(Faith::Blind, 21), "the table says that it is gone");
    }

    #[test]
    fn a_read_says_nothing_about_what_came_after_it_began() {
        let recall = Recall::default();
        let (whose, class) = (fingerprint("a"), opus());
        let query = Query { subject: Some((&whose, &class)), key: None, session: None };
        let key = LimitKey { fingerprint: whose, scope: Scope::Class(class.clone()) };
        let early = read(&recall, 5);
        recall.remember_limit(&key, &until(60), at(5));
        recall.saw(&query, &Known::default(), early);
        assert_eq!(recall.known(&query, Faith::Fresh, at(6)).class, Some(until(60)));
        recall.remember_limit(&key, &until(30), at(7));
        assert_eq!(recall.known(&query, Faith::Fresh, at(8)).class, Some(until(60)));
        recall.forget_limit(&key, at(1));
        assert!(recall.known(&query, Faith::Fresh, at(8)).class.is_some(), "a newer one stays");
        recall.forget_limit(&key, at(0));
        assert_eq!(recall.known(&query, Faith::Blind, at(8)), Known::default());
    }

    #[test]
    fn a_removed_key_is_not_brought_back_by_a_read_that_began_before() {
        for is_known in [true, false] {
            let (recall, digest) = (Recall::default(), fingerprint("key"));
            let query = Query { subject: None, key: Some(&digest), session: None };
            let owned = Known { key: KeyOwner::User(Owner::named("ada")), ..Known::default() };
            if is_known {
                recall.saw(&query, &owned, read(&recall, 0));
            }
            let (early, late) = (read(&recall, 1), read(&recall, 1));
            recall.saw(&query, &nobody(), late);
            recall.saw(&query, &owned, early);
            let key = |second| recall.known(&query, Faith::Blind, at(second)).key;
            assert_eq!(key(1), UNREAD, "known before: {is_known}");
            recall.saw(&query, &owned, read(&recall, 2));
            assert_eq!(key(2), owned.key, "a key that is given again is good");
        }
    }

    #[test]
    fn what_was_seen_before_a_clock_was_set_back_is_replaced_at_once() {
        let (recall, (whose, class)) = (Recall::default(), (fingerprint("a"), opus()));
        let query = Query { subject: Some((&whose, &class)), key: Some(&whose), session: None };
        let owned = |user: &str| KeyOwner::User(Owner::named(user));
        let known = |user, second: i64| {
            let limit = Cooldown { recorded_at: at(second - 1), ..until(second + 60) };
            Known { class: Some(limit), key: owned(user), ..Known::default() }
        };
        recall.saw(&query, &known("ada", 3600), read(&recall, 3600));
        let before = recall.known(&query, Faith::Blind, at(10));
        assert_eq!((before.key, before.class), (UNREAD, None), "of no known age");
        recall.saw(&query, &known("bob", 10), read(&recall, 10));
        let now = recall.known(&query, Faith::Fresh, at(11));
        assert_eq!((now.key, now.class.map(|limit| limit.until)), (owned("bob"), Some(at(70))));
        recall.saw(&query, &nobody(), read(&recall, 11));
        assert_eq!(recall.known(&query, Faith::Blind, at(12)).key, UNREAD);
    }

    /// A read that begins at this second.
    fn read(recall: &Recall, second: i64) -> (Turn, Timestamp) {
        (recall.begin(), at(second))
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
