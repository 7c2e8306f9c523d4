//! A cap holds whatever happens at once, in the middle, or to the store; whoever has used it up
//! reads what Anthropic has said, and why Bedrock did not answer instead.

use std::path::PathBuf;
use std::time::Duration;

use function::money::budget::Month;
use futures_util::{StreamExt, stream::FuturesUnordered};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::Value;
use testing::{
    answer::{Gate, access_denied, limited, ok, overloaded, refused},
    client::{BOB, Call},
    dynamo::FakeDynamo,
    table,
    world::{Plan, World},
};

/// What one of these messages costs: 12 tokens in at 3.30, 7 out at 16.50.
const WHOLE: i64 = 156;

/// What is reserved for one is a little more than 1,024 tokens of output at 16.50: 0.0169 dollars,
/// and less than 0.0175.
const TEN: &str = "0.175";

#[tokio::test]
async fn a_cap_of_nothing_never_asks_bedrock_and_passes_on_what_anthropic_said() {
    let caps = ["BUDGET_USER_MONTH_USD", "BUDGET_USER_DAY_USD", "BUDGET_TOTAL_MONTH_USD"];
    for cap in caps.into_iter().chain(["BUDGET_TOTAL_DAY_USD"]) {
        let (world, plain) = (World::with(cap, "0").start(), World::start());
        plain.bedrock.always(access_denied());
        for refusal in [limited(120), overloaded()] {
            for call in [Call::message(), Call::message().whole()] {
                world.anthropic.next([refusal.clone()]);
                plain.anthropic.next([refusal.clone()]);
                let (reply, usual) = (world.call(call.clone()).await, plain.call(call).await);
                assert_eq!((reply.status, &reply.body), (usual.status, &usual.body), "{cap}");
                assert_eq!(reply.reason(), "budget", "{cap}");
                let budget = reply.header("x-claude-proxy-budget").to_owned();
                let period = if cap.contains("DAY") { "day" } else { "month" };
                let begins = format!("limit=0.00; period={period}; resets=2");
                assert!(budget.starts_with(&begins) && budget.ends_with("T00:00:00Z"), "{budget}");
                assert_eq!(usual.header("x-claude-proxy-budget"), "");
            }
        }
        // A limit that is remembered is asked about again, and a success is a plain one.
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.upstream(), reply.reason()), (200, "anthropic", ""));
        assert!(world.bedrock.requests().is_empty(), "{cap}");
    }
}

#[tokio::test]
async fn what_to_do_stands_beside_a_budget_that_is_used_up_in_ascii() {
    for (said, read) in [
        ("ask #finops, 50% more", "ask #finops, 50% more"),
        ("예산 50%", "%EC%98%88%EC%82%B0 50%25"),
    ] {
        let plan = World::with("BUDGET_MESSAGE", said).with("BUDGET_USER_MONTH_USD", "0");
        let world = plan.start();
        world.anthropic.next([limited(120)]);
        let refused = world.call(Call::message()).await;
        assert_eq!(refused.header("x-claude-proxy-budget-message"), read);
        let served = world.call(Call::message()).await;
        assert_eq!(
            (served.upstream(), served.header("x-claude-proxy-budget-message")),
            ("anthropic", "")
        );
    }
}

#[tokio::test]
async fn of_fifty_at_once_a_cap_lets_through_as_many_as_fit() {
    for cap in ["BUDGET_USER_MONTH_USD", "BUDGET_TOTAL_DAY_USD"] {
        let world = World::with(cap, TEN).start();
        world.anthropic.always(limited(120));
        // Nothing is settled before all of them have asked.
        let gate = Gate::shut();
        world.bedrock.always(ok().hold_after(3, &gate));
        let mut calls: FuturesUnordered<_> = (0..50).map(|_| world.call(Call::message())).collect();
        let first: Vec<_> = calls.by_ref().take(40).collect().await;
        assert!(first.iter().all(|reply| reply.reason() == "budget"), "{cap}");
        gate.open();
        let last: Vec<_> = calls.collect().await;
        assert!(last.iter().all(|reply| reply.upstream() == "bedrock"), "{cap}");
        assert_eq!(world.bedrock.requests().len(), 10, "{cap}");
    }
}

#[tokio::test]
async fn what_is_reserved_is_settled_when_the_answer_is_over() {
    for call in [Call::message(), Call::message().whole()] {
        let mut world = World::with("BUDGET_USER_MONTH_USD", TEN).start();
        world.anthropic.always(limited(120));
        for _ in 0..30 {
            assert_eq!(world.call(call.clone()).await.upstream(), "bedrock");
        }
        let months = months(&mut world);
        assert_eq!(months.len(), 1, "{months:?}");
        let month = &months[0].1;
        let seen = ["m", "spent", "requests", "t_in", "t_out"].map(|name| month.counter(name));
        assert_eq!(seen, [30 * WHOLE, 30 * WHOLE, 30, 360, 210]);
        assert!(month.open.is_empty());
    }
}

#[tokio::test]
async fn without_a_cap_everything_is_counted_and_nothing_reserved() {
    let mut world = World::start();
    world.anthropic.always(limited(120));
    for call in [Call::message(), Call::message().whole(), Call::message().by(BOB)] {
        world.call(call).await;
    }
    let months = months(&mut world);
    let counted: Vec<_> = months.iter().map(|(_, month)| month.counter("m")).collect();
    assert!(counted == [2 * WHOLE, WHOLE] || counted == [WHOLE, 2 * WHOLE], "{counted:?}");
    assert!(months.iter().all(|(subject, _)| subject != "*"));
}

#[tokio::test]
async fn the_deployments_cap_counts_everybodys_money() {
    let mut world = World::with("BUDGET_TOTAL_MONTH_USD", "1").start();
    world.anthropic.always(limited(120));
    world.call(Call::message()).await;
    world.call(Call::message().by(BOB)).await;
    let months = months(&mut world);
    let all = months.iter().find(|(subject, _)| subject == "*").map(|(_, month)| month);
    let all = all.expect("the deployment has an item");
    assert_eq!((all.counter("m"), all.counter("requests"), all.open.len()), (2 * WHOLE, 2, 0));
    assert_eq!(months.len(), 3);
}

#[tokio::test]
async fn a_name_that_a_caller_chose_is_nobodys_budget() {
    let world = World::with("BUDGET_USER_MONTH_USD", "0.018").start();
    world.anthropic.always(limited(120));
    world.bedrock.always(ok().cut_after(4));
    // Two names, one credential: the second finds what the first has spent.
    let mut upstreams = Vec::new();
    for index in 0..30 {
        let call = Call::message().at(&format!("/u/name-{index}/v1/messages"));
        upstreams.push(world.call(call).await.status);
    }
    assert!(upstreams.starts_with(&[200]) && upstreams.ends_with(&[429]), "{upstreams:?}");
}

#[tokio::test]
async fn what_bedrock_refuses_is_given_back() {
    let mut world = World::with("BUDGET_TOTAL_MONTH_USD", "0.018").start();
    world.anthropic.always(limited(120));
    world.bedrock.always(access_denied());
    for _ in 0..3 {
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.reason()), (429, ""), "it is not the budget");
    }
    assert_eq!(world.bedrock.requests().len(), 3);
    for (subject, month) in months(&mut world) {
        assert_eq!((month.counter("m"), month.open.len()), (0, 0), "{subject}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_pays_for_what_had_come() {
    let mut world = World::with("BUDGET_USER_MONTH_USD", "1").start();
    world.anthropic.always(limited(120));
    world.bedrock.next([ok().pause_after(4, Duration::from_secs(30))]);
    Call::message().leave_after(world.address(), Duration::from_millis(1500)).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Whoever comes next sees to it.
    world.call(Call::message()).await;
    let months = months(&mut world);
    // 12 in, and 15 characters of text, which are 4 tokens: 39.6 + 66.
    assert_eq!((months[0].1.counter("m"), months[0].1.open.len()), (106 + WHOLE, 0));
}

#[tokio::test]
async fn a_proxy_that_is_killed_leaves_its_reservation_to_be_seen_and_counted() {
    let mut world = World::with("BUDGET_USER_MONTH_USD", "1").start();
    world.anthropic.always(limited(120));
    world.bedrock.next([ok().pause_after(4, Duration::from_secs(30))]);
    let mut live = Call::message().open(world.address()).await;
    live.next().await;
    world.proxy().kill();
    // It counts after the start, too: there is no room for another one until a higher cap is set.
    world.set("BUDGET_USER_MONTH_USD", "0.03");
    world.restart();
    let refused = world.call(Call::message()).await;
    assert_eq!((refused.status, refused.reason()), (429, "budget"));
    let budget = refused.header("x-claude-proxy-budget");
    assert!(budget.starts_with("used=0.02; limit=0.03; period=month; "), "{budget}");
    world.set("BUDGET_USER_MONTH_USD", "0.04");
    world.restart();
    assert_eq!(world.call(Call::message()).await.upstream(), "bedrock");
    let months = months(&mut world);
    let open: Vec<_> = months[0].1.unsettled().collect();
    assert_eq!(open.len(), 1);
    let stays = i64::try_from(open[0].amount.0).expect("it is small");
    assert_eq!(months[0].1.counter("m"), stays + WHOLE);
    assert!((16_900..17_500).contains(&open[0].amount.0), "{open:?}");
}

#[tokio::test]
async fn of_a_long_answer_each_top_up_is_one_call_and_the_settlement_takes_all_back() {
    let fake = FakeDynamo::start();
    let world = on(&fake).with("BUDGET_USER_MONTH_USD", "1").start();
    world.anthropic.always(limited(120));
    // 24,000 words of 5 letters are 30,000 tokens, as far as they can be counted on their way:
    // 4,096 are reserved, then twice 16,384 more.
    let words = "word ".repeat(24_000);
    let call = Call::message().with("max_tokens", 64_000).says(&words);
    assert_eq!(world.call(call).await.upstream(), "bedrock");
    let updates: Vec<Value> = fake.calls("UpdateItem");
    let of_budgets = updates
        .iter()
        .filter(|call| call["Key"]["pk"]["S"].as_str().is_some_and(|pk| pk.starts_with("budget#")));
    let entries = |call: &Value, verb: &str| {
        let expression = call["UpdateExpression"].as_str().unwrap_or_default().to_owned();
        let values = call["ExpressionAttributeValues"].as_object().expect("it has values").clone();
        let sets = values.values().filter_map(|value| value["SS"].as_array()).flatten();
        let names: Vec<String> = sets.map(|entry| entry.as_str().expect("a text").into()).collect();
        if expression.contains(verb) { names } else { Vec::new() }
    };
    let (mut opened, mut closed) = (Vec::new(), Vec::new());
    for call in of_budgets {
        if call["UpdateExpression"].as_str().is_some_and(|text| text.contains("DELETE")) {
            closed.extend(entries(call, "DELETE"));
        } else {
            opened.extend(entries(call, "ADD"));
        }
    }
    assert_eq!(opened.len(), 3, "{opened:?}");
    opened.sort();
    closed.sort();
    assert_eq!(opened, closed);
    // All of them are of the same moment, whichever day it has become meanwhile.
    let seconds = |entry: &String| entry.rsplit('.').next().map(str::to_owned);
    assert!(opened.iter().all(|entry| seconds(entry) == seconds(&opened[0])), "{opened:?}");
}

#[tokio::test]
async fn a_long_answer_is_topped_up_beside_it_and_never_cut() {
    let mut world = World::with("BUDGET_USER_MONTH_USD", "0.2").start();
    world.anthropic.always(limited(120));
    let words = "word ".repeat(16_000);
    let reply = world.call(Call::message().with("max_tokens", 64_000).says(&words)).await;
    assert_eq!((reply.upstream(), reply.errors().len()), ("bedrock", 0));
    assert!(reply.body.len() > 80_000, "it is long, and whole");
    let months = months(&mut world);
    assert_eq!((months[0].1.counter("m"), months[0].1.open.len()), (WHOLE, 0));
}

#[tokio::test]
async fn with_the_table_down_a_cap_is_closed_and_no_cap_is_served() {
    for cap in ["BUDGET_USER_DAY_USD", "BUDGET_TOTAL_MONTH_USD"] {
        let fake = FakeDynamo::start();
        fake.always("UpdateItem", &refused(500, "InternalServerError", "down"));
        let (capped, open) = (on(&fake).with(cap, "5").start(), on(&fake).start());
        for world in [&capped, &open] {
            world.anthropic.always(limited(120));
        }
        let reply = capped.call(Call::message()).await;
        assert_eq!((reply.status, reply.reason()), (429, "budget_unavailable"), "{cap}");
        assert!(reply.header("retry-after").parse::<u32>().expect("a number") > 100);
        assert_eq!(reply.header("x-claude-proxy-budget"), "");
        assert!(capped.bedrock.requests().is_empty());
        assert_eq!(open.call(Call::message()).await.upstream(), "bedrock");
    }
}

#[tokio::test]
async fn the_calls_that_money_makes_are_counted() {
    let updates = async |caps: &[(&str, &str)], fallback: bool| {
        let fake = FakeDynamo::start();
        let plan = caps.iter().fold(on(&fake), |plan, (name, value)| plan.with(name, value));
        let world = plan.start();
        if fallback {
            world.anthropic.always(limited(120));
        }
        let reply = world.call(Call::message()).await;
        assert_eq!(reply.status, 200);
        let calls = fake.calls("UpdateItem");
        let of_budgets = |call: &&Value| {
            call["Key"]["pk"]["S"].as_str().is_some_and(|pk| pk.starts_with("budget#"))
        };
        calls.iter().filter(of_budgets).count()
    };
    let both = [("BUDGET_USER_MONTH_USD", "5"), ("BUDGET_TOTAL_MONTH_USD", "50")];
    assert_eq!(updates(&both, false).await, 0, "Anthropic has answered");
    assert_eq!(updates(&[], true).await, 1, "counted when it is over");
    assert_eq!(updates(&both[..1], true).await, 2, "reserved, and settled");
    assert_eq!(updates(&both, true).await, 4, "and everybody's");
}

#[tokio::test]
async fn the_line_says_what_was_reserved_and_why_not() {
    let world = World::with("BUDGET_USER_MONTH_USD", "0.018").start();
    world.anthropic.always(limited(120));
    world.bedrock.always(ok().pause_after(4, Duration::from_secs(2)));
    let (first, second) = tokio::join!(world.call(Call::message()), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        world.call(Call::message()).await
    });
    assert_eq!((first.upstream(), second.reason()), ("bedrock", "budget"));
    let budget = second.header("x-claude-proxy-budget");
    assert!(budget.starts_with("used=0.02; limit=0.02; period=month; "), "{budget}");
    let refused = r#"upstream=anthropic reason=budget status=429"#;
    for said in [r#"budget="ok" reserved_microusd=1"#, r#"budget="used_up""#, refused] {
        // A line is written when everybody has let go of the request.
        let mut tries = 0;
        while !world.log().contains(said) {
            tries += 1;
            assert!(tries < 100, "no {said}: {}", world.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn on(fake: &FakeDynamo) -> Plan {
    table::world(&fake.url(), "limits")
}

/// What the file says when the proxy has ended: subjects and their months.
fn months(world: &mut World) -> Vec<(String, Month)> {
    let path = PathBuf::from(world.setting("RATE_LIMIT_STORE_PATH"));
    world.proxy().end();
    let table: TableDefinition<'_, (&str, &str), &str> = TableDefinition::new("budgets");
    let database = redb::Database::open(path).expect("the file is there");
    let reading = database.begin_read().expect("it can be read");
    let table = reading.open_table(table).expect("it has budgets");
    let rows = table.iter().expect("they can be read").map(|row| {
        let (key, json) = row.expect("a row can be read");
        let month = serde_json::from_str(json.value()).expect("a month is JSON");
        (key.value().1.to_owned(), month)
    });
    rows.collect()
}
