//! Dollars for a person, and for a machine.

use std::fmt;

use function::failover::cooldown::Timestamp;
use function::money::MicroDollars;
use function::money::budget::{Caps, Exception};
use jiff::SignedDuration;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::engine::words::{clean, cut};

/// The widest that a name is shown in a table.
const NAME_WIDTH: usize = 20;

/// Dollars as a JSON number with at most six decimals; `null` where there is no amount.
#[must_use]
pub fn usd(amount: Option<MicroDollars>) -> Value {
    let number = amount.map(|amount| serde_json::from_str(&amount.number()));
    number.and_then(Result::ok).unwrap_or_default()
}

/// What everybody together has spent, and may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// `2026-11`.
    pub month: String,
    /// What is committed in the month, and today.
    pub used: [MicroDollars; 2],
    pub total: Caps,
    /// For each user; nobody together may have a cap, and each one.
    pub each: Caps,
}

impl Spent {
    /// Whether nothing is capped, and nothing was spent.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        let uncapped = self.total.are_none() && self.each.are_none();
        uncapped && self.used == [MicroDollars::default(); 2]
    }

    /// What a machine reads.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "month": self.month,
            "month_usd": usd(Some(self.used[0])), "today_usd": usd(Some(self.used[1])),
            "month_cap_usd": usd(self.total.month), "day_cap_usd": usd(self.total.day),
        })
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [month, today] = self.used.map(MicroDollars::cents);
        let of = |cap: Option<MicroDollars>| cap.map(|cap| format!(" of {}", cap.cents()));
        let (all, day) = (of(self.total.month), of(self.total.day));
        let (all, day) = (all.unwrap_or_default(), day.unwrap_or_default());
        write!(f, "{today}{day} USD today, {month}{all} in {}", self.month)?;
        match caps(self.each) {
            Some(each) => write!(f, "; each user {each}"),
            None if self.total.are_none() => f.write_str("; no cap"),
            None => Ok(()),
        }
    }
}

/// A name as it fits into a table.
#[must_use]
pub fn short(name: &str) -> String {
    let name = clean(name);
    if name.chars().count() > NAME_WIDTH { cut(&name, NAME_WIDTH - 1) } else { name }
}

/// The last day on which something holds that ends at this moment.
#[must_use]
pub fn last_day(end: Timestamp, zone: &TimeZone) -> Date {
    let last = end.checked_sub(SignedDuration::from_nanos(1)).unwrap_or(end);
    last.to_zoned(zone.clone()).date()
}

/// Caps in words: `50.00 USD a month, 5.00 a day`; `None` without one.
#[must_use]
pub fn caps(caps: Caps) -> Option<String> {
    match (caps.month, caps.day) {
        (None, None) => None,
        (Some(month), None) => Some(format!("{} USD a month", month.cents())),
        (None, Some(day)) => Some(format!("{} USD a day", day.cents())),
        (Some(month), Some(day)) => {
            Some(format!("{} USD a month, {} a day", month.cents(), day.cents()))
        }
    }
}

/// What a user may spend, where everybody may spend the `usual`.
#[must_use]
pub fn sentence(user: &str, own: &Exception, usual: Caps, zone: &TimeZone) -> String {
    let holds = Caps { month: own.caps.month.or(usual.month), day: own.caps.day.or(usual.day) };
    let holds = caps(holds).unwrap_or_else(|| "as much as it takes".to_owned());
    if *own == Exception::default() {
        return format!("{user} may spend on Bedrock what everybody may: {holds}.");
    }
    let extra = Some(own.extra).filter(|extra| extra.0 > 0);
    let extra = extra.map(|extra| format!(", and {} more in {}", extra.cents(), own.extra_month));
    let until = own.until.map(|until| format!(", to the end of {}", last_day(until, zone)));
    let (extra, until) = (extra.unwrap_or_default(), until.unwrap_or_default());
    format!("{user} may spend on Bedrock: {holds}{extra}{until}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_numbers_without_a_rest() {
        let json = |amount| usd(Some(MicroDollars(amount)));
        for (amount, text) in [(0, "0"), (12_345, "0.012345"), (5_000_000, "5")] {
            assert_eq!(json(amount).to_string(), text);
        }
        assert_eq!(json(1).as_f64(), Some(0.000001));
        assert_eq!(usd(None), Value::Null);
    }

    #[test]
    fn what_holds_is_one_sentence() {
        let dollars = |dollars: u64| Some(MicroDollars(dollars * 1_000_000));
        let usual = Caps { month: dollars(50), day: None };
        let own = Exception {
            caps: Caps { month: dollars(25), day: dollars(5) },
            extra: MicroDollars(5_000_000),
            extra_month: "2026-11".to_owned(),
            until: "2027-01-01T00:00:00Z".parse().ok(),
        };
        let said = |own: &Exception, usual| sentence("alice", own, usual, &TimeZone::UTC);
        assert_eq!(
            said(&own, usual),
            "alice may spend on Bedrock: 25.00 USD a month, 5.00 a day, and 5.00 more in 2026-11, \
             to the end of 2026-12-31."
        );
        let default = Exception::default();
        let everybodys = "alice may spend on Bedrock what everybody may: 50.00 USD a month.";
        assert_eq!(said(&default, usual), everybodys);
        assert!(said(&default, Caps::default()).ends_with("as much as it takes."));
    }

    #[test]
    fn what_is_spent_is_told_beside_what_may_be() {
        let dollars = |dollars: u64| Some(MicroDollars(dollars * 1_000_000));
        let mut spent = Spent {
            month: "2026-11".to_owned(),
            used: [MicroDollars(10_020_000), MicroDollars(1)],
            total: Caps::default(),
            each: Caps::default(),
        };
        assert_eq!(spent.to_string(), "0.01 USD today, 10.02 in 2026-11; no cap");
        spent.total = Caps { month: dollars(500), day: dollars(50) };
        assert_eq!(spent.to_string(), "0.01 of 50.00 USD today, 10.02 of 500.00 in 2026-11");
        spent =
            Spent { total: Caps::default(), each: Caps { month: dollars(50), day: None }, ..spent };
        let each = "0.01 USD today, 10.02 in 2026-11; each user 50.00 USD a month";
        assert_eq!(spent.to_string(), each);
        assert_eq!(spent.json()["month_usd"], 10.02);
    }

    #[test]
    fn a_name_fits_whatever_it_is() {
        assert_eq!(short(&"x".repeat(64)).chars().count(), NAME_WIDTH);
        assert_eq!(short("alice"), "alice");
        assert_eq!(short("a\x1b[2J"), "a\\u{1b}[2J");
    }
}
