//! How an answer ends when something goes wrong.

use std::{io, time::Duration};

use aws_smithy_types::base64;
use bytes::Bytes;
use function::proxy::Body;
use futures_util::{StreamExt, stream};
use hyper::{Response, body::Frame};
use serde_json::Value;
use testing::{
    answer::{hang, limited, ok},
    client::Call,
    deployed::{Deployed, Looping, full},
    runtime::{Invocation, Rules},
};
use tokio::time::Instant;

#[tokio::test]
async fn a_panic_before_the_head_is_a_500_and_the_process_lives_on() {
    let looping = Looping::answering(|request| {
        assert_ne!(request.uri().path(), "/panic", "a planted panic");
        Response::new(full("well"))
    });
    let reply = Call::new("GET", "/panic").send(looping.lambda.url()).await;
    assert_eq!((reply.status, reply.error().as_str()), (500, "api_error"));
    let id = reply.json()["request_id"].clone();
    assert_eq!(id, reply.header("request-id"));
    assert!(!String::from_utf8_lossy(&reply.body).contains("planted"));
    assert!(looping.lambda.invocations()[0].trailers.is_empty());
    assert_eq!(Call::new("GET", "/").send(looping.lambda.url()).await.body, "well");
}

#[tokio::test]
async fn a_panic_in_a_stream_is_an_error_event_and_error_trailers() {
    let looping = Looping::answering(|_| events(["event: ping\ndata: {}\n\n"], Then::Panic));
    let reply = Call::new("GET", "/").send(looping.lambda.url()).await;
    assert!(reply.broken.is_some(), "the platform breaks the client's connection");
    assert_eq!(reply.names(), ["ping", "error"]);
    assert_eq!(reply.errors()[0]["error"]["type"], "api_error");
    let invocation = &looping.lambda.invocations()[0];
    assert!(invocation.whole, "the body of the response ends as HTTP wants it");
    let (kind, told) = trailers(invocation);
    assert_eq!(kind, "Runtime.Panic");
    assert_eq!((&told["errorType"], told["errorMessage"].is_string()), (&kind.into(), true));
    assert!(!told.to_string().contains("planted"));
    let again = Call::new("GET", "/").send(looping.lambda.url()).await;
    assert_eq!(again.names(), ["ping", "error"], "the process lives on");
}

#[tokio::test]
async fn a_panic_in_another_body_is_told_in_the_trailers_only() {
    let looping = Looping::answering(|_| {
        let mut answer = events(["half of {"], Then::Panic);
        answer.headers_mut().insert("content-type", "application/json".parse().unwrap());
        answer
    });
    let reply = Call::new("GET", "/").send(looping.lambda.url()).await;
    assert_eq!((&reply.body[..], reply.broken.is_some()), (&b"half of {"[..], true));
    assert_eq!(trailers(&looping.lambda.invocations()[0]).0, "Runtime.Panic");
}

#[tokio::test]
async fn an_event_that_is_torn_by_a_panic_is_ended_before_the_error() {
    let looping = Looping::answering(|_| events(["event: ping\ndata: {}"], Then::Panic));
    let reply = Call::new("GET", "/").send(looping.lambda.url()).await;
    assert_eq!(reply.names(), ["ping", "error"]);
}

#[tokio::test]
async fn a_stream_whose_upstream_breaks_is_an_error_event_and_a_clean_end() {
    let deployed = Deployed::start();
    for answer in [ok().cut_after(4), ok().torn_after(4), ok().close_after(4)] {
        deployed.anthropic.next([answer]);
        let reply = deployed.call(Call::message()).await;
        assert_eq!((reply.errors().len(), &reply.broken), (1, &None));
        assert_eq!(reply.names().last().map(String::as_str), Some("error"));
    }
    deployed.anthropic.next([limited(120)]);
    deployed.bedrock.next([ok().exception_after(6, "internalServerException")]);
    let reply = deployed.call(Call::message()).await;
    assert_eq!((reply.upstream(), reply.errors().len(), &reply.broken), ("bedrock", 1, &None));
    for invocation in deployed.lambda.invocations() {
        assert!(invocation.whole && invocation.trailers.is_empty());
    }
}

#[tokio::test]
async fn a_stream_that_passes_through_and_breaks_is_an_error_event_and_a_clean_end() {
    let looping = Looping::answering(|_| events(["event: ping\ndata: {}\n\n"], Then::Break));
    let reply = Call::new("GET", "/").send(looping.lambda.url()).await;
    assert_eq!((reply.names().join(" ").as_str(), &reply.broken), ("ping error", &None));
    assert!(looping.lambda.invocations()[0].trailers.is_empty());
}

#[tokio::test]
async fn another_body_that_breaks_does_not_look_whole() {
    let looping = Looping::answering(|_| {
        let mut answer = events(["half of {"], Then::Break);
        answer.headers_mut().remove("content-type");
        answer
    });
    let reply = Call::new("GET", "/").send(looping.lambda.url()).await;
    assert_eq!((&reply.body[..], reply.broken.is_some()), (&b"half of {"[..], true));
    assert_eq!(trailers(&looping.lambda.invocations()[0]).0, "Runtime.UpstreamBroke");
}

#[tokio::test]
async fn a_stream_ends_by_itself_before_the_deadline() {
    let mut deployed = Deployed::under(short(), &[]);
    deployed.anthropic.next([ok().pause_after(4, Duration::from_secs(60))]);
    let begun = Instant::now();
    let reply = deployed.call(Call::message()).await;
    assert!(begun.elapsed() < short().timeout, "{:?}", begun.elapsed());
    assert!(reply.took > short().timeout / 2, "not sooner than needed: {:?}", reply.took);
    assert_eq!((reply.status, &reply.broken, reply.errors().len()), (200, &None, 1));
    assert_eq!(reply.errors()[0]["error"]["type"], "timeout_error");
    let invocation = &deployed.lambda.invocations()[0];
    assert!(invocation.whole && invocation.trailers.is_empty());
    let asked = || deployed.anthropic.messages()[0].abandoned;
    assert_soon(|| asked().is_some(), "Anthropic is told that nobody listens").await;
    assert_eq!(deployed.call(Call::message()).await.text(), "anthropic heard: hello");
    deployed.told("lambda's deadline came").await;
    assert!(deployed.runs());
}

#[tokio::test]
async fn a_request_without_a_head_gets_a_504_before_the_deadline() {
    let mut deployed = Deployed::under(short(), &[]);
    deployed.anthropic.next([hang()]);
    let reply = deployed.call(Call::message().whole()).await;
    assert_eq!((reply.status, reply.error().as_str()), (504, "timeout_error"));
    assert!(reply.took < short().timeout, "{:?}", reply.took);
    assert_eq!(reply.json()["request_id"], reply.header("request-id"));
    assert_eq!(deployed.call(Call::message()).await.text(), "anthropic heard: hello");
    assert!(deployed.runs());
}

#[tokio::test]
async fn a_deadline_that_has_passed_already_is_none() {
    // As `cargo lambda watch` sends it.
    let rules = Rules { deadline_ms: Some(600_000), ..Rules::default() };
    let deployed = Deployed::under(rules, &[]);
    deployed.anthropic.next([ok().gap(Duration::from_millis(100))]);
    let reply = deployed.call(Call::message()).await;
    assert_eq!((reply.text().as_str(), reply.errors().len()), ("anthropic heard: hello", 0));
}

#[tokio::test]
async fn a_deadline_in_the_far_future_is_one() {
    for deadline in [i64::MAX, 253_402_207_200_000] {
        let rules = Rules { deadline_ms: Some(deadline), ..Rules::default() };
        let deployed = Deployed::under(rules, &[]);
        assert_eq!(deployed.call(Call::message()).await.text(), "anthropic heard: hello");
    }
}

/// Long enough to start in, short enough to wait for.
fn short() -> Rules {
    Rules { timeout: Duration::from_secs(4), ..Rules::default() }
}

#[derive(Clone, Copy, Debug)]
enum Then {
    Panic,
    Break,
}

/// A stream that says this and then comes to no good end.
fn events<const N: usize>(said: [&'static str; N], then: Then) -> Response<Body> {
    let said =
        stream::iter(said).map(|event| Ok(Frame::data(Bytes::from_static(event.as_bytes()))));
    let end = stream::once(async move {
        // What was said before gets its chance to leave.
        tokio::time::sleep(Duration::from_millis(20)).await;
        match then {
            Then::Panic => panic!("a planted panic"),
            Then::Break => Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
        }
    });
    let answer = Response::builder().header("content-type", "text/event-stream");
    answer.body(Body::made(said.chain(end))).unwrap()
}

/// What the trailers tell.
fn trailers(invocation: &Invocation) -> (String, Value) {
    let value = |name: &str| invocation.trailers[name].to_str().unwrap().to_owned();
    let body = base64::decode(value("lambda-runtime-function-error-body")).unwrap();
    (value("lambda-runtime-function-error-type"), serde_json::from_slice(&body).unwrap())
}

async fn assert_soon(is_so: impl Fn() -> bool, what: &str) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
