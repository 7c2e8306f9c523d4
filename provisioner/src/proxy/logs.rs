//! How does a person read the function's log? Every line is put into one of a few kinds, in words
//! or as one JSON object.
//!
//! Pure: the time zone is an argument. What a line holds is somebody else's text, so nothing of it
//! reaches a terminal as more than text.

mod line;
mod since;
mod tail;

pub use line::{Level, LogLine};
pub use since::Since;
pub use tail::{Event, LATE, Tail};

use std::fmt::Write as _;

use function::telemetry::{LoggedTokens, RequestLine};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::engine::plan::Style;
use crate::engine::words::{clean, cut};

/// What stands above the columns.
pub const HEAD: &str = "TIME                 WHO             MODEL                       \
                        BY         STATUS    FIRST    TOTAL  TOKENS, AND WHY";

/// How a line is shown to a person.
#[derive(Debug, Clone)]
pub struct LogStyle {
    pub zone: TimeZone,
    pub style: Style,
}

impl LogStyle {
    /// One line of text, without its end.
    #[must_use]
    pub fn text(&self, line: &LogLine, at: Timestamp) -> String {
        let time = at.to_zoned(self.zone.clone());
        let time = self.style.paint("2", time.strftime("%Y-%m-%d %H:%M:%S"));
        match line {
            LogLine::Request(request) => format!("{time}  {}", self.request(request)),
            LogLine::Notice { level, message } => {
                format!("{time}  {}", self.notice(*level, message))
            }
            LogLine::Platform { message } => {
                format!("{time}  {}", self.style.paint("2", printable(message)))
            }
        }
    }

    fn request(&self, line: &RequestLine) -> String {
        let or_dash = |text: &Option<String>| text.as_deref().map_or("-".to_owned(), printable);
        let call = format!("({})", printable(&line.call));
        let model = line.model.as_deref().map_or_else(|| call.clone(), printable);
        let call = if line.call == "messages" || line.model.is_none() { "" } else { &call };
        let upstream = line.upstream.as_deref().map_or("proxy".to_owned(), printable);
        let by = if upstream == "bedrock" { "33" } else { "0" };
        let status = line.status.map_or("-".to_owned(), |status| status.to_string());
        let good = line.status.is_some_and(|status| status < 400);
        let first = line.first_byte_ms.map_or("-".to_owned(), milliseconds);
        let mut text = format!(
            "{:<15} {model:<27} {} {}  {first:>7}  {:>7}",
            or_dash(&line.user),
            self.style.paint(by, format!("{upstream:<10}")),
            self.style.paint(if good { "32" } else { "31" }, format!("{status:>6}")),
            milliseconds(line.duration_ms),
        );
        let more = [call.to_owned(), tokens(line.tokens), why(line)];
        for more in more.into_iter().filter(|more| !more.is_empty()) {
            write!(text, "  {more}").expect("a string takes all");
        }
        text
    }

    fn notice(&self, level: Level, message: &str) -> String {
        let (word, colour) = match level {
            Level::Error => ("error", "1;31"),
            Level::Warn => ("warn", "33"),
            Level::Info => ("info", "0"),
            Level::Unknown => ("-", "0"),
        };
        format!("{} {}", self.style.paint(colour, format!("{word:<15}")), printable(message))
    }
}

/// The line as one object: `kind` is `request`, `notice` or `platform`.
#[must_use]
pub fn json(line: &LogLine, at: Timestamp) -> Value {
    let time = at.to_string();
    match line {
        LogLine::Request(line) => {
            let LoggedTokens { input, output, cache_read, cache_write } = line.tokens;
            json!({
                "time": time, "kind": "request", "id": line.id, "call": line.call,
                "user": line.user, "model": line.model, "stream": line.stream,
                "upstream": line.upstream, "reason": line.reason, "status": line.status,
                "attempts": line.attempts, "fault": line.fault, "cooldown_s": line.cooldown_s,
                "first_byte_ms": line.first_byte_ms, "duration_ms": line.duration_ms,
                "tokens": {
                    "input": input, "output": output, "cache_read": cache_read,
                    "cache_write": cache_write
                },
            })
        }
        LogLine::Notice { level, message } => {
            json!({"time": time, "kind": "notice", "level": level.as_str(), "message": message})
        }
        LogLine::Platform { message } => {
            json!({"time": time, "kind": "platform", "message": message})
        }
    }
}

/// Why Anthropic did not answer, what is remembered of it, and what went wrong.
fn why(line: &RequestLine) -> String {
    let remembered = line.cooldown_s.map(|seconds| format!("limited for {}", span(seconds)));
    let fault = line.fault.as_deref().map(|fault| format!("({})", printable(fault)));
    let reason = line.reason.as_deref().map(printable);
    let first = [reason, remembered].into_iter().flatten().collect::<Vec<_>>().join(", ");
    [Some(first).filter(|first| !first.is_empty()), fault]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(" ")
}

/// What went in, the cached part of it, and what came out.
fn tokens(tokens: LoggedTokens) -> String {
    let LoggedTokens { input, output, cache_read, cache_write } = tokens;
    if [input, output, cache_read, cache_write].iter().all(Option::is_none) {
        return String::new();
    }
    let sum = [input, cache_read, cache_write].into_iter().flatten().fold(0, u64::saturating_add);
    let cached = cache_read.filter(|read| *read > 0);
    let cached = cached.map(|read| format!(" ({} cached)", count(read))).unwrap_or_default();
    format!("{} in{cached}, {} out", count(sum), count(output.unwrap_or_default()))
}

/// A number with three digits at most.
#[must_use]
pub fn count(number: u64) -> String {
    let scaled = |unit: u64| format!("{}.{}", number / unit, number % unit * 10 / unit);
    match number {
        0..1_000 => number.to_string(),
        1_000..10_000 => format!("{}k", scaled(1_000)),
        10_000..1_000_000 => format!("{}k", number / 1_000),
        _ => format!("{}M", scaled(1_000_000)),
    }
}

/// A duration as a person says it, given in milliseconds.
#[must_use]
pub fn milliseconds(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..100_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => span(ms / 1_000),
    }
}

/// A longer duration, given in seconds.
#[must_use]
pub fn span(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    match seconds {
        0..100 => format!("{seconds} s"),
        100..3_600 => format!("{minutes} min"),
        _ if minutes == 0 => format!("{hours} h"),
        _ => format!("{hours} h {minutes} min"),
    }
}

/// The longest line that is shown to a person, in characters.
const MAX_LINE: usize = 2_000;

/// Somebody else's text, so that a terminal takes none of it for a command.
#[must_use]
pub fn printable(text: &str) -> String {
    clean(&cut(&text.trim_end().replace('\t', " "), MAX_LINE))
}
