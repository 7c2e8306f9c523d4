//! Shows the function the nonce of a drill, and listens to what it answers.
//!
//! What the answer means is decided by [`crate::commands`]; here it is only taken down.

use std::time::Duration;

use bytes::Bytes;
use function::drill::{HEADER, Nonce, PATH};
use function::wire::sse::{self, Splitter};
use function::wire::usage::Usage;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use tokio::time::Instant;

use super::ask;

/// What was heard.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DrillAnswer {
    /// HTTP.
    pub status: u16,
    /// The proxy's labels, by what follows `x-claude-proxy-`.
    pub labels: Vec<(&'static str, String)>,
    pub first_byte: Duration,
    pub whole: Duration,
    pub usage: Usage,
    /// What the model said.
    pub text: String,
    /// The stream has come to its own end.
    pub ended: bool,
    /// What an error said, in the answer or at the end of its stream.
    pub error: Option<String>,
}

/// How long the answer may take: the function may have to be started, and Bedrock to think.
const DRILL_TIMEOUT: Duration = Duration::from_secs(90);

/// The largest answer that is read, in bytes: it has sixteen tokens.
const MAX_DRILL_ANSWER: usize = 256 * 1024;

/// The labels that are of interest.
const LABELS: [&str; 5] = ["upstream", "reason", "until", "bedrock-model", "region"];

/// Asks for the drill.
///
/// # Errors
///
/// Why there was no answer, in a sentence. The nonce is in none.
pub async fn ask(url: &str, nonce: &Nonce) -> Result<DrillAnswer, String> {
    let asking = tokio::time::timeout(DRILL_TIMEOUT, exchange(url, nonce)).await;
    let seconds = DRILL_TIMEOUT.as_secs();
    asking.unwrap_or_else(|_| Err(format!("no answer within {seconds} s")))
}

async fn exchange(url: &str, nonce: &Nonce) -> Result<DrillAnswer, String> {
    let mut secret = HeaderValue::from_str(nonce.reveal()).expect("a nonce is plain text");
    secret.set_sensitive(true);
    let url = format!("{url}{PATH}");
    let request = ask::prepare(&url, |client, url| client.post(url).header(HEADER, secret))?;
    let start = Instant::now();
    let mut answer = ask::send(request).await?;
    let status = answer.status().as_u16();
    let mut heard = DrillAnswer { status, ..DrillAnswer::labelled(answer.headers()) };
    let (mut first_byte, mut bytes) = (None, Vec::new());
    while ask::read_on(&mut answer, &mut bytes, MAX_DRILL_ANSWER).await? {
        first_byte = first_byte.or_else(|| Some(start.elapsed()));
    }
    heard.first_byte = first_byte.unwrap_or_default();
    heard.whole = start.elapsed();
    heard.read(Bytes::from(bytes));
    Ok(heard)
}

impl DrillAnswer {
    fn labelled(headers: &HeaderMap) -> Self {
        let value = |name: &str| headers.get(format!("x-claude-proxy-{name}"))?.to_str().ok();
        let labels = LABELS.iter().filter_map(|name| Some((*name, value(name)?.to_owned())));
        Self { labels: labels.collect(), ..Self::default() }
    }

    /// A label of the answer.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// Reads the body: a stream of events, or an error as one object.
    fn read(&mut self, body: Bytes) {
        if let Ok(object) = serde_json::from_slice::<Value>(&body) {
            self.error = said(&object);
            return;
        }
        let mut splitter = Splitter::default();
        splitter.push(body);
        for block in splitter {
            let data = sse::data(&block);
            self.usage.update(Usage::found_in(&data).unwrap_or_default());
            let event: Value = serde_json::from_slice(&data).unwrap_or_default();
            match sse::name(&block) {
                Some("content_block_delta") => {
                    self.text += event["delta"]["text"].as_str().unwrap_or_default();
                }
                Some("message_stop") => self.ended = true,
                Some("error") => self.error = said(&event),
                Some(_) | None => {}
            }
        }
    }
}

fn said(error: &Value) -> Option<String> {
    error["error"]["message"].as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_read_to_its_end() {
        let mut heard = DrillAnswer::default();
        heard.read(Bytes::from_static(
            b"event: message_start\ndata: {\"message\":{\"usage\":{\"input_tokens\":20,\
              \"output_tokens\":1}}}\n\nevent: content_block_delta\ndata: {\"delta\":{\"text\":\
              \"rea\"}}\n\nevent: content_block_delta\ndata: {\"delta\":{\"text\":\"dy\"}}\n\n\
              event: message_delta\ndata: {\"usage\":{\"output_tokens\":4}}\n\n\
              event: message_stop\ndata: {}\n\n",
        ));
        assert_eq!((heard.text.as_str(), heard.ended, &heard.error), ("ready", true, &None));
        assert_eq!((heard.usage.input, heard.usage.output), (Some(20), Some(4)));
    }

    #[test]
    fn an_error_is_heard_in_either_form() {
        for body in [
            r#"{"type":"error","error":{"type":"api_error","message":"no"}}"#,
            "event: error\ndata: {\"error\":{\"message\":\"no\"}}\n\n",
        ] {
            let mut heard = DrillAnswer::default();
            heard.read(Bytes::from(body));
            assert_eq!((heard.error.as_deref(), heard.ended), (Some("no"), false), "{body}");
        }
    }
}
