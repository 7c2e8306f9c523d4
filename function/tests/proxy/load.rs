//! Many at once, and much at once: nothing is mixed up, and memory does not grow with use.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use testing::{
    answer::{limited, ok},
    client::{ALICE, BOB, Call, Reply},
    world::World,
};

const CALLERS: usize = 200;

#[tokio::test]
async fn two_hundred_streams_do_not_mix() {
    let world = World::with("LOG_LEVEL", "warn").start();
    world.anthropic.next([limited(600)]);
    world.call(Call::message().by(ALICE)).await;
    world.anthropic.always(ok().gap(Duration::from_millis(15)));
    world.bedrock.always(ok().gap(Duration::from_millis(15)));
    let mut memory = Vec::new();
    for round in 0..3 {
        for (index, reply) in wave(&world, round).await.iter().enumerate() {
            let upstream = if index % 2 == 0 { "bedrock" } else { "anthropic" };
            assert_eq!(reply.status, 200);
            assert_eq!(reply.text(), format!("{upstream} heard: {}", prompt(round, index)));
            assert_eq!(reply.broken, None);
        }
        memory.push(world.memory().0);
    }
    assert!(memory[2] < memory[0] + 10 * 1024, "resident KiB after each round: {memory:?}");
    assert!(world.memory().1 < 200 * 1024, "the most ever, KiB: {}", world.memory().1);
}

#[tokio::test]
async fn a_big_request_reaches_both_upstreams_whole() {
    let world = World::with("LOG_LEVEL", "warn").start();
    let image = "QUJD".repeat(5 * 1024 * 1024);
    let content = json!([
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}},
        {"type": "text", "text": "what is this?"},
    ]);
    let call = Call::message().with("messages", json!([{"role": "user", "content": content}]));
    world.anthropic.next([limited(120)]);
    let reply = world.call(call.clone()).await;
    assert_eq!(reply.text(), "bedrock heard: what is this?");
    assert!(world.anthropic.messages()[0].body.len() > image.len());
    let mut idle = Vec::new();
    for _ in 0..8 {
        assert_eq!(world.call(call.clone()).await.text(), "bedrock heard: what is this?");
        idle.push(world.memory().0);
    }
    let sent = world.bedrock.requests()[0].json();
    assert!(sent["messages"][0]["content"][0]["source"]["data"] == image.as_str());
    // Keeping one body of each call would be 160 MiB by now.
    assert!(idle[7] < 150 * 1024, "resident KiB after each: {idle:?}");
}

async fn wave(world: &World, round: usize) -> Vec<Reply> {
    join_all((0..CALLERS).map(|index| {
        let credential = if index % 2 == 0 { ALICE } else { BOB };
        world.call(Call::message().by(credential).says(&prompt(round, index)))
    }))
    .await
}

fn prompt(round: usize, index: usize) -> String {
    format!("caller {index} of round {round} asks for {}", "more ".repeat(index % 13))
}
