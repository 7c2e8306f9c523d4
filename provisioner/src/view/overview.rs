//! What the proxy's page shows, as lines of a terminal: who answers, budgets, days, detours.

use function::failover::Upstream;
use function::money::MicroDollars;
use function::session::overview::{DetourReport, Overview};
use function::session::report::BudgetReport;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::proxy::when;

/// So wide is a budget, in characters.
const FILL_WIDTH: usize = 16;
/// The heights of a day.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// So many parts of an hour has the timeline of a day.
const SLOTS_AN_HOUR: i64 = 2;
/// So many detours are named, the latest first.
const MOST_NAMED: usize = 3;

/// All of it; nothing of days and detours where there were none.
#[must_use]
pub fn lines(all: &Overview, zone: &TimeZone) -> Vec<String> {
    let mut lines = vec![now(all, zone)];
    lines.extend(all.caps.iter().map(|cap| bar(cap, all.now, zone)));
    lines.extend(days(all));
    lines.extend(detours(&all.detours, all.now, zone));
    lines
}

fn now(all: &Overview, zone: &TimeZone) -> String {
    if all.me.side == Upstream::Anthropic {
        return "Now: Anthropic answers.".to_owned();
    }
    let until = all.me.until.map(|until| format!(" until {}", when::ahead(until, all.now, zone)));
    let why = all.why.as_ref().map(|why| format!(" ({why})"));
    format!("Now: Bedrock answers{}{}.", until.unwrap_or_default(), why.unwrap_or_default())
}

fn bar(cap: &BudgetReport, now: Timestamp, zone: &TimeZone) -> String {
    let (used, limit) = (cap.used_usd.0, cap.limit_usd.0);
    let percent = (u128::from(used.0) * 100).checked_div(limit.0.into()).unwrap_or(100);
    let filled = usize::try_from(percent).unwrap_or(100).min(100) * FILL_WIDTH / 100;
    let (full, rest) = ("█".repeat(filled), "░".repeat(FILL_WIDTH - filled));
    let resets = when::local(cap.resets, now, zone);
    let name = if cap.period == "month" { "Month" } else { "Today" };
    let amounts = format!("{} of {} USD", used.cents(), limit.cents());
    format!("{name}  {full}{rest}  {percent} %  {amounts}, resets {resets}")
}

/// A column for each day, and what each class has cost.
fn days(all: &Overview) -> Option<String> {
    let most = all.days.iter().map(|day| day.usd.0.0).max().filter(|most| *most > 0)?;
    let column = |amount: u64| {
        let eighths = (u128::from(amount) * 8).div_ceil(most.into());
        let height = usize::try_from(eighths).unwrap_or(8).checked_sub(1);
        height.map_or('·', |height| HEIGHTS[height.min(7)])
    };
    let columns: String = all.days.iter().map(|day| column(day.usd.0.0)).collect();
    let mut classes = std::collections::BTreeMap::<&str, u64>::new();
    for (class, amount) in all.days.iter().flat_map(|day| &day.by_class) {
        let sum = classes.entry(class).or_default();
        *sum = sum.saturating_add(amount.0.0);
    }
    let mut classes: Vec<_> = classes.into_iter().collect();
    classes.sort_by_key(|(_, amount)| std::cmp::Reverse(*amount));
    let named =
        |(class, amount): &(&str, u64)| format!("{class} {}", MicroDollars(*amount).cents());
    let classes = classes.iter().map(named).collect::<Vec<_>>().join(", ");
    Some(format!("{} days  {columns}  {classes} USD", all.days.len()))
}

/// The last day as a line, and the latest of its detours by name.
fn detours(all: &[DetourReport], now: Timestamp, zone: &TimeZone) -> Vec<String> {
    if all.is_empty() {
        return Vec::new();
    }
    let slots = 24 * SLOTS_AN_HOUR;
    let begins = |slot: i64| now - SignedDuration::from_mins((slots - slot) * 60 / SLOTS_AN_HOUR);
    let is_detour = |slot: i64| {
        let (from, to) = (begins(slot), begins(slot + 1));
        all.iter().any(|detour| detour.began < to && detour.ended.is_none_or(|end| end > from))
    };
    let line: String = (0..slots).map(|slot| if is_detour(slot) { '█' } else { '─' }).collect();
    let moment = |moment| when::local(moment, now, zone);
    let named = |detour: &DetourReport| {
        let ended = detour.ended.map_or_else(|| "now".to_owned(), moment);
        let user = detour.user.as_deref().unwrap_or("–");
        format!("  {} to {ended}: {user}, {}, {}", moment(detour.began), detour.class, detour.why)
    };
    let latest = all.iter().rev().take(MOST_NAMED).map(named);
    std::iter::once(format!("24 hours {line}")).chain(latest).collect()
}

#[cfg(test)]
mod tests {
    use function::failover::cooldown::Cooldown;
    use function::failover::identity::{Fingerprint, LimitKey, LimitScope};
    use function::money::budget::{Caps, Month};
    use function::session::overview::Everybody;
    use function::session::report::Dollars;
    use function::session::{Detour, Limit, Session};

    use super::*;

    #[test]
    fn it_says_what_the_page_shows() {
        let lines = lines(&overview(8_000_000), &TimeZone::UTC).join("\n");
        insta::assert_snapshot!(lines, @"
        Now: Bedrock answers until 12:41 UTC, in 41 min (5-hour limit).
        Month  ████████████░░░░  80 %  8.00 of 10.00 USD, resets Tue 1 Dec 00:00 UTC
        31 days  ·············▄···············▄█  opus 4.00, other 2.00, sonnet 2.00 USD
        24 hours ──────────────────────────────────────████─────█
          11:30 UTC to now: alice, opus, 5-hour limit
          07:00 UTC to 08:40 UTC: alice, sonnet, Anthropic is overloaded
        ");
    }

    #[test]
    fn where_nothing_has_happened_it_is_one_line() {
        let all = Everybody {
            months: Vec::new(),
            sessions: &[],
            limits: Vec::new(),
            total: Caps::default(),
            zone: &TimeZone::UTC,
            counted: None,
        };
        let lines = lines(&Overview::of(all, noon()), &TimeZone::UTC);
        assert_eq!(lines, ["Now: Anthropic answers."]);
    }

    #[test]
    fn a_budget_is_never_wider_than_full_and_nothing_is_used_up() {
        let cap = |used, limit| BudgetReport {
            period: "day",
            used_usd: Dollars(MicroDollars(used)),
            limit_usd: Dollars(MicroDollars(limit)),
            resets: noon(),
        };
        for (used, limit, begins) in [
            (0, 10, "Today  ░░░░░░░░░░░░░░░░  0 %  "),
            (5, 10, "Today  ████████░░░░░░░░  50 %  "),
            (25, 10, "Today  ████████████████  250 %  "),
            (0, 0, "Today  ████████████████  100 %  "),
            (u64::MAX, 1, "Today  ████████████████  "),
        ] {
            let bar = bar(&cap(used, limit), noon(), &TimeZone::UTC);
            assert!(bar.starts_with(begins), "{bar}");
        }
    }

    fn overview(month: i64) -> Overview {
        let now = noon();
        let counters = [
            ("m", month),
            ("spent", month),
            ("requests", 12),
            ("d29", month / 2),
            ("d29_opus", month / 2),
            ("d28", month / 4),
            ("d12_sonnet", month / 4),
            ("d12", month / 4),
        ];
        let item = Month {
            counters: counters.map(|(name, amount)| (name.to_owned(), amount)).into(),
            user: Some("alice".to_owned()),
            ..Month::default()
        };
        let fingerprint = Fingerprint::of(&[b"a"]).unwrap();
        let ago = |minutes| now - SignedDuration::from_mins(minutes);
        let until = now + SignedDuration::from_mins(41);
        let past = Detour {
            began: ago(300),
            ended: ago(200),
            class: "sonnet".to_owned(),
            reason: Some("overloaded".to_owned()),
            window: None,
        };
        let session = Session {
            subject: "alice".to_owned(),
            user: Some("alice".to_owned()),
            fingerprint: fingerprint.to_string(),
            side: Upstream::Bedrock,
            reason: Some("rate_limited".to_owned()),
            class: "opus".to_owned(),
            limit: Some(Limit { until, window: "5h".to_owned(), account: true }),
            since: ago(30),
            before: None,
            told: None,
            detours: vec![past],
        };
        let limit = Cooldown {
            until,
            recorded_at: ago(30),
            reason: "5h".to_owned(),
            retry_after_seconds: 4260,
            model: "claude-opus-5-5".to_owned(),
            user: Some("alice".to_owned()),
        };
        let key = LimitKey { fingerprint, scope: LimitScope::Account };
        let all = Everybody {
            months: vec![("2026-11".to_owned(), "alice".to_owned(), item)],
            sessions: &[session],
            limits: vec![(key, limit)],
            total: Caps { month: Some(MicroDollars(10_000_000)), day: None },
            zone: &TimeZone::UTC,
            counted: None,
        };
        Overview::of(all, now)
    }

    fn noon() -> Timestamp {
        "2026-11-29T12:00:00Z".parse().unwrap()
    }
}
