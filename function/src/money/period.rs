//! Which day and which month is it, by the clock of a budget?

use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::failover::cooldown::Timestamp;

/// The months for which an item is kept.
const KEPT_MONTHS: i64 = 13;

/// A day, and the month that it is in, by the budget's own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(Date);

impl Period {
    /// The day that it is at `now`.
    #[must_use]
    pub fn at(now: Timestamp, zone: &TimeZone) -> Self {
        Self(now.to_zoned(zone.clone()).date())
    }

    /// The sort key of the month: `2026-11`.
    #[must_use]
    pub fn month(self) -> String {
        format!("{:04}-{:02}", self.0.year(), self.0.month())
    }

    /// What the day's committed micro-dollars are called: `d01` to `d31`.
    #[must_use]
    pub fn day(self) -> String {
        format!("d{:02}", self.0.day())
    }

    /// The day that it was so many days ago.
    #[must_use]
    pub fn before(self, days: i64) -> Self {
        Self(self.0.checked_sub(days.days()).unwrap_or(Date::MIN))
    }

    /// When the next day begins.
    #[must_use]
    pub fn day_ends(self, zone: &TimeZone) -> Timestamp {
        beginning(self.0.tomorrow().unwrap_or(Date::MAX), zone)
    }

    /// When the next month begins.
    #[must_use]
    pub fn month_ends(self, zone: &TimeZone) -> Timestamp {
        beginning(self.later(1), zone)
    }

    /// When the month's item may be deleted.
    #[must_use]
    pub fn kept_until(self) -> Timestamp {
        beginning(self.later(KEPT_MONTHS), &TimeZone::UTC)
    }

    /// The month before which nothing is kept any more.
    #[must_use]
    pub fn oldest_month(self) -> String {
        Self(self.later(-KEPT_MONTHS)).month()
    }

    fn later(self, months: i64) -> Date {
        self.0.first_of_month().checked_add(months.months()).unwrap_or(Date::MAX)
    }
}

/// Whether a text is the name of a month: `2026-11`.
#[must_use]
pub fn is_month(text: &str) -> bool {
    text.len() == 7 && format!("{text}-01").parse::<Date>().is_ok()
}

/// The first moment of a day. Where a clock skips midnight, that is later.
fn beginning(day: Date, zone: &TimeZone) -> Timestamp {
    day.to_zoned(zone.clone()).map_or(Timestamp::MAX, |begins| begins.timestamp())
}
