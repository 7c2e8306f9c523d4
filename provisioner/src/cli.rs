//! What can be typed. The doc comments here are the help text.

pub mod money;
pub mod stack;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use function::caller::{InvalidUser, User};

use crate::aws::regions;
use crate::proxy::logs::Since;
use crate::stack::names::Name;

pub use money::{BudgetCommand, BudgetSet, PricesArgs, UsageArgs};
pub use stack::{Format, ImageArgs, StackArgs, TemplateArgs};

/// Create, show and remove claude-proxy in an AWS account
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    done, or nothing to do
  1    failed
  2    changes are pending (plan --exit-code)
  3    refused: nobody said yes, or something is not ours
  4    failed before the first change: credentials, rights, network, the build or the binary
  5    partly done: run it again
  64   wrong usage
  130  interrupted";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create what is missing and change what differs
    ///
    /// Shows the plan and asks before anything is changed. Run again, it says "No changes." and
    /// changes nothing. After a failure, or a crash, run it again: it finishes the job.
    Up(Up),
    /// Show what `up` would do, and change nothing
    Plan(PlanArgs),
    /// Print the stack as a template of AWS CloudFormation, for whoever has to approve it
    ///
    /// From the same declaration as `up`, for one account and region; what is there is not looked
    /// at. With --account nobody is asked, so no credentials are needed.
    Template(TemplateArgs),
    /// Remove all of it, the log group included
    ///
    /// Shows what will go and asks. What does not carry this stack's tags is left alone. Ends by
    /// looking again at what is left.
    Down,
    /// Show every resource, its state and how it differs, and ask the URL whether it is well
    ///
    /// With --watch it shows instead, again and again, who answers how much, who is limited and who
    /// asks: on a terminal in its place, elsewhere one block after the other, and with --json one
    /// object a line. Ctrl-C ends it with 0.
    Status(StatusArgs),
    /// Look at everything that has to be right, before `up` and after, each with its cure
    ///
    /// Ends with 4 if a check failed. What cannot be checked is a warning. Only reads, unless --fix
    /// or --spend is given.
    Doctor(DoctorArgs),
    /// Print what a shell needs to complete these commands
    ///
    /// For bash, in ~/.local/share/bash-completion/completions: `completions bash > provisioner`
    Completions {
        #[arg(value_name = "SHELL")]
        shell: Shell,
    },
    /// Print the manual page, of all or of one command
    ///
    /// To read it: provisioner man | man -l -
    Man {
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
    /// Show the function's log: one line for each request, and what else it says
    ///
    /// Times are local. With --json there is one object a line. The lines that AWS Lambda itself
    /// writes for every request are shown with -v. Ctrl-C ends it with 130.
    Logs(LogsArgs),
    /// Give people keys to the proxy, and take them back
    User {
        #[command(subcommand)]
        command: UserCommand,
    },
    /// Show who is limited, on which models, until when, and how often Bedrock has answered since
    #[command(args_conflicts_with_subcommands = true)]
    Limits {
        #[command(subcommand)]
        command: Option<LimitsCommand>,
    },
    /// Show and change the settings of the function, one by one
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Show what Bedrock has cost in a month, by user, model class or day
    Usage(UsageArgs),
    /// Show and change what may be spent on Bedrock, and by whom
    Budget {
        #[command(subcommand)]
        command: BudgetCommand,
    },
    /// Compare the prices that answers are booked at with those that AWS asks
    ///
    /// Asks for the account's own offers, else for the public list. Nothing changes by itself.
    Prices(PricesArgs),
    /// Prove that Bedrock answers when Anthropic says 429, before it does
    ///
    /// The function answers one tiny request (16 output tokens, a fraction of a cent) as if
    /// Anthropic had just said 429. Shows who answered, how fast, what it cost and what was
    /// remembered; nothing of it is left. `config set DRILL_ENABLED=false` forbids it.
    Drill(DrillArgs),
}

impl Command {
    /// Whether it changes nothing, so that it can be left at any moment.
    #[must_use]
    pub const fn only_reads(&self) -> bool {
        match self {
            Self::Plan(_) | Self::Status(_) | Self::Logs(_) | Self::Usage(_) => true,
            Self::Budget { command } => matches!(command, BudgetCommand::List),
            Self::Prices(args) => !args.write,
            Self::User { command } => matches!(command, UserCommand::List),
            Self::Limits { command } => command.is_none(),
            Self::Config { command } => matches!(command, ConfigCommand::List),
            Self::Doctor(args) => !args.fix,
            Self::Up(_) | Self::Down | Self::Drill(_) => false,
            Self::Completions { .. } | Self::Man { .. } | Self::Template(_) => true,
        }
    }
}

#[derive(Debug, Args)]
pub struct DrillArgs {
    /// The model that is asked, as Claude Code names it
    #[arg(long, value_name = "MODEL", default_value = "claude-haiku-4-5")]
    pub model: String,
}

#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make a key for somebody, and show it once
    ///
    /// Only its digest is kept. Somebody who has a key gets a second one: hand it over, and make
    /// everybody a new one before you remove the old ones.
    Add(UserAdd),
    /// Show who has keys
    List,
    /// Take all keys of somebody back
    Remove {
        /// 1 to 64 of A-Z a-z 0-9 . _ @ + -
        #[arg(value_name = "NAME")]
        user: User,
    },
}

#[derive(Debug, Args)]
pub struct UserAdd {
    /// 1 to 64 of A-Z a-z 0-9 . _ @ + -: how the log and `limits` call them
    #[arg(value_name = "NAME")]
    pub user: User,
    /// Put the key into this settings.json of Claude Code instead of showing it
    ///
    /// What else is in the file stays as it is; a file that is not there is made.
    #[arg(long, value_name = "PATH")]
    pub write_settings: Option<PathBuf>,
    /// Leave out what makes Claude Code say who answers: hooks and a status line
    #[arg(long)]
    pub plain: bool,
}

#[derive(Debug, Subcommand)]
pub enum LimitsCommand {
    /// Forget the limits of somebody: Anthropic is asked again
    Clear {
        /// A name, or at least 8 digits of a credential that `limits` shows
        #[arg(value_name = "NAME")]
        who: String,
    },
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show all settings, their defaults, and who decides them
    List,
    /// Change settings; all others stay as they are
    ///
    /// They are checked by the code that the function itself starts with, and shown before and
    /// after. Returns when the function runs with them.
    Set {
        #[arg(value_name = "KEY=VALUE", required = true)]
        settings: Vec<String>,
    },
    /// Return settings to their defaults
    Unset {
        #[arg(value_name = "KEY", required = true)]
        names: Vec<String>,
    },
}

/// What all commands take
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// The AWS region [default: that of the AWS settings, such as `AWS_REGION`]
    #[arg(long, global = true, value_name = "REGION", value_parser = regions::parse)]
    pub region: Option<String>,
    /// The AWS profile [default: that of the AWS settings, such as `AWS_PROFILE`]
    #[arg(long, global = true, value_name = "PROFILE")]
    pub profile: Option<String>,
    /// The name of the stack; all other names derive from it
    #[arg(long, global = true, value_name = "NAME", default_value = Self::NAME)]
    pub name: Name,
    /// Print one JSON object on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Do not ask
    #[arg(long, short, global = true)]
    pub yes: bool,
    /// No colours (`NO_COLOR` does the same)
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Say more about what happens
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// How long a second of waiting takes, in milliseconds
    #[arg(
        long,
        global = true,
        hide = true,
        env = "PROVISIONER_WAIT_UNIT_MS",
        default_value_t = 1000
    )]
    pub wait_unit_ms: u64,
}

impl Global {
    /// The name of a stack that is not given one.
    pub const NAME: &str = "claude-proxy";
}

#[derive(Debug, Args)]
pub struct Up {
    #[command(flatten)]
    pub stack: StackArgs,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Do not ask the URL at the end whether it works
    #[arg(long)]
    pub no_probe: bool,
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    #[command(flatten)]
    pub stack: StackArgs,
    #[command(flatten)]
    pub image: ImageArgs,
    /// Do not build, and do not compare the image
    #[arg(long, conflicts_with_all = ["binary", "image"])]
    pub no_build: bool,
    /// End with 2 if there are changes
    #[arg(long)]
    pub exit_code: bool,
    /// Print the template of AWS CloudFormation instead, and compare nothing
    #[arg(long, conflicts_with_all = ["no_build", "exit_code", "ImageArgs"])]
    pub template: bool,
}

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Do not ask the URL whether it works
    #[arg(long)]
    pub no_probe: bool,
    /// Go on showing upstreams, limits and users, until Ctrl-C
    #[arg(long, conflicts_with_all = ["StackArgs", "no_probe"])]
    pub watch: bool,
    /// How often to look, 2 to 3600
    #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "watch")]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=3600))]
    pub interval: u32,
    #[command(flatten)]
    pub stack: StackArgs,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub stack: StackArgs,
    /// Mend what is harmless: both permissions, the table's expiry, log lines without an end
    #[arg(long)]
    pub fix: bool,
    /// Ask Bedrock for one token, which costs a fraction of a cent
    #[arg(long)]
    pub spend: bool,
}

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Go on as lines come
    #[arg(long, short)]
    pub follow: bool,
    /// How long ago to begin (90s, 15m, 1h, 2d), or when (RFC 3339)
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub since: Since,
    /// Only the requests of this user
    #[arg(long, value_name = "NAME", value_parser = user)]
    pub user: Option<String>,
}

fn user(text: &str) -> Result<String, InvalidUser> {
    User::try_from(text.to_owned()).map(|user| user.as_str().to_owned())
}
