//! What does the front door on Lambda cost? Size, start, memory, and the time to the first streamed
//! byte, beside a hello of `lambda_http`'s own runner, both under the emulator of the tests.
//!
//! Run: `scripts/lambda-figures`, `scripts/image-figures`. The words are binaries with the names of
//! their columns, all for one processor: the proxy, and a hello that was built in the same way.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use self::runtime::{Lambda, Rules};

#[expect(dead_code, reason = "the image's configuration names the entry point")]
#[path = "../../../provisioner/src/image/layer.rs"]
mod layer;
#[expect(dead_code, reason = "the tests use all of it")]
#[path = "../../../function/testing/src/runtime.rs"]
mod runtime;

const STARTS: usize = 21;
const REQUESTS: usize = 200;
/// The largest message that fits into an event of 6 MB.
const LARGEST: usize = 5_900_000;

#[tokio::main]
async fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let named = words.iter().map(|word| word.split_once('=').expect("a word is NAME=BINARY"));
    let (names, binaries): (Vec<_>, Vec<_>) = named.unzip();
    let title = match binaries.first().and_then(|binary| emulator(binary)) {
        None => format!("{}, on this machine", std::env::consts::ARCH),
        Some(emulator) => format!("under {emulator}: its own time and memory count too"),
    };
    println!("\n| {title} | {} |\n|---{}|", names.join(" | "), "|---".repeat(names.len()));
    let mut all = Vec::new();
    for binary in binaries {
        all.push(measure(binary).await);
    }
    let row = |name: &str, cell: &dyn Fn(&Figures) -> String| {
        println!("| {name} | {} |", all.iter().map(cell).collect::<Vec<_>>().join(" | "));
    };
    row("binary", &|of| mib(of.size[0]));
    row("layer of the image, compressed", &|of| mib(of.size[1]));
    row("process start to the first `next`, median", &|of| millis(of.init));
    row("event to first streamed byte, median", &|of| millis(of.first_byte.0));
    row("event to first streamed byte, 90 %", &|of| millis(of.first_byte.1));
    let count = |which: usize| {
        move |of: &Figures| match of.instructions {
            Some(counts) => format!("{:.1} k", counts[which] as f64 / 1e3),
            None => "not counted".to_owned(),
        }
    };
    row("instructions of the start", &count(0));
    row("instructions of a small request", &count(1));
    row("memory after the start", &|of| mib(of.memory[0]));
    row("peak after small requests", &|of| mib(of.memory[1]));
    row("peak after a message of 5.9 MB", &|of| mib(of.memory[2]));
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

/// Its bytes, and those of the layer that travels.
fn size(binary: &str) -> [usize; 2] {
    let bytes = std::fs::read(binary).expect("the binary can be read");
    [bytes.len(), layer::compress(&layer::pack(&bytes)).len()]
}

fn mib(bytes: usize) -> String {
    format!("{:.2} MiB", bytes as f64 / 1024.0 / 1024.0)
}

struct Figures {
    /// In bytes, of the binary and of its layer.
    size: [usize; 2],
    init: Duration,
    first_byte: (Duration, Duration),
    instructions: Option<[u64; 2]>,
    /// In bytes: after the start, and the most until after small and large requests.
    memory: [usize; 3],
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
    let init = inits[STARTS / 2];
    let instructions = match emulator(binary) {
        None => instructions(binary).await,
        Some(_) => None,
    };
    Figures { size: size(binary), init, first_byte, instructions, memory }
}

fn start(binary: &str, lambda: &Lambda) -> Child {
    let words = emulator(binary).into_iter().chain([binary]);
    command(&words.collect::<Vec<_>>(), lambda).spawn().expect("the binary can be started")
}

fn command(words: &[&str], lambda: &Lambda) -> Command {
    let [program, words @ ..] = words else { panic!("a command has a program") };
    let mut command = Command::new(program);
    command
        .args(words)
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
        .stdin(Stdio::null());
    command
}

/// Instructions of the start, and of one small request after the first; `None` without valgrind.
async fn instructions(binary: &str) -> Option<[u64; 2]> {
    const MORE: u64 = 100;
    let mut counted = Vec::new();
    for requests in [0, 1, 1 + MORE] {
        let lambda = Lambda::start(Rules::default());
        let words = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", binary];
        let child = command(&words, &lambda).stderr(Stdio::piped()).spawn().ok()?;
        lambda.is_idle(1).await;
        for _ in 0..requests {
            lambda.invoke(event("GET", "/healthz", "")).await;
        }
        let told = Command::new("kill").arg(child.id().to_string()).status();
        told.expect("this is Linux");
        let said = child.wait_with_output().expect("the child is ours").stderr;
        let said = String::from_utf8_lossy(&said);
        let count = said.lines().find_map(|line| line.split_once("Collected : "));
        counted.push(count.and_then(|(_, count)| count.parse::<u64>().ok())?);
    }
    let [start, one, many] = counted[..] else { return None };
    Some([start, (many - one) / MORE])
}

fn end(child: &mut Child) {
    child.kill().expect("the child is ours");
    child.wait().expect("the child is ours");
}

/// The most memory that a process ever held, in bytes.
fn peak(child: &Child) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
    let status = status.expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kib.expect("the kernel tells the peak") * 1024
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
