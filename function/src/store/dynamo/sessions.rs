//! What does a session look like in the shared table?

use super::item::{self, Item};
use crate::failover::cooldown::Timestamp;
use crate::failover::identity::Fingerprint;
use crate::session::Session;

/// How the partition key of every session begins.
pub const PREFIX: &str = "session#";

pub(super) const TOLD: &str = "told";

/// Where a session stands, by the digest of its name.
pub(super) fn session_key(digest: &Fingerprint) -> Item {
    item::item_key(format!("{PREFIX}{digest}"), "session")
}

/// What is kept of a session, whoever it is, as an item has it; `None` where that is another kind
/// of item, or over at `now`.
#[must_use]
pub fn stored(item: &Item, now: Timestamp) -> Option<Session> {
    item::text(item, "pk")?.strip_prefix(PREFIX)?;
    session(item, now)
}

pub(super) fn session(item: &Item, now: Timestamp) -> Option<Session> {
    let session: Session = serde_json::from_str(item::text(item, "session")?).ok()?;
    (session.ends() > now).then(|| Session { told: item::moment(item, TOLD), ..session })
}
