//! What does the front door on Lambda cost? Size, start, memory, and the time to the first streamed
//! byte, beside a hello of `lambda_http`'s own runner, both under the emulator of the tests.
//!
//! Run: `scripts/lambda-figures`, `scripts/image-figures`. The words are pairs of binaries: the proxy,
//! and a hello that was built in the same way.

use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
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
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    for pair in words.chunks(2) {
        let [ours, theirs] = pair else { panic!("binaries come in pairs: the proxy, a hello") };
        table(ours, theirs).await;
    }
}

async fn table(ours: &str, theirs: &str) {
    let title = match emulator(ours) {
        None => format!("{}, on this machine", std::env::consts::ARCH),
        Some(emulator) => format!("under {emulator}: its own time and memory count too"),
    };
    println!("\n| {title} | the proxy | a hello of lambda_http's runner |\n|---|---|---|");
    let [ours, theirs] = [measure(ours).await, measure(theirs).await];
    for (name, ours, theirs) in [
        ("binary", ours.size[0], theirs.size[0]),
        ("the same in an image (gzip)", ours.size[1], theirs.size[1]),
    ] {
        println!("| {name} | {:.2} MiB | {:.2} MiB |", mib(ours), mib(theirs));
    }
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
        println!("| {name} | {:.1} MiB | {:.1} MiB |", ours / 1024.0, theirs / 1024.0);
    }
}

/// What runs a binary of another processor, by the machine in its header (*System V ABI*, 4).
fn emulator(binary: &str) -> Option<&'static str> {
    let bytes = std::fs::read(binary).expect("the binary can be read");
    match (bytes.get(18), std::env::consts::ARCH) {
        (Some(183), "aarch64") | (Some(62), "x86_64") => None,
        (Some(183), _) => Some("qemu-aarch64-static"),
        (Some(62), _) => Some("qemu-x86_64-static"),
        _ => panic!("{binary} is for neither processor"),
    }
}

/// Its bytes, and how many of them travel.
fn size(binary: &str) -> [usize; 2] {
    let bytes = std::fs::read(binary).expect("the binary can be read");
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&bytes).expect("a vector takes all bytes");
    [bytes.len(), packed.finish().expect("a vector takes all bytes").len()]
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}

struct Figures {
    /// In bytes, as it is and packed.
    size: [usize; 2],
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
    Figures { size: size(binary), init: inits[STARTS / 2], first_byte, memory }
}

fn start(binary: &str, lambda: &Lambda) -> Child {
    let mut command = Command::new(emulator(binary).unwrap_or(binary));
    if emulator(binary).is_some() {
        command.arg(binary);
    }
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
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
