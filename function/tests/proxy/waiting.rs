//! Nothing is waited for without a bound: not an upstream that has fallen silent, not a client that
//! sends or takes nothing, not a stranger.

use std::{
    io::{Read, Write},
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    thread,
    time::Duration,
};

use bytes::Bytes;
use function::{
    access::ProxyKey,
    clock,
    proxy::Proxy,
    room::{Capacity, Room, SMALL_BODY},
    serve::local::{self, Limits},
    settings::{Options, Settings},
    store::Store,
    upstream::{
        anthropic::{Anthropic, Timeouts},
        aws::Aws,
        bedrock::Bedrock,
    },
};
use futures_util::future::join_all;
use http_body::Frame;
use hyper::Request;
use testing::{
    answer::{hang, limited, ok},
    anthropic::FakeAnthropic,
    bedrock::FakeBedrock,
    client::{ALICE, BOB, Call},
    dynamo::FakeDynamo,
    moto, table,
    world::Plan,
};
use tokio::{
    net::TcpListener,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::streams::assert_one_error_at_the_end;

/// What an upstream waits that has fallen silent: longer than any test.
pub(crate) const FOR_EVER: Duration = Duration::from_secs(120);
/// A front door that waits as long.
const LIMITS: Limits = Limits { files: 1024, head: FOR_EVER, untaken: FOR_EVER, tidy: FOR_EVER };
/// Enough for a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
const CAROL: &str = "sk-ant-api03-test-carol";

#[tokio::test]
async fn a_stream_of_anthropic_without_content_has_failed() {
    let timeouts = Timeouts { first_content: Duration::from_millis(700), ..Timeouts::default() };
    for (fallback_on, reason) in [("rate_limit,overloaded,server_error", "server_error"), ("", "")]
    {
        let fallback_on = if reason.is_empty() { "overloaded" } else { fallback_on };
        let house = House::start(&[("FALLBACK_ON", fallback_on)], timeouts).await;
        house.anthropic.always(ok().pause_after(1, FOR_EVER));
        let begun = Instant::now();
        let reply = house.call(Call::message()).await;
        assert_eq!((reply.status, reply.reason()), (200, reason));
        if reason.is_empty() {
            assert_one_error_at_the_end(&reply, "nobody else is asked");
        } else {
            assert_eq!(reply.text(), "bedrock heard: hello");
        }
        assert!(reply.took < Duration::from_secs(10), "{:?}", reply.took);
        while house.anthropic.messages()[0].abandoned.is_none() {
            assert!(begun.elapsed() < SOON, "its connection is not given up");
            sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test]
async fn an_answer_that_falls_silent_is_not_waited_for() {
    let silence = Duration::from_millis(500);
    let house = House::start(&[], Timeouts { silence, ..Timeouts::default() }).await;
    house.anthropic.next([ok().pause_after(5, FOR_EVER)]);
    let cut = house.call(Call::message()).await;
    assert_one_error_at_the_end(&cut, "silent");
    assert!(cut.text().len() < "anthropic heard: hello".len());
    assert!((silence..SOON).contains(&cut.took), "{:?}", cut.took);

    house.anthropic.next([ok().pause_after(0, FOR_EVER)]);
    let whole = house.call(Call::message().whole()).await;
    assert!((whole.status, whole.broken.is_some()) == (200, true), "{:?}", whole.body);

    let words = "one two three four five six";
    house.anthropic.next([ok().gap(silence / 3)]);
    let slow = house.call(Call::message().says(words)).await;
    assert_eq!(slow.text(), format!("anthropic heard: {words}"));
    assert!(slow.took > silence * 2, "whoever says something is not silent");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_client_that_takes_nothing_gives_its_place_back() {
    // So many files make four requests.
    let limits = Limits { files: 80, head: FOR_EVER, untaken: Duration::from_secs(6), ..LIMITS };
    let house = House::within(&[], Timeouts::default(), limits).await;
    let long = "x".repeat(12 << 20);
    let mut stalled = Vec::new();
    for credential in [ALICE, BOB, CAROL, "sk-ant-api03-test-dave"] {
        stalled.push(Call::message().by(credential).says(&long).open(house.address).await);
    }
    let erin = || house.call(Call::message().by("sk-ant-api03-test-erin"));
    assert_eq!(erin().await.status, 503, "all requests are taken");
    let begun = Instant::now();
    while erin().await.status != 200 {
        assert!(begun.elapsed() < SOON, "the requests never come back");
        sleep(Duration::from_millis(200)).await;
    }
    drop(stalled);
}

/// While clients never stop coming, what has grown old is closed all the same.
#[tokio::test]
async fn a_crowd_at_the_door_keeps_nothing_old_open() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
    let url = format!("http://{}", listener.local_addr().expect("a bound socket has an address"));
    let upstream = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("the proxy connects");
        drop(socket.read(&mut [0; 4096]));
        drop(socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"));
        // Until the proxy closes it.
        while socket.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {}
    });
    let kept_for = Duration::from_millis(200);
    let limits = Limits { tidy: kept_for, ..LIMITS };
    let timeouts = Timeouts { kept_for, ..Timeouts::default() };
    let house = House::within(&[("ANTHROPIC_UPSTREAM_URL", &url)], timeouts, limits).await;
    let address = house.address;
    let open = Arc::new(AtomicUsize::new(1));
    let crowd: Vec<_> = (0..2)
        .map(|_| {
            let open = Arc::clone(&open);
            thread::spawn(move || {
                while open.load(Ordering::Relaxed) > 0 {
                    drop(std::net::TcpStream::connect(address));
                }
            })
        })
        .collect();
    let reply = house.call(Call::new("GET", "/v1/models")).await;
    let begun = Instant::now();
    while !upstream.is_finished() && begun.elapsed() < SOON {
        sleep(Duration::from_millis(20)).await;
    }
    let closed = upstream.is_finished();
    open.store(0, Ordering::Relaxed);
    crowd.into_iter().for_each(|thread| thread.join().expect("it only connects"));
    assert_eq!((reply.status, closed), (200, true));
}

#[tokio::test]
async fn being_busy_is_no_illness() {
    // So many files make 40 requests and 80 connections.
    let world = Plan::default().files(224).start();
    world.anthropic.always(hang());
    let address = world.address();
    let mut busy = JoinSet::new();
    for n in 0..40 {
        let call = Call::message().by(&format!("sk-ant-api03-test-{n}"));
        busy.spawn(async move { call.leave_after(address, FOR_EVER).await });
    }
    while world.anthropic.messages().len() < 40 {
        sleep(Duration::from_millis(50)).await;
    }
    let health = || Call::new("GET", "/healthz").without("x-api-key");
    let ask = |call: Call| async move { call.send(address).await.status };
    assert_eq!((ask(Call::message()).await, ask(health()).await), (503, 200), "no place is free");
    let connect = || std::net::TcpStream::connect(address).expect("the proxy listens");
    let idle: Vec<_> = (0..40).map(|_| connect()).collect();
    sleep(Duration::from_millis(300)).await;
    assert_eq!((ask(Call::message()).await, ask(health()).await), (503, 200), "nor a connection");
    drop(idle);
}

#[tokio::test]
async fn a_head_may_have_32_kib_whoever_sends_it() {
    let world = Plan::default()
        .with("ACCESS_MODE", "key")
        .with("PROXY_KEYS", &format!("alice:{}", "0".repeat(64)))
        .start();
    let head = |size: usize| {
        let begun = "GET /healthz HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\nx-long: ";
        format!("{begun}{}\r\n\r\n", "y".repeat(size - begun.len() - 4))
    };
    for (size, status) in [(31 << 10, "200"), (33 << 10, "431"), (120 << 10, "431")] {
        let answer = world.raw(head(size).as_bytes(), Duration::from_secs(5));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{size}: {answer}");
    }
    let before = world.memory().0;
    let unfinished = head(143 << 10);
    let unfinished = &unfinished.as_bytes()[..(143 << 10) - 2];
    let slow: Vec<_> = (0..200)
        .map(|_| {
            let mut socket =
                std::net::TcpStream::connect(world.address()).expect("the proxy listens");
            drop(socket.write_all(unfinished));
            socket
        })
        .collect();
    sleep(Duration::from_millis(500)).await;
    let taken = world.memory().1 - before;
    assert!(taken < 16 << 10, "{taken} KiB for {} heads without end", slow.len());
}

/// Until the table has said whose a key is, its body takes none of the room that others share.
#[tokio::test]
async fn a_body_behind_a_key_that_nobody_has_judged_takes_no_room() {
    let table = FakeDynamo::start();
    table.always("BatchGetItem", &ok().head_after(Duration::from_secs(2)));
    let anthropic = FakeAnthropic::start();
    let vars = [
        ("ANTHROPIC_UPSTREAM_URL", anthropic.url().as_str()),
        ("ACCESS_MODE", "key"),
        ("RATE_LIMIT_STORE", "dynamodb"),
        ("RATE_LIMIT_STORE_TIMEOUT_MS", "30000"),
    ]
    .map(|(name, value)| (name.into(), value.into()));
    let settings = Settings::from_vars(vars, Options::default(), None).expect("they are good");
    let aws = Aws::from(moto::config(&table.url()).await);
    let store = Store::open(&settings, &aws, clock::now()).expect("it makes no call");
    let upstream = Anthropic::new(settings.upstream_url.clone());
    let proxy = Arc::new(Proxy::new(settings, upstream, Bedrock::new(&[], &aws), store));
    let whole = Capacity { requests: 8, bytes: 256 << 20 };
    let room = Room::new(whole);
    let read = Arc::new(AtomicUsize::new(0));
    let stranger = || {
        let key = ProxyKey::from_random([7; 32]);
        let request = Request::post("/v1/files").header("x-claude-proxy-key", key.reveal());
        let body = Flood { left: 24 << 20, read: Arc::clone(&read) };
        let request = request.header("content-length", 24 << 20).body(body);
        local::answer(Arc::clone(&proxy), room.clone(), request.expect("it is a request"))
    };
    let strangers = join_all((0..4).map(|_| stranger()));
    let mut strangers = std::pin::pin!(strangers);
    assert!(timeout(Duration::from_millis(400), &mut strangers).await.is_err(), "no verdict yet");
    assert_eq!(room.free().bytes, whole.bytes);
    let most = 4 * (SMALL_BODY + PIECE);
    assert!(read.load(Ordering::Relaxed) <= most, "{} bytes", read.load(Ordering::Relaxed));
    for answer in strangers.await {
        assert_eq!(answer.status(), 401);
    }
    assert!(anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_lesson_that_is_read_slowly_and_a_proof_that_is_written_slowly_hold_up_no_answer() {
    let table = FakeDynamo::start();
    let plan = table::world(&table.url(), "limits");
    let world = plan.with("RATE_LIMIT_STORE_TIMEOUT_MS", "1000").start();
    let (slow, soon) = (ok().head_after(Duration::from_secs(20)), Duration::from_secs(15));
    table.always("GetItem", &slow);
    world.anthropic.next([limited(120)]);
    let reply = world.call(Call::message()).await;
    assert_eq!(reply.reason(), "rate_limited");
    assert!(reply.head_after < soon, "{:?}", reply.head_after);

    table.always("PutItem", &slow);
    world.anthropic.next_on("/v1/messages/count_tokens", [testing::answer::overloaded()]);
    let counted = world.call(Call::count().by(BOB)).await;
    assert_eq!((counted.status, counted.reason()), (200, "overloaded"));
    assert!(counted.head_after < soon, "{:?}", counted.head_after);
}

const PIECE: usize = 64 << 10;

/// A body that comes as quickly as it is read.
struct Flood {
    left: usize,
    read: Arc<AtomicUsize>,
}

/// A body that finds a fault of ours.
struct Broken;

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        panic!("a fault of the proxy's own")
    }
}

/// A panic ends one request, with an answer; what it held is free again.
#[tokio::test]
async fn a_fault_of_the_proxys_own_is_an_answer() {
    let settings = Settings::from_vars(
        [("RATE_LIMIT_STORE".into(), "memory".into())],
        Options::default(),
        None,
    );
    let settings = settings.expect("they are good");
    let aws = Aws::from(moto::config("http://127.0.0.1:1").await);
    let store = Store::open(&settings, &aws, clock::now()).expect("it is in memory");
    let upstream = Anthropic::new(settings.upstream_url.clone());
    let proxy = Arc::new(Proxy::new(settings, upstream, Bedrock::new(&[], &aws), store));
    let whole = Capacity { requests: 1, bytes: 1 << 20 };
    let room = Room::new(whole);
    for _ in 0..2 {
        let request = Request::post("/v1/messages").body(Broken).expect("it is a request");
        let answer = local::answer(Arc::clone(&proxy), room.clone(), request).await;
        assert_eq!(answer.status(), 500);
        let body = http_body_util::BodyExt::collect(answer.into_body()).await;
        let body = body.expect("it is whole").to_bytes();
        assert!(body.starts_with(b"{\"type\":\"error\",\"error\":{\"type\":\"api_error\""));
    }
    assert_eq!(room.free(), whole);
}

impl http_body::Body for Flood {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(left) = self.left.checked_sub(PIECE) else { return Poll::Ready(None) };
        self.left = left;
        self.read.fetch_add(PIECE, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; PIECE])))))
    }
}

/// The proxy within this process, with times of its own, between two fake upstreams.
pub(crate) struct House {
    pub(crate) anthropic: FakeAnthropic,
    _bedrock: FakeBedrock,
    pub(crate) address: SocketAddr,
    _serving: JoinSet<()>,
}

impl House {
    async fn start(vars: &[(&str, &str)], timeouts: Timeouts) -> Self {
        Self::within(vars, timeouts, LIMITS).await
    }

    pub(crate) async fn within(vars: &[(&str, &str)], timeouts: Timeouts, limits: Limits) -> Self {
        let (anthropic, bedrock) = (FakeAnthropic::start(), FakeBedrock::start());
        let url = anthropic.url();
        let named = [("ANTHROPIC_UPSTREAM_URL", url.as_str()), ("RATE_LIMIT_STORE", "memory")];
        let vars = named.iter().chain(vars).map(|(name, value)| ((*name).into(), (*value).into()));
        let settings = Settings::from_vars(vars, Options::default(), None).expect("they are good");
        let aws = Aws::from(moto::config(&bedrock.url()).await);
        let store = Store::open(&settings, &aws, clock::now()).expect("it is in memory");
        let upstream = Anthropic::with_timeouts(settings.upstream_url.clone(), timeouts);
        let there = Bedrock::new(&["us-east-1".to_owned()], &aws);
        let proxy = Arc::new(Proxy::new(settings, upstream, there, store));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = listener.local_addr().expect("a bound socket has an address");
        let mut serving = JoinSet::new();
        serving.spawn(local::serve(listener, proxy, limits, std::future::pending()));
        Self { anthropic, _bedrock: bedrock, address, _serving: serving }
    }

    pub(crate) async fn call(&self, call: Call) -> testing::client::Reply {
        call.send(self.address).await
    }
}
