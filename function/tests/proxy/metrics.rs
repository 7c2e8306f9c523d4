//! What the proxy has done can be scraped on an address of its own, by whoever reaches that: right
//! figures, and nothing that a client has said.

use std::{
    collections::BTreeMap,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use testing::{
    answer::{Gate, access_denied, limited, ok},
    client::{BOB, Call},
    world::{Plan, World, run},
};
use tokio::time::{Instant, sleep};

const NEWER: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const OLDER: &str = "text/plain; version=0.0.4; charset=utf-8";
const CANARY: &str = "canary0f1e2d";

fn scraped() -> Plan {
    World::with("LISTEN_METRICS", "127.0.0.1:0")
}

/// As Prometheus asks.
fn get() -> Call {
    Call::new("GET", "/metrics").header("accept", NEWER)
}

async fn scrape(world: &World) -> String {
    let reply = get().send(world.metrics()).await;
    assert_eq!(reply.status, 200);
    String::from_utf8(reply.body.to_vec()).expect("figures are text")
}

/// Every line of figures, by its name and labels.
fn figures(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a line is a name and a figure");
        (name.to_owned(), value.parse().expect("a figure is a number"))
    };
    lines.map(pair).collect()
}

/// Scrapes until so many requests are over: they are counted when the client has its answer.
async fn after(world: &World, requests: f64) -> BTreeMap<String, f64> {
    let begun = Instant::now();
    loop {
        let found = figures(&scrape(world).await);
        if found["claude_proxy_requests_total"] >= requests {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{found:#?}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn assert_figures(found: &BTreeMap<String, f64>, expected: &[(&str, f64)]) {
    for (name, value) in expected {
        assert_eq!(found.get(&format!("claude_proxy_{name}")), Some(value), "{name}: {found:#?}");
    }
}

#[tokio::test]
async fn both_legs_are_counted_where_they_have_answered() {
    let world = scraped().with("BUDGET_TOTAL_MONTH_USD", "0.0156").start();
    let begun = figures(&scrape(&world).await);
    assert!(begun.values().all(|figure| *figure == 0.0), "{begun:#?}");
    assert!(!begun.contains_key("claude_proxy_total_budget_used_ratio"), "nobody has asked");
    for _ in 0..3 {
        world.call(Call::message()).await;
    }
    world.call(Call::message().whole()).await;
    world.call(Call::new("GET", "/v1/models")).await;
    world.anthropic.next([limited(120)]);
    for reason in ["rate_limited", "cooldown", "cooldown"] {
        let few = Call::message().with("max_tokens", 64);
        assert_eq!(world.call(few).await.reason(), reason);
    }
    world.bedrock.next([access_denied()]);
    world.call(Call::message().with("max_tokens", 64)).await;
    assert_eq!(world.call(Call::new("GET", "/../x")).await.status, 400, "the proxy's own");
    let found = after(&world, 10.0).await;
    assert_figures(
        &found,
        &[
            ("requests_total", 10.0),
            ("fallbacks_total{reason=\"rate_limited\"}", 1.0),
            ("fallbacks_total{reason=\"cooldown\"}", 2.0),
            ("fallbacks_total{reason=\"overloaded\"}", 0.0),
            ("limits_remembered_total", 1.0),
            ("bedrock_errors_total", 1.0),
            ("bedrock_cost_micro_usd_total", 3.0 * 156.0),
            ("assumed_cost_micro_usd_total", 0.0),
            ("input_tokens_total{upstream=\"anthropic\"}", 4.0 * 12.0),
            ("output_tokens_total{upstream=\"anthropic\"}", 4.0 * 7.0),
            ("input_tokens_total{upstream=\"bedrock\"}", 3.0 * 12.0),
            ("output_tokens_total{upstream=\"bedrock\"}", 3.0 * 7.0),
            ("duration_seconds_count{upstream=\"bedrock\"}", 3.0),
            ("first_byte_seconds_count{upstream=\"bedrock\"}", 3.0),
            ("duration_seconds_bucket{le=\"900.0\",upstream=\"bedrock\"}", 3.0),
            ("duration_seconds_bucket{le=\"+Inf\",upstream=\"bedrock\"}", 3.0),
            ("total_budget_used_ratio", 0.1),
        ],
    );
    // The last one came from Anthropic after all.
    assert_figures(&found, &[("duration_seconds_count{upstream=\"anthropic\"}", 6.0)]);
}

#[tokio::test]
async fn a_budget_that_keeps_bedrock_away_is_counted_by_why() {
    let world = scraped().with("BUDGET_USER_MONTH_USD", "0").start();
    world.anthropic.always(limited(120));
    assert_eq!(world.call(Call::message()).await.status, 429);
    let found = after(&world, 1.0).await;
    assert_figures(
        &found,
        &[
            ("budget_refusals_total{budget=\"used_up\"}", 1.0),
            ("budget_refusals_total{budget=\"unavailable\"}", 0.0),
            ("bedrock_cost_micro_usd_total", 0.0),
            ("fallbacks_total{reason=\"rate_limited\"}", 0.0),
        ],
    );
}

#[tokio::test]
async fn no_counter_ever_goes_down_and_buckets_add_up() {
    let world = scraped().start();
    world.anthropic.next([ok(), limited(120)]);
    let mut before = BTreeMap::new();
    for number in 1_i32..=12 {
        world.call(Call::message()).await;
        let found = after(&world, number.into()).await;
        for (name, was) in &before {
            assert!(found[name] >= *was, "{name}: {was}, then {}", found[name]);
        }
        assert!(before.is_empty() || before.len() == found.len(), "{found:#?}");
        for series in ["first_byte", "duration"] {
            for upstream in ["anthropic", "bedrock"] {
                let name = |part: &str| format!("claude_proxy_{series}_seconds_{part}");
                let label = format!("upstream=\"{upstream}\"");
                let end = &found[&format!("{}{{le=\"+Inf\",{label}}}", name("bucket"))];
                assert_eq!(end, &found[&format!("{}{{{label}}}", name("count"))]);
            }
        }
        before = found;
    }
    assert_figures(&before, &[("requests_total", 12.0), ("limits_remembered_total", 1.0)]);
}

/// No part of what is asked is a name or a label of what is shown, whoever asks.
#[tokio::test]
async fn nothing_that_a_client_says_can_be_scraped() {
    let digest = "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8";
    let world = scraped()
        .with("ACCESS_MODE", "key")
        .with("PROXY_KEYS", &format!("{CANARY}user:{digest}"))
        .with("BUDGET_MESSAGE", &format!("{CANARY} message"))
        .start();
    let said = |call: Call| {
        call.header("x-claude-proxy-key", &format!("ccp_{CANARY}"))
            .header("x-claude-code-user", &format!("{CANARY}user"))
            .header("x-claude-code-session-id", &format!("{CANARY}session"))
            .header("user-agent", &format!("{CANARY}agent"))
            .by(&format!("sk-ant-{CANARY}"))
    };
    let before = names(&scrape(&world).await);
    for call in [
        said(Call::message().model(CANARY).says(CANARY)),
        said(Call::message().at(&format!("/u/{CANARY}/v1/messages?x={CANARY}"))),
        said(Call::count()),
        said(Call::new("GET", &format!("/{CANARY}"))),
        Call::message().model(&format!("a\"}} {CANARY} 1\n")),
    ] {
        world.call(call).await;
    }
    let open = scraped().start();
    let open_before = names(&scrape(&open).await);
    open.anthropic.next([limited(120).message(CANARY)]);
    for model in [CANARY, "claude-opus-5-5", "claude-sonnet-4-5-20250929"] {
        open.call(said(Call::message().model(model).says(CANARY))).await;
        open.call(said(Call::message().by(BOB).at("/u/bob/v1/messages").model(model))).await;
    }
    for (world, before) in [(&world, before), (&open, open_before)] {
        after(world, 5.0).await;
        let call = said(get().at(&format!("/metrics?{CANARY}={CANARY}")));
        let reply = call.send(world.metrics()).await;
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        for word in [CANARY, "opus", "sonnet", "bob", digest, "claude-"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
        assert_eq!(names(&text), before, "there is no series more");
        let other = said(Call::new("GET", &format!("/{CANARY}"))).send(world.metrics()).await;
        assert!(!String::from_utf8_lossy(&other.body).contains(CANARY));
    }
}

/// The names of all series, but for the one that comes with the first answer of a budget.
fn names(text: &str) -> Vec<String> {
    figures(text).into_keys().filter(|name| !name.ends_with("budget_used_ratio")).collect()
}

#[tokio::test]
async fn one_path_is_answered_and_only_to_those_who_read() {
    let world = scraped().start();
    let address = world.metrics();
    let reply = get().send(address).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, NEWER));
    let whole = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(whole.ends_with("# EOF\n"), "{whole}");
    assert_eq!(reply.header("content-length"), whole.len().to_string());
    let plain = Call::new("GET", "/metrics").send(address).await;
    assert_eq!((plain.status, plain.header("content-type")), (200, OLDER));
    let head = Call::new("HEAD", "/metrics").send(address).await;
    assert_eq!((head.status, head.header("content-type"), head.body.len()), (200, OLDER, 0));
    assert_eq!(head.header("content-length"), plain.body.len().to_string());
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let reply = Call::new(method, "/metrics").body("x").send(address).await;
        assert_eq!((reply.status, reply.header("allow")), (405, "GET, HEAD"), "{method}");
    }
    for path in ["/", "/metrics/", "/healthz", "/v1/messages", "/_proxy/", "//metrics"] {
        assert_eq!(Call::new("GET", path).send(address).await.status, 404, "{path}");
    }
    assert!(world.anthropic.requests().is_empty(), "nothing goes on from here");
    // Where clients are answered it is a path like any other.
    world.call(get()).await;
    assert_eq!(world.anthropic.requests().len(), 1);
}

#[tokio::test]
async fn those_who_ask_nothing_hold_few_places_and_not_for_long() {
    let world = scraped().start();
    let address = world.metrics();
    let mut silent = Vec::new();
    // A machine that is busy may take longer than they may stay.
    let is_turned_away = (0..5).any(|_| {
        silent = (0..16).map(|_| connect(address)).collect();
        ask(address, "host: x").is_empty()
    });
    assert!(is_turned_away, "there are no more places");
    assert_eq!(world.call(Call::message()).await.status, 200, "clients do not notice");
    for mut socket in silent {
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a time-out can be set");
        let kind = socket.read(&mut [0]).map_err(|error| error.kind());
        assert!(!matches!(kind, Err(ErrorKind::WouldBlock)), "they are not waited for");
    }
    assert_eq!(scrape(&world).await.lines().last(), Some("# EOF"));
    let answer = ask(address, &format!("x: {}", "x".repeat(64 << 10)));
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// Asks with this line in the head, and returns all that comes.
fn ask(address: SocketAddr, line: &str) -> String {
    let mut socket = connect(address);
    let _closed = write!(socket, "GET /metrics HTTP/1.1\r\n{line}\r\n\r\n");
    let mut answer = Vec::new();
    drop(socket.read_to_end(&mut answer));
    String::from_utf8_lossy(&answer).into_owned()
}

fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).expect("somebody listens")
}

#[tokio::test]
async fn figures_can_be_scraped_until_the_last_answer_is_over() {
    let mut world = scraped().start();
    let address = world.metrics();
    let gate = Gate::shut();
    world.anthropic.next([ok().hold_after(3, &gate)]);
    let live = Call::message().open(world.address()).await;
    let _silent = connect(address);
    world.proxy().terminate();
    let begun = Instant::now();
    while TcpStream::connect(world.address()).is_ok() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it goes on listening");
        sleep(Duration::from_millis(20)).await;
    }
    assert_figures(&figures(&scrape(&world).await), &[("requests_total", 0.0)]);
    gate.open();
    assert_eq!(live.finish().await.broken, None);
    assert!(world.proxy().wait(Duration::from_secs(20)).success());
    assert!(TcpStream::connect(address).is_err());
}

#[tokio::test]
async fn an_address_that_cannot_be_had_is_one_sentence() {
    let world = scraped().start();
    let (taken, clients) = (world.metrics().to_string(), world.address().to_string());
    for address in [&taken, &clients] {
        let said = refused(address, "127.0.0.1:0");
        assert!(said.contains(address) && said.contains("is in use"), "{said}");
        assert!(said.contains("LISTEN_METRICS=127.0.0.1:PORT"), "{said}");
    }
    let said = refused("203.0.113.1:9", "127.0.0.1:0");
    assert!(said.contains("cannot listen on 203.0.113.1:9"), "{said}");
    for (address, listen) in [("here", "127.0.0.1:0"), ("127.0.0.1:9", "127.0.0.1:9")] {
        let said = refused(address, listen);
        assert!(said.contains("LISTEN_METRICS is "), "{said}");
    }
}

/// What the start says of an address for figures that it does not take.
fn refused(address: &str, listen: &str) -> String {
    let (status, said) = run(&[("LISTEN_METRICS", address)], &["--listen", listen]);
    assert!(!status.success() && !said.contains("panicked"), "{said}");
    assert!(said.lines().filter(|line| !line.trim().is_empty()).count() <= 4, "{said}");
    said
}

#[tokio::test]
async fn the_start_says_where_figures_are_and_to_whom_they_are_open() {
    let open = World::with("LISTEN_METRICS", "0.0.0.0:0").start();
    let port = open.metrics().port();
    let said = format!("  metrics   http://0.0.0.0:{port}/metrics, for everyone who reaches this");
    assert!(open.log().contains(&said), "{}", open.log());
    let alone = scraped().start();
    let said = format!("  metrics   http://{}/metrics\n", alone.metrics());
    assert!(alone.log().contains(&said), "{}", alone.log());
    let without = World::with("LISTEN_METRICS", "").start();
    without.fallback();
    assert!(!without.log().contains("metrics"), "{}", without.log());
}
