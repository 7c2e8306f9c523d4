//! What the page shows, and `provisioner status --watch`: a caller's report, the last days and
//! detours, and where somebody may see that, what everybody has asked and spent.
//!
//! Made for those two, and for nobody else: it may change with them.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::funds::Funds;
use super::report::{BudgetReport, Dollars, Report};
use super::{Session, words};
use crate::failover::Upstream;
use crate::failover::cooldown::{Cooldown, Timestamp};
use crate::failover::identity::LimitKey;
use crate::money::budget::{Caps, DEPLOYMENT, Month, micro};
use crate::money::statement::Statements;
use crate::money::{MicroDollars, Period};

/// So many days are shown.
const DAYS: i64 = 31;
/// So many detours are shown, the latest.
const MOST_DETOURS: usize = 200;
/// What has cost something, and is not told by its class: what is reserved, for one.
const OTHER: &str = "other";

#[derive(Clone, Debug, Serialize)]
pub struct Overview {
    pub now: Timestamp,
    pub timezone: String,
    pub user: Option<String>,
    pub me: Report,
    /// Why Bedrock answers, for a person.
    pub why: Option<String>,
    pub caps: Vec<BudgetReport>,
    pub days: Vec<DayReport>,
    pub detours: Vec<DetourReport>,
    pub everybody: Option<EverybodyReport>,
}

/// What is known of all who share a proxy, or a table.
#[derive(Debug)]
pub struct Everybody<'a> {
    /// Items of the months that [`months`] names, each with its month and its subject.
    pub months: Vec<(String, String, Month)>,
    pub sessions: &'a [Session],
    pub limits: Vec<(LimitKey, Cooldown)>,
    /// The caps of all together.
    pub total: Caps,
    /// By whose clock a day begins.
    pub zone: &'a TimeZone,
    /// Requests since the start, and those that Bedrock has answered, where one process counts all.
    pub counted: Option<(u64, u64)>,
}

impl Overview {
    /// What is told of all of them.
    #[must_use]
    pub fn of(mut all: Everybody<'_>, now: Timestamp) -> Self {
        let at = Period::at(now, all.zone);
        all.months.retain(|(_, subject, _)| subject != DEPLOYMENT);
        let of_month = |month: &str| {
            let items = all.months.iter().filter(|(of, ..)| of == month);
            together(items.map(|(.., item)| item))
        };
        let months: BTreeMap<String, Month> =
            months(at).into_iter().map(|month| (month.clone(), of_month(&month))).collect();
        let month = months.get(&at.month()).cloned().unwrap_or_default();
        let funds = Funds { caps: all.total, month, at, zone: all.zone.clone() };
        let latest = latest(all.sessions, now);
        let timezone = timezone(all.zone);
        let theirs = all.months.iter().filter(|(month, ..)| *month == at.month());
        let theirs = theirs.map(|(_, subject, item)| (subject.as_str(), item));
        let statements = Statements::of((&at.month(), &timezone), theirs, |_, _| None);
        Self {
            now,
            timezone,
            user: None,
            me: Report::of((None, Some(&funds)), latest, Vec::new(), None, now),
            why: why(latest, now),
            caps: caps(Some(&funds)),
            days: days(at, &months),
            detours: detours(all.sessions, now),
            everybody: Some(EverybodyReport::of(all.counted, &statements, all.limits)),
        }
    }
}

/// Why Bedrock answers a session, for a person; `None` where it does not.
#[must_use]
pub fn why(session: Option<&Session>, now: Timestamp) -> Option<String> {
    session.filter(|session| session.is_on_bedrock(now)).map(words::why)
}

/// The name of a clock that days begin by.
#[must_use]
pub fn timezone(zone: &TimeZone) -> String {
    zone.iana_name().unwrap_or("UTC").to_owned()
}

/// What one day has cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DayReport {
    /// `2026-11-29`.
    pub day: String,
    pub usd: Dollars,
    /// The same by model class; what is not told by one is `other`.
    pub by_class: BTreeMap<String, Dollars>,
}

/// A time in which Bedrock has answered; one that goes on has no end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DetourReport {
    pub began: Timestamp,
    pub ended: Option<Timestamp>,
    pub class: String,
    pub why: String,
    pub user: Option<String>,
}

/// What everybody has asked and spent, and who is limited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EverybodyReport {
    /// Since the start; `None` where several processes answer, of which none knows all.
    pub requests: Option<u64>,
    pub by_bedrock: Option<u64>,
    pub users: Vec<UserReport>,
    pub limits: Vec<WhoseLimit>,
}

/// What Bedrock has answered somebody this month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserReport {
    pub user: String,
    pub requests: u64,
    pub cost_usd: Dollars,
}

/// A limit in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhoseLimit {
    pub user: Option<String>,
    pub class: String,
    pub until: Timestamp,
    pub reason: String,
}

impl EverybodyReport {
    fn of(
        counted: Option<(u64, u64)>,
        statements: &Statements,
        limits: Vec<(LimitKey, Cooldown)>,
    ) -> Self {
        let users = statements.users.iter().map(|of| UserReport {
            user: of.name().to_owned(),
            requests: of.requests,
            cost_usd: Dollars(of.cost),
        });
        let limits = limits.into_iter().map(|(key, limit)| WhoseLimit {
            user: limit.user,
            class: key.scope.as_str().to_owned(),
            until: limit.until,
            reason: limit.reason,
        });
        let (requests, by_bedrock) = counted.unzip();
        Self { requests, by_bedrock, users: users.collect(), limits: limits.collect() }
    }
}

/// The months that the last days are in, the latest first.
#[must_use]
pub fn months(at: Period) -> Vec<String> {
    let mut months: Vec<String> = (0..DAYS).map(|days| at.before(days).month()).collect();
    months.dedup();
    months
}

/// What the last days have cost, the latest last.
#[must_use]
pub fn days(at: Period, months: &BTreeMap<String, Month>) -> Vec<DayReport> {
    let nothing = Month::default();
    let day = |at: Period| {
        let (name, month) = (at.day(), at.month());
        let item = months.get(&month).unwrap_or(&nothing);
        let all = micro(item.counter(&name));
        let of_class = |(counter, amount): (&String, &i64)| {
            let class = counter.strip_prefix(&name)?.strip_prefix('_')?;
            Some((class.to_owned(), micro(*amount)))
        };
        let mut by_class: BTreeMap<_, _> = item.counters.iter().filter_map(of_class).collect();
        let told = by_class.values().fold(0, |sum: u64, part| sum.saturating_add(part.0));
        by_class.insert(OTHER.to_owned(), MicroDollars(all.0.saturating_sub(told)));
        by_class.retain(|_, amount| amount.0 > 0);
        let by_class = by_class.into_iter().map(|(class, amount)| (class, Dollars(amount)));
        let day = name.trim_start_matches('d');
        DayReport { day: format!("{month}-{day}"), usd: Dollars(all), by_class: by_class.collect() }
    };
    (0..DAYS).rev().map(|days| day(at.before(days))).collect()
}

/// The detours of sessions in the last 24 hours, the latest last.
#[must_use]
pub fn detours(sessions: &[Session], now: Timestamp) -> Vec<DetourReport> {
    let since = now.saturating_sub(SignedDuration::from_hours(24)).unwrap_or(now);
    let mut detours: Vec<DetourReport> =
        sessions.iter().flat_map(|of| of_session(of, now)).collect();
    detours.retain(|detour| detour.ended.is_none_or(|ended| ended > since));
    detours.sort_by_key(|detour| detour.began);
    let too_many = detours.len().saturating_sub(MOST_DETOURS);
    detours.split_off(too_many)
}

fn of_session(session: &Session, now: Timestamp) -> Vec<DetourReport> {
    let past = session.detours.iter().map(|detour| DetourReport {
        began: detour.began,
        ended: Some(detour.ended),
        class: detour.class.clone(),
        why: words::because(detour.window.as_deref(), detour.reason.as_deref()),
        user: session.user.clone(),
    });
    let goes_on = session.is_on_bedrock(now);
    let ended = session.limit.as_ref().map(|limit| limit.until).filter(|_| !goes_on);
    let last = (session.side == Upstream::Bedrock).then(|| DetourReport {
        began: session.since,
        ended,
        class: session.class.clone(),
        why: words::why(session),
        user: session.user.clone(),
    });
    past.chain(last).collect()
}

/// The session that says who answers now: one that Bedrock answers, else the one that has changed
/// last.
#[must_use]
pub fn latest(sessions: &[Session], now: Timestamp) -> Option<&Session> {
    sessions.iter().max_by_key(|session| (session.is_on_bedrock(now), session.since))
}

/// Several months as if they were one subject's.
fn together<'a>(months: impl IntoIterator<Item = &'a Month>) -> Month {
    let mut all = Month::default();
    for month in months {
        for (counter, amount) in &month.counters {
            let sum = all.counters.entry(counter.clone()).or_default();
            *sum = sum.saturating_add(*amount);
        }
    }
    all
}

/// The caps of a caller.
#[must_use]
pub fn caps(funds: Option<&Funds>) -> Vec<BudgetReport> {
    funds.into_iter().flat_map(Funds::fills).map(BudgetReport::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_told_by_class_and_what_was_written_before_classes_is_other() {
        let at = Period::at(noon(), &TimeZone::UTC);
        let counters = [
            ("m", 9_000_000),
            ("d29", 5_000_000),
            ("d29_opus", 3_000_000),
            ("d29_sonnet", 1_500_000),
            // A negative one is nonsense, one of another day nothing of this.
            ("d29_haiku", -7),
            ("d2_opus", 1),
            ("told_d29", 1),
            ("d28", 4_000_000),
        ];
        let counters = counters.map(|(name, amount)| (name.to_owned(), amount));
        let item = Month { counters: counters.into(), ..Month::default() };
        let days = days(at, &[("2026-11".to_owned(), item)].into());
        assert_eq!((days.len(), days[0].day.as_str()), (31, "2026-10-30"));
        let told = |day: &DayReport| {
            let parts = day.by_class.iter().map(|(class, part)| format!("{class} {}", part.0.0));
            (day.day.clone(), parts.collect::<Vec<_>>().join(", "))
        };
        let today = "opus 3000000, other 500000, sonnet 1500000".to_owned();
        assert_eq!(told(&days[30]), ("2026-11-29".to_owned(), today));
        assert_eq!(told(&days[29]), ("2026-11-28".to_owned(), "other 4000000".to_owned()));
        assert_eq!(told(&days[28]), ("2026-11-27".to_owned(), String::new()));
    }

    #[test]
    fn everybody_is_all_subjects_but_the_deployment() {
        let item = |amount: i64, user: Option<&str>| Month {
            counters: ["m", "spent", "d29", "d29_opus", "requests"]
                .map(|name| (name.to_owned(), amount))
                .into(),
            user: user.map(str::to_owned),
            ..Month::default()
        };
        let month = |month: &str, subject: &str, item| (month.to_owned(), subject.to_owned(), item);
        let months = vec![
            month("2026-11", "*", item(8_000_000, None)),
            month("2026-11", "ada", item(5_000_000, Some("ada"))),
            month("2026-11", "bob", item(3_000_000, Some("bob"))),
            month("2026-10", "bob", item(9_000_000, Some("bob"))),
        ];
        let total = Caps { month: Some(MicroDollars(10_000_000)), day: None };
        let (zone, sessions) = (&TimeZone::UTC, &[][..]);
        let all = Everybody { months, sessions, limits: Vec::new(), total, zone, counted: None };
        let json = serde_json::to_value(Overview::of(all, noon())).expect("it is JSON");
        assert_eq!([&json["me"]["side"], &json["timezone"]], ["anthropic", "UTC"]);
        assert_eq!(json["caps"][0]["used_usd"], 8);
        assert_eq!(json["days"][30]["by_class"]["opus"], 8);
        // A month ends in a day of the same name as one of the next: only its own are counted.
        assert_eq!(json["days"].as_array().map(Vec::len), Some(31));
        let ada = serde_json::json!({"user": "ada", "requests": 5_000_000, "cost_usd": 5});
        assert_eq!(json["everybody"]["users"][0], ada);
        assert!(json["everybody"]["requests"].is_null());
    }

    fn noon() -> Timestamp {
        "2026-11-29T12:00:00Z".parse().expect("it is a moment")
    }
}
