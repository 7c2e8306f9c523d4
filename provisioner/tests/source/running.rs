//! Does the program in an image answer? Started out of the unpacked layer, on the processor that it
//! is for, be that emulated.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use provisioner::image::Architecture;
use serde_json::{Value, json};
use testing::emulated::emulator;

use crate::debian;

/// The longest wait for anything: an emulated start takes seconds on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A command that runs the program of an unpacked image with nothing of this machine around it.
fn program(root: &Path, architecture: Architecture) -> Command {
    let native = match std::env::consts::ARCH {
        "aarch64" => Architecture::Arm64,
        _ => Architecture::X86_64,
    };
    let emulator = match architecture {
        _ if architecture == native => None,
        Architecture::Arm64 => Some("qemu-aarch64-static"),
        Architecture::X86_64 => Some("qemu-x86_64-static"),
    };
    let bootstrap = root.join("bootstrap");
    let mut command = match emulator {
        None => Command::new(bootstrap),
        Some(emulator) => {
            let mut command = debian::program(emulator);
            command.arg(bootstrap);
            command
        }
    };
    command.env_clear();
    command
}

/// What both front doors are told: nobody but the test's own Anthropic is asked.
fn settings(anthropic: &Anthropic) -> Vec<(&'static str, String)> {
    vec![
        ("ANTHROPIC_UPSTREAM_URL", format!("http://{}", anthropic.address)),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("RATE_LIMIT_STORE", "memory".to_owned()),
        ("ACCESS_MODE", "open".to_owned()),
        ("ACCESS_OPEN_ANYWHERE", "true".to_owned()),
        ("LOG_LEVEL", "off".to_owned()),
    ]
}

/// As a container on a server of one's own: its health, and a stream that comes event by event.
pub(crate) fn answers_as_a_container(root: &Path, architecture: Architecture) {
    let anthropic = Anthropic::start();
    let address = free();
    let mut command = program(root, architecture);
    command.envs(settings(&anthropic)).env("LISTEN_ADDRESS", address.to_string());
    let _running = Running::start(command);
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < PATIENCE, "{architecture}: it does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    let health = Client::ask(address, "GET /healthz", "").rest();
    assert!(health.starts_with("HTTP/1.1 200 ") && health.ends_with("\r\n\r\nok\n"), "{health}");
    let mut client = Client::ask(address, "POST /v1/messages", &message().to_string());
    let head = client.until("event: content_block_delta");
    assert!(head.starts_with("HTTP/1.1 200 "), "{architecture}: {head}");
    // Anthropic says the second half only now that the first has come all the way.
    anthropic.go_on.send(()).unwrap();
    assert!(client.rest().contains("event: message_stop"));
}

/// As a Lambda function, under AWS's own emulator, which buffers what is streamed.
pub(crate) fn answers_on_lambda(root: &Path, architecture: Architecture) {
    let anthropic = Anthropic::start();
    let (address, api) = (free(), free());
    let mut command = Command::new(emulator());
    command
        .args(["--log-level", "error"])
        .args(["--runtime-interface-emulator-address", &address.to_string()])
        .args(["--runtime-api-address", &api.to_string()])
        .arg(script(root, &program(root, architecture)))
        .env_clear()
        .envs(settings(&anthropic))
        .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "60");
    let _running = Running::start(command);
    let begun = Instant::now();
    while TcpStream::connect(address).is_err() {
        assert!(begun.elapsed() < PATIENCE, "the emulator does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    let invoke = |event: Value| {
        let call = "POST /2015-03-31/functions/function/invocations";
        Client::ask(address, call, &event.to_string()).rest()
    };
    let health = invoke(event("GET", "/healthz", ""));
    assert!(health.contains("\"statusCode\":200") && health.contains("ok"), "{health}");
    anthropic.go_on.send(()).unwrap();
    let streamed = invoke(event("POST", "/v1/messages", &message().to_string()));
    assert!(streamed.contains("\"x-claude-proxy-upstream\":\"anthropic\""), "{streamed}");
    assert!(streamed.contains("event: message_stop"), "{streamed}");
}

/// The emulator starts one program, and gives it no words.
fn script(root: &Path, program: &Command) -> PathBuf {
    let words = [program.get_program()].into_iter().chain(program.get_args());
    let words: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let file = root.with_extension("sh");
    fs::write(&file, format!("#!/bin/sh\nexec {}\n", words.join(" "))).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    file
}

fn message() -> Value {
    json!({
        "model": "claude-sonnet-5-5",
        "max_tokens": 100,
        "stream": true,
        "messages": [{"role": "user", "content": "hello"}],
    })
}

fn event(method: &str, path: &str, body: &str) -> Value {
    json!({
        "version": "2.0",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "host": "urlid.lambda-url.us-east-1.on.aws",
            "content-type": "application/json",
            "anthropic-version": "2023-06-01",
            "x-api-key": "sk-ant-api03-test",
        },
        "requestContext": {"http": {"method": method, "path": path}, "stage": "$default"},
        "body": body,
        "isBase64Encoded": false,
    })
}

/// A program that ends with its owner.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Lambda's emulator ends its program with itself when it is asked to.
        let id = self.0.id().to_string();
        drop(Command::new("kill").args(["-TERM", &id]).status());
        let begun = Instant::now();
        while self.0.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(10));
        }
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A port that is free now.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// One request, and its answer as it comes.
struct Client(BufReader<TcpStream>);

impl Client {
    fn ask(address: SocketAddr, what: &str, body: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!(
            "{what} HTTP/1.1\r\nhost: test\r\nconnection: close\r\nx-api-key: sk-ant-api03-test\r\n\
             anthropic-version: 2023-06-01\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        Self(BufReader::new(stream))
    }

    /// Reads to the line that has `text`.
    fn until(&mut self, text: &str) -> String {
        let mut read = String::new();
        while !read.contains(text) {
            assert_ne!(self.0.read_line(&mut read).unwrap(), 0, "the end came first: {read}");
        }
        read
    }

    fn rest(mut self) -> String {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// An Anthropic that answers with a stream of two halves, the second when it is told to.
struct Anthropic {
    address: SocketAddr,
    go_on: Sender<()>,
}

impl Anthropic {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (go_on, told) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &told);
            }
        });
        Self { address, go_on }
    }
}

/// Answers one connection, unless it says nothing: one that was only made ahead.
fn serve(stream: TcpStream, told: &Receiver<()>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut length, mut line) = (0, String::new());
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) && line != "\r\n" {
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    if line.is_empty() {
        return;
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let mut stream = stream;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nrequest-id: req_1\r\n\
                connection: close\r\n\r\n";
    let event = |kind: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\"}}\n\n");
    let events = |kinds: &[&str]| kinds.iter().map(|kind| event(kind)).collect::<String>();
    // The proxy holds the beginning back until there is content.
    let first = events(&["message_start", "content_block_start", "content_block_delta"]);
    let last = events(&["content_block_stop", "message_delta", "message_stop"]);
    stream.write_all(format!("{head}{first}").as_bytes()).unwrap();
    told.recv_timeout(PATIENCE).unwrap();
    stream.write_all(last.as_bytes()).unwrap();
}
