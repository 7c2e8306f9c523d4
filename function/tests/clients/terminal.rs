//! What does somebody see who works with Claude Code in a terminal? The word in the conversation
//! and the line below it, each when it should be there, and nothing that is loud.

use std::time::Duration;

use serde_json::{Value, json};
use testing::{
    answer::{access_denied, limited, ok, overloaded, window},
    claude::{Claude, SUBSCRIPTION, terminal::Terminal},
    deployed::Deployed,
    dynamo::FakeDynamo,
    message::ToolPlay,
    table,
    world::World,
};

/// How Claude Code says what a hook has said.
const WORD: &str = "Stop says: claude-proxy: ";

#[test]
fn a_change_of_side_is_said_once_and_so_is_the_way_back() {
    let world = World::start();
    let mut terminal = Claude::of(&world).told_by(world.address()).opens();
    terminal.asks("one", "anthropic heard: one");
    world.anthropic.next([overloaded(), overloaded()]);
    for prompt in ["two", "three"] {
        terminal.asks(prompt, &format!("bedrock heard: {prompt}"));
    }
    for prompt in ["four", "five"] {
        terminal.asks(prompt, &format!("anthropic heard: {prompt}"));
    }
    let said = words(&terminal);
    let expected = [
        "on Bedrock (Anthropic is overloaded) · $0.01 this month",
        "back on Anthropic · this detour cost $0.01, cache 0 %",
    ];
    assert_eq!(said, expected, "{terminal:?}");
    quiet(&terminal);
}

#[test]
fn the_line_below_says_until_when_and_goes_by_itself() {
    let world = World::with("RETRY_THRESHOLD_SECONDS", "1").start();
    let mut terminal = Claude::of(&world).told_by(world.address()).opens();
    world.anthropic.next([limited(20)]);
    terminal.asks("one", "bedrock heard: one");
    let is_there = |terminal: &Terminal| terminal.screen().contains("\n  Bedrock until ");
    terminal.waits_for("the line", is_there);
    assert!(terminal.screen().contains(" UTC (rate limit) · $0.01 this month\n"), "{terminal:?}");
    terminal.waits_for("no line", |terminal| !is_there(terminal));
    quiet(&terminal);
}

#[test]
fn each_mark_of_a_budget_is_said_once_and_then_the_native_limit_is_shown() {
    let world = World::with("BUDGET_USER_MONTH_USD", "10")
        .with("BUDGET_MESSAGE", "ask Ada")
        .with("BEDROCK_PRICES", r#"{"claude-opus-5-5": {"output": 20}}"#)
        .start();
    let claude = Claude::of(&world)
        .with("ANTHROPIC_API_KEY", "")
        .with("CLAUDE_CODE_OAUTH_TOKEN", SUBSCRIPTION)
        .arguments(&["--model", "claude-opus-5-5"]);
    let mut terminal = claude.told_by(world.address()).opens();
    world.anthropic.next([window("5h", 3600)]);
    // Thousands of tokens, and what is said of the budget then.
    let turns = [
        ("one", 200, None),
        ("two", 180, Some("75 % of the Bedrock budget used: $7.61 of $10.00 this month, resets ")),
        ("three", 5, None),
        ("four", 95, Some("95 % of the Bedrock budget used: $9.61 of $10.00 this month, resets ")),
        ("five", 40, Some("Bedrock budget used up: $10.41 of $10.00, resets ")),
    ];
    let mut said = vec!["on Bedrock until "];
    for (prompt, thousands, word) in turns {
        world.bedrock.next([ok().tokens(thousands * 1000)]);
        terminal.asks(prompt, &format!("bedrock heard: {prompt}"));
        said.extend(word);
        let all = words(&terminal);
        let begins = all.iter().zip(&said).all(|(word, begin)| word.starts_with(begin));
        assert!(all.len() == said.len() && begins, "{said:#?} {terminal:?}");
    }
    let all = words(&terminal);
    assert!(all[0].ends_with(" UTC (5-hour limit) · $4.01 of $10.00 this month"), "{all:?}");
    assert!(all[3].ends_with(" UTC · ask Ada"), "{all:?}");
    world.anthropic.next([window("5h", 3600)]);
    terminal.types("six");
    terminal.waits_for("the native limit, and the line", |terminal| {
        let screen = terminal.screen();
        screen.contains("You've hit your 5-hour limit · resets ")
            && screen.contains("\n  Bedrock budget used up: $10.41 of $10.00, resets ")
    });
    let rings = |terminal: &Terminal| terminal.raw().matches("\u{1b}]9;claude-proxy: ").count();
    terminal.waits_for("a bell", |terminal| rings(terminal) > 0);
    assert_eq!((rings(&terminal), words(&terminal).len()), (1, 4));
    quiet(&terminal);
}

#[test]
fn a_store_that_fails_or_is_slow_is_never_loud() {
    let slow = ok().head_after(Duration::from_secs(2));
    for (answer, patience) in [(&access_denied(), "250"), (&slow, "250"), (&slow, "30000")] {
        let fake = FakeDynamo::start();
        for operation in ["BatchGetItem", "GetItem", "UpdateItem", "PutItem"] {
            fake.always(operation, answer);
        }
        let plan = table::world(&fake.url(), "limits");
        let world = plan.with("RATE_LIMIT_STORE_TIMEOUT_MS", patience).start();
        let mut terminal = Claude::of(&world).told_by(world.address()).opens();
        world.anthropic.next([overloaded()]);
        terminal.asks("one", "bedrock heard: one");
        terminal.asks("two", "anthropic heard: two");
        quiet(&terminal);
    }
}

/// There an answer of nothing is one line end.
#[test]
fn behind_a_function_url_nothing_is_said_where_nothing_is_new() {
    let deployed = Deployed::start();
    let address = deployed.lambda.url();
    let claude = Claude::against(&format!("http://{address}")).told_by(address);
    let mut terminal = claude.opens();
    terminal.asks("one", "anthropic heard: one");
    assert_eq!(words(&terminal), [""; 0], "{terminal:?}");
    deployed.anthropic.next([overloaded()]);
    terminal.asks("two", "bedrock heard: two");
    terminal.asks("three", "anthropic heard: three");
    assert_eq!(words(&terminal).len(), 2, "{terminal:?}");
    let invocations = deployed.lambda.invocations();
    let answers = invocations
        .iter()
        .map(|one| one.chunks.iter().flat_map(|(_, chunk)| chunk.to_vec()).collect::<Vec<u8>>());
    let silent = br#"{"statusCode":200,"headers":{},"cookies":[]}"#;
    let silent = [&silent[..], &[0; 8], b"\n"].concat();
    assert_eq!(answers.filter(|answer| *answer == silent).count(), 1, "the first turn");
    quiet(&terminal);
}

#[test]
fn a_session_with_thirty_subagents_says_it_once() {
    let world = World::start();
    let mut terminal = Claude::of(&world).told_by(world.address()).opens();
    let task = |number: u32| {
        json!({"description": format!("Task {number}"), "prompt": format!("do {number}"),
               "subagent_type": "Explore"})
    };
    world.anthropic.always(overloaded());
    // Claude Code lets no more than twenty work at once.
    for turn in 1..=2 {
        let input: Value = (0..15).map(task).collect();
        let play = ToolPlay { name: "Agent".to_owned(), input, times: turn * 15 };
        world.bedrock.play(play);
        terminal.asks(&format!("ask them all, {turn}"), "bedrock heard: ");
        let ended = terminal.screen().matches("● Agent \"Task ").count();
        assert_eq!(ended, turn * 15, "{terminal:?}");
    }
    assert_eq!(words(&terminal).len(), 1, "{terminal:?}");
    quiet(&terminal);
}

/// What the hooks have said, in the order of the screen.
fn words(terminal: &Terminal) -> Vec<String> {
    let screen = terminal.screen();
    let said = screen.lines().filter_map(|line| Some(line.split_once(WORD)?.1.to_owned()));
    said.collect()
}

/// No hook has failed.
#[track_caller]
fn quiet(terminal: &Terminal) {
    let screen = terminal.screen().to_lowercase();
    for loud in ["hook failed", "hook error", "hook timed", "stop hook"] {
        assert!(!screen.contains(loud), "{loud}: {screen}");
    }
}
