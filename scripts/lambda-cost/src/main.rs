//! What does the front door on Lambda cost? Start, memory, and the time to the first streamed byte,
//! beside a hello of `lambda_http`'s own runner, both under the emulator of the tests.
//!
//! Run: `scripts/lambda-figures`. With `AWS_LAMBDA_RUNTIME_API` set, this program is that hello.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use self::runtime::{Lambda, Rules};

#[expect(dead_code, reason = "the tests use all of it")]
#[path = "../../../function/tests/support/runtime.rs"]
mod runtime;

const STARTS: usize = 21;
const REQUESTS: usize = 200;
/// The largest message that fits into an event of 6 MB.
const LARGEST: usize = 5_900_000;

#[tokio::main]
async fn main() -> Result<(), lambda_http::Error> {
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        return hello().await;
    }
    let ours = std::env::args().nth(1).expect("the first argument is the proxy's binary");
    let theirs = std::env::current_exe().expect("a program knows where it is");
    println!("| | the proxy | a hello of lambda_http's runner |\n|---|---|---|");
    let [ours, theirs] = [measure(&ours).await, measure(&theirs.display().to_string()).await];
    for (name, ours, theirs) in [
        ("process start to the first `next`, median", ours.init, theirs.init),
        ("event to first streamed byte, median", ours.first_byte.0, theirs.first_byte.0),
        ("event to first streamed byte, 90 %", ours.first_byte.1, theirs.first_byte.1),
    ] {
        println!("| {name} | {} | {} |", millis(ours), millis(theirs));
    }
    for (name, ours, theirs) in [
        ("memory after the start", ours.memory[0], theirs.memory[0]),
        ("peak after small requests", ours.memory[1], theirs.memory[1]),
        ("peak after a message of 5.9 MB", ours.memory[2], theirs.memory[2]),
    ] {
        println!("| {name} | {:.1} MB | {:.1} MB |", ours / 1024.0, theirs / 1024.0);
    }
    Ok(())
}

struct Figures {
    init: Duration,
    first_byte: (Duration, Duration),
    /// In KiB.
    memory: [f64; 3],
}

async fn measure(binary: &str) -> Figures {
    let mut inits = Vec::new();
    for _ in 0..STARTS {
        let lambda = Lambda::start(Rules::default());
        let begun = Instant::now();
        let mut child = start(binary, &lambda);
        lambda.is_idle(1).await;
        inits.push(lambda.first_next().expect("it is idle") - begun);
        end(&mut child);
    }
    let lambda = Lambda::start(Rules::default());
    let mut child = start(binary, &lambda);
    lambda.is_idle(1).await;
    let started = peak(&child);
    let mut first_bytes = Vec::new();
    for _ in 0..REQUESTS {
        let one = lambda.invoke(event("GET", "/healthz", "")).await;
        first_bytes.push(one.chunks[2].0 - one.handed.expect("it was answered"));
    }
    let small = peak(&child);
    lambda.invoke(event("POST", "/v1/messages", &"x".repeat(LARGEST))).await;
    let memory = [started, small, peak(&child)];
    end(&mut child);
    inits.sort();
    first_bytes.sort();
    let first_byte = (first_bytes[REQUESTS / 2], first_bytes[REQUESTS * 9 / 10]);
    Figures { init: inits[STARTS / 2], first_byte, memory }
}

fn start(binary: &str, lambda: &Lambda) -> Child {
    Command::new(binary)
        .env_clear()
        .envs([
            ("AWS_LAMBDA_RUNTIME_API", lambda.api().as_str()),
            ("AWS_LAMBDA_FUNCTION_NAME", "hello"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            // Nobody is there: what is measured is all our own.
            ("ANTHROPIC_UPSTREAM_URL", "http://127.0.0.1:9"),
            ("RATE_LIMIT_STORE", "memory"),
            ("ACCESS_MODE", "open"),
            ("ACCESS_OPEN_ANYWHERE", "true"),
            ("LOG_LEVEL", "off"),
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("the binary can be started")
}

fn end(child: &mut Child) {
    child.kill().expect("the child is ours");
    child.wait().expect("the child is ours");
}

/// The most memory that a process ever held, in KiB.
fn peak(child: &Child) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let status = status.expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("the kernel tells the peak")
}

fn event(method: &str, path: &str, body: &str) -> Value {
    json!({
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"host": "urlid.lambda-url.us-east-1.on.aws", "x-api-key": "sk-ant-api03-test"},
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
        "body": body,
        "isBase64Encoded": false,
    })
}

fn millis(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1e3)
}

/// What `lambda_http` makes of the same: a streamed answer of three bytes.
async fn hello() -> Result<(), lambda_http::Error> {
    let answer = lambda_http::service_fn(|request: lambda_http::Request| async move {
        drop(request);
        let body = http_body_util::Full::new(bytes::Bytes::from_static(b"ok\n"));
        let answer = lambda_http::Response::builder().header("content-type", "text/plain");
        Ok::<_, lambda_http::Error>(answer.body(body).expect("the answer is valid"))
    });
    lambda_http::run_with_streaming_response(answer).await
}
