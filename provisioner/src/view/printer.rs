//! Data goes to standard output, what happens meanwhile to standard error.
//!
//! With `--json` there is exactly one object on standard output, also after a failure.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, OnceLock, PoisonError};

use anstream::{AutoStream, ColorChoice};
use terminal_size::{Height, Width};

use crate::engine::plan::Style;
use crate::engine::words::{clean, quoted, unsteered};
use crate::engine::{Message, Say};
use crate::view::wrap::wrap;

/// A mebibyte, in bytes.
pub const MIB: f64 = 1024.0 * 1024.0;

/// Goes to the begin of a line that is not ended, and clears it (ECMA-48).
const CLEAR: &str = "\r\x1b[2K";

/// Where and how things are printed.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    json: bool,
    /// Standard error is a terminal that can more than add lines.
    terminal: bool,
    verbose: bool,
    stdout: Style,
    stderr: Style,
}

impl Printer {
    /// Colour is for terminals only, and only if nobody has said no: `--no-color`, `NO_COLOR`,
    /// `CLICOLOR=0`, `TERM=dumb`.
    #[must_use]
    pub fn new(json: bool, no_colour: bool) -> Self {
        let style = |choice| match choice {
            ColorChoice::Never => Style::Plain,
            _ if no_colour => Style::Plain,
            ColorChoice::Auto | ColorChoice::AlwaysAnsi | ColorChoice::Always => Style::Colour,
        };
        let on_stderr = AutoStream::choice(&io::stderr());
        Self {
            json,
            terminal: io::stderr().is_terminal() && on_stderr != ColorChoice::Never,
            verbose: false,
            stdout: style(AutoStream::choice(&io::stdout())),
            stderr: style(on_stderr),
        }
    }

    /// Says more, if that is wanted.
    #[must_use]
    pub const fn with_verbose(self, verbose: bool) -> Self {
        Self { verbose, ..self }
    }

    /// Whether more is to be said.
    #[must_use]
    pub const fn is_verbose(self) -> bool {
        self.verbose
    }

    /// Whether somebody is there to read a question and to answer it.
    #[must_use]
    pub fn can_ask(self) -> bool {
        io::stdin().is_terminal() && io::stderr().is_terminal()
    }

    /// Whether one object is wanted instead of text.
    #[must_use]
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Whether standard error shows how far something has come.
    #[must_use]
    pub const fn shows_progress(self) -> bool {
        self.terminal
    }

    /// The columns of standard error, or those of a usual terminal.
    #[must_use]
    pub fn width(self) -> usize {
        let size = terminal_size::terminal_size_of(io::stderr());
        size.map_or(COLUMNS, |(width, _)| usize::from(width.0))
    }

    /// How standard output looks.
    #[must_use]
    pub const fn stdout_style(self) -> Style {
        self.stdout
    }

    /// How standard error looks.
    #[must_use]
    pub const fn stderr_style(self) -> Style {
        self.stderr
    }

    /// Prints what was asked for. A reader that has gone away is nobody's failure; all else is told
    /// by [`Self::unprinted`].
    pub fn data(self, text: impl Display) {
        drop(self.line(text));
    }

    /// Prints one of many lines.
    ///
    /// # Errors
    ///
    /// If nobody reads standard output any more.
    pub fn line(self, text: impl Display) -> io::Result<()> {
        let mut out = io::stdout();
        let printed = writeln!(out, "{text}").and_then(|()| out.flush());
        if let Err(why) = &printed {
            note_unprinted(why);
        }
        printed
    }

    /// Why something that was to be printed is not, if that is so: it is nobody's success.
    #[must_use]
    pub fn unprinted() -> Option<&'static str> {
        UNPRINTED.get().map(String::as_str)
    }

    /// Whether standard output leads anywhere. One that was closed leads to the null device, where
    /// Rust's runtime puts it.
    #[must_use]
    pub fn leads_somewhere() -> bool {
        !is_null_device().unwrap_or(false)
    }

    /// Whether a person looks at standard output.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        io::stdout().is_terminal()
    }

    /// Whether what is shown can be drawn over: on a terminal that takes commands, and on which
    /// nothing else is said.
    #[must_use]
    pub fn redraws(self) -> bool {
        let quiet = !self.json && !self.verbose;
        quiet && self.is_terminal() && anstyle_query::term_supports_ansi_color()
    }

    /// Prints what was asked for, as text, unless an object is wanted.
    pub fn text(self, text: impl Display) {
        if !self.json {
            let text = unsteered(&text.to_string());
            self.data(fitted(text, terminal_size::terminal_size_of(io::stdout())));
        }
    }

    /// Says what happens.
    pub fn progress(self, text: &str) {
        let clear = if self.terminal { CLEAR } else { "" };
        let text = fitted(unsteered(text), terminal_size::terminal_size_of(io::stderr()));
        drop(writeln!(io::stderr(), "{clear}{text}"));
    }

    /// Passes on what another program says.
    pub fn pass_on(self, words: &[u8]) {
        drop(io::stderr().write_all(words));
    }

    /// For whoever does something and says what.
    #[must_use]
    pub fn say(self) -> Say {
        let meter = Mutex::new(Meter { printer: self, quarters: 0 });
        Say::new(move |said| match said {
            Message::Progress(text) => self.progress(text),
            Message::Waiting(text) => self.waiting(text),
            Message::Detail(text) => self.verbose(text),
            Message::Sent { done, total } => {
                meter.lock().unwrap_or_else(PoisonError::into_inner).show(done, total);
            }
        })
    }

    /// Says what only those want to know who asked for more.
    pub fn verbose(self, text: &str) {
        if self.verbose {
            self.progress(&self.stderr.paint("2", format!("    {text}")));
        }
    }

    /// Says what is waited for.
    pub fn waiting(self, text: &str) {
        let text = format!("    waiting: {text}");
        self.progress(&self.stderr.paint("2", text));
    }

    /// Whether all of that can be said on as many lines as a person reads.
    #[must_use]
    pub fn fits(message: &str, causes: &[String], hint: Option<&str>) -> bool {
        let errors = message.lines().map(|line| height("error:", &clean(line)));
        let causes = causes.iter().map(|cause| height("caused by:", &clean(cause)));
        let hint = hint.map_or(0, |hint| 1 + height("hint:", &clean(hint)));
        errors.chain(causes).sum::<usize>() + hint <= LINES
    }

    /// Says what went wrong, what it came of, and what can be done, on as many lines as a person
    /// reads, unless more is wanted.
    pub fn error(self, message: &str, causes: &[String], hint: Option<&str>) {
        let errors = message.lines().map(|line| ("error:", clean(line)));
        let causes = causes.iter().map(|cause| ("caused by:", clean(cause)));
        let all: Vec<(&str, String)> = errors.chain(causes).collect();
        let hint = hint.map(clean);
        let below = hint.as_ref().map_or(0, |hint| 1 + height("hint:", hint));
        let lines = LINES.saturating_sub(below);
        let shown = if self.verbose { all.len() } else { fitting(&all, lines) };
        for (title, line) in all.iter().take(shown) {
            self.progress(&format!("{} {line}", self.stderr.paint("1;31", title)));
        }
        if shown < all.len() {
            self.progress(&format!("… and {} more: -v shows all", all.len() - shown));
        }
        if let Some(hint) = hint {
            self.progress(&format!("\n{} {hint}", self.stderr.paint("1;36", "hint:")));
        }
    }
}

/// The first thing that could not be printed: a process has one standard output.
static UNPRINTED: OnceLock<String> = OnceLock::new();

/// Keeps why something could not be printed, unless its reader has just gone away.
pub fn note_unprinted(why: &io::Error) {
    if why.kind() != io::ErrorKind::BrokenPipe {
        UNPRINTED.get_or_init(|| quoted(&why.to_string()));
    }
}

#[cfg(unix)]
fn is_null_device() -> io::Result<bool> {
    use std::fs::{File, metadata};
    use std::os::fd::AsFd as _;
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let out = File::from(io::stdout().as_fd().try_clone_to_owned()?).metadata()?;
    Ok(out.file_type().is_char_device() && out.rdev() == metadata("/dev/null")?.rdev())
}

#[cfg(not(unix))]
fn is_null_device() -> io::Result<bool> {
    Ok(false)
}

/// `text` as it fits a terminal, if it goes to one.
fn fitted(text: String, size: Option<(Width, Height)>) -> String {
    match size {
        Some((Width(width @ 1..), _)) => wrap(&text, width.into()),
        Some(_) | None => text,
    }
}

/// How many lines an error may have, of so many columns.
const LINES: usize = 8;
const COLUMNS: usize = 80;

/// The lines that a text takes behind its title.
fn height(title: &str, text: &str) -> usize {
    (title.len() + 1 + text.chars().count()).div_ceil(COLUMNS)
}

/// How many of these fit into so many lines, one of which says that there are more; at least one.
fn fitting(all: &[(&str, String)], lines: usize) -> usize {
    let heights = || all.iter().map(|(title, text)| height(title, text));
    if heights().sum::<usize>() <= lines {
        return all.len();
    }
    let mut left = lines.saturating_sub(1);
    let fits = heights().take_while(|height| {
        let fits = *height <= left;
        left = left.saturating_sub(*height);
        fits
    });
    fits.count().max(1)
}

/// How much of something is done: a bar on a terminal, elsewhere a line for each quarter.
#[derive(Debug)]
struct Meter {
    printer: Printer,
    quarters: u64,
}

impl Meter {
    /// Tells it how many bytes of how many are done.
    fn show(&mut self, done: u64, total: u64) {
        let quarters = done.saturating_mul(4) / total.max(1);
        let text = sentence(done, total);
        if self.printer.terminal {
            // The last state gives its line to whatever is said next.
            let bar = if done < total {
                format!("    {} {text}", bar(done, total))
            } else {
                String::new()
            };
            drop(write!(io::stderr(), "{CLEAR}{bar}"));
            drop(io::stderr().flush());
        } else if quarters > self.quarters {
            self.printer.progress(&format!("    {text}"));
        }
        self.quarters = quarters;
    }
}

/// The width of a bar, in characters.
const BAR: u64 = 24;

fn bar(done: u64, total: u64) -> String {
    let filled = done.min(total).saturating_mul(BAR) / total.max(1);
    (0..BAR).map(|at| if at < filled { '█' } else { '░' }).collect()
}

fn sentence(done: u64, total: u64) -> String {
    format!("{:.1} of {:.1} MiB", done as f64 / MIB, total as f64 / MIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_what_it_shows() {
        assert_eq!(bar(1, 2), "████████████░░░░░░░░░░░░");
        assert_eq!(bar(2, 2), "████████████████████████");
        assert_eq!((bar(0, 0), bar(9, 2)), ("░".repeat(24), "█".repeat(24)));
        assert_eq!(sentence(1 << 19, 2 << 20), "0.5 of 2.0 MiB");
    }
}
