//! What does a session look like in the shared table?

use super::item::{self, Item};
use crate::failover::cooldown::Timestamp;
use crate::failover::identity::Fingerprint;
use crate::session::Session;

pub(super) const TOLD: &str = "told";

/// Where a session stands, by the digest of its name.
pub(super) fn session_key(digest: &Fingerprint) -> Item {
    item::item_key(format!("session#{digest}"), "session")
}

pub(super) fn session(item: &Item, now: Timestamp) -> Option<Session> {
    let session: Session = serde_json::from_str(item::text(item, "session")?).ok()?;
    (session.ends() > now).then(|| Session { told: item::moment(item, TOLD), ..session })
}
