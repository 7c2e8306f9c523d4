//! What does a client read that sends what no client should, while Bedrock answers for Anthropic?

use std::time::Duration;

use testing::{
    answer::{limited, refused},
    client::Call,
    world::World,
};
use tokio::time::Instant;

const MIB: usize = 1024 * 1024;

/// Bedrock judges what can be sent; what cannot is Anthropic's, which is limited.
const SERVED: (u16, &str) = (200, "bedrock");
const KEPT: (u16, &str) = (429, "anthropic");

#[tokio::test]
async fn every_hostile_body_gets_an_answer_soon_and_costs_little() {
    let world = World::with("LOG_LEVEL", "info").start();
    world.anthropic.always(limited(600));
    assert_eq!(world.call(Call::message()).await.upstream(), "bedrock");
    every_hostile_body(&world).await;
    if cfg!(target_os = "linux") {
        let (_, most) = world.memory();
        assert!(most < 128 * 1024, "{most} KiB");
    }
}

/// The mend goes through all of the body, past what the translation has left alone.
#[tokio::test]
async fn every_hostile_body_gets_an_answer_also_where_it_has_to_be_mended() {
    let world = World::with("LOG_LEVEL", "info").start();
    world.anthropic.always(limited(600));
    assert_eq!(world.call(Call::message()).await.upstream(), "bedrock");
    for sentence in [
        "messages.0.content.0.text.foo: Extra inputs are not permitted",
        "messages.0.content.0.tool_result.content.0.text.foo: Extra inputs are not permitted",
        "tools.0.custom.foo: Extra inputs are not permitted",
    ] {
        world.bedrock.always(refused(400, "ValidationException", sentence));
        let foo = r#"{"role":"user","content":[{"type":"text","text":"a","foo":1}]}"#;
        for (open, close) in [("[", "]"), (r#"{"content":["#, "]}"), (r#"{"a":"#, "}")] {
            for depth in [127, 10_000, 100_000] {
                let deep = nested(open, close, depth);
                for content in [
                    deep.clone(),
                    format!("[{deep}]"),
                    format!(r#"[{{"type":"tool_result","content":{deep}}}]"#),
                    format!(r#"[{{"type":"tool_use","input":{deep}}}]"#),
                ] {
                    let messages = format!(r#"[{foo},{{"role":"user","content":{content}}}]"#);
                    let reply = world.call(Call::message().body(body(&messages))).await;
                    assert_eq!((reply.status, reply.upstream()), KEPT, "{open} {depth}");
                }
            }
        }
    }
    assert_eq!(world.call(Call::message()).await.status, 429, "it lives");
}

async fn every_hostile_body(world: &World) {
    for (name, messages, expected) in [
        ("deep input", input(&nested("[", "]", 100_000)), KEPT),
        ("deep blocks", format!("[{}]", nested(r#"{"content":["#, "]}", 20_000)), KEPT),
        ("20 MiB of text", input(&format!("\"{}\"", "x".repeat(20 * MIB))), SERVED),
        ("a million brackets", input(&list("[]", MIB)), SERVED),
        ("20,000 system messages", list(r#"{"role":"system","content":"a"}"#, 20_000), SERVED),
        ("too many messages", list(r#"{"role":"user","content":"a"}"#, 100_001), KEPT),
        ("a key twice", r#"[{"role":"user","role":"system","content":"a"}]"#.to_owned(), KEPT),
        ("half a pair", r#"[{"role":"user","content":"\ud83d"}]"#.to_owned(), KEPT),
        ("a huge number", input("1e99999"), KEPT),
        ("no objects", "[1,2,3]".to_owned(), KEPT),
    ] {
        let begun = Instant::now();
        let reply = world.call(Call::message().body(body(&messages))).await;
        assert_eq!((reply.status, reply.upstream()), expected, "{name}: {}", reply.error());
        assert!(begun.elapsed() < Duration::from_secs(20), "{name}: {:?}", begun.elapsed());
    }
    let mut bytes = body(r#"[{"role":"user","content":"?"}]"#).into_bytes();
    let mark = bytes.iter().position(|byte| *byte == b'?').expect("it was just written");
    bytes[mark] = 0xff;
    let reply = world.call(Call::message().body(bytes)).await;
    assert_eq!((reply.status, reply.upstream()), KEPT, "what is no text goes nowhere else");
}

fn body(messages: &str) -> String {
    format!(r#"{{"model":"claude-sonnet-4-5","max_tokens":1,"stream":true,"messages":{messages}}}"#)
}

fn list(item: &str, count: usize) -> String {
    format!("[{}]", vec![item; count].join(","))
}

fn nested(open: &str, close: &str, depth: usize) -> String {
    open.repeat(depth) + "1" + &close.repeat(depth)
}

/// One turn with this as a tool's input, which is copied unread.
fn input(json: &str) -> String {
    format!(r#"[{{"role":"user","content":[{{"type":"tool_use","input":{json}}}]}}]"#)
}
