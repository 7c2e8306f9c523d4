//! What a stack is like and what it runs, as several commands take it.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::aws::values::{AccountId, Boundary, Concurrency, Memory, Retention, Timeout};
use crate::image::{Architecture, Digest};
use crate::stack::options::Choice;

/// What the stack is like. What was once asked stays until something else is; `default` takes it
/// back
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Stack options")]
pub struct StackArgs {
    /// The function's memory in MiB, 128 to 10240 [at first: 256]
    #[arg(long, value_name = "MIB")]
    pub memory: Option<Choice<Memory>>,
    /// The longest time of one request in seconds, 1 to 900 [at first: 900]
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<Choice<Timeout>>,
    /// How long log lines are kept, in days [at first: 30]
    #[arg(long, value_name = "DAYS")]
    pub log_retention_days: Option<Choice<Retention>>,
    /// Requests at once that are reserved for the function, and its limit [at first: none]
    #[arg(long, value_name = "NUMBER")]
    pub reserved_concurrency: Option<Choice<Concurrency>>,
    /// The policy that bounds the function's role [at first: none]
    #[arg(long, value_name = "ARN")]
    pub permissions_boundary: Option<Choice<Boundary>>,
    /// The processors to run on, arm64 or `x86_64` [default: what is deployed, else arm64]
    #[arg(long, value_name = "NAME")]
    pub architecture: Option<Architecture>,
    /// A CloudWatch dashboard and two alarms [default: what is deployed, else none]
    #[arg(long, conflicts_with = "no_dashboard")]
    pub dashboard: bool,
    /// Take dashboard and alarms away
    #[arg(long)]
    pub no_dashboard: bool,
    /// Set a variable of the function; it stays set. Repeatable
    #[arg(long, value_name = "KEY=VALUE")]
    pub env: Vec<String>,
    /// Take over what has our names but not our tags
    #[arg(long)]
    pub adopt: bool,
}

impl StackArgs {
    /// Whether a dashboard was asked for, or to be without one.
    #[must_use]
    pub const fn wants_dashboard(&self) -> Option<bool> {
        match (self.dashboard, self.no_dashboard) {
            (true, _) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        }
    }
}

/// What the function runs
#[derive(Debug, Args)]
pub struct ImageArgs {
    /// A ready binary of the function, for --architecture [default: it is built from the source in
    /// the current folder]
    #[arg(long, value_name = "PATH")]
    pub binary: Option<PathBuf>,
    /// An image that the repository still has: the way back
    #[arg(long, value_name = "DIGEST", conflicts_with = "binary")]
    pub image: Option<Digest>,
}

#[derive(Debug, Default, Args)]
pub struct TemplateArgs {
    #[command(flatten)]
    pub stack: StackArgs,
    /// JSON or YAML [default: json]
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    pub format: Option<Format>,
    /// The account that the template is for [default: that of the credentials]
    #[arg(long, value_name = "ID")]
    pub account: Option<AccountId>,
    /// Everything outlives its CloudFormation stack, so that `up` can take it over
    #[arg(long)]
    pub retain: bool,
}

/// In which words a template is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    #[default]
    Json,
    Yaml,
}
