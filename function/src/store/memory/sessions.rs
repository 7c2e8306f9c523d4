//! Sessions in memory.

use super::super::StoreError;
use super::super::sessions::{Sessions, stays};
use super::{MemoryStore, keep};
use crate::failover::cooldown::Timestamp;
use crate::failover::identity::Fingerprint;
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
