//! What has it cost? The program says so beside the proxy that holds the file, and when it is gone;
//! nobody else is told.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testing::{
    answer::{limited, ok},
    client::{BOB, Call},
    world::{World, program},
};

#[tokio::test]
async fn the_proxy_that_holds_the_file_and_the_file_say_the_same() {
    let mut world = spent(World::with("BUDGET_USER_MONTH_USD", "50").start()).await;
    for _ in 0..2 {
        let (code, text) = usage(&world, &["--json"]);
        assert_eq!(code, 0, "{text}");
        let told: Value = serde_json::from_str(&text).expect("it is JSON");
        // 12 tokens in at 3.30, 7 out at 16.50 are 155.1 micro-dollars; of alice there are two.
        let alice = told["users"].as_array().expect("there are users");
        let alice = alice.iter().find(|user| user["user"] == "alice").expect("alice is one");
        assert_eq!(alice["cost_usd"], json!(0.000_312), "{told}");
        assert_eq!((&alice["requests"], &alice["unsettled_usd"]), (&json!(2), &json!(0)));
        assert_eq!(alice["limit_usd"], json!(50));
        assert_eq!(told["total_usd"], json!(0.000_468));
        let (code, table) = usage(&world, &["--user", "alice"]);
        assert!(code == 0 && table.contains("alice") && !table.contains("total"), "{table}");
        let (code, sheet) = usage(&world, &["--csv", "--month", "2020-01"]);
        assert_eq!((code, sheet.lines().count()), (0, 1), "{sheet}");
        let (code, days) = usage(&world, &["--by", "class"]);
        assert!(code == 0 && days.contains("sonnet"), "{days}");
        world.proxy().end();
    }
    let lying: Vec<PathBuf> = lying_beside(&world);
    assert!(lying.is_empty(), "{lying:?}");
}

#[tokio::test]
async fn nobody_is_told_who_cannot_write_beside_the_file() {
    let world = spent(World::start()).await;
    let nothing = world.call(Call::new("GET", "/_proxy/nothing")).await;
    let ask = |nonce: Option<&str>| {
        let call = Call::new("GET", "/_proxy/usage?month=2026-11");
        match nonce {
            Some(nonce) => call.header("x-claude-proxy-usage", nonce),
            None => call,
        }
    };
    let long = "a".repeat(64);
    for nonce in [None, Some(""), Some("a"), Some(&*long), Some("../../../etc/passwd")] {
        let reply = world.call(ask(nonce)).await;
        assert_eq!(reply.status, nothing.status, "{nonce:?}");
        let (said, usual) = (reply.error(), nothing.error());
        assert_eq!(said, usual, "{nonce:?}");
    }
    assert!(world.anthropic.requests().iter().all(|request| !request.path().contains("_proxy")));
}

#[tokio::test]
async fn what_cannot_be_told_is_a_sentence() {
    let world = spent(World::start()).await;
    let store = world.setting("RATE_LIMIT_STORE_PATH").to_owned();
    let of = |settings: &[(&str, &str)], words: &[&str]| told(settings, words);
    let elsewhere = [("RATE_LIMIT_STORE_PATH", &*store), ("LISTEN_ADDRESS", "127.0.0.1:9")];
    let folder = tempfile::tempdir().expect("a folder can be made");
    let absent = folder.path().join("absent.redb").display().to_string();
    let another = World::start();
    let stranger = [("RATE_LIMIT_STORE_PATH", &*store)];
    let at = another.address().to_string();
    let cases = [
        (of(&elsewhere, &[]), 1, "no proxy that knows it answers at http://127.0.0.1:9"),
        (of(&stranger, &["--listen", &at]), 1, "no proxy that knows it answers"),
        (of(&[("RATE_LIMIT_STORE", "memory")], &[]), 1, "the memory store keeps nothing"),
        (of(&[("RATE_LIMIT_STORE", "dynamodb")], &[]), 1, "`provisioner usage`"),
        (of(&[("RATE_LIMIT_STORE_PATH", &absent)], &[]), 0, "Nothing was spent."),
        (of(&[], &["--month", "2026-13"]), 64, "--month wants a month such as 2026-11"),
        (of(&[], &["--by", "week"]), 64, "--by wants day, class or user"),
        (of(&[], &["--json", "--csv"]), 64, "exclude each other"),
        (of(&[], &["alice"]), 64, "alice"),
        (of(&[("BUDGET_TIMEZONE", "Mars")], &[]), 64, "BUDGET_TIMEZONE"),
    ];
    for ((code, said), expected, part) in cases {
        assert!(code == expected && said.contains(part), "{code}: {said}");
        assert!(said.lines().count() <= 2 && !said.contains("panicked"), "{said}");
    }
    assert!(!Path::new(&absent).exists(), "a file that is asked about is not made");
}

#[tokio::test]
async fn the_greeting_says_what_the_month_has_cost() {
    let mut world = spent(World::start()).await;
    world.fallback();
    assert!(world.log().contains("spent     $0.00 on Bedrock in 20"), "{}", world.log());
    world.restart();
    world.fallback();
    // A cent that is begun counts.
    assert!(world.log().contains("spent     $0.01 on Bedrock in 20"), "{}", world.log());
}

#[tokio::test]
async fn what_a_killed_proxy_was_about_to_spend_is_told_as_unsettled() {
    let mut world = World::with("BUDGET_USER_MONTH_USD", "50").start();
    world.anthropic.always(limited(120));
    world.bedrock.next([ok().pause_after(4, Duration::from_secs(60))]);
    let mut live = Call::message().at("/u/alice/v1/messages").open(world.address()).await;
    live.next().await;
    world.proxy().kill();
    let (code, table) = usage(&world, &[]);
    assert_eq!(code, 0, "{table}");
    assert!(table.contains("$0.02 more is unsettled (1 reservation)"), "{table}");
    let (_, text) = usage(&world, &["--json"]);
    let told: Value = serde_json::from_str(&text).expect("it is JSON");
    let alice = &told["users"][0];
    assert_eq!((&alice["user"], &alice["cost_usd"]), (&json!("alice"), &json!(0)));
    assert!(alice["unsettled_usd"].as_f64().is_some_and(|left| left > 0.0169), "{told}");
}

#[tokio::test]
async fn a_limit_that_is_bridged_counts_once_however_often_it_is_met() {
    let world = World::start();
    world.anthropic.always(limited(120));
    let calls = (0..5).map(|_| world.call(Call::message()));
    futures_util::future::join_all(calls).await;
    for _ in 0..3 {
        assert_eq!(world.call(Call::message()).await.reason(), "cooldown");
    }
    let (_, text) = usage(&world, &["--json"]);
    let told: Value = serde_json::from_str(&text).expect("it is JSON");
    let seconds = told["users"][0]["waiting_avoided_s"].as_u64().expect("a number");
    assert!((118..=122).contains(&seconds), "{told}");
}

/// Two answers of Bedrock for alice, one for whoever has another credential.
async fn spent(world: World) -> World {
    world.anthropic.always(limited(120));
    for call in [Call::message(), Call::message().whole()] {
        world.call(call.at("/u/alice/v1/messages")).await;
    }
    world.call(Call::message().by(BOB)).await;
    world
}

fn usage(world: &World, words: &[&str]) -> (i32, String) {
    let (store, at) = (world.setting("RATE_LIMIT_STORE_PATH"), world.address().to_string());
    let settings = [
        ("RATE_LIMIT_STORE_PATH", store),
        ("LISTEN_ADDRESS", &at),
        ("BUDGET_USER_MONTH_USD", "50"),
    ];
    told(&settings, words)
}

/// How `function usage` ends, and all that it says.
fn told(settings: &[(&str, &str)], words: &[&str]) -> (i32, String) {
    let home = tempfile::tempdir().expect("a folder can be made");
    let mut command = Command::new(program());
    command.env_clear().env("HOME", home.path()).envs(settings.iter().copied());
    let output = command.arg("usage").args(words).output().expect("the binary was built");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8(said).expect("it is text"))
}

fn lying_beside(world: &World) -> Vec<PathBuf> {
    let store = Path::new(world.setting("RATE_LIMIT_STORE_PATH"));
    let folder = store.parent().expect("it is in a folder");
    let files = folder.read_dir().expect("it can be read").flatten().map(|file| file.path());
    files.filter(|file| file.display().to_string().contains("asked")).collect()
}
