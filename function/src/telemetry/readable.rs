//! How a line of the log looks to a person: moment, level, sentence, fields.
//!
//! In the form of `tracing-subscriber`'s own lines, whose machinery costs more than all else that
//! the proxy does with a small request: there every value goes through a formatter of its own.

use std::fmt::{self, Debug, Write as _};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock;

/// The field of an event that is its sentence.
const MESSAGE: &str = "message";

/// Writes an event as one line, in colour where the writer has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readable;

impl<S, N> FormatEvent<S, N> for Readable
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let colour = writer.has_ansi_escapes();
        let mut line = String::with_capacity(384);
        let [dim, plain] = if colour { ["\x1b[2m", "\x1b[0m"] } else { [""; 2] };
        line.push_str(dim);
        push_moment(&mut line, clock::now());
        line.push_str(plain);
        line.push(' ');
        line.push_str(level(*event.metadata().level(), colour));
        let [sentence, others] = [64, 320].map(String::with_capacity);
        let mut fields = EventFields { sentence, others, colour };
        event.record(&mut fields);
        for part in [&fields.sentence, &fields.others] {
            line.push_str(part);
        }
        line.push('\n');
        writer.write_str(&line)
    }
}

/// Writes a moment (RFC 3339). Most are of the second of the one before, which is spelt already.
fn push_moment(line: &mut String, now: Timestamp) {
    static SPELT: Mutex<(i64, String)> = Mutex::new((i64::MIN, String::new()));
    let mut spelt = SPELT.lock().unwrap_or_else(PoisonError::into_inner);
    if spelt.0 != now.as_second() {
        *spelt = (now.as_second(), now.strftime("%Y-%m-%dT%H:%M:%S.").to_string());
    }
    line.push_str(&spelt.1);
    let micros = now.subsec_microsecond();
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(micros);
    line.push_str(&"000000"[digits.len()..]);
    line.push_str(digits);
    line.push('Z');
}

const fn level(level: Level, colour: bool) -> &'static str {
    match (level, colour) {
        (Level::ERROR, false) => "ERROR",
        (Level::WARN, false) => " WARN",
        (Level::INFO, false) => " INFO",
        (Level::DEBUG, false) => "DEBUG",
        (Level::TRACE, false) => "TRACE",
        (Level::ERROR, true) => "\x1b[31mERROR\x1b[0m",
        (Level::WARN, true) => "\x1b[33m WARN\x1b[0m",
        (Level::INFO, true) => "\x1b[32m INFO\x1b[0m",
        (Level::DEBUG, true) => "\x1b[34mDEBUG\x1b[0m",
        (Level::TRACE, true) => "\x1b[35mTRACE\x1b[0m",
    }
}

/// The sentence, and behind it each field as ` name=value`.
struct EventFields {
    sentence: String,
    others: String,
    colour: bool,
}

impl EventFields {
    /// Where the value of `field` goes, behind its name.
    fn begin(&mut self, field: &Field) -> &mut String {
        if field.name() == MESSAGE {
            self.sentence.push(' ');
            return &mut self.sentence;
        }
        let (before, behind) = match self.colour {
            true => (" \x1b[3m", "\x1b[0m\x1b[2m=\x1b[0m"),
            false => (" ", "="),
        };
        for part in [before, field.name(), behind] {
            self.others.push_str(part);
        }
        &mut self.others
    }
}

impl Visit for EventFields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.begin(field).push_str(itoa::Buffer::new().format(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.begin(field).push_str(if value { "true" } else { "false" });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let out = self.begin(field);
        let plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\';
        if value.bytes().all(plain) {
            for part in ["\"", value, "\""] {
                out.push_str(part);
            }
        } else {
            let _never_fails = write!(out, "{value:?}");
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let out = self.begin(field);
        let start = out.len();
        let _never_fails = write!(out, "{value:?}");
        // What would steer a terminal is written out.
        let strange = |byte: &u8| byte.is_ascii_control() || !byte.is_ascii();
        if out.as_bytes()[start..].iter().any(strange) {
            let raw = out.split_off(start);
            for letter in raw.chars() {
                match letter.is_control() {
                    true => out.extend(letter.escape_default()),
                    false => out.push(letter),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_line_looks_as_the_machinery_would_have_it() {
        for colour in [false, true] {
            let layer = || tracing_subscriber::fmt().with_target(false).with_ansi(colour);
            let theirs = seen(|sink| {
                tracing::subscriber::with_default(
                    layer().with_writer(move || sink.clone()).finish(),
                    say,
                );
            });
            let ours = seen(|sink| {
                let layer = layer().event_format(Readable).with_writer(move || sink.clone());
                tracing::subscriber::with_default(layer.finish(), say);
            });
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn a_moment_is_whole_in_every_second() {
        for moment in [
            "2026-11-30T03:44:51.000007Z",
            "2026-11-30T03:44:51.891239Z",
            "1970-01-01T00:00:00.500000Z",
        ] {
            let mut line = String::new();
            push_moment(&mut line, moment.parse().unwrap());
            assert_eq!(line, moment);
        }
    }

    #[test]
    fn an_event_is_one_line_and_steers_no_terminal() {
        let line = seen(|sink| {
            let layer = tracing_subscriber::fmt().with_ansi(false).event_format(Readable);
            let layer = layer.with_writer(move || sink.clone()).finish();
            let bell = "a\nb\u{1b}[31m\u{7}\u{9b}";
            let say = || tracing::error!(text = bell, shown = %bell, "so {bell}");
            tracing::subscriber::with_default(layer, say);
        });
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(!line.trim_end().contains(char::is_control), "{line:?}");
    }

    #[expect(clippy::cognitive_complexity, reason = "tracing's macros count as branches")]
    fn say() {
        let (none, some): (Option<u64>, _) = (None, Some("two words"));
        tracing::info!(request.id = "req_1", none, some, n = 7_u64, is = true, "answered by {}", 1);
        tracing::warn!(quoted = "a \"b\" \\ é", shown = %"a b", odd = ?Some(1), low = -1);
        tracing::error!("nothing else");
    }

    /// What is written, without the moments.
    fn seen(write: impl FnOnce(Sink)) -> String {
        let sink = Sink::default();
        write(sink.clone());
        let written = sink.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let text = String::from_utf8(written).unwrap();
        let zoned = |line: &str| line.split_once('Z').map(|(_, rest)| rest.to_owned());
        text.lines().filter_map(zoned).map(|line| line + "\n").collect()
    }

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
