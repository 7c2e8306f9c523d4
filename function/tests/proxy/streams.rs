//! Until the first content event has gone out another upstream may take over; after it the stream
//! ends properly, whatever happens.

use testing::{
    answer::{Answer, limited, ok, window},
    client::{ALICE, BOB, Call, Reply},
    world::World,
};

#[tokio::test]
async fn bedrock_failing_before_its_first_delta_leaves_the_original_answer() {
    let faults: [(&str, Answer); 6] = [
        ("exception at once", ok().exception_after(0, "internalServerException")),
        ("exception after message_start", ok().exception_after(1, "throttlingException")),
        (
            "exception after content_block_start",
            ok().exception_after(2, "modelStreamErrorException"),
        ),
        ("error event", ok().error_after(2, "overloaded_error")),
        ("cut", ok().cut_after(2)),
        ("end", ok().close_after(2)),
    ];
    for (name, fault) in faults {
        let world = World::start();
        world.anthropic.next([window("5h", 7200)]);
        world.bedrock.always(fault);
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.error().as_str()), (429, "rate_limit_error"), "{name}");
        let seconds: u32 = reply.header("retry-after").parse().expect("a number of seconds");
        assert!((1..=30).contains(&seconds), "{name}: {seconds}");
        let unified = reply.headers_like("anthropic-ratelimit-unified");
        assert_eq!(unified, [""; 0], "{name}: they would stop a subscriber");
    }
}

#[tokio::test]
async fn bedrock_failing_after_its_first_delta_ends_with_one_error_event() {
    let faults: [(&str, Answer); 6] = [
        ("exception", ok().exception_after(3, "internalServerException")),
        ("unknown exception", ok().exception_after(3, "brandNewException")),
        ("error event", ok().error_after(3, "overloaded_error")),
        ("cut", ok().cut_after(4)),
        ("cut within a frame", ok().torn_after(4)),
        ("end without message_stop", ok().close_after(4)),
    ];
    for (name, fault) in faults {
        let world = World::start();
        world.anthropic.next([limited(120)]);
        world.bedrock.next([fault]);
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.upstream()), (200, "bedrock"), "{name}");
        assert_one_error_at_the_end(&reply, name);
        assert_eq!(world.bedrock.requests().len(), 1, "{name}: nothing is asked twice");
        assert_eq!(world.anthropic.messages().len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_stream_that_ends_in_an_error_is_a_fault_in_its_line() {
    let failed = "anthropic's stream failed";
    let cases = [
        ("the client's own", "overloaded", ok().error_after(0, "invalid_request_error"), failed),
        ("nothing else", "rate_limit", ok().error_after(0, "overloaded_error"), failed),
        ("after a start", "rate_limit", ok().error_after(1, "api_error"), failed),
        ("after content", "overloaded", ok().error_after(4, "overloaded_error"), failed),
        ("nobody else may", "overloaded", ok().error_after(1, "api_error"), failed),
        ("cut", "overloaded", ok().cut_after(1), "anthropic's stream was cut"),
    ];
    for (name, fallback_on, answer, fault) in cases {
        let world = World::with("FALLBACK_ON", fallback_on).start();
        world.anthropic.next([answer]);
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.errors().len()), (200, 1), "{name}");
        let line = world.last_line();
        assert!(line.contains(&format!("answered by anthropic ({fault})")), "{name}: {line}");
        assert!(line.contains(&format!("fault=\"{fault}\"")), "{name}: {line}");
    }
    let world = World::start();
    world.anthropic.next([ok().error_after(0, "overloaded_error")]);
    assert_eq!(world.call(Call::message()).await.reason(), "overloaded");
    let line = world.last_line();
    assert!(!line.contains("fault="), "another answer has taken its place: {line}");
}

#[tokio::test]
async fn a_stream_whose_first_content_is_its_end_is_whole() {
    let world = World::start();
    world.anthropic.next([limited(120), ok().speechless()]);
    world.bedrock.next([ok().speechless()]);
    for (who, upstream) in [(ALICE, "bedrock"), (BOB, "anthropic")] {
        let reply = world.call(Call::message().by(who)).await;
        assert_eq!((reply.status, reply.upstream()), (200, upstream));
        let mut names = reply.names();
        names.retain(|name| name != "ping");
        assert_eq!(names, ["message_start", "message_delta", "message_stop"]);
        assert_eq!((reply.errors().len(), reply.broken), (0, None));
    }
    world.bedrock.next([ok().speechless().cut_after(2), ok().speechless().cut_after(1)]);
    let begun = world.call(Call::message()).await;
    assert_eq!(begun.upstream(), "bedrock");
    assert_one_error_at_the_end(&begun, "its end has begun");
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic", "nothing had begun");
}

#[tokio::test]
async fn an_anthropic_stream_that_breaks_ends_with_one_error_event() {
    let faults = [
        ("cut after content", ok().cut_after(5)),
        ("end after content", ok().close_after(5)),
        ("cut in the first block", ok().cut_after(2)),
        ("cut within an event", ok().torn_after(5)),
    ];
    for (name, fault) in faults {
        let world = World::start();
        world.anthropic.next([fault]);
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.upstream()), (200, "anthropic"), "{name}");
        assert_one_error_at_the_end(&reply, name);
        assert!(world.bedrock.requests().is_empty());
    }
}

#[tokio::test]
async fn an_answer_that_breaks_before_its_content_is_an_error_all_the_same() {
    let closed = [ok().close_after(0), ok().close_after(1)];
    let cut = [ok().cut_after(0), ok().cut_after(1), ok().torn_after(0), ok().torn_after(1)];
    for fault in closed.into_iter().chain(cut) {
        let world = World::start();
        world.anthropic.next([fault.clone()]);
        let reply = world.call(Call::message()).await;
        assert_eq!(reply.broken, None, "{fault:?}");
        if reply.status == 200 {
            assert_one_error_at_the_end(&reply, "broken early");
        } else {
            assert!(reply.status >= 500, "{fault:?}");
            assert_eq!(reply.json()["type"], "error");
        }
    }
}

#[tokio::test]
async fn no_boundary_between_pieces_matters() {
    let world = World::start();
    for size in [1, 2, 3, 7, 64, 1000] {
        let text = "일 이 삼 – für alle";
        world.anthropic.next([ok().crumbs(size)]);
        let reply = world.call(Call::message().says(text)).await;
        assert_eq!(reply.text(), format!("anthropic heard: {text}"));
        world.anthropic.next([ok().error_after(1, "overloaded_error").crumbs(size)]);
        world.bedrock.next([ok().crumbs(size)]);
        let reply = world.call(Call::message().says(text)).await;
        assert_eq!(
            (reply.text(), reply.reason()),
            (format!("bedrock heard: {text}"), "overloaded")
        );
    }
}

pub(crate) fn assert_one_error_at_the_end(reply: &Reply, name: &str) {
    assert_eq!(reply.broken, None, "{name}: the body ends well formed");
    assert_eq!(reply.errors().len(), 1, "{name}: {:?}", reply.names());
    let names = reply.names();
    assert_eq!(names.last().map(String::as_str), Some("error"), "{name}: {names:?}");
    assert!(!names.iter().any(|name| name == "message_stop"), "{name}: {names:?}");
    let error = &reply.errors()[0];
    assert_eq!(error["type"], "error", "{name}");
    assert!(error["error"]["type"].is_string() && error["error"]["message"].is_string(), "{name}");
}
