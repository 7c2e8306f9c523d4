//! Is what Bedrock costs counted by prices that hold, and would anybody notice when it is much?

use function::clock;
use function::money::prices::CHECKED_ON;
use function::money::statement::Statements;
use function::money::{MicroDollars, Period};
use function::settings::Budget;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::Check;
use crate::aws::Reader;
use crate::engine::{Ownership, Resource as _};
use crate::proxy::items::Items;
use crate::proxy::months;
use crate::stack::settings::Environment;
use crate::stack::{Declaration, Observed};

/// Makes every check of a stack that is there, and can be read.
pub(crate) async fn checks(
    declared: &Declaration,
    there: &Observed,
    reader: &Reader,
) -> Vec<Check> {
    let now = clock::now();
    let mut checks = vec![of_prices(now.to_zoned(TimeZone::UTC).date())];
    let Ok(settings) = Environment::read_whole(&declared.environment) else { return checks };
    if there.function.is_none() {
        return checks;
    }
    let alarms = there.near_cap_alarm.is_some() && there.used_up_alarm.is_some();
    checks.extend(of_alarms(&settings.budget, alarms));
    let table = &declared.stack.table;
    if there.table.as_ref().is_some_and(|live| table.ownership(live) == Ownership::Ours) {
        let month = Period::at(now, &settings.budget.zone).month();
        let items = Items::of(table.name.clone());
        checks.push(match months::read(&items, Some(&month), reader).await {
            Ok(all) => {
                let items = all.iter().map(|one| (one.subject.as_str(), &one.item));
                let all = Statements::of((&month, ""), items, |_, _| None);
                of_assumed(&month, all.total().assumed)
            }
            Err(error) => Check::unknown("assumed-prices", &error),
        });
    }
    checks
}

/// How long nobody need look at prices, in days.
const FRESH: i32 = 45;

/// Judges by the day on which the table of prices was last compared.
#[must_use]
pub fn of_prices(today: Date) -> Check {
    let name = "prices";
    let days = (today - CHECKED_ON).get_days();
    if days <= FRESH {
        return Check::ok(name, format!("answers are booked by prices of {CHECKED_ON}"));
    }
    let cause = format!("answers are booked by prices of {CHECKED_ON}, {days} days ago");
    Check::warn(name, cause, "`prices` compares them with what AWS asks, --write stores that")
}

/// Judges by what was booked at a price that nobody has published.
#[must_use]
pub fn of_assumed(month: &str, assumed: MicroDollars) -> Check {
    let name = "assumed-prices";
    if assumed == MicroDollars::default() {
        return Check::ok(name, format!("nothing in {month} is booked by assumption"));
    }
    let cause = format!("{} USD in {month} are booked by assumption", assumed.cents());
    Check::warn(name, cause, "`prices --write`, or your own price in BEDROCK_PRICES")
}

/// Judges a cap on all users together; `None` where there is none.
#[must_use]
pub fn of_alarms(budget: &Budget, has_alarms: bool) -> Option<Check> {
    let name = "budget-alarms";
    if budget.total.are_none() {
        return None;
    }
    Some(match has_alarms {
        true => Check::ok(name, "80 % and 100 % of the cap on all users have an alarm"),
        false => Check::warn(
            name,
            "there is a cap on all users, and no alarm when it is nearly used up",
            "up --dashboard",
        ),
    })
}
