//! Where it is kept who answers a session.
//!
//! What is kept of a session is read along with the limits of its requests
//! ([`super::Query::session`]) and here, by whoever asks for it alone.

use std::future::Future;

use super::{Store, StoreError};
use crate::failover::cooldown::Timestamp;
use crate::failover::identity::Fingerprint;
use crate::session::Session;

/// Keeps one item for a session, by the digest of its name, for 24 hours.
pub trait Sessions: Send + Sync {
    /// What is kept of a session, unless it is over at `now`.
    fn session(
        &self,
        digest: &Fingerprint,
        now: Timestamp,
    ) -> impl Future<Output = Result<Option<Session>, StoreError>> + Send;

    /// Keeps what has changed. Of several who have met the same change at once, the first counts.
    fn change_session(
        &self,
        digest: &Fingerprint,
        session: &Session,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Whether the caller is the first to tell of the change of this moment; nobody is after that.
    fn tell(
        &self,
        digest: &Fingerprint,
        since: Timestamp,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;
}

impl Sessions for Store {
    async fn session(
        &self,
        digest: &Fingerprint,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        match self {
            Self::Memory(store) => store.session(digest, now).await,
            Self::Embedded(store) => store.session(digest, now).await,
            Self::Dynamo(store) => Box::pin(store.session(digest, now)).await,
        }
    }

    async fn change_session(
        &self,
        digest: &Fingerprint,
        session: &Session,
    ) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.change_session(digest, session).await,
            Self::Embedded(store) => store.change_session(digest, session).await,
            Self::Dynamo(store) => Box::pin(store.change_session(digest, session)).await,
        }
    }

    async fn tell(&self, digest: &Fingerprint, since: Timestamp) -> Result<bool, StoreError> {
        match self {
            Self::Memory(store) => store.tell(digest, since).await,
            Self::Embedded(store) => store.tell(digest, since).await,
            Self::Dynamo(store) => Box::pin(store.tell(digest, since)).await,
        }
    }
}

/// Whether what is kept of a session stays, since `new` says nothing else.
pub(super) fn stays(stored: &Session, new: &Session) -> bool {
    let until = |session: &Session| session.limit.as_ref().map(|limit| limit.until);
    let same = (stored.side, &stored.reason) == (new.side, &new.reason) || is_bedrock(stored, new);
    same && until(stored) >= until(new) && stored.ends() > new.since
}

/// Why Bedrock answers may differ from one answer to the next.
fn is_bedrock(stored: &Session, new: &Session) -> bool {
    use crate::failover::Upstream::Bedrock;
    (stored.side, new.side) == (Bedrock, Bedrock)
}
