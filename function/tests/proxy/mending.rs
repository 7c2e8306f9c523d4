//! Bedrock refuses one thing in a request: it is mended below the client, and the lesson is kept.

use testing::{
    answer::{Answer, limited, ok, refused},
    client::Call,
    world::World,
};

const THINKING_COUNT: &str = "thinking-token-count-2026-05-13";

fn invalid(message: &str) -> Answer {
    refused(400, "ValidationException", message)
}

/// What Claude Code sends to an Opus 5.5, as far as it can be refused.
fn full_call() -> Call {
    Call::message()
        .model("claude-opus-5-5")
        .header("anthropic-beta", &format!("interleaved-thinking-2025-05-14,{THINKING_COUNT}"))
        .with("metadata", serde_json::json!({"user_id": "u"}))
        .with("output_config", serde_json::json!({"effort": "high"}))
        .with("thinking", serde_json::json!({"type": "adaptive", "display": "omitted"}))
}

#[tokio::test]
async fn a_refused_field_and_a_refused_beta_never_reach_the_client() {
    for call in [full_call(), full_call().whole()] {
        let world = World::start();
        world.anthropic.next([limited(120)]);
        world.bedrock.next([
            invalid("output_config.effort: Extra inputs are not permitted"),
            invalid("invalid beta flag"),
        ]);
        let reply = world.call(call).await;
        assert_eq!((reply.status, reply.upstream()), (200, "bedrock"), "{}", reply.error());
        let asked = world.bedrock.requests();
        assert_eq!(asked.len(), 3);
        let last = asked[2].json();
        assert_eq!(last.get("output_config"), None);
        assert!(!last["anthropic_beta"].to_string().contains(THINKING_COUNT));
        assert!(last["anthropic_beta"].to_string().contains("interleaved-thinking"));
        assert_eq!(last["metadata"]["user_id"], "u");
    }
}

#[tokio::test]
async fn the_next_request_for_the_model_begins_with_the_lesson() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.bedrock.next([invalid("output_config.effort: Extra inputs are not permitted")]);
    world.call(full_call()).await;
    world.call(full_call()).await;
    let efforts: Vec<bool> = world
        .bedrock
        .requests()
        .iter()
        .map(|asked| asked.json().get("output_config").is_some())
        .collect();
    assert_eq!(efforts, [true, false, false]);
    let row = r#"("claude-opus-5-5", "output_config.effort"),"#;
    assert_eq!(world.log().matches(row).count(), 1, "it is said once, as a row for the table");
}

#[tokio::test]
async fn a_lesson_about_one_model_says_nothing_about_another() {
    let world = World::start();
    world.anthropic.next([limited(120), limited(120)]);
    world.bedrock.next([invalid("output_config.effort: Extra inputs are not permitted")]);
    world.call(full_call()).await;
    world.call(full_call().model("claude-sonnet-5-5")).await;
    let asked = world.bedrock.requests();
    assert!(asked[2].path().contains("sonnet-5-5"));
    assert_eq!(asked[2].json()["output_config"]["effort"], "high");
}

#[tokio::test]
async fn three_mends_are_the_most_and_then_the_refusal_is_the_clients() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.bedrock.next([
        invalid("output_config.effort: Extra inputs are not permitted"),
        invalid("metadata: Extra inputs are not permitted"),
        invalid("thinking.adaptive.display: Extra inputs are not permitted"),
        invalid("invalid beta flag"),
    ]);
    let reply = world.call(full_call()).await;
    assert_eq!(reply.status, 400);
    assert_eq!(reply.json()["error"]["message"], "invalid beta flag");
    assert_eq!(world.bedrock.requests().len(), 4);
}

#[tokio::test]
async fn what_mended_nothing_is_not_learnt() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.bedrock.next([
        invalid("metadata: Extra inputs are not permitted"),
        invalid("prompt is too long: 210000 tokens > 200000 maximum"),
    ]);
    let reply = world.call(full_call()).await;
    assert_eq!(reply.status, 400);
    world.call(full_call()).await;
    let asked = world.bedrock.requests();
    assert_eq!(asked[2].json()["metadata"]["user_id"], "u");
}

#[tokio::test]
async fn a_refused_signature_costs_the_thoughts_and_not_the_turn() {
    let world = World::start();
    let turn = serde_json::json!([
        {"role": "user", "content": "think"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "made elsewhere"},
            {"type": "text", "text": "done"},
        ]},
        {"role": "user", "content": "go on"},
    ]);
    world.anthropic.next([limited(120)]);
    world.bedrock.next([invalid("messages.1.content.0: Invalid `signature` in `thinking` block")]);
    let reply = world.call(full_call().with("messages", turn)).await;
    assert_eq!((reply.status, reply.upstream()), (200, "bedrock"), "{}", reply.error());
    let asked = world.bedrock.requests();
    assert!(asked[0].json().to_string().contains("made elsewhere"), "nothing is done beforehand");
    assert!(!asked[1].json().to_string().contains("made elsewhere"));
    assert_eq!(asked[1].json()["messages"][1]["content"][0]["text"], "done");
}

#[tokio::test]
async fn sentences_that_make_the_client_recover_reach_it_word_for_word() {
    for sentence in [
        "prompt is too long: 210000 tokens > 200000 maximum",
        "Input is too long for requested model.",
        "input length and `max_tokens` exceed context limit: 190000 + 64000 > 200000",
        "max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens",
        "Could not process image",
    ] {
        let world = World::start();
        world.anthropic.next([limited(120)]);
        world.bedrock.always(invalid(sentence));
        let reply = world.call(full_call()).await;
        assert_eq!(reply.status, 400);
        assert_eq!(reply.json()["error"]["message"], sentence);
        assert_eq!(reply.json()["error"]["type"], "invalid_request_error");
        assert_eq!(world.bedrock.requests().len(), 1, "{sentence}");
    }
}

#[tokio::test]
async fn a_refusal_inside_the_stream_before_the_first_delta_is_mended() {
    let sentence = "output_config.effort: Extra inputs are not permitted";
    // At once, and after the head of the message and of its first block.
    for events in [0, 2] {
        let world = World::start();
        world.anthropic.next([limited(120)]);
        world.bedrock.next([ok().exception_after(events, "validationException").message(sentence)]);
        let reply = world.call(full_call()).await;
        assert_eq!((reply.status, reply.upstream()), (200, "bedrock"), "{}", reply.error());
        assert_eq!((reply.text().as_str(), reply.errors().len()), ("bedrock heard: hello", 0));
        let starts = reply.names().iter().filter(|name| *name == "message_start").count();
        assert_eq!(starts, 1, "the refused beginning is forgotten");
        let asked = world.bedrock.requests();
        assert_eq!((asked.len(), asked[1].json().get("output_config")), (2, None));
    }
}

#[tokio::test]
async fn structured_output_that_bedrock_refuses_is_not_left_out() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    let sentence = "output_config.format: Extra inputs are not permitted";
    world.bedrock.always(invalid(sentence));
    let format = serde_json::json!({"format": {"type": "json_schema", "schema": {}}});
    let call = Call::message().model("claude-opus-4-8").with("output_config", format);
    let reply = world.call(call).await;
    assert_eq!((reply.status, reply.upstream()), (429, "anthropic"), "{}", reply.error());
    assert_eq!(world.bedrock.requests().len(), 1);
}
