//! How many connections are made to an upstream, and what is never written to one.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use function::upstream::anthropic::{Anthropic, Timeouts};
use futures_util::future::join_all;
use http::{HeaderMap, Method, uri::PathAndQuery};
use http_body_util::BodyExt;
use tokio::time::sleep;

use testing::{
    answer::{limited, ok, overloaded, refused},
    anthropic::FakeAnthropic,
    client::{ALICE, BOB, Call},
    world::{Plan, World},
};

const TLS: &str = "h2,http/1.1";

#[tokio::test]
async fn requests_one_after_the_other_travel_on_one_connection() {
    let world = Plan::default().tls(TLS).start();
    world.anthropic.next_on("/v1/nothing", [refused(404, "not_found_error", "no")]);
    for call in [
        Call::message(),
        Call::message().whole(),
        Call::count(),
        Call::new("GET", "/v1/models"),
        Call::new("HEAD", "/v1/models"),
        Call::new("GET", "/v1/nothing"),
        Call::new("POST", "/v1/files").body(vec![b'x'; 3 << 20]),
        Call::new("DELETE", "/v1/files/file_1"),
        Call::message().says("the last"),
    ] {
        let reply = world.call(call).await;
        assert_eq!(reply.broken, None);
    }
    for refusal in [
        overloaded(),
        refused(401, "authentication_error", "invalid x-api-key"),
        refused(400, "invalid_request_error", "messages: too many"),
        refused(500, "api_error", "Internal server error"),
        refused(413, "request_too_large", "").body(""),
    ] {
        world.anthropic.next([refusal]);
        world.call(Call::message().by(BOB)).await;
    }
    assert_eq!(world.anthropic.connections(), 1, "of {}", world.anthropic.requests().len());
}

/// What counts is the end of the last answer: how long it took is not age.
#[tokio::test]
async fn a_connection_is_as_young_as_the_end_of_its_last_answer() {
    let fake = FakeAnthropic::start();
    let kept_for = Duration::from_millis(250);
    fake.always(ok().pause_after(3, kept_for * 3 / 2));
    let anthropic = with_timeouts(&fake, Timeouts { kept_for, ..Timeouts::default() });
    for _ in 0..20 {
        assert!(ask(&anthropic).await.ends_with("data: {\"type\":\"message_stop\"}\n\n"));
        sleep(kept_for / 5).await;
    }
    assert_eq!(fake.connections(), 1, "each answer took longer than a connection is kept");
    sleep(kept_for * 2).await;
    ask(&anthropic).await;
    assert_eq!(fake.connections(), 2, "an idle one grows old");
}

#[tokio::test]
async fn a_crowd_opens_a_connection_each_at_most_and_the_next_crowd_reuses_them() {
    for (crowd, protocols) in [(40, TLS), (100, "http/1.1")] {
        let world = Plan::default().tls(protocols).with("LOG_LEVEL", "warn").start();
        world.anthropic.always(ok().pause_after(3, Duration::from_millis(1500)));
        for _ in 0..3 {
            let calls = (0..crowd).map(|_| world.call(Call::message()));
            assert!(join_all(calls).await.iter().all(|reply| reply.status == 200));
            let made = world.anthropic.connections();
            assert!(made <= crowd, "{made} connections for {crowd} at a time");
        }
    }
}

#[tokio::test]
async fn the_calls_that_prove_a_credential_leave_their_connection_usable() {
    let world = Plan::default().tls(TLS).start();
    world.anthropic.always(overloaded());
    for credential in [ALICE, BOB, "sk-ant-api03-test-carol"] {
        let reply = world.call(Call::message().by(credential)).await;
        assert_eq!(reply.reason(), "overloaded");
    }
    assert_eq!(world.anthropic.on("/v1/models").len(), 3);
    assert_eq!(world.anthropic.connections(), 1);
}

#[tokio::test]
async fn streams_of_bedrock_travel_on_one_connection_although_their_end_comes_late() {
    let world = Plan::default().tls_bedrock(TLS).start();
    world.anthropic.always(limited(120));
    world.bedrock.always(ok().end_after(Duration::from_millis(5)));
    for _ in 0..5 {
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.text().as_str(), reply.broken), ("bedrock heard: hello", None));
    }
    assert_eq!(world.bedrock.connections(), 1);
    // One that does not end is not waited for.
    world.bedrock.always(ok().end_after(Duration::from_secs(60)));
    let reply = world.call(Call::message()).await;
    assert!(reply.took < Duration::from_secs(10), "{:?}", reply.took);
}

#[tokio::test]
async fn a_connection_is_kept_as_the_server_says() {
    for (name, value, made) in [
        ("x-nothing", "said", 1),
        ("keep-alive", "timeout=30", 1),
        ("keep-alive", "timeout=1", 3),
        ("keep-alive", "timeout=0", 3),
        ("keep-alive", "timeout=30, max=0", 3),
        ("connection", "close", 3),
    ] {
        let world = World::start();
        world.anthropic.always(ok().header(name, value));
        for _ in 0..3 {
            assert_eq!(world.call(Call::message()).await.text(), "anthropic heard: hello");
        }
        assert_eq!(world.anthropic.connections(), made, "{name}: {value}");
    }
}

#[tokio::test]
async fn a_connection_that_the_upstream_has_closed_is_never_written_to() {
    let says_bye = |socket: &mut TcpStream| {
        let bye = "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        drop(socket.write_all(bye.as_bytes()));
    };
    type Close<'a> = &'a (dyn Fn(&mut TcpStream) + Sync);
    let ways: [(&str, Close<'_>); 3] = [
        ("half", &|socket| drop(socket.shutdown(Shutdown::Write))),
        ("with a word", &says_bye),
        ("with a word and an end", &|socket| {
            says_bye(socket);
            drop(socket.shutdown(Shutdown::Write));
        }),
    ];
    for (way, close) in ways {
        let late = AtomicUsize::new(0);
        thread::scope(|scope| {
            let (late, upstream) = (&late, Upstream::open());
            let served = upstream.serve(scope, move |mut socket, _| {
                serve_one(&mut socket);
                close(&mut socket);
                let mut rest = [0; 1024];
                late.fetch_add(socket.read(&mut rest).unwrap_or(0), Ordering::Relaxed);
            });
            for method in ["POST", "GET", "POST"] {
                let reply = upstream.world.raw(&request(method), Duration::from_secs(5));
                assert!(reply.starts_with("HTTP/1.1 200"), "{way}: {reply}");
                thread::sleep(Duration::from_millis(100));
            }
            assert_eq!(upstream.end(served), 3, "{way}: a connection for each");
        });
        assert_eq!(late.load(Ordering::Relaxed), 0, "{way}");
    }
}

/// The server closes just as the next request arrives there: what only reads is asked once more,
/// what may have been done is not.
#[tokio::test]
async fn a_request_that_only_reads_is_asked_once_more_and_no_other_is() {
    for (method, status) in
        [("GET", "200"), ("HEAD", "200"), ("OPTIONS", "200"), ("POST", "503"), ("DELETE", "503")]
    {
        let heard = Mutex::new(Vec::new());
        thread::scope(|scope| {
            let (heard, upstream) = (&heard, Upstream::open());
            let served = upstream.serve(scope, move |mut socket, _| {
                serve_one(&mut socket);
                // The second one is read, and nothing is said.
                let head = read_head(&mut socket);
                heard.lock().unwrap_or_else(PoisonError::into_inner).push(head);
            });
            for expected in ["200", status] {
                let reply = upstream.world.raw(&request(method), Duration::from_secs(5));
                assert!(reply.starts_with(&format!("HTTP/1.1 {expected}")), "{method}: {reply}");
            }
            upstream.end(served);
        });
        let heard = heard.into_inner().unwrap_or_else(PoisonError::into_inner);
        let unanswered = heard.iter().filter(|head| head.starts_with(method)).count();
        assert_eq!(unanswered, 1, "{method}: {heard:?}");
    }
}

#[tokio::test]
async fn a_response_with_both_lengths_is_passed_on_whole() {
    thread::scope(|scope| {
        let upstream = Upstream::open();
        let served = upstream.serve(scope, |mut socket, _| {
            read_head(&mut socket);
            let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\
                          transfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n";
            drop(socket.write_all(answer.as_bytes()));
        });
        for method in ["GET", "POST"] {
            let reply = upstream.world.raw(&request(method), Duration::from_secs(5));
            assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
            assert!(reply.contains("0123456789"), "{reply}");
            assert!(!reply.to_lowercase().contains("content-length"), "{reply}");
        }
        upstream.end(served);
    });
}

#[tokio::test]
async fn an_interim_answer_is_no_answer() {
    for (interim, status) in [
        ("101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket", "502"),
        ("100 Continue", "200"),
        ("103 Early Hints\r\nlink: </style.css>", "200"),
    ] {
        for target in ["/v1/models", "/v1/messages", "/v1/messages/count_tokens"] {
            thread::scope(|scope| {
                let upstream = Upstream::open();
                let served = upstream.serve(scope, move |mut socket, _| {
                    read_head(&mut socket);
                    drop(socket.read(&mut [0; 1024]));
                    let (whole, end) =
                        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "\r\n\r\n");
                    drop(socket.write_all(format!("HTTP/1.1 {interim}{end}{whole}").as_bytes()));
                });
                let body = r#"{"model":"claude-sonnet-4-5","max_tokens":1,"messages":[]}"#;
                let asked = format!(
                    "POST {target} HTTP/1.1\r\nhost: proxy\r\nx-api-key: {ALICE}\r\n\
                     connection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                let reply = upstream.world.raw(asked.as_bytes(), Duration::from_secs(5));
                assert!(reply.starts_with(&format!("HTTP/1.1 {status}")), "{target}: {reply}");
                upstream.end(served);
            });
        }
    }
}

/// An upstream that is spoken to in bytes, and the proxy before it.
struct Upstream {
    listener: TcpListener,
    world: World,
}

impl Upstream {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let url = format!("http://{address}");
        let world = World::with("ANTHROPIC_UPSTREAM_URL", &url)
            .with("BEDROCK_FALLBACK_ENABLED", "false")
            .start();
        Self { listener, world }
    }

    /// Hands each connection, with its number, to `play`; returns how many there were.
    fn serve<'scope>(
        &self,
        scope: &'scope thread::Scope<'scope, '_>,
        play: impl Fn(TcpStream, usize) + Send + Sync + 'scope,
    ) -> thread::ScopedJoinHandle<'scope, usize> {
        let listener = self.listener.try_clone().expect("a socket can be shared");
        let play = Arc::new(play);
        scope.spawn(move || {
            for number in 0.. {
                let Ok((socket, _)) = listener.accept() else { return number };
                let mut first = [0; 3];
                drop(socket.set_read_timeout(Some(Duration::from_secs(3))));
                if matches!(socket.peek(&mut first), Ok(3)) && &first == b"END" {
                    return number;
                }
                let play = Arc::clone(&play);
                scope.spawn(move || play(socket, number));
            }
            0
        })
    }

    /// Ends `serve` and the proxy.
    fn end(self, served: thread::ScopedJoinHandle<'_, usize>) -> usize {
        drop(self);
        served.join().expect("the upstream does not panic")
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        let address = self.listener.local_addr().expect("a bound socket has an address");
        let mut last = TcpStream::connect(address).expect("it still listens");
        drop(last.write_all(b"END"));
    }
}

fn request(method: &str) -> Vec<u8> {
    format!(
        "{method} /v1/things HTTP/1.1\r\nhost: proxy\r\nx-api-key: {ALICE}\r\n\
         connection: close\r\ncontent-length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// Reads one request and answers it.
fn serve_one(socket: &mut TcpStream) {
    let head = read_head(socket);
    let body = if head.starts_with("HEAD") { "" } else { "ok" };
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{body}");
    drop(socket.write_all(answer.as_bytes()));
}

fn read_head(socket: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && matches!(socket.read(&mut byte), Ok(1)) {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

fn with_timeouts(fake: &FakeAnthropic, timeouts: Timeouts) -> Anthropic {
    Anthropic::with_timeouts(fake.url().parse().expect("it is a URL"), timeouts)
}

/// Reads one stream to its end.
async fn ask(anthropic: &Anthropic) -> String {
    let target = PathAndQuery::from_static("/v1/messages");
    let body = r#"{"model":"claude-sonnet-4-5","stream":true,"max_tokens":9,
                   "messages":[{"role":"user","content":"hello"}]}"#;
    let headers = HeaderMap::from_iter([(
        http::HeaderName::from_static("x-api-key"),
        http::HeaderValue::from_static(ALICE),
    )]);
    let answer = anthropic.send(Method::POST, &target, headers, Bytes::from(body)).await;
    let body = answer.expect("the fake answers").into_body();
    let read = body.collect().await.expect("it does not break").to_bytes();
    String::from_utf8_lossy(&read).into_owned()
}
