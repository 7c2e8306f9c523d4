//! How do others write numbers, moments and waits?
//!
//! Liberal in what it reads: a list, several lines, a fraction, any usual form of a date. What
//! cannot be read says nothing. Pure: waits are counted from `now`, which is an argument.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Span, SpanRelativeTo, civil, tz::TimeZone};

use crate::failover::cooldown::Timestamp;

/// More members of a list than this are not looked at.
const MOST_ITEMS: usize = 16;
/// A number of this size counts milliseconds: as seconds it would be the year 5138.
const FIRST_MILLIS: f64 = 1e11;
/// Whoever says more means for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// What SDKs obey before `retry-after`.
pub const RETRY_AFTER_MS: &str = "retry-after-ms";

/// Numbers of this range are moments where a wait is expected: as a wait they would be 31 years.
const MOMENTS: std::ops::Range<f64> = 1e9..1e13;
/// What may stand behind a number of seconds.
const UNITS: [&str; 4] = ["s", "sec", "secs", "seconds"];

/// What can be read of a value that may be a list; a date has a comma of its own, and what follows
/// a semicolon is said about the value.
pub(super) fn items<'a, T>(
    value: &'a str,
    read: impl Fn(&str) -> Option<T> + 'a,
) -> impl Iterator<Item = T> + 'a {
    let tidy = |item: &'a str| {
        let value = item.split(';').next().unwrap_or_default();
        value.trim_matches(|c: char| c.is_ascii_whitespace() || c == '"')
    };
    let commas = value.match_indices(',').map(|(at, _)| at).chain([value.len()]);
    let mut commas = commas.take(MOST_ITEMS).peekable();
    let mut start = 0;
    std::iter::from_fn(move || {
        loop {
            let end = commas.next()?;
            let with_next = commas.peek().map(|next| &value[start..*next]);
            let item = read(tidy(&value[start..end]));
            start = end + 1;
            let item = item.or_else(|| read(tidy(with_next?)));
            if item.is_some() {
                return item;
            }
        }
    })
}

pub(super) fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// A number that is not negative, of any size; `NaN` and `inf` are words.
fn amount(text: &str) -> Option<f64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    number(text).filter(|_| text.starts_with(|first: char| first.is_ascii_digit()))
}

/// A number of seconds, with or without its unit.
fn seconds(text: &str) -> Option<f64> {
    let end = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = UNITS.iter().any(|unit| text[end.len()..].eq_ignore_ascii_case(unit));
    amount(if unit { end.trim_end() } else { text })
}

/// Seconds or milliseconds since 1970, or a date.
pub(super) fn moment(text: &str) -> Option<Timestamp> {
    let Some(since) = amount(text) else { return date(text) };
    let seconds = if since >= FIRST_MILLIS { since / 1000.0 } else { since };
    Timestamp::UNIX_EPOCH.checked_add(SignedDuration::try_from_secs_f64(seconds).ok()?).ok()
}

/// The end of a window: a moment, or a wait from now on in seconds or with its units.
pub(super) fn reset(text: &str, now: Timestamp) -> Option<Timestamp> {
    match amount(text) {
        Some(seconds) if seconds < MOMENTS.start => after(seconds, now),
        _ => moment(text).or_else(|| after(span(text)?, now)),
    }
}

/// A wait with its units, in seconds: `1h30m`, `6m0s`, `90 minutes`, `PT1H`.
fn span(text: &str) -> Option<f64> {
    let span: Span = text.parse().ok()?;
    let wait = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    (!wait.is_negative()).then(|| wait.as_secs_f64())
}

/// So many seconds from now, or a year, whichever is sooner.
fn after(seconds: f64, now: Timestamp) -> Option<Timestamp> {
    let wait = Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_WAIT);
    now.checked_add(wait.min(LONGEST_WAIT)).ok()
}

/// RFC 3339, of which the offset may be missing, or an HTTP date in one of its three forms (RFC
/// 9110, section 5.6.7).
fn date(text: &str) -> Option<Timestamp> {
    let http = || Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok();
    let mail = || Some(rfc2822::parse(text).ok()?.timestamp());
    let plain = || text.parse::<civil::DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    let plain = || Some(plain()?.timestamp());
    text.parse().ok().or_else(http).or_else(mail).or_else(plain)
}

/// When `retry-after` ends (RFC 9110, section 10.2.3), or `retry-after-ms`, if that is later; each
/// may be a fraction.
pub(super) fn retry_after_end(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    let lines = |name| headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let in_seconds = |text: &str| match seconds(text) {
        Some(since) if MOMENTS.contains(&since) => moment(text),
        Some(seconds) => after(seconds, now),
        None => date(text).or_else(|| after(span(text)?, now)),
    };
    let in_millis = |text: &str| after(amount(text)? / 1000.0, now);
    let seconds = lines(RETRY_AFTER.as_str()).flat_map(|value| items(value, in_seconds));
    let millis = lines(RETRY_AFTER_MS).flat_map(|value| items(value, in_millis));
    seconds.chain(millis).max()
}

/// The hint of an answer's `retry-after` in seconds, for an answer that is handed on.
#[must_use]
pub fn retry_after_seconds(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let left = retry_after_end(headers, now)?.duration_since(now);
    Some(Duration::try_from(left).unwrap_or_default().as_millis().div_ceil(1000) as u64)
}
