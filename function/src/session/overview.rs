//! What the page shows: a caller's report, the last days and detours, and of a proxy that is one
//! person's own the whole of it.
//!
//! Made for the page that comes along, and for nobody else: it may change with it.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::Serialize;
use serde_json::value::RawValue;

use super::funds::Funds;
use super::report::{BudgetReport, Report};
use super::{Session, words};
use crate::failover::Upstream;
use crate::failover::cooldown::{Cooldown, Timestamp};
use crate::failover::identity::LimitKey;
use crate::money::budget::{Month, micro};
use crate::money::statement::Statements;
use crate::money::statement::written::dollars;
use crate::money::{MicroDollars, Period};

/// So many days are shown.
const DAYS: i64 = 31;
/// So many detours are shown, the latest.
const MOST_DETOURS: usize = 200;
/// What has cost something, and is not told by its class: what is reserved, for one.
const OTHER: &str = "other";

type Dollars = Option<Box<RawValue>>;

#[derive(Debug, Serialize)]
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

/// What one day has cost.
#[derive(Debug, Serialize)]
pub struct DayReport {
    day: String,
    usd: Dollars,
    by_class: BTreeMap<String, Dollars>,
}

/// A time in which Bedrock has answered; one that goes on has no end.
#[derive(Debug, Serialize)]
pub struct DetourReport {
    began: Timestamp,
    ended: Option<Timestamp>,
    class: String,
    why: String,
    user: Option<String>,
}

/// A whole proxy.
#[derive(Debug, Serialize)]
pub struct EverybodyReport {
    pub requests: u64,
    pub by_bedrock: u64,
    users: Vec<UserReport>,
    limits: Vec<WhoseLimit>,
}

#[derive(Debug, Serialize)]
struct UserReport {
    user: String,
    requests: u64,
    cost_usd: Dollars,
}

#[derive(Debug, Serialize)]
struct WhoseLimit {
    user: Option<String>,
    class: String,
    until: Timestamp,
    reason: String,
}

impl EverybodyReport {
    /// What everybody has asked and spent, and who is limited.
    #[must_use]
    pub fn of(
        (requests, by_bedrock): (u64, u64),
        statements: &Statements,
        limits: Vec<(LimitKey, Cooldown)>,
    ) -> Self {
        let users = statements.users.iter().map(|of| UserReport {
            user: of.name().to_owned(),
            requests: of.requests,
            cost_usd: dollars(of.cost),
        });
        let limits = limits.into_iter().map(|(key, limit)| WhoseLimit {
            user: limit.user,
            class: key.scope.as_str().to_owned(),
            until: limit.until,
            reason: limit.reason,
        });
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
        let by_class = by_class.into_iter().map(|(class, amount)| (class, dollars(amount)));
        let day = name.trim_start_matches('d');
        DayReport { day: format!("{month}-{day}"), usd: dollars(all), by_class: by_class.collect() }
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
#[must_use]
pub fn together<'a>(months: impl IntoIterator<Item = &'a Month>) -> Month {
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
