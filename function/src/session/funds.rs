//! How full is the budget of a subject, and what of that has to be said?
//!
//! What was said is counted in the month's own item, as the amount that it was said at: so it is
//! said once, whoever asks and wherever, and said again of a cap that was raised.

use jiff::tz::TimeZone;

use super::words;
use crate::failover::cooldown::Timestamp;
use crate::money::budget::{COMMITTED, Caps, Change, Condition, Month, micro};
use crate::money::{MicroDollars, Period};

/// Parts of a cap that are worth a word, in percent; the last one first.
const MARKS: [u64; 2] = [95, 75];

/// What a subject may spend, and has spent.
#[derive(Clone, Debug)]
pub struct Funds {
    pub caps: Caps,
    pub month: Month,
    pub at: Period,
    pub zone: TimeZone,
}

/// How much of one cap is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    pub used: MicroDollars,
    pub limit: MicroDollars,
    /// Of the month, and not of the day.
    pub is_month: bool,
    /// When it begins anew.
    pub resets: Timestamp,
}

impl Fill {
    /// `month` or `day`.
    #[must_use]
    pub const fn period(&self) -> &'static str {
        if self.is_month { "month" } else { "day" }
    }

    /// Which part is used, in percent, rounded down. A cap of nothing is used up.
    #[must_use]
    pub fn percent(&self) -> u64 {
        let percent = u128::from(self.used.0) * 100;
        let percent = percent.checked_div(u128::from(self.limit.0)).unwrap_or(100);
        percent.try_into().unwrap_or(u64::MAX)
    }

    /// Dollars used and allowed.
    fn amounts(&self) -> String {
        format!("${} of ${}", self.used.cents(), self.limit.cents())
    }
}

/// Something that is to be said once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub text: String,
    /// Happens to the subject's month if it has not been said yet.
    pub change: Change,
}

impl Funds {
    /// The caps that there are, that of the month first.
    #[must_use]
    pub fn fills(&self) -> Vec<Fill> {
        let fill = |counter: &str, limit: Option<MicroDollars>, is_month| {
            let resets = if is_month {
                self.at.month_ends(&self.zone)
            } else {
                self.at.day_ends(&self.zone)
            };
            Some(Fill { used: micro(self.month.counter(counter)), limit: limit?, is_month, resets })
        };
        let month = fill(COMMITTED, self.caps.month, true);
        month.into_iter().chain(fill(&self.at.day(), self.caps.day, false)).collect()
    }

    /// The cap that leaves least; of two that leave the same part, the month's.
    #[must_use]
    pub fn fullest(&self) -> Option<Fill> {
        self.fills().into_iter().rev().max_by_key(Fill::percent)
    }

    /// What was committed today, and in this month.
    #[must_use]
    pub fn spent(&self) -> (MicroDollars, MicroDollars) {
        let spent = |counter: &str| micro(self.month.counter(counter));
        (spent(&self.at.day()), spent(COMMITTED))
    }

    /// Dollars used, of those that may be.
    #[must_use]
    pub fn so_far(&self) -> String {
        match self.fullest() {
            Some(fill) if fill.is_month => format!("{} this month", fill.amounts()),
            Some(fill) => format!("{} today", fill.amounts()),
            None => format!("${} this month", self.spent().1.cents()),
        }
    }

    /// That a cap is used up, and until when.
    #[must_use]
    pub fn used_up(&self, fill: &Fill) -> String {
        let of_day = if fill.is_month { "" } else { " of the day" };
        let resets = words::moment(fill.resets, None, &self.zone);
        format!("Bedrock budget{of_day} used up: {}, resets {resets}", fill.amounts())
    }

    /// What has not been said yet of the caps. One that has `refused` a request is used up, also
    /// where some of it is left. A `bell` rings for that alone, and is counted by itself.
    #[must_use]
    pub fn warnings(&self, refused: bool, message: Option<&str>, bell: bool) -> Vec<Warning> {
        let fullest = self.fullest().filter(|_| refused);
        let warnings = self.fills().into_iter().filter_map(|fill| {
            let full = fill.used >= fill.limit && fill.limit.0 > 0;
            let (mark, text) = if full || Some(fill) == fullest {
                let message = message.map(|message| format!(" · {message}"));
                (fill.limit.0, self.used_up(&fill) + &message.unwrap_or_default())
            } else {
                let reached = |mark: &u64| fill.limit.0 > 0 && fill.percent() >= *mark;
                let percent = MARKS.into_iter().find(reached)?;
                (fill.limit.0 / 100 * percent, self.nearly(&fill, percent))
            };
            let change = self.once(&fill, if bell { "rang_" } else { "told_" }, mark)?;
            (full || Some(fill) == fullest || !bell).then_some(Warning { text, change })
        });
        warnings.collect()
    }

    /// That the budget of all together has refused a request, where nobody has said so to this
    /// subject.
    #[must_use]
    pub fn of_all(&self, all: &Self, message: Option<&str>, bell: bool) -> Option<Warning> {
        let fill = all.fullest()?;
        let message = message.map(|message| format!(" · {message}")).unwrap_or_default();
        let text = format!("of all together: {}{message}", all.used_up(&fill));
        let change =
            self.once(&fill, if bell { "rang_all_" } else { "told_all_" }, fill.limit.0)?;
        Some(Warning { text, change })
    }

    fn nearly(&self, fill: &Fill, percent: u64) -> String {
        let (used, resets) = (fill.amounts(), words::moment(fill.resets, None, &self.zone));
        let period = if fill.is_month { "this month" } else { "today" };
        format!("{percent} % of the Bedrock budget used: {used} {period}, resets {resets}")
    }

    /// Raises the counter of a cap to `mark`; `None` where it stands there already.
    fn once(&self, fill: &Fill, kind: &str, mark: u64) -> Option<Change> {
        let period = if fill.is_month { COMMITTED.to_owned() } else { self.at.day() };
        let counter = kind.to_owned() + &period;
        let (mark, said) = (i64::try_from(mark.max(1)).ok()?, self.month.counter(&counter));
        let only_if = Condition::Room { entry: None, at_most: vec![(counter.clone(), said)] };
        let add = vec![(counter, mark.checked_sub(said)?)];
        (mark > said).then(|| Change { only_if, add, ..Change::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_said_once_at_each_mark_and_again_of_a_raised_cap() {
        // The cap in dollars, what is used, whether a request was refused, and what is said.
        let story = [
            (10, 7_499_999, false, None),
            (10, 7_500_000, false, Some("75 % of the Bedrock budget used: $7.50 of $10.00 this")),
            (10, 9_000_000, false, None),
            (10, 9_600_000, false, Some("95 % of the Bedrock budget used: $9.60 of $10.00 this")),
            (10, 9_700_000, true, Some("Bedrock budget used up: $9.70 of $10.00, resets Dec 1")),
            (10, 10_020_000, true, None),
            (20, 15_000_000, false, Some("75 % of the Bedrock budget used: $15.00 of $20.00")),
            (20, 20_000_000, false, Some("Bedrock budget used up: $20.00 of $20.00, resets")),
            (20, 20_000_000, true, None),
        ];
        let mut month = Month::default();
        for (cap, used, refused, said) in story {
            month.counters.insert(COMMITTED.to_owned(), used);
            let funds = funds(Some(cap), None, month.clone());
            let warnings = funds.warnings(refused, None, false);
            assert_eq!(warnings.len(), usize::from(said.is_some()), "{used} {warnings:?}");
            for warning in warnings {
                assert!(warning.text.starts_with(said.unwrap_or_default()), "{}", warning.text);
                assert!(month.apply(&warning.change));
                assert!(!month.clone().apply(&warning.change), "only the first says it");
            }
        }
    }

    #[test]
    fn days_and_months_and_bells_are_counted_apart() {
        let counters = [(COMMITTED, 8_000_000), ("d29", 2_000_000)];
        let counters = counters.map(|(name, amount)| (name.to_owned(), amount));
        let month = Month { counters: counters.into(), ..Month::default() };
        let funds = funds(Some(10), Some(2), month);
        let said = |refused, bell| {
            let warnings = funds.warnings(refused, Some("ask Ada"), bell);
            warnings.into_iter().map(|warning| warning.text).collect::<Vec<_>>()
        };
        let of_day = "Bedrock budget of the day used up: $2.00 of $2.00, resets Nov 30 00:00 UTC \
                      · ask Ada";
        let of_month = "75 % of the Bedrock budget used: $8.00 of $10.00 this month, resets Dec 1 \
                        00:00 UTC";
        assert_eq!(said(true, false), [of_month, of_day]);
        assert_eq!(said(true, true), [of_day]);
        assert_eq!(funds.so_far(), "$2.00 of $2.00 today");
    }

    #[test]
    fn a_cap_of_nothing_says_so_only_where_it_has_refused() {
        let funds = funds(Some(0), None, Month::default());
        assert_eq!(funds.warnings(false, None, false), []);
        assert_eq!(funds.warnings(true, None, false).len(), 1);
    }

    fn funds(month_usd: Option<u64>, day_usd: Option<u64>, month: Month) -> Funds {
        let dollars = |dollars: Option<u64>| dollars.map(|d| MicroDollars(d * 1_000_000));
        let caps = Caps { month: dollars(month_usd), day: dollars(day_usd) };
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().expect("it is a moment");
        let zone = TimeZone::UTC;
        Funds { caps, month, at: Period::at(now, &zone), zone }
    }
}
