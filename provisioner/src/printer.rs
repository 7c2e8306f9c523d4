//! Data goes to standard output, what happens meanwhile to standard error.
//!
//! With `--json` there is exactly one object on standard output, also after a failure.

use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};

use anstream::{AutoStream, ColorChoice};

use crate::plan::{Style, clean};

/// Where and how things are printed.
#[derive(Debug, Clone, Copy)]
pub struct Printer {
    json: bool,
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
        Self {
            json,
            stdout: style(AutoStream::choice(&io::stdout())),
            stderr: style(AutoStream::choice(&io::stderr())),
        }
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

    /// Prints what was asked for. A reader that has gone away is nobody's failure.
    pub fn data(self, text: impl Display) {
        drop(writeln!(io::stdout(), "{text}"));
    }

    /// Prints one of many lines.
    ///
    /// # Errors
    ///
    /// If nobody reads standard output any more.
    pub fn line(self, text: impl Display) -> io::Result<()> {
        writeln!(io::stdout(), "{text}")
    }

    /// Whether a person looks at standard output.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        io::stdout().is_terminal()
    }

    /// Prints what was asked for, as text, unless an object is wanted.
    pub fn text(self, text: impl Display) {
        if !self.json {
            self.data(text);
        }
    }

    /// Says what happens.
    pub fn progress(self, text: &str) {
        drop(writeln!(io::stderr(), "{text}"));
    }

    /// Says what is waited for.
    pub fn waiting(self, text: &str) {
        let text = format!("    waiting: {text}");
        self.progress(&self.stderr.paint("2", text));
    }

    /// Says what went wrong, what it came of, and what can be done.
    pub fn error(self, message: &str, causes: &[String], hint: Option<&str>) {
        let errors = message.lines().map(|line| ("error:", line));
        let causes = causes.iter().map(|cause| ("caused by:", cause.as_str()));
        for (title, line) in errors.chain(causes) {
            self.progress(&format!("{} {}", self.stderr.paint("1;31", title), clean(line)));
        }
        if let Some(hint) = hint {
            self.progress(&format!("\n{} {hint}", self.stderr.paint("1;36", "hint:")));
        }
    }
}
