//! How much of its budget has a subject committed, and may there be more?
//!
//! One item holds a subject's month: what is committed, which is settled and still reserved, of the
//! month and of each of its days. What is to happen to it is a [`Change`], which a store applies as
//! a whole or not at all: a file as [`Month::apply`] says, a shared table by an expression of the
//! same meaning. A change that names an entry happens once, however often it is asked for.
//!
//! Whatever became of a call that is not settled, it costs its reservation.

use std::collections::{BTreeMap, BTreeSet};

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::{Cost, MicroDollars, Period, Tokens};
use crate::failover::cooldown::Timestamp;
use crate::failover::identity::Fingerprint;

/// The subject of the deployment's own item, which everybody's money counts against.
pub const DEPLOYMENT: &str = "*";

/// More is never committed at once: a thousand million dollars. Sums of such stay exact.
const MOST: i64 = 1_000_000_000_000_000;

/// What is committed in the month; of its days it is [`Period::day`].
pub const COMMITTED: &str = "m";
pub const SPENT: &str = "spent";
pub const ASSUMED: &str = "assumed";
pub const REQUESTS: &str = "requests";
/// Seconds of limits that nobody had to wait for.
pub const SAVED: &str = "saved_seconds";
/// Tokens: of the prompt, of the answer, read from the cache, written to it for five minutes and
/// for an hour.
pub const TOKENS: [&str; 5] = ["t_in", "t_out", "t_r", "t_w5", "t_w1"];
/// How the micro-dollars of a model class are named; the class follows.
pub const CLASS: &str = "c_";
/// A subject's sessions share so many counters: few people have two at once, and hardly ever two
/// with the same one.
const SESSIONS: u8 = 64;

/// The counter of what a session's answers have cost, by the digest of its name.
#[must_use]
pub fn of_session(digest: &Fingerprint) -> String {
    format!("x{:02}", digest.as_bytes()[0] % SESSIONS)
}

/// How much may be committed; `None` is no cap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caps {
    pub month: Option<MicroDollars>,
    pub day: Option<MicroDollars>,
}

impl Caps {
    #[must_use]
    pub const fn are_none(&self) -> bool {
        self.month.is_none() && self.day.is_none()
    }

    /// What may be committed at most, so that there is room for `amount` more; `None` where there
    /// never is, because it is more than a whole cap.
    fn room(&self, amount: i64, period: Period) -> Option<Vec<(String, i64)>> {
        let caps = [(COMMITTED.to_owned(), self.month), (period.day(), self.day)];
        let caps = caps.into_iter().filter_map(|(counter, cap)| Some((counter, whole(cap?))));
        // A cap of nothing lets nothing through, not even what costs nothing.
        let fits = |cap: i64| cap > 0 && cap >= amount;
        caps.map(|(counter, cap)| fits(cap).then_some((counter, cap - amount))).collect()
    }

    /// How much of the fuller cap is committed, in percent; `None` without a cap.
    #[must_use]
    pub fn used_percent(&self, month: &Month, at: Period) -> Option<u64> {
        let caps = [(COMMITTED.to_owned(), self.month), (at.day(), self.day)];
        let percent = |(counter, cap): (String, Option<MicroDollars>)| {
            let used = u128::from(micro(month.counter(&counter)).0) * 100;
            let percent = used.checked_div(cap?.0.into()).unwrap_or(100);
            Some(u64::try_from(percent).unwrap_or(u64::MAX))
        };
        caps.into_iter().filter_map(percent).max()
    }

    /// Which cap stands in the way of `amount` more; of both, the one that resets later. Without a
    /// `month` nobody has looked at what is committed, since `amount` is more than a whole cap.
    #[must_use]
    pub fn used_up(
        &self,
        month: Option<&Month>,
        amount: MicroDollars,
        at: Period,
    ) -> Option<UsedUp> {
        let stands = |counter: &str, cap: Option<MicroDollars>, is_month| {
            let (limit, used) = (cap?, month.map(|month| month.counter(counter)));
            let fits =
                limit.0 > 0 && used.unwrap_or(0).saturating_add(whole(amount)) <= whole(limit);
            (!fits).then_some(UsedUp { used: used.map(micro), limit, is_month })
        };
        stands(COMMITTED, self.month, true).or_else(|| stands(&at.day(), self.day, false))
    }
}

/// What a user may spend otherwise than everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exception {
    /// Stand instead of the usual ones.
    pub caps: Caps,
    /// Is added to the month's cap, in one month only.
    pub extra: MicroDollars,
    pub extra_month: String,
    /// From then on there is no exception.
    pub until: Option<Timestamp>,
}

impl Exception {
    /// What is written for a user cannot be read: nothing may be spent.
    #[must_use]
    pub fn unreadable() -> Self {
        let caps = Caps { month: Some(MicroDollars(0)), day: None };
        Self { caps, ..Self::default() }
    }

    /// The caps of the user at `now`, where everybody has the `usual` ones.
    #[must_use]
    pub fn over(&self, usual: Caps, now: Timestamp, at: Period) -> Caps {
        if self.until.is_some_and(|until| until <= now) {
            return usual;
        }
        let extra = if self.extra_month == at.month() { self.extra.0 } else { 0 };
        let more = |cap: MicroDollars| MicroDollars(cap.0.saturating_add(extra));
        let month = self.caps.month.or(usual.month).map(more);
        Caps { month, day: self.caps.day.or(usual.day) }
    }
}

/// A cap that there is no room below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedUp {
    /// `None` where nobody has looked.
    pub used: Option<MicroDollars>,
    pub limit: MicroDollars,
    /// Of the month, and not of the day.
    pub is_month: bool,
}

impl UsedUp {
    /// When there is room again.
    #[must_use]
    pub fn resets(&self, at: Period, zone: &TimeZone) -> Timestamp {
        if self.is_month { at.month_ends(zone) } else { at.day_ends(zone) }
    }
}

/// An amount that is reserved for one call, and not settled yet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The request's own id; whatever is topped up has one with a number more.
    pub id: String,
    pub amount: MicroDollars,
    /// In seconds since 1970.
    pub since: i64,
}

impl Entry {
    /// As it stands in the item: `ID.MICRODOLLARS.SECONDS`.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}.{}.{}", self.id, self.amount.0, self.since)
    }

    /// Reads an entry; `None` where it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, since) = text.rsplit_once('.')?;
        let (id, amount) = rest.rsplit_once('.')?;
        let amount = MicroDollars(amount.parse().ok()?);
        Some(Self { id: id.to_owned(), amount, since: since.parse().ok()? })
    }
}

/// What an item is asked to become.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    pub only_if: Condition,
    /// What is added to the counters; it may be negative.
    pub add: Vec<(String, i64)>,
    pub open: Option<String>,
    pub close: Vec<String>,
}

/// When a change happens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    #[default]
    Always,
    /// This entry has not been opened yet, and no counter is above its limit. Less than nothing is
    /// never committed: a counter that says so is nonsense, and there is no room.
    Room { entry: Option<String>, at_most: Vec<(String, i64)> },
    /// This entry is still open.
    Open(String),
}

impl Change {
    /// Commits an amount, if all caps leave room for it. Without an entry it is the deployment's.
    ///
    /// `None` where there can be no room at all: nobody needs to be asked.
    #[must_use]
    pub fn reserve(
        at: Period,
        amount: MicroDollars,
        entry: Option<&Entry>,
        caps: &Caps,
    ) -> Option<Self> {
        let at_most = caps.room(whole(amount), at)?;
        let entry = entry.map(Entry::text);
        let only_if = Condition::Room { entry: entry.clone(), at_most };
        Some(Self { only_if, add: committed(at, whole(amount)), open: entry, close: Vec::new() })
    }

    /// Commits more for a call that is on its way, whatever the caps say.
    #[must_use]
    pub fn top_up(at: Period, amount: MicroDollars, entry: Option<&Entry>) -> Self {
        Self::reserve(at, amount, entry, &Caps::default()).unwrap_or_default()
    }

    /// Puts what a call has really cost in the place of what was reserved for it. All of `entries`
    /// are known to have been opened, on this day; the first decides whether it has happened yet.
    #[must_use]
    pub fn settle(at: Period, entries: &[Entry], bill: Option<&Bill>) -> Self {
        let first = entries.first().map(|first| Condition::Open(first.text()));
        let reserved = entries.iter().map(|entry| whole(entry.amount)).sum();
        Self {
            only_if: first.unwrap_or_default(),
            add: charged(at, reserved, bill),
            open: None,
            close: entries.iter().map(Entry::text).collect(),
        }
    }

    /// The same without entries, for the deployment's item, and for what was never reserved. It
    /// must not be repeated: it happens each time.
    #[must_use]
    pub fn book(at: Period, reserved: MicroDollars, bill: Option<&Bill>) -> Self {
        Self { add: charged(at, whole(reserved), bill), ..Self::default() }
    }

    /// Whether it may be asked for again where the answer was lost.
    #[must_use]
    pub fn happens_once(&self) -> bool {
        match &self.only_if {
            Condition::Always | Condition::Room { entry: None, .. } => false,
            Condition::Room { entry: Some(_), .. } | Condition::Open(_) => true,
        }
    }
}

fn committed(at: Period, amount: i64) -> Vec<(String, i64)> {
    vec![(COMMITTED.to_owned(), amount), (at.day(), amount)]
}

/// What a call that is over adds: its cost instead of its reservation, and all that it used.
fn charged(at: Period, reserved: i64, bill: Option<&Bill>) -> Vec<(String, i64)> {
    let cost = bill.map_or(0, |bill| whole(bill.cost.amount));
    let mut add = committed(at, cost - reserved);
    add.extend(bill.into_iter().flat_map(Bill::counters));
    // Days are told by class, too.
    add.extend(bill.map(|bill| (format!("{}_{}", at.day(), bill.class), cost)));
    add.retain(|(_, amount)| *amount != 0);
    add
}

/// What is known of a call when it is over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    pub cost: Cost,
    pub tokens: Tokens,
    /// The model's class, which its money is told by.
    pub class: String,
    /// Seconds of a limit that the user did not have to wait for.
    pub saved: u64,
    /// The counter of its session ([`of_session`]), which belongs to a subject's item.
    pub session: Option<String>,
}

impl Bill {
    fn counters(&self) -> Vec<(String, i64)> {
        let cost = whole(self.cost.amount);
        let count = |count: u64| whole(MicroDollars(count));
        let Tokens { input, output, cache_read, cache_write_5m, cache_write_1h } = self.tokens;
        let used = [input, output, cache_read, cache_write_5m, cache_write_1h];
        let mut counters = vec![
            (SPENT.to_owned(), cost),
            (ASSUMED.to_owned(), if self.cost.assumed { cost } else { 0 }),
            (REQUESTS.to_owned(), 1),
            (SAVED.to_owned(), count(self.saved)),
            (format!("{CLASS}{}", self.class), cost),
        ];
        let used = TOKENS.iter().zip(used);
        counters.extend(used.map(|(name, tokens)| ((*name).to_owned(), count(tokens))));
        counters.extend(self.session.clone().map(|session| (session, cost)));
        counters
    }
}

/// What an item says of a subject's month.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Month {
    pub counters: BTreeMap<String, i64>,
    pub open: BTreeSet<String>,
    /// The name that the subject goes by.
    pub user: Option<String>,
}

/// What became of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Changed {
    /// It has happened, now or before.
    Yes(Month),
    /// There is no room: this is what is committed.
    Full(Month),
}

impl Month {
    /// What a counter says; one that nothing was added to is 0.
    #[must_use]
    pub fn counter(&self, name: &str) -> i64 {
        self.counters.get(name).copied().unwrap_or(0)
    }

    /// What is committed in the month, and on a day of it.
    #[must_use]
    pub fn committed(&self, at: Period) -> [MicroDollars; 2] {
        [COMMITTED, &at.day()].map(|name| micro(self.counter(name)))
    }

    /// The entries that nobody has settled.
    pub fn unsettled(&self) -> impl Iterator<Item = Entry> {
        self.open.iter().filter_map(|text| Entry::parse(text))
    }

    /// Does what `change` says, if its condition holds.
    pub fn apply(&mut self, change: &Change) -> bool {
        let holds = match &change.only_if {
            Condition::Always => true,
            Condition::Open(entry) => self.open.contains(entry),
            Condition::Room { entry, at_most } => {
                entry.as_ref().is_none_or(|entry| !self.open.contains(entry))
                    && at_most.iter().all(|(counter, most)| {
                        let committed = self.counters.get(counter);
                        committed.is_none_or(|committed| (0..=*most).contains(committed))
                    })
            }
        };
        if holds {
            for (counter, amount) in &change.add {
                let counter = self.counters.entry(counter.clone()).or_default();
                *counter = counter.saturating_add(*amount);
            }
            self.open.extend(change.open.clone());
            self.open.retain(|entry| !change.close.contains(entry));
        }
        holds
    }

    /// What it means that `change` has not happened to this item.
    #[must_use]
    pub fn refuses(self, change: &Change) -> Changed {
        match &change.only_if {
            Condition::Room { entry: Some(entry), .. } if self.open.contains(entry) => {
                Changed::Yes(self)
            }
            Condition::Room { .. } => Changed::Full(self),
            Condition::Open(_) | Condition::Always => Changed::Yes(self),
        }
    }
}

/// A cap or an amount as the items count it.
fn whole(amount: MicroDollars) -> i64 {
    i64::try_from(amount.0).unwrap_or(MOST).min(MOST)
}

/// A counter as an amount; one that is nonsense is nothing.
pub(crate) fn micro(amount: i64) -> MicroDollars {
    MicroDollars(amount.try_into().unwrap_or(0))
}
