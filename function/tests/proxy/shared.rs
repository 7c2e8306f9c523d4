//! A DynamoDB that is down, slow, throttling or talking nonsense costs nobody an answer.
//! `tests/dynamo` has instances that share a table, and obey what one of them learns.

use std::time::Duration;

use function::failover::identity::Fingerprint;
use futures_util::future::join_all;
use serde_json::{Value, json};
use testing::{
    answer::{Answer, access_denied, limited, moment, ok, overloaded, refused, too_many},
    client::{ALICE, BOB, Call, Reply},
    dynamo::FakeDynamo,
    table,
    world::{Plan, World},
};
use tokio::time::{Instant, sleep};

/// A store that does not answer delays an answer by 250 ms before its head and 250 ms before its
/// end, and once in ten seconds its end by a second. This is less than the slow table takes, and
/// more than a busy machine.
const DELAY: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_limit_in_force_is_not_read_again_at_once_and_its_absence_is() {
    let fake = FakeDynamo::start();
    let world = on(&fake);
    for _ in 0..2 {
        assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
    }
    assert_eq!(fake.calls("BatchGetItem").len(), 2);
    world.anthropic.next([limited(120)]);
    world.call(Call::message()).await;
    for _ in 0..3 {
        assert_eq!(world.call(Call::message()).await.reason(), "cooldown");
    }
    assert_eq!(fake.calls("BatchGetItem").len(), 3);
    assert_eq!(fake.calls("GetItem").iter().filter(|get| is_of(get, "claude")).count(), 1);
}

#[tokio::test]
async fn what_a_clock_that_was_ahead_has_written_spends_nothing() {
    let whose = Fingerprint::of(&[ALICE.as_bytes()]).expect("there is a credential");
    let (ahead, end) = (moment(3600).to_string(), moment(7200));
    let text = |text: &str| json!({"S": text});
    let proof = json!({
        "pk": text(&format!("proof#{whose}")), "sk": text("proof"),
        "proven_at": text(&ahead), "expires_at": {"N": moment(90_000).as_second().to_string()},
    });
    let limit = json!({
        "pk": text(&format!("limit#{whose}")), "sk": text("sonnet"),
        "limited_until": text(&end.to_string()), "recorded_at": text(&ahead),
        "limited_until_epoch": {"N": end.as_second().to_string()},
        "retry_after_seconds": {"N": "3600"}, "reason": text("5h"), "model": text("claude"),
    });
    for item in [proof, limit] {
        let fake = FakeDynamo::start();
        fake.put(item.clone());
        let world = on(&fake);
        world.anthropic.next_on("/v1/models", [refused(401, "authentication_error", "no")]);
        world.anthropic.next([overloaded()]);
        assert_eq!(world.call(Call::message()).await.status, 529, "{item}");
        assert!(world.bedrock.requests().is_empty(), "{item}");
        // A refusal of the free call is believed for two seconds.
        sleep(Duration::from_millis(2100)).await;
        world.anthropic.next([overloaded()]);
        let proven = world.call(Call::message()).await;
        assert_eq!((proven.status, proven.reason()), (200, "overloaded"), "{item}");
    }
}

#[tokio::test]
async fn after_ten_seconds_a_limit_is_read_again() {
    let fake = FakeDynamo::start();
    let world = on(&fake);
    world.anthropic.next([limited(120)]);
    world.call(Call::message()).await;
    let reads = fake.calls("BatchGetItem").len();
    sleep(Duration::from_millis(10_200)).await;
    assert_eq!(world.call(Call::message()).await.reason(), "cooldown");
    assert_eq!(fake.calls("BatchGetItem").len(), reads + 1);
}

#[tokio::test]
async fn while_the_table_fails_a_limit_holds_until_its_end() {
    let fake = FakeDynamo::start();
    let world = on(&fake);
    world.anthropic.next([limited(14)]);
    world.call(Call::message()).await;
    for operation in ["BatchGetItem", "GetItem", "PutItem", "DeleteItem", "UpdateItem"] {
        fake.always(operation, &throttling());
    }
    sleep(Duration::from_millis(10_500)).await;
    assert_eq!(world.call(Call::message()).await.reason(), "cooldown");
    sleep(Duration::from_millis(5000)).await;
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
}

#[tokio::test]
async fn with_the_table_down_every_request_is_served() {
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        listener.local_addr().expect("a bound socket has an address")
    };
    serves_everything(plan(&format!("http://{closed}")).start()).await;
}

#[tokio::test]
async fn with_a_slow_table_every_request_is_served() {
    let fake = FakeDynamo::start();
    for operation in ["BatchGetItem", "GetItem", "PutItem", "DeleteItem", "UpdateItem"] {
        fake.always(operation, &ok().head_after(Duration::from_secs(30)));
    }
    serves_everything(within("250", &fake)).await;
}

/// The head waits for a read, the end for what is written; what is written to a table that failed
/// a moment ago is not waited for any longer than a read.
#[tokio::test]
async fn a_table_that_never_answers_is_waited_for_as_long_as_is_set() {
    let fake = FakeDynamo::start();
    for operation in ["BatchGetItem", "GetItem", "PutItem", "DeleteItem", "UpdateItem"] {
        fake.always(operation, &ok().head_after(Duration::from_secs(60)));
    }
    let (set, long) = (Duration::from_secs(3), Duration::from_secs(12));
    let world = within("3000", &fake);
    // The first is seen to its end.
    world.call(Call::message()).await;
    let reply = world.call(Call::message()).await;
    assert!((set..long).contains(&reply.head_after), "{:?}", reply.head_after);
}

#[tokio::test]
async fn with_a_throttling_table_every_request_is_served() {
    let fake = FakeDynamo::start();
    for operation in ["BatchGetItem", "GetItem", "PutItem", "DeleteItem", "UpdateItem"] {
        fake.always(operation, &throttling());
    }
    serves_everything(on(&fake)).await;
}

#[tokio::test]
async fn with_a_table_that_talks_nonsense_every_request_is_served() {
    for nonsense in ["", "null", "{\"Responses\": 7}", "<html>not DynamoDB</html>"] {
        let fake = FakeDynamo::start();
        for operation in ["BatchGetItem", "GetItem", "PutItem", "DeleteItem", "UpdateItem"] {
            fake.always(operation, &refused(200, "", "").body(nonsense));
        }
        serves_everything(on(&fake)).await;
    }
}

#[tokio::test]
async fn with_items_that_nobody_can_read_every_request_is_served() {
    let fake = FakeDynamo::start();
    let world = on(&fake);
    world.anthropic.next([limited(120)]);
    world.call(Call::message()).await;
    for mut item in fake.items() {
        for (name, value) in item.as_object_mut().into_iter().flatten() {
            if name != "pk" && name != "sk" {
                *value = json!({"S": "\u{0}\u{202e}nonsense"});
            }
        }
        fake.put(item);
    }
    let other = on(&fake);
    assert_eq!(other.call(Call::message()).await.upstream(), "anthropic");
}

#[tokio::test]
async fn a_limit_that_was_left_unprocessed_is_none_for_this_request() {
    let fake = FakeDynamo::start();
    let (one, two) = (on(&fake), on(&fake));
    one.anthropic.next([limited(120)]);
    one.call(Call::message()).await;
    fake.leave("limit#");
    assert_eq!(two.call(Call::message()).await.upstream(), "anthropic");
    assert_eq!(one.call(Call::message()).await.reason(), "cooldown", "it has just learnt it");
}

#[tokio::test]
async fn a_limit_that_is_left_unprocessed_holds_for_who_has_seen_it() {
    let fake = FakeDynamo::start();
    let world = on(&fake);
    world.anthropic.next([limited(120)]);
    world.call(Call::message()).await;
    sleep(Duration::from_millis(10_200)).await;
    fake.leave("limit#");
    for _ in 0..2 {
        assert_eq!(world.call(Call::message()).await.reason(), "cooldown", "it holds blindly");
    }
    assert_eq!(world.log().matches("only a part of what was asked for").count(), 1);
}

#[tokio::test]
async fn a_limit_that_ended_is_over_although_the_table_still_has_it() {
    let fake = FakeDynamo::start();
    fake.always("DeleteItem", &throttling());
    let world = on(&fake);
    world.anthropic.next([limited(120)]);
    world.call(Call::message()).await;
    world.bedrock.next([access_denied()]);
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic", "Bedrock could not");
    assert_eq!(fake.items().iter().filter(|item| is_limit(item)).count(), 1);
    for _ in 0..2 {
        assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
    }
    world.anthropic.next([limited(120)]);
    assert_eq!(world.call(Call::message()).await.reason(), "rate_limited");
    assert_eq!(world.call(Call::message()).await.reason(), "cooldown", "a newer limit counts");
}

#[tokio::test]
async fn a_refused_credential_is_out_although_the_table_still_has_its_proof() {
    let fake = FakeDynamo::start();
    fake.always("DeleteItem", &throttling());
    let world = on(&fake);
    let refusal = || refused(401, "authentication_error", "invalid x-api-key");
    let opus = || Call::message().model("claude-opus-4-5-20251101");
    world.anthropic.next([limited(120)]);
    assert_eq!(world.call(opus()).await.reason(), "rate_limited");
    world.anthropic.next([refusal(), refusal()]);
    for call in [Call::message(), opus()] {
        let reply = world.call(call).await;
        assert_eq!((reply.status, reply.upstream()), (401, "anthropic"));
    }
    world.anthropic.next_on("/v1/models", [refusal()]);
    world.anthropic.next([refused(529, "overloaded_error", "Overloaded")]);
    assert_eq!(world.call(Call::message()).await.status, 529, "its old proof is worth nothing");
    assert_eq!(world.bedrock.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_of_known_length_ends_when_its_writes_are_done() {
    let fake = FakeDynamo::start();
    fake.always("PutItem", &ok().head_after(Duration::from_millis(400)));
    let world = plan(&fake.url()).tls("h2,http/1.1").start();
    let reply = world.call(Call::message().whole()).await;
    assert_ne!(reply.header("content-length"), "");
    assert!(reply.took >= Duration::from_millis(400), "the proof was cut short: {:?}", reply.took);
    assert!(!world.log().contains("the client left"), "{}", world.log());
}

#[tokio::test]
async fn a_refusal_without_a_body_revokes_as_well() {
    let fake = FakeDynamo::start();
    let world = on(&fake);
    world.call(Call::message()).await;
    assert_eq!(fake.items().len(), 1, "the proof");
    world.anthropic.next([refused(401, "authentication_error", "no").body("")]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.body.len()), (401, 0));
    assert_eq!(fake.items().len(), 0);
}

#[tokio::test]
async fn a_look_up_that_comes_too_late_is_seen_to_its_end_once_in_ten_seconds() {
    let fake = FakeDynamo::start();
    let world = within("2000", &fake);
    world.call(Call::message()).await;
    let late = || ok().head_after(Duration::from_secs(5));
    fake.next("BatchGetItem", [late(), late()]);
    let replies = [world.call(Call::message()).await, world.call(Call::message()).await];
    assert!(replies.iter().all(|reply| reply.upstream() == "anthropic"));
    let took = replies.map(|reply| reply.took.as_millis());
    assert!(took[0] >= 5000 && took[1] < 5000, "{took:?}");
}

#[tokio::test]
async fn without_a_region_for_the_table_the_start_is_refused() {
    let settings = [("RATE_LIMIT_STORE", "dynamodb"), ("AWS_REGION", "")];
    let (status, text) = testing::world::run(&settings, &["--listen", "127.0.0.1:0"]);
    assert_eq!(status.code(), Some(1));
    assert_eq!(text, "error: RATE_LIMIT_STORE=dynamodb needs an AWS region: set AWS_REGION\n");
}

/// All that a client can meet, without a table: nothing is refused, nobody waits, and the operator
/// is told once.
async fn serves_everything(world: World) {
    serves_one_by_one(&world).await;
    let calls = (0..20).map(|_| world.call(Call::message().by(ALICE)));
    for reply in join_all(calls).await {
        assert_eq!((reply.status, reply.broken.as_deref()), (200, None));
    }
    let log = world.log();
    assert_eq!(log.matches("the store does not answer").count(), 1, "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

async fn serves_one_by_one(world: &World) {
    assert_eq!(world.call(Call::message()).await.text(), "anthropic heard: hello");
    world.anthropic.next([limited(120)]);
    assert_eq!(quick(world, Call::message()).await.reason(), "rate_limited");
    for call in [Call::message(), Call::message().whole()] {
        let reply = quick(world, call).await;
        assert_eq!(reply.text(), "bedrock heard: hello");
        assert_eq!(reply.reason(), "cooldown", "this instance knows");
    }
    assert_eq!(quick(world, Call::message().by(BOB)).await.text(), "anthropic heard: hello");
    assert_eq!(quick(world, Call::count().by(BOB)).await.status, 200);
    let hintless = || too_many().header("anthropic-ratelimit-requests-limit", "50");
    world.anthropic.next([hintless(), hintless()]);
    assert_eq!(world.call(Call::message().by(BOB)).await.reason(), "rate_limited");
}

async fn quick(world: &World, call: Call) -> Reply {
    let begun = Instant::now();
    let reply = world.call(call).await;
    let took = begun.elapsed();
    assert!(took < DELAY, "{took:?} for {}", reply.upstream());
    reply
}

fn throttling() -> Answer {
    refused(400, "ProvisionedThroughputExceededException", "The level of throughput is exceeded.")
}

fn is_limit(item: &Value) -> bool {
    item["pk"]["S"].as_str().is_some_and(|pk| pk.starts_with("limit#"))
}

fn is_of(get: &Value, name: &str) -> bool {
    get["Key"]["pk"]["S"].as_str().is_some_and(|pk| pk.contains(name))
}

fn on(fake: &FakeDynamo) -> World {
    plan(&fake.url()).start()
}

/// With so many milliseconds for a table that does not answer.
fn within(patience: &str, fake: &FakeDynamo) -> World {
    plan(&fake.url()).with("RATE_LIMIT_STORE_TIMEOUT_MS", patience).start()
}

fn plan(url: &str) -> Plan {
    table::world(url, "limits").with("RETRY_THRESHOLD_SECONDS", "5")
}
