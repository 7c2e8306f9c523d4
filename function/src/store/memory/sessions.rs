//! Sessions in memory.

use super::super::StoreError;
use super::super::sessions::{Sessions, stays};
use super::{MemoryStore, keep};
use crate::failover::cooldown::{Cooldown, Timestamp};
use crate::failover::identity::{Fingerprint, LimitKey};
use crate::session::Session;

impl Sessions for MemoryStore {
    async fn session(
        &self,
        digest: &Fingerprint,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let found = self.maps().sessions.get(digest).cloned();
        Ok(found.filter(|session| session.ends() > now))
    }

    async fn change_session(
        &self,
        digest: &Fingerprint,
        session: &Session,
    ) -> Result<(), StoreError> {
        let sessions = &mut self.maps().sessions;
        if sessions.get(digest).is_none_or(|stored| !stays(stored, session)) {
            keep(sessions, (*digest, session.clone()), Session::ends, session.since, self.capacity);
        }
        Ok(())
    }

    async fn tell(&self, digest: &Fingerprint, since: Timestamp) -> Result<bool, StoreError> {
        let mut maps = self.maps();
        let session = maps.sessions.get_mut(digest);
        let untold = session.filter(|session| session.is_untold_of(since));
        Ok(untold.map(|session| session.told = Some(since)).is_some())
    }
}

impl MemoryStore {
    /// All sessions that are kept.
    pub(in crate::store) fn sessions(&self, now: Timestamp) -> Vec<Session> {
        let maps = self.maps();
        maps.sessions.values().filter(|session| session.ends() > now).cloned().collect()
    }

    /// All limits that are in force.
    pub(in crate::store) fn limits(&self, now: Timestamp) -> Vec<(LimitKey, Cooldown)> {
        let maps = self.maps();
        let limits = maps.limits.iter().filter(|(_, limit)| limit.is_in_force(now));
        limits.map(|(key, limit)| (key.clone(), limit.clone())).collect()
    }
}
