//! What shall a fake upstream answer? A script of one answer; the default is the real one.
//!
//! Waits are counted from the moment the request arrived; resets are told in the clock's time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Semaphore;

/// One scripted answer. Numbers of events count from the start of the stream.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub refusal: Option<Refusal>,
    pub headers: Vec<(String, String)>,
    pub without: Vec<&'static str>,
    pub head_after: Duration,
    pub gap: Duration,
    pub pause: Option<(usize, Duration)>,
    pub hold: Option<(usize, Gate)>,
    pub ending: Ending,
    /// The body leaves in pieces of this size, wherever its events begin.
    pub crumbs: Option<usize>,
    /// The model has nothing to say: a message without content.
    pub speechless: bool,
    /// After so many events come so many chunks that say nothing (Bedrock only).
    pub mumbles: Option<(usize, usize)>,
    /// The end of the body follows its last byte only so much later.
    pub end_after: Duration,
    /// The model counts so many tokens of output (Bedrock only).
    pub tokens: Option<u64>,
}

/// An answer with another status than 200.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    /// Anthropic's `error.type`, or the name of Bedrock's exception.
    pub kind: String,
    pub message: String,
    pub code: Option<String>,
    pub body: Option<Bytes>,
}

/// How a stream comes to its end.
#[derive(Clone, Debug, Default)]
pub enum Ending {
    #[default]
    Complete,
    /// The connection breaks after so many events.
    Cut(usize),
    /// The connection breaks in the middle of the event after so many.
    Torn(usize),
    /// The body ends, well formed, after so many events.
    Close(usize),
    /// An `error` event follows after so many events, then the end.
    Error(usize, String),
    /// An exception frame with a sentence follows after so many events, then the end (Bedrock only).
    Exception(usize, String, String),
}

/// Holds up whoever comes to it, until it is opened.
#[derive(Clone, Debug)]
pub struct Gate(Arc<Semaphore>);

impl Gate {
    pub fn shut() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    pub fn open(&self) {
        self.0.close();
    }

    /// Waits until it is open.
    pub async fn pass(&self) {
        drop(self.0.acquire().await);
    }
}

/// The real answer to the request.
pub fn ok() -> Answer {
    Answer::default()
}

/// No head ever comes.
pub fn hang() -> Answer {
    ok().head_after(Duration::from_secs(3600))
}

pub fn refused(status: u16, kind: &str, message: &str) -> Answer {
    let refusal = Refusal {
        status,
        kind: kind.to_owned(),
        message: message.to_owned(),
        code: None,
        body: None,
    };
    Answer { refusal: Some(refusal), ..ok() }
}

/// A 429 without any hint.
pub fn too_many() -> Answer {
    refused(429, "rate_limit_error", "This request would exceed your account's rate limit.")
}

/// The 429 of an API key's bucket that is full again in `seconds`.
pub fn limited(seconds: i64) -> Answer {
    too_many()
        .header("retry-after", &seconds.to_string())
        .header("anthropic-ratelimit-requests-limit", "50")
        .header("anthropic-ratelimit-requests-remaining", "0")
        .header("anthropic-ratelimit-requests-reset", &moment(seconds).to_string())
        .header("x-should-retry", "true")
}

/// The 429 of a subscription: `window` (`5h`, `7d`, `7d_opus`, …) is used up for `seconds`.
pub fn window(window: &str, seconds: i64) -> Answer {
    let reset = moment(seconds).as_second().to_string();
    let mut answer = too_many()
        .header("retry-after", &seconds.to_string())
        .header("anthropic-ratelimit-unified-status", "rejected")
        .header("anthropic-ratelimit-unified-reset", &reset)
        .header("anthropic-ratelimit-unified-representative-claim", claim(window));
    for known in ["5h", "7d"] {
        if known != window {
            let name = format!("anthropic-ratelimit-unified-{known}-status");
            answer = answer.header(&name, "allowed");
        }
    }
    answer
        .header(&format!("anthropic-ratelimit-unified-{window}-status"), "rejected")
        .header(&format!("anthropic-ratelimit-unified-{window}-reset"), &reset)
}

/// All users wait: no limit of the caller.
pub fn overloaded() -> Answer {
    refused(529, "overloaded_error", "Overloaded")
}

/// Bedrock's own limit is met.
pub fn throttled() -> Answer {
    refused(429, "ThrottlingException", "Too many requests, please wait before trying again.")
}

/// The role may not call the model; the text names it, as AWS does.
pub fn access_denied() -> Answer {
    let text = "User: arn:aws:sts::123456789012:assumed-role/claude-proxy-api-role/x is not \
                authorized to perform: bedrock:InvokeModelWithResponseStream on resource: \
                arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude";
    refused(403, "AccessDeniedException", text)
}

/// The moment so many seconds from now.
#[expect(clippy::disallowed_methods, reason = "a reset is told as a moment of the real clock")]
pub fn moment(seconds: i64) -> Timestamp {
    Timestamp::now() + SignedDuration::from_secs(seconds)
}

fn claim(window: &str) -> &'static str {
    match window {
        "5h" => "five_hour",
        "7d" => "seven_day",
        "7d_opus" => "seven_day_opus",
        "7d_sonnet" => "seven_day_sonnet",
        _ => "seven_day_overage_included",
    }
}

impl Answer {
    /// Sets a header; one that is set already changes its value.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves out a header, also one of those that are always there.
    pub fn without(mut self, name: &'static str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.without.push(name);
        self
    }

    /// Sets `error.details.error_code`.
    pub fn code(mut self, code: &str) -> Self {
        if let Some(refusal) = &mut self.refusal {
            refusal.code = Some(code.to_owned());
        }
        self
    }

    /// Replaces `error.type`.
    pub fn kind(mut self, kind: &str) -> Self {
        if let Some(refusal) = &mut self.refusal {
            kind.clone_into(&mut refusal.kind);
        }
        self
    }

    /// Replaces the sentence of the refusal, or of the exception.
    pub fn message(mut self, message: &str) -> Self {
        if let Some(refusal) = &mut self.refusal {
            message.clone_into(&mut refusal.message);
        }
        if let Ending::Exception(_, _, said) = &mut self.ending {
            message.clone_into(said);
        }
        self
    }

    /// Adds a line of a header that may be there already.
    pub fn line(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Replaces the whole body of a refusal.
    pub fn body(mut self, body: &str) -> Self {
        if let Some(refusal) = &mut self.refusal {
            refusal.body = Some(Bytes::copy_from_slice(body.as_bytes()));
        }
        self
    }

    pub fn head_after(mut self, delay: Duration) -> Self {
        self.head_after = delay;
        self
    }

    /// Counts so many tokens of output, whatever is said.
    pub fn tokens(mut self, tokens: u64) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Lets the end of the body wait.
    pub fn end_after(mut self, delay: Duration) -> Self {
        self.end_after = delay;
        self
    }

    /// Waits before every event.
    pub fn gap(mut self, gap: Duration) -> Self {
        self.gap = gap;
        self
    }

    /// Waits once, after so many events.
    pub fn pause_after(mut self, events: usize, pause: Duration) -> Self {
        self.pause = Some((events, pause));
        self
    }

    /// Says nothing in `chunks`, after so many events.
    pub fn mumbles_after(mut self, events: usize, chunks: usize) -> Self {
        self.mumbles = Some((events, chunks));
        self
    }

    /// Waits for a gate, after so many events.
    pub fn hold_after(mut self, events: usize, gate: &Gate) -> Self {
        self.hold = Some((events, gate.clone()));
        self
    }

    pub fn cut_after(mut self, events: usize) -> Self {
        self.ending = Ending::Cut(events);
        self
    }

    pub fn torn_after(mut self, events: usize) -> Self {
        self.ending = Ending::Torn(events);
        self
    }

    pub fn crumbs(mut self, size: usize) -> Self {
        self.crumbs = Some(size);
        self
    }

    pub fn speechless(mut self) -> Self {
        self.speechless = true;
        self
    }

    pub fn close_after(mut self, events: usize) -> Self {
        self.ending = Ending::Close(events);
        self
    }

    pub fn error_after(mut self, events: usize, kind: &str) -> Self {
        self.ending = Ending::Error(events, kind.to_owned());
        self
    }

    pub fn exception_after(mut self, events: usize, name: &str) -> Self {
        let message = "The system encountered an unexpected error";
        self.ending = Ending::Exception(events, name.to_owned(), message.to_owned());
        self
    }
}
