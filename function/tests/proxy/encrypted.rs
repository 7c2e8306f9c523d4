//! Anthropic behind TLS, as it really is: the same rules hold.

use std::time::Duration;

use futures_util::future::join_all;
use hyper::Version;
use testing::{
    answer::{limited, ok},
    client::{BOB, Call},
    world::Plan,
};

/// What the server takes first of what it is offered.
const PREFERRED: &str = "h2,http/1.1";

#[tokio::test]
async fn only_http_1_1_is_spoken_also_to_a_server_that_prefers_http_2() {
    for protocols in [PREFERRED, "http/1.1"] {
        let world = Plan::default().tls(protocols).start();
        let call = Call::message()
            .header("connection", "keep-alive, x-of-this-hop")
            .header("x-of-this-hop", "1")
            .header("te", "gzip")
            .header("x-unknown", "1");
        let reply = world.call(call).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "anthropic heard: hello"));
        let arrived = &world.anthropic.messages()[0];
        assert_eq!(
            (arrived.version, arrived.target.as_str()),
            (Version::HTTP_11, "/v1/messages?beta=true")
        );
        assert_eq!(arrived.header("x-unknown"), "1");
        for hop in ["x-of-this-hop", "keep-alive"] {
            assert!(!arrived.has(hop), "{hop}");
        }
        world.anthropic.next([limited(120)]);
        assert_eq!(world.call(Call::message()).await.reason(), "rate_limited");
    }
    let stubborn = Plan::default().tls("h2").start();
    assert_eq!(stubborn.call(Call::message()).await.status, 503);
    assert!(stubborn.anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_stream_over_tls_arrives_as_it_is_written_and_ends_properly() {
    let world = Plan::default().tls(PREFERRED).start();
    world.anthropic.next([ok().gap(Duration::from_millis(100)), ok().cut_after(5)]);
    let reply = world.call(Call::message()).await;
    let first = reply.pieces.first().expect("there was a body").0;
    assert!(reply.took - first > Duration::from_millis(400), "{:?}", reply.took - first);
    let cut = world.call(Call::message()).await;
    assert_eq!((cut.broken.as_ref(), cut.errors().len()), (None, 1), "{:?}", cut.names());
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_stream_over_tls() {
    let world = Plan::default().tls(PREFERRED).start();
    world.anthropic.next([ok().gap(Duration::from_millis(400))]);
    Call::message().leave_after(world.address(), Duration::from_millis(700)).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(world.anthropic.messages()[0].abandoned.is_some());
    assert_eq!(world.call(Call::message()).await.status, 200, "the others go on");
}

#[tokio::test]
async fn many_streams_over_tls_do_not_mix() {
    let world = Plan::default().tls(PREFERRED).with("LOG_LEVEL", "warn").start();
    let words = "one after the other ".repeat(20);
    let prompts: Vec<String> = (0..150).map(|index| format!("{index} {words}")).collect();
    let calls = prompts.iter().map(|prompt| world.call(Call::message().by(BOB).says(prompt)));
    for (reply, prompt) in join_all(calls).await.iter().zip(&prompts) {
        assert_eq!(reply.text(), format!("anthropic heard: {prompt}"));
        assert_eq!((reply.errors().len(), reply.broken.as_ref()), (0, None));
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_else() {
    let world = Plan::default().tls(PREFERRED).with("LOG_LEVEL", "warn").start();
    world.call(Call::message()).await;
    world.anthropic.next([ok().gap(Duration::from_millis(100)), ok().crumbs(50)]);
    let reader = Call::message().says("beside the other").open(world.address()).await;
    let long = "x".repeat(12 * 1024 * 1024);
    let stalled = Call::message().says(&long).open(world.address()).await;
    let reply = reader.finish().await;
    assert_eq!(reply.text(), "anthropic heard: beside the other");
    assert_eq!((reply.errors().len(), reply.broken.as_ref()), (0, None));
    assert!(world.memory().0 < 150 * 1024, "{} KiB are held for it", world.memory().0);
    drop(stalled);
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_refused() {
    let other = Plan::default().tls(PREFERRED).start();
    let trusted = other.setting("SSL_CERT_FILE");
    let world = Plan::default().tls(PREFERRED).with("SSL_CERT_FILE", trusted).start();
    let reply = world.call(Call::message()).await;
    assert!(reply.status >= 502, "{}", reply.status);
    assert_eq!(reply.json()["type"], "error");
    assert!(world.anthropic.requests().is_empty());
}
