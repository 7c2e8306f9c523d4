//! Tokens are counted by Anthropic, else by Bedrock where the model can be counted there, else not
//! at all: never estimated.

use std::time::Duration;

use testing::{
    answer::{limited, overloaded, refused, throttled},
    bedrock::region,
    client::{Call, Reply},
    world::World,
};

const COUNT: &str = "/v1/messages/count_tokens";

#[tokio::test]
async fn anthropic_counts_also_while_a_limit_is_in_force() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.call(Call::message()).await;
    let reply = world.call(Call::count()).await;
    assert_eq!((reply.status, reply.upstream()), (200, "anthropic"));
    assert!(reply.json()["input_tokens"].is_u64());
    assert_eq!(world.bedrock.requests().len(), 1);
}

#[tokio::test]
async fn bedrock_counts_where_it_can() {
    let world = World::with("MAX_RETRY_WAIT_SECONDS", "60").start();
    world.call(Call::message()).await;
    for answer in [limited(20), limited(120), overloaded(), refused(500, "api_error", "oh")] {
        world.anthropic.next_on(COUNT, [answer]);
        let reply = world.call(Call::count()).await;
        assert_eq!((reply.status, reply.upstream()), (200, "bedrock"), "{:?}", reply.body);
        assert!(reply.json()["input_tokens"].is_u64());
        assert!(reply.took < Duration::from_secs(15), "never waited for: {:?}", reply.took);
    }
    assert!(world.bedrock.requests().iter().all(|asked| asked.path().ends_with("/count-tokens")));
    let message = world.call(Call::message()).await;
    assert_eq!(message.upstream(), "anthropic", "no limit of messages");
    assert_eq!(world.anthropic.on(COUNT).len(), 4);
}

#[tokio::test]
async fn what_bedrock_cannot_count_is_not_supported() {
    let world = World::start();
    world.call(Call::message()).await;
    world.anthropic.next_on(COUNT, [limited(120), limited(120)]);
    assert_not_supported(&world.call(Call::count().model("claude-opus-5-5")).await);
    world.bedrock.next_count([throttled(), throttled(), throttled()]);
    assert_not_supported(&world.call(Call::count()).await);
}

#[tokio::test]
async fn the_next_region_counts_when_one_throttles() {
    let world = World::with("BEDROCK_REGIONS", "us-east-1,us-west-2").start();
    world.call(Call::message()).await;
    world.anthropic.next_on(COUNT, [overloaded()]);
    world.bedrock.next_count([throttled()]);
    let reply = world.call(Call::count()).await;
    assert_eq!((reply.status, reply.reason()), (200, "overloaded"));
    assert_eq!(reply.header("x-claude-proxy-region"), "us-west-2");
    let model = reply.header("x-claude-proxy-bedrock-model");
    assert_eq!(model, "anthropic.claude-sonnet-4-5-20250929-v1:0");
    assert_ne!(reply.header("request-id"), "");
    let asked = world.bedrock.requests();
    assert_eq!(asked.iter().map(region).collect::<Vec<_>>(), ["us-east-1", "us-west-2"]);
}

#[tokio::test]
async fn a_credential_never_seen_is_proved_before_bedrock_counts() {
    let world = World::start();
    world.anthropic.next_on(COUNT, [overloaded()]);
    world.anthropic.next_on("/v1/models", [refused(401, "authentication_error", "no")]);
    let reply = world.call(Call::count()).await;
    assert_ne!(reply.status, 200);
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn other_answers_of_the_count_reach_the_client() {
    let world = World::start();
    for status in [400, 401, 404] {
        world.anthropic.next_on(COUNT, [refused(status, "some_error", "the very words")]);
        let reply = world.call(Call::count()).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.json()["error"]["message"], "the very words");
    }
    assert!(world.bedrock.requests().is_empty());
}

fn assert_not_supported(reply: &Reply) {
    assert_eq!((reply.status, reply.error().as_str()), (501, "not_supported"));
    assert_eq!(reply.header("x-should-retry"), "false");
}

#[tokio::test]
async fn an_answer_without_a_number_is_no_count() {
    let world = World::start();
    world.call(Call::message()).await;
    for body in ["{}", r#"{"inputTokens":0}"#, r#"{"inputTokens":-4}"#, "", "<html>"] {
        world.anthropic.next_on(COUNT, [limited(120)]);
        world.bedrock.next_count([refused(200, "", "").body(body)]);
        let reply = world.call(Call::count()).await;
        assert_eq!((reply.status, reply.header("x-should-retry")), (501, "false"), "{body}");
    }
}
