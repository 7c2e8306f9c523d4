//! More than fits: who gets a place, who is told to come back, and that nobody holds up the others.

use std::{net::TcpStream, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use testing::{
    answer::{hang, limited, ok},
    client::{ALICE, BOB, Call, Reply},
    fake::READ_AFTER,
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
    world.anthropic.always(ok().pause_after(2, Duration::from_secs(6)));
    let crowd = || join_all((0..30).map(|_| world.call(Call::message().by(ALICE))));
    let others = async {
        sleep(Duration::from_secs(2)).await;
        // Answers that have begun hold their places.
        let late = world.call(Call::message().by(ALICE)).await;
        let bob = || world.call(Call::message().by(BOB));
        (late, join_all((0..10).map(|_| bob())).await)
    };
    let (replies, (late, others)) = tokio::join!(crowd(), others);
    assert_sent_away(&late);
    let (served, shed): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!((served.len(), shed.len()), (20, 10));
    shed.into_iter().for_each(assert_sent_away);
    assert!(served.iter().all(|reply| reply.text() == "anthropic heard: hello"));
    assert!(others.iter().all(|reply| reply.status == 200), "there is room for others");
    world.anthropic.always(ok());
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
    let (large, address) = ("x".repeat(31 * MIB + MIB / 2), world.address());
    let large = Call::message().by(ALICE).says(&large);
    let upload = || {
        let call = large.clone();
        async move { timeout(Duration::from_secs(20), call.send(address)).await.ok() }
    };
    let other = async {
        sleep(Duration::from_secs(12)).await;
        let small = Call::new("POST", "/v1/files").by(BOB).body(vec![b'x'; 2 * MIB]);
        let reply = world.call(small).await;
        (reply.status, world.memory().0)
    };
    let (uploads, (other, resident)) = tokio::join!(join_all((0..8).map(|_| upload())), other);
    let shed: Vec<_> = uploads.iter().flatten().collect();
    // Half of 256 MiB is four bodies; two that grow at one moment may both be turned away.
    assert!((4..=5).contains(&shed.len()), "{}", shed.len());
    shed.into_iter().for_each(assert_sent_away);
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
    world.bedrock.always(ok().pause_after(4, SOON));
    let calls = join_all((0..300).map(|n| world.call(Call::message().says(&n.to_string()))));
    let count = async {
        let begun = Instant::now();
        while world.bedrock.requests().len() < 301 && begun.elapsed() < SOON {
            sleep(Duration::from_millis(200)).await;
        }
        world.bedrock.requests().len()
    };
    let (replies, begun) = tokio::join!(calls, count);
    assert_eq!(begun, 301, "nobody waits for another one's end");
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
    let upload = upload.header(READ_AFTER, "25000");
    let uploads = join_all((0..3).map(|_| world.call(upload.clone())));
    let small = async {
        sleep(Duration::from_secs(2)).await;
        let words = "small ".repeat(20_000);
        let call = world.call(Call::message().by(BOB).says(&words));
        (timeout(SOON, call).await, words)
    };
    let (uploads, (small, words)) = tokio::join!(uploads, small);
    let small = small.expect("it waits for the uploads of others");
    assert_eq!(small.text(), format!("anthropic heard: {words}"));
    assert!(uploads.iter().all(|reply| reply.text() == "anthropic heard: what is this?"));
}

#[track_caller]
fn assert_sent_away(reply: &Reply) {
    assert_eq!((reply.status, reply.error().as_str()), (503, "api_error"));
    assert_eq!((reply.header("retry-after"), reply.header("x-should-retry")), ("1", ""));
}
