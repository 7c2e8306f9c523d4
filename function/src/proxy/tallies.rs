//! What the sessions of a proxy have asked since it has started.
//!
//! Counted where one process answers all of a session; of several, none knows all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::failover::identity::Fingerprint;
use crate::telemetry::Tally;

/// More sessions than this are not counted; then all are forgotten.
const MOST: usize = 10_000;

/// The sessions, each with whose it is.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    sessions: Mutex<BTreeMap<Fingerprint, (String, Arc<Tally>)>>,
    all: Arc<Tally>,
}

impl Tallies {
    /// Where every request for a message is counted.
    pub(super) const fn all(&self) -> &Arc<Tally> {
        &self.all
    }

    /// Where a session of this subject is counted.
    pub(super) fn of(&self, session: Fingerprint, subject: &str) -> Arc<Tally> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MOST && !sessions.contains_key(&session) {
            sessions.clear();
        }
        let (known, tally) = sessions.entry(session).or_default();
        if known != subject {
            (*known, *tally) = (subject.to_owned(), Arc::default());
        }
        Arc::clone(tally)
    }

    /// Whose a session is, and what it has asked.
    pub(super) fn find(&self, session: &Fingerprint) -> Option<(String, Arc<Tally>)> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).get(session).cloned()
    }
}
