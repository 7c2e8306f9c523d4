//! Proxy keys that stand in the table: whose they are, who is out, and what a table that fails costs.

use std::{io::Write, net::TcpStream, thread, time::Duration};

use function::{access::ProxyKey, failover::identity::Fingerprint};
use futures_util::future::join_all;
use serde_json::{Value, json};
use testing::{
    answer::{Answer, limited, ok, refused},
    client::{ALICE, BOB, Call, Reply},
    dynamo::FakeDynamo,
    table,
    world::World,
};
use tokio::time::{Instant, sleep};

use super::access::{alices, bobs};

const KEY: &str = "x-claude-proxy-key";
/// As long as a good key is believed without asking.
const FRESH: Duration = Duration::from_millis(10_200);
/// Less than the table takes that is slow, and more than a busy machine.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_key_of_the_table_names_its_owner_in_the_log_and_in_the_limit() {
    let (fake, world) = alone();
    world.anthropic.next([limited(120)]);
    let reply = world.call(by_header(&alices()).header("x-claude-code-user", "mallory")).await;
    assert_eq!((reply.text().as_str(), reply.reason()), ("bedrock heard: hello", "rate_limited"));
    let path = format!("/k/{}/u/mallory/v1/messages?beta=true", alices());
    assert_eq!(world.call(Call::message().at(&path)).await.reason(), "cooldown");
    let (log, items) = (world.log(), fake.items());
    let limit = items.iter().find(|item| is_of(item, "limit#")).expect("it was remembered");
    assert_eq!(limit["user"]["S"], "alice");
    assert_eq!(log.matches("user=\"alice\"").count(), 2, "{log}");
    for item in items {
        assert!(!item.to_string().contains("mallory") && !item.to_string().contains("ccp_"));
    }
    assert!(!log.contains("mallory") && !log.contains("ccp_") && !log.contains(ALICE), "{log}");
}

#[tokio::test]
async fn one_read_brings_the_key_with_the_limit_and_the_next_ten_seconds_need_none() {
    let (fake, world) = alone();
    for _ in 0..2 {
        assert_eq!(world.call(by_header(&alices())).await.status, 200);
    }
    let reads: Vec<_> = fake.calls("BatchGetItem").iter().map(keys).collect();
    let count = |kind: &str, read: &[String]| read.iter().filter(|pk| pk.starts_with(kind)).count();
    let seen: Vec<_> = reads.iter().map(|read| (count("key#", read), read.len())).collect();
    assert_eq!(seen, [(1, 4), (0, 3)], "{reads:#?}");
    assert!(fake.calls("GetItem").iter().all(|get| !get.to_string().contains("key#")));
}

#[tokio::test]
async fn the_owner_of_a_key_may_spend_what_stands_with_it() {
    let (fake, world) = alone();
    world.anthropic.always(limited(120));
    assert_eq!(world.call(by_header(&alices())).await.upstream(), "bedrock");
    let budget = |call: &Value| call["Key"]["pk"]["S"] == "budget#alice";
    assert_eq!(fake.calls("UpdateItem").iter().filter(|call| budget(call)).count(), 1);
    let mut poor = owned(&bobs(), "bob");
    poor["budget_month"] = json!({"N": "0"});
    fake.put(poor);
    let reply = world.call(by_header(&bobs()).by(BOB)).await;
    assert_eq!((reply.status, reply.reason()), (429, "budget"));
    assert!(reply.header("x-claude-proxy-budget").starts_with("limit=0.00; period=month; "));
}

#[tokio::test]
async fn an_unknown_key_and_a_removed_one_read_the_one_401() {
    let (fake, world) = alone();
    assert_eq!(world.call(by_header(&alices())).await.status, 200);
    fake.remove(&owned(&alices(), "alice"));
    let unknown = world.call(by_header(&bobs())).await;
    let nobody = world.call(by_header("ccp_nonsense")).await;
    sleep(FRESH).await;
    let asked = world.anthropic.requests().len();
    let removed = world.call(by_header(&alices())).await;
    for reply in [&unknown, &nobody, &removed] {
        assert_eq!((reply.status, reply.error().as_str()), (401, "authentication_error"));
        assert_eq!(reply.body, unknown.body);
        assert_eq!(names(reply), names(&unknown));
    }
    assert_eq!(world.anthropic.requests().len(), asked);
    // Who is out stays out while the table fails.
    break_all(&fake, &throttling());
    assert_eq!(world.call(by_header(&alices())).await.status, 503);
}

#[tokio::test]
async fn a_malformed_key_is_refused_before_any_read() {
    let (fake, world) = alone();
    let reads = || fake.calls("BatchGetItem").len();
    for key in ["ccp_short", "alice", &alices()[..40]] {
        assert_eq!(world.call(by_header(key)).await.status, 401);
    }
    assert_eq!(world.call(Call::message()).await.status, 401);
    assert_eq!(reads(), 0);
    assert_eq!(world.call(by_header(&bobs())).await.status, 401);
    assert_eq!(reads(), 1, "a key that may be one is looked up");
}

#[tokio::test]
async fn a_key_of_nobody_is_refused_before_its_body_has_come() {
    let (_fake, world) = alone();
    let begun = |key: &str, more: &str| {
        format!(
            "POST /v1/messages HTTP/1.1\r\nhost: x\r\n{KEY}: {key}\r\ncontent-length: \
             33554432\r\n{more}connection: close\r\n\r\n"
        )
    };
    let ask = |text: String| {
        let at = Instant::now();
        (world.raw(text.as_bytes(), SOON * 2), at.elapsed())
    };
    let (answer, took) = ask(begun(&bobs(), "") + "{\"model\"");
    assert!(answer.starts_with("HTTP/1.1 401 "), "{answer}");
    assert!(took < SOON, "{took:?}");
    let (answer, took) = ask(begun(&bobs(), "expect: 100-continue\r\n"));
    assert!(answer.starts_with("HTTP/1.1 401 "), "no go-ahead for a stranger: {answer}");
    assert!(took < SOON, "{took:?}");
    let answer =
        world.raw(begun(&alices(), "expect: 100-continue\r\n").as_bytes(), Duration::from_secs(2));
    assert!(answer.starts_with("HTTP/1.1 100 "), "{answer}");
    assert!(world.anthropic.requests().is_empty());
}

#[test]
fn a_body_that_takes_its_time_arrives_whole_behind_a_key_of_the_table() {
    let (_fake, world) = alone();
    let body = format!("{{\"model\":\"{}\"}}", "slow".repeat(500));
    let head = format!(
        "POST /v1/files HTTP/1.1\r\nhost: x\r\n{KEY}: {}\r\nx-api-key: {ALICE}\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        alices(),
        body.len()
    );
    let mut socket = TcpStream::connect(world.address()).expect("the proxy listens");
    socket.write_all(head.as_bytes()).expect("the proxy reads");
    for piece in body.as_bytes().chunks(500) {
        thread::sleep(Duration::from_millis(80));
        socket.write_all(piece).expect("the proxy reads");
    }
    let answer = std::io::read_to_string(&socket).expect("it is text");
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(&body), "{answer}");
}

#[tokio::test]
async fn a_key_that_is_known_is_good_while_the_table_fails_and_another_is_told_to_come_back() {
    let [slow, throttling, html, null] = [
        ok().head_after(Duration::from_secs(30)),
        throttling(),
        nonsense("<html>not DynamoDB</html>"),
        nonsense("null"),
    ];
    let (empty, other) = (nonsense(""), nonsense(r#"{"Responses": {"another": []}}"#));
    let denied = refused(400, "AccessDeniedException", "arn:aws:iam::123456789012:role/x may not");
    let failures = [
        ("down", None),
        ("slow", Some(slow)),
        ("throttling", Some(throttling)),
        ("html", Some(html)),
        ("null", Some(null)),
        ("empty", Some(empty)),
        ("another table", Some(other)),
        ("denied", Some(denied)),
    ];
    let worlds = failures.map(|(name, failure)| (name, failure, within("1000")));
    let known = join_all(worlds.iter().map(|(.., (_, world))| world.call(by_header(&alices()))));
    assert!(known.await.iter().all(|reply| reply.status == 200));
    // What was seen a moment ago would not be asked for.
    sleep(FRESH).await;
    let tried = worlds.into_iter().map(async |(name, failure, (fake, world))| {
        let _fake = failure.map(|failure| break_all(&fake, &failure)).map(|()| fake);
        turns_others_away(name, &world).await;
        serves_whom_it_knows(name, &world).await;
        assert!(!world.log().contains("panicked"), "{name}: {}", world.log());
    });
    join_all(tried).await;
}

#[tokio::test]
async fn a_removed_key_is_not_brought_back_by_a_read_that_ends_late() {
    let (fake, world) = alone();
    fake.next("BatchGetItem", [ok().head_after(Duration::from_secs(2))]);
    let early = world.call(by_header(&alices()));
    let late = async {
        while fake.calls("BatchGetItem").is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
        fake.remove(&owned(&alices(), "alice"));
        world.call(by_header(&alices())).await
    };
    let (early, late) = tokio::join!(early, late);
    assert_eq!((early.status, late.status), (200, 401), "each hears what was true when it came");
    assert_eq!(world.call(by_header(&alices())).await.status, 401);
}

/// What is still under way at the start is seen to its end by whoever comes first, let in or not.
#[tokio::test]
async fn who_is_not_let_in_waits_for_what_is_under_way_too() {
    let fake = FakeDynamo::start();
    break_all(&fake, &ok().head_after(Duration::from_secs(10)));
    let world = keyed(&fake.url()).with("RATE_LIMIT_STORE_TIMEOUT_MS", "30000").start();
    // The start itself waits for half a second.
    world.fallback();
    let first = world.call(by_header("ccp_short")).await;
    let second = world.call(by_header("ccp_short")).await;
    assert_eq!((first.status, second.status), (401, 401));
    assert_eq!(first.body, second.body);
    assert!(first.took > Duration::from_secs(2), "{:?}", first.took);
    assert!(second.took < first.took, "{:?}", second.took);
}

#[tokio::test]
async fn a_table_that_comes_back_is_asked_again() {
    let (fake, world) = alone();
    break_all(&fake, &throttling());
    assert_eq!(world.call(by_header(&alices())).await.status, 503);
    break_all(&fake, &ok());
    assert_eq!(world.call(by_header(&alices())).await.status, 200);
    assert_eq!(world.call(by_header(&bobs())).await.status, 401);
}

#[tokio::test]
async fn a_key_that_was_left_unprocessed_is_none_to_judge() {
    let (fake, world) = alone();
    fake.leave("key#");
    let reply = world.call(by_header(&alices())).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, "5"));
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_key_of_the_settings_needs_no_table() {
    let fake = FakeDynamo::start();
    let digest = digest(&bobs());
    let world = keyed(&fake.url()).with("PROXY_KEYS", &format!("bob:{digest}")).start();
    fake.put(owned(&alices(), "alice"));
    break_all(&fake, &throttling());
    assert_eq!(world.call(by_header(&bobs())).await.text(), "anthropic heard: hello");
    assert_eq!(world.call(by_header(&alices())).await.status, 503);
    break_all(&fake, &ok());
    assert_eq!(world.call(by_header(&alices())).await.text(), "anthropic heard: hello");
}

/// Nobody without a known key gets through, and nobody waits long to hear it.
async fn turns_others_away(name: &str, world: &World) {
    let asked = world.anthropic.requests().len();
    let path = format!("/k/{}/v1/messages", bobs());
    for call in [by_header(&bobs()), Call::message().at(&path)] {
        let reply = world.call(call).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, "5"), "{name}");
        assert_eq!(reply.error(), "api_error", "{name}");
        assert!(!String::from_utf8_lossy(&reply.body).contains("123456789012"), "{name}");
        assert!(reply.took < SOON, "{name}: {:?}", reply.took);
    }
    assert_eq!(world.anthropic.requests().len(), asked, "{name}: nothing of it got through");
}

async fn serves_whom_it_knows(name: &str, world: &World) {
    world.anthropic.next([limited(120)]);
    for reason in ["rate_limited", "cooldown", "cooldown"] {
        let reply = world.call(by_header(&alices())).await;
        assert_eq!((reply.status, reply.reason()), (200, reason), "{name}");
        assert_eq!(reply.text(), "bedrock heard: hello", "{name}");
        assert!(reply.head_after < SOON, "{name}");
    }
    let calls = (0..10).map(|_| world.call(by_header(&alices()).whole()));
    assert!(join_all(calls).await.iter().all(|reply| reply.status == 200), "{name}");
    let models = Call::new("GET", "/v1/models").header(KEY, &alices());
    assert_eq!(world.call(models).await.status, 200, "{name}");
}

/// A proxy that takes keys from a table in which Alice has one.
fn alone() -> (FakeDynamo, World) {
    within("30000")
}

/// The same with so many milliseconds for a table that does not answer.
fn within(patience: &str) -> (FakeDynamo, World) {
    let fake = FakeDynamo::start();
    fake.put(owned(&alices(), "alice"));
    let plan = keyed(&fake.url()).with("RATE_LIMIT_STORE_TIMEOUT_MS", patience);
    (fake, plan.start())
}

fn keyed(url: &str) -> testing::world::Plan {
    table::world(url, "limits").with("ACCESS_MODE", "key")
}

fn by_header(key: &str) -> Call {
    Call::message().header(KEY, key)
}

/// The item of a key.
fn owned(key: &str, user: &str) -> Value {
    let (pk, created) = (format!("key#{}", digest(key)), "2026-11-23T10:00:00Z");
    json!({"pk": {"S": pk}, "sk": {"S": "key"}, "user": {"S": user}, "created_at": {"S": created}})
}

fn digest(key: &str) -> Fingerprint {
    key.parse::<ProxyKey>().expect("it is a key").digest()
}

fn throttling() -> Answer {
    refused(400, "ProvisionedThroughputExceededException", "The level of throughput is exceeded.")
}

fn nonsense(body: &str) -> Answer {
    refused(200, "", "").body(body)
}

/// Answers every call like this from now on.
fn break_all(fake: &FakeDynamo, failure: &Answer) {
    for operation in ["BatchGetItem", "GetItem", "PutItem", "DeleteItem", "UpdateItem"] {
        fake.always(operation, failure);
    }
}

fn is_of(item: &Value, kind: &str) -> bool {
    item["pk"]["S"].as_str().is_some_and(|pk| pk.starts_with(kind))
}

/// The partition keys that a look-up asks for.
fn keys(call: &Value) -> Vec<String> {
    let tables = call["RequestItems"].as_object().into_iter().flatten();
    let keys = tables.flat_map(|(_, wanted)| wanted["Keys"].as_array().into_iter().flatten());
    keys.filter_map(|key| key["pk"]["S"].as_str().map(str::to_owned)).collect()
}

/// The names of an answer's headers; the clock's is the only one whose value may differ.
fn names(reply: &Reply) -> Vec<(String, String)> {
    let headers = reply.headers.iter().filter(|(name, _)| *name != "date");
    headers.map(|(name, value)| (name.to_string(), format!("{value:?}"))).collect()
}
