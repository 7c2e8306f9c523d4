//! What runs on Lambda in these tests? The real binary between two fake upstreams, or its loop
//! alone with an answer of the test's own.

use std::{
    future::ready,
    io::{BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use bytes::Bytes;
use function::{proxy::Body, serve::lambda};
use http_body_util::Full;
use hyper::{Request, Response};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::Instant};

use crate::{
    anthropic::FakeAnthropic,
    bedrock::FakeBedrock,
    client::{Call, Reply},
    runtime::{Lambda, Rules},
    world::program,
};

/// The binary as the service has started it, and both upstreams.
#[derive(Debug)]
pub struct Deployed {
    pub anthropic: FakeAnthropic,
    pub bedrock: FakeBedrock,
    pub lambda: Lambda,
    child: Child,
    log: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
    _home: TempDir,
}

impl Deployed {
    pub fn start() -> Self {
        Self::under(Rules::default(), &[])
    }

    pub fn with(name: &str, value: &str) -> Self {
        Self::under(Rules::default(), &[(name, value)])
    }

    pub fn under(rules: Rules, settings: &[(&str, &str)]) -> Self {
        let (anthropic, bedrock) = (FakeAnthropic::start(), FakeBedrock::start());
        let home = tempfile::tempdir().unwrap();
        let many = rules.concurrency.to_string();
        let lambda = Lambda::start(rules);
        let mut command = environment(&anthropic, &bedrock, &home);
        command.env("AWS_LAMBDA_RUNTIME_API", lambda.api());
        if many != "1" {
            command.env("AWS_LAMBDA_MAX_CONCURRENCY", many);
        }
        let mut child = command.envs(settings.iter().copied()).spawn().unwrap();
        lambda.owns(child.id());
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, written) = (child.stderr.take().unwrap(), Arc::clone(&log));
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = written.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { anthropic, bedrock, lambda, child, log, reader: Some(reader), _home: home }
    }

    pub async fn call(&self, call: Call) -> Reply {
        call.send(self.lambda.url()).await
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The log, once it has this word: a line is written before it can be read here.
    pub async fn told(&self, word: &str) -> String {
        let begun = Instant::now();
        while !self.log().contains(word) {
            assert!(begun.elapsed() < Duration::from_secs(20), "no {word}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.log()
    }

    /// Waits until the process has ended by itself, and its last words are in the log.
    pub fn end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.reader.take().map(JoinHandle::join).transpose().unwrap();
                return status;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "it still runs: {}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Still the same process.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The binary in an environment such as Lambda makes, but for the Runtime API.
pub fn environment(anthropic: &FakeAnthropic, bedrock: &FakeBedrock, home: &TempDir) -> Command {
    let mut command = Command::new(program());
    command
        .env_clear()
        .current_dir(home)
        .envs([
            ("ANTHROPIC_UPSTREAM_URL", anthropic.url().as_str()),
            ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", &bedrock.url()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_LAMBDA_FUNCTION_NAME", "claude-proxy-api"),
            ("RATE_LIMIT_STORE", "memory"),
            ("ACCESS_MODE", "open"),
            ("ACCESS_OPEN_ANYWHERE", "true"),
            ("LOG_LEVEL", "trace"),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// The loop alone; it ends with its owner.
#[derive(Debug)]
pub struct Looping {
    pub lambda: Lambda,
    _task: JoinSet<()>,
}

impl Looping {
    /// Answers every request like this.
    pub fn with(
        rules: Rules,
        answer: impl Fn(Request<Full<Bytes>>) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        let (concurrency, lambda) = (rules.concurrency, Lambda::start(rules));
        let runtime = lambda::Runtime::at(&lambda.api());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let answer = move |request| {
                let answer = answer.clone();
                async move { ready(answer(request)).await }
            };
            let front = lambda::Front { ask: answer, settle: || ready(()) };
            drop(lambda::serve(runtime, concurrency, front).await);
        });
        Self { lambda, _task: task }
    }

    pub fn answering(
        answer: impl Fn(Request<Full<Bytes>>) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Self {
        Self::with(Rules::default(), answer)
    }
}

/// A body that is there already.
pub fn full(body: impl Into<Bytes>) -> Body {
    body.into().into()
}
