//! What may be spent, and what has been: written by the tool as the function reads it, and read by
//! the tool as the function has written it.

use std::collections::HashMap;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use function::access::ProxyKey;
use function::clock;
use function::failover::cooldown::Timestamp;
use function::failover::known::{KeyOwner, Owner};
use function::money::budget::{Bill, Caps, Change, DEPLOYMENT, Entry, Exception, Month};
use function::money::tokens::Tokens;
use function::money::{Cost, MicroDollars, Period};
use function::store::budgets::{Account, Budgets};
use function::store::dynamo::DynamoStore;
use function::store::{Query, RateLimitStore};
use function::upstream::aws::Aws;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use testing::aws::emulator::Emulator::{self, MiniStack, Moto};
use testing::aws::proxy::{Fault, Refusal};
use testing::aws::world::World;
use testing::table::PATIENCE;

#[tokio::test]
async fn an_exception_holds_for_every_key_as_the_function_reads_it() {
    for emulator in [MiniStack, Moto] {
        let world = deployed(emulator);
        let first = add(&world, "alice");
        let second = add(&world, "alice");
        let bob = add(&world, "bob");
        let set = ["budget", "set", "alice", "25/month", "5/day", "--until", "2099-12-31"];
        let said = world.run(&[&set[..], &["--extra", "2.5", "--json"]].concat());
        said.expect(0);
        let report = said.json();
        assert_eq!((&report["user"], &report["keys"]), (&json!("alice"), &json!(2)));
        assert_eq!((&report["month_usd"], &report["day_usd"]), (&json!(25), &json!(5)));
        assert_eq!(
            (&report["extra_usd"], &report["until"]),
            (&json!(2.5), &json!("2100-01-01T00:00:00Z"))
        );
        let exception = Exception {
            caps: Caps { month: usd(25.0), day: usd(5.0) },
            extra: MicroDollars(2_500_000),
            extra_month: at().month(),
            until: "2100-01-01T00:00:00Z".parse().ok(),
        };
        for key in [&first, &second, &add(&world, "alice")] {
            assert_eq!(owner(&world, key).await, with("alice", Some(&exception)), "{emulator:?}");
        }
        assert_eq!(owner(&world, &bob).await, with("bob", None));
        // What is not named stays.
        world.run(&["budget", "set", "alice", "30/month"]).expect(0);
        let raised = Exception { caps: Caps { month: usd(30.0), ..exception.caps }, ..exception };
        assert_eq!(owner(&world, &first).await, with("alice", Some(&raised)));
        world.proxy.take_journal();
        world.run(&["budget", "set", "alice", "30/month"]).expect(0);
        assert_eq!(world.proxy.take_journal(), [""; 0], "what holds already is not written");
        world.run(&["budget", "clear", "alice"]).expect(0);
        for key in [&first, &second] {
            assert_eq!(owner(&world, key).await, with("alice", None));
        }
        world.run(&["budget", "clear", "alice"]).expect(0);
        for words in [&["budget", "set", "carol", "5/day"][..], &["budget", "clear", "carol"]] {
            let nobody = world.run(words);
            nobody.expect(1);
            assert!(
                nobody.stderr.contains("carol has no key here\n\nhint: `user list`"),
                "{nobody:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_lost_answer_changes_nothing_and_a_removed_key_stays_removed() {
    for emulator in [MiniStack, Moto] {
        let world = deployed(emulator);
        let key = add(&world, "alice");
        for (number, fault) in
            [Fault::DropBefore, Fault::DropAfter, Fault::Throttle].into_iter().enumerate()
        {
            world.proxy.arm(1, fault);
            let cap = format!("{}/month", number + 1);
            world.run(&["budget", "set", "alice", &cap]).expect(0);
            assert!(world.proxy.disarm(), "{fault:?}");
            let caps = Caps { month: usd(number as f64 + 1.0), day: None };
            let exception = Exception { caps, ..Exception::default() };
            assert_eq!(owner(&world, &key).await, with("alice", Some(&exception)), "{fault:?}");
        }
        // Somebody removes the key right before it is written: while a first try is throttled.
        world.proxy.arm(1, Fault::Throttle);
        let (table, config, pk) = (table(&world), world.sdk(), format!("key#{}", key.digest()));
        let remove = move || {
            let deletion = async {
                let keys = [("pk", pk.as_str()), ("sk", "key")];
                let keys =
                    keys.map(|(name, text)| (name.to_owned(), AttributeValue::S(text.into())));
                let delete = Client::new(&config).delete_item().table_name(table);
                delete.set_key(Some(keys.into())).send().await.unwrap();
            };
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(deletion);
        };
        world.proxy.meddle(1, remove);
        let raced = world.run(&["budget", "set", "alice", "9/month"]);
        assert!(matches!(raced.code, Some(1)), "{raced:?}");
        assert!(raced.stderr.contains("alice has no key here"), "{}", raced.stderr);
        assert_eq!(owner(&world, &key).await, KeyOwner::Nobody, "{emulator:?}");
    }
}

#[tokio::test]
async fn what_was_spent_is_told_as_shares_of_caps() {
    for emulator in [MiniStack, Moto] {
        let world = spent(emulator).await;
        let usage = world.run(&["usage", "--json"]);
        usage.expect(0);
        let usage = usage.json();
        assert_eq!((&usage["month"], &usage["timezone"]), (&json!(at().month()), &json!("UTC")));
        let alice = &usage["users"][0];
        assert_eq!((&alice["user"], &alice["cost_usd"]), (&json!("alice"), &json!(10)));
        assert_eq!((&alice["limit_usd"], &alice["unsettled_usd"]), (&json!(20), &json!(0.75)));
        assert_eq!(
            (&alice["by_class"]["opus"], &alice["tokens"]["input"]),
            (&json!(10), &json!(1000))
        );
        assert_eq!(usage["total_usd"], 10);
        let list = world.run(&["budget", "list", "--json"]);
        list.expect(0);
        let list = list.json();
        assert_eq!(list["defaults"], json!({"month_usd": 50, "day_usd": null}));
        assert_eq!(
            list["total"],
            json!({
                "month_usd": 100, "day_usd": null, "used_month_usd": 10.75, "used_day_usd": 10.75,
            })
        );
        let of = |number: usize| {
            let one = &list["budgets"][number];
            ["user", "month_usd", "used_month_usd", "extra_usd"].map(|name| one[name].clone())
        };
        assert_eq!(of(0), [json!("alice"), json!(20), json!(10.75), json!(0)]);
        assert_eq!(of(1), [json!("bob"), json!(50), json!(0), json!(0)]);
        let status = world.run(&["status", "--no-probe", "--json"]);
        status.expect(0);
        let money = &status.json()["money"];
        assert_eq!((&money["month_usd"], &money["today_usd"]), (&json!(10.75), &json!(10.75)));
        assert_eq!(money["month_cap_usd"], 100);
    }
}

#[tokio::test]
async fn a_person_reads_it_by_user_class_and_day_at_80_columns() {
    for emulator in [MiniStack, Moto] {
        let world = spent(emulator).await;
        for (words, said) in [
            (&["usage"][..], "alice"),
            (&["usage", "--by", "class"], "opus"),
            (&["usage", "--by", "day"], &format!("{}-{}", at().month(), &at().day()[1..])),
            (&["usage", "--user", "alice"], "alice"),
            (&["usage", "--user", "bob"], "Nothing was spent."),
            (&["usage", "--month", "2026-01"], "Nothing was spent."),
            (&["usage", "--csv"], "user,subject,cost_usd,limit_usd,requests,tokens_input"),
            (&["budget", "list"], "Whoever has no cap of their own: 50.00 USD a month."),
        ] {
            let shown = world.run(words);
            shown.expect(0);
            assert!(shown.stdout.contains(said), "{words:?}: {}", shown.stdout);
            let wide = shown
                .stdout
                .lines()
                .find(|line| line.chars().count() > 80 && !words.contains(&"--csv"));
            assert_eq!(wide, None, "{words:?}");
        }
        let nobody = world.run(&["usage", "--user", "carol"]);
        nobody.expect(1);
        assert!(nobody.stderr.contains("carol has no key and has spent nothing in"), "{nobody:?}");
    }
}

/// Of alice's twenty dollars ten are spent, and a reservation is under way.
async fn spent(emulator: Emulator) -> World {
    let world = deployed(emulator);
    let caps = ["BUDGET_USER_MONTH_USD=50", "BUDGET_TOTAL_MONTH_USD=100"];
    world.run(&[&["config", "set"][..], &caps].concat()).expect(0);
    add(&world, "alice");
    add(&world, "bob");
    world.run(&["budget", "set", "alice", "20/month"]).expect(0);
    spend(&world, "alice", 10_000_000).await;
    reserve(&world, "alice", "r1", 750_000, 0).await;
    world
}

/// Whoever changes the caps of a user while a key is made must find it changed, too.
#[tokio::test]
async fn a_key_that_is_made_while_a_cap_is_set_has_the_cap() {
    for emulator in [MiniStack, Moto] {
        let world = deployed(emulator);
        let first = add(&world, "alice");
        // Right after the new key is written, before it is looked at again.
        let (table, config, pk) = (table(&world), world.sdk(), format!("key#{}", first.digest()));
        world.proxy.meddle(1, move || {
            let change = async {
                let keys = [("pk", pk.as_str()), ("sk", "key")];
                let keys =
                    keys.map(|(name, text)| (name.to_owned(), AttributeValue::S(text.into())));
                let update = Client::new(&config).update_item().table_name(table);
                let update =
                    update.set_key(Some(keys.into())).update_expression("SET budget_day = :c");
                let cap = AttributeValue::N("7000000".to_owned());
                update.expression_attribute_values(":c", cap).send().await.unwrap();
            };
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(change);
        });
        let second = add(&world, "alice");
        assert!(!world.proxy.call_off(), "the key was made before");
        let caps = Caps { month: None, day: usd(7.0) };
        let exception = Exception { caps, ..Exception::default() };
        for key in [&first, &second] {
            assert_eq!(owner(&world, key).await, with("alice", Some(&exception)), "{emulator:?}");
        }
    }
}

#[test]
fn what_cannot_be_set_is_a_sentence_and_changes_nothing() {
    let world = deployed(MiniStack);
    add(&world, "alice");
    for (words, code, said) in [
        (&["alice", "5/day", "--until", "2026-01-01"][..], 64, "is over already"),
        (&["alice", "--until", "2099-12-31"], 64, "there is no exception that could end"),
        (&["alice", "5/day", "6/day"], 64, "two caps for the same period"),
        (&["bob", "5/day"], 1, "bob has no key here"),
    ] {
        world.proxy.take_journal();
        let ended = world.run(&[&["budget", "set"][..], words].concat());
        ended.expect(code);
        assert!(ended.stderr.contains(said), "{words:?}: {}", ended.stderr);
        assert_eq!(world.proxy.take_journal(), [""; 0], "{words:?}");
    }
    // A cap that nobody can read lets nobody spend anything, and can be said anew.
    world.run(&["user", "remove", "alice"]).expect(0);
    let nobody = world.run(&["budget", "set", "alice", "5/day"]);
    nobody.expect(1);
    assert!(nobody.stderr.contains("the caps for everybody hold"), "{}", nobody.stderr);
    let list = world.run(&["budget", "list"]);
    list.expect(0);
    assert!(list.stderr.contains("Nobody has a key"), "{}", list.stderr);
}

#[test]
fn prices_that_cannot_be_had_or_believed_are_never_stored() {
    let world = deployed(MiniStack);
    let offers = "/list-foundation-model-agreement-offers/";
    let list = "/offers/v1.0/aws/AmazonBedrockFoundationModels/";
    let denied = json!({"__type": "AccessDeniedException", "message": "no"});
    for (status, answer) in [(404, json!({})), (200, json!({"products": 1})), (200, json!([]))] {
        world.proxy.answer(offers, 403, denied.clone());
        world.proxy.answer(list, status, answer);
        let ended = world.run(&["prices", "--write", "--yes"]);
        ended.expect(1);
        assert!(ended.stderr.contains("what AWS asks could not be found out"), "{}", ended.stderr);
        assert!(ended.stderr.contains("note: the account's own offers are not known"));
        assert!(ended.error().lines().count() <= 8, "{}", ended.stderr);
    }
    let line = |service: &str, usage: &str, price: &str| {
        let service = format!("{service} (Amazon Bedrock Edition)");
        let usage = format!("USE1-MP:USE1_{usage}-Units");
        let product = json!({"attributes": {"servicename": service, "usagetype": usage}});
        let dimension = json!({"unit": "1M tokens", "pricePerUnit": {"USD": price}});
        (product, json!({"T": {"priceDimensions": {"D": dimension}}}))
    };
    let lines = [
        line("Claude Opus 5.5", "input_tokens_standard", "4400"),
        line("Claude Haiku 5.5", "input_tokens_standard", "0.2"),
        line("Claude Sonnet 4.6", "InputTokenCount_Global", "2"),
    ];
    let (mut products, mut terms) = (json!({}), json!({}));
    for (number, (product, term)) in lines.into_iter().enumerate() {
        products[number.to_string()] = product;
        terms[number.to_string()] = term;
    }
    world.proxy.answer(list, 200, json!({"products": products, "terms": {"OnDemand": terms}}));
    world.proxy.take_journal();
    let ended = world.run(&["prices", "--write", "--yes", "--json"]);
    ended.expect(0);
    let why: Vec<Value> = ended.json()["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["not_stored_because"].clone())
        .collect();
    assert_eq!(
        why,
        [
            json!("long prompts have a price of their own"),
            json!("too far from what is booked to be believed"),
            json!("not the scope in which it is asked"),
        ]
    );
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[tokio::test]
async fn what_nobody_has_heard_of_is_settled_once_and_the_sum_is_put_right() {
    for emulator in [MiniStack, Moto] {
        let world = deployed(emulator);
        world.run(&["config", "set", "BUDGET_TOTAL_MONTH_USD=100"]).expect(0);
        reserve(&world, "alice", "old", 750_000, 3_700).await;
        reserve(&world, "alice", "new", 250_000, 10).await;
        reserve(&world, DEPLOYMENT, "", 9_000_000, 0).await;
        let settled = world.run(&["budget", "settle", "--json"]);
        settled.expect(0);
        let report = settled.json();
        assert_eq!(report["settled"][0]["amount_usd"], 0.75);
        assert_eq!(
            (report["settled"].as_array().unwrap().len(), &report["under_way"]),
            (1, &json!(1))
        );
        let month = month(&world, "alice").await;
        let counters = ["m", "spent", "c_unknown"].map(|name| month.counter(name));
        assert_eq!(counters, [1_000_000, 750_000, 750_000], "{emulator:?}");
        assert_eq!(month.open.len(), 1);
        assert_eq!(self::month(&world, DEPLOYMENT).await.counter("m"), 1_000_000);
        world.proxy.take_journal();
        let again = world.run(&["budget", "settle"]);
        again.expect(0);
        assert!(again.stdout.contains("there was nothing to settle"), "{}", again.stdout);
        assert_eq!(world.proxy.take_journal(), [""; 0], "{emulator:?}");
    }
}

#[tokio::test]
async fn a_settlement_that_is_lost_or_made_twice_counts_once() {
    let world = deployed(MiniStack);
    for (number, fault) in
        [Fault::DropBefore, Fault::DropAfter, Fault::KillAfter].into_iter().enumerate()
    {
        reserve(&world, "alice", &format!("r{number}"), 100_000, 4_000).await;
        world.proxy.arm(1, fault);
        world.run(&["budget", "settle"]);
        assert!(world.proxy.disarm(), "{fault:?}");
        let words = ["budget", "settle"].map(str::to_owned);
        world.both(&words, &words).iter().for_each(|ended| ended.expect(0));
        let month = month(&world, "alice").await;
        assert_eq!(month.counter("spent"), (number as i64 + 1) * 100_000, "{fault:?}");
        assert!(month.open.is_empty());
    }
}

#[tokio::test]
async fn many_users_are_read_page_by_page_and_nothing_in_an_item_steers_a_terminal() {
    for emulator in [MiniStack, Moto] {
        let world = deployed(emulator);
        // A page of a scan ends at 1 MB.
        let filler = "x".repeat(200_000);
        for number in 0..12 {
            put(
                &world,
                &format!("user-{number}"),
                [
                    ("spent", AttributeValue::N("1000000".into())),
                    ("m", AttributeValue::N("1000000".into())),
                    ("user", AttributeValue::S(format!("user-{number}"))),
                    ("filler", AttributeValue::S(filler.clone())),
                ],
            )
            .await;
        }
        put(
            &world,
            "evil\u{1b}[2J\u{202e}",
            [
                ("spent", AttributeValue::S("much".into())),
                ("m", AttributeValue::N("-5".into())),
                ("user", AttributeValue::S("a\u{1b}[2J\nb".into())),
                ("o", AttributeValue::Ss(vec!["\u{1b}[31m.1.2".into(), "x".into()])),
            ],
        )
        .await;
        let usage = world.run(&["usage"]);
        usage.expect(0);
        assert!(usage.stdout.contains("total"), "{}", usage.stdout);
        let list = world.run(&["budget", "list"]);
        list.expect(0);
        for text in [&usage.stdout, &usage.stderr, &list.stdout, &list.stderr] {
            let steers = text.chars().find(|c| (c.is_control() && *c != '\n') || *c == '\u{202e}');
            assert_eq!(steers, None, "{text:?}");
        }
        assert_eq!(world.run(&["usage", "--json"]).json()["total_usd"], 12, "{emulator:?}");
    }
}

#[test]
fn a_table_that_cannot_be_read_is_a_sentence_with_a_next_step() {
    let world = deployed(MiniStack);
    for words in [
        &["usage"][..],
        &["budget", "list"],
        &["budget", "settle"],
        &["budget", "set", "a", "1/day"],
    ] {
        let denied =
            Refusal::new(400, "AccessDeniedException", "no identity-based policy allows it");
        world.proxy.refuse("dynamodb.Scan", denied);
        let refused = world.run(words);
        refused.expect(4);
        assert!(refused.stderr.contains("could not be read"), "{}", refused.stderr);
        assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
    }
}

#[test]
fn prices_are_compared_and_stored_only_after_a_yes() {
    let world = deployed(MiniStack);
    let line = |dimension: &str, price: &str| json!({"dimension": dimension, "price": price, "unit": "1M tokens"});
    let card = json!([
        line("USE1_input_tokens_standard", "4.4"),
        line("USE1_output_tokens_standard", "20"),
        line("USE1_output_tokens_batch", "11"),
        line("EUC1_input_tokens_standard", "9"),
    ]);
    let offers = |card: Value| json!({"offers": [{"termDetails": {"usageBasedPricingTerm": {"rateCard": card}}}]});
    let none = json!({"__type": "ValidationException", "message": "Agreement not supported"});
    world.proxy.answer("/list-foundation-model-agreement-offers/", 400, none);
    let path = "/list-foundation-model-agreement-offers/anthropic.claude-opus-5-5";
    world.proxy.answer(path, 200, offers(card));
    let public = json!({
        "products": {"A": {"attributes": {
            "servicename": "Claude Sonnet 4.6 (Amazon Bedrock Edition)",
            "usagetype": "USE1-MP:USE1_InputTokenCount-Units"}}},
        "terms": {"OnDemand": {"A": {"T": {"priceDimensions": {"D": {
            "unit": "1M tokens", "pricePerUnit": {"USD": "3.0000000000"}}}}}}},
    });
    world.proxy.answer("/offers/v1.0/aws/AmazonBedrockFoundationModels/", 200, public);
    let shown = world.run(&["prices", "--json"]);
    shown.expect(0);
    let report = shown.json();
    assert_eq!(report["checked_on"], "2026-11-29");
    let differences = report["differences"].as_array().unwrap();
    let told: Vec<_> = differences
        .iter()
        .map(|one| ["model", "scope", "rate", "booked", "offered"].map(|name| one[name].clone()))
        .collect();
    assert_eq!(
        told,
        [
            [json!("claude-opus-5-5"), json!("regional"), json!("output"), json!(22), json!(20)],
            [json!("claude-sonnet-4-6"), json!("regional"), json!("input"), json!(3.3), json!(3)],
        ]
    );
    let text = world.run(&["prices"]);
    text.expect(0);
    assert!(text.stdout.lines().all(|line| line.chars().count() <= 80), "{}", text.stdout);
    assert!(text.stdout.contains("Of 3 rates that AWS names"), "{}", text.stdout);
    world.proxy.take_journal();
    world.run(&["prices", "--write"]).expect(3);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
    let stored = world.run(&["prices", "--write", "--yes"]);
    stored.expect(0);
    let config = world.run(&["config", "list", "--json"]);
    let settings = config.json()["settings"].as_array().unwrap().clone();
    let prices = settings.iter().find(|one| one["name"] == "BEDROCK_PRICES").unwrap();
    let prices: Value = serde_json::from_str(prices["value"].as_str().unwrap()).unwrap();
    assert_eq!(
        prices,
        json!({"claude-opus-5-5": {"output": 20}, "claude-sonnet-4-6": {"input": 3}})
    );
    let again = world.run(&["prices", "--write", "--yes"]);
    again.expect(0);
    assert!(again.stdout.contains("No difference in 3 rates"), "{}", again.stdout);
    assert!(world.plan().is_empty(), "what is stored stays");
}

#[cfg(unix)]
#[test]
fn up_asks_once_for_a_cap_where_there_is_none_and_somebody_to_say_one() {
    use testing::aws::terminal::run_capped;
    let world = World::new(MiniStack);
    let path = world.path("one");
    let up = ["up", "--no-probe", "--binary", &path];
    let answered = |answers: &[&'static str], yes: &'static str, more: &[&str]| {
        let mut answers = answers.iter().copied().cycle();
        let words = [&up[..], more].concat();
        run_capped(&world, &words, &[], (|| yes, || answers.next().unwrap()))
    };
    let questions = |text: &str| text.matches("(none: no cap) ").count();
    // Nonsense is asked again, but not for ever.
    let nonsense = ["-1\n", "1e9\n", "NaN\n", "50/month\n", "much\n"];
    let refused = answered(&nonsense, "y\n", &[]);
    assert_eq!((refused.code, questions(&refused.text)), (Some(3), 5), "{}", refused.text);
    assert!(refused.text.contains("That is `-1`: write dollars"), "{}", refused.text);
    // Ctrl-D is no answer.
    assert_eq!(answered(&["\u{4}"], "y\n", &[]).code, Some(3));
    assert!(world.is_gone());
    let none = answered(&["none\n"], "n\n", &[]);
    assert_eq!((none.code, questions(&none.text)), (Some(3), 1));
    assert!(!none.text.contains("BUDGET_USER_MONTH_USD"), "{}", none.text);
    let enter = answered(&["what?\n", "\n"], "y\n", &[]);
    assert_eq!((enter.code, questions(&enter.text)), (Some(0), 2), "{}", enter.text);
    assert!(enter.text.contains("BUDGET_USER_MONTH_USD=50 goes with it."), "{}", enter.text);
    assert!(!enter.text.contains("No cap is set"), "{}", enter.text);
    let list = world.run(&["budget", "list", "--json"]);
    assert_eq!(list.json()["defaults"]["month_usd"], 50);
    // Where there is a cap, nobody is asked.
    let again = answered(&["\n"], "y\n", &["--memory", "512"]);
    assert_eq!((again.code, questions(&again.text)), (Some(0), 0), "{}", again.text);
    world.run(&["config", "unset", "BUDGET_USER_MONTH_USD"]).expect(0);
    let unasked = world.up(&["--memory", "256"]);
    unasked.expect(0);
    assert_eq!(questions(&unasked.stderr), 0);
    assert!(unasked.stdout.contains("No cap is set on what Bedrock may cost."), "{unasked:?}");
}

fn deployed(emulator: Emulator) -> World {
    let world = World::new(emulator);
    world.up(&[]).expect(0);
    world
}

fn table(world: &World) -> String {
    format!("{}-rate-limits", world.name)
}

fn add(world: &World, user: &str) -> ProxyKey {
    let added = world.run(&["user", "add", user, "--json"]);
    added.expect(0);
    added.json()["key"].as_str().unwrap().parse().unwrap()
}

fn store(world: &World) -> DynamoStore {
    DynamoStore::new(&Aws::from(world.sdk()), &table(world), PATIENCE)
}

async fn owner(world: &World, key: &ProxyKey) -> KeyOwner {
    let digest = key.digest();
    let query = Query { key: Some(&digest), ..Query::default() };
    store(world).look_up(&query, Timestamp::now()).await.unwrap().key
}

fn with(name: &str, exception: Option<&Exception>) -> KeyOwner {
    let exception = exception.cloned().map(std::sync::Arc::new);
    KeyOwner::User(Owner { exception, ..Owner::named(name) })
}

fn usd(dollars: f64) -> Option<MicroDollars> {
    Some(MicroDollars((dollars * 1e6) as u64))
}

fn at() -> Period {
    Period::at(clock::now(), &TimeZone::UTC)
}

fn account(subject: &str) -> Account<'_> {
    let user = (subject != DEPLOYMENT).then_some(subject);
    Account { subject, user, at: at() }
}

async fn month(world: &World, subject: &str) -> Month {
    store(world).month(subject, &at().month()).await.unwrap()
}

/// An answer of Opus that is over.
async fn spend(world: &World, subject: &str, amount: u64) {
    let bill = Bill {
        cost: Cost { amount: MicroDollars(amount), assumed: false },
        tokens: Tokens { input: 1000, output: 10, ..Tokens::default() },
        class: "opus".to_owned(),
        ..Bill::default()
    };
    let change = Change::book(at(), MicroDollars(0), Some(&bill));
    store(world).change(&account(subject), &change).await.unwrap();
}

/// An answer that is under way for so many seconds.
async fn reserve(world: &World, subject: &str, id: &str, amount: u64, seconds: i64) {
    let since = clock::now().as_second() - seconds;
    let amount = MicroDollars(amount);
    let entry = Entry { id: id.to_owned(), amount, since };
    let entry = (subject != DEPLOYMENT).then_some(&entry);
    let change = Change::reserve(at(), amount, entry, &Caps::default()).unwrap();
    store(world).change(&account(subject), &change).await.unwrap();
}

async fn put<const N: usize>(world: &World, subject: &str, more: [(&str, AttributeValue); N]) {
    let mut item = HashMap::from([
        ("pk".to_owned(), AttributeValue::S(format!("budget#{subject}"))),
        ("sk".to_owned(), AttributeValue::S(at().month())),
    ]);
    item.extend(more.map(|(name, value)| (name.to_owned(), value)));
    let put = Client::new(&world.sdk()).put_item().set_item(Some(item));
    put.table_name(table(world)).send().await.unwrap();
}
