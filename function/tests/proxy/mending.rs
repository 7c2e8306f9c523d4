//! Bedrock refuses one thing in a request: it is mended below the client, and the lesson is kept.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

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
async fn three_mends_are_the_most_and_then_anthropics_own_answer_stands() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.bedrock.next([
        invalid("output_config.effort: Extra inputs are not permitted"),
        invalid("metadata: Extra inputs are not permitted"),
        invalid("thinking.adaptive.display: Extra inputs are not permitted"),
        invalid("invalid beta flag"),
    ]);
    let reply = world.call(full_call()).await;
    assert_eq!((reply.status, reply.upstream()), (429, "anthropic"), "{}", reply.error());
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
        "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after: t",
        "messages: roles must alternate between \"user\" and \"assistant\"",
        "messages: text content blocks must be non-empty",
        "temperature: Input should be less than or equal to 1",
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

/// What Bedrock alone refuses, as public reports have met it.
const BEDROCKS_ALONE: [&str; 8] = [
    "1 validation error detected: Value at 'body' failed to satisfy constraint: Member must have \
     length less than or equal to 25000000",
    "tools.0.custom.input_schema.properties.extra: Extra inputs are not permitted",
    "tools.0.custom.name: String should have at most 64 characters",
    "You invoked an unsupported model or your request did not allow prompt caching. See the \
     documentation for more information.",
    "Access to this model is not available for channel program accounts. Reach out to your AWS \
     Solution Provider or AWS Distributor for more information.",
    "The action or operation requested is invalid. Verify that the action is typed correctly.",
    "invalid beta flag",
    "a sentence that nobody has seen before, about arn:aws:iam::123456789012:role/secret",
];

#[tokio::test]
async fn what_bedrock_alone_refuses_is_asked_in_one_region_told_once_and_anthropics_429_stands() {
    for sentence in BEDROCKS_ALONE {
        let world = World::with("BEDROCK_REGIONS", "us-east-1,us-west-2").start();
        world.anthropic.next([limited(600)]);
        world.bedrock.always(invalid(sentence));
        let tool = serde_json::json!([{"name": "a", "input_schema": {
            "type": "object", "properties": {"extra": {"type": "string"}}}}]);
        let reply = world.call(Call::message().with("tools", tool)).await;
        assert_eq!((reply.status, reply.upstream()), (429, "anthropic"), "{sentence}");
        assert_eq!(reply.header("retry-after"), "600", "{sentence}");
        assert_eq!(world.bedrock.requests().len(), 1, "{sentence}");
        let log = log_with(&world, "bedrock cannot serve").await;
        assert_eq!(log.matches("bedrock cannot serve").count(), 1, "{log}");
        assert!(!log.contains("123456789012") && !log.contains("role/secret"), "{log}");
    }
}

#[tokio::test]
async fn an_operators_fault_in_one_region_is_tried_in_the_next() {
    let world = World::with("BEDROCK_REGIONS", "us-east-1,us-west-2").start();
    world.anthropic.next([limited(600)]);
    let sentence = "The requested model doesn't support on-demand throughput.";
    world.bedrock.next([invalid(sentence)]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.upstream()), (200, "bedrock"), "{}", reply.error());
    assert_eq!(world.bedrock.requests().len(), 2);
}

#[tokio::test]
async fn a_long_quotation_and_what_speaks_to_terminals_stay_out_of_the_log() {
    let world = World::start();
    world.anthropic.next([limited(600)]);
    let said = "the user's own words ".repeat(8);
    world.bedrock.always(invalid(&format!("tools.0: got \"{said}\" \u{1b}[31m and no more")));
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.upstream()), (429, "anthropic"), "{}", reply.error());
    let log = log_with(&world, "bedrock cannot serve").await;
    assert!(log.contains("and no more") && !log.contains("own words"), "{log}");
    assert!(!log.contains("\u{1b}[31m and"), "{log}");
}

/// What the program has written, once these words are in it; it is read beside the answer.
async fn log_with(world: &World, words: &str) -> String {
    for _ in 0..100 {
        if world.log().contains(words) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    world.log()
}

/// A turn with a tool whose result is cached, with one of its markers and fields in each place.
fn tool_turn() -> Call {
    let hour = serde_json::json!({"type": "ephemeral", "ttl": "1h"});
    let turns = serde_json::json!([
        {"role": "user", "content": [
            {"type": "text", "text": "list", "cache_control": hour},
        ]},
        {"role": "assistant", "content": [
            {"type": "text", "text": "b", "citations": null},
            {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"ttl": "1h"}},
        ]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [
            {"type": "text", "text": "a.txt", "cache_control": hour, "citations": null},
        ]}]},
    ]);
    let system = serde_json::json!([{"type": "text", "text": "Be brief.", "cache_control": hour}]);
    full_call().with("messages", turns).with("system", system)
}

/// Lets Bedrock refuse a part of a body for as long as it is there; returns what it was sent.
fn refuses(world: &World, part: &'static str, sentence: &'static str) -> Arc<Mutex<Vec<Value>>> {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&sent);
    world.bedrock.direct(Arc::new(move |request| {
        let body = request.json();
        let is_there = body.to_string().contains(part);
        noted.lock().expect("nobody panics with it").push(body);
        is_there.then(|| invalid(sentence))
    }));
    sent
}

#[tokio::test]
async fn a_field_inside_of_a_block_is_mended_learnt_and_costs_the_next_turn_nothing() {
    let (ttl, citations) = (r#""ttl":"1h","type""#, r#""citations":null"#);
    for (part, sentence) in [
        (
            citations,
            "messages.1.content.0.text.citations: Extra inputs are not permitted; \
                     messages.2.content.0.tool_result.content.0.text.citations: Extra inputs are \
                     not permitted",
        ),
        (
            ttl,
            "messages.0.content.0.text.cache_control.ephemeral.ttl: Extra inputs are not permitted",
        ),
        (
            ttl,
            "messages.2.content.0.tool_result.content.0.text.cache_control.ephemeral.ttl: Extra \
               inputs are not permitted",
        ),
        (ttl, "system.0.cache_control.ephemeral.ttl: Input should be '5m'"),
    ] {
        for whole in [false, true] {
            let world = World::start();
            world.anthropic.always(limited(600));
            let sent = refuses(&world, part, sentence);
            for asked in [2, 3] {
                let call = if whole { tool_turn().whole() } else { tool_turn() };
                let reply = world.call(call).await;
                assert_eq!((reply.status, reply.upstream()), (200, "bedrock"), "{sentence}");
                assert_eq!(world.bedrock.requests().len(), asked, "{sentence}");
            }
            let sent = sent.lock().expect("nobody panics with it").remove(2);
            assert_eq!(sent["messages"][1]["content"][1]["input"]["ttl"], "1h", "{sent}");
            assert_eq!(sent["messages"][0]["content"][0]["cache_control"]["type"], "ephemeral");
        }
    }
}

/// Newer models take no sampling, and say so in words of their own.
#[tokio::test]
async fn sampling_that_a_model_has_given_up_is_left_out_and_learnt() {
    for (field, sentence) in [
        ("temperature", "`temperature` is deprecated for this model."),
        ("top_p", "The model returned the following errors: top_p is deprecated for this model."),
        (
            "temperature",
            r#"The model returned the following errors: {"type":"error","error":{"type":"invalid_request_error","message":"`temperature` is deprecated for this model."}}"#,
        ),
    ] {
        let world = World::start();
        world.anthropic.always(limited(600));
        let sent = refuses(&world, field, sentence);
        for asked in [2, 3] {
            let reply = world.call(Call::message().with(field, 0.5)).await;
            assert_eq!((reply.status, reply.upstream()), (200, "bedrock"), "{sentence}");
            assert_eq!(sent.lock().expect("nobody panics with it").len(), asked, "{sentence}");
        }
    }
}

#[tokio::test]
async fn a_refusal_that_no_mend_cures_is_not_asked_again() {
    for sentence in [
        "messages.0.content.0.text.foo: Extra inputs are not permitted",
        "messages.0.content.0.thinking.signature: Extra inputs are not permitted",
        "metadata.user_id: Input should be 'a'",
    ] {
        let world = World::start();
        world.anthropic.next([limited(600)]);
        world.bedrock.always(invalid(sentence));
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.upstream()), (429, "anthropic"), "{sentence}");
        assert_eq!(world.bedrock.requests().len(), 1, "{sentence}");
    }
}
