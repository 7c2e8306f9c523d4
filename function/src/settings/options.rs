//! What was asked for on the command line?
//!
//! Must not print or end the process: the binary does both.

use std::ffi::OsString;
use std::fmt::Write as _;

use lexopt::Arg::{Long, Short, Value};

use super::VARIABLES;

/// The exit code of wrong usage (`EX_USAGE` of BSD's `sysexits.h`).
pub const EXIT_USAGE: u8 = 64;

/// What the binary is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Serve(Options),
    Help,
    Version,
}

/// What the command line says about serving.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// As it was written; [`super::Settings::from_vars`] checks it.
    pub listen: Option<OsString>,
}

/// A command line that means nothing; its text says what would.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; see '--help'")]
pub struct UsageError {
    problem: String,
}

impl Command {
    /// Reads the arguments of this process.
    ///
    /// # Errors
    ///
    /// [`UsageError`], for which the exit code is [`EXIT_USAGE`].
    pub fn from_args() -> Result<Self, UsageError> {
        Self::parse(std::env::args_os().skip(1))
    }

    /// Reads the arguments, without the program's own name.
    ///
    /// # Errors
    ///
    /// [`UsageError`], for which the exit code is [`EXIT_USAGE`].
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, UsageError> {
        let mut parser = lexopt::Parser::from_args(args);
        let mut options = Options::default();
        while let Some(arg) = parser.next()? {
            match arg {
                Short('h') | Long("help") => return Ok(Self::Help),
                Short('V') | Long("version") => return Ok(Self::Version),
                Long("listen") => options.listen = Some(parser.value()?),
                Short(_) | Long(_) | Value(_) => return Err(arg.unexpected().into()),
            }
        }
        Ok(Self::Serve(options))
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self { problem: error.to_string() }
    }
}

/// Returns the text of `--version`, with the end of its line.
#[must_use]
pub fn version() -> String {
    format!("claude-proxy {}\n", env!("CARGO_PKG_VERSION"))
}

/// Returns the text of `--help`, with the end of its last line.
#[must_use]
pub fn help() -> String {
    let mut text = HEAD.to_owned();
    for variable in &VARIABLES {
        let (name, default) = (variable.name, variable.default.replace('`', ""));
        writeln!(text, "  {name} [{default}]").expect("a string takes any text");
        for line in wrapped(&variable.meaning.replace('`', "")) {
            writeln!(text, "      {line}").expect("a string takes any text");
        }
    }
    text.push_str(TAIL);
    text
}

const HEAD: &str = "\
Answers Claude Code from Anthropic, and from AWS Bedrock while Anthropic rate-limits

Usage: function [--listen ADDR]

Then start Claude Code with ANTHROPIC_BASE_URL=http://127.0.0.1:8080; its own
login or API key stays in use.

Options:
      --listen ADDR  IP address and port to listen on, instead of LISTEN_ADDRESS
  -h, --help         Show this
  -V, --version      Show the version

Environment, with the [default] of each variable:

";

const TAIL: &str = "
AWS credentials and region come from where the AWS CLI has them (AWS_PROFILE,
AWS_REGION, AWS_ENDPOINT_URL_BEDROCK_RUNTIME, …). An empty variable counts as unset.
";

/// Breaks `text` between words into lines of at most 72 characters.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is a first line");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= 72 {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}
