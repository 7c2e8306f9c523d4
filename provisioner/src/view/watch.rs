//! What `status --watch` shows: who answers how much, who is limited, who asks.
//!
//! Lines made of values; how many fit, and how wide they may be, is an argument.

use function::money::MicroDollars;
use function::session::overview::Overview;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::Scope;
use crate::engine::plan::Style;
use crate::proxy::limits::{self, Limit};
use crate::proxy::logs::{milliseconds, printable};
use crate::proxy::traffic::{MINUTES, Rate, UserTraffic};
use crate::proxy::when;
use crate::view::columns::columns;
use crate::view::money::Spent;
use crate::view::overview;

/// What one look found.
#[derive(Debug, Clone)]
pub struct Sight {
    pub at: Timestamp,
    pub rates: Vec<Rate>,
    /// `None` where it cannot be read.
    pub spent: Option<Spent>,
    /// What the proxy's page would show of everybody; `None` where it cannot be read.
    pub overview: Option<Overview>,
    /// `None` where it cannot be read.
    pub limits: Option<Vec<Limit>>,
    pub users: Vec<Person>,
    /// What could not be read.
    pub troubles: Vec<Trouble>,
}

/// Somebody who has a key, or has asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// `None` is everybody without a name.
    pub user: Option<String>,
    /// `None` where it cannot be read.
    pub keys: Option<usize>,
    pub asked: UserTraffic,
}

/// Why something could not be read, and what can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub what: String,
    pub hint: Option<String>,
}

/// How often is looked, and in which time zone it is shown.
#[derive(Debug, Clone)]
pub struct WatchOptions {
    pub every: u32,
    pub zone: TimeZone,
}

/// One line, in one colour (the parameters of SGR, ECMA-48; empty for none).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StyledLine {
    pub colour: &'static str,
    pub text: String,
}

const BOLD: &str = "1";
const DIM: &str = "2";
const YELLOW: &str = "33";

impl StyledLine {
    fn new(colour: &'static str, text: impl Into<String>) -> Self {
        Self { colour, text: text.into() }
    }

    /// As it is written.
    #[must_use]
    pub fn painted(&self, style: Style) -> String {
        match self.colour {
            "" => self.text.clone(),
            colour => style.paint(colour, &self.text),
        }
    }
}

/// All that is to be seen.
#[must_use]
pub fn lines(sight: &Sight, options: &WatchOptions, scope: &Scope<'_>) -> Vec<StyledLine> {
    let time = sight.at.to_zoned(options.zone.clone()).strftime("%H:%M:%S %Z").to_string();
    let mut lines = vec![
        StyledLine::new(BOLD, scope.to_string()),
        StyledLine::new(DIM, format!("{time}, every {} s; Ctrl-C ends it", options.every)),
    ];
    for Trouble { what, hint } in &sight.troubles {
        lines.push(StyledLine::new(YELLOW, format!("! {}", printable(what))));
        lines
            .extend(hint.iter().map(|hint| StyledLine::new(DIM, format!("  {}", printable(hint)))));
    }
    lines.extend(sight.spent.iter().map(|spent| StyledLine::new("", format!("Bedrock: {spent}"))));
    let overview = sight.overview.iter().flat_map(|all| overview::lines(all, &options.zone));
    lines.extend(overview.map(|line| StyledLine::new("", printable(&line))));
    lines.extend(table(rates(&sight.rates)));
    lines.extend(match sight.limits.as_deref() {
        None => said("Who is limited cannot be read."),
        Some([]) => said("Nobody is limited."),
        Some(limits) => table(limited(limits, sight.at, &options.zone)),
    });
    lines.extend(match sight.users.as_slice() {
        [] => said("Nobody has a key, and nobody has asked."),
        users => table(people(users, sight)),
    });
    lines
}

fn said(text: &str) -> Vec<StyledLine> {
    vec![StyledLine::new("", ""), StyledLine::new("", text)]
}

/// Rows under their heads, after an empty line.
fn table<const N: usize>(rows: Vec<[String; N]>) -> Vec<StyledLine> {
    let text = columns(&rows);
    let rows = text.lines().enumerate();
    let rows = rows.map(|(row, text)| StyledLine::new(if row == 0 { BOLD } else { "" }, text));
    std::iter::once(StyledLine::new("", "")).chain(rows).collect()
}

fn rates(rates: &[Rate]) -> Vec<[String; 6]> {
    let per_minute = format!("PER MINUTE ({MINUTES} MIN)");
    let heads = ["UPSTREAM", "LAST MINUTE", &per_minute, "SHARE", "FAILED", "FIRST BYTE"];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(rates.iter().map(|rate| {
        [
            printable(&rate.upstream),
            rate.last_minute.to_string(),
            format!("{:.1}", rate.per_minute),
            format!("{:.0} %", rate.share),
            rate.failed.to_string(),
            rate.first_byte_ms.map_or_else(|| "–".to_owned(), milliseconds),
        ]
    }));
    rows
}

fn limited(limits: &[Limit], now: Timestamp, zone: &TimeZone) -> Vec<[String; 5]> {
    let [_, heads @ ..] = limits::HEADS;
    let mut rows = vec![["LIMITED", heads[0], heads[1], heads[2], heads[3]].map(str::to_owned)];
    rows.extend(limits.iter().map(|limit| limit.row(now, zone).map(|cell| printable(&cell))));
    rows
}

fn people(users: &[Person], sight: &Sight) -> Vec<[String; 6]> {
    let requests = format!("REQUESTS ({MINUTES} MIN)");
    let heads = ["USER", "KEYS", &requests, "BY BEDROCK", "USD/MONTH", "LAST"];
    let theirs = sight.overview.as_ref().and_then(|all| all.everybody.as_ref());
    // Somebody may have several credentials, each with a month of its own.
    let dollars = |user: &str| {
        let theirs = theirs?.users.iter().filter(|one| one.user == user);
        let costs = theirs.map(|one| one.cost_usd.0.0);
        Some(MicroDollars(costs.fold(0, u64::saturating_add)).cents())
    };
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(users.iter().map(|Person { user, keys, asked }| {
        let ago = |last| format!("{} ago", when::words(sight.at.duration_since(last)));
        let dollars = user.as_deref().and_then(dollars);
        [
            user.as_deref().map_or_else(|| "–".to_owned(), printable),
            keys.map_or_else(|| "–".to_owned(), |keys| keys.to_string()),
            asked.requests.to_string(),
            asked.by_bedrock.to_string(),
            dollars.unwrap_or_else(|| "–".to_owned()),
            asked.last.map_or_else(|| "–".to_owned(), ago),
        ]
    }));
    rows
}

/// Cuts off what does not fit, and says so.
#[must_use]
pub fn fit(mut lines: Vec<StyledLine>, (width, height): (usize, usize)) -> Vec<StyledLine> {
    let more = lines.len().saturating_sub(height);
    if more > 0 {
        lines.truncate(height.saturating_sub(1));
        lines.push(StyledLine::new(DIM, format!("… {} more lines", more + 1)));
    }
    for line in &mut lines {
        if line.text.chars().count() > width {
            line.text = line.text.chars().take(width.saturating_sub(1)).chain(['…']).collect();
        }
    }
    lines
}

/// What a machine reads.
#[must_use]
pub fn json(sight: &Sight) -> Value {
    let Sight { at, rates, spent, overview, limits, users, troubles } = sight;
    let users = users.iter().map(|Person { user, keys, asked }| {
        let last = asked.last.map(|last| last.to_string());
        json!({
            "user": user, "keys": keys, "requests": asked.requests,
            "by_bedrock": asked.by_bedrock, "last": last,
        })
    });
    let troubles =
        troubles.iter().map(|Trouble { what, hint }| json!({"message": what, "hint": hint}));
    json!({
        "time": at.to_string(),
        "minutes": MINUTES,
        "upstreams": rates.iter().map(Rate::json).collect::<Vec<_>>(),
        "money": spent.as_ref().map(Spent::json),
        "overview": overview,
        "limits": limits.as_ref().map(|all| all.iter().map(Limit::json).collect::<Vec<_>>()),
        "users": users.collect::<Vec<_>>(),
        "troubles": troubles.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use function::failover::cooldown::Cooldown;
    use function::failover::identity::{Fingerprint, LimitKey, LimitScope};
    use jiff::SignedDuration;
    use jiff::tz;

    use super::*;
    use crate::aws::Account;
    use crate::cli::Cli;

    #[test]
    fn everything_is_seen_at_a_glance() {
        insta::assert_snapshot!(drawn(&sight(), (100, 40)), @"
        stack claude-proxy in account 123456789012, region us-east-1
        13:22:00 +09, every 5 s; Ctrl-C ends it

        UPSTREAM   LAST MINUTE  PER MINUTE (15 MIN)  SHARE  FAILED  FIRST BYTE
        anthropic  12           8.3                  80 %   12      812 ms
        bedrock    3            2.1                  20 %   3       1.2 s

        LIMITED  CREDENTIAL    CLASS  UNTIL                 WHY
        alice    ca978112ca1b  all    14:03 +09, in 41 min  5h

        USER   KEYS  REQUESTS (15 MIN)  BY BEDROCK  USD/MONTH  LAST
        alice  1     140                70          –          2 s ago
        –      0     16                 8           –          10 s ago
        bob    2     0                  0           –          –
        ");
    }

    #[test]
    fn what_cannot_be_read_is_said_and_the_rest_is_shown() {
        let mut sight = sight();
        sight.limits = None;
        sight.users.truncate(1);
        sight.users[0].keys = None;
        sight.troubles.push(Trouble {
            what: "dynamodb/x could not be read:\x1b[2J Rate exceeded".to_owned(),
            hint: Some("run it again".to_owned()),
        });
        insta::assert_snapshot!(drawn(&sight, (100, 40)), @r"
        stack claude-proxy in account 123456789012, region us-east-1
        13:22:00 +09, every 5 s; Ctrl-C ends it
        ! dynamodb/x could not be read:\u{1b}[2J Rate exceeded
          run it again

        UPSTREAM   LAST MINUTE  PER MINUTE (15 MIN)  SHARE  FAILED  FIRST BYTE
        anthropic  12           8.3                  80 %   12      812 ms
        bedrock    3            2.1                  20 %   3       1.2 s

        Who is limited cannot be read.

        USER   KEYS  REQUESTS (15 MIN)  BY BEDROCK  USD/MONTH  LAST
        alice  –     140                70          –          2 s ago
        ");
    }

    #[test]
    fn a_stack_that_nobody_uses_is_a_few_lines() {
        let mut sight = sight();
        sight.rates.clear();
        sight.users.clear();
        sight.limits = Some(Vec::new());
        let drawn = drawn(&sight, (100, 40));
        assert!(drawn.ends_with("\nNobody is limited.\n\nNobody has a key, and nobody has asked."));
    }

    #[test]
    fn nothing_is_wider_or_higher_than_the_terminal() {
        for size in [(1, 1), (20, 5), (40, 13), (60, 14), (80, 24)] {
            let drawn = drawn(&sight(), size);
            let widest = drawn.lines().map(|line| line.chars().count()).max();
            assert!(
                widest <= Some(size.0) && drawn.lines().count() <= size.1,
                "{size:?}:\n{drawn}"
            );
        }
        assert!(drawn(&sight(), (30, 12)).ends_with("\n… 3 more lines"));
        assert!(drawn(&sight(), (30, 14)).contains("stack claude-proxy in account…\n"));
    }

    #[test]
    fn colour_is_left_out_where_there_is_none() {
        let head =
            &lines(&sight(), &options(), &Scope { global: &global(), account: &account() })[0];
        assert!(head.painted(Style::Colour).starts_with("\u{1b}[1mstack "));
        assert!(head.painted(Style::Plain).starts_with("stack "));
    }

    #[test]
    fn a_machine_reads_the_same() {
        let mut sight = sight();
        let read = json(&sight);
        assert_eq!(read["upstreams"][1]["per_minute"], 2.1);
        assert_eq!(
            (&read["limits"][0]["user"], &read["users"][0]["keys"]),
            (&"alice".into(), &1.into())
        );
        assert_eq!(read["users"][1]["last"], "2026-11-26T04:21:50Z");
        sight.limits = None;
        assert_eq!(json(&sight)["limits"], Value::Null);
    }

    fn drawn(sight: &Sight, size: (usize, usize)) -> String {
        let lines = lines(sight, &options(), &Scope { global: &global(), account: &account() });
        let lines = fit(lines, size).into_iter().map(|line| line.painted(Style::Plain));
        lines.collect::<Vec<_>>().join("\n")
    }

    fn options() -> WatchOptions {
        WatchOptions { every: 5, zone: TimeZone::fixed(tz::offset(9)) }
    }

    fn global() -> crate::cli::Global {
        Cli::parse_from(["provisioner", "status"]).global
    }

    fn account() -> Account {
        let [id, region, partition] = ["123456789012", "us-east-1", "aws"].map(str::to_owned);
        Account { id, region, partition }
    }

    fn sight() -> Sight {
        let at: Timestamp = "2026-11-26T04:22:00Z".parse().unwrap();
        let rate = |upstream: &str, last_minute, per_minute, share, first_byte_ms| Rate {
            upstream: upstream.to_owned(),
            last_minute,
            per_minute,
            share,
            failed: last_minute,
            first_byte_ms,
        };
        let cooldown = Cooldown {
            until: at + SignedDuration::from_mins(41),
            recorded_at: at,
            reason: "5h".to_owned(),
            retry_after_seconds: 2490,
            model: "claude-sonnet-4-6".to_owned(),
            user: Some("alice".to_owned()),
        };
        let fingerprint = Fingerprint::of(&[b"a"]).unwrap();
        let key = LimitKey { fingerprint, scope: LimitScope::Account };
        let person = |user: Option<&str>, keys, requests, ago: i64| Person {
            user: user.map(str::to_owned),
            keys: Some(keys),
            asked: UserTraffic {
                requests,
                by_bedrock: requests / 2,
                last: (requests > 0).then(|| at - SignedDuration::from_secs(ago)),
            },
        };
        Sight {
            at,
            rates: vec![
                rate("anthropic", 12, 8.3, 79.8, Some(812)),
                rate("bedrock", 3, 2.1, 20.2, Some(1_240)),
            ],
            spent: None,
            overview: None,
            limits: Some(vec![Limit { key, cooldown, detour: None }]),
            users: vec![
                person(Some("alice"), 1, 140, 2),
                person(None, 0, 16, 10),
                person(Some("bob"), 2, 0, 0),
            ],
            troubles: Vec::new(),
        }
    }
}
