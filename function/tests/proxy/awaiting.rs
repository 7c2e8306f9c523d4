//! An upstream is silent: the client still hears something in time, or nothing too early.

use std::{thread, time::Duration};

use testing::{
    answer::{limited, ok, refused, window},
    client::{Call, Reply},
    world::World,
};
use tokio::time::{Instant, timeout};

use crate::streams::assert_one_error_at_the_end;

/// Longer than anything is held back.
const LONG: Duration = Duration::from_secs(16);

/// One test, since each of these waits so long; they do it at the same time.
#[tokio::test]
async fn what_is_silent_for_fifteen_seconds_gets_its_head_and_pings() {
    // A start takes the thread, so nobody is on the way yet.
    let worlds: [World; 10] = std::array::from_fn(|_| World::start());
    let [slow, pause, anthropic, takeover, failure, head, whole, refusal, odd, mumbling] = &worlds;
    tokio::join!(
        a_slow_bedrock(slow),
        a_pause_of_bedrock(pause),
        a_slow_anthropic(anthropic),
        a_late_takeover(takeover),
        a_late_failure_of_both(failure),
        a_late_head(head),
        a_whole_answer_of_bedrock(whole),
        a_refusal_without_end(refusal),
        an_answer_that_is_no_stream(odd),
        a_bedrock_that_says_nothing_all_the_time(mumbling),
    );
}

async fn a_slow_bedrock(world: &World) {
    world.anthropic.next([window("5h", 7200)]);
    world.bedrock.next([ok().pause_after(0, LONG)]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "bedrock heard: hello"));
    assert_head_at_fifteen(&reply);
    assert_eq!((reply.upstream(), reply.names()[0].as_str()), ("bedrock", "ping"));
    assert_told_truly(world, "answered by bedrock: rate_limited", None);
}

async fn a_pause_of_bedrock(world: &World) {
    world.anthropic.next([limited(120)]);
    world.bedrock.next([ok().pause_after(4, LONG)]);
    let reply = world.call(Call::message()).await;
    assert!(reply.head_after < Duration::from_secs(5), "content came at once");
    assert_eq!(reply.text(), "bedrock heard: hello");
    assert!(reply.names().iter().any(|name| name == "ping"), "{:?}", reply.names());
}

/// What the client does not hear of is silence to it.
async fn a_bedrock_that_says_nothing_all_the_time(world: &World) {
    world.anthropic.next([limited(120)]);
    let gap = Duration::from_millis(400);
    world.bedrock.next([ok().mumbles_after(4, 45).gap(gap)]);
    let reply = world.call(Call::message()).await;
    assert!(reply.head_after < Duration::from_secs(8), "content came at once");
    assert_eq!(reply.text(), "bedrock heard: hello");
    assert!(reply.names().iter().any(|name| name == "ping"), "{:?}", reply.names());
}

async fn a_slow_anthropic(world: &World) {
    world.anthropic.next([ok().pause_after(1, LONG)]);
    let reply = world.call(Call::message()).await;
    assert_eq!(reply.text(), "anthropic heard: hello");
    assert_eq!(reply.upstream(), "anthropic");
    assert_head_at_fifteen(&reply);
}

async fn a_late_takeover(world: &World) {
    world.anthropic.next([ok().pause_after(1, LONG).error_after(1, "overloaded_error")]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "bedrock heard: hello"));
    assert_head_at_fifteen(&reply);
    assert_eq!(reply.upstream(), "anthropic", "it was the one asked at that moment");
    let names = reply.names();
    assert!(names.iter().any(|name| name == ":"), "a comment tells: {names:?}");
    assert_eq!(names.iter().filter(|name| *name == "message_start").count(), 1, "{names:?}");
    assert_told_truly(world, "answered by bedrock: overloaded", None);
}

async fn a_late_failure_of_both(world: &World) {
    world.anthropic.next([ok().pause_after(1, LONG).error_after(1, "overloaded_error")]);
    world.bedrock.always(ok().exception_after(0, "throttlingException"));
    let reply = world.call(Call::message()).await;
    assert_head_at_fifteen(&reply);
    assert_one_error_at_the_end(&reply, "nobody answers");
    let kind = reply.errors()[0]["error"]["type"].clone();
    assert!(kind == "overloaded_error" || kind == "rate_limit_error", "{kind}");
    assert_told_truly(world, "answered by anthropic", Some("anthropic's stream failed"));
}

/// Before Anthropic's head nothing goes out, in neither form.
async fn a_late_head(world: &World) {
    world.anthropic.always(ok().head_after(LONG));
    let calls = [Call::message(), Call::message().whole()].map(|call| world.call(call));
    for reply in futures_util::future::join_all(calls).await {
        assert_eq!((reply.status, reply.text().as_str()), (200, "anthropic heard: hello"));
        assert!(reply.head_after >= LONG, "{:?}", reply.head_after);
    }
}

async fn a_whole_answer_of_bedrock(world: &World) {
    world.anthropic.next([limited(120)]);
    world.bedrock.next([ok().head_after(LONG)]);
    let reply = world.call(Call::message().whole()).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "bedrock heard: hello"));
    assert!(reply.head_after >= LONG, "{:?}", reply.head_after);
}

/// A 429 whose body never comes: the request goes on without it.
async fn a_refusal_without_end(world: &World) {
    world.anthropic.next([limited(120).pause_after(0, Duration::from_secs(60))]);
    let reply = timeout(LONG, world.call(Call::message())).await;
    let status = reply.expect("nobody waits for ever").status;
    assert!([200, 429, 502, 504].contains(&status), "{status}");
}

/// What comes in the end is no stream of events, and must not go out as one.
async fn an_answer_that_is_no_stream(world: &World) {
    world.anthropic.next([limited(120), refused(200, "odd", "no stream")]);
    world.call(Call::message()).await;
    world.bedrock.next([ok().pause_after(0, LONG).exception_after(0, "accessDeniedException")]);
    let reply = world.call(Call::message()).await;
    assert_head_at_fifteen(&reply);
    assert_one_error_at_the_end(&reply, "no stream");
    assert_told_truly(world, "answered by anthropic", Some("nobody answered after the head"));
}

/// The line says what the client got: a head with 200 and a ping after fifteen seconds, and what
/// went wrong behind it.
#[track_caller]
fn assert_told_truly(world: &World, by: &str, fault: Option<&str>) {
    let line = line_that_says(world, by);
    assert!(line.contains(by) && line.contains("status=200"), "{line}");
    let first_byte = line.split("first_byte_ms=").nth(1).and_then(|rest| rest.split(' ').next());
    let first_byte: u64 = first_byte.and_then(|ms| ms.parse().ok()).expect("it is a number");
    assert!((14_000..15_900).contains(&first_byte), "{line}");
    match fault {
        Some(fault) => assert!(line.contains(&format!("fault=\"{fault}\"")), "{line}"),
        None => assert!(!line.contains("fault="), "{line}"),
    }
}

/// The last line, once it is the one that is meant: it is written when the answer has gone.
fn line_that_says(world: &World, by: &str) -> String {
    let begun = Instant::now();
    loop {
        let line = world.last_line();
        if line.contains(by) || begun.elapsed() > Duration::from_secs(5) {
            return line;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn assert_head_at_fifteen(reply: &Reply) {
    let seconds = reply.head_after.as_secs_f32();
    let names = reply.names();
    assert!((14.0..15.9).contains(&seconds), "the head came after {seconds} s: {names:?}");
    assert!(reply.names().iter().any(|name| name == "ping"), "{:?}", reply.names());
    assert_eq!(reply.headers_like("anthropic-ratelimit"), [""; 0]);
    assert_ne!(reply.header("request-id"), "");
    // Who answers in the end, and from where, is not known yet.
    assert_eq!(reply.headers_like("x-claude-proxy-"), ["x-claude-proxy-upstream"]);
}
