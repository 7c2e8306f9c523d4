//! The rules of money that every store keeps, whichever it is.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use function::money::Period;
use function::money::budget::{
    ASSUMED, Bill, COMMITTED, Caps, Change, Changed, DEPLOYMENT, Entry, Month, REQUESTS, SPENT,
};
use function::money::{Cost, MicroDollars, Tokens};
use function::store::Store;
use function::store::budgets::{Account, Budgets};
use futures_util::StreamExt;
use jiff::tz::TimeZone;
use tokio::task::JoinSet;

/// Hands all rules to the macro that makes tests of them.
macro_rules! every_rule {
    ($keep:ident) => {
        $keep! {
            what_is_reserved_is_committed_until_it_is_settled
            an_entry_counts_once_however_often_it_is_asked_for
            nothing_is_reserved_above_a_cap
            a_cap_of_nothing_lets_nothing_through
            what_is_topped_up_is_committed_whatever_the_cap_says
            what_bedrock_has_not_answered_is_given_back
            a_call_is_settled_on_the_day_of_its_reservation
            without_a_cap_a_call_is_booked_when_it_is_over
            subjects_and_months_do_not_mix
            of_fifty_at_once_as_many_get_in_as_fit
            of_fifty_at_once_the_deployment_lets_in_as_many_as_fit
            the_name_of_a_subject_stays
            any_order_of_events_adds_up
        }
    };
}
pub(crate) use every_rule;

pub(crate) async fn what_is_reserved_is_committed_until_it_is_settled(store: Store) {
    let entry = entry("req_1", 750_000);
    reserve(&store, &entry, &month(1_000_000)).await.unwrap();
    let reserved = seen(&store).await;
    assert_eq!((reserved.counter(COMMITTED), reserved.counter("d29")), (750_000, 750_000));
    assert!(reserved.unsettled().eq([entry.clone()]));
    assert_eq!((reserved.counter(SPENT), reserved.counter(REQUESTS)), (0, 0));
    done(&store, &Change::settle(today(), &[entry], Some(&bill(690_000)))).await;
    let settled = seen(&store).await;
    let counters = [
        (ASSUMED, 690_000),
        ("c_opus", 690_000),
        ("d29", 690_000),
        ("d29_opus", 690_000),
        ("m", 690_000),
        ("requests", 1),
        ("saved_seconds", 120),
        ("spent", 690_000),
        ("t_in", 4),
        ("t_out", 812),
        ("t_r", 7),
        ("t_w1", 3),
        ("t_w5", 2),
        ("x07", 690_000),
    ];
    let counters = counters.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(settled.counters, counters.into());
    assert_eq!(settled.unsettled().count(), 0);
}

pub(crate) async fn an_entry_counts_once_however_often_it_is_asked_for(store: Store) {
    let (entry, more) = (entry("req_1", 600), entry("req_1-1", 300));
    let caps = month(1000);
    for _ in 0..3 {
        // The second time there would be no room, but there it is already.
        reserve(&store, &entry, &caps).await.unwrap();
        done(&store, &Change::top_up(today(), more.amount, Some(&more))).await;
        assert_eq!(seen(&store).await.counter(COMMITTED), 900);
    }
    for _ in 0..3 {
        let both = [entry.clone(), more.clone()];
        done(&store, &Change::settle(today(), &both, Some(&bill(800)))).await;
        let seen = seen(&store).await;
        assert_eq!((seen.counter(COMMITTED), seen.counter(REQUESTS)), (800, 1));
    }
}

pub(crate) async fn nothing_is_reserved_above_a_cap(store: Store) {
    let day = |cap| Caps { day: Some(MicroDollars(cap)), ..Caps::default() };
    let both = Caps { month: Some(MicroDollars(1000)), ..day(800) };
    reserve(&store, &entry("a", 800), &both).await.unwrap();
    let full = reserve(&store, &entry("b", 1), &both).await.unwrap_err();
    assert_eq!(full.counter(COMMITTED), 800);
    reserve(&store, &entry("c", 200), &month(1000)).await.unwrap();
    for (caps, amount) in [(month(1000), 1), (month(999), 0), (day(800), 1), (both, 1)] {
        let full = reserve(&store, &entry("d", amount), &caps).await.unwrap_err();
        assert_eq!(full.counter(COMMITTED), 1000, "{caps:?}");
    }
    reserve(&store, &entry("e", 0), &month(1000)).await.unwrap();
    // What is more than a whole cap needs no call, be it the first of the month or not.
    for cap in [0, 5] {
        assert_eq!(Change::reserve(today(), MicroDollars(6), None, &month(cap)), None);
        assert_eq!(Change::reserve(today(), MicroDollars(6), None, &day(cap)), None);
    }
}

pub(crate) async fn a_cap_of_nothing_lets_nothing_through(_: Store) {
    let day = Caps { day: Some(MicroDollars(0)), ..Caps::default() };
    for caps in [month(0), day] {
        // Not even what costs nothing, since somebody's multiplier is nothing.
        assert_eq!(Change::reserve(today(), MicroDollars(0), None, &caps), None);
        let used_up = caps.used_up(None, MicroDollars(0), today()).unwrap();
        assert_eq!((used_up.used, used_up.limit), (None, MicroDollars(0)));
    }
}

pub(crate) async fn what_is_topped_up_is_committed_whatever_the_cap_says(store: Store) {
    let (entry, more) = (entry("req_1", 1000), entry("req_1-1", 5000));
    reserve(&store, &entry, &month(1000)).await.unwrap();
    done(&store, &Change::top_up(today(), more.amount, Some(&more))).await;
    assert_eq!(seen(&store).await.counter(COMMITTED), 6000);
}

pub(crate) async fn what_bedrock_has_not_answered_is_given_back(store: Store) {
    let entry = entry("req_1", 1000);
    reserve(&store, &entry, &month(1000)).await.unwrap();
    done(&store, &Change::settle(today(), &[entry], None)).await;
    let seen = seen(&store).await;
    assert_eq!((seen.counter(COMMITTED), seen.counter(REQUESTS)), (0, 0));
    assert_eq!(seen.unsettled().count(), 0);
}

pub(crate) async fn a_call_is_settled_on_the_day_of_its_reservation(store: Store) {
    let (before, after) = (day("2026-11-30"), day("2026-12-01"));
    let entry = entry("req_1", 1000);
    let reservation = Change::reserve(before, entry.amount, Some(&entry), &month(1000)).unwrap();
    change(&store, before, &reservation).await;
    change(&store, before, &Change::settle(before, &[entry], Some(&bill(700)))).await;
    let months = [before, after].map(Period::month);
    let old = store.month("alice", &months[0]).await.unwrap();
    assert_eq!((old.counter(COMMITTED), old.counter("d30")), (700, 700));
    assert_eq!(store.month("alice", &months[1]).await.unwrap(), Month::default());
}

pub(crate) async fn without_a_cap_a_call_is_booked_when_it_is_over(store: Store) {
    for _ in 0..2 {
        done(&store, &Change::book(today(), MicroDollars(0), Some(&bill(500)))).await;
    }
    let seen = seen(&store).await;
    let counted = [COMMITTED, "d29", SPENT, REQUESTS].map(|name| seen.counter(name));
    assert_eq!(counted, [1000, 1000, 1000, 2]);
}

pub(crate) async fn subjects_and_months_do_not_mix(store: Store) {
    reserve(&store, &entry("req_1", 10), &month(10)).await.unwrap();
    let account = Account { subject: "bob", user: None, at: today() };
    let other = Change::reserve(today(), MicroDollars(10), Some(&entry("req_1", 10)), &month(10));
    let other = store.change(&account, &other.unwrap()).await.unwrap();
    assert!(matches!(other, Changed::Yes(_)));
    let december = day("2026-12-01");
    let next = entry("req_2", 10);
    let next = Change::reserve(december, next.amount, Some(&next), &month(10)).unwrap();
    assert!(matches!(change(&store, december, &next).await, Changed::Yes(_)));
    assert_eq!(seen(&store).await.counter(COMMITTED), 10);
}

pub(crate) async fn of_fifty_at_once_as_many_get_in_as_fit(store: Store) {
    let entries = (0..50).map(|n| Some(entry(&format!("req_{n}"), 100))).collect();
    assert_eq!(let_in(store, "alice", entries).await, (10, 0));
}

pub(crate) async fn of_fifty_at_once_the_deployment_lets_in_as_many_as_fit(store: Store) {
    let (let_in, unclear) = let_in(store, DEPLOYMENT, vec![None; 50]).await;
    assert!(let_in <= 10 && let_in + unclear >= 10, "{let_in} and {unclear}");
}

/// How many of those who ask at once are let in, and of how many nobody knows: their money counts
/// as spent.
async fn let_in(store: Store, subject: &'static str, all: Vec<Option<Entry>>) -> (usize, usize) {
    let store = Arc::new(store);
    let mut asking = JoinSet::new();
    for entry in all {
        let store = Arc::clone(&store);
        asking.spawn(async move {
            let change =
                Change::reserve(today(), MicroDollars(100), entry.as_ref(), &month(1000)).unwrap();
            let account = Account { subject, user: None, at: today() };
            // A table may be slow with fifty at once; what is unclear and has a name is asked again.
            loop {
                match store.change(&account, &change).await {
                    Ok(changed) => return Some(matches!(changed, Changed::Yes(_))),
                    Err(_) if entry.is_none() => return None,
                    Err(_) => {}
                }
            }
        });
    }
    let heard = asking.join_all().await;
    let count = |what| heard.iter().filter(|heard| **heard == what).count();
    let (let_in, unclear) = (count(Some(true)), count(None));
    let committed = store.month(subject, &today().month()).await.unwrap().counter(COMMITTED);
    let known = i64::try_from(let_in * 100).unwrap();
    assert!(committed <= 1000 && committed >= known, "{committed}");
    assert!(unclear > 0 || committed == 1000, "{committed}");
    (let_in, unclear)
}

pub(crate) async fn the_name_of_a_subject_stays(store: Store) {
    let named = Account { user: Some("ada"), ..account(today()) };
    let once = Change::book(today(), MicroDollars(0), Some(&bill(1)));
    store.change(&named, &once).await.unwrap();
    assert_eq!(seen(&store).await.user.as_deref(), Some("ada"));
    done(&store, &once).await;
    assert_eq!(seen(&store).await.user.as_deref(), Some("ada"));
}

/// Reservations, top-ups, settlements, crashes, answers that are lost, calls that arrive late and
/// days that pass, in any order, against a model that only adds. Of a table `scripts/interleavings`
/// asks for ten thousand orders.
pub(crate) async fn any_order_of_events_adds_up(store: Store) {
    let orders = match store {
        Store::Memory(_) => 10_000,
        Store::Embedded(_) => 40,
        Store::Dynamo(_) => wanted().unwrap_or(40),
    };
    orders_add_up(&store, orders).await;
}

#[expect(clippy::disallowed_methods, reason = "how long to run is said from outside")]
fn wanted() -> Option<u64> {
    let set = std::env::var("BUDGET_ORDERS").ok()?;
    Some(set.parse().expect("BUDGET_ORDERS is a number"))
}

/// So many subjects' lives, some of them at once, and what they came to.
#[expect(clippy::print_stdout, reason = "what it came to is read by whoever asked for more")]
pub(crate) async fn orders_add_up(store: &Store, orders: u64) {
    #[expect(clippy::disallowed_methods, reason = "the counts are printed with their time")]
    let begun = std::time::Instant::now();
    // What is read again after each event is as much as what is written.
    let thorough = matches!(store, Store::Memory(_)) || orders <= 40;
    let lives = (0..orders).map(|seed| Life::new(store, seed, thorough).live(15));
    let lives = futures_util::stream::iter(lives).buffer_unordered(8);
    let (changes, let_in) = lives
        .fold((0, 0), async |(changes, let_in), life| (changes + life.0, let_in + life.1))
        .await;
    let time = begun.elapsed();
    println!("{orders} orders: {changes} changes, {let_in} reservations let in, {time:?}");
}

/// One subject's life.
struct Life<'a> {
    store: &'a Store,
    subject: String,
    rng: Rng,
    caps: Caps,
    today: Period,
    calls: Vec<Running>,
    /// Changes that have been sent, and may still arrive.
    late: Vec<(Period, Change)>,
    /// What is committed and spent, by month and counter.
    model: BTreeMap<String, BTreeMap<String, i64>>,
    open: BTreeMap<String, (Period, i64)>,
    made: u64,
    /// Reads everything again after each event.
    thorough: bool,
    /// What the store was asked for, and how many reservations it let in.
    counts: (Cell<u64>, u64),
}

/// A call that Bedrock is answering, and what is known to be reserved for it.
struct Running {
    at: Period,
    held: Vec<Entry>,
}

impl<'a> Life<'a> {
    fn new(store: &'a Store, seed: u64, thorough: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let mut cap = |most| rng.bool().then(|| MicroDollars(rng.u64(0..most)));
        let caps = Caps { month: cap(5000), day: cap(3000) };
        Self {
            store,
            subject: format!("subject-{seed}"),
            caps,
            rng,
            today: day("2026-10-30"),
            calls: Vec::new(),
            late: Vec::new(),
            model: BTreeMap::new(),
            open: BTreeMap::new(),
            made: 0,
            thorough,
            counts: (Cell::new(0), 0),
        }
    }

    async fn live(mut self, events: usize) -> (u64, u64) {
        for _ in 0..events {
            match self.rng.u8(0..8) {
                0..=2 => self.reserve().await,
                3 => self.top_up().await,
                4 => self.settle().await,
                5 => drop(self.crash()),
                6 => self.arrive().await,
                _ => self.today = tomorrow(self.today),
            }
            if self.thorough {
                self.compare().await;
            }
        }
        self.compare().await;
        (self.counts.0.get(), self.counts.1)
    }

    async fn reserve(&mut self) {
        let entry = self.entry();
        let (at, amount) = (self.today, signed(entry.amount));
        let Some(change) = Change::reserve(at, entry.amount, Some(&entry), &self.caps) else {
            let caps = [self.caps.month, self.caps.day].into_iter().flatten();
            let least = caps.min().unwrap();
            assert!(least < entry.amount || least.0 == 0, "there might have been room");
            return;
        };
        match self.rng.u8(0..6) {
            // It never arrives, or later: Bedrock is not asked.
            0 => {}
            1 => self.late.push((at, change)),
            tries => {
                let room = self.room(at) >= amount;
                // The answer to the first try is lost, or the request itself comes twice.
                for _ in 0..=usize::from(tries == 2) {
                    let changed = self.change(at, &change).await;
                    assert_eq!(matches!(changed, Changed::Yes(_)), room, "{:?}", self.caps);
                }
                if room {
                    self.counts.1 += 1;
                    self.commit(at, amount);
                    self.open.insert(entry.text(), (at, amount));
                    assert!(self.room(at) >= 0, "more is reserved than may be");
                    self.calls.push(Running { at, held: vec![entry] });
                }
            }
        }
    }

    async fn top_up(&mut self) {
        let entry = self.entry();
        let Some(index) = self.any_call() else { return };
        let at = self.calls[index].at;
        let change = Change::top_up(at, entry.amount, Some(&entry));
        match self.rng.u8(0..4) {
            0 => self.late.push((at, change)),
            fate => {
                for _ in 0..=usize::from(fate == 1) {
                    let changed = self.change(at, &change).await;
                    assert!(matches!(changed, Changed::Yes(_)));
                }
                self.commit(at, signed(entry.amount));
                self.open.insert(entry.text(), (at, signed(entry.amount)));
                // Whoever does not know that it has arrived does not take it off again.
                if fate != 2 {
                    self.calls[index].held.push(entry);
                }
            }
        }
    }

    async fn settle(&mut self) {
        let Some(Running { at, held }) = self.crash() else { return };
        let cost = self.rng.i64(0..2500);
        let answered = self.rng.bool();
        let paid = bill(cost.unsigned_abs());
        let change = Change::settle(at, &held, answered.then_some(&paid));
        for _ in 0..self.rng.usize(1..=2) {
            assert!(matches!(self.change(at, &change).await, Changed::Yes(_)));
        }
        if self.rng.bool() {
            self.late.push((at, change));
        }
        for entry in &held {
            self.open.remove(&entry.text());
            self.commit(at, -signed(entry.amount));
        }
        if answered {
            self.commit(at, cost);
            *self.counter(at, SPENT) += cost;
            *self.counter(at, REQUESTS) += 1;
        }
    }

    /// A call of which nobody hears any more; what is reserved for it stays.
    fn crash(&mut self) -> Option<Running> {
        self.any_call().map(|index| self.calls.swap_remove(index))
    }

    /// A change arrives that nobody waits for.
    async fn arrive(&mut self) {
        let Some((at, change)) = self.late.pop() else { return };
        let amount = change.add.first().map_or(0, |(_, amount)| *amount);
        let room = self.room(at) >= amount;
        let changed = self.change(at, &change).await;
        let Some(entry) = change.open.clone() else { return };
        let parsed = Entry::parse(&entry).unwrap();
        let is_reservation = change != Change::top_up(at, parsed.amount, Some(&parsed));
        assert_eq!(matches!(changed, Changed::Yes(_)), room || !is_reservation);
        if matches!(changed, Changed::Yes(_)) {
            self.commit(at, amount);
            self.open.insert(entry, (at, amount));
        }
    }

    async fn compare(&self) {
        for (month, counters) in &self.model {
            let seen = self.store.month(&self.subject, month).await.unwrap();
            for (counter, amount) in counters {
                assert_eq!(seen.counter(counter), *amount, "{} {counter}", self.subject);
            }
            let open = self.open.iter().filter(|(_, (at, _))| at.month() == *month);
            let (names, amounts): (Vec<_>, Vec<_>) = open.map(|(text, (_, a))| (text, *a)).unzip();
            assert_eq!(seen.open.iter().collect::<Vec<_>>(), names, "{}", self.subject);
            // Committed is what was really spent, and whatever is not known yet.
            let held: i64 = amounts.into_iter().sum();
            assert_eq!(seen.counter(COMMITTED), seen.counter(SPENT) + held, "{}", self.subject);
        }
    }

    fn entry(&mut self) -> Entry {
        self.made += 1;
        entry(&format!("req_{}", self.made), self.rng.u64(0..2000))
    }

    fn any_call(&mut self) -> Option<usize> {
        (!self.calls.is_empty()).then(|| self.rng.usize(0..self.calls.len()))
    }

    async fn change(&self, at: Period, change: &Change) -> Changed {
        let account = Account { subject: &self.subject, user: None, at };
        self.counts.0.set(self.counts.0.get() + 1);
        for _ in 0..20 {
            // A table may be slow; what happens once may be asked for again.
            if let Ok(changed) = self.store.change(&account, change).await {
                return changed;
            }
        }
        panic!("the store does not answer")
    }

    fn counter(&mut self, at: Period, name: &str) -> &mut i64 {
        self.model.entry(at.month()).or_default().entry(name.to_owned()).or_default()
    }

    fn commit(&mut self, at: Period, amount: i64) {
        *self.counter(at, COMMITTED) += amount;
        *self.counter(at, &at.day()) += amount;
    }

    /// What may still be committed.
    fn room(&mut self, at: Period) -> i64 {
        let caps = [(COMMITTED.to_owned(), self.caps.month), (at.day(), self.caps.day)];
        let room = |(counter, cap): (String, Option<MicroDollars>)| {
            Some(signed(cap?) - *self.counter(at, &counter))
        };
        caps.into_iter().filter_map(room).min().unwrap_or(i64::MAX)
    }
}

fn entry(id: &str, amount: u64) -> Entry {
    Entry { id: id.to_owned(), amount: MicroDollars(amount), since: 1_796_000_000 }
}

fn bill(cost: u64) -> Bill {
    let tokens =
        Tokens { input: 4, output: 812, cache_read: 7, cache_write_5m: 2, cache_write_1h: 3 };
    let cost = Cost { amount: MicroDollars(cost), assumed: true };
    Bill { cost, tokens, class: "opus".to_owned(), saved: 120, session: Some("x07".to_owned()) }
}

fn month(cap: u64) -> Caps {
    Caps { month: Some(MicroDollars(cap)), ..Caps::default() }
}

fn signed(amount: MicroDollars) -> i64 {
    i64::try_from(amount.0).unwrap()
}

pub(crate) fn day(day: &str) -> Period {
    Period::at(format!("{day}T12:00:00Z").parse().unwrap(), &TimeZone::UTC)
}

fn today() -> Period {
    day("2026-11-29")
}

fn tomorrow(at: Period) -> Period {
    Period::at(at.day_ends(&TimeZone::UTC), &TimeZone::UTC)
}

fn account(at: Period) -> Account<'static> {
    Account { subject: "alice", user: None, at }
}

async fn change(store: &Store, at: Period, change: &Change) -> Changed {
    store.change(&account(at), change).await.unwrap()
}

/// What has to happen.
async fn done(store: &Store, wanted: &Change) {
    assert!(matches!(change(store, today(), wanted).await, Changed::Yes(_)), "{wanted:?}");
}

/// Reserves for alice today; without room, says what is committed.
async fn reserve(store: &Store, entry: &Entry, caps: &Caps) -> Result<Month, Month> {
    let wanted = Change::reserve(today(), entry.amount, Some(entry), caps).unwrap();
    match change(store, today(), &wanted).await {
        Changed::Yes(month) => Ok(month),
        Changed::Full(month) => Err(month),
    }
}

async fn seen(store: &Store) -> Month {
    store.month("alice", &today().month()).await.unwrap()
}
