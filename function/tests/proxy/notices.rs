//! The hooks of a client are told what is new, once, and never anything loud.

use std::time::Duration;

use function::failover::identity::Fingerprint;
use function::money::budget::{Month, of_session};
use function::session;
use futures_util::future::join_all;
use redb::{Database, TableDefinition};
use serde_json::{Value, json};
use testing::{
    answer::{access_denied, limited, ok, overloaded, window},
    client::{ALICE, Call, Reply},
    dynamo::FakeDynamo,
    table,
    world::{Plan, World},
};
use tokio::time::{Instant, sleep};

const SESSION: &str = "7d0f4c1e-4b1c-4f5e-9a55-0f6f1f0f7a11";
const CANARY: &str = "canary-of-a-conversation";
const KEY: &str = "ccp_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn a_change_of_side_is_told_once_and_so_is_the_way_back() {
    let world = World::start();
    world.call(message()).await;
    assert_eq!(told(&world, "Stop").await, "", "an ordinary answer is nothing new");
    world.anthropic.next([overloaded()]);
    world.call(message()).await;
    let on_bedrock = "claude-proxy: on Bedrock (Anthropic is overloaded) · $0.01 this month";
    assert_eq!(told(&world, "Stop").await, on_bedrock);
    world.anthropic.next([overloaded()]);
    world.call(message()).await;
    assert_eq!(told(&world, "Stop").await, "", "it goes on");
    world.call(message()).await;
    let back = "claude-proxy: back on Anthropic · this detour cost $0.01, cache 0 %";
    assert_eq!(told(&world, "Stop").await, back);
    assert_eq!(told(&world, "Stop").await, "");
}

#[tokio::test]
async fn a_detour_costs_what_its_own_session_has_spent() {
    let world = World::start();
    let counter = |session: &str| session::digest(session.as_bytes()).map(|d| of_session(&d));
    let other = "another-session-of-the-same-person";
    assert_ne!(counter(SESSION), counter(other));
    world.anthropic.next([overloaded(), overloaded()]);
    world.bedrock.next([ok(), ok().tokens(200_000)]);
    let in_other = || Call::message().header("x-claude-code-session-id", other);
    for call in [message(), in_other(), message(), in_other()] {
        world.call(call).await;
    }
    let back = "claude-proxy: back on Anthropic · this detour cost ";
    assert_eq!(told(&world, "Stop").await, format!("{back}$0.01, cache 0 %"));
    let dear = sentence(&world.call(hook("Stop", other)).await);
    assert!(dear.starts_with(&format!("{back}$3.")), "{dear}");
}

#[tokio::test]
async fn a_limit_is_told_with_its_end_and_its_window() {
    let world = World::with("BUDGET_USER_MONTH_USD", "10").start();
    world.anthropic.next([window("5h", 3600)]);
    assert_eq!(world.call(message()).await.upstream(), "bedrock");
    let said = told(&world, "UserPromptSubmit").await;
    let (begin, end) = ("claude-proxy: on Bedrock until ", " UTC (5-hour limit) · $0.01 of $10.00");
    assert!(said.starts_with(begin) && said.contains(end), "{said}");
    assert_eq!(told(&world, "Stop").await, "", "whichever hook comes first tells it");
}

#[tokio::test]
async fn of_thirty_at_once_one_is_told() {
    let world = World::start();
    world.anthropic.always(overloaded());
    join_all((0..30).map(|_| world.call(message()))).await;
    let stops = join_all((0..30).map(|_| told(&world, "Stop"))).await;
    assert_eq!(stops.iter().filter(|said| !said.is_empty()).count(), 1, "{stops:?}");
    assert_eq!(told(&world, "SubagentStop").await, "");
}

#[tokio::test]
async fn each_mark_of_a_cap_is_told_once_in_a_month() {
    let mut world = World::with("BUDGET_USER_MONTH_USD", "10").start();
    world.anthropic.next([overloaded()]);
    world.call(message()).await;
    told(&world, "Stop").await;
    let marks = [
        (7_400_000, ""),
        (7_600_000, "75 % of the Bedrock budget used: $7.60 of $10.00 this month, resets"),
        (9_100_000, ""),
        (9_500_000, "95 % of the Bedrock budget used: $9.50 of $10.00 this month, resets"),
        (10_020_000, "Bedrock budget used up: $10.02 of $10.00, resets"),
        (10_100_000, ""),
    ];
    for (committed, expected) in marks {
        commit(&mut world, committed);
        let said = told(&world, "Stop").await;
        let begins = format!("claude-proxy: {expected}");
        assert!(said.starts_with(&begins) || said == expected, "{committed}: {said}");
        assert_eq!(told(&world, "Stop").await, "", "{committed}");
        let other = "another-session-of-the-same-person";
        assert_eq!(sentence(&world.call(hook("Stop", other)).await), "", "{committed}");
    }
}

#[tokio::test]
async fn a_budget_that_refuses_is_told_with_the_operators_word_and_rings_once() {
    let world = World::with("BUDGET_USER_MONTH_USD", "0").with("BUDGET_MESSAGE", "ask Ada");
    let world = world.start();
    assert_eq!(told(&world, "Stop").await, "");
    for _ in 0..2 {
        world.anthropic.next([limited(120)]);
        assert_eq!(world.call(message()).await.reason(), "budget");
    }
    let used_up = "claude-proxy: Bedrock budget used up: $0.00 of $0.00, resets ";
    let bell = world.call(hook("StopFailure", SESSION)).await;
    let bell = bell.json()["terminalSequence"].as_str().unwrap_or_default().to_owned();
    assert!(bell.starts_with(&format!("\u{1b}]9;{used_up}")), "{bell:?}");
    assert!(bell.ends_with(" · ask Ada\u{7}"), "{bell:?}");
    assert_eq!(sentence(&world.call(hook("StopFailure", SESSION)).await), "");
    let said = told(&world, "Stop").await;
    assert!(said.starts_with(used_up) && said.ends_with(" · ask Ada"), "{said}");
    assert_eq!(told(&world, "Stop").await, "");
}

#[tokio::test]
async fn whatever_comes_is_answered_with_200_and_nothing() {
    let world = keyed().start();
    let good = || hook("Stop", SESSION).header("x-claude-proxy-key", KEY);
    let long = format!(
        r#"{{"session_id":"{SESSION}","hook_event_name":"Stop","prompt":"{}"}}"#,
        "x".repeat(300 << 10)
    );
    for (what, call) in [
        ("a session that nobody knows", good()),
        ("no key", hook("Stop", SESSION)),
        ("no key that could be one", hook("Stop", SESSION).header("x-claude-proxy-key", "x")),
        (
            "a stranger's key",
            hook("Stop", SESSION).header("x-claude-proxy-key", &KEY.replace('0', "1")),
        ),
        ("a stranger's key in the path", hook("Stop", SESSION).at("/k/ccp_x/_proxy/notice")),
        ("a bad name", hook("Stop", SESSION).at("/u/%20/_proxy/notice")),
        ("another hook", hook("SessionStart", SESSION).header("x-claude-proxy-key", KEY)),
        ("no session", hook("Stop", "").header("x-claude-proxy-key", KEY)),
        ("no JSON", good().body("{")),
        ("no object", good().body("[1]")),
        ("no fields", good().body("{}")),
        ("nothing", good().body("")),
        ("deep", good().body("[".repeat(100_000))),
        ("too long", good().body(long)),
        ("much too long", good().body("x".repeat(20 << 20))),
    ] {
        let reply = world.call(call).await;
        assert_eq!((reply.status, &*reply.body), (200, &b""[..]), "{what}");
    }
    assert!(world.anthropic.requests().is_empty());
    assert!(!world.log().contains("answered by"), "a hook leaves no line");
}

#[tokio::test]
async fn a_key_is_told_of_its_owners_sessions_alone() {
    let bobs = KEY.replace('0', "1");
    let plan = keyed();
    let world = plan.start();
    world.anthropic.next([overloaded()]);
    world.call(message().header("x-claude-proxy-key", KEY)).await;
    let reply = world.call(hook("Stop", SESSION).header("x-claude-proxy-key", &bobs)).await;
    assert_eq!((reply.status, &*reply.body), (200, &b""[..]));
    let in_path = hook("Stop", SESSION).at(&format!("/k/{KEY}/_proxy/notice"));
    assert!(sentence(&world.call(in_path).await).starts_with("claude-proxy: on Bedrock"));
}

#[tokio::test]
async fn a_store_that_is_slow_or_fails_is_not_waited_for() {
    let slow = access_denied().head_after(Duration::from_secs(20));
    for answer in [slow, access_denied()] {
        let fake = FakeDynamo::start();
        let world = table::world(&fake.url(), "limits").with("ACCESS_MODE", "key").start();
        for operation in ["BatchGetItem", "GetItem", "UpdateItem", "PutItem"] {
            fake.always(operation, &answer);
        }
        let begun = Instant::now();
        let call = hook("Stop", SESSION).header("x-claude-proxy-key", KEY);
        let reply = world.call(call).await;
        assert_eq!((reply.status, &*reply.body), (200, &b""[..]));
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn a_hook_that_never_ends_is_answered() {
    let world = World::start();
    let head = "POST /_proxy/notice HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{";
    let answer = world.raw(head.as_bytes(), Duration::from_secs(5));
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn nothing_of_a_conversation_is_kept() {
    let mut world = World::start();
    world.anthropic.next([overloaded()]);
    world.call(message()).await;
    let said = told(&world, "Stop").await;
    assert!(said.starts_with("claude-proxy: on Bedrock"), "{said}");
    sleep(Duration::from_millis(100)).await;
    let log = world.log();
    assert!(!log.contains(CANARY) && !log.contains(SESSION), "{log}");
    world.proxy().end();
    let file = std::fs::read(world.setting("RATE_LIMIT_STORE_PATH")).expect("it is there");
    for secret in [CANARY, SESSION, ALICE] {
        let found = file.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret}");
    }
}

#[tokio::test]
async fn no_other_path_below_is_a_hook() {
    let world = World::start();
    let reply = world.call(Call::new("GET", "/_proxy/notice")).await;
    assert_eq!(reply.status, 404);
    world.call(Call::new("POST", "/v1/_proxy/notice")).await;
    assert_eq!(world.anthropic.requests().len(), 1, "that is Anthropic's");
}

/// Settings with a key for ada and one for bob.
fn keyed() -> Plan {
    let digest = |key: &str| Fingerprint::of(&[key.as_bytes()]).expect("it is a text");
    let keys = format!("ada:{},bob:{}", digest(KEY), digest(&KEY.replace('0', "1")));
    World::with("ACCESS_MODE", "key").with("PROXY_KEYS", &keys)
}

fn message() -> Call {
    Call::message().header("x-claude-code-session-id", SESSION)
}

/// A hook as Claude Code sends it.
fn hook(event: &str, session: &str) -> Call {
    let body = json!({
        "session_id": session,
        "transcript_path": format!("/home/{CANARY}/session.jsonl"),
        "cwd": format!("/home/{CANARY}"),
        "permission_mode": "default",
        "hook_event_name": event,
        "prompt": CANARY,
        "last_assistant_message": CANARY,
    });
    let call = Call::new("POST", "/_proxy/notice").without("x-api-key");
    call.header("content-type", "application/json").body(body.to_string())
}

async fn told(world: &World, event: &str) -> String {
    sentence(&world.call(hook(event, SESSION)).await)
}

/// What is said; empty where nothing is.
fn sentence(reply: &Reply) -> String {
    assert_eq!(reply.status, 200);
    if reply.body.is_empty() {
        return String::new();
    }
    assert_eq!(reply.header("content-type"), "application/json");
    let said: Value = reply.json();
    assert_eq!(said.as_object().map(serde_json::Map::len), Some(1), "{said}");
    said["systemMessage"].as_str().unwrap_or_default().to_owned()
}

/// Writes down what the one subject has committed in this month.
fn commit(world: &mut World, amount: i64) {
    world.proxy().end();
    let months: TableDefinition<'static, (&str, &str), &str> = TableDefinition::new("budgets");
    let path = world.setting("RATE_LIMIT_STORE_PATH");
    let database = Database::create(path).expect("the proxy has ended");
    let write = database.begin_write().expect("nobody else writes");
    {
        let mut table = write.open_table(months).expect("it is there");
        let (month, subject, json) = {
            use redb::ReadableTable;
            let (key, json) = table.first().expect("it can be read").expect("there is one");
            let (month, subject) = key.value();
            (month.to_owned(), subject.to_owned(), json.value().to_owned())
        };
        let mut item: Month = serde_json::from_str(&json).expect("it is a month");
        item.counters.insert("m".to_owned(), amount);
        let json = serde_json::to_string(&item).expect("it is JSON");
        table.insert((month.as_str(), subject.as_str()), json.as_str()).expect("it is ours");
    }
    write.commit().expect("the disk takes it");
    drop(database);
    world.restart();
}
