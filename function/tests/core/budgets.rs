//! How much may be committed, on which day, and does every store count it alike? `tests/dynamo` has
//! the shared table.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

use function::failover::cooldown::Timestamp;
use function::money::Period;
use function::money::budget::{Caps, Change, Entry, Exception, Month, UsedUp};
use function::money::estimate::{reserved, topped_up};
use function::money::{Invoked, MicroDollars, Prices, Tariff};
use function::store::Store;
use function::store::budgets::{Account, Budgets};
use function::store::embedded::EmbeddedStore;
use function::store::memory::MemoryStore;
use function::translate::model::Model;
use function::wire::usage::Usage;
use jiff::tz::TimeZone;
use redb::{Database, TableDefinition};
use tempfile::TempDir;

mod rules;

use self::rules::{day, every_rule};

macro_rules! stores_keep {
    ($($rule:ident)*) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::rules::$rule(super::Store::Memory(super::MemoryStore::new())).await;
            })*
        }
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                let folder = super::TempDir::new().unwrap();
                super::rules::$rule(super::Store::Embedded(super::embedded(&folder))).await;
            })*
        }
    };
}

every_rule! { stores_keep }

#[test]
fn the_fuller_cap_says_how_much_is_used() {
    let at = Period::at("2026-11-30T12:00:00Z".parse().unwrap(), &TimeZone::UTC);
    let mut month = Month::default();
    month.counters.extend([("m".to_owned(), 799_999), ("d30".to_owned(), 50_000)]);
    let caps = |month: Option<u64>, day: Option<u64>| Caps {
        month: month.map(MicroDollars),
        day: day.map(MicroDollars),
    };
    for (caps, percent) in [
        (caps(None, None), None),
        (caps(Some(1_000_000), None), Some(79)),
        (caps(Some(1_000_000), Some(60_000)), Some(83)),
        (caps(Some(0), Some(60_000)), Some(100)),
        (caps(Some(1), None), Some(79_999_900)),
    ] {
        assert_eq!(caps.used_percent(&month, at), percent, "{caps:?}");
    }
    assert_eq!(caps(Some(5), None).used_percent(&Month::default(), at), Some(0));
}

#[test]
fn a_day_and_a_month_are_those_of_the_budgets_own_clock() {
    let cases = [
        ("UTC", "2026-11-30T23:59:59Z", "2026-11", "d30"),
        ("Asia/Seoul", "2026-11-30T14:59:59Z", "2026-11", "d30"),
        ("Asia/Seoul", "2026-11-30T15:00:00Z", "2026-12", "d01"),
        ("America/New_York", "2026-12-01T04:59:59Z", "2026-11", "d30"),
    ];
    for (zone, now, month, day) in cases {
        let period = Period::at(now.parse().unwrap(), &zoned(zone));
        assert_eq!((period.month().as_str(), period.day().as_str()), (month, day), "{zone} {now}");
    }
}

#[test]
fn a_day_ends_when_the_clock_says_so_also_where_it_is_changed() {
    let cases = [
        ("UTC", "2026-11-29T12:00:00Z", "2026-11-30T00:00:00Z", "2026-12-01T00:00:00Z"),
        // The day on which the clock is put back has 25 hours, and its month an hour more.
        ("Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T23:00:00Z", "2026-10-31T23:00:00Z"),
        ("Europe/Berlin", "2026-03-29T00:30:00Z", "2026-03-29T22:00:00Z", "2026-03-31T22:00:00Z"),
        ("UTC", "2026-12-31T12:00:00Z", "2027-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
        ("UTC", "2028-02-28T12:00:00Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
    ];
    for (zone, now, tomorrow, month) in cases {
        let (now, zone) = (now.parse().unwrap(), zoned(zone));
        let period = Period::at(now, &zone);
        let ends = [period.day_ends(&zone), period.month_ends(&zone)];
        assert_eq!(ends.map(|end| end.to_string()), [tomorrow, month], "{now}");
    }
}

#[test]
fn an_item_is_kept_for_thirteen_months() {
    let december = day("2026-12-31");
    assert_eq!(december.kept_until().to_string(), "2028-01-01T00:00:00Z");
    assert_eq!(december.oldest_month(), "2025-11");
}

#[test]
fn of_two_caps_that_are_used_up_the_one_is_named_that_resets_later() {
    let at = day("2026-11-29");
    let cap = |cap: u64| Some(MicroDollars(cap));
    let month = Month { counters: counters([("m", 900), ("d29", 500)]), ..Month::default() };
    let used_up = |caps: Caps, amount| caps.used_up(Some(&month), MicroDollars(amount), at);
    let of = |used, limit, is_month| {
        Some(UsedUp { used: Some(MicroDollars(used)), limit: MicroDollars(limit), is_month })
    };
    assert_eq!(used_up(Caps { month: cap(1000), day: cap(600) }, 100), None);
    assert_eq!(used_up(Caps { month: cap(1000), day: cap(600) }, 101), of(900, 1000, true));
    assert_eq!(used_up(Caps { month: cap(2000), day: cap(600) }, 101), of(500, 600, false));
    assert_eq!(used_up(Caps { month: cap(0), day: None }, 0), of(900, 0, true));
    assert_eq!(used_up(Caps::default(), u64::MAX), None);
    let unseen = Caps { month: cap(5), day: cap(9) };
    assert_eq!(unseen.used_up(None, MicroDollars(5), at), None);
    let never = UsedUp { used: None, limit: MicroDollars(5), is_month: true };
    assert_eq!(unseen.used_up(None, MicroDollars(6), at), Some(never));
    let day_resets = of(500, 600, false).unwrap().resets(at, &TimeZone::UTC);
    assert_eq!(day_resets.to_string(), "2026-11-30T00:00:00Z");
}

#[test]
fn a_users_own_caps_stand_instead_of_the_usual_ones_until_they_end() {
    let at = day("2026-11-29");
    let now = "2026-11-29T12:00:00Z".parse().unwrap();
    let cap = |cap: u64| Some(MicroDollars(cap));
    let caps = |month, day| Caps { month, day };
    let of = |month, day| Exception { caps: caps(month, day), ..Exception::default() };
    let until = |until: &str, exception| Exception { until: until.parse().ok(), ..exception };
    let extra = |month: &str, exception| Exception {
        extra: MicroDollars(7),
        extra_month: month.to_owned(),
        ..exception
    };
    let usual = caps(cap(50), cap(5));
    let cases = [
        (of(None, None), usual),
        (of(cap(25), None), caps(cap(25), cap(5))),
        (of(cap(0), cap(100)), caps(cap(0), cap(100))),
        (until("2026-11-29T12:00:00Z", of(cap(25), None)), usual),
        (until("2026-11-29T12:00:01Z", of(cap(25), None)), caps(cap(25), cap(5))),
        (extra("2026-11", of(cap(25), None)), caps(cap(32), cap(5))),
        (extra("2026-11", of(None, None)), caps(cap(57), cap(5))),
        (extra("2026-10", of(None, None)), usual),
        (Exception::unreadable(), caps(cap(0), cap(5))),
    ];
    for (exception, expected) in cases {
        assert_eq!(exception.over(usual, now, at), expected, "{exception:?}");
    }
    assert_eq!(extra("2026-11", of(None, None)).over(Caps::default(), now, at), Caps::default());
}

#[test]
fn an_entry_is_read_as_it_was_written_and_nothing_else_is() {
    let entry = Entry { id: "req_proxy_a.b".to_owned(), amount: MicroDollars(5), since: -7 };
    assert_eq!(entry.text(), "req_proxy_a.b.5.-7");
    assert_eq!(Entry::parse(&entry.text()), Some(entry));
    for text in ["", "a", "a.1", "a.b.1", "a.-1.1", "a.1.b", "a.1.99999999999999999999"] {
        assert_eq!(Entry::parse(text), None, "{text}");
    }
}

#[test]
fn amounts_that_no_sum_could_hold_neither_panic_nor_fit() {
    let at = day("2026-11-29");
    let caps = Caps { month: Some(MicroDollars(u64::MAX)), day: None };
    let mut month = Month::default();
    for n in 0..3 {
        let entry = Entry { id: format!("req_{n}"), amount: MicroDollars(u64::MAX), since: 0 };
        let change = Change::reserve(at, entry.amount, Some(&entry), &caps).unwrap();
        assert_eq!(month.apply(&change), n == 0);
        month.apply(&Change::top_up(at, entry.amount, Some(&entry)));
    }
    assert!(month.counter("m") > 0);
}

#[test]
fn what_is_reserved_is_the_whole_prompt_and_what_an_answer_usually_has() {
    // 300,000 bytes are 120,000 tokens: at 4.40 a token, or written at 5.50, or for an hour at 8.80;
    // 4,096 tokens of output at 22.
    let text = "a".repeat(299_000);
    let body = |fields: &str| format!("{{{fields:<992}\"x\":\"{text}\"}}").into_bytes();
    let plain = body("");
    let cached = body(r#""cache_control":{"type":"ephemeral"},"#);
    let hour = body(r#""cache_control":{"type":"ephemeral","ttl":"1h"},"#);
    assert_eq!(plain.len(), 300_000);
    let output = 4096 * 22;
    let cases = [
        (&plain, false, 528_000 + output),
        (&cached, false, 660_000 + output),
        (&hour, true, 1_056_000 + output),
    ];
    for (body, is_hour, amount) in cases {
        let reserved = reserved(&opus(is_hour), body, Some(64_000)).0;
        assert!(reserved.abs_diff(amount) < 20, "{reserved}, not {amount}");
    }
    let short = reserved(&opus(false), b"{}", Some(10)).0;
    assert_eq!(short, 5 + 220, "no more than is allowed for");
    assert_eq!(reserved(&opus(false), b"{}", None).0, 5 + output);
}

#[test]
fn an_image_counts_as_an_image_and_not_as_a_text() {
    let data = "A".repeat(1_000_000);
    let file = |kind: &str| {
        format!(r#"{{"source":{{"type":"base64","media_type":"{kind}","data":"{data}"}}}}"#)
    };
    let tokens = |body: &str| reserved(&opus(false), body.as_bytes(), Some(0)).0 * 10 / 44;
    assert!((5000..5100).contains(&tokens(&file("image/png"))));
    assert!((400_000..400_100).contains(&tokens(&file("application/pdf"))));
    let spaced = file("image/png").replace(':', " : ").replace(',', ", ");
    assert!((5000..5100).contains(&tokens(&spaced)), "as other clients write it");
    let last = format!(r#"{{"data":"{data}","media_type":"image/png"}}"#);
    assert!((5000..5100).contains(&tokens(&last)), "its kind comes behind it");
    let text = format!(r#"{{"text":"image/png \"data\":\"{data}"}}"#);
    assert!(tokens(&text) > 400_000, "a text that only looks like one");
    let cut = file("image/png");
    assert!(tokens(&cut[..500_000]) < 5100, "a body that breaks off");
}

#[test]
fn a_tier_of_prices_counts_for_what_is_reserved_too() {
    let tariff = tariff("us.anthropic.claude-haiku-5-5", false);
    let tokens = |bytes: usize| reserved(&tariff, " ".repeat(bytes).as_bytes(), Some(0)).0;
    assert_eq!((tokens(250_000), tokens(250_003)), (11_000, 55_002));
    let prompt = Usage { input: Some(100_001), ..Usage::default() };
    // 16,384 × 0.55, and five times that.
    assert_eq!(topped_up(&tariff, &Usage::default()).0, 9012);
    assert_eq!(topped_up(&tariff, &prompt).0, 45_056);
}

#[tokio::test]
async fn a_month_that_cannot_be_read_is_no_month_without_costs() {
    let folder = TempDir::new().unwrap();
    let table: TableDefinition<'_, (&str, &str), &str> = TableDefinition::new("budgets");
    drop(embedded(&folder));
    let database = Database::open(folder.path().join("limits.redb")).unwrap();
    let writing = database.begin_write().unwrap();
    writing.open_table(table).unwrap().insert(("2026-11", "alice"), "{").unwrap();
    writing.commit().unwrap();
    drop(database);
    let store = embedded(&folder);
    let account = Account { subject: "alice", user: None, at: day("2026-11-29") };
    let change = Change::book(account.at, MicroDollars(0), None);
    assert!(store.change(&account, &change).await.is_err());
    assert!(store.month("alice", "2026-11").await.is_err());
}

#[tokio::test]
async fn the_file_forgets_a_month_after_thirteen_and_nothing_of_a_restart() {
    let folder = TempDir::new().unwrap();
    let entry = Entry { id: "req_1".to_owned(), amount: MicroDollars(5), since: 0 };
    let store = embedded(&folder);
    for at in ["2025-10-31", "2025-11-01", "2026-12-31"].map(day) {
        let account = Account { subject: "alice", user: None, at };
        let change = Change::top_up(at, entry.amount, Some(&entry));
        store.change(&account, &change).await.unwrap();
    }
    drop(store);
    let store = embedded(&folder);
    for (month, committed) in [("2025-10", 0), ("2025-11", 5), ("2026-12", 5)] {
        let seen = store.month("alice", month).await.unwrap();
        assert_eq!(seen.counter("m"), committed, "{month}");
        assert_eq!(seen.unsettled().count(), usize::from(committed > 0), "{month}");
    }
}

fn embedded(folder: &TempDir) -> EmbeddedStore {
    let now: Timestamp = "2026-11-29T12:00:00Z".parse().unwrap();
    EmbeddedStore::open(&folder.path().join("limits.redb"), now).unwrap()
}

fn zoned(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

fn counters<const N: usize>(counters: [(&str, i64); N]) -> std::collections::BTreeMap<String, i64> {
    counters.map(|(name, amount)| (name.to_owned(), amount)).into()
}

fn opus(hour: bool) -> Tariff {
    tariff("us.anthropic.claude-opus-5-5", hour)
}

fn tariff(id: &str, hour: bool) -> Tariff {
    let model = Model::resolve(id).unwrap();
    let invoked = Invoked { model: &model, id, region: "us-east-1", hour };
    Prices::default().tariff(&invoked, "2026-11-29T12:00:00Z".parse().unwrap())
}
