//! Instances of the proxy that share a table: what one learns the others obey.

use futures_util::future::join_all;
use serde_json::json;
use testing::{
    answer::{access_denied, limited, refused},
    client::{BOB, Call},
    moto, table,
    world::World,
};

#[tokio::test]
async fn what_one_instance_learns_the_other_obeys() {
    let table = moto::table().await;
    let (one, two) = (instance(&table), instance(&table));
    one.anthropic.next([limited(120)]);
    assert_eq!(one.call(Call::message()).await.reason(), "rate_limited");
    let reply = two.call(Call::message()).await;
    assert_eq!((reply.text().as_str(), reply.reason()), ("bedrock heard: hello", "cooldown"));
    assert_eq!(two.call(Call::message().by(BOB)).await.upstream(), "anthropic");
    let haiku = Call::message().model("claude-haiku-4-5-20251001");
    assert_eq!(two.call(haiku).await.upstream(), "anthropic");
    assert_eq!(two.anthropic.messages().len(), 2);
}

#[tokio::test]
async fn a_limit_that_one_instance_saw_end_is_over_for_the_others() {
    let table = moto::table().await;
    let (one, two) = (instance(&table), instance(&table));
    one.anthropic.next([limited(120)]);
    one.call(Call::message()).await;
    two.bedrock.next([access_denied()]);
    assert_eq!(two.call(Call::message()).await.upstream(), "anthropic", "Bedrock could not");
    assert_eq!(two.bedrock.requests().len(), 1, "the limit was known");
    assert_eq!(items(&table, "limit#").await.len(), 0);
    let three = instance(&table);
    assert_eq!(three.call(Call::message()).await.upstream(), "anthropic");
}

#[tokio::test]
async fn fifty_who_meet_a_limit_at_once_are_answered_and_leave_one_item() {
    let table = moto::table().await;
    let (one, two) = (instance(&table), instance(&table));
    for world in [&one, &two] {
        world.anthropic.always(limited(120));
    }
    let calls = (0..50).map(|n| if n % 2 == 0 { &one } else { &two }.call(Call::message()));
    for reply in join_all(calls).await {
        assert_eq!((reply.status, reply.upstream()), (200, "bedrock"));
        assert_eq!(reply.text(), "bedrock heard: hello");
    }
    assert_eq!(items(&table, "limit#").await.len(), 1);
    assert_eq!(items(&table, "proof#").await.len(), 1);
}

#[tokio::test]
async fn a_lesson_is_learnt_once_for_all_instances() {
    let table = moto::table().await;
    let (one, two) = (instance(&table), instance(&table));
    let call = || {
        let effort = json!({"effort": "high"});
        Call::message().model("claude-opus-5-5").with("output_config", effort)
    };
    one.anthropic.next([limited(120)]);
    let refusal = "output_config.effort: Extra inputs are not permitted";
    one.bedrock.next([refused(400, "ValidationException", refusal)]);
    assert_eq!(one.call(call()).await.reason(), "rate_limited");
    assert_eq!(two.call(call()).await.reason(), "cooldown");
    let asked = two.bedrock.requests();
    assert_eq!((asked.len(), asked[0].json().get("output_config")), (1, None));
    assert_eq!(items(&table, "lesson#claude-opus-5-5").await.len(), 1);
}

/// An instance with upstreams of its own, on the common table.
fn instance(table: &str) -> World {
    table::world(moto::url(), table).with("RETRY_THRESHOLD_SECONDS", "5").start()
}

/// The partition keys in a table that begin like this.
async fn items(table: &str, prefix: &str) -> Vec<String> {
    let client = aws_sdk_dynamodb::Client::new(&moto::config(moto::url()).await);
    let answer = client.scan().table_name(table).send().await.expect("moto can scan");
    let keys = answer.items().iter().filter_map(|item| item.get("pk")?.as_s().ok().cloned());
    keys.filter(|pk| pk.starts_with(prefix)).collect()
}
