//! The drill: what its nonce opens, once, and that without one nothing happens.

use aws_sdk_dynamodb::Client;
use function::{
    drill::{Drill, Nonce},
    failover::cooldown::Timestamp,
    store::dynamo::item,
};
use futures_util::future::join_all;
use jiff::SignedDuration;
use serde_json::Value;
use testing::{
    answer::{access_denied, throttled},
    client::{Call, Reply},
    moto, table,
    world::{Plan, World},
};

const HAIKU: &str = "claude-haiku-4-5-20251001";

#[tokio::test]
async fn a_drill_is_answered_by_bedrock_and_remembers_a_limit_that_is_nobodys() {
    for guard in [("ACCESS_MODE", "key"), ("ACCESS_MODE", "organization")] {
        let (world, table) = guarded(guard).await;
        let nonce = nonce(1);
        allow(&table, &nonce, HAIKU, 300).await;
        let reply = world.call(show(&nonce)).await;
        assert_eq!(
            (reply.status, reply.upstream(), reply.reason()),
            (200, "bedrock", "rate_limited")
        );
        assert!(reply.text().starts_with("bedrock heard: "), "{}", reply.text());
        assert!(reply.header("x-claude-proxy-bedrock-model").contains("haiku-4-5"));
        assert!(world.anthropic.requests().is_empty(), "Anthropic's part is played");
        let asked = world.bedrock.requests();
        assert_eq!((asked.len(), &asked[0].json()["max_tokens"]), (1, &Value::from(16)));
        let items = items(&table).await;
        let limits: Vec<_> = items.iter().filter_map(item::stored_limit).collect();
        // Beside the limit stands what it cost.
        assert_eq!((items.len(), limits.len()), (2, 1), "the drill is gone: {items:?}");
        let (key, limit) = &limits[0];
        assert_eq!((key.fingerprint, limit.user.as_deref()), (nonce.nobody(), Some("drill")));
        assert_eq!(reply.header("x-claude-proxy-until"), limit.until.to_string());
        let log = world.log();
        assert!(log.contains("call=\"drill\"") && !log.contains("ccd_"), "{log}");
    }
}

#[tokio::test]
async fn without_a_good_nonce_nothing_happens_and_all_read_the_same() {
    let (world, table) = guarded(("ACCESS_MODE", "key")).await;
    let (used, over, far, nonsense) = (nonce(1), nonce(2), nonce(3), nonce(4));
    allow(&table, &used, HAIKU, 300).await;
    allow(&table, &over, HAIKU, -1).await;
    allow(&table, &far, HAIKU, 3600).await;
    let mut item = item::drill_item(&nonsense.digest(), &drill(HAIKU, 300));
    item.remove("expires_at");
    put(&table, item).await;
    assert_eq!(world.call(show(&used)).await.status, 200);
    let (asked, items_before) = (world.bedrock.requests().len(), items(&table).await.len());
    let plain = || Call::new("POST", "/_proxy/drill");
    let mut replies = vec![world.call(plain()).await, world.call(plain().body("x")).await];
    for nonce in [&used, &over, &far, &nonsense, &nonce(5)] {
        replies.push(world.call(show(nonce)).await);
    }
    let twice = show(&far).also("x-claude-proxy-drill", far.reveal());
    for call in [twice, plain().header("x-claude-proxy-drill", &used.reveal()[..67])] {
        replies.push(world.call(call).await);
    }
    for reply in &replies {
        assert_same(reply, &replies[0]);
    }
    assert_eq!(replies[0].status, 404);
    assert!(world.anthropic.requests().is_empty());
    assert_eq!((world.bedrock.requests().len(), items(&table).await.len()), (asked, items_before));
}

#[tokio::test]
async fn of_many_who_show_one_nonce_one_is_answered() {
    let (world, table) = guarded(("ACCESS_MODE", "key")).await;
    let nonce = nonce(1);
    allow(&table, &nonce, HAIKU, 300).await;
    let replies = join_all((0..8).map(|_| world.call(show(&nonce)))).await;
    let statuses: Vec<_> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
    assert_eq!(world.bedrock.requests().len(), 1);
}

#[tokio::test]
async fn a_drill_can_be_switched_off_and_needs_the_shared_table() {
    let table = moto::table().await;
    let off = plan(&table).with("DRILL_ENABLED", "false").start();
    let embedded = World::start();
    let nonce = nonce(1);
    allow(&table, &nonce, HAIKU, 300).await;
    let replies = [off.call(show(&nonce)).await, embedded.call(show(&nonce)).await];
    for reply in &replies {
        assert_eq!(reply.status, 404);
        assert_same(reply, &replies[0]);
        // It is the answer of any path below /_proxy/, but for the id.
        let other = embedded.call(Call::new("POST", "/_proxy/other")).await;
        assert_eq!(other.json()["error"], reply.json()["error"]);
    }
    assert_eq!(items(&table).await.len(), 1, "the drill is still there");
    assert!(off.bedrock.requests().is_empty() && embedded.bedrock.requests().is_empty());
}

#[tokio::test]
async fn why_bedrock_does_not_answer_is_said_to_whoever_may_drill() {
    let cases = [
        ("BEDROCK_FALLBACK_ENABLED", "false", "BEDROCK_FALLBACK_ENABLED is false."),
        ("FALLBACK_ON", "overloaded", "FALLBACK_ON lacks rate_limit."),
    ];
    for (name, value, why) in cases {
        let table = moto::table().await;
        let world = plan(&table).with(name, value).start();
        allow(&table, &nonce(1), HAIKU, 300).await;
        let reply = world.call(show(&nonce(1))).await;
        assert_eq!((reply.status, said(&reply)), (503, why.to_owned()));
        assert!(world.bedrock.requests().is_empty() && world.anthropic.requests().is_empty());
    }
    let (world, table) = guarded(("ACCESS_MODE", "key")).await;
    for (number, answer) in [(1, access_denied()), (2, throttled())] {
        world.bedrock.next([answer]);
        allow(&table, &nonce(number), HAIKU, 300).await;
        let reply = world.call(show(&nonce(number))).await;
        assert_eq!(reply.status, 503);
        assert!(said(&reply).starts_with("Bedrock said: "), "{}", said(&reply));
        assert!(!said(&reply).contains("123456789012"), "{}", said(&reply));
    }
    allow(&table, &nonce(3), "gpt-4", 300).await;
    let reply = world.call(show(&nonce(3))).await;
    assert_eq!((reply.status, said(&reply)), (503, "Bedrock has no such model.".to_owned()));
    allow(&table, &nonce(4), "no model/at all", 300).await;
    assert_eq!(world.call(show(&nonce(4))).await.status, 501);
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_drill_opens_nothing_for_a_credential() {
    let (world, table) = guarded(("ACCESS_MODE", "open")).await;
    let nonce = nonce(1);
    allow(&table, &nonce, HAIKU, 300).await;
    assert_eq!(world.call(show(&nonce)).await.status, 200);
    // A limit in force would go straight to Bedrock, and would be proof.
    for text in [nonce.reveal().to_owned(), nonce.digest().to_string(), nonce.nobody().to_string()]
    {
        let reply = world.call(Call::message().model(HAIKU).by(&text)).await;
        assert_eq!(reply.upstream(), "anthropic", "{text}");
    }
}

fn said(reply: &Reply) -> String {
    reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
}

fn assert_same(reply: &Reply, other: &Reply) {
    assert_eq!((reply.status, &reply.body), (other.status, &other.body));
    for name in ["content-type", "x-should-retry", "request-id", "retry-after"] {
        assert_eq!(reply.header(name), other.header(name), "{name}");
    }
}

async fn guarded((name, mode): (&str, &str)) -> (World, String) {
    let table = moto::table().await;
    let plan = plan(&table).with(name, mode);
    let plan = match mode {
        "organization" => plan.with("ALLOWED_ORGANIZATIONS", "org-nobody-is-of"),
        _ => plan,
    };
    (plan.start(), table)
}

fn plan(table: &str) -> Plan {
    table::world(moto::url(), table)
}

fn nonce(number: u8) -> Nonce {
    Nonce::from_random([number; 32])
}

fn show(nonce: &Nonce) -> Call {
    Call::new("POST", "/_proxy/drill")
        .without("x-api-key")
        .header("x-claude-proxy-drill", nonce.reveal())
}

/// What the operator writes, good for so many seconds.
async fn allow(table: &str, nonce: &Nonce, model: &str, seconds: i64) {
    put(table, item::drill_item(&nonce.digest(), &drill(model, seconds))).await;
}

#[expect(clippy::disallowed_methods, reason = "the proxy goes by the real clock")]
fn drill(model: &str, seconds: i64) -> Drill {
    let expires_at = Timestamp::now() + SignedDuration::from_secs(seconds);
    Drill { model: model.to_owned(), expires_at }
}

async fn put(table: &str, item: item::Item) {
    let client = Client::new(&moto::config(moto::url()).await);
    client.put_item().table_name(table).set_item(Some(item)).send().await.expect("moto can put");
}

async fn items(table: &str) -> Vec<item::Item> {
    let client = Client::new(&moto::config(moto::url()).await);
    client.scan().table_name(table).send().await.expect("moto can scan").items.unwrap_or_default()
}
