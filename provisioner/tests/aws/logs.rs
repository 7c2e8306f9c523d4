//! The function's own lines, put into a log group, and `logs` as a person runs it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use function::clock;
use function::failover::{Reason, Upstream};
use function::money::{Cost, MicroDollars};
use function::telemetry::{self, Record};
use function::wire::usage::Usage;
use http::StatusCode;
use serde_json::{Value, json};
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::world::{Ended, World};

const BOTH: [testing::aws::emulator::Emulator; 2] = [MiniStack, Moto];

#[tokio::test]
async fn the_function_s_own_lines_are_read_back() {
    let lines = real_lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for emulator in BOTH {
        let group = Group::new(emulator).await;
        group.put("one", &lines).await;
        group.put("two", &["START RequestId: 1", "error: no settings"].map(str::to_owned)).await;
        let text = group.logs(&[]);
        text.expect(0);
        let words = |user: &str| -> Vec<String> {
            let line = text.stdout.lines().find(|line| line.contains(user)).unwrap();
            line.split_whitespace().skip(2).map(str::to_owned).collect()
        };
        let alice = words("alice").join(" ");
        assert!(alice.starts_with("alice claude-opus-5-5 bedrock 200 "), "{alice}");
        assert!(alice.ends_with("3.0k in (2.9k cached), 7 out rate_limited, limited for 2 min"));
        assert!(words("bob").join(" ").starts_with("bob claude-haiku-5-5 anthropic 529"));
        assert_eq!(words("no settings"), ["error", "no", "settings"]);
        assert_eq!(text.stdout.lines().count(), 4, "{}", text.stdout);
        let all = group.logs(&["-v", "--json"]);
        let kinds: Vec<_> = objects(&all).iter().map(|line| line["kind"].clone()).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == "platform").count(), 1);
        assert_eq!(kinds.len(), 5);
        let hers = objects(&group.logs(&["--user", "alice", "--json"]));
        assert_eq!(hers.len(), 1, "{hers:?}");
        assert_eq!(hers[0]["tokens"]["cache_read"], 2900);
        assert!(hers[0]["first_byte_ms"].is_u64() && hers[0]["time"].is_string());
        // Her name is the beginning of another.
        assert_eq!(objects(&group.logs(&["--user", "ali", "--json"])).len(), 0);
    }
}

#[tokio::test]
async fn pages_and_throttles_lose_no_line_and_show_none_twice() {
    for emulator in BOTH {
        let group = Group::new(emulator).await;
        group.put("one", &numbered(0..40)).await;
        group.put("two", &numbered(40..50)).await;
        group.world.proxy.page_logs(7, 2);
        let ended = group.logs(&["--json"]);
        ended.expect(0);
        assert_eq!(numbers(objects(&ended)), (0..50).collect::<Vec<_>>(), "{emulator:?}");
    }
}

#[tokio::test]
async fn throttled_for_ever_is_a_failure_that_says_so() {
    let group = Group::new(MiniStack).await;
    group.world.proxy.page_logs(1, usize::MAX);
    let ended = group.logs(&["--json"]);
    ended.expect(1);
    let error = &ended.json()["error"];
    assert!(error["message"].as_str().unwrap().contains("Rate exceeded"), "{error}");
    assert!(error["hint"].is_string());
    assert!(ended.stderr.contains("waiting: "), "{}", ended.stderr);
}

#[tokio::test]
async fn who_follows_sees_each_line_once_and_stops_calmly() {
    for emulator in BOTH {
        let group = Group::new(emulator).await;
        group.world.proxy.page_logs(3, 1);
        group.put("one", &numbered(0..10)).await;
        let mut following = Following::start(&group.world, &["logs", "--json", "--follow"]);
        let mut seen = following.read(10);
        // An instance that is late, between two that are not.
        group.put("two", &numbered(10..14)).await;
        group.put_back("three", &numbered(14..16), 30_000).await;
        seen.extend(following.read(6));
        group.put("one", &numbered(16..20)).await;
        seen.extend(following.read(4));
        let ended = following.interrupt();
        ended.expect(130);
        assert_eq!(ended.stdout, "", "nothing more, and no line twice");
        assert!(!ended.stderr.contains("error") && !ended.stderr.contains("stopping"));
        assert_eq!(numbers(seen), (0..20).collect::<Vec<_>>(), "{emulator:?}");
    }
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let group = Group::new(MiniStack).await;
    group.put("one", &numbered(0..10)).await;
    let mut following = Following::start(&group.world, &["logs", "--follow"]);
    let mut line = String::new();
    following.lines.read_line(&mut line).unwrap();
    assert!(line.contains("line 0"), "{line}");
    drop(following.lines);
    group.put("one", &numbered(10..20)).await;
    let ended = following.child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
}

#[test]
fn without_a_stack_it_says_so() {
    for emulator in BOTH {
        let world = World::new(emulator);
        for more in [&[][..], &["--follow"]] {
            let ended = world.run(&[&["logs"][..], more].concat());
            ended.expect(1);
            assert!(ended.stderr.contains("no stack named"), "{}", ended.stderr);
            assert!(ended.stderr.contains("hint: `up` makes one"), "{}", ended.stderr);
        }
    }
}

#[tokio::test]
async fn nothing_to_show_is_said_on_the_side() {
    let group = Group::new(MiniStack).await;
    let ended = group.logs(&["--since", "2026-11-01T00:00:00Z"]);
    ended.expect(0);
    assert_eq!(ended.stdout, "");
    assert!(ended.stderr.contains("has nothing to show since 2026-11-01T00:00:00Z"));
}

/// A log group as `up` makes it, with whatever is put into it.
struct Group {
    world: World,
    name: String,
    client: Client,
}

impl Group {
    async fn new(emulator: testing::aws::emulator::Emulator) -> Self {
        let world = World::new(emulator);
        let (name, client) = (format!("/aws/lambda/{}-api", world.name), Client::new(&world.sdk()));
        client.create_log_group().log_group_name(&name).send().await.unwrap();
        Self { world, name, client }
    }

    fn logs(&self, words: &[&str]) -> Ended {
        self.world.run(&[&["logs"][..], words].concat())
    }

    async fn put(&self, stream: &str, lines: &[String]) {
        self.put_back(stream, lines, 0).await;
    }

    /// Lines that were written so many milliseconds ago.
    async fn put_back(&self, stream: &str, lines: &[String], ago: i64) {
        let create = self.client.create_log_stream().log_group_name(&self.name);
        drop(create.log_stream_name(stream).send().await);
        let now = clock::now().as_millisecond() - ago;
        let event =
            |line: &String| InputLogEvent::builder().timestamp(now).message(line).build().unwrap();
        let put = self.client.put_log_events().log_group_name(&self.name).log_stream_name(stream);
        put.set_log_events(Some(lines.iter().map(event).collect())).send().await.unwrap();
    }
}

/// A command that goes on, while it runs.
pub(crate) struct Following {
    pub(crate) child: Child,
    pub(crate) lines: BufReader<std::process::ChildStdout>,
}

impl Following {
    pub(crate) fn start(world: &World, words: &[&str]) -> Self {
        let mut child = world.command(words).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next lines; waits until they come.
    pub(crate) fn read(&mut self, count: usize) -> Vec<Value> {
        let mut read = Vec::new();
        for _ in 0..count {
            let mut line = String::new();
            assert!(self.lines.read_line(&mut line).unwrap() > 0, "it ended after {read:?}");
            read.push(serde_json::from_str(&line).unwrap());
        }
        read
    }

    /// Ctrl-C.
    pub(crate) fn interrupt(mut self) -> Ended {
        // Long enough for another round.
        std::thread::sleep(Duration::from_millis(200));
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status().unwrap();
        let start = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not stop");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut stdout = String::new();
        self.lines.read_to_string(&mut stdout).unwrap();
        let ended = Ended::from(self.child.wait_with_output().unwrap());
        Ended { stdout, ..ended }
    }
}

fn objects(ended: &Ended) -> Vec<Value> {
    ended.expect(0);
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn numbered(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers
        .map(|number| json!({"level": "WARN", "message": format!("line {number}")}).to_string())
        .collect()
}

fn numbers(lines: Vec<Value>) -> Vec<u32> {
    let number = |line: &Value| line["message"].as_str().unwrap()[5..].parse().unwrap();
    let mut numbers: Vec<u32> = lines.iter().map(number).collect();
    numbers.sort_unstable();
    numbers
}

/// Lines as the function's own code writes them, in a process of its own.
pub(crate) fn real_lines() -> Vec<String> {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "logs::writes_lines", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    assert!(child.status.success());
    let said = String::from_utf8(child.stderr).unwrap();
    said.lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect()
}

#[test]
#[ignore = "another test runs it as a program"]
fn writes_lines() {
    telemetry::measure_as("claude-proxy-api".to_owned());
    let alice = Record::begin();
    alice.asked("messages", Some("alice"), Some(("claude-opus-5-5", true)));
    alice.attempt(Upstream::Anthropic, None);
    alice.attempt(Upstream::Bedrock, Some(Reason::RateLimited));
    alice.bedrock_failed();
    alice.remembered(Duration::from_secs(120));
    alice.answered(StatusCode::OK, Some(Upstream::Bedrock));
    alice.first_byte();
    let (input, output, cache_read) = (Some(100), Some(7), Some(2900));
    alice.used(Usage { input, output, cache_read, ..Usage::default() });
    alice.cost(Cost { amount: MicroDollars(12_345), assumed: true });
    alice.budget("ok", Some(MicroDollars(20_000)));
    alice.total_used(80);
    alice.complete();
    let bob = Record::begin();
    bob.asked("messages", Some("bob"), Some(("claude-haiku-5-5", false)));
    bob.budget("used_up", None);
    bob.first_byte();
    bob.answered(StatusCode::from_u16(529).unwrap(), Some(Upstream::Anthropic));
    bob.complete();
    let nobody = Record::begin();
    nobody.asked("refused", None, None);
    nobody.answered(StatusCode::UNAUTHORIZED, None);
    nobody.complete();
}
