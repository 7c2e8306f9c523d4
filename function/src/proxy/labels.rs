//! What the proxy's own headers say: who has answered, and why not Anthropic.

use http::{HeaderMap, HeaderName, HeaderValue, response};

use crate::caller;
use crate::failover::cooldown::Timestamp;
use crate::failover::{Reason, Upstream};
use crate::wire::names;

/// Says who answered.
pub(super) static UPSTREAM: HeaderName = HeaderName::from_static("x-claude-proxy-upstream");
static REASON: HeaderName = HeaderName::from_static("x-claude-proxy-reason");
static UNTIL: HeaderName = HeaderName::from_static("x-claude-proxy-until");
static MODEL: HeaderName = HeaderName::from_static("x-claude-proxy-bedrock-model");
static REGION: HeaderName = HeaderName::from_static("x-claude-proxy-region");

/// Who answers, as the label says it.
pub(super) const fn upstream_value(upstream: Upstream) -> HeaderValue {
    HeaderValue::from_static(match upstream {
        Upstream::Anthropic => "anthropic",
        Upstream::Bedrock => "bedrock",
    })
}

/// Why it is not an ordinary answer of Anthropic, by the label.
pub(super) fn reason(headers: &HeaderMap) -> Option<&str> {
    headers.get(&REASON)?.to_str().ok()
}

/// Who has answered, by the label; `None` is the proxy itself.
pub(super) fn upstream(headers: &HeaderMap) -> Option<Upstream> {
    let is_bedrock = *headers.get(&UPSTREAM)? == upstream_value(Upstream::Bedrock);
    Some(if is_bedrock { Upstream::Bedrock } else { Upstream::Anthropic })
}

/// The head of an answer of Anthropic, for the client.
pub(super) fn anthropic_head(mut head: response::Parts) -> response::Parts {
    head.headers = caller::client_headers(head.headers);
    head.headers.insert(&UPSTREAM, upstream_value(Upstream::Anthropic));
    head.version = http::Version::HTTP_11;
    head
}

/// What is said of an answer of Bedrock.
pub(super) struct BedrockLabels<'a> {
    pub(super) reason: Reason,
    /// The end of the limit that is remembered meanwhile.
    pub(super) until: Option<Timestamp>,
    pub(super) model_id: &'a str,
    pub(super) region: &'a str,
    /// The proxy's own id of the request.
    pub(super) id: &'a str,
}

impl BedrockLabels<'_> {
    pub(super) fn label(&self, headers: &mut HeaderMap) {
        headers.insert(&UPSTREAM, upstream_value(Upstream::Bedrock));
        let labels = [
            (&REASON, Some(self.reason.to_string())),
            (&UNTIL, self.until.map(|until| until.to_string())),
            (&MODEL, Some(self.model_id.to_owned())),
            (&REGION, Some(self.region.to_owned())),
            (&names::REQUEST_ID, Some(self.id.to_owned())),
        ];
        for (name, value) in labels {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(name, value);
            }
        }
    }
}
