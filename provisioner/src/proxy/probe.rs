//! Does the URL answer, and does it stream?
//!
//! `/healthz` answers without any credential and without asking anybody. With `?stream=1` it comes
//! in two pieces 300 ms apart: if both arrive at once, something on the way has held the first
//! back. Permissions take a while to be known everywhere, so a refusal is asked about again.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::ask;

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
    /// What can be done about it.
    pub hint: Option<&'static str>,
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
const MAX_PROBE_ANSWER: usize = 64 * 1024;

/// How often the URL is asked before it counts as ill.
pub const PROBES: u32 = 12;

/// What `/healthz` says, whichever way it comes.
const WELL: &[u8] = b"ok\n";

/// Asks until it is well, or until asking again would not help; `rest` is awaited in between.
pub async fn persist(url: &str, mut rest: impl AsyncFnMut(&Health)) -> Health {
    let mut health = ask(url).await;
    for _ in 1..PROBES {
        if !health.may_pass() {
            break;
        }
        rest(&health).await;
        health = ask(url).await;
    }
    health
}

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
        let hint = "something on the way holds answers back: is a proxy between here and AWS, or \
                    is the URL's InvokeMode not RESPONSE_STREAM (provisioner status)?";
        let why = Some(why.to_owned());
        return Health { ok: false, why, hint: Some(hint), ..streamed.health };
    }
    plain.health
}

struct ProbeAnswer {
    health: Health,
    /// From the first piece of the body to the last.
    spread: Duration,
}

async fn get(url: &str) -> ProbeAnswer {
    let asked = tokio::time::timeout(ANSWER, exchange(url)).await;
    let seconds = ANSWER.as_secs();
    let answer = asked.unwrap_or_else(|_| Err(format!("no answer within {seconds} s")));
    answer.unwrap_or_else(|why| {
        let hint = "look at the network from here; everything in the account is done";
        let health = Health { hint: Some(hint), ..Health::ill(None, why) };
        ProbeAnswer { health, spread: Duration::ZERO }
    })
}

/// What an answer says about the health of what gave it.
fn judge(status: StatusCode, by_aws: bool, body: &[u8]) -> Health {
    let ill =
        |why: String, hint| Health { hint: Some(hint), ..Health::ill(Some(status.as_u16()), why) };
    match status.as_u16() {
        200 if body == WELL => {
            Health { ok: true, status: Some(status.as_u16()), ..Health::default() }
        }
        403 if by_aws => ill(
            "AWS refuses the call before the function sees it (403)".to_owned(),
            "new permissions take up to a few minutes; if it stays so, an organisation's policy \
             (SCP or RCP) or the account's block on public functions forbids it: ask whoever runs \
             the account",
        ),
        404 if by_aws => ill(
            "AWS does not know the URL yet (404)".to_owned(),
            "a new URL takes a moment to be known everywhere: look again in a minute",
        ),
        429 => ill(
            "the function may not run any more at once (429)".to_owned(),
            "look at its reserved concurrency (0 switches it off) and at the account's limit",
        ),
        500..=599 => ill(
            format!("the function does not answer as it should ({status})"),
            "its log says why: the group is named above, or by provisioner status",
        ),
        _ => ill(
            format!("something else answers at this address ({status})"),
            "is a company's proxy between here and AWS?",
        ),
    }
}

async fn exchange(url: &str) -> Result<ProbeAnswer, String> {
    let request = ask::prepare(url, |client, url| client.get(url))?;
    let start = Instant::now();
    let mut answer = ask::send(request).await?;
    let status = answer.status();
    let by_aws = answer.headers().contains_key("x-amzn-errortype")
        || answer.headers().contains_key("x-amzn-requestid");
    let (mut first, mut last, mut read) = (None, None, Vec::new());
    while ask::read_on(&mut answer, &mut read, MAX_PROBE_ANSWER).await? {
        first = first.or_else(|| Some(start.elapsed()));
        last = Some(start.elapsed());
    }
    let first_byte = first.unwrap_or_else(|| start.elapsed());
    let spread = last.map_or(Duration::ZERO, |last| last - first_byte);
    let first_byte_ms = u64::try_from(first_byte.as_millis()).ok();
    let health = Health { first_byte_ms, ..judge(status, by_aws, &read) };
    Ok(ProbeAnswer { health, spread })
}
