//! What AWS may write into the operator's own invocation log beside a call.
//!
//! `X-Amzn-Bedrock-Request-Metadata` is a JSON object of at most 16 texts, each at most 256 of
//! letters, digits, spaces and `:_@$#=/+,-.` (service model of `bedrock-runtime`, `requestMetadata`
//! of Converse). All that is said here is of that alphabet. No credential is, and of the session
//! only a digest.

use serde::Serialize;

use super::ask::Ask;
use crate::failover::Reason;

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    /// SHA-256 of the session's id, in hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    request_id: &'a str,
    reason: String,
}

/// Who has asked, in which session and by which request, and why it is not Anthropic that answers.
pub(super) fn of(ask: &Ask, reason: Reason) -> Option<String> {
    let metadata = Metadata {
        user: ask.target.user.as_ref().map(|user| user.as_str()),
        session: ask.session.map(|digest| digest.to_string()),
        request_id: ask.record.id(),
        reason: reason.to_string(),
    };
    serde_json::to_string(&metadata).ok()
}
