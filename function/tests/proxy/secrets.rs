//! Credentials and prompts are in no log and no request to AWS, whatever happens to the request.

use std::time::Duration;

use serde_json::json;
use testing::{
    answer::{access_denied, limited, ok, overloaded, refused, throttled},
    client::Call,
    world::World,
};
use tokio::time::sleep;

const CREDENTIAL: &str = "sk-ant-oat01-canary-credential";
const KEY: &str = "sk-ant-api03-canary-key";
const PROMPT: &str = "canary-prompt";
const SECRET: &str = "canary-aws-secret";
/// The account whose role Bedrock names when it refuses.
const ACCOUNT: &str = "123456789012";

#[tokio::test]
async fn no_path_of_a_request_logs_or_leaks_a_secret() {
    let world = World::with("AWS_SECRET_ACCESS_KEY", SECRET)
        .with("FALLBACK_ON", "rate_limit,overloaded,server_error,unreachable")
        .with("BEDROCK_PROOF_MAX_AGE_SECONDS", "1")
        .start();
    through_anthropic(&world).await;
    through_bedrock(&world).await;
    by_the_way(&world).await;

    let log = world.log();
    for secret in [CREDENTIAL, KEY, PROMPT, SECRET, "canary", ACCOUNT] {
        let line = log.lines().find(|line| line.contains(secret));
        assert_eq!(line, None, "{secret} was logged");
    }
    assert!(log.lines().count() > 10, "the log was looked at");
    let asked = world.bedrock.requests();
    assert!(asked.len() > 10, "Bedrock was asked {} times", asked.len());
    for request in asked {
        for (name, value) in &request.headers {
            let foreign = ["x-api-key", "cookie"].contains(&name.as_str());
            assert!(!foreign && !value.contains("canary"), "{name}: {value}");
            assert!(!name.starts_with("x-claude-") && !name.starts_with("anthropic-"), "{name}");
        }
        assert!(!request.target.contains("canary"));
        let body = String::from_utf8_lossy(&request.body);
        assert!(!body.contains(CREDENTIAL) && !body.contains(KEY));
    }
}

fn call() -> Call {
    Call::message()
        .by(KEY)
        .header("authorization", &format!("Bearer {CREDENTIAL}"))
        .header("cookie", "session=canary")
        .header("x-claude-code-user", "alice")
        .with("system", PROMPT)
        .with("metadata", json!({"user_id": PROMPT}))
        .says(PROMPT)
}

async fn through_anthropic(world: &World) {
    let anthropic = &world.anthropic;
    let echoing = refused(400, "invalid_request_error", "messages: canary-prompt is bad");
    anthropic.next([ok(), echoing, overloaded(), refused(500, "api_error", PROMPT)]);
    anthropic.next([ok().cut_after(4), ok().error_after(1, "overloaded_error"), limited(1)]);
    for _ in 0..8 {
        world.call(call()).await;
    }
}

async fn through_bedrock(world: &World) {
    world.anthropic.always(limited(120));
    let spoken = refused(400, "ValidationException", "canary-prompt is too long");
    let odd = refused(404, "ResourceNotFoundException", "This model is marked as legacy");
    world.bedrock.next([ok(), ok().cut_after(3), throttled(), access_denied(), spoken, odd]);
    world.bedrock.next([ok().exception_after(1, "canary-prompt"), ok()]);
    for _ in 0..4 {
        world.call(call()).await;
        world.call(call().whole()).await;
    }
    // The proof is too old by now, and is renewed.
    sleep(Duration::from_millis(1100)).await;
    world.call(call()).await;
    world.anthropic.always(ok());
}

async fn by_the_way(world: &World) {
    call().leave_after(world.address(), Duration::from_millis(5)).await;
    world.call(call().body("{\"model\": \"canary-prompt\", broken")).await;
    world.call(call().model("claude-new-9")).await;
    world.call(call().at("/v1/messages/count_tokens").no("stream")).await;
    world.call(call().at(&format!("/v1/files?key={KEY}")).body(PROMPT)).await;
    world.call(call().at(&format!("/?claude-code-user=alice%2Fv1%2F{PROMPT}"))).await;
    world.call(call().at(&format!("/v1//{PROMPT}"))).await;
    world.anthropic.deny(KEY);
    world.call(call()).await;
}
