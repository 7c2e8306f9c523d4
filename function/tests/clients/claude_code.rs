//! Does Claude Code work on, whoever answers? The rules that its users rely on, one test each.

use std::{
    fs,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use function::{
    clock,
    failover::identity::{Fingerprint, ModelClass},
    store::{RateLimitStore, embedded::EmbeddedStore},
};
use serde_json::{Value, json};
use testing::{
    answer::{limited, ok, refused, window},
    claude::{Claude, KEY, SUBSCRIPTION, Session, lines},
    client::Call,
    message::{THOUGHT, ToolPlay},
    world::World,
};

/// A PNG of one pixel.
const DOT: &[u8] = b"\x89PNG\r\n\x1a\n\
    \0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0:~\x9bU\
    \0\0\0\nIDATx\x9cc`\0\0\0\x02\0\x01H\xaf\xa4q\
    \0\0\0\0IEND\xaeB`\x82";

#[test]
fn a_prompt_is_answered_by_anthropic() {
    let world = World::start();
    let session = Claude::of(&world).asks("say hello");
    assert_answered(&session, "anthropic heard: say hello");
    let arrived = &world.anthropic.messages()[0];
    assert_eq!(arrived.target, "/v1/messages?beta=true");
    assert_eq!(arrived.header("x-api-key"), KEY);
    assert!(world.bedrock.requests().is_empty());
}

#[test]
fn a_tool_turn_goes_through_anthropic() {
    let world = World::start();
    world.anthropic.play(bash());
    let session = Claude::of(&world).arguments(&["--allowedTools", "Bash"]).asks("use a tool");
    assert_answered(&session, "anthropic heard: ");
    let turns = world.anthropic.messages();
    assert_eq!(turns.len(), 2);
    assert_eq!(tool_result(&turns[1].json()), "tool-42-ran");
    assert_all_well(&world, 2, KEY);
}

#[test]
fn a_tool_turn_goes_through_bedrock_during_a_limit() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.bedrock.play(bash());
    let session = Claude::of(&world).arguments(&["--allowedTools", "Bash"]).asks("use a tool");
    assert_answered(&session, "bedrock heard: ");
    assert_eq!(world.anthropic.requests().len(), 1);
    let turns = world.bedrock.requests();
    assert_eq!(turns.len(), 2);
    assert_eq!(tool_result(&turns[1].json()), "tool-42-ran");
    assert_all_well(&world, 2, KEY);
}

#[test]
fn a_short_limit_is_waited_for() {
    let world = World::start();
    world.anthropic.next([limited(2)]);
    let session = Claude::of(&world).asks("say hello");
    assert_answered(&session, "anthropic heard: say hello");
    assert!(session.took >= Duration::from_secs(2), "{:?}", session.took);
    let asked = world.anthropic.messages();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0].body, asked[1].body);
    assert!(world.bedrock.requests().is_empty());
    assert_all_well(&world, 1, KEY);
}

#[test]
fn a_long_limit_is_answered_by_bedrock_and_so_is_the_next_prompt() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    let claude = Claude::of(&world);
    let first = claude.asks("say hello");
    assert_answered(&first, "bedrock heard: say hello");
    assert!(first.took < Duration::from_secs(20), "nobody waited: {:?}", first.took);
    assert_answered(&claude.asks("say more"), "bedrock heard: say more");
    assert_eq!(world.anthropic.requests().len(), 1, "the second prompt was not sent there");
    assert_eq!(world.bedrock.requests().len(), 2);
    assert_all_well(&world, 2, KEY);
}

#[test]
fn a_conversation_goes_on_across_a_limit_and_back() {
    let world = World::with("RETRY_THRESHOLD_SECONDS", "1").start();
    let claude = Claude::of(&world);
    assert_answered(&claude.asks("one"), "anthropic heard: one");
    let claude = claude.arguments(&["--continue"]);
    world.anthropic.next([limited(3)]);
    assert_answered(&claude.asks("two"), "bedrock heard: two");
    // A limit is kept in whole seconds, rounded up.
    thread::sleep(Duration::from_secs(4));
    assert_answered(&claude.asks("three"), "anthropic heard: three");
    let last = world.anthropic.messages().pop().unwrap().json();
    assert_eq!(last["model"], "claude-opus-5-5", "Bedrock's name for it did not stick");
    let history = last["messages"].to_string();
    assert!(history.contains("bedrock heard: two") && history.contains("anthropic heard: one"));
    assert_all_well(&world, 3, KEY);
}

#[test]
fn every_model_is_answered_by_bedrock_during_a_limit() {
    let world = World::start();
    world.anthropic.always(limited(120));
    world.bedrock.play(bash());
    let models = [
        "claude-haiku-5-5",
        "claude-sonnet-5-5",
        "claude-opus-5-5",
        "claude-fable-5-2",
        "claude-opus-5",
        "claude-sonnet-5",
        "claude-opus-4-8",
        "claude-sonnet-4-6",
        "claude-opus-4-5-20251101",
        "claude-sonnet-4-5-20250929",
        "claude-haiku-4-5-20251001",
    ];
    for model in models {
        let arguments = ["--allowedTools", "Bash", "--model", model];
        let session = Claude::of(&world).arguments(&arguments).asks("use a tool");
        assert_answered(&session, "bedrock heard: ");
        assert!(!session.result["modelUsage"][model].is_null(), "{}", session.output);
    }
    assert_eq!(world.bedrock.requests().len(), 2 * models.len(), "none had to be mended");
    assert_all_well(&world, 2 * models.len(), KEY);
}

#[test]
fn every_line_takes_whole_answers_and_what_nobody_knows() {
    for_every_line(|model| {
        let world = World::start();
        world.anthropic.always(limited(120));
        world.bedrock.play(bash());
        // A stream that fails after its first words makes Claude Code ask again without one.
        let failing = || ok().exception_after(4, "internalServerException");
        world.bedrock.next([failing(), ok(), failing(), ok()]);
        let session = Claude::of(&world)
            .with("ANTHROPIC_BETAS", "brand-new-2027-01-01")
            .with("CLAUDE_CODE_EXTRA_BODY", r#"{"brand_new":{"a":1}}"#)
            .arguments(&["--allowedTools", "Bash", "--model", model])
            .asks("use a tool");
        assert_answered(&session, "bedrock heard: ");
        let first = &world.anthropic.messages()[0];
        assert!(first.header("anthropic-beta").contains("brand-new-2027-01-01"));
        assert_eq!(first.json()["brand_new"], json!({"a": 1}));
        let turns = world.bedrock.requests();
        let whole = turns.iter().filter(|turn| turn.path().ends_with("/invoke")).count();
        assert_eq!((turns.len(), whole), (4, 2), "{model}: none had to be mended");
        for turn in turns.iter().map(|turn| turn.json()) {
            let betas = turn["anthropic_beta"].to_string();
            assert!(turn.get("brand_new").is_none() && !betas.contains("brand-new"), "{betas}");
        }
        let result = tool_result(&turns[3].json());
        assert!(result.as_str().is_some_and(|said| said.starts_with("tool-42-ran")), "{result}");
        assert_all_well(&world, 4, KEY);
    });
}

#[test]
fn thoughts_survive_the_way_to_bedrock_and_back_within_a_tool_loop() {
    for_every_line(|model| {
        let world = World::with("RETRY_THRESHOLD_SECONDS", "1").start();
        world.anthropic.next([ok(), limited(2)]);
        world.anthropic.play(bash());
        // A limit is kept in whole seconds, rounded up.
        let input = json!({"command": "sleep 3.2; echo waited", "description": "Wait"});
        world.bedrock.play(ToolPlay { name: "Bash".to_owned(), input, times: 2 });
        let refuses = ["claude-haiku-4-5-20251001", "claude-opus-5-5"].contains(&model);
        if refuses {
            let sentence = "messages.1.content.0: Invalid `signature` in `thinking` block";
            world.bedrock.next([refused(400, "ValidationException", sentence)]);
        }
        let session = Claude::of(&world)
            .arguments(&["--allowedTools", "Bash", "--model", model])
            .asks("use two tools");
        assert_answered(&session, "anthropic heard: ");
        let (there, back) = (world.bedrock.requests(), world.anthropic.messages());
        // Where a thought must begin the turn, the model answers without thinking in the end.
        let mends = usize::from(refuses) + usize::from(refuses && model.contains("haiku"));
        assert_eq!((there.len(), back.len()), (1 + mends, 3), "{model}");
        let all = if model.contains("haiku") { 1 } else { 2 };
        for (turn, thoughts) in [(&there[0], 1), (&back[2], all)] {
            let turn = turn.json();
            let turns = turn["messages"].as_array().unwrap().iter();
            let blocks = turns.flat_map(|turn| turn["content"].as_array().into_iter().flatten());
            let signed =
                blocks.filter(|block| block["type"] == "thinking" && block["signature"] == THOUGHT);
            assert_eq!(signed.count(), thoughts, "{model}: {}", turn["messages"]);
        }
        assert_all_well(&world, 3, KEY);
    });
}

#[test]
fn an_image_is_read_through_bedrock_during_a_limit() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    let image = tempfile::Builder::new().suffix(".png").tempfile().unwrap();
    fs::write(&image, DOT).unwrap();
    let input = json!({"file_path": image.path()});
    world.bedrock.play(ToolPlay { name: "Read".to_owned(), input, times: 1 });
    let folder = image.path().parent().unwrap().to_str().unwrap();
    let arguments = ["--allowedTools", "Read", "--add-dir", folder];
    let session = Claude::of(&world).arguments(&arguments).asks("look at it");
    assert_answered(&session, "bedrock heard: ");
    let turns = world.bedrock.requests();
    assert_eq!(tool_result(&turns[1].json())["source"]["media_type"], "image/png");
    assert_all_well(&world, 2, KEY);
}

#[test]
fn a_tool_call_is_checked_by_bedrock_in_auto_mode() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.bedrock.play(bash());
    let arguments = ["--permission-mode", "auto"];
    let session = Claude::of(&world).arguments(&arguments).asks("use a tool");
    assert_answered(&session, "bedrock heard: ");
    let turns = world.bedrock.requests();
    assert!(turns[0].json()["safeguards"].is_array());
    assert_eq!(tool_result(&turns[1].json()), "tool-42-ran", "nobody had to approve it");
    assert_all_well(&world, 2, KEY);
}

#[test]
fn a_web_search_fails_alone_during_a_limit() {
    let world = World::start();
    world.anthropic.always(limited(120));
    let input = json!({"query": "the answer"});
    world.bedrock.play(ToolPlay { name: "WebSearch".to_owned(), input, times: 1 });
    let claude = Claude::of(&world).with("ENABLE_TOOL_SEARCH", "false");
    let session = claude.arguments(&["--allowedTools", "WebSearch"]).asks("search");
    assert_answered(&session, "bedrock heard: ");
    let turns = world.bedrock.requests();
    assert_eq!(turns.len(), 2, "what only Anthropic can do is not sent to Bedrock");
    let result = tool_result(&turns[1].json());
    assert!(result.as_str().is_some_and(|text| text.contains("(429)")), "{result}");
}

#[test]
fn the_context_is_shown_though_nobody_can_count() {
    let world = World::start();
    world.anthropic.next_on("/v1/messages/count_tokens", vec![limited(120); 60]);
    let session = Claude::of(&world).asks("/context");
    assert!(session.succeeded && session.text().contains("Context Usage"), "{}", session.output);
    let asked = world.anthropic.on("/v1/messages/count_tokens").len();
    let lines = lines(&world, asked);
    assert!(asked > 0 && lines.iter().all(|line| line.contains(" status=501 ")), "{lines:#?}");
}

#[tokio::test]
async fn a_user_is_named_by_the_path_of_the_base_url() {
    assert_named(|world| Claude::at(world, "/u/alice")).await;
}

#[tokio::test]
async fn a_user_is_named_by_a_query_of_the_base_url() {
    assert_named(|world| Claude::at(world, "?claude-code-user=alice")).await;
}

#[tokio::test]
async fn a_user_is_named_by_a_custom_header() {
    const HEADER: &str = "x-claude-code-user: alice";
    assert_named(|world| Claude::of(world).with("ANTHROPIC_CUSTOM_HEADERS", HEADER)).await;
}

#[tokio::test]
async fn a_stream_that_breaks_ends_in_one_error_and_claude_code_asks_again() {
    let world = World::start();
    world.anthropic.next([ok().cut_after(4), ok().cut_after(4)]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.errors().len(), reply.broken), (1, None));
    let session = Claude::of(&world).asks("say hello");
    assert_answered(&session, "anthropic heard: say hello");
    let asked = world.anthropic.messages();
    let forms: Vec<Value> = asked.iter().map(|request| request.json()["stream"].clone()).collect();
    assert_eq!(forms, [true, true, false]);
    assert!(world.bedrock.requests().is_empty());
}

#[test]
fn a_stream_of_bedrock_that_fails_is_made_good_by_bedrock() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    // In the middle of the thought, and after the first word of the answer.
    for events in [4, 8] {
        world.bedrock.next([ok().exception_after(events, "internalServerException")]);
        let session = Claude::of(&world).asks("say hello");
        assert!(session.succeeded, "{}", session.output);
    }
    assert_eq!((world.anthropic.requests().len(), world.bedrock.requests().len()), (1, 4));
    let lines = lines(&world, 4);
    let failed = lines.iter().filter(|line| line.contains(" fault=\"bedrock's stream failed\""));
    assert_eq!(failed.count(), 2, "{lines:#?}");
}

#[test]
fn a_subscription_is_served_by_both_upstreams() {
    let world = World::start();
    let claude = Claude::of(&world)
        .with("ANTHROPIC_API_KEY", "")
        .with("CLAUDE_CODE_OAUTH_TOKEN", SUBSCRIPTION);
    assert_answered(&claude.asks("one"), "anthropic heard: one");
    let arrived = &world.anthropic.messages()[0];
    assert_eq!(arrived.header("authorization"), format!("Bearer {SUBSCRIPTION}"));
    assert!(arrived.header("anthropic-beta").contains("oauth-2025-04-20"));
    world.anthropic.next([window("5h", 3600)]);
    assert_answered(&claude.asks("two"), "bedrock heard: two");
    assert_answered(&claude.asks("three"), "bedrock heard: three");
    assert_eq!(world.anthropic.messages().len(), 2);
    assert_all_well(&world, 3, SUBSCRIPTION);
}

/// What Claude Code says that a session has cost, by its own table of list prices, is what the
/// ledger says of the profile that has them. `tests/core/money.rs` has such a session by hand.
#[test]
fn claude_code_and_the_ledger_agree_on_what_a_session_costs() {
    let world = World::with("BEDROCK_PROFILE_PREFIX", "global").start();
    world.anthropic.always(window("5h", 3600));
    world.bedrock.counts();
    world.bedrock.play(bash());
    let claude = Claude::of(&world)
        .with("ANTHROPIC_API_KEY", "")
        .with("CLAUDE_CODE_OAUTH_TOKEN", SUBSCRIPTION)
        .arguments(&["--allowedTools", "Bash"]);
    claude.asks("use a tool");
    // It goes on with the sum of what it continues.
    let session = claude.arguments(&["--continue"]).asks("and what was it?");
    let (said, told) = (session.result["total_cost_usd"].as_f64().unwrap(), usage(&world));
    let requests = told["requests"].as_f64().unwrap();
    assert!(requests >= 3.0, "{told}");
    assert!(told["tokens"]["cache_read"].as_u64() > Some(1000), "{told}");
    assert!(told["tokens"]["cache_write_1h"].as_u64() > Some(1000), "{told}");
    // Each request is rounded up to a whole micro-dollar.
    let more = (told["cost_usd"].as_f64().unwrap() - said) * 1e6;
    assert!((-0.01..=requests).contains(&more), "{said}: {told}");
}

/// What `function usage` says of the one user that there is.
fn usage(world: &World) -> Value {
    let (store, at) = (world.setting("RATE_LIMIT_STORE_PATH"), world.address().to_string());
    let mut command = std::process::Command::new(testing::world::program());
    let command = command.env_clear().env("RATE_LIMIT_STORE_PATH", store);
    let output = command.args(["usage", "--json", "--listen", &at]).output().unwrap();
    serde_json::from_slice::<Value>(&output.stdout).unwrap()["users"][0].clone()
}

/// What a developer sees whose budget is used up: Anthropic's limit in the client's own words, and
/// the same as without a proxy.
#[test]
fn a_budget_that_is_used_up_shows_the_native_limit_and_breaks_nothing() {
    let capped = World::with("BUDGET_USER_MONTH_USD", "0").with("BUDGET_MESSAGE", "ask finops");
    let (world, plain) = (capped.start(), World::with("BEDROCK_FALLBACK_ENABLED", "false").start());
    let ask = |world: &World, prompt: &str| {
        world.anthropic.next([window("5h", 3600)]);
        Claude::of(world)
            .with("ANTHROPIC_API_KEY", "")
            .with("CLAUDE_CODE_OAUTH_TOKEN", SUBSCRIPTION)
            .asks(prompt)
    };
    let (refused, usual) = (ask(&world, "one"), ask(&plain, "one"));
    // The minute in which the window resets may be another one.
    for session in [&refused, &usual] {
        let text = session.text();
        assert!(text.starts_with("You've hit your 5-hour limit · resets "), "{}", session.output);
    }
    assert_eq!(refused.succeeded, usual.succeeded);
    assert!(world.bedrock.requests().is_empty());
    // When the window is over, everything is as before.
    let claude = Claude::of(&world)
        .with("ANTHROPIC_API_KEY", "")
        .with("CLAUDE_CODE_OAUTH_TOKEN", SUBSCRIPTION);
    assert_answered(&claude.asks("two"), "anthropic heard: two");
}

/// A subscription's markers last an hour, which not every model of Bedrock takes: what one turn has
/// learnt, the next one does without.
#[test]
fn a_tool_turn_whose_markers_bedrock_refuses_is_served_and_the_next_turn_costs_one_call() {
    let world = World::start();
    world.anthropic.always(window("5h", 3600));
    world.bedrock.play(bash());
    let sent = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&sent);
    world.bedrock.direct(Arc::new(move |request| {
        let body = request.json();
        let marked = marked_for_an_hour(&body);
        noted.lock().unwrap().push(body);
        marked.map(|place| {
            let place = format!("{place}.cache_control.ephemeral.ttl");
            let said = format!("{place}: Extra inputs are not permitted");
            refused(400, "ValidationException", &said)
        })
    }));
    let session = Claude::of(&world)
        .with("ANTHROPIC_API_KEY", "")
        .with("CLAUDE_CODE_OAUTH_TOKEN", SUBSCRIPTION)
        .arguments(&["--allowedTools", "Bash"])
        .asks("use a tool");
    assert_answered(&session, "bedrock heard: ");
    let sent = sent.lock().unwrap();
    let refused = sent.iter().filter(|body| marked_for_an_hour(body).is_some()).count();
    assert_eq!((refused, sent.len()), (1, 3), "one mend, two turns");
    assert_eq!(tool_result(&sent[2]), "tool-42-ran");
    assert!(sent[2].to_string().contains("\"ephemeral\""), "the prompt is still cached");
    assert!(lines(&world, 2).iter().all(|line| line.contains("status=200")), "{}", world.log());
}

/// Where the first text block of a message stands whose marker has a time of its own.
fn marked_for_an_hour(body: &Value) -> Option<String> {
    let turns = body["messages"].as_array()?.iter().enumerate();
    let mut blocks = turns.flat_map(|(turn, message)| {
        let blocks = message["content"].as_array().into_iter().flatten().enumerate();
        blocks.map(move |(index, block)| (turn, index, block))
    });
    let (turn, index, block) =
        blocks.find(|(_, _, block)| !block["cache_control"]["ttl"].is_null())?;
    let kind = block["type"].as_str()?;
    Some(format!("messages.{turn}.content.{index}.{kind}"))
}

/// Runs a session for one model of each line, side by side.
fn for_every_line(session: fn(&str)) {
    let models = [
        "claude-haiku-4-5-20251001",
        "claude-sonnet-4-6",
        "claude-sonnet-5",
        "claude-opus-4-8",
        "claude-opus-5-5",
        "claude-fable-5-2",
    ];
    thread::scope(|scope| {
        for model in models {
            scope.spawn(move || session(model));
        }
    });
}

/// One call of the shell tool, whose output cannot be had without running it.
fn bash() -> ToolPlay {
    let input = json!({"command": "echo tool-$((6 * 7))-ran", "description": "Count"});
    ToolPlay { name: "Bash".to_owned(), input, times: 1 }
}

/// The only tool result in a request: its text, or its one block where that is no text.
fn tool_result(request: &Value) -> Value {
    let turns = request["messages"].as_array().unwrap().iter();
    let blocks = turns.flat_map(|turn| turn["content"].as_array().into_iter().flatten());
    let mut results = blocks.filter(|block| block["type"] == "tool_result");
    let result = results.next().unwrap();
    assert!(results.next().is_none());
    let content = &result["content"];
    let block = content.get(0).unwrap_or(content);
    block.get("text").unwrap_or(block).clone()
}

/// Claude Code shows this answer, and nothing of what was behind it.
#[track_caller]
fn assert_answered(session: &Session, text: &str) {
    assert!(session.succeeded, "{}", session.output);
    assert_eq!(session.text(), text);
    assert!(session.result["api_error_status"].is_null());
    let output = session.output.to_lowercase();
    for word in ["rate limit", "rate_limit", "ratelimit", "hour limit", "exceed", "retry"] {
        assert!(!output.contains(word), "it says {word}: {output}");
    }
}

/// All so many requests were answered with 200, and Bedrock never saw the credential.
#[track_caller]
fn assert_all_well(world: &World, requests: usize, credential: &str) {
    for line in lines(world, requests) {
        assert!(line.contains(" status=200 "), "{line}");
    }
    for request in world.bedrock.requests() {
        let whole = format!("{}{:?}{:?}", request.target, request.headers, request.body);
        assert!(!whole.contains(credential), "the credential went to Bedrock: {whole}");
        assert!(request.header("authorization").starts_with("AWS4-HMAC-SHA256 "));
    }
}

/// The log and the remembered limit carry the name `alice`; neither upstream sees it.
async fn assert_named(alice: fn(&World) -> Claude) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("limits.redb");
    let mut world = World::with("RATE_LIMIT_STORE_PATH", path.to_str().unwrap()).start();
    let claude = alice(&world);
    assert_answered(&claude.asks("one"), "anthropic heard: one");
    world.anthropic.next([limited(120)]);
    assert_answered(&claude.asks("two"), "bedrock heard: two");
    assert_all_well(&world, 2, KEY);
    for line in lines(&world, 2) {
        assert!(line.contains(" user=\"alice\" "), "{line}");
    }
    crate::assert_names_stay_here(&world, "alice");
    assert_eq!(world.anthropic.messages().len(), 2, "the path was put right");

    world.proxy().terminate();
    world.proxy().wait(Duration::from_secs(30));
    let now = clock::now();
    let store = EmbeddedStore::open(&path, now).unwrap();
    let fingerprint = Fingerprint::of(&[KEY.as_bytes()]).unwrap();
    let class = ModelClass::of("claude-opus-5-5").unwrap();
    let known = store
        .look_up(
            &function::store::Query {
                subject: Some((&fingerprint, &class)),
                key: None,
                session: None,
            },
            now,
        )
        .await
        .unwrap();
    assert_eq!(known.cooldown().unwrap().user.as_deref(), Some("alice"));
}
