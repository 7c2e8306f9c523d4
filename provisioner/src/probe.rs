//! Does the URL answer, and does it stream?
//!
//! `/healthz` answers without any credential and without asking anybody. With `?stream=1` it comes
//! in two pieces 300 ms apart: if both arrive at once, something on the way has held the first
//! back.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::time::Instant;

/// What the probe found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    pub ok: bool,
    /// HTTP; `None` if nothing answered.
    pub status: Option<u16>,
    /// From asking to the first byte of the body, in milliseconds.
    pub first_byte_ms: Option<u64>,
    /// Why it is not well, in a sentence.
    pub why: Option<String>,
}

impl Health {
    /// The contract's JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({"ok": self.ok, "status": self.status, "first_byte_ms": self.first_byte_ms})
    }

    fn ill(status: Option<u16>, why: impl Into<String>) -> Self {
        Self { status, why: Some(why.into()), ..Self::default() }
    }

    /// Whether a while later it may be well: permissions take time to be known everywhere.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        !self.ok && matches!(self.status, None | Some(403 | 404 | 429 | 500..))
    }
}

/// How long one answer may take: the first one starts the function.
const ANSWER: Duration = Duration::from_secs(20);

/// Two pieces that come closer together than this were held back on the way; they are sent 300 ms
/// apart.
const APART: Duration = Duration::from_millis(100);

/// The largest answer that is read, in bytes.
const LARGEST: usize = 64 * 1024;

/// Asks once, plainly and streaming.
pub async fn ask(url: &str) -> Health {
    let base = url.trim_end_matches('/');
    let plain = get(&format!("{base}/healthz")).await;
    if !plain.health.ok {
        return plain.health;
    }
    let streamed = get(&format!("{base}/healthz?stream=1")).await;
    if !streamed.health.ok {
        return streamed.health;
    }
    if streamed.spread < APART {
        let why = "it answers, but not as a stream: both pieces came at once";
        return Health { ok: false, why: Some(why.to_owned()), ..streamed.health };
    }
    plain.health
}

struct Answer {
    health: Health,
    /// From the first piece of the body to the last.
    spread: Duration,
}

async fn get(url: &str) -> Answer {
    let asked = tokio::time::timeout(ANSWER, exchange(url)).await;
    let seconds = ANSWER.as_secs();
    let answer = asked.unwrap_or_else(|_| Err(format!("no answer within {seconds} s")));
    let nothing = |why| Answer { health: Health::ill(None, why), spread: Duration::ZERO };
    answer.unwrap_or_else(nothing)
}

async fn exchange(url: &str) -> Result<Answer, String> {
    let url: Uri = url.parse().map_err(|_| "the URL is not one".to_owned())?;
    let connector = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())
        .map_err(|error| format!("no certificates to trust: {error}"))?
        .https_or_http()
        .enable_http1()
        .enable_http2()
        .build();
    let client = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(connector);
    let request = Request::get(url).body(Empty::new()).map_err(|error| error.to_string())?;
    let start = Instant::now();
    let answer = client.request(request).await.map_err(|error| chain(&error))?;
    let status = answer.status();
    let mut body = answer.into_body();
    let (mut first, mut last, mut size) = (None, None, 0);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the answer broke off: {error}"))?;
        size += frame.data_ref().map_or(0, Bytes::len);
        if size > LARGEST {
            return Err("the answer does not end: this is not claude-proxy".to_owned());
        }
        first = first.or_else(|| Some(start.elapsed()));
        last = Some(start.elapsed());
    }
    let first_byte = first.unwrap_or_else(|| start.elapsed());
    let spread = last.map_or(Duration::ZERO, |last| last - first_byte);
    let first_byte_ms = u64::try_from(first_byte.as_millis()).ok();
    let ok = status.is_success();
    let why = (!ok).then(|| format!("it answers {status}"));
    let health = Health { ok, status: Some(status.as_u16()), first_byte_ms, why };
    Ok(Answer { health, spread })
}

/// An error with all that is behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
