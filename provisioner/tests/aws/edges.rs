//! What people do and others write that nobody expects: signs that steer a terminal, settings that are
//! none, a disk that is full, a question that is left.

use std::fs::OpenOptions;
use std::process::Command;

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_lambda::types::Environment;
use serde_json::json;

use testing::aws::emulator::Emulator::MiniStack;
use testing::aws::world::{Ended, World};

/// Sets the title, clears the screen, turns the text around, ends the line.
const STEERS: &str = "a\u{1b}]0;title\u{7}\u{1b}[2J\u{202e}\u{9b}31m\r\u{8}b";

#[tokio::test]
async fn nothing_that_others_wrote_steers_the_terminal() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    world.entitle();
    set(&world, &[("STRANGE", STEERS), ("LOG_LEVEL", STEERS)]).await;
    write_limit(&world).await;
    for words in [
        &["config", "list"][..],
        &["limits"],
        &["user", "list"],
        &["doctor"],
        &["status", "--no-probe"],
        &["plan", "--no-build"],
        &["config", "set", "FALLBACK_ON=rate_limit"],
        &["config", "unset", "STRANGE"],
        &["drill"],
    ] {
        let Ended { stdout, stderr, .. } = world.run(words);
        for text in [&stdout, &stderr] {
            let steers = text
                .chars()
                .find(|c| (c.is_control() && *c != '\n') || ('\u{202a}'..='\u{202e}').contains(c));
            assert_eq!(steers, None, "{words:?}:\n{stdout}\n{stderr}");
        }
    }
}

/// What is there can be taken away, whatever it is called, and whatever else is wrong.
#[tokio::test]
async fn a_setting_that_is_none_can_be_unset() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    set(&world, &[("RETRY_TRESHOLD_SECONDS", "60"), ("LOG_LEVL", "info")]).await;
    world.run(&["config", "unset", "RETRY_TRESHOLD_SECONDS"]).expect(0);
    let set = world.run(&["config", "set", "LOG_LEVEL=warn"]);
    set.expect(0);
    assert!(set.stderr.contains("LOG_LEVL"), "what is still wrong is said: {}", set.stderr);
    let list = world.run(&["config", "list"]).stdout;
    assert!(list.contains("LOG_LEVL ") && !list.contains("TRESHOLD"), "{list}");
    world.run(&["config", "unset", "LOG_LEVL"]).expect(0);
    assert!(world.plan().is_empty(), "{:?}", world.plan());
    world.proxy.take_journal();
    // What is not there is not to be had, and what the stack decides is its own.
    world.run(&["config", "unset", "LOG_LEVL"]).expect(64);
    world.run(&["config", "unset", "RATE_LIMIT_STORE"]).expect(64);
    world.run(&["config", "set", "LOG_LEVL=info"]).expect(64);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_key_that_nobody_could_read_is_taken_back() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    for words in [&["user", "add", "bob"][..], &["user", "add", "bob", "--json"]] {
        let mut command = world.command(words);
        command.stdout(OpenOptions::new().write(true).open("/dev/full").unwrap());
        let ended = world.finish(command);
        ended.expect(1);
        assert!(ended.error().contains("the key was taken back"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("ccp_"), "{}", ended.stderr);
        assert_eq!(world.run(&["user", "list", "--json"]).json()["users"], json!([]));
    }
    world.run(&["user", "add", "bob"]).expect(0);
}

#[cfg(unix)]
#[test]
fn a_question_can_be_left() {
    use std::io::Read as _;
    let world = World::new(MiniStack);
    let path = world.path("one");
    let up = ["up", "--no-probe", "--binary", &path];
    let capped = [&up[..], &["--env", "BUDGET_USER_MONTH_USD=50"]].concat();
    for (words, question) in [(&up[..], "(none: no cap) "), (&capped, "[y/N] ")] {
        let (mut child, mut screen) = testing::aws::terminal::start(&world, words, &[]);
        let (mut seen, mut piece) = (String::new(), [0; 4096]);
        while !seen.contains(question) {
            let length = screen.read(&mut piece).unwrap();
            seen.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
        let mut rest = Vec::new();
        drop(screen.read_to_end(&mut rest));
        assert_eq!(child.wait().unwrap().code(), Some(130));
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(!rest.contains("step"), "no step is under way: {rest}");
        assert!(rest.contains("nothing was changed"), "{rest}");
    }
    assert!(world.is_gone());
}

/// An account that may answer so many requests at once.
fn account(world: &World, all: i32, free: i32) {
    let limit = json!({"ConcurrentExecutions": all, "UnreservedConcurrentExecutions": free});
    world.proxy.answer("/2016-08-19/account-settings", 200, json!({"AccountLimit": limit}));
}

const ORGANIZATION: [&str; 4] =
    ["--env", "ACCESS_MODE=organization", "--env", "ALLOWED_ORGANIZATIONS=o-1"];

/// A new account has ten, and can reserve none of them.
#[test]
fn an_account_that_cannot_reserve_goes_without_and_says_so() {
    for (all, free, reserves) in [(10, 10, false), (1000, 120, false), (1000, 1000, true)] {
        let world = World::new(MiniStack);
        world.entitle();
        account(&world, all, free);
        let plan = world.run(&[&["plan", "--no-build"][..], &ORGANIZATION].concat());
        plan.expect(0);
        assert_eq!(plan.stdout.contains("nothing is reserved"), !reserves, "{}", plan.stdout);
        let up = world.up(&ORGANIZATION);
        up.expect(0);
        assert_eq!(up.stdout.contains("nothing is reserved"), !reserves, "{}", up.stdout);
        let put = world.proxy.take_journal().iter().any(|c| c == "lambda.PutFunctionConcurrency");
        assert_eq!(put, reserves);
        assert!(world.plan().is_empty(), "{:?}", world.plan());
        let doctor = world.run(&["doctor"]).stdout;
        assert_eq!(doctor.contains("nothing is reserved"), !reserves, "{doctor}");
    }
}

#[test]
fn what_an_account_cannot_reserve_is_refused_before_anything_is_made() {
    let world = World::new(MiniStack);
    for (all, free, asked, most) in [(10, 10, "1", None), (1000, 150, "60", Some("50"))] {
        account(&world, all, free);
        let ended = world.up(&["--reserved-concurrency", asked]);
        ended.expect(64);
        assert_eq!(world.proxy.take_journal(), [""; 0]);
        let Some(most) = most else { continue };
        // What it says to do mends it.
        assert!(ended.error().contains(&format!("--reserved-concurrency {most}")), "{ended:?}");
        world.up(&["--reserved-concurrency", most]).expect(0);
    }
}

#[test]
fn a_function_that_is_stopped_on_purpose_is_not_asked_whether_it_is_well() {
    let world = World::new(MiniStack);
    account(&world, 10, 10);
    world.proxy.serve_url_at("http://127.0.0.1:1/");
    let path = world.path("one");
    let up = world.run(&["up", "--yes", "--binary", &path, "--reserved-concurrency", "0"]);
    up.expect(0);
    assert!(up.stdout.contains("stopped"), "{}", up.stdout);
    assert!(!up.stderr.contains("asking the URL"), "{}", up.stderr);
}

/// Puts variables into the function behind the tool's back.
async fn set(world: &World, pairs: &[(&str, &str)]) {
    let lambda = aws_sdk_lambda::Client::new(&world.sdk());
    let name = format!("{}-api", world.name);
    let found = lambda.get_function_configuration().function_name(&name).send().await.unwrap();
    let all = found.environment().and_then(|all| all.variables().cloned()).unwrap_or_default();
    let more = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let all = Environment::builder().set_variables(Some(all.into_iter().chain(more).collect()));
    let update = lambda.update_function_configuration().function_name(&name);
    update.environment(all.build()).send().await.unwrap();
}

/// A limit whose every text was written by somebody else.
async fn write_limit(world: &World) {
    let table = aws_sdk_dynamodb::Client::new(&world.sdk());
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let put = table.put_item().table_name(world.table());
    let put = put
        .item("pk", text(&format!("limit#{}", "0".repeat(64))))
        .item("sk", text("opus"))
        .item("limited_until", text("2999-01-01T00:00:00Z"))
        .item("recorded_at", text("2026-11-29T00:00:00Z"))
        .item("reason", text(STEERS))
        .item("retry_after_seconds", AttributeValue::N("60".to_owned()))
        .item("model", text(STEERS))
        .item("user", text(STEERS));
    put.send().await.unwrap();
}
