//! What was asked; it never changes once it was let in.

use std::fmt;

use bytes::Bytes;
use http::HeaderMap;

use super::subject::Subject;
use crate::caller::Target;
use crate::failover::Policy;
use crate::failover::identity::Fingerprint;
use crate::messages::Asked;
use crate::telemetry::Record;
use crate::translate::request::Headers;
use crate::wire::names;

pub(super) struct Ask {
    pub(super) target: Target,
    /// What Anthropic sees of the client's headers.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) asked: Asked,
    pub(super) policy: Policy,
    /// Absent where the request has no credential or no model that could be limited.
    pub(super) subject: Option<Subject>,
    /// The conversation that it belongs to, by its digest.
    pub(super) session: Option<Fingerprint>,
    pub(super) record: Record,
}

impl Ask {
    /// What of the client's headers goes into a body for Bedrock.
    pub(super) fn for_bedrock(&self) -> Headers<'_> {
        for_bedrock(&self.headers)
    }
}

/// The same of headers that have gone to another thread.
pub(super) fn for_bedrock(headers: &HeaderMap) -> Headers<'_> {
    let betas = headers.get_all(&names::BETA).iter().filter_map(|value| value.to_str().ok());
    let version = headers.get(&names::VERSION).and_then(|value| value.to_str().ok());
    Headers { betas: betas.collect(), version }
}

/// Shows neither headers nor body, which hold a credential and a conversation.
impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Ask");
        shown.field("id", &self.record.id()).field("asked", &self.asked);
        shown.field("subject", &self.subject).finish_non_exhaustive()
    }
}
