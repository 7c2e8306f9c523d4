//! The statements of a month for programs: JSON, and CSV with one row a user.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Statement, Statements, Tokens};
use crate::money::MicroDollars;

/// A JSON number that no float has held.
type Number = Box<RawValue>;

#[derive(Serialize)]
struct All<'a> {
    month: &'a str,
    timezone: &'a str,
    users: Vec<UserRow<'a>>,
    total_usd: Option<Number>,
}

#[derive(Serialize)]
struct UserRow<'a> {
    user: Option<&'a str>,
    subject: &'a str,
    cost_usd: Option<Number>,
    limit_usd: Option<Number>,
    requests: u64,
    tokens: Counts,
    cache_share: Option<Number>,
    waiting_avoided_s: u64,
    assumed_usd: Option<Number>,
    unsettled_usd: Option<Number>,
    by_class: BTreeMap<&'a str, Option<Number>>,
    by_day: BTreeMap<&'a str, Option<Number>>,
}

#[derive(Serialize)]
struct Counts {
    input: u64,
    output: u64,
    cache_read: u64,
    cache_write_5m: u64,
    cache_write_1h: u64,
}

/// One object: `month`, `timezone`, `users`, `total_usd`.
///
/// Amounts are dollars with at most six decimals, `cache_share` is from 0 to 1 with at most four;
/// what there is not is `null`.
#[must_use]
pub fn json(all: &Statements) -> String {
    let written = All {
        month: &all.month,
        timezone: &all.timezone,
        users: all.users.iter().map(UserRow::of).collect(),
        total_usd: dollars(all.total().cost),
    };
    serde_json::to_string(&written).unwrap_or_default()
}

impl<'a> UserRow<'a> {
    fn of(statement: &'a Statement) -> Self {
        let parts = |parts: &'a BTreeMap<String, MicroDollars>| {
            parts.iter().map(|(name, amount)| (name.as_str(), dollars(*amount))).collect()
        };
        Self {
            user: statement.user.as_deref(),
            subject: &statement.subject,
            cost_usd: dollars(statement.cost),
            limit_usd: statement.limit.and_then(dollars),
            requests: statement.requests,
            tokens: Counts::of(statement.tokens),
            cache_share: statement.tokens.cache_share().and_then(share),
            waiting_avoided_s: statement.waiting_avoided,
            assumed_usd: dollars(statement.assumed),
            unsettled_usd: dollars(statement.unsettled),
            by_class: parts(&statement.by_class),
            by_day: parts(&statement.by_day),
        }
    }
}

impl Counts {
    const fn of(tokens: Tokens) -> Self {
        let Tokens { input, output, cache_read, cache_write_5m, cache_write_1h } = tokens;
        Self { input, output, cache_read, cache_write_5m, cache_write_1h }
    }
}

/// Dollars as JSON, with at most six decimals.
pub(crate) fn dollars(amount: MicroDollars) -> Option<Number> {
    number(&amount.number())
}

fn number(text: &str) -> Option<Number> {
    RawValue::from_string(text.to_owned()).ok()
}

/// Ten-thousandths as JSON, from 0 to 1.
pub(crate) fn share(share: u64) -> Option<Box<RawValue>> {
    number(&fraction(share))
}

/// Ten-thousandths as a number from 0 to 1.
fn fraction(share: u64) -> String {
    MicroDollars(share.saturating_mul(100)).number()
}

/// A head and one row a user, lines ended as RFC 4180 has them; nested names are joined by `_`.
///
/// Classes and days are those of all users. What there is not is empty.
#[must_use]
pub fn csv(all: &Statements) -> String {
    let names = |parts: fn(&Statement) -> &BTreeMap<String, MicroDollars>| {
        all.users.iter().flat_map(|user| parts(user).keys()).collect::<BTreeSet<_>>()
    };
    let (classes, days) = (names(|user| &user.by_class), names(|user| &user.by_day));
    let mut text = HEAD.join(",");
    for (kind, names) in [("by_class", &classes), ("by_day", &days)] {
        for name in names {
            let _infallible = write!(text, ",{kind}_{name}");
        }
    }
    text.push_str("\r\n");
    for user in &all.users {
        let mut cells = row(user);
        let part = |parts: &BTreeMap<String, MicroDollars>, name: &String| {
            parts.get(name).map(|amount| amount.number()).unwrap_or_default()
        };
        cells.extend(classes.iter().map(|name| part(&user.by_class, name)));
        cells.extend(days.iter().map(|name| part(&user.by_day, name)));
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

const HEAD: [&str; 14] = [
    "user",
    "subject",
    "cost_usd",
    "limit_usd",
    "requests",
    "tokens_input",
    "tokens_output",
    "tokens_cache_read",
    "tokens_cache_write_5m",
    "tokens_cache_write_1h",
    "cache_share",
    "waiting_avoided_s",
    "assumed_usd",
    "unsettled_usd",
];

fn row(user: &Statement) -> Vec<String> {
    let tokens = user.tokens;
    let cells = [
        user.user.as_deref().map(quoted).unwrap_or_default(),
        quoted(&user.subject),
        user.cost.number(),
        user.limit.map(MicroDollars::number).unwrap_or_default(),
        user.requests.to_string(),
        tokens.input.to_string(),
        tokens.output.to_string(),
        tokens.cache_read.to_string(),
        tokens.cache_write_5m.to_string(),
        tokens.cache_write_1h.to_string(),
        tokens.cache_share().map(fraction).unwrap_or_default(),
        user.waiting_avoided.to_string(),
        user.assumed.number(),
        user.unsettled.number(),
    ];
    cells.into()
}

/// A text as a cell, which no program takes for a formula.
fn quoted(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    if guard.is_empty() && !text.contains([',', '"']) {
        return text.to_owned();
    }
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}
