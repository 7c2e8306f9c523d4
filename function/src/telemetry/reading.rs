//! Reads back the line of a request, in either form in which it is written.
//!
//! It stands beside the writing, so that the names of the fields are known in one place. Never
//! guesses: a line that is something else is `None`, and a field that a line lacks stays empty.

use serde::Deserialize;

/// The line of one request. Labels are text, since the line may come from another version.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RequestLine {
    /// The proxy's own id of the request.
    #[serde(rename = "request.id")]
    pub id: String,
    /// `messages`, `count_tokens`, `other` (passed through) or `refused`.
    pub call: String,
    pub user: Option<String>,
    pub model: Option<String>,
    #[serde(default)]
    pub stream: bool,
    /// Who answered; `None` is the proxy itself.
    pub upstream: Option<String>,
    /// Why it was not Anthropic; `budget` or `budget_unavailable` where that kept Bedrock away.
    pub reason: Option<String>,
    pub status: Option<u16>,
    #[serde(default)]
    pub attempts: u32,
    /// What was not as it should be.
    pub fault: Option<String>,
    /// For how long a limit is remembered.
    pub cooldown_s: Option<u64>,
    #[serde(alias = "FirstByte")]
    pub first_byte_ms: Option<u64>,
    pub duration_ms: u64,
    #[serde(flatten)]
    pub tokens: LoggedTokens,
    /// What Bedrock charges, in micro-dollars.
    pub cost_microusd: Option<u64>,
    /// Whether a price that nobody has published is part of it.
    #[serde(default)]
    pub cost_assumed: bool,
    /// `ok`, `used_up` or `unavailable`, where a cap was asked about.
    pub budget: Option<String>,
    pub reserved_microusd: Option<u64>,
}

/// What the answer used; `input` leaves out what was read from or written to the prompt cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct LoggedTokens {
    #[serde(rename = "tokens.input", alias = "InputTokens")]
    pub input: Option<u64>,
    #[serde(rename = "tokens.output", alias = "OutputTokens")]
    pub output: Option<u64>,
    #[serde(rename = "tokens.cache_read", alias = "CacheReadTokens")]
    pub cache_read: Option<u64>,
    #[serde(rename = "tokens.cache_write", alias = "CacheWriteTokens")]
    pub cache_write: Option<u64>,
}

impl RequestLine {
    /// Reads one line of the log; `None` where it is not the line of a request.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        serde_json::from_str(line).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Duration;

    use http::StatusCode;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;
    use crate::failover::{Reason, Upstream};
    use crate::money::{Cost, MicroDollars};
    use crate::telemetry::{
        AnswerEntries, CostEntries, Entries, RequestEntries, TryEntries, metrics, write_event,
    };
    use crate::wire::usage::Usage;

    #[test]
    fn both_forms_of_a_line_read_the_same() {
        let request = RequestEntries { call: "refused", ..RequestEntries::default() };
        for entries in [everything(), Entries { request, ..Entries::default() }] {
            let [metric, event] = both(&entries);
            let (metric, event) = (RequestLine::parse(&metric), RequestLine::parse(&event));
            assert!(event.is_some());
            assert_eq!(metric, event);
        }
    }

    #[test]
    fn nothing_of_a_line_is_lost() {
        let [metric, _] = both(&everything());
        let text = |text: &str| Some(text.to_owned());
        let tokens = LoggedTokens {
            input: Some(12),
            output: Some(7),
            cache_read: Some(3000),
            cache_write: Some(400),
        };
        let expected = RequestLine {
            id: "req_proxy_1".to_owned(),
            call: "messages".to_owned(),
            user: text("alice"),
            model: text("claude-opus-5-5"),
            stream: true,
            upstream: text("bedrock"),
            reason: text("rate_limited"),
            status: Some(200),
            attempts: 2,
            fault: text("the client left"),
            cooldown_s: Some(120),
            first_byte_ms: Some(16),
            duration_ms: 900,
            tokens,
            cost_microusd: Some(12_345),
            cost_assumed: true,
            budget: text("ok"),
            reserved_microusd: Some(20_000),
        };
        assert_eq!(RequestLine::parse(&metric), Some(expected));
    }

    #[test]
    fn other_lines_are_not_taken_for_a_request() {
        let cut = r#"{"level":"ERROR","message":"an answer was cut short","request.id":"req_1"}"#;
        for line in ["", "REPORT RequestId: 1", "[]", "{}", cut] {
            assert_eq!(RequestLine::parse(line), None, "{line}");
        }
    }

    /// Without its end, so that there is a fault to tell.
    fn everything() -> Entries {
        Entries {
            request: RequestEntries {
                call: "messages",
                user: Some("alice".to_owned()),
                model: Some("claude-opus-5-5".to_owned()),
                stream: true,
            },
            tries: TryEntries {
                attempts: 2,
                cooldown: Some(Duration::from_secs(120)),
                ..TryEntries::default()
            },
            answer: AnswerEntries {
                upstream: Some(Upstream::Bedrock),
                reason: Some(Reason::RateLimited),
                status: Some(StatusCode::OK),
                first_byte: Some(Duration::from_millis(16)),
                ..AnswerEntries::default()
            },
            costs: CostEntries {
                usage: Usage {
                    input: Some(12),
                    output: Some(7),
                    cache_read: Some(3000),
                    cache_write: Some(400),
                    ..Usage::default()
                },
                cost: Some(Cost { amount: MicroDollars(12_345), assumed: true }),
                budget: Some("ok"),
                reserved: Some(MicroDollars(20_000)),
                ..CostEntries::default()
            },
            tallies: Vec::new(),
        }
    }

    /// The line with metrics, and the line of the log.
    fn both(entries: &Entries) -> [String; 2] {
        let (id, duration) = ("req_proxy_1", Duration::from_millis(900));
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let metric = metrics::line("claude-proxy-api", (id, duration), entries, now);
        let sink = Sink::default();
        let subscriber = tracing_subscriber::fmt().json().flatten_event(true);
        let subscriber = subscriber.with_writer(sink.clone()).finish();
        tracing::subscriber::with_default(subscriber, || write_event(id, duration, entries));
        let written = sink.0.lock().unwrap().clone();
        [metric, String::from_utf8(written).unwrap()]
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Sink {
        type Writer = Self;

        fn make_writer(&self) -> Self {
            self.clone()
        }
    }
}
