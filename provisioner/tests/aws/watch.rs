//! `status --watch`: what is seen of a stack that is used, of one that is not there, in a terminal
//! and without one.

use std::io::BufRead as _;
#[cfg(unix)]
use std::io::Read as _;

use function::failover::Upstream;
use function::failover::cooldown::Timestamp;
use function::money::budget::{Bill, Change};
use function::money::{Cost, MicroDollars, Period};
use function::session::Session;
use function::store::budgets::{Account, Budgets as _};
use function::store::sessions::Sessions as _;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::world::World;

use crate::limits::{deployed, log, store};
use crate::logs::Following;

const JSON: [&str; 5] = ["status", "--watch", "--interval", "2", "--json"];

#[tokio::test]
async fn users_upstreams_and_limits_are_seen_and_seen_again() {
    for emulator in [MiniStack, Moto] {
        let world = used(emulator).await;
        let mut watching = Following::start(&world, &JSON);
        for sight in watching.read(3) {
            assert_eq!(sight["troubles"], json!([]), "{emulator:?}");
            assert_eq!(sight["limits"].as_array().unwrap().len(), 3);
            let rate = |number: usize, key: &str| sight["upstreams"][number][key].clone();
            assert_eq!(rate(0, "upstream"), "anthropic");
            assert_eq!((rate(0, "failed"), rate(0, "first_byte_ms")), (json!(1), json!(700)));
            // Twice within the last quarter of an hour; the third line is older.
            assert_eq!((rate(1, "last_minute"), rate(1, "per_minute")), (json!(1), json!(0.1)));
            assert_eq!(
                (rate(0, "share_percent"), rate(1, "share_percent")),
                (json!(33.3), json!(66.7))
            );
            let users = sight["users"].as_array().unwrap();
            let told = |user: &Value| {
                let key = |key: &str| user[key].clone();
                [key("user"), key("keys"), key("requests"), key("by_bedrock")]
            };
            let told: Vec<_> = users.iter().map(told).collect();
            let person = |name: &str, numbers: [u32; 3]| -> [Value; 4] {
                [json!(name), json!(numbers[0]), json!(numbers[1]), json!(numbers[2])]
            };
            let wanted =
                [person("alice", [1, 2, 2]), person("bob", [0, 1, 0]), person("carol", [1, 0, 0])];
            assert_eq!(told, wanted, "{emulator:?}");
        }
        // What happens meanwhile is seen by the next looks.
        world.run(&["limits", "clear", "alice"]).expect(0);
        log(&world, "two", &[(0, request("bob", "anthropic", 200))]).await;
        until(&mut watching, |sight| {
            sight["limits"].as_array().unwrap().len() == 1
                && sight["upstreams"][0]["share_percent"] == 50.0
        });
        let ended = watching.interrupt();
        ended.expect(0);
        assert_eq!(ended.stderr, "");
        assert!(ended.stdout.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    }
}

/// What the function has written of its users is what the proxy's own page shows of everybody.
#[tokio::test]
async fn budgets_days_and_detours_are_seen_as_on_the_page() {
    for emulator in [MiniStack, Moto] {
        let world = deployed(emulator).await;
        let (store, now) = (store(&world), Timestamp::now());
        let (at, subject) = (Period::at(now, &TimeZone::UTC), "alice");
        let cost = Cost { amount: MicroDollars(690_000), assumed: false };
        let bill = Bill { cost, class: "opus".to_owned(), ..Bill::default() };
        let account = Account { subject, user: Some("alice"), at };
        store.change(&account, &Change::book(at, MicroDollars(0), Some(&bill))).await.unwrap();
        let session = Session {
            subject: subject.to_owned(),
            user: Some("alice".to_owned()),
            fingerprint: "0".repeat(64),
            side: Upstream::Bedrock,
            reason: Some("overloaded".to_owned()),
            class: "opus".to_owned(),
            limit: None,
            since: now,
            before: None,
            told: None,
            detours: Vec::new(),
        };
        let digest = function::session::digest(b"a-session").unwrap();
        store.change_session(&digest, &session).await.unwrap();
        let mut watching = Following::start(&world, &JSON);
        let all = watching.read(1).remove(0)["overview"].take();
        watching.interrupt().expect(0);
        assert_eq!(
            (&all["me"]["side"], &all["why"]),
            (&json!("bedrock"), &json!("Anthropic is overloaded"))
        );
        assert_eq!(all["days"][30]["by_class"], json!({"opus": 0.69}), "{emulator:?}");
        assert_eq!(all["me"]["month_usd"], json!(0.69));
        let detours = all["detours"].as_array().unwrap();
        assert_eq!((detours.len(), &detours[0]["user"]), (1, &json!("alice")));
        let users = &all["everybody"]["users"];
        assert_eq!(users, &json!([{"user": "alice", "requests": 1, "cost_usd": 0.69}]));
        assert_eq!(all["everybody"]["limits"].as_array().map(Vec::len), Some(3));
    }
}

#[tokio::test]
async fn without_a_terminal_there_is_one_block_after_the_other() {
    let world = used(MiniStack).await;
    let mut watching = Following::start(&world, &["status", "--watch", "--interval", "2"]);
    let mut block = String::new();
    while !block.contains("carol") {
        assert!(watching.lines.read_line(&mut block).unwrap() > 0, "{block}");
    }
    let block = regex_lite::Regex::new(r"\d\d:\d\d:\d\d UTC").unwrap().replace(&block, "NOW");
    let block = regex_lite::Regex::new(r"\d+ s ago").unwrap().replace_all(&block, "N s ago");
    insta::assert_snapshot!("watch", world.filtered(&block));
    let mut next = String::new();
    watching.lines.read_line(&mut next).unwrap();
    watching.lines.read_line(&mut next).unwrap();
    assert_eq!(next, format!("\nstack {} in account 000000000000, region us-east-1\n", world.name));
    let ended = watching.interrupt();
    ended.expect(0);
    assert_eq!((ended.stdout.contains('\x1b'), ended.stderr.as_str()), (false, ""));
}

#[tokio::test]
async fn a_stack_that_is_not_there_is_waited_for() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        let mut watching = Following::start(&world, &JSON);
        let sight = watching.read(1).remove(0);
        let troubles = sight["troubles"].as_array().unwrap();
        let told = |number: usize, key: &str| troubles[number][key].as_str().unwrap().to_owned();
        assert!(told(0, "message").starts_with("there is no stack named"), "{sight}");
        assert!(told(1, "message").starts_with("log-group//aws/lambda/"), "{sight}");
        assert_eq!(told(1, "hint"), "`up` makes it");
        assert_eq!((&sight["limits"], &sight["users"]), (&Value::Null, &json!([])));
        world.up(&[]).expect(0);
        until(&mut watching, |sight| sight["troubles"] == json!([]));
        // And when the log group goes again, the rest is still seen.
        let logs = aws_sdk_cloudwatchlogs::Client::new(&world.sdk());
        let group = format!("/aws/lambda/{}-api", world.name);
        logs.delete_log_group().log_group_name(group).send().await.unwrap();
        let sight = until(&mut watching, |sight| sight["troubles"] != json!([]));
        assert_eq!(
            (sight["troubles"].as_array().unwrap().len(), &sight["limits"]),
            (1, &json!([]))
        );
        watching.interrupt().expect(0);
    }
}

#[tokio::test]
async fn throttling_is_said_and_survived() {
    let world = used(MiniStack).await;
    world.proxy.page_logs(1, usize::MAX);
    let mut watching = Following::start(&world, &JSON);
    let sight = watching.read(1).remove(0);
    let trouble = sight["troubles"][0]["message"].as_str().unwrap();
    assert!(trouble.contains("Rate exceeded"), "{sight}");
    assert_eq!(sight["limits"].as_array().unwrap().len(), 3);
    world.proxy.page_logs(1, 1);
    let sight = until(&mut watching, |sight| sight["troubles"] == json!([]));
    assert_eq!(sight["users"][0]["requests"], 2);
    watching.interrupt().expect(0);
}

#[tokio::test]
async fn a_reader_that_goes_away_is_no_failure() {
    let world = World::new(MiniStack);
    let Following { child, lines } = Following::start(&world, &JSON);
    drop(lines);
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
}

/// The other screen, and back: what a terminal is given, and what is taken from it again.
#[cfg(unix)]
const SCREENS: (&str, &str) =
    ("\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[H", "\x1b[?7h\x1b[?25h\x1b[?1049l");

#[cfg(unix)]
#[tokio::test]
async fn a_terminal_is_drawn_over_and_given_back() {
    let world = used(MiniStack).await;
    // Nothing but another size makes it draw again within this test.
    let words = ["status", "--watch", "--interval", "3600"];
    for (variables, coloured) in [(&[][..], true), (&[("NO_COLOR", "1")][..], false)] {
        let (mut child, mut terminal) = testing::aws::terminal::start(&world, &words, variables);
        let mut seen = String::new();
        wait_for(&mut terminal, &mut seen, "carol");
        assert!(seen.starts_with(SCREENS.0), "{seen:?}");
        let shown = plain(&seen[SCREENS.0.len()..]);
        assert_eq!(seen.contains("\x1b[1m"), coloured, "{seen:?}");
        assert!(shown.starts_with(&format!("stack {}", world.name)), "{shown}");
        let size = rustix::termios::Winsize { ws_row: 9, ws_col: 40, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&terminal, size).unwrap();
        signal(&child, "-WINCH");
        let mut again = String::new();
        wait_for(&mut terminal, &mut again, "more lines");
        let again = plain(again.split_once("\x1b[H").unwrap().1);
        let lines: Vec<_> = again.lines().collect();
        assert_eq!(lines.len(), 9, "{again}");
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{again}");
        signal(&child, "-INT");
        let mut rest = String::new();
        wait_for(&mut terminal, &mut rest, SCREENS.1);
        assert!(rest.ends_with(SCREENS.1), "{rest:?}");
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_terminal_that_can_only_add_lines_is_not_drawn_over() {
    let world = World::new(MiniStack);
    let words = ["status", "--watch", "--interval", "3600"];
    let (mut child, mut terminal) =
        testing::aws::terminal::start(&world, &words, &[("TERM", "dumb")]);
    let mut seen = String::new();
    wait_for(&mut terminal, &mut seen, "nobody has asked.");
    assert!(!seen.contains('\x1b'), "{seen:?}");
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// A stack with three limits, two keys and some requests.
async fn used(emulator: testing::aws::emulator::Emulator) -> World {
    let world = deployed(emulator).await;
    for user in ["alice", "carol"] {
        world.run(&["user", "add", user]).expect(0);
    }
    let lines = [
        (20, request("alice", "bedrock", 200)),
        (10, request("alice", "bedrock", 200)),
        (3, request("bob", "anthropic", 400)),
        (0, request("alice", "bedrock", 200)),
        (0, "START RequestId: 1 Version: $LATEST".to_owned()),
    ];
    log(&world, "one", &lines).await;
    world
}

fn request(user: &str, upstream: &str, status: u16) -> String {
    json!({
        "request.id": "r", "call": "messages", "user": user, "model": "claude-sonnet-4-6",
        "upstream": upstream, "status": status, "first_byte_ms": 700, "duration_ms": 900,
    })
    .to_string()
}

/// Looks until something is seen.
#[track_caller]
fn until(watching: &mut Following, seen: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..400 {
        let sight = watching.read(1).remove(0);
        if seen(&sight) {
            return sight;
        }
    }
    panic!("it is never seen");
}

#[cfg(unix)]
fn wait_for(terminal: &mut std::fs::File, seen: &mut String, words: &str) {
    let mut piece = [0; 4096];
    while !seen.contains(words) {
        let length = terminal.read(&mut piece).unwrap();
        seen.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
}

#[cfg(unix)]
fn signal(child: &std::process::Child, signal: &str) {
    let pid = child.id().to_string();
    std::process::Command::new("kill").args([signal, &pid]).status().unwrap();
}

/// Without what a terminal takes for commands.
#[cfg(unix)]
fn plain(seen: &str) -> String {
    regex_lite::Regex::new("\x1b\\[[0-9;?]*[a-zA-Z]").unwrap().replace_all(seen, "").into_owned()
}
