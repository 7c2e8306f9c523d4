//! AWS's own Runtime Interface Emulator in the place of ours: the protocol as AWS wrote it.
//!
//! It buffers what is streamed, so it says nothing about pace; several requests at a time it has only
//! for a binary at `/var/task/bootstrap`, and only as root: that one test is run by
//! `scripts/lambda-multi`.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    child,
    deployed::environment,
    support::{
        answer::{hang, limited, ok},
        anthropic::FakeAnthropic,
        bedrock::FakeBedrock,
        client::{ALICE, Call},
        world::program as proxy,
    },
};

mod program;

/// Runs the emulator that stands behind `$1`, a folder that takes the place of `/var`.
const IN_VAR: &str = r#"set -e; mount --bind "$1" /var; shift; exec "$@""#;
/// Where the emulator takes events.
const INVOCATIONS: &str = "/2015-03-31/functions/function/invocations";

#[tokio::test]
async fn a_request_is_answered_under_awss_own_emulator() {
    let rie = Rie::start(&[]);
    let (prelude, body) = rie.invoke(&message()).await;
    assert_eq!((&prelude["statusCode"], body.contains("message_stop")), (&200.into(), true));
    assert_eq!(prelude["headers"]["x-claude-proxy-upstream"], "anthropic");
    rie.anthropic.next([limited(120)]);
    let (prelude, body) = rie.invoke(&message()).await;
    assert_eq!(prelude["headers"]["x-claude-proxy-upstream"], "bedrock");
    assert!(body.contains("message_stop"), "{body}");
}

#[tokio::test]
async fn an_event_that_is_no_request_is_a_400_under_awss_own_emulator() {
    let rie = Rie::start(&[]);
    let (prelude, body) = rie.invoke(&json!({"what": "ever"})).await;
    assert_eq!(
        (&prelude["statusCode"], body.contains("invalid_request_error")),
        (&400.into(), true)
    );
}

#[tokio::test]
async fn a_start_that_fails_is_told_by_awss_own_emulator() {
    let rie = Rie::start(&[("FALLBACK_ON", "whatever")]);
    let told = rie.post(&message()).await;
    let told: Value = serde_json::from_str(&told).expect(&told);
    assert_eq!(told["errorType"], "Runtime.InitError", "{told}");
    assert!(told["errorMessage"].as_str().unwrap().contains("FALLBACK_ON"), "{told}");
}

#[tokio::test]
async fn an_answer_comes_before_awss_own_emulator_would_end_the_process() {
    let rie = Rie::start(&[("AWS_LAMBDA_FUNCTION_TIMEOUT", "3")]);
    rie.anthropic.next([hang()]);
    let (prelude, body) = rie.invoke(&message()).await;
    assert_eq!((&prelude["statusCode"], body.contains("timeout_error")), (&504.into(), true));
    let (prelude, _) = rie.invoke(&message()).await;
    assert_eq!(prelude["statusCode"], 200);
}

#[tokio::test]
#[ignore = "mounts over /var, which needs root: scripts/lambda-multi"]
async fn awss_own_emulator_has_several_requests_at_a_time_answered() {
    let rie = Rie::managed(4);
    rie.anthropic.always(ok().gap(Duration::from_millis(200)));
    let alone = Instant::now();
    rie.invoke(&message()).await;
    let (alone, begun) = (alone.elapsed(), Instant::now());
    let event = message();
    let told = join_all((0..3).map(|_| rie.invoke(&event))).await;
    let took = begun.elapsed();
    for (prelude, body) in &told {
        assert_eq!((&prelude["statusCode"], body.contains("message_stop")), (&200.into(), true));
    }
    assert!(alone > Duration::from_secs(1), "{alone:?} is no stream to be told apart");
    assert!(took < alone * 2, "three at a time took {took:?}, one alone {alone:?}");
}

/// A message as a Function URL would hand it over.
fn message() -> Value {
    json!({
        "version": "2.0",
        "rawPath": "/v1/messages",
        "rawQueryString": "beta=true",
        "headers": {
            "content-type": "application/json",
            "anthropic-version": "2023-06-01",
            "x-api-key": ALICE,
            "host": "urlid.lambda-url.us-east-1.on.aws",
        },
        "requestContext": {"http": {"method": "POST", "path": "/v1/messages"}, "stage": "$default"},
        "body": json!({
            "model": "claude-sonnet-4-5-20250929",
            "max_tokens": 1024,
            "stream": true,
            "messages": [{"role": "user", "content": "hello"}],
        }).to_string(),
        "isBase64Encoded": false,
    })
}

/// The emulator with the binary inside; it ends with its owner, and the binary with it.
#[derive(Debug)]
struct Rie {
    anthropic: FakeAnthropic,
    _bedrock: FakeBedrock,
    address: SocketAddr,
    child: Child,
    _home: TempDir,
    /// What lies over `/var`, for as long as the emulator runs.
    var: Option<TempDir>,
}

impl Rie {
    fn start(settings: &[(&str, &str)]) -> Self {
        Self::run(Command::new(program::emulator()), settings)
    }

    /// As on managed instances, where one process gets so many requests at a time.
    fn managed(concurrency: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let task = folder.path().join("task");
        fs::create_dir(&task).unwrap();
        fs::copy(proxy(), task.join("bootstrap")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]);
        command.args([IN_VAR, "sh"]).arg(folder.path()).arg(program::emulator());
        let many = concurrency.to_string();
        let mut rie = Self::run(command, &[("AWS_LAMBDA_MAX_CONCURRENCY", &many)]);
        rie.var = Some(folder);
        rie
    }

    fn run(mut command: Command, settings: &[(&str, &str)]) -> Self {
        let (anthropic, bedrock) = (FakeAnthropic::start(), FakeBedrock::start());
        let home = tempfile::tempdir().unwrap();
        let (address, api) = (free(), free());
        let inside = environment(&anthropic, &bedrock, &home);
        let child = child::clean(&mut command)
            .envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .envs(settings.iter().copied())
            .args(["--log-level", "error"])
            .args(["--runtime-interface-emulator-address", &address.to_string()])
            .args(["--runtime-api-address", &api.to_string()])
            .arg(proxy())
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let rie = Self { anthropic, _bedrock: bedrock, address, child, _home: home, var: None };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the emulator does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        rie
    }

    async fn post(&self, event: &Value) -> String {
        let call = Call::new("POST", INVOCATIONS).body(event.to_string());
        let reply = call.send(self.address).await;
        String::from_utf8_lossy(&reply.body).into_owned()
    }

    /// The prelude and the body of an answer.
    async fn invoke(&self, event: &Value) -> (Value, String) {
        let told = self.post(event).await;
        let (prelude, body) = told.split_once("\0\0\0\0\0\0\0\0").expect(&told);
        (serde_json::from_str(prelude).unwrap(), body.to_owned())
    }
}

impl Drop for Rie {
    fn drop(&mut self) {
        // The emulator ends the binary with itself when it is asked to.
        let id = self.child.id().to_string();
        drop(Command::new("kill").args(["-TERM", &id]).status());
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(10));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that is free now; the emulator must be told one.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
