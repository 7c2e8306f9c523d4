//! What has an end: bodies, waiting for a client that left, and the program itself.

use std::time::Duration;

use testing::{
    answer::{hang, limited, ok},
    client::Call,
    fake::Received,
    world::World,
};
use tokio::time::{Instant, sleep};

const MIB: usize = 1024 * 1024;
/// More than a busy machine takes, and less than what is waited for in vain here.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_body_over_32_mib_is_refused_on_every_path() {
    let world = World::with("LOG_LEVEL", "info").start();
    for path in ["/v1/messages", "/v1/files", "/u/alice/v1/messages/count_tokens"] {
        let size = 32 * MIB + 1;
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nhost: proxy\r\ncontent-length: {size}\r\nx-api-key: a\r\n\
             connection: close\r\n\r\n"
        )
        .into_bytes();
        request.resize(request.len() + size, b' ');
        let answer = world.raw(&request, Duration::from_secs(5));
        assert!(answer.starts_with("HTTP/1.1 413 "), "{path}: {answer}");
        assert!(answer.contains("request_too_large"), "{path}: {answer}");
        assert!(answer.to_lowercase().contains("x-should-retry: false"), "{path}: {answer}");
    }
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_body_of_unknown_length_is_bounded_as_well() {
    let world = World::with("LOG_LEVEL", "info").start();
    let mut request = b"POST /v1/files HTTP/1.1\r\nhost: proxy\r\ntransfer-encoding: chunked\r\n\
                        x-api-key: a\r\nconnection: close\r\n\r\n"
        .to_vec();
    for _ in 0..33 {
        request.extend(b"100000\r\n");
        request.resize(request.len() + MIB, b'x');
        request.extend(b"\r\n");
    }
    request.extend(b"0\r\n\r\n");
    let answer = world.raw(&request, Duration::from_secs(5));
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_body_of_32_mib_passes() {
    let world = World::with("LOG_LEVEL", "info").start();
    let body = vec![b'x'; 32 * MIB];
    let reply = world.call(Call::new("POST", "/v1/files").body(body.clone())).await;
    assert_eq!((reply.status, reply.body.len()), (200, body.len()));
    assert!(world.anthropic.requests()[0].body == body);
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call_to_anthropic() {
    let world = World::start();
    for (name, answer) in [("streaming", ok().gap(Duration::from_millis(500))), ("waiting", hang())]
    {
        world.anthropic.next([answer]);
        Call::message().leave_after(world.address(), Duration::from_millis(800)).await;
        let gone = || world.anthropic.messages().last().and_then(|asked| asked.abandoned);
        assert_soon(gone, name).await;
    }
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_call_to_bedrock() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    for (name, answer) in [("streaming", ok().gap(Duration::from_millis(300))), ("waiting", hang())]
    {
        world.bedrock.next([answer]);
        Call::message().leave_after(world.address(), Duration::from_millis(1200)).await;
        let gone = || world.bedrock.requests().last().and_then(|asked: &Received| asked.abandoned);
        assert_soon(gone, name).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_the_short_wait_costs_nothing() {
    let world = World::start();
    world.anthropic.next([limited(6)]);
    Call::message().leave_after(world.address(), Duration::from_secs(3)).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.anthropic.messages().len(), 1);
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn sigterm_lets_a_running_stream_end() {
    let mut world = World::start();
    world.anthropic.next([ok().gap(Duration::from_millis(200))]);
    let address = world.address();
    let call = Call::message().says("one two three four");
    let live = call.open(address).await;
    world.proxy().terminate();
    sleep(Duration::from_millis(300)).await;
    let refused = tokio::net::TcpStream::connect(address).await;
    let reply = live.finish().await;
    assert_eq!(
        (reply.text().as_str(), reply.broken),
        ("anthropic heard: one two three four", None)
    );
    let status = world.proxy().wait(SOON);
    assert!(status.success(), "{status}");
    assert!(refused.is_err(), "nothing new is taken");
}

#[tokio::test]
async fn without_work_sigterm_ends_at_once() {
    let mut world = World::start();
    world.call(Call::message()).await;
    world.proxy().terminate();
    assert!(world.proxy().wait(SOON).success());
}

#[tokio::test]
async fn an_idle_connection_does_not_delay_the_end() {
    let mut world = World::start();
    let idle = tokio::net::TcpStream::connect(world.address()).await.expect("the proxy listens");
    let served = Call::new("GET", "/healthz").open(world.address()).await;
    assert_eq!(served.status, 200);
    world.proxy().terminate();
    assert!(world.proxy().wait(SOON).success());
    drop((idle, served));
}

#[tokio::test]
async fn a_body_that_is_no_message_is_anthropics_to_refuse() {
    let world = World::start();
    let deep = format!(
        "{{\"model\":\"claude-sonnet-4-5\",\"max_tokens\":1,\"messages\":[],\"tools\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for body in ["", "null", "[]", "{\"model\":7}", "{\"model\":\"\"}", "\u{0}\u{ff}", &deep] {
        world.anthropic.next([limited(120)]);
        let reply = world.call(Call::message().body(body.to_owned())).await;
        let arrived = world.anthropic.messages().pop().expect("it arrived");
        assert!(arrived.body == body.as_bytes());
        assert_eq!(reply.status, 429, "{:?}", &body[..body.len().min(40)]);
    }
    assert!(world.bedrock.requests().is_empty());
}

async fn assert_soon(gone: impl Fn() -> Option<Instant>, name: &str) {
    let left = Instant::now();
    while gone().is_none() {
        assert!(left.elapsed() < SOON, "{name}: the upstream was never told");
        sleep(Duration::from_millis(20)).await;
    }
}
