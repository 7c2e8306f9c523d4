//! More than fits: who gets a place, who is told to come back, and that nobody holds up the others.

use std::{net::TcpStream, time::Duration};

use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use serde_json::json;
use testing::{
    answer::{Gate, hang, limited, ok},
    client::{ALICE, BOB, Call, Reply},
    fake::UNREAD,
    world::{Plan, World},
};
use tokio::time::{Instant, sleep, timeout};

const MIB: usize = 1024 * 1024;
/// So many files make 40 places and 80 connections.
const FEW_FILES: usize = 224;
/// Long enough for a busy machine, and shorter than what is held up here.
const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn one_user_takes_half_of_the_places_and_the_others_are_served() {
    let world = Plan::default().files(FEW_FILES).start();
    let gate = Gate::shut();
    world.anthropic.always(ok().hold_after(2, &gate));
    let crowd = || join_all((0..30).map(|_| world.call(Call::message().by(ALICE))));
    let others = async {
        come(|| world.anthropic.messages().len() >= 20).await;
        // Answers that have begun hold their places.
        let late = world.call(Call::message().by(ALICE)).await;
        world.anthropic.always(ok());
        let others = join_all((0..10).map(|_| world.call(Call::message().by(BOB)))).await;
        gate.open();
        (late, others)
    };
    let (replies, (late, others)) = tokio::join!(crowd(), others);
    assert_sent_away(&late);
    let (served, shed): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!((served.len(), shed.len()), (20, 10));
    shed.into_iter().for_each(assert_sent_away);
    assert!(served.iter().all(|reply| reply.text() == "anthropic heard: hello"));
    assert!(others.iter().all(|reply| reply.status == 200), "there is room for others");
    assert!(crowd().await.iter().filter(|reply| reply.status == 200).count() >= 20);
}

#[tokio::test]
async fn more_connections_than_fit_are_told_to_come_back_and_make_room_by_their_end() {
    let world = Plan::default().files(FEW_FILES).start();
    let connect = || TcpStream::connect(world.address()).expect("the proxy listens");
    let idle: Vec<_> = (0..80).map(|_| connect()).collect();
    sleep(Duration::from_millis(300)).await;
    let reply = world.call(Call::message()).await;
    assert_sent_away(&reply);
    let mute = connect();
    drop(idle);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(world.call(Call::message()).await.status, 200);
    drop(mute);
    assert!(!world.log().contains("panicked"), "{}", world.log());
}

#[tokio::test]
async fn large_bodies_take_a_bounded_memory_and_leave_room_for_others() {
    let world = World::with("LOG_LEVEL", "info").start();
    world.anthropic.always(hang());
    // A message is held until it is answered: Bedrock may have to be asked as well.
    let large = "x".repeat(31 * MIB + MIB / 2);
    let large = Call::message().by(ALICE).says(&large);
    // Half of 256 MiB is four bodies; two that grow at one moment may both be turned away.
    let mut uploads: FuturesUnordered<_> = (0..8).map(|_| world.call(large.clone())).collect();
    let mut shed: Vec<_> = uploads.by_ref().take(4).collect().await;
    come(|| world.anthropic.messages().len() >= 3).await;
    let small = Call::new("POST", "/v1/files").by(BOB).body(vec![b'x'; 2 * MIB]);
    let (other, resident) = (world.call(small).await.status, world.memory().0);
    shed.extend(timeout(Duration::from_secs(1), uploads.next()).await.ok().flatten());
    assert!(timeout(Duration::from_secs(1), uploads.next()).await.is_err(), "three have a place");
    shed.iter().for_each(assert_sent_away);
    assert_eq!(other, 200);
    assert!(resident < 300 * 1024, "{resident} KiB for 128 MiB of bodies");
}

#[tokio::test]
async fn clients_that_do_not_read_hold_up_nobody_on_the_way_from_bedrock() {
    let plan = Plan::default().tls_bedrock("h2,http/1.1").with("LOG_LEVEL", "warn");
    let world = plan.start();
    world.anthropic.next([limited(600)]);
    world.call(Call::message()).await;
    // Each is far more than a socket's buffers and a window hold.
    let long = format!("{} ", "x".repeat(60 * 1024)).repeat(200);
    let mut stalled = Vec::new();
    for _ in 0..5 {
        stalled.push(Call::message().says(&long).open(world.address()).await);
    }
    sleep(Duration::from_secs(1)).await;
    for _ in 0..3 {
        let reply = timeout(SOON, world.call(Call::message())).await.expect("it is held up");
        assert_eq!((reply.text().as_str(), reply.reason()), ("bedrock heard: hello", "cooldown"));
    }
    assert!(world.memory().0 < 150 * 1024, "{} KiB are held for them", world.memory().0);
    drop(stalled);
}

#[tokio::test]
async fn three_hundred_streams_of_bedrock_are_under_way_at_once() {
    let plan = Plan::default().tls_bedrock("h2,http/1.1").with("LOG_LEVEL", "warn");
    let world = plan.start();
    world.anthropic.next([limited(600)]);
    world.call(Call::message()).await;
    let gate = Gate::shut();
    world.bedrock.always(ok().hold_after(4, &gate));
    // Nobody waits for another one's end: before all have come, none ends. They come in turns, since
    // a machine that makes 300 connections at a time is busy with that for longer than one may take.
    let turns = (0..300).map(|n| {
        let world = &world;
        async move {
            come(|| world.bedrock.requests().len() > n / 30 * 30).await;
            world.call(Call::message().says(&n.to_string())).await
        }
    });
    let opening = async {
        come(|| world.bedrock.requests().len() == 301).await;
        gate.open();
    };
    let (replies, ()) = tokio::join!(join_all(turns), opening);
    for (n, reply) in replies.iter().enumerate() {
        assert_eq!(reply.text(), format!("bedrock heard: {n}"));
    }
}

#[tokio::test]
async fn a_large_upload_that_the_upstream_does_not_read_holds_up_no_small_one() {
    let world = Plan::default().tls("h2,http/1.1").with("LOG_LEVEL", "warn").start();
    world.call(Call::message()).await;
    let image = "QUJD".repeat(MIB);
    let content = json!([
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}},
        {"type": "text", "text": "what is this?"},
    ]);
    let upload = Call::message().with("messages", json!([{"role": "user", "content": content}]));
    let gate = Gate::shut();
    world.anthropic.unread(&gate);
    let upload = upload.header(UNREAD, "1");
    let uploads = join_all((0..3).map(|_| world.call(upload.clone())));
    let small = async {
        sleep(Duration::from_secs(2)).await;
        let words = "small ".repeat(20_000);
        let small = world.call(Call::message().by(BOB).says(&words)).await;
        gate.open();
        (small, words)
    };
    let (uploads, (small, words)) = tokio::join!(uploads, small);
    assert_eq!(small.text(), format!("anthropic heard: {words}"));
    assert!(uploads.iter().all(|reply| reply.text() == "anthropic heard: what is this?"));
}

/// Waits until what is awaited has come.
async fn come(has_come: impl Fn() -> bool) {
    let begun = Instant::now();
    while !has_come() {
        assert!(begun.elapsed() < SOON * 3, "it never comes");
        sleep(Duration::from_millis(50)).await;
    }
}

#[track_caller]
fn assert_sent_away(reply: &Reply) {
    assert_eq!((reply.status, reply.error().as_str()), (503, "api_error"));
    assert_eq!((reply.header("retry-after"), reply.header("x-should-retry")), ("1", ""));
}
