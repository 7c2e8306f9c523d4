//! Who answers a session is written down where that changes, and nowhere else.

use function::session;
use futures_util::future::join_all;
use serde_json::Value;
use testing::{
    answer::{limited, overloaded},
    client::Call,
    dynamo::FakeDynamo,
    table,
    world::World,
};

const SESSION: &str = "7d0f4c1e-4b1c-4f5e-9a55-0f6f1f0f7a11";

#[tokio::test]
async fn a_session_is_written_where_its_side_changes_and_never_else() {
    let fake = FakeDynamo::start();
    let world = on(&fake);
    for _ in 0..3 {
        assert_eq!(world.call(message()).await.upstream(), "anthropic");
    }
    assert_eq!((written(&fake).len(), fake.calls("BatchGetItem").len()), (0, 3));
    world.anthropic.next([overloaded()]);
    assert_eq!(world.call(message()).await.reason(), "overloaded");
    assert_eq!(sides(&fake), ["bedrock"]);
    world.anthropic.next([overloaded()]);
    assert_eq!(world.call(message()).await.reason(), "overloaded");
    assert_eq!(sides(&fake), ["bedrock"], "it goes on");
    for _ in 0..3 {
        assert_eq!(world.call(message()).await.upstream(), "anthropic");
    }
    assert_eq!(sides(&fake), ["bedrock", "anthropic"]);
    world.anthropic.next([limited(120)]);
    for reason in ["rate_limited", "cooldown", "cooldown"] {
        assert_eq!(world.call(message()).await.reason(), reason);
    }
    assert_eq!(sides(&fake), ["bedrock", "anthropic", "bedrock"]);
    let item = written(&fake).pop().expect("there is one");
    let digest = session::digest(SESSION.as_bytes()).expect("it is a name");
    assert_eq!(item["pk"]["S"], format!("session#{digest}"));
    assert!(!item.to_string().contains(SESSION));
}

#[tokio::test]
async fn what_another_instance_has_written_is_read_along_with_the_limits() {
    let fake = FakeDynamo::start();
    let (one, other) = (on(&fake), on(&fake));
    one.anthropic.next([overloaded()]);
    one.call(message()).await;
    assert_eq!(sides(&fake), ["bedrock"]);
    let reads = fake.calls("BatchGetItem").len();
    assert_eq!(other.call(message()).await.upstream(), "anthropic");
    assert_eq!(sides(&fake), ["bedrock", "anthropic"]);
    assert_eq!(fake.calls("BatchGetItem").len(), reads + 1);
}

#[tokio::test]
async fn thirty_at_once_change_the_side_once() {
    let fake = FakeDynamo::start();
    let world = on(&fake);
    world.anthropic.always(overloaded());
    let replies = join_all((0..30).map(|_| world.call(message()))).await;
    assert!(replies.iter().all(|reply| reply.upstream() == "bedrock"));
    assert_eq!(sides(&fake), ["bedrock"]);
}

#[tokio::test]
async fn a_small_request_for_another_model_is_no_way_back() {
    let fake = FakeDynamo::start();
    let world = on(&fake);
    world.anthropic.next([overloaded()]);
    world.call(message()).await;
    let small = message().model("claude-haiku-4-5");
    assert_eq!(world.call(small).await.upstream(), "anthropic");
    assert_eq!(sides(&fake), ["bedrock"]);
}

#[tokio::test]
async fn a_request_of_no_session_leaves_none() {
    let fake = FakeDynamo::start();
    let world = on(&fake);
    world.anthropic.always(overloaded());
    let long = "x".repeat(129);
    for name in ["", "a b", &long] {
        let call = Call::message().header("x-claude-code-session-id", name);
        assert_eq!(world.call(call).await.upstream(), "bedrock", "{name}");
    }
    world.call(Call::message()).await;
    assert_eq!(sides(&fake), [""; 0]);
}

#[tokio::test]
async fn a_store_that_keeps_no_session_costs_nobody_an_answer() {
    let fake = FakeDynamo::start();
    let world = on(&fake);
    fake.always("PutItem", &testing::answer::access_denied());
    world.anthropic.always(overloaded());
    for _ in 0..2 {
        let reply = world.call(message()).await;
        assert_eq!((reply.status, reply.upstream()), (200, "bedrock"));
    }
}

fn message() -> Call {
    Call::message().header("x-claude-code-session-id", SESSION)
}

fn on(fake: &FakeDynamo) -> World {
    table::world(&fake.url(), "limits").start()
}

/// The sessions that were written, the last one last.
fn written(fake: &FakeDynamo) -> Vec<Value> {
    let items = fake.calls("PutItem").into_iter().map(|mut call| call["Item"].take());
    let is_session =
        |item: &Value| item["pk"]["S"].as_str().is_some_and(|pk| pk.starts_with("session#"));
    items.filter(is_session).collect()
}

fn sides(fake: &FakeDynamo) -> Vec<String> {
    let side = |item: Value| item["side"]["S"].as_str().unwrap_or_default().to_owned();
    written(fake).into_iter().map(side).collect()
}
