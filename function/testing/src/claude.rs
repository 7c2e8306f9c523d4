//! How does a person use Claude Code? Runs `claude -p` against a base URL, in an empty home and an
//! environment made from nothing, so that no login and no setting of this machine leaks in.
//!
//! [`terminal`] runs it in a terminal instead, with somebody who types.

pub mod terminal;

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{Condvar, Mutex, PoisonError},
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    child,
    installed::{Requirements, installed},
    world::World,
};

/// The API key that prompts carry unless they say otherwise.
pub const KEY: &str = "sk-ant-api03-test-claude-code";

/// The token of somebody who has a subscription.
pub const SUBSCRIPTION: &str = "sk-ant-oat01-test-claude-code";

/// One prompt takes about a second; Claude Code's own retries may take minutes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The folder whose `node_modules` hold Claude Code and the TypeScript SDK.
pub fn node() -> PathBuf {
    installed("clients", Requirements::Node(include_str!("../lists/clients.json")))
}

/// One home with its settings, in which any number of prompts can be run.
#[derive(Debug)]
pub struct Claude {
    home: TempDir,
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
}

/// What came of one prompt.
#[derive(Debug)]
pub struct Session {
    /// The exit status was 0, and the result is no error.
    pub succeeded: bool,
    /// The object that `--output-format json` prints.
    pub result: Value,
    /// Everything it wrote.
    pub output: String,
    pub took: Duration,
}

impl Claude {
    /// A user who has put `http://PROXY` and `tail` together as the base URL.
    pub fn at(world: &World, tail: &str) -> Self {
        Self::against(&format!("http://{}{tail}", world.address()))
    }

    /// A user with this base URL.
    pub fn against(base: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        for folder in [".claude", "tmp", "project"] {
            fs::create_dir(home.path().join(folder)).unwrap();
        }
        Self { home, variables: Vec::new(), arguments: Vec::new() }
            .with("ANTHROPIC_BASE_URL", base)
            .with("ANTHROPIC_API_KEY", KEY)
    }

    pub fn of(world: &World) -> Self {
        Self::at(world, "")
    }

    /// Where its settings are, if there are any.
    pub fn settings(&self) -> PathBuf {
        self.home.path().join(".claude/settings.json")
    }

    /// Sets a variable of the environment; an empty one is taken away.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.variables.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(|&argument| argument.to_owned()));
        self
    }

    pub fn asks(&self, prompt: &str) -> Session {
        let mut command = self.command();
        command.args(["-p", prompt, "--output-format", "json"]).args(&self.arguments);
        let _turn = Turn::take();
        let ended = child::run(&mut command, PATIENCE, "Claude Code was installed");
        let result = serde_json::from_str(&ended.stdout).unwrap_or_default();
        Session {
            succeeded: ended.status.success() && result_is_fine(&result),
            result,
            output: ended.stdout + &ended.stderr,
            took: ended.took,
        }
    }

    fn command(&self) -> Command {
        let home = self.home.path();
        let mut command = Command::new(node().join("node_modules/.bin/claude"));
        child::clean(&mut command)
            .current_dir(home.join("project"))
            .env("HOME", home)
            .env("CLAUDE_CONFIG_DIR", home.join(".claude"))
            .env("TMPDIR", home.join("tmp"))
            .env("SHELL", "/bin/bash")
            .env("LANG", "C.UTF-8")
            .env("DISABLE_TELEMETRY", "1")
            .env("DISABLE_ERROR_REPORTING", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

impl Session {
    /// What Claude Code shows as the answer.
    pub fn text(&self) -> &str {
        self.result["result"].as_str().unwrap_or(&self.output)
    }
}

/// The lines about requests in the proxy's log, once there are so many.
pub fn lines(world: &World, count: usize) -> Vec<String> {
    let begun = Instant::now();
    loop {
        // A line is written when the answer has ended, which the client may know first.
        let log = world.log();
        let lines = log.lines().filter(|line| line.contains(" answered by "));
        let lines: Vec<String> = lines.map(str::to_owned).collect();
        if lines.len() >= count || begun.elapsed() > Duration::from_secs(5) {
            assert_eq!(lines.len(), count, "{log}");
            return lines;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

fn result_is_fine(result: &Value) -> bool {
    result["is_error"] == false && result["subtype"] == "success"
}

/// One of three places: more sessions at once only make each other slow.
struct Turn;

static FREE: Mutex<u32> = Mutex::new(3);
static CHANGED: Condvar = Condvar::new();

impl Turn {
    fn take() -> Self {
        let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free =
            CHANGED.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        CHANGED.notify_one();
    }
}
