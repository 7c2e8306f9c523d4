//! Other reasons to fall back: for one request only, and only those that the operator named.

use testing::{
    answer::{ok, overloaded, refused},
    client::Call,
    world::World,
};

#[tokio::test]
async fn an_overload_is_bedrocks_for_this_request_only() {
    let world = World::start();
    world.call(Call::message()).await;
    for call in [Call::message(), Call::message().whole()] {
        world.anthropic.next([overloaded()]);
        let reply = world.call(call).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "bedrock heard: hello"));
        assert_eq!((reply.reason(), reply.header("x-claude-proxy-until")), ("overloaded", ""));
        assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
    }
}

#[tokio::test]
async fn an_overload_before_the_first_content_of_a_stream_is_still_one() {
    let world = World::start();
    for events in [0, 1] {
        world.anthropic.next([ok().error_after(events, "overloaded_error")]);
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.text().as_str(), reply.reason()), ("bedrock heard: hello", "overloaded"));
        assert_eq!(reply.errors(), [] as [serde_json::Value; 0]);
        let starts = reply.names().iter().filter(|name| *name == "message_start").count();
        assert_eq!(starts, 1, "nothing of Anthropic's stream is left");
        assert_eq!(reply.headers_like("anthropic-ratelimit"), [""; 0]);
    }
}

#[tokio::test]
async fn an_overload_after_the_first_content_is_passed_on() {
    let world = World::start();
    for events in [2, 3, 5] {
        world.anthropic.next([ok().error_after(events, "overloaded_error")]);
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.upstream()), (200, "anthropic"));
        let errors = reply.errors();
        assert_eq!(errors.len(), 1, "after {events} events: {:?}", reply.names());
        assert_eq!(errors[0]["error"]["type"], "overloaded_error");
        assert_eq!(reply.broken, None);
    }
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn another_error_before_the_first_content_is_passed_on() {
    let world = World::start();
    world.anthropic.next([ok().error_after(1, "api_error")]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.errors().len(), reply.upstream()), (200, 1, "anthropic"));
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn an_overload_that_is_not_named_reaches_the_client() {
    let world = World::with("FALLBACK_ON", "rate_limit").start();
    world.anthropic.next([overloaded(), ok().error_after(1, "overloaded_error")]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.error().as_str()), (529, "overloaded_error"));
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.errors().len()), (200, 1));
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn a_server_error_falls_back_where_it_is_named() {
    let world = World::with("FALLBACK_ON", "rate_limit,server_error").start();
    world.call(Call::message()).await;
    for status in [500, 502, 503, 504] {
        world.anthropic.next([refused(status, "api_error", "Internal server error")]);
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.reason()), (200, "server_error"), "{status}");
    }
    world.anthropic.next([overloaded()]);
    assert_eq!(world.call(Call::message()).await.status, 529, "not named");
}

#[tokio::test]
async fn other_client_errors_never_fall_back() {
    let reasons = "rate_limit,overloaded,server_error,unreachable";
    let world = World::with("FALLBACK_ON", reasons).start();
    world.call(Call::message()).await;
    for status in [400, 401, 403, 404, 413, 422] {
        world.anthropic.next([refused(status, "some_error", "no")]);
        assert_eq!(world.call(Call::message()).await.status, status);
    }
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn an_anthropic_out_of_reach_falls_back_where_it_is_named() {
    let mut world = World::with("FALLBACK_ON", "unreachable").start();
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
    world.set("ANTHROPIC_UPSTREAM_URL", "http://127.0.0.1:1");
    world.restart();
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.reason()), (200, "unreachable"));
    let stranger = world.call(Call::message().by("sk-ant-api03-test-unseen")).await;
    assert!(stranger.status >= 500, "nobody vouches for this credential: {}", stranger.status);
    assert_eq!(world.bedrock.requests().len(), 1);
}

#[tokio::test]
async fn an_anthropic_out_of_reach_is_said_so() {
    let world = World::with("ANTHROPIC_UPSTREAM_URL", "http://127.0.0.1:1").start();
    for call in [Call::message(), Call::new("GET", "/v1/models")] {
        let reply = world.call(call).await;
        assert!(reply.status >= 502, "{}", reply.status);
        let envelope = reply.json();
        assert_eq!(envelope["type"], "error");
        assert!(envelope["error"]["message"].is_string() && envelope["request_id"].is_string());
    }
}
