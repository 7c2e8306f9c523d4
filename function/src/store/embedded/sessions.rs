//! Sessions in the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::{ReadableDatabase, ReadableTable};

use super::super::StoreError;
use super::super::sessions::{Sessions, stays};
use super::items::{Definition, ItemTable, LIMITS, SESSIONS, read};
use super::{EmbeddedStore, failed};
use crate::failover::cooldown::{Cooldown, Timestamp};
use crate::failover::identity::{Fingerprint, LimitKey, LimitScope, ModelClass};
use crate::session::Session;

/// The sort key of every session.
const SESSION: &str = "session";

impl Sessions for EmbeddedStore {
    async fn session(
        &self,
        digest: &Fingerprint,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let read = self.read_session(digest).map_err(failed("read the session"))?;
        Ok(read.filter(|session| session.ends() > now))
    }

    async fn change_session(
        &self,
        digest: &Fingerprint,
        session: &Session,
    ) -> Result<(), StoreError> {
        let (pk, session) = (pk(digest), session.clone());
        self.write("keep the session", &SESSIONS, move |table| {
            let stored: Option<Session> = read(&table.items, (pk.as_str(), SESSION))?;
            if stored.is_some_and(|stored| stays(&stored, &session)) {
                return Ok(false);
            }
            put(table, &pk, &session)
        })
        .await
    }

    async fn tell(&self, digest: &Fingerprint, since: Timestamp) -> Result<bool, StoreError> {
        let (pk, first) = (pk(digest), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&first);
        self.write("take note of what was told", &SESSIONS, move |table| {
            let stored: Option<Session> = read(&table.items, (pk.as_str(), SESSION))?;
            let untold = stored.filter(|stored| stored.is_untold_of(since));
            let Some(stored) = untold else { return Ok(false) };
            told.store(true, Ordering::Relaxed);
            put(table, &pk, &Session { told: Some(since), ..stored })
        })
        .await?;
        Ok(first.load(Ordering::Relaxed))
    }
}

impl EmbeddedStore {
    pub(super) fn read_session(
        &self,
        digest: &Fingerprint,
    ) -> Result<Option<Session>, redb::Error> {
        let sessions = self.database.begin_read()?.open_table(SESSIONS.items)?;
        read(&sessions, (pk(digest).as_str(), SESSION))
    }

    /// All sessions that are kept.
    pub(in crate::store) fn sessions(&self, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        let sessions = self.all(&SESSIONS, |_, json| serde_json::from_str(json).ok());
        let mut sessions: Vec<Session> = sessions.map_err(failed("read the sessions"))?;
        sessions.retain(|session| session.ends() > now);
        Ok(sessions)
    }

    /// All limits that are in force.
    pub(in crate::store) fn limits(
        &self,
        now: Timestamp,
    ) -> Result<Vec<(LimitKey, Cooldown)>, StoreError> {
        let limit = |(pk, scope): (&str, &str), json: &str| {
            let fingerprint = Fingerprint::from_hex(pk.strip_prefix("limit#")?)?;
            let scope = match scope {
                "*" => LimitScope::Account,
                class => LimitScope::Class(ModelClass::of(class)?),
            };
            let limit: Cooldown = serde_json::from_str(json).ok()?;
            Some((LimitKey { fingerprint, scope }, limit))
        };
        let mut limits = self.all(&LIMITS, limit).map_err(failed("read the limits"))?;
        limits.retain(|(_, limit)| limit.is_in_force(now));
        Ok(limits)
    }

    /// All items of a kind that can be understood.
    fn all<T>(
        &self,
        of: &Definition,
        understood: impl Fn((&str, &str), &str) -> Option<T>,
    ) -> Result<Vec<T>, redb::Error> {
        let table = self.database.begin_read()?.open_table(of.items)?;
        let mut all = Vec::new();
        for row in table.iter()? {
            let (key, item) = row?;
            all.extend(understood(key.value(), item.value().1));
        }
        Ok(all)
    }
}

fn put(table: &mut ItemTable<'_>, pk: &str, session: &Session) -> Result<bool, redb::Error> {
    let Ok(json) = serde_json::to_string(session) else { return Ok(false) };
    table.put((pk, SESSION), (session.ends(), &json), session.since)?;
    Ok(true)
}

fn pk(digest: &Fingerprint) -> String {
    format!("session#{digest}")
}
