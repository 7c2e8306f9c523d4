//! Callers may read who answers them and what it costs: a line, and all of it as JSON.

use function::failover::identity::Fingerprint;
use serde_json::{Value, json};
use testing::{
    answer::{limited, overloaded, window},
    client::{BOB, Call, Reply},
    dynamo::FakeDynamo,
    table,
    world::{Plan, World},
};

const SESSION: &str = "7d0f4c1e-4b1c-4f5e-9a55-0f6f1f0f7a11";
const KEY: &str = "ccp_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const SCHEMA: &str = include_str!("../../docs/me.schema.json");

#[tokio::test]
async fn a_session_reads_who_answers_it_and_what_that_costs() {
    let world = World::with("BUDGET_USER_MONTH_USD", "10").start();
    assert_eq!(me(&world).await["month_usd"], Value::Null, "nobody knows whose money it is");
    assert_eq!(line(&world).await, "");
    world.call(message()).await;
    let usual = me(&world).await;
    assert_eq!(
        [&usual["side"], &usual["reason"], &usual["until"]],
        [&json!("anthropic"), &Value::Null, &Value::Null]
    );
    assert_eq!(usual["session"], json!({"requests": 1, "by_bedrock": 0, "cost_usd": 0}));
    assert_eq!((&usual["limits"], line(&world).await.as_str()), (&json!([]), ""));
    world.anthropic.next([window("5h", 3600)]);
    let mut dollars = 0.0;
    for _ in 0..3 {
        let reply = world.call(message().whole()).await;
        assert_eq!(reply.upstream(), "bedrock");
        dollars += reply.header("x-claude-proxy-cost").parse::<f64>().expect("it is a number");
    }
    let me = me(&world).await;
    assert_eq!([&me["side"], &me["reason"]], ["bedrock", "rate_limited"]);
    let until = me["until"].as_str().expect("there is an end");
    let limit = json!([{"class": "*", "until": until, "reason": "5h"}]);
    assert_eq!(me["limits"], limit);
    assert_eq!(me["budget"]["limit_usd"], json!(10));
    assert_eq!(me["budget"]["period"], "month");
    for spent in
        [&me["budget"]["used_usd"], &me["today_usd"], &me["month_usd"], &me["session"]["cost_usd"]]
    {
        assert!((spent.as_f64().expect("a number") - dollars).abs() < 5e-7, "{spent} {dollars}");
    }
    assert_eq!([&me["session"]["requests"], &me["session"]["by_bedrock"]], [&json!(4), &json!(3)]);
    let line = line(&world).await;
    let hour = &until[11..16];
    assert!(
        line.contains(&format!(" {hour} UTC (5-hour limit) · $0.01 of $10.00 this month")),
        "{line}"
    );
    assert!(line.starts_with("Bedrock until "), "{line}");
}

#[tokio::test]
async fn the_line_is_plain_text_that_may_be_kept_for_five_seconds() {
    let world = World::start();
    let reply = world.call(Call::new("GET", &format!("/_proxy/line?session={SESSION}"))).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(reply.header("cache-control"), "private, max-age=5");
    let reply = world.call(Call::new("GET", "/_proxy/me")).await;
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_budget_that_refuses_stands_in_the_line() {
    let world = World::with("BUDGET_USER_DAY_USD", "0").start();
    world.anthropic.next([limited(120)]);
    assert_eq!(world.call(message()).await.reason(), "budget");
    let line = line(&world).await;
    assert!(
        line.starts_with("Bedrock budget of the day used up: $0.00 of $0.00, resets "),
        "{line}"
    );
    let me = me(&world).await;
    assert_eq!(
        [&me["side"], &me["reason"], &me["budget"]["period"]],
        ["anthropic", "budget", "day"]
    );
}

#[tokio::test]
async fn a_key_reads_its_owners_figures_and_nobody_elses() {
    let bobs = KEY.replace('0', "1");
    let world = keyed().with("BUDGET_USER_MONTH_USD", "10").start();
    world.anthropic.always(overloaded());
    world.call(message().header("x-claude-proxy-key", KEY)).await;
    let alices = read(&world, "/_proxy/me", Some(KEY)).await;
    assert!(alices["month_usd"].as_f64() > Some(0.0), "{alices}");
    let named = format!("/_proxy/me?session={SESSION}");
    assert_eq!(read(&world, &named, Some(KEY)).await["side"], "bedrock");
    for path in ["/_proxy/me", &named] {
        let bob = read(&world, path, Some(&bobs)).await;
        let nothing = [&bob["today_usd"], &bob["month_usd"], &bob["budget"]["used_usd"]];
        assert_eq!(nothing, [&json!(0), &json!(0), &json!(0)], "{path}");
        assert_eq!([&bob["side"], &bob["session"]], [&json!("anthropic"), &Value::Null]);
        assert_eq!(bob["limits"], json!([]));
    }
    let in_path = world.call(Call::new("GET", &format!("/k/{KEY}{named}"))).await;
    assert_eq!((in_path.status, &in_path.json()["side"]), (200, &json!("bedrock")));
}

#[tokio::test]
async fn without_a_good_key_there_is_the_one_401() {
    let world = keyed().start();
    let usual = world.call(Call::message()).await;
    assert_eq!(usual.status, 401);
    for path in ["me", "line", "line?session=x", "other", ""] {
        for key in [None, Some("ccp_x"), Some(KEY.replace('0', "2").as_str())] {
            let mut call = Call::new("GET", &format!("/_proxy/{path}"));
            if let Some(key) = key {
                call = call.header("x-claude-proxy-key", key);
            }
            let reply = world.call(call).await;
            assert_eq!((reply.status, &reply.body), (401, &usual.body), "{path} {key:?}");
        }
    }
}

#[tokio::test]
async fn the_figures_of_a_key_come_from_the_table_with_its_exception() {
    let fake = FakeDynamo::start();
    let world = table::world(&fake.url(), "limits").with("ACCESS_MODE", "key");
    let world = world.with("BUDGET_USER_MONTH_USD", "10").start();
    let text = |text: &str| json!({"S": text});
    let key = Fingerprint::of(&[KEY.as_bytes()]).expect("it is a text");
    fake.put(json!({
        "pk": text(&format!("key#{key}")), "sk": text("key"), "user": text("ada"),
        "budget_month": {"N": "25000000"},
    }));
    let month = testing::answer::moment(0).to_string();
    fake.put(json!({
        "pk": text("budget#ada"), "sk": text(&month[..7]), "m": {"N": "20000000"},
        "spent": {"N": "20000000"}, "t_in": {"N": "100"}, "t_r": {"N": "300"},
    }));
    let me = read(&world, "/_proxy/me", Some(KEY)).await;
    assert_eq!([&me["budget"]["used_usd"], &me["budget"]["limit_usd"]], [&json!(20), &json!(25)]);
    assert_eq!(me["cache_share"], json!(0.75));
    let call = Call::new("GET", "/_proxy/line").header("x-claude-proxy-key", KEY);
    let line = world.call(call).await;
    assert_eq!(line.body, "80 % of the Bedrock budget: $20.00 of $25.00 this month");
}

#[tokio::test]
async fn a_stranger_to_a_session_reads_nothing_of_it() {
    let world = World::start();
    world.anthropic.always(overloaded());
    world.call(message()).await;
    world.call(Call::message().by(BOB)).await;
    let other = read(&world, "/_proxy/me?session=another", None).await;
    assert_eq!([&other["side"], &other["month_usd"]], [&json!("anthropic"), &Value::Null]);
}

#[tokio::test]
async fn nothing_else_is_below() {
    let world = World::start();
    for (method, path) in
        [("POST", "me"), ("PUT", "line"), ("GET", "us"), ("GET", "me/"), ("DELETE", "")]
    {
        let reply = world.call(Call::new(method, &format!("/_proxy/{path}"))).await;
        assert_eq!(reply.status, 404, "{method} {path}");
    }
    assert!(world.anthropic.requests().is_empty());
}

/// Settings with a key for ada and one for bob.
fn keyed() -> Plan {
    let digest = |key: &str| Fingerprint::of(&[key.as_bytes()]).expect("it is a text");
    let keys = format!("ada:{},bob:{}", digest(KEY), digest(&KEY.replace('0', "1")));
    World::with("ACCESS_MODE", "key").with("PROXY_KEYS", &keys)
}

fn message() -> Call {
    Call::message().header("x-claude-code-session-id", SESSION)
}

async fn me(world: &World) -> Value {
    read(world, &format!("/_proxy/me?session={SESSION}"), None).await
}

async fn line(world: &World) -> String {
    let call = Call::new("GET", &format!("/_proxy/line?session={SESSION}")).without("x-api-key");
    let reply = world.call(call).await;
    assert_eq!(reply.status, 200);
    let line = String::from_utf8(reply.body.to_vec()).expect("it is text");
    assert!(!line.contains(char::is_control), "{line:?}");
    line
}

/// What is told as JSON, which the schema knows.
async fn read(world: &World, path: &str, key: Option<&str>) -> Value {
    let mut call = Call::new("GET", path).without("x-api-key");
    if let Some(key) = key {
        call = call.header("x-claude-proxy-key", key);
    }
    let reply: Reply = world.call(call).await;
    assert_eq!(reply.status, 200, "{path}");
    let told: Value = reply.json();
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    conforms(&told, &schema, "me");
    told
}

/// Whether a value is as a schema says, as far as ours use its words; any other word fails.
fn conforms(value: &Value, schema: &Value, place: &str) {
    for (word, wanted) in schema.as_object().expect("a schema is an object") {
        let fits = match word.as_str() {
            "$schema" | "$id" | "title" | "description" => true,
            "enum" => wanted.as_array().is_some_and(|known| known.contains(value)),
            "type" => {
                let kinds = wanted.as_array().cloned().unwrap_or_else(|| vec![wanted.clone()]);
                kinds.iter().any(|kind| is_a(value, kind.as_str().unwrap_or_default()))
            }
            "minimum" => value.as_f64().is_none_or(|number| Some(number) >= wanted.as_f64()),
            "maximum" => value.as_f64().is_none_or(|number| Some(number) <= wanted.as_f64()),
            "required" => value.as_object().is_none_or(|object| {
                let names = wanted.as_array().into_iter().flatten().filter_map(Value::as_str);
                names.into_iter().all(|name| object.contains_key(name))
            }),
            "additionalProperties" => value.as_object().is_none_or(|object| {
                object.keys().all(|name| schema["properties"].get(name).is_some())
            }),
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    conforms(member, &wanted[name], &format!("{place}.{name}"));
                }
                true
            }
            "items" => {
                value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .for_each(|item| conforms(item, wanted, place));
                true
            }
            other => panic!("the schema says {other}"),
        };
        assert!(fits, "{place}: {word} {wanted} and {value}");
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}
