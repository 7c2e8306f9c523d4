//! Who is limited: written by the function's own store, read and cleared by the tool.

use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use function::failover::cooldown::{Cooldown, Timestamp};
use function::failover::identity::{Fingerprint, LimitKey, LimitScope, ModelClass};
use function::failover::known::Proof;
use function::store::dynamo::DynamoStore;
use function::store::{Query, RateLimitStore};
use function::upstream::aws::Aws;
use jiff::SignedDuration;
use serde_json::{Value, json};
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::world::World;
use testing::table;

#[tokio::test]
async fn a_limit_that_the_function_remembers_is_one_that_is_shown() {
    for emulator in [MiniStack, Moto] {
        let world = deployed(emulator).await;
        let shown = world.run(&["limits", "--json"]);
        shown.expect(0);
        let limits = shown.json()["limits"].clone();
        assert_eq!(limits.as_array().unwrap().len(), 3, "one that is over is none: {limits}");
        let of_alice = &limits[1];
        assert_eq!(of_alice["user"], "alice");
        assert_eq!((&of_alice["class"], &of_alice["reason"]), (&json!("*"), &json!("5h")));
        assert_eq!(of_alice["fingerprint"], credential("a").to_string());
        let until: Timestamp = of_alice["until"].as_str().unwrap().parse().unwrap();
        assert!(until > Timestamp::now());
        assert_eq!(limits[2]["class"], "sonnet");
        assert_eq!(limits[0]["user"], Value::Null);
    }
}

#[tokio::test]
async fn bedrocks_answers_since_then_are_counted_from_the_log() {
    for emulator in [MiniStack, Moto] {
        let world = deployed(emulator).await;
        let answer = |user: &str, model: &str, upstream: &str| {
            json!({"request.id": "r", "call": "messages", "user": user, "model": model,
                   "upstream": upstream, "duration_ms": 1})
            .to_string()
        };
        log(
            &world,
            "one",
            &[
                (10, answer("alice", "claude-sonnet-4-6", "bedrock")),
                (1, answer("alice", "claude-sonnet-4-6", "bedrock")),
                (1, answer("alice", "claude-opus-5-5", "bedrock")),
                (1, answer("alice", "claude-sonnet-4-6", "anthropic")),
                (1, answer("bob", "claude-sonnet-4-6", "bedrock")),
                (1, "START RequestId: 1 Version: $LATEST".to_owned()),
            ],
        )
        .await;
        let shown = world.run(&["limits", "--json"]);
        shown.expect(0);
        let served = |number: usize| shown.json()["limits"][number]["served_by_bedrock"].clone();
        assert_eq!(
            [served(0), served(1), served(2)],
            [Value::Null, json!(2), json!(1)],
            "{emulator:?}"
        );
        // A log that is not there is no reason to show nothing.
        let logs = aws_sdk_cloudwatchlogs::Client::new(&world.sdk());
        let group = format!("/aws/lambda/{}-api", world.name);
        logs.delete_log_group().log_group_name(group).send().await.unwrap();
        let shown = world.run(&["limits", "--json"]);
        shown.expect(0);
        assert_eq!(shown.json()["limits"][1]["served_by_bedrock"], Value::Null);
        assert!(
            shown.stderr.starts_with("note: answers are not counted: log-group/"),
            "{}",
            shown.stderr
        );
    }
}

#[tokio::test]
async fn clear_takes_the_limits_of_one_and_no_proof() {
    for emulator in [MiniStack, Moto] {
        let world = deployed(emulator).await;
        let cleared = world.run(&["limits", "clear", "alice", "--json"]);
        cleared.expect(0);
        assert_eq!(cleared.json()["cleared"].as_array().unwrap().len(), 2);
        let known = known(&world, "a").await;
        assert!(known.account.is_none() && known.class.is_none() && known.proof.is_some());
        let left = world.run(&["limits", "--json"]).json()["limits"].clone();
        assert_eq!((left.as_array().unwrap().len(), &left[0]["class"]), (1, &json!("opus")));
        world.run(&["limits", "clear", "alice"]).expect(1);
        let digits = &credential("c").to_string()[..8];
        world.run(&["limits", "clear", digits]).expect(0);
        let nobody = world.run(&["limits"]);
        assert_eq!((nobody.stdout.as_str(), nobody.code), ("Nobody is limited.\n", Some(0)));
    }
}

#[tokio::test]
async fn what_a_person_reads_is_on_record() {
    let world = deployed(MiniStack).await;
    let shown = world.run(&["limits"]);
    insta::assert_snapshot!("limits", world.filtered(&shown.stdout));
    let cleared = world.run(&["limits", "clear", "alice"]);
    insta::assert_snapshot!("limits-clear", world.filtered(&cleared.stdout));
    let nobody = world.run(&["limits", "clear", "mallory"]);
    nobody.expect(1);
    insta::assert_snapshot!("limits-clear-nobody", world.filtered(&nobody.stderr));
}

#[test]
fn without_a_stack_there_is_a_sentence_and_a_next_step() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        for words in [
            &["limits"][..],
            &["limits", "clear", "alice"],
            &["user", "list"],
            &["user", "add", "alice"],
            &["user", "remove", "alice"],
            &["config", "list"],
            &["config", "set", "LOG_LEVEL=warn"],
            &["config", "unset", "LOG_LEVEL"],
            &["usage"],
            &["budget", "list"],
            &["budget", "set", "alice", "5/day"],
            &["budget", "clear", "alice"],
            &["budget", "settle"],
            &["prices"],
            &["prices", "--write", "--yes"],
        ] {
            let ended = world.run(&[words, &["--json"]].concat());
            ended.expect(1);
            let error = ended.json()["error"].clone();
            let message = error["message"].as_str().unwrap();
            assert!(
                message.starts_with(&format!("there is no stack named {}", world.name)),
                "{message}"
            );
            assert!(error["hint"].as_str().unwrap().starts_with("make it (provisioner up)"));
        }
        assert_eq!(world.proxy.take_journal(), [""; 0]);
    }
}

/// A stack in which alice is limited twice, somebody without a name once, and bob is no longer.
pub(crate) async fn deployed(emulator: testing::aws::emulator::Emulator) -> World {
    let world = World::new(emulator);
    world.up(&[]).expect(0);
    let store = store(&world);
    let now = Timestamp::now();
    for (whose, user, class, minutes) in [
        ("a", Some("alice"), "*", 45),
        ("a", Some("alice"), "sonnet", 45),
        ("b", Some("bob"), "opus", -1),
        ("c", None, "opus", 45),
    ] {
        let scope = match class {
            "*" => LimitScope::Account,
            class => LimitScope::Class(ModelClass::of(class).unwrap()),
        };
        let cooldown = Cooldown {
            until: now + SignedDuration::from_mins(minutes),
            recorded_at: now - SignedDuration::from_mins(5),
            reason: "5h".to_owned(),
            retry_after_seconds: 2700,
            model: "claude-sonnet-4-6".to_owned(),
            user: user.map(str::to_owned),
        };
        let key = LimitKey { fingerprint: credential(whose), scope };
        store.remember_limit(&key, &cooldown).await.unwrap();
    }
    let proof = Proof { proven_at: now, organization: None };
    store.remember_proof(&credential("a"), &proof).await.unwrap();
    world
}

pub(crate) fn store(world: &World) -> DynamoStore {
    DynamoStore::new(&Aws::from(world.sdk()), &world.table(), table::PATIENCE)
}

async fn known(world: &World, whose: &str) -> function::failover::known::Known {
    let (whose, class) = (credential(whose), ModelClass::of("sonnet").unwrap());
    let query = Query { subject: Some((&whose, &class)), key: None, session: None };
    store(world).look_up(&query, Timestamp::now()).await.unwrap()
}

fn credential(name: &str) -> Fingerprint {
    Fingerprint::of(&[name.as_bytes()]).unwrap()
}

/// Writes lines, each so many minutes ago.
pub(crate) async fn log(world: &World, stream: &str, lines: &[(i64, String)]) {
    let logs = aws_sdk_cloudwatchlogs::Client::new(&world.sdk());
    let group = format!("/aws/lambda/{}-api", world.name);
    logs.create_log_stream().log_group_name(&group).log_stream_name(stream).send().await.unwrap();
    let event = |(ago, line): &(i64, String)| {
        let at = Timestamp::now() - SignedDuration::from_mins(*ago);
        InputLogEvent::builder().message(line).timestamp(at.as_millisecond()).build().unwrap()
    };
    let put = logs.put_log_events().log_group_name(&group).log_stream_name(stream);
    put.set_log_events(Some(lines.iter().map(event).collect())).send().await.unwrap();
}
