//! What can be typed about money.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use function::caller::User;
use function::money::MicroDollars;
use function::money::period::is_month;
use function::money::statement::view::By;
use function::settings::dollars;

use crate::proxy::exceptions::{Cap, Until};

#[derive(Debug, Subcommand)]
pub enum BudgetCommand {
    /// Show who may spend how much, and how much of it is spent
    List,
    /// Let somebody spend more or less than everybody may; what is not named stays
    ///
    /// Holds for all their keys at the next request, without a deployment. The caps for everybody
    /// are settings: `config set BUDGET_USER_MONTH_USD=50`.
    Set(BudgetSet),
    /// Let somebody spend what everybody may
    Clear {
        /// Who has a key
        #[arg(value_name = "NAME")]
        user: User,
    },
    /// Settle what nobody has heard of for an hour: it costs what was reserved for it
    ///
    /// A function that was killed in the middle of an answer leaves its reservation behind. Does
    /// not ask: it gives nothing back, and done twice it is the same.
    Settle,
}

#[derive(Debug, Args)]
pub struct BudgetSet {
    /// Who has a key
    #[arg(value_name = "NAME")]
    pub user: User,
    /// AMOUNT/month or AMOUNT/day in US dollars, such as 25/month 5/day; 0 is nothing at all
    #[arg(value_name = "CAP")]
    pub caps: Vec<Cap>,
    /// The last day on which this holds, or the moment at which it ends (RFC 3339)
    #[arg(long, value_name = "DATE")]
    pub until: Option<Until>,
    /// So many dollars more in this month only
    #[arg(long, value_name = "AMOUNT", value_parser = dollars)]
    pub extra: Option<MicroDollars>,
}

/// A month: `2026-11`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonthArg(pub String);

impl FromStr for MonthArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        is_month(text).then(|| Self(text.to_owned())).ok_or("a month is written 2026-11")
    }
}

/// What the lines of a table are about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Grouping {
    #[default]
    User,
    Class,
    Day,
}

impl From<Grouping> for By {
    fn from(grouping: Grouping) -> Self {
        match grouping {
            Grouping::User => Self::User,
            Grouping::Class => Self::Class,
            Grouping::Day => Self::Day,
        }
    }
}

#[derive(Debug, Args)]
pub struct UsageArgs {
    /// Only this user, or the credential of which these are the first 12 digits
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// Which month; 13 are kept [default: this one]
    #[arg(long, value_name = "YYYY-MM")]
    pub month: Option<MonthArg>,
    /// What each line is about
    #[arg(long, value_name = "WHAT", value_enum, default_value_t)]
    pub by: Grouping,
    /// Print one row for each user as CSV (RFC 4180)
    #[arg(long)]
    pub csv: bool,
}

#[derive(Debug, Args)]
pub struct PricesArgs {
    /// Store what AWS asks in the function's settings, as `BEDROCK_PRICES`; asks first
    #[arg(long)]
    pub write: bool,
}
