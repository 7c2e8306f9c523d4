//! Where has the money of a month gone?
//!
//! A [`Statement`] is what one subject's [`Month`] says to a person or a program, [`Statements`]
//! are those of everybody; [`view`] and [`written`] show them. The same for whoever reads the file
//! of a local proxy and for whoever reads the shared table: names of counters are known in
//! [`super::budget`], those of attributes in `store::dynamo::item`, and nowhere else.
//!
//! An item is data of others: a counter that is nonsense is nothing, a label that is no name of a
//! user is left out, and what is no model class or no day is not told by itself.

pub mod view;
pub mod written;

use std::collections::BTreeMap;

use super::MicroDollars;
use super::budget::{
    ASSUMED, CLASS, COMMITTED, DEPLOYMENT, Entry, Month, REQUESTS, SAVED, SPENT, TOKENS, micro,
};
use crate::caller::User;
use crate::failover::identity::ModelClass;

pub use super::tokens::Tokens;

/// Of a fingerprint a person reads so many digits.
const SHORT: usize = 12;

/// What one subject has spent on Bedrock in a month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// The owner of a proxy key, `drill`, else a credential's fingerprint.
    pub subject: String,
    /// The name that people know it by.
    pub user: Option<String>,
    /// What answers have cost that are over.
    pub cost: MicroDollars,
    /// The cap of the month, where there is one.
    pub limit: Option<MicroDollars>,
    /// Answers that are over.
    pub requests: u64,
    pub tokens: Tokens,
    /// Seconds of Anthropic's limits that Bedrock has bridged: from the request that met a limit to
    /// the end of that limit.
    pub waiting_avoided: u64,
    /// The part of `cost` that has a price nobody has published.
    pub assumed: MicroDollars,
    /// What is committed, and not known to be spent: answers under way, and those of which nobody
    /// will ever hear.
    pub unsettled: MicroDollars,
    /// The reservations behind it, oldest first. The deployment's own item has none.
    pub open: Vec<Entry>,
    /// `cost` by model class.
    pub by_class: BTreeMap<String, MicroDollars>,
    /// What is committed by day (`2026-11-29`), `unsettled` included.
    pub by_day: BTreeMap<String, MicroDollars>,
}

impl Statement {
    /// Reads a subject's month (`2026-11`).
    #[must_use]
    pub fn of(subject: &str, month: &str, item: &Month, limit: Option<MicroDollars>) -> Self {
        let amount = |name: &str| micro(item.counter(name));
        let [input, output, cache_read, cache_write_5m, cache_write_1h] =
            TOKENS.map(|name| amount(name).0);
        let mut open: Vec<Entry> = item.unsettled().collect();
        open.sort_by_key(|entry| entry.since);
        let cost = amount(SPENT);
        let user = item.user.as_deref().and_then(|user| user.parse::<User>().ok());
        Self {
            subject: printable(subject),
            user: user.map(|user| user.to_string()),
            cost,
            limit,
            requests: amount(REQUESTS).0,
            tokens: Tokens { input, output, cache_read, cache_write_5m, cache_write_1h },
            waiting_avoided: amount(SAVED).0,
            assumed: amount(ASSUMED),
            unsettled: MicroDollars(amount(COMMITTED).0.saturating_sub(cost.0)),
            open,
            by_class: parts(item, |name| class(name.strip_prefix(CLASS)?)),
            by_day: parts(item, |name| day(month, name.strip_prefix('d')?)),
        }
    }

    /// What a person calls the subject: its user, else the beginning of its fingerprint.
    #[must_use]
    pub fn name(&self) -> &str {
        let short = self.subject.get(..SHORT).unwrap_or(&self.subject);
        self.user.as_deref().unwrap_or(short)
    }

    /// Whether `wanted` means this subject: its user, or all or the beginning of its own name.
    #[must_use]
    pub fn is_of(&self, wanted: &str) -> bool {
        let begins = wanted.len() >= SHORT && self.subject.starts_with(wanted);
        self.user.as_deref() == Some(wanted) || self.subject == wanted || begins
    }

    /// Which part of the cap is committed, in thousandths; `None` where there is no cap or nothing
    /// at all may be spent.
    #[must_use]
    pub fn of_limit(&self) -> Option<u64> {
        let committed = u128::from(self.cost.0.saturating_add(self.unsettled.0)) * 1000;
        let share = committed.checked_div(u128::from(self.limit?.0));
        share.map(|share| share.try_into().unwrap_or(u64::MAX))
    }

    fn plus(mut self, other: &Self) -> Self {
        let sum = |a: MicroDollars, b: MicroDollars| MicroDollars(a.0.saturating_add(b.0));
        self.cost = sum(self.cost, other.cost);
        self.requests = self.requests.saturating_add(other.requests);
        self.tokens = self.tokens.plus(other.tokens);
        self.waiting_avoided = self.waiting_avoided.saturating_add(other.waiting_avoided);
        self.assumed = sum(self.assumed, other.assumed);
        self.unsettled = sum(self.unsettled, other.unsettled);
        self.open.extend(other.open.iter().cloned());
        for (mine, theirs) in
            [(&mut self.by_class, &other.by_class), (&mut self.by_day, &other.by_day)]
        {
            for (name, amount) in theirs {
                let part = mine.entry(name.clone()).or_default();
                *part = sum(*part, *amount);
            }
        }
        self
    }
}

/// What everybody has spent on Bedrock in a month.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statements {
    /// `2026-11`.
    pub month: String,
    /// By whose clock a day begins; an IANA name.
    pub timezone: String,
    /// Whoever has spent most comes first. The deployment's own item is none of them.
    pub users: Vec<Statement>,
}

impl Statements {
    /// Reads subjects and their months; `limit` says what a subject may spend in it.
    #[must_use]
    pub fn of<'a>(
        (month, timezone): (&str, &str),
        items: impl IntoIterator<Item = (&'a str, &'a Month)>,
        limit: impl Fn(&str, &Month) -> Option<MicroDollars>,
    ) -> Self {
        let items = items.into_iter().filter(|(subject, _)| *subject != DEPLOYMENT);
        let mut users: Vec<Statement> = items
            .map(|(subject, item)| Statement::of(subject, month, item, limit(subject, item)))
            .collect();
        users.sort_by(|a, b| (b.cost, &a.subject).cmp(&(a.cost, &b.subject)));
        Self { month: month.to_owned(), timezone: timezone.to_owned(), users }
    }

    /// Those of one user, who may have several credentials.
    #[must_use]
    pub fn only(mut self, user: &str) -> Self {
        self.users.retain(|statement| statement.is_of(user));
        self
    }

    /// All of them together, without a name and without a cap.
    #[must_use]
    pub fn total(&self) -> Statement {
        self.users.iter().fold(Statement::default(), Statement::plus)
    }
}

/// The counters that are told by a name of their own.
fn parts(item: &Month, named: impl Fn(&str) -> Option<String>) -> BTreeMap<String, MicroDollars> {
    let parts = item.counters.iter().filter_map(|(name, part)| Some((named(name)?, micro(*part))));
    parts.filter(|(_, part)| part.0 > 0).collect()
}

fn class(name: &str) -> Option<String> {
    ModelClass::of(name).filter(|class| class.as_str() == name).map(|class| class.as_str().into())
}

/// The day of a month that a counter's two digits mean.
fn day(month: &str, digits: &str) -> Option<String> {
    let is_number = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit());
    let is_day = is_number && matches!(digits.parse(), Ok(1..=31_u8));
    is_day.then(|| format!("{month}-{digits}"))
}

/// A subject as it may stand in a line.
fn printable(subject: &str) -> String {
    subject.chars().filter(char::is_ascii_graphic).take(User::LONGEST).collect()
}
