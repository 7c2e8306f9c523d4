//! What a warm instance has seen in the shared table, and may go by for a while.
//!
//! A limit in force, a proof, a good key. Never their absence: what is not here has to be read. Far
//! too little for a store, and it forgets what it likes: at most [`MOST`] entries of a kind.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::failover::cooldown::{
    Cooldown, Fingerprint, KeyOwner, Known, LimitKey, Proof, Scope, Timestamp,
};
use crate::limits::Query;

/// A limit or a key that was seen this lately needs no reading.
const FRESH_FOR: Duration = Duration::from_secs(10);
/// While the store fails, a key that was seen this lately is good.
const KEY_FOR: Duration = Duration::from_secs(60 * 60);
/// What was seen the longest ago makes room.
const MOST: usize = 10_000;

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
    owners: Shelf<Fingerprint, String>,
}

/// Values, each with the moment at which it was seen.
type Shelf<K, V> = BTreeMap<K, (V, Timestamp)>;

impl Recall {
    /// What may be believed of that which is asked for.
    pub(super) fn known(&self, query: &Query<'_>, faith: Faith, now: Timestamp) -> Known {
        let seen = self.seen();
        let mut known = Known::default();
        if let Some((fingerprint, class)) = query.subject {
            let limit = |scope| {
                let (limit, at) =
                    seen.limits.get(&LimitKey { fingerprint: *fingerprint, scope })?;
                let believed = faith == Faith::Blind || age(*at, now) < FRESH_FOR;
                (believed && limit.is_in_force(now)).then(|| limit.clone())
            };
            known.class = limit(Scope::Class(class.clone()));
            known.account = limit(Scope::Account);
            known.proof = seen.proofs.get(fingerprint).map(|(proof, _)| proof.clone());
        }
        let longest = if faith == Faith::Blind { KEY_FOR } else { FRESH_FOR };
        let owner = query.key.and_then(|digest| seen.owners.get(digest));
        if let Some((user, _)) = owner.filter(|(_, at)| age(*at, now) < longest) {
            known.key = KeyOwner::User(user.clone());
        }
        known
    }

    /// Takes in what a read at `now` has brought.
    pub(super) fn saw(&self, query: &Query<'_>, known: &Known, now: Timestamp) {
        let mut seen = self.seen();
        if let Some((fingerprint, class)) = query.subject {
            let limits = [
                (Scope::Class(class.clone()), &known.class, known.unread.class),
                (Scope::Account, &known.account, known.unread.account),
            ];
            for (scope, limit, _) in limits.into_iter().filter(|(_, _, unread)| !unread) {
                let key = LimitKey { fingerprint: *fingerprint, scope };
                note(&mut seen.limits, key, limit.clone(), now);
            }
            if !known.unread.proof {
                note(&mut seen.proofs, *fingerprint, known.proof.clone(), now);
            }
        }
        match (query.key, &known.key) {
            (Some(digest), KeyOwner::User(user)) => {
                note(&mut seen.owners, *digest, Some(user.clone()), now);
            }
            (Some(digest), KeyOwner::Nobody) => note(&mut seen.owners, *digest, None, now),
            (Some(_), KeyOwner::Unread) | (None, _) => {}
        }
    }

    pub(super) fn remember_limit(&self, key: &LimitKey, limit: &Cooldown, now: Timestamp) {
        let mut seen = self.seen();
        let longer =
            |(known, _): &(Cooldown, _)| known.is_in_force(now) && known.until > limit.until;
        if !seen.limits.get(key).is_some_and(longer) {
            note(&mut seen.limits, key.clone(), Some(limit.clone()), now);
        }
    }

    pub(super) fn forget_limit(&self, key: &LimitKey, recorded_at: Timestamp) {
        let mut seen = self.seen();
        if seen.limits.get(key).is_some_and(|(known, _)| known.recorded_at == recorded_at) {
            seen.limits.remove(key);
        }
    }

    pub(super) fn remember_proof(&self, whose: Fingerprint, proof: &Proof, now: Timestamp) {
        note(&mut self.seen().proofs, whose, Some(proof.clone()), now);
    }

    pub(super) fn forget_proof(&self, whose: &Fingerprint) {
        self.seen().proofs.remove(whose);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Replaces what was seen before `now`; a read says nothing about what came after it began.
fn note<K: Clone + Ord, V>(shelf: &mut Shelf<K, V>, key: K, value: Option<V>, now: Timestamp) {
    if shelf.get(&key).is_some_and(|(_, at)| *at > now) {
        return;
    }
    let Some(value) = value else {
        shelf.remove(&key);
        return;
    };
    if shelf.len() >= MOST && !shelf.contains_key(&key) {
        let oldest = shelf.iter().min_by_key(|(_, (_, at))| *at).map(|(key, _)| key.clone());
        oldest.and_then(|key| shelf.remove(&key));
    }
    shelf.insert(key, (value, now));
}

/// Nothing that was seen in the future is believed: a clock was set back.
fn age(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(at)).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::failover::cooldown::ModelClass;

    #[test]
    fn a_good_key_is_believed_for_ten_seconds_and_blindly_for_an_hour() {
        let recall = Recall::default();
        let digest = fingerprint("key");
        let query = Query { subject: None, key: Some(&digest) };
        let ada = KeyOwner::User("ada".to_owned());
        recall.saw(&query, &Known { key: ada.clone(), ..Known::default() }, at(0));
        let owner = |faith, second| recall.known(&query, faith, at(second)).key;
        assert_eq!((owner(Faith::Fresh, 9), owner(Faith::Fresh, 10)), (ada.clone(), UNREAD));
        assert_eq!((owner(Faith::Blind, 3599), owner(Faith::Blind, 3600)), (ada.clone(), UNREAD));
        recall.saw(&query, &Known::default(), at(20));
        assert_eq!(owner(Faith::Blind, 20), ada, "an unread key says nothing");
        recall.saw(&query, &Known { key: KeyOwner::Nobody, ..Known::default() }, at(30));
        assert_eq!(owner(Faith::Blind, 30), UNREAD, "a removed user is out at once");
    }

    #[test]
    fn a_limit_is_believed_for_ten_seconds_and_blindly_until_its_end() {
        let recall = Recall::default();
        let (whose, class) = (fingerprint("a"), opus());
        let query = Query { subject: Some((&whose, &class)), key: None };
        let known = Known { class: Some(until(60)), ..Known::default() };
        recall.saw(&query, &known, at(0));
        let is_known = |faith, second| recall.known(&query, faith, at(second)).class.is_some();
        assert!(is_known(Faith::Fresh, 9) && !is_known(Faith::Fresh, 10));
        assert!(is_known(Faith::Blind, 59) && !is_known(Faith::Blind, 60));
        recall.saw(&query, &Known::default(), at(20));
        assert!(!is_known(Faith::Blind, 21), "the table says that it is gone");
    }

    #[test]
    fn a_read_says_nothing_about_what_came_after_it_began() {
        let recall = Recall::default();
        let (whose, class) = (fingerprint("a"), opus());
        let query = Query { subject: Some((&whose, &class)), key: None };
        let key = LimitKey { fingerprint: whose, scope: Scope::Class(class.clone()) };
        recall.remember_limit(&key, &until(60), at(5));
        recall.saw(&query, &Known::default(), at(4));
        assert_eq!(recall.known(&query, Faith::Fresh, at(6)).class, Some(until(60)));
        recall.remember_limit(&key, &until(30), at(7));
        assert_eq!(recall.known(&query, Faith::Fresh, at(8)).class, Some(until(60)));
        recall.forget_limit(&key, at(1));
        assert!(recall.known(&query, Faith::Fresh, at(8)).class.is_some(), "a newer one stays");
        recall.forget_limit(&key, at(0));
        assert_eq!(recall.known(&query, Faith::Blind, at(8)), Known::default());
    }

    #[test]
    fn what_was_seen_the_longest_ago_makes_room() {
        let mut shelf = Shelf::new();
        for n in 0..=MOST {
            let second = i64::try_from(n).expect("small");
            note(&mut shelf, n, Some(()), at(second));
        }
        assert_eq!(
            (shelf.len(), shelf.contains_key(&0), shelf.contains_key(&1)),
            (MOST, false, true)
        );
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
