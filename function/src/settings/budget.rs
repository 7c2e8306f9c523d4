//! Reads how much may be spent on Bedrock.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::value::instead;
use super::variables::Environment;
use super::{StoreSettings, variables};
use crate::money::MicroDollars;
use crate::money::amount::millionths;
use crate::money::budget::Caps;

/// The highest cap: a hundred million dollars, in micro-dollars.
const HIGHEST: u64 = 100_000_000_000_000;

/// The longest message, in characters.
const LONGEST_MESSAGE: usize = 200;

/// How much may be spent on Bedrock, and by whose clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// For each user.
    pub user: Caps,
    /// For all of them together.
    pub total: Caps,
    /// Where a day and a month begin.
    pub zone: TimeZone,
    /// What to do when it is used up, in one line.
    pub message: Option<Arc<str>>,
}

pub(super) fn read(env: &mut Environment, store: &StoreSettings) -> Budget {
    let mut caps = |month: &'static str, day: &'static str| {
        let mut cap = |name: &str| env.read(name, dollars);
        Caps { month: cap(month), day: cap(day) }
    };
    let user = caps("BUDGET_USER_MONTH_USD", "BUDGET_USER_DAY_USD");
    let total = caps("BUDGET_TOTAL_MONTH_USD", "BUDGET_TOTAL_DAY_USD");
    let zone = env.read("BUDGET_TIMEZONE", time_zone).unwrap_or(TimeZone::UTC);
    if *store == StoreSettings::Memory {
        for name in variables::CAPS {
            env.refuse(
                name,
                "the memory store forgets at each start what was spent: choose another \
                 RATE_LIMIT_STORE, or unset it",
            );
        }
    }
    let message = env.read("BUDGET_MESSAGE", message);
    Budget { user, total, zone, message }
}

/// Reads an amount of dollars as a cap has it.
///
/// # Errors
///
/// A sentence for whoever typed something else.
pub fn dollars(text: &str) -> Result<MicroDollars, String> {
    let read = millionths(text).filter(|cap| *cap <= HIGHEST);
    let form = "dollars, from 0 to 100000000 with at most six decimals, such as `50`";
    read.map(MicroDollars).ok_or_else(|| instead(text, form))
}

fn message(text: &str) -> Result<Arc<str>, String> {
    let fits = text.chars().count() <= LONGEST_MESSAGE && !text.contains(char::is_control);
    let form = format!("one line of at most {LONGEST_MESSAGE} characters");
    if fits { Ok(text.into()) } else { Err(instead(text, &form)) }
}

fn time_zone(text: &str) -> Result<TimeZone, String> {
    let form = "the name of a time zone, such as `UTC` or `Europe/Berlin`";
    TimeZone::get(text).map_err(|_| instead(text, form))
}
