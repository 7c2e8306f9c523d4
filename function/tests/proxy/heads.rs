//! A head may have many headers: what an answer says arrives, and what is too much is said.

use std::{fmt::Write as _, time::Duration};

use testing::{
    answer::{Answer, limited, ok},
    client::Call,
    world::World,
};

/// An answer with so many headers more than it has.
fn wordy(answer: Answer, headers: usize) -> Answer {
    (0..headers)
        .fold(answer, |answer, index| answer.header(&format!("x-many-{index}"), &index.to_string()))
}

#[tokio::test]
async fn an_answer_with_many_headers_arrives_whole_whatever_was_asked() {
    let world = World::start();
    let counting = "/v1/messages/count_tokens";
    let other = || Call::new("GET", "/api/hello");
    for headers in [80, 99, 101, 150, 230] {
        world.anthropic.next([wordy(ok(), headers), wordy(ok(), headers)]);
        world.anthropic.next_on(counting, [wordy(ok(), headers)]);
        world.anthropic.next_on("/api/hello", [wordy(ok(), headers), wordy(ok(), headers)]);
        let calls = [
            (Call::message(), "anthropic heard: hello"),
            (Call::message().whole(), "anthropic heard: hello"),
            (Call::count(), "input_tokens"),
            (other(), "hello"),
            (Call::new("HEAD", "/api/hello"), ""),
        ];
        for (call, said) in calls {
            let reply = world.call(call).await;
            let body = if said.contains("heard") { reply.text() } else { text(&reply.body) };
            assert_eq!((reply.status, reply.broken.as_ref()), (200, None), "{headers}");
            assert!(body.contains(said), "{headers}: {body}");
            let came = reply.headers_like("x-many-").len();
            assert_eq!(came, headers, "{said}");
        }
    }
    let asked = world.anthropic.requests().len();
    assert_eq!(asked, 5 * 5, "nothing is asked twice");
}

#[tokio::test]
async fn a_limit_with_many_headers_is_a_limit() {
    let world = World::start();
    world.anthropic.next([wordy(limited(120), 150)]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.upstream(), reply.reason()), ("bedrock", "rate_limited"));
    assert_eq!(world.anthropic.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_with_too_many_headers_is_said_to_be_one() {
    let huge = ok().header("x-huge", &"x".repeat(3_000_000));
    for answer in [wordy(ok(), 300), wordy(ok(), 2000), huge] {
        for call in [Call::message(), Call::message().whole(), Call::new("GET", "/v1/messages")] {
            let world = World::start();
            world.anthropic.always(answer.clone());
            let reply = world.call(call).await;
            assert_eq!((reply.status, reply.error().as_str()), (502, "api_error"));
            let said = reply.json()["error"]["message"].to_string();
            assert!(said.contains("more than 256 headers, or larger ones"), "{said}");
            assert_eq!(world.anthropic.requests().len(), 1, "nothing is asked twice");
        }
    }
}

#[tokio::test]
async fn a_request_may_have_a_hundred_headers_and_one_more_is_refused() {
    let world = World::start();
    let head = |headers: usize| {
        let mut head = "GET /api/hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\n".to_owned();
        for index in 2..headers {
            write!(head, "x-many-{index}: {index}\r\n").expect("a text takes all");
        }
        head + "\r\n"
    };
    let answer = |headers| world.raw(head(headers).as_bytes(), Duration::from_secs(20));
    assert!(answer(100).starts_with("HTTP/1.1 200"), "{}", answer(100));
    assert!(world.anthropic.requests()[0].has("x-many-99"));
    for headers in [101, 200, 1000] {
        let refused = answer(headers);
        assert!(refused.starts_with("HTTP/1.1 431 Request Header Fields Too Large"), "{refused}");
    }
    assert_eq!(world.call(Call::message()).await.status, 200);
}

fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}
