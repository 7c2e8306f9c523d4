//! The function's settings: merged, checked, shown, and changed by one call.

use std::collections::BTreeMap;

use serde_json::json;
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::proxy::Fault;
use testing::aws::world::World;

#[tokio::test]
async fn a_setting_is_merged_into_what_is_there_by_one_call() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&["--env", "RETRY_THRESHOLD_SECONDS=60"]).expect(0);
        world.proxy.take_journal();
        let set =
            world.run(&["config", "set", "LOG_LEVEL=warn", "MAX_RETRY_WAIT_SECONDS=5", "--json"]);
        set.expect(0);
        assert_eq!(world.proxy.take_journal().len(), 1, "{emulator:?}");
        let change = &set.json()["changes"][0];
        assert_eq!(
            (&change["address"], &change["action"]),
            (&json!(format!("lambda/{}-api", world.name)), &json!("update"))
        );
        assert_eq!(
            change["fields"],
            json!([
                {"path": "Environment.LOG_LEVEL", "before": null, "after": "warn"},
                {"path": "Environment.MAX_RETRY_WAIT_SECONDS", "before": null, "after": "5"},
            ])
        );
        let there = environment(&world).await;
        assert_eq!(there["RETRY_THRESHOLD_SECONDS"], "60");
        assert_eq!(
            (&there["LOG_LEVEL"][..], there["RATE_LIMIT_STORE"].as_str()),
            ("warn", "dynamodb")
        );
        // Again, and nothing happens; up keeps it; unset returns it.
        world.proxy.take_journal();
        let again = world.run(&["config", "set", "LOG_LEVEL=warn"]);
        assert_eq!((again.stdout.as_str(), again.code), ("No changes.\n", Some(0)));
        assert_eq!(world.proxy.take_journal(), [""; 0]);
        world.up(&[]).expect(0);
        assert_eq!(environment(&world).await["LOG_LEVEL"], "warn");
        world.run(&["config", "unset", "LOG_LEVEL", "MAX_RETRY_WAIT_SECONDS"]).expect(0);
        assert!(!environment(&world).await.contains_key("LOG_LEVEL"));
        assert!(world.plan().is_empty(), "{:?}", world.plan());
    }
}

#[tokio::test]
async fn a_setting_that_touches_rights_changes_the_policy_first() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&[]).expect(0);
        world.proxy.take_journal();
        let set = world.run(&["config", "set", "BEDROCK_REGIONS=us-west-2", "--json"]);
        set.expect(0);
        let journal = world.proxy.take_journal();
        assert_eq!((journal.len(), journal[0].as_str()), (2, "iam.PutRolePolicy"), "{journal:?}");
        let changes = set.json()["changes"].clone();
        assert_eq!(changes[0]["address"], format!("iam-role/{}-api-role", world.name));
        assert_eq!(changes[0]["fields"][0]["path"], "Policies.BedrockAndDynamoDB");
        assert!(changes[0]["reason"].as_str().unwrap().contains("widens what the function may do"));
        // It is what `up` would have made of it.
        assert!(world.plan().is_empty(), "{:?}", world.plan());
        // Nothing of the policy differs for another setting.
        world.run(&["config", "set", "LOG_LEVEL=debug"]).expect(0);
        assert_eq!(world.proxy.take_journal().len(), 1);
        world.run(&["config", "unset", "BEDROCK_REGIONS"]).expect(0);
        assert_eq!(world.proxy.take_journal()[0], "iam.PutRolePolicy");
        assert!(world.plan().is_empty(), "{:?}", world.plan());
    }
}

#[tokio::test]
async fn a_mode_that_lets_strangers_knock_reserves_first() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&[]).expect(0);
        world.proxy.take_journal();
        let words =
            ["config", "set", "ACCESS_MODE=organization", "ALLOWED_ORGANIZATIONS=o-1", "--json"];
        let set = world.run(&words);
        set.expect(0);
        let calls = ["lambda.PutFunctionConcurrency", "lambda.UpdateFunctionConfiguration"];
        assert_eq!(world.proxy.take_journal(), calls, "{emulator:?}");
        let fields = set.json()["changes"][0]["fields"].clone();
        let reserved = json!({"path": "ReservedConcurrentExecutions", "before": null, "after": 50});
        assert!(fields.as_array().unwrap().contains(&reserved), "{fields}");
        // It is what `up` would have made of it, and nothing is left to do.
        assert!(world.plan().is_empty(), "{:?}", world.plan());
        assert_eq!(world.run(&words).json()["changes"][0]["action"], "keep");
        // What the operator has reserved is nobody else's to change.
        let back = world.run(&["config", "unset", "ACCESS_MODE", "ALLOWED_ORGANIZATIONS"]);
        back.expect(0);
        assert!(back.stderr.contains("note: 50 requests at once stay reserved"), "{back:?}");
        world.up(&["--reserved-concurrency", "5"]).expect(0);
        world.proxy.take_journal();
        world.run(&words).expect(0);
        assert_eq!(world.proxy.take_journal(), calls[1..]);
    }
}

#[tokio::test]
async fn somebody_elses_change_in_between_is_read_and_kept() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    // The first call is refused after somebody else has changed the function.
    world.proxy.race("MAX_RETRY_WAIT_SECONDS", "7");
    let set = world.run(&["config", "set", "LOG_LEVEL=warn"]);
    set.expect(0);
    assert!(set.stderr.contains("looking again"), "{}", set.stderr);
    let there = environment(&world).await;
    assert_eq!((&there["LOG_LEVEL"][..], &there["MAX_RETRY_WAIT_SECONDS"][..]), ("warn", "7"));
    assert_eq!(there["RATE_LIMIT_STORE"], "dynamodb");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&[]).expect(0);
        for (fault, level) in
            [(Fault::DropBefore, "warn"), (Fault::DropAfter, "debug"), (Fault::Throttle, "info")]
        {
            world.proxy.arm(1, fault);
            world.run(&["config", "set", &format!("LOG_LEVEL={level}")]).expect(0);
            assert!(world.proxy.disarm(), "{fault:?}");
            assert_eq!(environment(&world).await["LOG_LEVEL"], level, "{fault:?}");
        }
    }
}

#[test]
fn what_the_function_would_not_start_with_is_refused() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    world.proxy.take_journal();
    for (words, said) in [
        (&["config", "set", "ACCESS_MODE=organization"][..], "ALLOWED_ORGANIZATIONS"),
        (&["config", "set", "ACCESS_MODE=open"], "ACCESS_OPEN_ANYWHERE=true"),
        (&["config", "set", "BEDROCK_MODEL_MAP={\"a\":\"meta.llama\"}"], "meta.llama"),
    ] {
        let refused = world.run(words);
        refused.expect(64);
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
    }
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[test]
fn what_a_person_reads_is_on_record() {
    let world = World::new(MiniStack);
    let keys = format!("alice:{}", "0".repeat(64));
    world
        .up(&[
            "--env",
            &format!("PROXY_KEYS={keys}"),
            "--env",
            "BEDROCK_REGIONS=us-east-1,us-west-2",
        ])
        .expect(0);
    let list = world.run(&["config", "list"]);
    insta::assert_snapshot!("config-list", world.filtered(&list.stdout));
    assert!(!list.stdout.contains(&keys));
    let json = world.run(&["config", "list", "--json"]);
    assert!(!json.stdout.contains(&keys));
    let settings = json.json()["settings"].clone();
    assert!(settings.as_array().unwrap().contains(&json!({
        "name": "RATE_LIMIT_STORE", "value": "dynamodb", "default": "dynamodb", "owner": "stack",
    })));
    let set = world.run(&["config", "set", "BEDROCK_REGIONS=us-west-2", "LOG_LEVEL=warn"]);
    let both = format!("{}---\n{}", set.stdout, set.stderr);
    insta::assert_snapshot!("config-set", world.filtered(&both));
}

async fn environment(world: &World) -> BTreeMap<String, String> {
    let lambda = aws_sdk_lambda::Client::new(&world.sdk());
    let name = format!("{}-api", world.name);
    let found = lambda.get_function_configuration().function_name(name).send().await.unwrap();
    let variables = found.environment().unwrap().variables().unwrap();
    variables.clone().into_iter().collect()
}
