//! A drill: the fallback is rehearsed before the first real limit.
//!
//! The operator writes the digest of a nonce into the shared table and shows the nonce to the
//! deployed proxy, which takes it away and answers one tiny request as if Anthropic had just said
//! 429. Nothing of that request is the caller's: not its text, not its size, and the model is what
//! stands in the table. Anthropic's part is played; it is never asked.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;

use crate::failover::cooldown::{LONGEST_COOLDOWN, Timestamp};
use crate::failover::identity::{Fingerprint, ModelClass};
use crate::failover::{Said, hint};

/// Where a drill is asked for, with `POST`.
pub const PATH: &str = "/_proxy/drill";
/// The header that carries the nonce.
pub const HEADER: &str = "x-claude-proxy-drill";
/// A nonce is good for this long.
pub const GOOD_FOR: Duration = Duration::from_secs(5 * 60);
/// The largest answer, in tokens.
pub const MOST_TOKENS: u32 = 16;
/// What the limit of a drill lasts longer than one that is waited for.
const LASTING: Duration = Duration::from_secs(60);

/// Whether a request asks for a drill.
#[must_use]
pub fn is_asked(method: &Method, path: &str) -> bool {
    method == Method::POST && path == PATH
}

/// 256 random bits that are good for one drill: `ccd_` and 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct Nonce(String);

impl Nonce {
    const PREFIX: &str = "ccd_";

    /// Makes a nonce of random bytes.
    #[must_use]
    pub fn from_random(bytes: [u8; 32]) -> Self {
        Self(Self::PREFIX.to_owned() + &hex::encode(bytes))
    }

    /// The nonce that a request shows; `None` where it shows none, or two.
    #[must_use]
    pub fn shown(headers: &HeaderMap) -> Option<Self> {
        let mut shown = headers.get_all(HEADER).iter();
        let first = shown.next()?.to_str().ok()?.parse().ok()?;
        shown.next().is_none().then_some(first)
    }

    /// The nonce itself, for the one request that shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Under which its drill stands in the table.
    #[must_use]
    pub fn digest(&self) -> Fingerprint {
        Fingerprint::of(&[self.0.as_bytes()]).expect("there is one text to digest")
    }

    /// Whose limit the drill remembers: nobody's. No header can hold the byte 0, so no credential
    /// has this fingerprint, and the limit is no proof of any.
    #[must_use]
    pub fn nobody(&self) -> Fingerprint {
        let text = format!("drill\0{}", self.0);
        Fingerprint::of(&[text.as_bytes()]).expect("there is one text to digest")
    }
}

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Nonce")
    }
}

/// Why a text is no nonce. The text is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a nonce is `ccd_` and 64 hexadecimal digits")]
pub struct InvalidNonce;

impl FromStr for Nonce {
    type Err = InvalidNonce;

    fn from_str(text: &str) -> Result<Self, InvalidNonce> {
        let rest = text.strip_prefix(Self::PREFIX).ok_or(InvalidNonce)?;
        let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let fits = rest.len() == 64 && rest.bytes().all(digit);
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidNonce) }
    }
}

/// A drill that the operator has allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drill {
    /// The model that is asked, as a client names it.
    pub model: String,
    /// From then on the nonce is good for nothing, in whole seconds.
    pub expires_at: Timestamp,
}

impl Drill {
    /// Whether it may take place at `now`. One that would be good for longer than any is was
    /// written while a clock was wrong.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        let left = self.expires_at.duration_since(now);
        left.is_positive() && left.unsigned_abs() <= GOOD_FOR + Duration::from_secs(1)
    }

    /// The one request that is answered.
    #[must_use]
    pub fn request(&self) -> Vec<u8> {
        let said = "This is a test of the line. Answer with one word.";
        let request = json!({
            "model": self.model,
            "max_tokens": MOST_TOKENS,
            "stream": true,
            "messages": [{"role": "user", "content": said}],
        });
        request.to_string().into_bytes()
    }
}

/// What is made of Anthropic's answer, as if it had said that this class is limited for longer
/// than is waited for.
#[must_use]
pub fn limited(class: &ModelClass, retry_threshold: Duration, now: Timestamp) -> Said {
    let seconds = (retry_threshold + LASTING).min(LONGEST_COOLDOWN).as_secs();
    let mut headers = HeaderMap::new();
    headers.insert("request-id", HeaderValue::from_static("req_drill"));
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    let said = json!({
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "This is a drill."},
    });
    let body = said.to_string();
    hint::judge_failure(StatusCode::TOO_MANY_REQUESTS, &headers, body.as_bytes(), class, now)
}
