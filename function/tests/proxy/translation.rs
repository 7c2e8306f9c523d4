//! Bedrock's answers look like Anthropic's, in both forms, also for what only Claude Code sends.

use serde_json::{Value, json};
use testing::{
    answer::limited,
    client::{Call, Reply},
    message::ToolPlay,
    world::World,
};

#[tokio::test]
async fn a_whole_answer_has_anthropics_shape() {
    for asked in ["claude-sonnet-4-5", "claude-sonnet-4-5-20250929"] {
        let world = World::start();
        world.anthropic.next([limited(120)]);
        let reply = world.call(Call::message().model(asked).whole()).await;
        assert_eq!((reply.status, reply.upstream()), (200, "bedrock"));
        assert!(reply.header("content-type").starts_with("application/json"));
        let message = reply.json();
        assert_eq!((&message["model"], &message["type"]), (&json!(asked), &json!("message")));
        assert_eq!(message["content"][0]["text"], "bedrock heard: hello");
        assert_no_trace_of_bedrock(&reply);
        let operation = world.bedrock.requests()[0].path().to_owned();
        assert!(operation.ends_with("/invoke"), "{operation}");
    }
}

#[tokio::test]
async fn a_streamed_answer_has_anthropics_events() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    let reply = world.call(Call::message().says("a b")).await;
    let mut names = reply.names();
    names.retain(|name| name != "ping");
    names.dedup();
    let expected = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(names, expected);
    for event in reply.events() {
        assert_eq!(event.data["type"], event.name.as_str());
    }
    assert_no_trace_of_bedrock(&reply);
}

#[tokio::test]
async fn what_claude_code_sends_is_taken_by_bedrock_for_every_line() {
    let world = World::start();
    world.anthropic.next([limited(600)]);
    for model in [
        "claude-opus-5-5",
        "claude-opus-4-5-20251101",
        "claude-opus-4-6",
        "claude-opus-4-7",
        "claude-opus-4-8",
        "claude-opus-5",
    ] {
        for call in [claude_code(model), claude_code(model).whole()] {
            let reply = world.call(call).await;
            assert_eq!(reply.status, 200, "{model}: {:?}", reply.body);
            assert_eq!(reply.upstream(), "bedrock", "{model}");
            let said = reply.text();
            assert_eq!(said, "bedrock heard: hello", "{model}");
        }
    }
}

#[tokio::test]
async fn a_tool_call_with_its_check_arrives_whole() {
    let world = World::start();
    let command = json!({"command": "ls -la", "description": "Lists files"});
    let play = ToolPlay { name: "Bash".to_owned(), input: command.clone(), times: 1 };
    world.anthropic.play(play.clone());
    world.bedrock.play(play);
    let first = world.call(claude_code("claude-opus-5-5")).await;
    assert_eq!(first.upstream(), "anthropic");
    world.anthropic.next([limited(120)]);
    for reply in [first, world.call(claude_code("claude-opus-5-5")).await] {
        let events = reply.events();
        let input: String = events
            .iter()
            .filter_map(|event| event.data["delta"]["partial_json"].as_str())
            .collect();
        assert_eq!(serde_json::from_str::<Value>(&input).ok(), Some(command.clone()));
        let thought = events.iter().any(|event| event.data["delta"]["type"] == "signature_delta");
        assert!(thought, "the thinking keeps its signature");
        let end = events.iter().find(|event| event.name == "message_delta").expect("it ends");
        assert_eq!(end.data["delta"]["stop_reason"], "tool_use");
        let checked = &end.data["delta"]["safeguard_results"][0]["status"]["type"];
        assert_eq!(checked, "available");
    }
    assert_eq!(world.bedrock.requests().len(), 1);
}

#[tokio::test]
async fn a_bedrock_id_is_served_under_the_operators_own_prefix() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    for asked in [
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:eu-west-1:1:inference-profile/\
         eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ] {
        let reply = world.call(Call::message().model(asked)).await;
        assert_eq!((reply.status, reply.upstream()), (200, "bedrock"), "{asked}");
        let served = reply.header("x-claude-proxy-bedrock-model");
        assert_eq!(served, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "{asked}");
        assert_eq!(reply.events()[0].data["message"]["model"], asked);
    }
}

#[tokio::test]
async fn the_operators_map_wins() {
    let map = "{\"claude-sonnet-4-5-20250929\":\"global.anthropic.claude-sonnet-4-6\"}";
    let world = World::with("BEDROCK_MODEL_MAP", map).start();
    world.anthropic.next([limited(120)]);
    let reply = world.call(Call::message()).await;
    let served = reply.header("x-claude-proxy-bedrock-model");
    assert_eq!((reply.status, served), (200, "global.anthropic.claude-sonnet-4-6"));
    assert_eq!(reply.events()[0].data["message"]["model"], "claude-sonnet-4-5-20250929");
}

#[tokio::test]
async fn an_entry_of_the_map_serves_its_model_by_every_name_and_an_exact_one_wins() {
    let opaque = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3";
    let map = json!({
        "claude-opus-4-5": opaque,
        "claude-opus-4-6": "global.anthropic.claude-opus-4-6-v1",
        "claude-opus-4-6[1m]": "eu.anthropic.claude-opus-4-6-v1",
    });
    let world = World::with("BEDROCK_MODEL_MAP", &map.to_string()).start();
    world.anthropic.always(limited(120));
    let world_of = |name: &str, expected: &str| (name.to_owned(), expected.to_owned());
    for (name, expected) in [
        world_of("claude-opus-4-5", opaque),
        world_of("claude-opus-4-5[1m]", opaque),
        world_of("claude-opus-4-5-20251101", opaque),
        world_of("claude-opus-4-5-latest", opaque),
        world_of("us.anthropic.claude-opus-4-5-20251101-v1:0", opaque),
        world_of("claude-opus-4-6", "global.anthropic.claude-opus-4-6-v1"),
        world_of("claude-opus-4-6[1m]", "eu.anthropic.claude-opus-4-6-v1"),
        world_of("claude-opus-4-6-20260205", "global.anthropic.claude-opus-4-6-v1"),
    ] {
        let asked = world.bedrock.requests().len();
        world.call(Call::message().model(&name)).await;
        let target = world.bedrock.requests()[asked].target.clone();
        let target = target.replace("%3A", ":").replace("%2F", "/");
        assert!(target.contains(&format!("/{expected}/")), "{name}: {target}");
    }
}

#[tokio::test]
async fn what_bedrock_has_no_room_for_is_not_asked_of_it() {
    let world = World::start();
    world.anthropic.always(limited(600));
    let long = "n".repeat(71);
    let tool = json!([{"name": long, "input_schema": {"type": "object"}}]);
    let call = json!([
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [
            {"type": "tool_use", "id": "t", "name": long, "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]},
    ]);
    let large = "x".repeat(25_000_000);
    for call in [
        Call::message().with("tools", tool),
        Call::message().with("messages", call),
        Call::message().says(&large),
    ] {
        let reply = world.call(call).await;
        assert_eq!((reply.status, reply.upstream()), (429, "anthropic"), "{}", reply.error());
        assert_eq!(reply.header("retry-after"), "600");
    }
    assert_eq!(world.bedrock.requests().len(), 0);
}

#[tokio::test]
async fn a_tool_brings_the_beta_that_it_needs() {
    let world = World::start();
    world.anthropic.always(limited(600));
    let memory = json!([{"type": "memory_20250818", "name": "memory"}]);
    let call = Call::message()
        .model("claude-sonnet-4-5")
        .header("anthropic-beta", "context-management-2025-06-27")
        .with("tools", memory);
    let reply = world.call(call).await;
    assert_eq!((reply.status, reply.upstream()), (200, "bedrock"), "{}", reply.error());
    let sent = world.bedrock.requests()[0].json();
    assert_eq!(sent["anthropic_beta"], json!(["context-management-2025-06-27"]));
}

#[tokio::test]
async fn caching_that_a_line_does_not_do_by_itself_becomes_a_marker() {
    let world = World::start();
    world.anthropic.always(limited(600));
    let cache = json!({"type": "ephemeral"});
    let call = Call::message().model("claude-sonnet-4-5").with("cache_control", cache.clone());
    let reply = world.call(call).await;
    assert_eq!((reply.status, reply.upstream()), (200, "bedrock"), "{}", reply.error());
    let sent = world.bedrock.requests()[0].json();
    assert_eq!(sent.get("cache_control"), None);
    assert_eq!(sent["messages"][0]["content"][0]["cache_control"], cache);
}

#[tokio::test]
async fn what_the_map_invokes_says_what_is_sent_and_else_the_clients_own_name() {
    let opaque = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3";
    let map = json!({
        "claude-opus-5-5": "us.anthropic.claude-opus-4-6-v1",
        "claude-opus-4-6": opaque,
        "our-own-name": "us.anthropic.claude-opus-4-6-v1",
    });
    let world = World::with("BEDROCK_MODEL_MAP", &map.to_string()).start();
    world.anthropic.always(limited(120));
    for name in ["claude-opus-5-5", "claude-opus-4-6", "our-own-name"] {
        let thinking = json!({"type": "adaptive", "display": "omitted"});
        world.call(Call::message().model(name).with("thinking", thinking)).await;
    }
    let asked = world.bedrock.requests();
    assert_eq!(asked.len(), 3, "{}", world.log());
    for asked in &asked {
        assert_eq!(asked.json()["thinking"], json!({"type": "adaptive"}), "{}", asked.target);
    }
    assert!(asked[1].target.contains("application-inference-profile"), "{}", asked[1].target);
}

#[tokio::test]
async fn the_prefix_is_the_operators_choice() {
    let world =
        World::with("BEDROCK_PROFILE_PREFIX", "eu").with("BEDROCK_REGIONS", "eu-west-1").start();
    world.anthropic.next([limited(120)]);
    let reply = world.call(Call::message()).await;
    let served = reply.header("x-claude-proxy-bedrock-model");
    assert_eq!((reply.status, served), (200, "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"));
    assert_eq!(reply.header("x-claude-proxy-region"), "eu-west-1");
}

/// A request with all that Claude Code sends to the API and not to Bedrock.
fn claude_code(model: &str) -> Call {
    let fifth = model.starts_with("claude-opus-5");
    let mut betas = "claude-code-20250219,interleaved-thinking-2025-05-14,\
                     context-management-2025-06-27,thinking-token-count-2026-05-13,\
                     advanced-tool-use-2025-11-20,effort-2025-11-24,oauth-2025-04-20,\
                     extended-cache-ttl-2025-04-11"
        .to_owned();
    let mut turns = vec![json!({"role": "user", "content": [
        {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}},
    ]})];
    let mut call = Call::message();
    if model.ends_with("5-5") {
        betas.push_str(",per-turn-control-2026-07-01,mid-conversation-tool-changes-2026-07-01");
        betas.push_str(",dangerous-tool-use-2026-09-03");
        turns.push(json!({"role": "system", "content": "note",
                          "output_config": {"effort": "medium"}}));
        call = call
            .with("safeguards", json!([{"type": "dangerous_tool_use", "classifier_context": {}}]));
    }
    let adaptive = json!({"type": "adaptive", "display": "omitted"});
    let budget = json!({"type": "enabled", "budget_tokens": 1024, "display": "omitted"});
    let old = model.starts_with("claude-opus-4-5");
    call.model(model)
        .header("anthropic-beta", &betas)
        .with("max_tokens", if fifth { 128_000 } else { 32_000 })
        .with("thinking", if old { budget } else { adaptive })
        .with("output_config", json!({"effort": "medium"}))
        .with(
            "context_management",
            json!({"edits": [
            {"type": "clear_thinking_20251015", "keep": "all"}]}),
        )
        .with("metadata", json!({"user_id": "{\"device_id\":\"0\"}"}))
        .with(
            "system",
            json!([
                {"type": "text", "text": "x-anthropic-billing-header: cc_version=2;"},
                {"type": "text", "text": "You are Claude.", "cache_control": {"type": "ephemeral"}},
            ]),
        )
        .with(
            "tools",
            json!([
                {"name": "Bash", "description": "Runs", "input_schema": {"type": "object"}},
                {"name": "Later", "description": "Later", "input_schema": {"type": "object"},
                 "defer_loading": true},
            ]),
        )
        .with("messages", turns)
}

fn assert_no_trace_of_bedrock(reply: &Reply) {
    let body = String::from_utf8_lossy(&reply.body);
    assert!(!body.contains("amazon-bedrock") && !body.contains("anthropic.claude"), "{body}");
    assert_eq!(reply.headers_like("x-amzn"), [""; 0]);
}
