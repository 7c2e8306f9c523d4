//! A client may speak HTTP/1.1 or HTTP/2 to the local server, and has the same bounds in both.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use function::{serve::local::Limits, upstream::anthropic::Timeouts};
use futures_util::future::join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use testing::{
    answer::{Answer, ok},
    client::{ALICE, BOB, Call},
    world::World,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::waiting::{FOR_EVER, House, SOON};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[tokio::test]
async fn a_request_over_http_2_has_the_same_answer() {
    let world = World::start();
    let client = Client::connect(world.address(), 1 << 20).await;
    let health = client.send("GET", "/healthz", "").await;
    assert_eq!((health.status().as_u16(), text(health).await), (200, "ok\n".to_owned()));
    assert_eq!(client.send("GET", "/v1//models", "").await.status(), 400);

    let body = message("hello");
    let plain = world.call(Call::message()).await;
    let many =
        join_all((0..40).map(|_| client.send("POST", "/v1/messages?beta=true", &body))).await;
    for response in many {
        assert_eq!((response.status().as_u16(), response.version()), (200, http::Version::HTTP_2));
        assert_eq!(response.headers()["x-claude-proxy-upstream"], "anthropic");
        let said = text(response).await;
        assert!(said.contains("message_stop"), "{said}");
    }
    assert_eq!(plain.status, 200);
    let asked = world.anthropic.messages();
    assert_eq!(asked.len(), 41);
    assert!(asked[1..].iter().all(|request| request.target == "/v1/messages?beta=true"));
}

#[tokio::test]
async fn who_asks_nothing_is_not_kept() {
    let house = house(Duration::from_secs(1), FOR_EVER, 1024).await;
    let settings = [PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    for begun in [b"".as_slice(), b"P", &PREFACE[..23], PREFACE, &settings, b"GET / HT"] {
        let mut socket = TcpStream::connect(house.address).await.expect("the proxy listens");
        socket.write_all(begun).await.expect("it is read");
        let ended = timeout(SOON, async {
            while socket.read(&mut [0; 1024]).await.is_ok_and(|length| length > 0) {}
        });
        assert!(ended.await.is_ok(), "{:?} is kept", String::from_utf8_lossy(begun));
    }
    let mut client = Client::connect(house.address, 1 << 20).await;
    assert_eq!(client.send("GET", "/healthz", "").await.status(), 200);
    timeout(SOON, client.ended.join_next()).await.expect("it is told to go");
}

#[tokio::test]
async fn a_preface_in_pieces_is_one() {
    let house = house(FOR_EVER, FOR_EVER, 1024).await;
    let mut socket = TcpStream::connect(house.address).await.expect("the proxy listens");
    for piece in PREFACE.chunks(5) {
        socket.write_all(piece).await.expect("it is read");
        sleep(Duration::from_millis(30)).await;
    }
    let mut frame = [0; 9];
    timeout(SOON, socket.read_exact(&mut frame)).await.expect("soon").expect("settings");
    assert_eq!(frame[3], 4, "the server's settings come first");
}

#[tokio::test]
async fn a_head_over_32_kib_is_refused_in_http_2_too() {
    let world = World::start();
    let client = Client::connect(world.address(), 1 << 20).await;
    for (size, good) in [(30 << 10, true), (40 << 10, false)] {
        let request = client.request("GET", "/healthz", "");
        let (mut head, body) = request.into_parts();
        head.headers.insert("x-long", "y".repeat(size).parse().expect("a value"));
        let answer = client.send.clone().send_request(Request::from_parts(head, body)).await;
        let answered = answer.is_ok_and(|answer| answer.status() == 200);
        assert_eq!(answered, good, "{size}");
    }
}

#[tokio::test]
async fn a_client_of_http_2_that_takes_nothing_gives_its_place_back() {
    // So many files make four places.
    let house = house(FOR_EVER, Duration::from_secs(3), 80).await;
    let body = message(&"x".repeat(1 << 20));
    let mut stalled = Vec::new();
    for n in 0..4 {
        let client = Client::connect(house.address, 1 << 10).await;
        let answer = client.by(&format!("sk-ant-api03-test-{n}"), &body).await;
        assert_eq!(answer.status(), 200);
        stalled.push((client, answer));
    }
    assert_eq!(house.call(Call::message().by(BOB)).await.status, 503, "all places are taken");
    let begun = Instant::now();
    while house.call(Call::message().by(BOB)).await.status != 200 {
        assert!(begun.elapsed() < SOON, "the places never come back");
        sleep(Duration::from_millis(200)).await;
    }
    drop(stalled);
}

#[tokio::test]
async fn a_client_of_http_2_may_be_slow_as_long_as_it_takes_something() {
    let house = house(Duration::from_secs(1), Duration::from_secs(2), 1024).await;
    let said = "x".repeat(600 << 10);
    let client = Client::connect(house.address, 64 << 10).await;
    let mut answer = client.by(ALICE, &message(&said)).await.into_body();
    let (begun, mut taken) = (Instant::now(), 0);
    while let Some(frame) = answer.frame().await {
        taken += frame.expect("it goes on").data_ref().map_or(0, Bytes::len);
        sleep(Duration::from_millis(100)).await;
    }
    assert!(taken > said.len(), "{taken}");
    assert!(begun.elapsed() > Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_answer_over_http_2_is_finished_before_the_end() {
    let mut world = World::start();
    let slow: Answer = ok().gap(Duration::from_millis(150));
    world.anthropic.always(slow);
    let mut client = Client::connect(world.address(), 1 << 20).await;
    let answer = client.send("POST", "/v1/messages", &message("hello")).await;
    world.proxy().terminate();
    let said = text(answer).await;
    assert!(said.contains("message_stop"), "{said}");
    assert!(world.proxy().wait(SOON).success());
    timeout(SOON, client.ended.join_next()).await.expect("it is told to go");
}

async fn house(head: Duration, untaken: Duration, files: usize) -> House {
    House::within(&[], Timeouts::default(), Limits { files, head, untaken, tidy: untaken }).await
}

fn message(said: &str) -> String {
    let words = serde_json::json!({"model": "claude-opus-4-6", "max_tokens": 64, "stream": true,
        "messages": [{"role": "user", "content": said}]});
    words.to_string()
}

async fn text(response: Response<Incoming>) -> String {
    let body = timeout(SOON, response.into_body().collect()).await.expect("it comes to its end");
    String::from_utf8_lossy(&body.expect("it is whole").to_bytes()).into_owned()
}

/// One connection of HTTP/2.
struct Client {
    address: SocketAddr,
    send: http2::SendRequest<Full<Bytes>>,
    ended: JoinSet<()>,
}

impl Client {
    async fn connect(address: SocketAddr, window: u32) -> Self {
        let socket = TcpStream::connect(address).await.expect("the proxy listens");
        let mut client = http2::Builder::new(TokioExecutor::new());
        client.initial_stream_window_size(window).initial_connection_window_size(window);
        let opened = client.handshake(TokioIo::new(socket)).await;
        let (send, connection) = opened.expect("it speaks HTTP/2");
        let mut ended = JoinSet::new();
        ended.spawn(async move { drop(connection.await) });
        Self { address, send, ended }
    }

    fn request(&self, method: &str, target: &str, body: &str) -> Request<Full<Bytes>> {
        let request = Request::builder().method(method);
        let request = request.uri(format!("http://{}{target}", self.address));
        let request = request.header("x-api-key", ALICE).header("anthropic-version", "2023-06-01");
        request.body(Full::from(body.to_owned())).expect("it is a request")
    }

    async fn send(&self, method: &str, target: &str, body: &str) -> Response<Incoming> {
        let sent = self.send.clone().send_request(self.request(method, target, body));
        timeout(SOON, sent).await.expect("soon").expect("it is answered")
    }

    async fn by(&self, credential: &str, body: &str) -> Response<Incoming> {
        let mut request = self.request("POST", "/v1/messages", body);
        request.headers_mut().insert("x-api-key", credential.parse().expect("a value"));
        let sent = self.send.clone().send_request(request);
        timeout(SOON, sent).await.expect("soon").expect("it is answered")
    }
}
