//! What does a month's item say to people and programs, and what of it is not believed?

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::AttributeValue;
use function::money::MicroDollars;
use function::money::budget::{Caps, Exception, Month};
use function::money::statement::view::{By, Kind, lines};
use function::money::statement::written::{csv, json};
use function::money::statement::{Statement, Statements};
use function::store::dynamo::{budgets, item};
use serde_json::{Value, json};

#[test]
fn an_item_says_what_was_spent_on_what_and_what_is_still_open() {
    let statement = Statement::of("alice", "2026-11", &alices(), Some(MicroDollars(50_000_000)));
    assert_eq!(statement.cost, MicroDollars(3_410_000));
    assert_eq!((statement.requests, statement.waiting_avoided), (41, 7_800));
    assert_eq!(statement.assumed, MicroDollars(690_000));
    // 4.16 are committed: 3.41 and one reservation of 0.75.
    assert_eq!(statement.unsettled, MicroDollars(750_000));
    assert_eq!(statement.open.len(), 1);
    // 710,000 of 1,000,000 tokens of prompt were read from the cache.
    assert_eq!(statement.tokens.cache_share(), Some(7100));
    assert_eq!(statement.of_limit(), Some(83));
    let days: Vec<_> = statement.by_day.keys().map(String::as_str).collect();
    assert_eq!(days, ["2026-11-28", "2026-11-29"]);
    let classes: Vec<_> = statement.by_class.keys().map(String::as_str).collect();
    assert_eq!(classes, ["haiku", "opus"]);
}

#[test]
fn what_is_nonsense_in_an_item_is_nothing() {
    let counters = [
        ("m", -5),
        ("spent", i64::MAX),
        ("requests", -1),
        ("t_in", i64::MAX),
        ("t_r", i64::MAX),
        ("d00", 7),
        ("d32", 7),
        ("d9", 7),
        ("d+1", 7),
        ("c_Opus", 7),
        ("c_", 7),
        ("c_\u{1b}[31m", 7),
        ("c_sonnet", -7),
        ("whatever", 7),
    ];
    let item = Month {
        counters: named(&counters),
        open: ["nonsense".to_owned(), "a.b.c".to_owned()].into(),
        user: Some("=cmd()\u{1b}".to_owned()),
    };
    let statement = Statement::of("x\u{1b}[2Jy", "2026-11", &item, Some(MicroDollars(0)));
    assert_eq!((statement.user.as_deref(), statement.subject.as_str()), (None, "x[2Jy"));
    assert_eq!((statement.unsettled, statement.requests), (MicroDollars(0), 0));
    assert!(statement.by_day.is_empty() && statement.by_class.is_empty());
    assert!(statement.open.is_empty() && statement.of_limit().is_none());
    let two = Statements {
        users: vec![statement.clone(), statement],
        month: "2026-11".to_owned(),
        timezone: "UTC".to_owned(),
    };
    for by in [By::User, By::Class, By::Day] {
        for line in lines(&two, by) {
            assert!(line.text.chars().count() <= 80, "{line}");
        }
    }
    assert!(serde_json::from_str::<Value>(&json(&two)).is_ok());
}

#[test]
fn a_program_reads_all_of_it_as_json() {
    let read: Value = serde_json::from_str(&json(&everybodys())).unwrap();
    let alice = json!({
        "user": "alice", "subject": "alice", "cost_usd": 3.41, "limit_usd": 50,
        "requests": 41, "cache_share": 0.71, "waiting_avoided_s": 7800,
        "tokens": {"input": 190_000, "output": 31_000, "cache_read": 710_000,
                   "cache_write_5m": 60_000, "cache_write_1h": 40_000},
        "assumed_usd": 0.69, "unsettled_usd": 0.75,
        "by_class": {"haiku": 0.01, "opus": 3.4},
        "by_day": {"2026-11-28": 1.000_001, "2026-11-29": 3.159_999},
    });
    assert_eq!(read["users"][0], alice);
    let unknown = &read["users"][1];
    assert_eq!((&unknown["user"], &unknown["limit_usd"]), (&Value::Null, &Value::Null));
    assert_eq!(unknown["cache_share"], Value::Null);
    assert_eq!(read["users"].as_array().unwrap().len(), 2, "the deployment is no user");
    let head = [&read["month"], &read["timezone"], &read["total_usd"]];
    assert_eq!(head, [&json!("2026-11"), &json!("Europe/Berlin"), &json!(3.410_002)]);
    // Not 3.4099999: no float has held it.
    assert!(json(&everybodys()).contains(r#""2026-11-29":3.159999}"#));
}

#[test]
fn a_spreadsheet_reads_one_row_a_user() {
    let text = csv(&everybodys());
    let rows: Vec<Vec<&str>> = text.lines().map(|row| row.split(',').collect()).collect();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{text}");
    let alice: BTreeMap<_, _> = rows[0].iter().zip(&rows[1]).collect();
    let cells = [
        ("user", "alice"),
        ("cost_usd", "3.41"),
        ("limit_usd", "50"),
        ("tokens_cache_write_1h", "40000"),
        ("cache_share", "0.71"),
        ("by_class_opus", "3.4"),
        ("by_day_2026-11-28", "1.000001"),
    ];
    for (name, cell) in cells {
        assert_eq!(alice[&name], &cell, "{name}");
    }
    let mut formula = everybodys();
    formula.users[0].user = Some("@SUM+1".to_owned());
    formula.users[1].user = Some("-2".to_owned());
    let text = csv(&formula);
    assert!(text.contains("\n\"'@SUM+1\",") && text.contains("\n\"'-2\","), "{text}");
}

#[test]
fn a_person_reads_a_table() {
    let shown = |by| lines(&everybodys(), by).iter().map(|line| format!("{line}\n")).collect();
    let table: [String; 3] = [By::User, By::Class, By::Day].map(shown);
    insta::assert_snapshot!(table.join("----\n"));
    let nobody = Statements::of(("2026-11", "UTC"), [], |_, _| None);
    let said: Vec<_> = lines(&nobody, By::User).into_iter().map(|line| line.text).collect();
    assert_eq!(said, ["Bedrock in 2026-11, days of UTC", "Nothing was spent."]);
    assert_eq!(lines(&everybodys(), By::User)[2].kind, Kind::Head);
}

#[test]
fn a_user_is_found_by_name_and_by_the_beginning_of_a_fingerprint() {
    for (wanted, found) in
        [("alice", 1), ("fade0123456700", 1), ("fade01234567", 1), ("fade", 0), ("bob", 0)]
    {
        assert_eq!(everybodys().only(wanted).users.len(), found, "{wanted}");
    }
}

#[test]
fn an_exception_is_read_as_it_was_written() {
    let exception = Exception {
        caps: Caps { month: Some(MicroDollars(25_000_000)), day: Some(MicroDollars(0)) },
        extra: MicroDollars(5_000_000),
        extra_month: "2026-11".to_owned(),
        until: "2026-12-31T00:00:00Z".parse().ok(),
    };
    for exception in [exception, Exception::default()] {
        let written = item::exception_attributes(&exception);
        assert_eq!(written.each_ref().map(|(name, _)| *name), item::EXCEPTION);
        let written = written.into_iter().filter_map(|(name, value)| Some((name.into(), value?)));
        assert_eq!(item::exception(&written.collect()), Some(exception));
    }
}

#[test]
fn an_item_of_the_table_is_a_month_if_its_key_says_so() {
    let of = |pk: &str, sk: &str| {
        let key = [("pk", pk), ("sk", sk)];
        let mut item: item::Item =
            key.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.into()))).into();
        item.insert("m".into(), AttributeValue::N("7".into()));
        item.insert("spent".into(), AttributeValue::S("7".into()));
        let found = item::stored_month(&item)?;
        Some((found.0.to_owned(), found.1.to_owned(), budgets::read(&item)))
    };
    let (subject, month, read) = of("budget#a#b", "2026-11").unwrap();
    assert_eq!((subject.as_str(), month.as_str()), ("a#b", "2026-11"));
    assert_eq!(read.counters, named(&[("m", 7)]));
    for (pk, sk) in [("limit#a", "2026-11"), ("budget#a", "2026-13"), ("budget#a", "20261101")] {
        assert_eq!(of(pk, sk), None, "{pk} {sk}");
    }
}

fn everybodys() -> Statements {
    let unknown = Month { counters: named(&[("m", 2), ("spent", 2)]), ..Month::default() };
    let fingerprint = format!("fade012345670000{}", "0".repeat(48));
    let items = [("*", alices()), (fingerprint.as_str(), unknown), ("alice", alices())];
    let items = items.iter().map(|(subject, month)| (*subject, month));
    let limit = |subject: &str, _: &Month| (subject == "alice").then_some(MicroDollars(50_000_000));
    Statements::of(("2026-11", "Europe/Berlin"), items, limit)
}

fn alices() -> Month {
    let counters = [
        ("m", 4_160_000),
        ("d28", 1_000_001),
        ("d29", 3_159_999),
        ("d30", 0),
        ("spent", 3_410_000),
        ("assumed", 690_000),
        ("requests", 41),
        ("saved_seconds", 7800),
        ("t_in", 190_000),
        ("t_out", 31_000),
        ("t_r", 710_000),
        ("t_w5", 60_000),
        ("t_w1", 40_000),
        ("c_opus", 3_400_000),
        ("c_haiku", 10_000),
    ];
    let open = ["req_proxy_1.750000.1795428000".to_owned()].into();
    Month { counters: named(&counters), open, user: Some("alice".to_owned()) }
}

fn named(counters: &[(&str, i64)]) -> BTreeMap<String, i64> {
    counters.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
}
