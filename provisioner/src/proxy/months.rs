//! What has been spent, and what has nobody ever heard of again? The months of budgets.
//!
//! An answer takes a quarter of an hour at most. What is still reserved an hour later costs what
//! was reserved: nobody will ever know better.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::AttributeValue;
use function::failover::cooldown::Timestamp;
use function::money::budget::{CLASS, Change, Condition, DEPLOYMENT, Entry, Month, SPENT};
use function::money::{MicroDollars, Period};
use function::store::budgets::Account;
use function::store::dynamo::{budgets, item};
use jiff::SignedDuration;
use jiff::tz::TimeZone;

use crate::aws::{CloudError, Reader, Writer};
use crate::proxy::items::Items;
use crate::stack::EXPIRY;

/// One subject's month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMonth {
    pub subject: String,
    /// `2026-11`.
    pub month: String,
    pub item: Month,
}

/// Counters by name.
pub type Counters = BTreeMap<String, i64>;

/// A reservation of which nobody has heard for an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    pub subject: String,
    pub user: Option<String>,
    pub month: String,
    pub entry: Entry,
}

/// When a reservation that nobody has settled is given up.
pub const DEAD_AFTER: SignedDuration = SignedDuration::from_hours(1);

/// What a model is called whose reservation was all that was ever known of it.
const UNKNOWN: &str = "unknown";

/// More is never counted for one reservation, in micro-dollars.
const MOST_FOR_ONE: i64 = 1_000_000_000_000_000;

/// Everybody's items of a month, or of all that are kept; the deployment's own is one of them.
///
/// # Errors
///
/// If the table cannot be read: half of it would be a wrong sum.
pub async fn read(
    items: &Items,
    month: Option<&str>,
    cloud: &Reader,
) -> Result<Vec<StoredMonth>, CloudError> {
    let all = match month {
        Some(month) => items.of_kind_at(item::BUDGET, month, cloud).await?,
        None => items.of_kind(item::BUDGET, cloud).await?,
    };
    let mut months: Vec<StoredMonth> = all.iter().filter_map(of).collect();
    months.sort_by(|a, b| (&a.month, &a.subject).cmp(&(&b.month, &b.subject)));
    Ok(months)
}

fn of(item: &item::Item) -> Option<StoredMonth> {
    let (subject, month) = item::stored_month(item)?;
    let (subject, month) = (subject.to_owned(), month.to_owned());
    Some(StoredMonth { subject, month, item: budgets::read(item) })
}

/// What everybody together has committed in the month, and on the day.
#[must_use]
pub fn committed(all: &[StoredMonth], at: Period) -> [MicroDollars; 2] {
    let month = at.month();
    let theirs = all.iter().filter(|one| one.subject != DEPLOYMENT && one.month == month);
    theirs.map(|one| one.item.committed(at)).fold([MicroDollars(0); 2], |sum, more| {
        [0, 1].map(|of| MicroDollars(sum[of].0.saturating_add(more[of].0)))
    })
}

/// Reads what everybody together has committed at `now`, in the month and on the day.
///
/// # Errors
///
/// If the table cannot be read.
pub async fn read_committed(
    items: &Items,
    at: Period,
    cloud: &Reader,
) -> Result<[MicroDollars; 2], CloudError> {
    let all = read(items, Some(&at.month()), cloud).await?;
    Ok(committed(&all, at))
}

/// The reservations that are given up at `now`, and how many are younger.
#[must_use]
pub fn dead(all: &[StoredMonth], now: Timestamp) -> (Vec<Dead>, usize) {
    let latest = now.as_second() - DEAD_AFTER.as_secs();
    let (mut dead, mut young) = (Vec::new(), 0);
    for StoredMonth { subject, month, item } in all {
        for entry in item.unsettled() {
            if entry.since > latest {
                young += 1;
                continue;
            }
            let (subject, user, month) = (subject.clone(), item.user.clone(), month.clone());
            dead.push(Dead { subject, user, month, entry });
        }
    }
    (dead, young)
}

impl Dead {
    /// What makes its reservation its cost, once. What is committed stays: it was in there.
    #[must_use]
    pub fn change(&self) -> Change {
        let amount = i64::try_from(self.entry.amount.0).unwrap_or(MOST_FOR_ONE).min(MOST_FOR_ONE);
        let text = self.entry.text();
        Change {
            only_if: Condition::Open(text.clone()),
            add: vec![(SPENT.to_owned(), amount), (format!("{CLASS}{UNKNOWN}"), amount)],
            open: None,
            close: vec![text],
        }
    }
}

/// Settles one; `false` where somebody else has been quicker.
///
/// # Errors
///
/// If it is not known whether it was settled.
pub async fn settle(dead: &Dead, items: &Items, cloud: &Writer) -> Result<bool, CloudError> {
    let Some(at) = beginning(&dead.month) else { return Ok(false) };
    let account = Account { subject: &dead.subject, user: dead.user.as_deref(), at };
    items.apply(&account, &dead.change(), cloud).await
}

/// The first day of a month.
fn beginning(month: &str) -> Option<Period> {
    let first = format!("{month}-01T00:00:00Z").parse().ok()?;
    Some(Period::at(first, &TimeZone::UTC))
}

/// What the deployment's own item of a month would have to say to be the sum of all others.
#[must_use]
pub fn sum(all: &[StoredMonth], month: &str) -> Counters {
    let theirs = all.iter().filter(|one| one.month == month && one.subject != DEPLOYMENT);
    let mut sum = Counters::new();
    for (name, amount) in theirs.flat_map(|one| &one.item.counters) {
        let so_far = sum.entry(name.clone()).or_default();
        *so_far = so_far.saturating_add(*amount);
    }
    sum.retain(|_, amount| *amount != 0);
    sum
}

/// Writes the sum of all others into the deployment's own item, if that is still as in `all`;
/// `false` where somebody has changed it meanwhile.
///
/// # Errors
///
/// If it cannot be written.
pub async fn balance(
    all: &[StoredMonth],
    month: &str,
    items: &Items,
    cloud: &Writer,
) -> Result<bool, CloudError> {
    let own = all.iter().find(|one| one.month == month && one.subject == DEPLOYMENT);
    let before = own.map(|own| own.item.counters.clone()).unwrap_or_default();
    let sum = sum(all, month);
    let names: BTreeSet<&str> = before.keys().chain(sum.keys()).map(String::as_str).collect();
    let number = |counters: &Counters| -> item::Item {
        let pairs = counters.iter();
        pairs.map(|(name, amount)| (name.clone(), AttributeValue::N(amount.to_string()))).collect()
    };
    let (mut read, mut new) = (item::budget_key(DEPLOYMENT, month), number(&sum));
    read.extend(number(&before));
    if let (None, Some(at)) = (own, beginning(month)) {
        let end = at.kept_until().as_second().to_string();
        new.insert(EXPIRY.to_string(), AttributeValue::N(end));
    }
    items.replace(&read, &names.into_iter().collect::<Vec<_>>(), &new, cloud).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_is_dead_after_an_hour_and_costs_what_it_was() {
        let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
        let entry = |id: &str, minutes: i64| Entry {
            id: id.to_owned(),
            amount: MicroDollars(750_000),
            since: now.as_second() - minutes * 60,
        };
        let open = [entry("a", 60), entry("b", 59), entry("c", 600)];
        let item = Month {
            counters: [("m".to_owned(), 2_250_000), ("d29".to_owned(), 2_250_000)].into(),
            open: open.iter().map(Entry::text).chain(["nonsense".to_owned()]).collect(),
            user: Some("alice".to_owned()),
        };
        let all = vec![stored("alice", item.clone())];
        let (dead, young) = dead(&all, now);
        let ids: Vec<_> = dead.iter().map(|dead| dead.entry.id.as_str()).collect();
        assert_eq!((ids, young), (vec!["a", "c"], 1));
        let mut after = item;
        for dead in &dead {
            assert!(after.apply(&dead.change()));
            assert!(!after.apply(&dead.change()), "it happens once");
        }
        assert_eq!((after.counter("m"), after.counter(SPENT)), (2_250_000, 1_500_000));
        assert_eq!((after.counter("c_unknown"), after.open.len()), (1_500_000, 2));
    }

    #[test]
    fn the_sum_is_of_all_others_and_of_one_month() {
        let month = |m| Month { counters: [("m".to_owned(), m)].into(), ..Month::default() };
        let other = StoredMonth { month: "2026-10".to_owned(), ..stored("alice", month(100)) };
        let all =
            [stored("*", month(7)), stored("alice", month(1)), stored("bob", month(2)), other];
        assert_eq!(sum(&all, "2026-11"), [("m".to_owned(), 3)].into());
        let at = Period::at("2026-11-29T12:00:00Z".parse().unwrap(), &TimeZone::UTC);
        assert_eq!(committed(&all, at), [MicroDollars(3), MicroDollars(0)]);
    }

    fn stored(subject: &str, item: Month) -> StoredMonth {
        StoredMonth { subject: subject.to_owned(), month: "2026-11".to_owned(), item }
    }
}
