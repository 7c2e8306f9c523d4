//! What does the proxy read of somebody who never stops: Bedrock, the table, and clients?

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use testing::{answer::limited, client::Call, world::World};
use tokio::time::Instant;

const MIB: usize = 1024 * 1024;
/// Whoever sends more than this has not been stopped.
const MOST_SENT: usize = 256 * MIB;

/// Bedrock as it is not: a head, and what follows again and again for as long as anybody reads.
struct Endless {
    address: std::net::SocketAddr,
    calls: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
}

impl Endless {
    /// Says `begin` once, then `again` without end, with a pause before each.
    fn start(head: &str, begin: &[u8], again: Vec<u8>, pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (calls, sent) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let (counted, written) = (Arc::clone(&calls), Arc::clone(&sent));
        let first = [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), begin].concat();
        // It ends with the test's process.
        thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::Relaxed);
                let (first, again) = (first.clone(), again.clone());
                let written = Arc::clone(&written);
                thread::spawn(move || answer(socket, &first, &again, pause, &written));
            }
        });
        Self { address, calls, sent }
    }

    fn world(&self) -> World {
        let world =
            World::with("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", &format!("http://{}", self.address))
                .with("LOG_LEVEL", "info")
                .start();
        world.anthropic.always(limited(600));
        world
    }
}

fn answer(mut socket: TcpStream, first: &[u8], again: &[u8], pause: Duration, sent: &AtomicUsize) {
    let mut asked = Vec::new();
    let mut piece = [0; 4096];
    while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
        match socket.read(&mut piece) {
            Ok(read) if read > 0 => asked.extend_from_slice(&piece[..read]),
            _ => return,
        }
    }
    if socket.write_all(first).is_err() {
        return;
    }
    while sent.load(Ordering::Relaxed) < MOST_SENT && socket.write_all(again).is_ok() {
        sent.fetch_add(again.len(), Ordering::Relaxed);
        thread::sleep(pause);
    }
}

#[tokio::test]
async fn of_a_bedrock_that_never_stops_only_so_much_is_read() {
    let json = "content-type: application/json";
    let events = "content-type: application/vnd.amazon.eventstream";
    let lost = "x-amzn-errortype: ValidationException";
    for (head, begin, again) in [
        (
            format!("400 Bad Request\r\n{json}\r\n{lost}"),
            &br#"{"message":""#[..],
            b"a".repeat(65536),
        ),
        (format!("429 Too Many Requests\r\n{json}"), &b""[..], b" ".repeat(65536)),
        (format!("500 Internal Server Error\r\n{json}"), &b"["[..], b"[".repeat(65536)),
        (format!("200 OK\r\n{json}"), &b"{"[..], b" ".repeat(65536)),
        (format!("200 OK\r\n{events}"), &b"\x7f\xff\xff\xff"[..], b"\0".repeat(65536)),
    ] {
        let bedrock = Endless::start(&head, begin, again, Duration::ZERO);
        let world = bedrock.world();
        for stream in [true, false] {
            let begun = Instant::now();
            let call = if stream { Call::message() } else { Call::message().whole() };
            let reply = world.call(call).await;
            assert_eq!((reply.status, reply.upstream()), (429, "anthropic"), "{head} {stream}");
            assert!(begun.elapsed() < Duration::from_secs(60), "{head}: {:?}", begun.elapsed());
        }
        assert!(bedrock.calls.load(Ordering::Relaxed) >= 2, "{head}");
        assert!(bedrock.sent.load(Ordering::Relaxed) < MOST_SENT, "{head}");
        if cfg!(target_os = "linux") {
            let (_, most) = world.memory();
            assert!(most < 128 * 1024, "{head}: {most} KiB");
        }
    }
}

#[tokio::test]
async fn a_refusal_of_bedrock_that_drips_is_known_by_its_status() {
    let head = "503 Service Unavailable\r\ncontent-type: application/json";
    let bedrock = Endless::start(head, b"{", b" ".to_vec(), Duration::from_millis(200));
    let world = bedrock.world();
    let begun = Instant::now();
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.upstream()), (429, "anthropic"));
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert!(world.log().contains("passes=true"), "{}", world.log());
}

#[tokio::test]
async fn a_table_that_never_stops_costs_nobody_an_answer() {
    for (again, pause) in [(b" ".repeat(65536), Duration::ZERO), (b" ".to_vec(), SECOND / 5)] {
        let head = "200 OK\r\ncontent-type: application/x-amz-json-1.0";
        let table = Endless::start(head, b"{", again, pause);
        let world = World::with("RATE_LIMIT_STORE", "dynamodb")
            .with("RATE_LIMIT_TABLE_NAME", "limits")
            .with("BUDGET_USER_MONTH_USD", "5")
            .with("AWS_ENDPOINT_URL_DYNAMODB", &format!("http://{}", table.address))
            .start();
        let begun = Instant::now();
        assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
        world.anthropic.next([limited(120)]);
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.reason()), (429, "budget_unavailable"));
        for path in ["/_proxy/me", "/_proxy/line"] {
            let status = world.call(Call::new("GET", path)).await.status;
            assert!([200, 404, 503].contains(&status), "{path}: {status}");
        }
        let hook = Call::new("POST", "/_proxy/notice").body(
            r#"{"session_id":"00000000-0000-4000-8000-000000000001","hook_event_name":"Stop"}"#,
        );
        assert_eq!(world.call(hook).await.status, 200);
        assert!(begun.elapsed() < SECOND * 45, "{:?}", begun.elapsed());
        if cfg!(target_os = "linux") {
            assert!(world.memory().1 < 160 * 1024, "{:?}", world.memory());
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// All that a client may ask for, each with a body that never ends.
const ASKED: [&str; 12] = [
    "POST /healthz",
    "POST /_proxy/notice",
    "GET /_proxy/me",
    "GET /_proxy/line",
    "GET /_proxy/",
    "GET /_proxy/usage",
    "POST /_proxy/drill",
    "POST /v1/messages",
    "POST /v1/messages/count_tokens",
    "POST /v1/messages/batches",
    "DELETE /v1/files/1",
    "POST //v1/messages",
];

#[test]
fn a_body_without_end_is_answered_on_every_path_and_kept_nowhere() {
    let nobodys = format!("nobody:{}", "0".repeat(64));
    let keyed = World::with("ACCESS_MODE", "key").with("PROXY_KEYS", &nobodys).start();
    let open = World::start();
    for world in [&open, &keyed] {
        thread::scope(|scope| {
            for asked in ASKED {
                scope.spawn(move || pour(world, asked));
            }
        });
        let log = world.log();
        assert!(!log.contains("panicked"), "{log}");
        assert!(world.anthropic.requests().is_empty(), "nothing of it went on");
        if cfg!(target_os = "linux") {
            // 12 bodies of 32 MiB at most, of which a client alone may have an eighth of the room.
            assert!(world.memory().1 < 420 * 1024, "{:?}", world.memory());
        }
        let health = world.raw(b"GET /healthz HTTP/1.0\r\n\r\n", SECOND * 20);
        assert!(health.starts_with("HTTP/1.0 200"), "{health}");
    }
}

/// Sends a body without end, until nobody reads it any more; there must have been an answer.
fn pour(world: &World, asked: &str) {
    let mut socket = TcpStream::connect(world.address()).expect("the proxy listens");
    let head = format!(
        "{asked} HTTP/1.1\r\nhost: x\r\nx-api-key: k\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).expect("the proxy reads");
    socket.set_read_timeout(Some(SECOND * 40)).expect("a time-out can be set");
    socket.set_write_timeout(Some(SECOND * 40)).expect("a time-out can be set");
    let mut reader = socket.try_clone().expect("a socket can be shared");
    let heard = thread::spawn(move || {
        let mut answer = Vec::new();
        drop(reader.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    });
    let chunk = [&b"10000\r\n"[..], &[b' '; 65536], b"\r\n"].concat();
    let (begun, mut sent) = (Instant::now(), 0);
    while sent < MOST_SENT && socket.write_all(&chunk).is_ok() {
        sent += chunk.len();
    }
    let heard = heard.join().expect("it does not panic");
    assert!(heard.starts_with("HTTP/1.1 "), "{asked}: {heard:?}");
    assert!(sent < MOST_SENT, "{asked}: all of it was read");
    assert!(begun.elapsed() < SECOND * 60, "{asked}: {:?}", begun.elapsed());
}
