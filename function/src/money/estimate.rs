//! What will a request cost at most, as far as that can be known beforehand?
//!
//! The prompt in full, written to the cache where it asks for that, and of the output what an
//! answer usually has. The most that a client allows for would keep a budget busy with money that
//! is hardly ever spent: agents allow for 64,000 tokens and more with every request.

use super::MicroDollars;
use super::price::Tariff;
use crate::wire::usage::Usage;

/// The output tokens that are reserved beforehand, and again whenever those are used up.
pub const FIRST_OUTPUT: u64 = 4096;
pub const MORE_OUTPUT: u64 = 16_384;

/// Bytes of a body for two tokens, of code and prose; the newest models make the most of a text.
const BYTES_FOR_TWO: u64 = 5;

/// No image has more tokens, however large it is.
const LARGEST_IMAGE: u64 = 5000;

/// How far before or behind its data the kind of a file is written.
const KIND_WITHIN: usize = 128;

/// What is reserved for a request before Bedrock is asked; `max_tokens` is the most that it allows.
#[must_use]
pub fn reserved(tariff: &Tariff, body: &[u8], max_tokens: Option<u64>) -> MicroDollars {
    let prompt = prompt_tokens(body);
    let output = max_tokens.unwrap_or(FIRST_OUTPUT).min(FIRST_OUTPUT);
    let is_cached = memchr::memmem::find(body, b"\"cache_control\"").is_some();
    let usage = Usage { output: Some(output), ..Usage::default() };
    let usage = match is_cached {
        true => Usage { cache_write: Some(prompt), ..usage },
        false => Usage { input: Some(prompt), ..usage },
    };
    tariff.cost(&usage).amount
}

/// What is reserved in addition when a stream has brought more than was reserved for.
#[must_use]
pub fn topped_up(tariff: &Tariff, prompt: &Usage) -> MicroDollars {
    let with = |output| tariff.cost(&Usage { output: Some(output), ..*prompt }).amount.0;
    MicroDollars(with(MORE_OUTPUT) - with(0))
}

/// What stands in a text that is the value of the key before.
fn text_behind(rest: &[u8]) -> Option<&[u8]> {
    let value = rest.trim_ascii_start().strip_prefix(b":")?;
    value.trim_ascii_start().strip_prefix(b"\"")
}

/// An upper bound for the tokens of code and prose; dense text may have a quarter more.
fn prompt_tokens(body: &[u8]) -> u64 {
    let (mut images, mut image_bytes) = (0_u64, 0_u64);
    for at in memchr::memmem::find_iter(body, b"\"data\"") {
        let Some(rest) = text_behind(&body[at + 6..]) else { continue };
        let data = memchr::memchr(b'"', rest).unwrap_or(rest.len());
        let before = &body[at.saturating_sub(KIND_WITHIN)..at];
        let after = &rest[data..rest.len().min(data + KIND_WITHIN)];
        if [before, after].iter().any(|near| memchr::memmem::find(near, b"image/").is_some()) {
            images += 1;
            image_bytes += data as u64;
        }
    }
    let text = (body.len() as u64).saturating_sub(image_bytes);
    (text * 2).div_ceil(BYTES_FOR_TWO) + images * LARGEST_IMAGE
}
