//! What does the proxy read of a Bedrock that never stops answering?

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
