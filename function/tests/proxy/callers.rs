//! Who is asking, and for what: every form in which a client names its user gives the same result.

use std::time::Duration;

use testing::{answer::limited, client::Call, world::World};

const MESSAGES: &str = "/v1/messages?beta=true";

#[tokio::test]
async fn every_form_of_naming_the_user_reaches_the_same_endpoint() {
    let world = World::start();
    for (target, arrives) in [
        ("/u/alice/v1/messages?beta=true", MESSAGES),
        ("/u/alice%40example.com/v1/messages?beta=true", MESSAGES),
        ("/v1/messages?claude-code-user=alice&beta=true", MESSAGES),
        ("/v1/messages?beta=true&claude-code-user=alice", MESSAGES),
        ("/v1/messages?claude-code-user=alice", "/v1/messages"),
        ("/?claude-code-user=alice%2Fv1%2Fmessages%3Fbeta%3Dtrue", MESSAGES),
        ("/?claude-code-user=alice/v1/messages?beta=true", MESSAGES),
        ("/?claude-code-user=alice/v1/messages", "/v1/messages"),
        ("/?claude-code-user=alice%2Fv1%2Fmessages", "/v1/messages"),
        ("/?claude-code-user=a%40b.example%2Fv1%2Fmessages%3Fbeta%3Dtrue", MESSAGES),
        ("/?claude-code-user=alice&path=%2Fv1%2Fmessages%3Fbeta%3Dtrue", MESSAGES),
    ] {
        let reply = world.call(Call::message().at(target)).await;
        assert_eq!(reply.status, 200, "{target}");
        let arrived = world.anthropic.requests().pop().expect("it arrived");
        assert_eq!(arrived.target, arrives, "{target}");
        assert!(!arrived.has("x-claude-code-user"));
    }
    let hello = world.call(Call::new("HEAD", "/?claude-code-user=alice/api/hello")).await;
    assert_eq!(hello.status, 200);
    let arrived = world.anthropic.requests().pop().expect("it arrived");
    assert_eq!((arrived.method.as_str(), arrived.target.as_str()), ("HEAD", "/api/hello"));
}

#[tokio::test]
async fn a_mangled_call_falls_back_like_a_well_formed_one() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    let mangled = Call::message().at("/?claude-code-user=alice%2Fv1%2Fmessages%3Fbeta%3Dtrue");
    let reply = world.call(mangled).await;
    assert_eq!((reply.status, reply.reason()), (200, "rate_limited"));
    let reply = world.call(Call::message()).await;
    assert_eq!(reply.reason(), "cooldown", "the same credential, the same limit");
    let arrived = &world.bedrock.requests()[0];
    assert!(!arrived.target.contains("alice") && !arrived.body.is_empty());
    assert!(!String::from_utf8_lossy(&arrived.body).contains("claude-code-user"));
}

#[tokio::test]
async fn a_name_that_is_none_is_refused() {
    let world = World::start();
    let long = "a".repeat(65);
    for target in [
        "/u/a%20b/v1/messages",
        "/u/a%00b/v1/messages",
        "/v1/messages?claude-code-user=",
        "/v1/messages?claude-code-user=a%3Cb",
        &format!("/u/{long}/v1/messages"),
    ] {
        let reply = world.call(Call::message().at(target)).await;
        assert_eq!((reply.status, reply.error().as_str()), (400, "invalid_request_error"));
        assert_eq!(reply.header("x-should-retry"), "false", "{target}");
        assert!(reply.json()["request_id"].is_string());
    }
    let reply = world.call(Call::message().header("x-claude-code-user", "a b")).await;
    assert_eq!(reply.status, 400);
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_path_that_two_servers_might_read_differently_is_refused() {
    let world = World::start();
    for target in [
        "/v1//messages",
        "//v1/messages",
        "/v1/../v1/messages",
        "/v1/./messages",
        "/v1/%2e%2e/v1/messages",
        "/v1/%2E/messages",
        "/v1%2Fmessages",
        "/v1%2fmessages",
        "/u/alice/v1//messages",
        "/?claude-code-user=alice%2Fv1%2F..%2Fmessages",
    ] {
        let reply = world.call(Call::message().at(target)).await;
        assert_eq!(
            (reply.status, reply.error().as_str()),
            (400, "invalid_request_error"),
            "{target}"
        );
        assert_eq!(reply.header("x-should-retry"), "false", "{target}");
    }
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_target_with_an_authority_is_refused() {
    let world = World::start();
    let request = "GET http://elsewhere.example/v1/models HTTP/1.1\r\nhost: elsewhere.example\r\n\
                   connection: close\r\n\r\n";
    let answer = world.raw(request.as_bytes(), Duration::from_secs(5));
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(world.anthropic.requests().is_empty());
}
