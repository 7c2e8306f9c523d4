//! What was asked for on the command line?
//!
//! Must not print or end the process: the binary does both.

use std::ffi::OsString;
use std::fmt::Write as _;

use lexopt::Arg::{Long, Short, Value};

use super::VARIABLES;
use crate::money::period::is_month;
use crate::money::statement::view::By;

/// The exit code of wrong usage (`EX_USAGE` of BSD's `sysexits.h`).
pub const EXIT_USAGE: u8 = 64;

/// What the binary is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Serve(Options),
    /// Says what Bedrock has cost.
    Usage(Options, Wanted),
    Help,
    Version,
}

/// What the command line says about serving.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// As it was written; [`super::Settings::from_vars`] checks it.
    pub listen: Option<OsString>,
}

/// What is to be shown of what Bedrock has cost, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// `2026-11`; `None` is the month that it is.
    pub month: Option<String>,
    /// A user, or the beginning of a fingerprint.
    pub user: Option<String>,
    pub by: By,
    pub form: Form,
}

/// For whom it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    #[default]
    Table,
    Json,
    Csv,
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
                Value(word) if word == "usage" => return Self::usage(&mut parser, options),
                Short('h') | Long("help") => return Ok(Self::Help),
                Short('V') | Long("version") => return Ok(Self::Version),
                Long("listen") => options.listen = Some(parser.value()?),
                Short(_) | Long(_) | Value(_) => return Err(arg.unexpected().into()),
            }
        }
        Ok(Self::Serve(options))
    }

    /// The rest of what was typed behind `usage`.
    fn usage(parser: &mut lexopt::Parser, mut options: Options) -> Result<Self, UsageError> {
        let mut wanted = Wanted::default();
        while let Some(arg) = parser.next()? {
            match arg {
                Short('h') | Long("help") => return Ok(Self::Help),
                Long("listen") => options.listen = Some(parser.value()?),
                Long("month") => wanted.month = Some(text(parser, "month", is_month)?),
                Long("user") => wanted.user = Some(text(parser, "user", |_| true)?),
                Long("by") => {
                    let by = text(parser, "by", |word| By::parse(word).is_some())?;
                    wanted.by = By::parse(&by).unwrap_or_default();
                }
                Long("json") if wanted.form != Form::Csv => wanted.form = Form::Json,
                Long("csv") if wanted.form != Form::Json => wanted.form = Form::Csv,
                Long("json" | "csv") => {
                    let problem = "--json and --csv exclude each other".to_owned();
                    return Err(UsageError { problem });
                }
                Short(_) | Long(_) | Value(_) => return Err(arg.unexpected().into()),
            }
        }
        Ok(Self::Usage(options, wanted))
    }
}

/// The value of an option, if it is one.
fn text(
    parser: &mut lexopt::Parser,
    option: &str,
    fits: impl FnOnce(&str) -> bool,
) -> Result<String, UsageError> {
    let text = parser.value()?.into_string().unwrap_or_default();
    if fits(&text) {
        return Ok(text);
    }
    let form = if option == "by" { "day, class or user" } else { "a month such as 2026-11" };
    Err(UsageError { problem: format!("--{option} wants {form}") })
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
       function usage [--listen ADDR] [--month YYYY-MM] [--by day|class|user]
                      [--user NAME] [--json|--csv]

Then start Claude Code with ANTHROPIC_BASE_URL=http://127.0.0.1:8080; its own
login or API key stays in use.

Options:
      --listen ADDR  IP address and port to listen on, instead of LISTEN_ADDRESS;
                     for 'usage', where the proxy listens
  -h, --help         Show this
  -V, --version      Show the version

'usage' says what Bedrock has cost, from the file of the embedded store or the
proxy that holds it.

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
