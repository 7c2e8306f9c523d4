//! What has ended, as this instance knows for certain.
//!
//! A store that is read too early, or that could not be written to, still says otherwise; so does a
//! look-up that began before the end. Moments only, and a bounded number of them: the oldest go.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::failover::cooldown::Timestamp;
use crate::failover::identity::{Fingerprint, LimitKey, LimitScope};
use crate::failover::known::Known;
use crate::store::Query;

/// More ends of a kind than this are not kept.
const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Tombstones(Mutex<Ends>);

#[derive(Debug, Default)]
struct Ends {
    /// Limits that were met up to this moment are over.
    limits: BTreeMap<LimitKey, Timestamp>,
    /// What a credential was known for up to this moment counts no more.
    credentials: BTreeMap<Fingerprint, Timestamp>,
}

impl Tombstones {
    /// Anthropic has answered again: the limit that was recorded at this moment is over.
    pub(super) fn limit(&self, key: &LimitKey, recorded_at: Timestamp) {
        note(&mut self.ends().limits, key.clone(), recorded_at);
    }

    /// Anthropic has refused the credential.
    pub(super) fn credential(&self, whose: Fingerprint, now: Timestamp) {
        note(&mut self.ends().credentials, whose, now);
    }

    /// Anthropic has limited again: what ended was another limit, whatever the clock said then.
    pub(super) fn met(&self, key: &LimitKey, recorded_at: Timestamp) {
        undo(&mut self.ends().limits, key, recorded_at);
    }

    /// Anthropic has accepted the credential after all, whatever the clock said when it refused.
    pub(super) fn accepted(&self, whose: &Fingerprint, proven_at: Timestamp) {
        undo(&mut self.ends().credentials, whose, proven_at);
    }

    /// Takes out of `known` what has ended.
    pub(super) fn sift(&self, query: &Query<'_>, mut known: Known) -> Known {
        let Some((fingerprint, class)) = query.subject else { return known };
        let ends = self.ends();
        let refused = ends.credentials.get(fingerprint);
        let is_over = |scope, recorded_at: Timestamp| {
            let key = LimitKey { fingerprint: *fingerprint, scope };
            [ends.limits.get(&key), refused].into_iter().flatten().any(|end| recorded_at <= *end)
        };
        known.class = known
            .class
            .filter(|limit| !is_over(LimitScope::Class(class.clone()), limit.recorded_at));
        known.account =
            known.account.filter(|limit| !is_over(LimitScope::Account, limit.recorded_at));
        known.proof = known.proof.filter(|proof| refused.is_none_or(|end| proof.proven_at > *end));
        known
    }

    fn ends(&self) -> MutexGuard<'_, Ends> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes an end back that lies ahead of what came after it: a clock was set back.
fn undo<K: Ord>(ends: &mut BTreeMap<K, Timestamp>, key: &K, later: Timestamp) {
    if ends.get(key).is_some_and(|end| *end >= later) {
        ends.remove(key);
    }
}

/// Keeps the later of two ends.
fn note<K: Clone + Ord>(ends: &mut BTreeMap<K, Timestamp>, key: K, end: Timestamp) {
    if ends.len() >= MOST && !ends.contains_key(&key) {
        let oldest = ends.iter().min_by_key(|(_, end)| **end).map(|(key, _)| key.clone());
        oldest.and_then(|key| ends.remove(&key));
    }
    let kept = ends.entry(key).or_insert(end);
    *kept = end.max(*kept);
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::failover::cooldown::Cooldown;
    use crate::failover::identity::ModelClass;
    use crate::failover::known::Proof;

    #[test]
    fn a_limit_that_ended_stays_ended_and_a_newer_one_counts() {
        let (tombstones, whose, class) = (Tombstones::default(), fingerprint("a"), class());
        let scope = LimitScope::Class(class.clone());
        tombstones.limit(&LimitKey { fingerprint: whose, scope }, at(10));
        let query = Query { subject: Some((&whose, &class)), key: None, session: None };
        let sifted = |second| tombstones.sift(&query, known(second));
        assert_eq!(sifted(10).class, None, "whoever read it earlier says so in vain");
        assert_eq!(sifted(9).class, None);
        assert_eq!(sifted(11), known(11));
        assert_eq!(sifted(10).account, known(10).account, "another limit is another one");
        tombstones.limit(
            &LimitKey { fingerprint: whose, scope: LimitScope::Class(class.clone()) },
            at(5),
        );
        assert_eq!(sifted(10).class, None, "the later end counts");
    }

    #[test]
    fn after_a_refusal_nothing_older_counts_for_any_class() {
        let (tombstones, whose, class) = (Tombstones::default(), fingerprint("a"), class());
        tombstones.credential(whose, at(10));
        let query = Query { subject: Some((&whose, &class)), key: None, session: None };
        assert_eq!(tombstones.sift(&query, known(10)), Known::default());
        assert_eq!(tombstones.sift(&query, known(11)), known(11));
        let other = fingerprint("b");
        let query = Query { subject: Some((&other, &class)), key: None, session: None };
        assert_eq!(tombstones.sift(&query, known(10)), known(10));
    }

    #[test]
    fn what_comes_after_an_end_counts_although_a_clock_was_set_back() {
        let (tombstones, whose, class) = (Tombstones::default(), fingerprint("a"), class());
        let query = Query { subject: Some((&whose, &class)), key: None, session: None };
        let key = LimitKey { fingerprint: whose, scope: LimitScope::Class(class.clone()) };
        tombstones.credential(whose, at(3600));
        tombstones.limit(&key, at(3600));
        assert_eq!(tombstones.sift(&query, known(10)), Known::default());
        tombstones.accepted(&whose, at(10));
        assert_eq!(tombstones.sift(&query, known(10)), Known { class: None, ..known(10) });
        tombstones.met(&key, at(10));
        assert_eq!(tombstones.sift(&query, known(10)), known(10));
    }

    #[test]
    fn what_ended_the_longest_ago_makes_room() {
        let mut ends = BTreeMap::new();
        for n in 0..=MOST {
            note(&mut ends, n, at(i64::try_from(n).expect("small")));
        }
        assert_eq!((ends.len(), ends.contains_key(&0), ends.contains_key(&1)), (MOST, false, true));
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }

    fn fingerprint(who: &str) -> Fingerprint {
        Fingerprint::of(&[who.as_bytes()]).expect("there is a credential")
    }

    fn class() -> ModelClass {
        ModelClass::of("opus").expect("it is a class")
    }

    /// A limit of the class, one of the account, and a proof, all of this second.
    fn known(second: i64) -> Known {
        let limit = Cooldown {
            until: at(100),
            recorded_at: at(second),
            reason: "retry-after".to_owned(),
            retry_after_seconds: 60,
            model: "opus".to_owned(),
            user: None,
        };
        let proof = Proof { proven_at: at(second), organization: None };
        Known {
            class: Some(limit.clone()),
            account: Some(limit),
            proof: Some(proof),
            ..Known::default()
        }
    }
}
