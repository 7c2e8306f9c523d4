//! The process starts, or tells the platform why not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use function::telemetry::RequestLine;
use serde_json::Value;
use testing::{
    answer::limited,
    anthropic::FakeAnthropic,
    client::{ALICE, Call},
    deployed::Deployed,
    runtime::Rules,
    tls::Door,
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep},
};

#[test]
fn every_bad_setting_is_named_to_the_platform() {
    let bad = [
        ("FALLBACK_ON", "rate_limits"),
        ("RETRY_THRESHOLD_SECONDS", "soon"),
        ("BEDROCK_FALBACK_ENABLED", "true"),
    ];
    let mut deployed = Deployed::under(Rules::default(), &bad);
    let status = deployed.end();
    assert!(!status.success());
    let errors = deployed.lambda.init_errors();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        (errors[0].0.as_str(), &errors[0].1["errorType"]),
        ("Runtime.InitError", &"Runtime.InitError".into())
    );
    let message = errors[0].1["errorMessage"].as_str().unwrap();
    for (name, _) in bad {
        assert!(message.contains(name), "{name} is not named: {message}");
        assert!(deployed.log().contains(name), "{name} is not in the log: {}", deployed.log());
    }
}

#[test]
fn a_store_that_cannot_be_opened_is_told_to_the_platform() {
    let settings =
        [("RATE_LIMIT_STORE", "embedded"), ("RATE_LIMIT_STORE_PATH", "/proc/nowhere/limits.redb")];
    let mut deployed = Deployed::under(Rules::default(), &settings);
    assert!(!deployed.end().success());
    let errors = deployed.lambda.init_errors();
    assert!(errors[0].1["errorMessage"].as_str().unwrap().contains("/proc/nowhere"));
}

#[test]
fn the_process_ends_when_the_platform_is_gone() {
    let mut deployed = Deployed::with("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:1");
    assert!(!deployed.end().success());
    assert!(deployed.log().contains("Runtime API"), "{}", deployed.log());
}

#[tokio::test]
async fn an_address_to_listen_on_means_nothing() {
    for name in ["LISTEN_ADDRESS", "LISTEN_METRICS"] {
        let deployed = Deployed::with(name, "192.0.2.1:1");
        assert_eq!(deployed.call(Call::new("GET", "/healthz")).await.body, "ok\n", "{name}");
    }
}

#[tokio::test]
async fn the_first_request_finds_a_connection_to_anthropic() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let deployed = Deployed::with("ANTHROPIC_UPSTREAM_URL", &url);
    let anthropic = deployed.anthropic.address();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            connections.spawn(async move {
                let mut behind = TcpStream::connect(anthropic).await.unwrap();
                drop(copy_bidirectional(&mut socket, &mut behind).await);
            });
        }
    });
    deployed.lambda.is_idle(1).await;
    // The kernel has made the connection by now; this side of it may be told a little later.
    let begun = Instant::now();
    while count.load(Ordering::Relaxed) == 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing connected");
        sleep(Duration::from_millis(5)).await;
    }
    assert!(deployed.anthropic.requests().is_empty(), "a connection is no request");
    for _ in 0..3 {
        let reply = deployed.call(Call::message()).await;
        assert_eq!(reply.text(), "anthropic heard: hello");
    }
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

/// The start does not wait for a slow handshake, and the first request does not begin another one.
#[tokio::test]
async fn the_first_request_goes_on_with_a_handshake_that_is_slower_than_the_start() {
    let anthropic = FakeAnthropic::start();
    let door = Door::open(anthropic.address(), "http/1.1");
    let home = tempfile::tempdir().unwrap();
    let trusted = home.path().join("trusted.pem");
    std::fs::write(&trusted, &door.certificate).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let (port, mut tasks) = (door.port, JoinSet::new());
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((mut socket, _)) = listener.accept().await {
            connections.spawn(async move {
                sleep(Duration::from_secs(2)).await;
                let mut behind = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                drop(copy_bidirectional(&mut socket, &mut behind).await);
            });
        }
    });
    let trusted = trusted.display().to_string();
    let settings = [("ANTHROPIC_UPSTREAM_URL", url.as_str()), ("SSL_CERT_FILE", &trusted)];
    let deployed = Deployed::under(Rules::default(), &settings);
    deployed.lambda.is_idle(1).await;
    assert_eq!(anthropic.connections(), 0, "nobody has waited for it");
    for _ in 0..3 {
        assert_eq!(deployed.call(Call::message()).await.text(), "anthropic heard: hello");
    }
    assert_eq!(anthropic.connections(), 1);
}

#[tokio::test]
async fn an_anthropic_that_does_not_answer_delays_the_start_by_half_a_second() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", silent.local_addr().unwrap().port());
    let begun = Instant::now();
    let deployed = Deployed::with("ANTHROPIC_UPSTREAM_URL", &url);
    deployed.lambda.is_idle(1).await;
    let took = deployed.lambda.first_next().unwrap() - begun;
    assert!((Duration::from_millis(450)..Duration::from_secs(4)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn every_line_of_the_log_is_json_with_the_fields_of_the_request() {
    let deployed = Deployed::start();
    deployed.anthropic.next([limited(120)]);
    deployed.call(Call::message().at("/u/alice/v1/messages")).await;
    deployed.call(Call::new("GET", "/healthz")).await;
    let log = deployed.told("answered by bedrock").await;
    let lines: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let about: Vec<_> = lines.iter().filter(|line| line["request.id"].is_string()).collect();
    assert_eq!(about.len(), 1, "{log}");
    let line = about[0];
    for (name, value) in [
        ("level", "INFO"),
        ("message", "answered by bedrock: rate_limited"),
        ("user", "alice"),
        ("upstream", "bedrock"),
        ("reason", "rate_limited"),
        ("model", "claude-sonnet-4-5-20250929"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert_eq!((&line["status"], &line["attempts"]), (&200.into(), &2.into()));
    assert!(line["duration_ms"].is_u64() && line["timestamp"].is_string(), "{line}");
    let read = RequestLine::parse(&line.to_string()).unwrap();
    assert_eq!(
        (read.user.as_deref(), read.reason.as_deref()),
        (Some("alice"), Some("rate_limited"))
    );
    assert!(read.first_byte_ms.is_some() && read.tokens.output.is_some(), "{read:?}");
    assert!(!log.contains(ALICE));
}
