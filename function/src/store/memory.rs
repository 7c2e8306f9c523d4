//! What is remembered without a file: everything is gone when the process ends.
//!
//! Bounded, and never waits for anything but a short lock.

mod sessions;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::budgets::{Account, Budgets};
use super::{CAPACITY, Query, RateLimitStore, StoreError, is_newer, outlasts, proof_ends};
use crate::failover::cooldown::{Cooldown, Timestamp};
use crate::failover::identity::{Fingerprint, LimitKey, LimitScope};
use crate::failover::known::{Known, Proof};
use crate::money::budget::{Change, Changed, Month};
use crate::session::Session;

/// Remembers in memory, at most [`CAPACITY`] limits and as many proofs.
#[derive(Debug)]
pub struct MemoryStore {
    maps: Mutex<Maps>,
    capacity: usize,
}

impl MemoryStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self { maps: Mutex::default(), capacity: CAPACITY }
    }

    /// Keeps at most `capacity` limits and `capacity` proofs.
    #[must_use]
    pub fn with_capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    /// All subjects and what is known of their month.
    #[must_use]
    pub fn months(&self, month: &str) -> Vec<(String, Month)> {
        let of_month = |((its, _), _): &(&(String, String), &Month)| its == month;
        let maps = self.maps();
        let months = maps.months.iter().filter(of_month);
        months.map(|((_, subject), month)| (subject.clone(), month.clone())).collect()
    }

    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl RateLimitStore for MemoryStore {
    async fn look_up(&self, query: &Query<'_>, now: Timestamp) -> Result<Known, StoreError> {
        let (key, maps) = (query.keyless(), self.maps());
        let session = query.session.and_then(|digest| maps.sessions.get(digest));
        let session = session.filter(|session| session.ends() > now).cloned().map(Box::new);
        let Some((fingerprint, class)) = query.subject else {
            return Ok(Known { key, session, ..Known::default() });
        };
        let limit = |scope| {
            let cooldown = maps.limits.get(&LimitKey { fingerprint: *fingerprint, scope })?;
            cooldown.is_in_force(now).then(|| cooldown.clone())
        };
        let proof = maps.proofs.get(fingerprint).filter(|proof| proof_ends(proof) > now);
        Ok(Known {
            class: limit(LimitScope::Class(class.clone())),
            account: limit(LimitScope::Account),
            proof: proof.cloned(),
            key,
            session,
            ..Known::default()
        })
    }

    async fn remember_limit(&self, key: &LimitKey, cooldown: &Cooldown) -> Result<(), StoreError> {
        let limits = &mut self.maps().limits;
        if limits.get(key).is_none_or(|stored| !outlasts(stored, cooldown)) {
            let now = cooldown.recorded_at;
            keep(limits, (key.clone(), cooldown.clone()), |limit| limit.until, now, self.capacity);
        }
        Ok(())
    }

    async fn forget_limit(&self, key: &LimitKey, recorded_at: Timestamp) -> Result<(), StoreError> {
        let limits = &mut self.maps().limits;
        if limits.get(key).is_some_and(|stored| stored.recorded_at == recorded_at) {
            limits.remove(key);
        }
        Ok(())
    }

    async fn remember_proof(
        &self,
        fingerprint: &Fingerprint,
        proof: &Proof,
    ) -> Result<(), StoreError> {
        let proofs = &mut self.maps().proofs;
        if proofs.get(fingerprint).is_none_or(|stored| !is_newer(stored, proof)) {
            let now = proof.proven_at;
            keep(proofs, (*fingerprint, proof.clone()), proof_ends, now, self.capacity);
        }
        Ok(())
    }

    async fn forget_proof(&self, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        self.maps().proofs.remove(fingerprint);
        Ok(())
    }
}

/// Only counts, for a budget that a restart forgets is none.
impl Budgets for MemoryStore {
    async fn change(&self, account: &Account<'_>, change: &Change) -> Result<Changed, StoreError> {
        let months = &mut self.maps().months;
        let key = (account.at.month(), account.subject.to_owned());
        if months.len() >= self.capacity && !months.contains_key(&key) {
            // The oldest month comes first.
            months.pop_first();
        }
        let month = months.entry(key).or_default();
        if month.apply(change) {
            month.user = account.user.map(str::to_owned).or(month.user.take());
            return Ok(Changed::Yes(month.clone()));
        }
        Ok(month.clone().refuses(change))
    }

    async fn month(&self, subject: &str, month: &str) -> Result<Month, StoreError> {
        let key = (month.to_owned(), subject.to_owned());
        Ok(self.maps().months.get(&key).cloned().unwrap_or_default())
    }
}

#[derive(Debug, Default)]
struct Maps {
    limits: BTreeMap<LimitKey, Cooldown>,
    proofs: BTreeMap<Fingerprint, Proof>,
    sessions: BTreeMap<Fingerprint, Session>,
    /// By month and subject.
    months: BTreeMap<(String, String), Month>,
}

/// Inserts `entry`; what has expired at `now` goes, and then whatever ends soonest, until it fits.
fn keep<K: Clone + Ord, V>(
    map: &mut BTreeMap<K, V>,
    entry: (K, V),
    ends: impl Fn(&V) -> Timestamp,
    now: Timestamp,
    capacity: usize,
) {
    map.remove(&entry.0);
    map.retain(|_, value| ends(value) > now);
    while map.len() >= capacity
        && let Some(soonest) = map.iter().min_by_key(|(_, value)| ends(value))
    {
        let soonest = soonest.0.clone();
        map.remove(&soonest);
    }
    map.insert(entry.0, entry.1);
}
