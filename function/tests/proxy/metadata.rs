//! What does AWS's own log of invocations say of a call? Labels and digests, and no secret.

use serde_json::{Value, json};
use testing::{
    answer::{limited, overloaded},
    client::Call,
    world::World,
};

/// A session, and its SHA-256.
const SESSION: &str = "0b8d1f62-7d52-4a3e-8a63-0f8c1f6d2b11";

#[tokio::test]
async fn every_call_of_bedrock_says_who_has_asked_and_why() {
    let world = World::start();
    for (call, refusal, reason) in [
        (Call::message(), limited(120), "rate_limited"),
        (Call::message().whole().by("sk-ant-api03-b"), overloaded(), "overloaded"),
    ] {
        world.anthropic.next([refusal]);
        let call = call.at("/u/a.B+c-1@example.com/v1/messages");
        let reply = world.call(call.header("x-claude-code-session-id", SESSION)).await;
        assert_eq!(reply.reason(), reason);
        let said = told(&world);
        let session = said["session"].as_str().expect("there is a session");
        assert!(session.len() == 64 && !said.to_string().contains(SESSION), "{said}");
        let all = json!({
            "user": "a.B+c-1@example.com", "session": session, "reason": reason,
            "request_id": reply.header("request-id"),
        });
        assert_eq!(said, all);
        assert!(said.as_object().expect("an object").values().all(is_of_aws), "{said}");
    }
}

#[tokio::test]
async fn whatever_a_client_calls_its_session_no_letter_of_it_goes_to_aws() {
    let world = World::start();
    world.anthropic.always(limited(120));
    for session in ["\"},{x", "ü", &"s".repeat(8000), ""] {
        let call = Call::message().header("x-claude-code-session-id", session);
        assert_eq!(world.call(call).await.upstream(), "bedrock");
        let said = told(&world);
        assert_eq!(said.get("user"), None);
        assert!(said.as_object().expect("an object").values().all(is_of_aws), "{said}");
        assert!(session.is_empty() || !said.to_string().contains(session), "{said}");
    }
    world.anthropic.always(overloaded());
    world.call(Call::message()).await;
    assert_eq!(told(&world).get("session"), None, "there is none");
}

fn told(world: &World) -> Value {
    let requests = world.bedrock.requests();
    let last = requests.last().expect("bedrock was asked");
    serde_json::from_str(last.header("x-amzn-bedrock-request-metadata")).expect("it is JSON")
}

/// Whether AWS takes it: service model of bedrock-runtime, `RequestMetadataValueString`.
fn is_of_aws(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b" :_@$#=/+,-.".contains(&byte);
    (1..=256).contains(&text.len()) && text.bytes().all(fits)
}
