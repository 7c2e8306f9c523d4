//! The program starts, or says in a sentence why not.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
    time::Duration,
};

use futures_util::future::join_all;
use testing::{
    answer::limited,
    client::Call,
    world::{Plan, World, run},
};
use tokio::time::{Instant, sleep};

#[test]
fn a_port_in_use_is_one_sentence() {
    let world = World::start();
    let address = world.address().to_string();
    let (status, said) = run(&[], &["--listen", &address]);
    assert!(!status.success());
    assert!(said.contains(&address) && !said.contains("panicked"), "{said}");
    assert!(said.lines().filter(|line| !line.trim().is_empty()).count() <= 3, "{said}");
}

#[test]
fn a_store_in_use_is_one_sentence() {
    let world = World::start();
    let path = world.setting("RATE_LIMIT_STORE_PATH");
    let store = [("RATE_LIMIT_STORE", "embedded"), ("RATE_LIMIT_STORE_PATH", path)];
    let (status, said) = run(&store, &["--listen", "127.0.0.1:0"]);
    assert!(!status.success());
    assert!(said.contains(path) && said.contains("in use"), "{said}");
    assert!(said.lines().filter(|line| !line.trim().is_empty()).count() <= 3, "{said}");
}

#[tokio::test]
async fn a_log_that_is_no_terminal_has_no_colours() {
    let world = World::start();
    world.call(Call::message()).await;
    assert!(!world.log().contains('\u{1b}'), "{}", world.log());
}

#[tokio::test]
async fn a_log_that_nobody_reads_stops_nobody_and_what_is_lost_is_said() {
    let world = Plan::default().unheard().start();
    for _ in 0..30 {
        let calls = (0..40).map(|_| world.call(Call::message().whole()));
        let replies = tokio::time::timeout(Duration::from_secs(20), join_all(calls)).await;
        let replies = replies.expect("answers do not wait for the log");
        assert!(replies.iter().all(|reply| reply.status == 200));
    }
    world.listen();
    let begun = Instant::now();
    while !world.log().contains(" lines of the log were lost") {
        assert!(begun.elapsed() < Duration::from_secs(10), "nobody says that something is lost");
        sleep(Duration::from_millis(20)).await;
        world.call(Call::message()).await;
    }
}

/// One world for each: the start says whether there is a fallback, and it is there.
#[tokio::test]
async fn the_start_says_that_the_fallback_is_on_wherever_credentials_come_from() {
    let none = || Plan::default().without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("the folder is ours");
        path.display().to_string()
    };
    let keys = "aws_access_key_id=AKIDEXAMPLE\naws_secret_access_key=test\n";
    let shared = file("credentials", &format!("[default]\n{keys}[work]\n{keys}"));
    let process = file(
        "config",
        "[default]\ncredential_process = /bin/sh -c \"echo '{\\\"Version\\\":1,\
        \\\"AccessKeyId\\\":\\\"AKIDEXAMPLE\\\",\\\"SecretAccessKey\\\":\\\"test\\\"}'\"\n",
    );
    let container = served(
        r#"{"AccessKeyId":"AKIDEXAMPLE","SecretAccessKey":"test","Token":"t",
        "Expiration":"2099-01-01T00:00:00Z"}"#,
    );
    let (bearer, files) = ("AWS_BEARER_TOKEN_BEDROCK", "AWS_SHARED_CREDENTIALS_FILE");
    let cases = [
        ("an API key of Bedrock", none().with(bearer, "bedrock-api-key-test"), "Bearer bedrock"),
        ("both", Plan::default().with(bearer, "bedrock-api-key-test"), "Bearer bedrock"),
        ("a blank API key", Plan::default().with(bearer, ""), "AWS4"),
        ("a file", none().with(files, &shared), "AWS4"),
        ("a profile", none().with(files, &shared).with("AWS_PROFILE", "work"), "AWS4"),
        ("a blank profile", none().with(files, &shared).with("AWS_PROFILE", " "), "AWS4"),
        ("a process", none().with("AWS_CONFIG_FILE", &process), "AWS4"),
        ("a container", none().with("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container), "AWS4"),
        ("blank addresses", Plan::default().with("AWS_ENDPOINT_URL", ""), "AWS4"),
        (
            "a blank region",
            Plan::default().with("AWS_REGION", "").with("AWS_DEFAULT_REGION", "us-east-1"),
            "AWS4",
        ),
    ];
    for (name, plan, shown) in cases {
        let world = plan.start();
        assert!(world.fallback().starts_with("on: "), "{name}: {}", world.log());
        world.anthropic.next([limited(120)]);
        assert_eq!(
            world.call(Call::message()).await.reason(),
            "rate_limited",
            "{name}: {}",
            world.log()
        );
        let sent = world.bedrock.requests();
        assert!(sent[0].header("authorization").starts_with(shown), "{name}");
        assert!(!world.log().contains("bedrock-api-key-test"), "{name}: it is a secret");
    }
    let (nothing, blank) = (none(), none().with(bearer, " ").with("AWS_SESSION_TOKEN", ""));
    for (name, plan) in [("nothing", nothing), ("a blank API key", blank)] {
        let said = plan.start().fallback();
        assert!(said.starts_with("off for now"), "{name}: {said}");
    }
}

/// Answers every request on a port of its own with this JSON.
fn served(json: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it has an address");
    thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let mut socket = socket;
            let _head = socket.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let length = json.len();
            let _gone = write!(socket, "{head}\r\ncontent-length: {length}\r\n\r\n{json}");
        }
    });
    format!("http://{address}/credentials")
}

#[test]
fn every_bad_setting_is_named_at_once() {
    let (status, said) = run(
        &[
            ("FALLBACK_ON", "rate_limits"),
            ("RETRY_THRESHOLD_SECONDS", "soon"),
            ("BEDROCK_FALBACK_ENABLED", "true"),
            ("ANTHROPIC_UPSTREAM_URL", "http://api.example.com"),
            ("SOMEBODY_ELSES", "business"),
        ],
        &["--listen", "127.0.0.1:0"],
    );
    assert!(!status.success());
    for name in [
        "FALLBACK_ON",
        "RETRY_THRESHOLD_SECONDS",
        "BEDROCK_FALBACK_ENABLED",
        "BEDROCK_FALLBACK_ENABLED",
        "ANTHROPIC_UPSTREAM_URL",
    ] {
        assert!(said.contains(name), "{name} is not named: {said}");
    }
    assert!(!said.contains("SOMEBODY_ELSES") && !said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn a_system_without_root_certificates_is_no_reason_to_stop() {
    let world = World::with("SSL_CERT_FILE", "/nowhere.pem").start();
    world.anthropic.next([limited(120)]);
    assert_eq!(world.call(Call::message()).await.reason(), "rate_limited", "{}", world.log());
}

#[tokio::test]
async fn an_empty_variable_is_unset() {
    let world = World::with("FALLBACK_ON", "").with("RETRY_THRESHOLD_SECONDS", "").start();
    let reply = world.call(Call::new("GET", "/healthz")).await;
    assert_eq!(reply.status, 200);
}

#[test]
fn an_open_proxy_listens_only_on_the_loopback() {
    let (status, said) = run(&[], &["--listen", "0.0.0.0:0"]);
    assert!(!status.success());
    assert!(said.contains("ACCESS_OPEN_ANYWHERE"), "{said}");
}

/// A line end that came along out of a file is no part of a secret.
#[tokio::test]
async fn credentials_are_shown_without_what_stands_around_them() {
    let (id, secret, bearer) =
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_BEARER_TOKEN_BEDROCK");
    let keys = Plan::default().with(id, "AKIDEXAMPLE\n").with(secret, "test\r\n");
    let token = Plan::default().without(id).without(secret).with(bearer, " bedrock-api-key-test\n");
    for (plan, shown) in [
        (keys.with("AWS_SESSION_TOKEN", "token\n"), "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/"),
        (token, "Bearer bedrock-api-key-test"),
    ] {
        let world = plan.start();
        assert!(world.fallback().starts_with("on: "), "{shown}: {}", world.log());
        world.anthropic.next([limited(120)]);
        assert_eq!(world.call(Call::message()).await.reason(), "rate_limited", "{shown}");
        let sent = world.bedrock.requests();
        assert!(sent[0].header("authorization").starts_with(shown), "{shown}");
    }
}

/// Credentials that no header can hold are none: the start says so, and nobody's request suffers.
#[tokio::test]
async fn credentials_that_cannot_be_shown_are_none() {
    let (id, bearer) = ("AWS_ACCESS_KEY_ID", "AWS_BEARER_TOKEN_BEDROCK");
    let no_key = || Plan::default().without(id).without("AWS_SECRET_ACCESS_KEY");
    for (name, plan) in [
        ("a key of two lines", Plan::default().with(id, "AKID\nEXAMPLE")),
        ("letters of others", Plan::default().with(id, "AKID\u{fc}")),
        ("a token of two lines", Plan::default().with("AWS_SESSION_TOKEN", "to\nken")),
        ("an API key of two lines", no_key().with(bearer, "bedrock\napi-key")),
    ] {
        let table = testing::dynamo::FakeDynamo::start();
        let shared =
            [("AWS_ENDPOINT_URL_DYNAMODB", table.url()), ("RATE_LIMIT_STORE", "dynamodb".into())];
        let plan = shared.iter().fold(plan, |plan, (name, value)| plan.with(name, value));
        let world = plan.start();
        assert!(world.fallback().starts_with("off for now: "), "{name}: {}", world.log());
        assert_eq!(world.call(Call::message()).await.status, 200, "{name}");
        world.anthropic.always(limited(120));
        for call in [Call::message(), Call::message().whole()] {
            let reply = world.call(call).await;
            assert_eq!((reply.status, reply.upstream()), (429, "anthropic"), "{name}");
        }
        assert!(!world.log().contains("panicked"), "{name}: {}", world.log());
    }
}
