//! Who has a key: made, shown once, listed, taken back, and never in a message.

use std::collections::HashMap;
use std::fs;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use function::access::ProxyKey;
use function::failover::cooldown::Timestamp;
use function::failover::known::{KeyOwner, Owner};
use function::store::dynamo::DynamoStore;
use function::store::{Query, RateLimitStore};
use function::upstream::aws::Aws;
use serde_json::{Value, json};
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::proxy::Fault;
use testing::aws::world::World;
use testing::table;

#[tokio::test]
async fn a_key_that_is_made_here_is_one_that_the_function_knows() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&[]).expect(0);
        let added = world.run(&["user", "add", "alice", "--json"]);
        added.expect(0);
        assert_eq!(added.json()["user"], "alice");
        let key: ProxyKey = added.json()["key"].as_str().unwrap().parse().unwrap();
        assert_eq!(owner(&world, &key).await, KeyOwner::User(Owner::named("alice")));
        let env = &added.json()["settings"]["env"];
        let header = format!("x-claude-proxy-key: {}", key.reveal());
        assert_eq!(env["ANTHROPIC_CUSTOM_HEADERS"], header);
        let url = env["ANTHROPIC_BASE_URL"].as_str().unwrap();
        assert!(url.starts_with("http") && !url.ends_with('/'), "{url}");
        assert_eq!(added.json().as_object().unwrap().len(), 3);
        // The second key is a rotation: both are good.
        let second = world.run(&["user", "add", "alice", "--json"]);
        let second: ProxyKey = second.json()["key"].as_str().unwrap().parse().unwrap();
        assert_ne!(second.digest(), key.digest());
        world.run(&["user", "add", "bob"]).expect(0);
        let list = world.run(&["user", "list", "--json"]);
        let users = list.json()["users"].clone();
        assert_eq!((&users[0]["user"], &users[0]["keys"]), (&json!("alice"), &json!(2)));
        assert!(users[0]["created_at"].as_str().unwrap().parse::<Timestamp>().is_ok());
        assert_eq!(users.as_array().unwrap().len(), 2);
        let removed = world.run(&["user", "remove", "alice", "--json"]);
        removed.expect(0);
        assert_eq!(removed.json(), json!({"user": "alice", "removed": 2}));
        for key in [&key, &second] {
            assert_eq!(owner(&world, key).await, KeyOwner::Nobody);
        }
        let nobody = world.run(&["user", "remove", "alice"]);
        nobody.expect(1);
        assert!(
            nobody.stderr.contains("alice has no key here\n\nhint: `user list`"),
            "{}",
            nobody.stderr
        );
    }
}

#[test]
fn what_a_person_reads_is_on_record() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    let nobody = world.run(&["user", "list"]);
    assert_eq!(nobody.stdout, "Nobody has a key. `user add NAME` makes one.\n");
    let added = world.run(&["user", "add", "alice"]);
    added.expect(0);
    insta::assert_snapshot!("user-add", world.filtered(&added.stdout));
    world.run(&["user", "add", "bob@example.com"]).expect(0);
    let list = world.run(&["user", "list"]);
    insta::assert_snapshot!("user-list", world.filtered(&list.stdout));
    let removed = world.run(&["user", "remove", "alice"]);
    insta::assert_snapshot!("user-remove", world.filtered(&removed.stdout));
}

#[test]
fn a_key_is_written_into_a_file_and_nowhere_else() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    let file = world.folder().join("settings.json");
    let path = file.to_str().unwrap();
    fs::write(&file, "{\n    \"model\": \"opus\",\n    \"env\": {\"A\": \"b\"}\n}\n").unwrap();
    let add = ["user", "add", "alice", "--write-settings", path];
    let added = world.run(&add);
    added.expect(0);
    let text = fs::read_to_string(&file).unwrap();
    let start =
        "{\n    \"model\": \"opus\",\n    \"env\": {\n        \"A\": \"b\",\n        \"ANTHROPIC_";
    assert!(text.starts_with(start), "{text}");
    let settings: Value = serde_json::from_str(&text).unwrap();
    let header = settings["env"]["ANTHROPIC_CUSTOM_HEADERS"].as_str().unwrap();
    let key = header.strip_prefix("x-claude-proxy-key: ").unwrap();
    assert!(!format!("{}{}", added.stdout, added.stderr).contains(key));
    let json = world.run(&[&add[..], &["--json"]].concat());
    assert_eq!((&json.json()["key"], &json.json()["written"]), (&Value::Null, &json!(path)));
    assert!(!json.stdout.contains("ccp_"));
    // What cannot be handed over is not made.
    fs::write(&file, "{").unwrap();
    world.proxy.take_journal();
    let refused = world.run(&add);
    refused.expect(1);
    assert!(refused.stderr.contains("settings.json: it is not JSON (line 1, column 1)"));
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_key_and_shows_none() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&[]).expect(0);
        for fault in [Fault::DropBefore, Fault::DropAfter, Fault::Throttle] {
            world.proxy.arm(1, fault);
            let added = world.run(&["user", "add", "alice", "--json"]);
            assert!(world.proxy.disarm(), "{fault:?}");
            added.expect(0);
            let list = world.run(&["user", "list", "--json"]);
            assert_eq!(list.json()["users"][0]["keys"], 1, "{fault:?}");
            world.proxy.arm(1, fault);
            world.run(&["user", "remove", "alice"]).expect(0);
            assert!(world.proxy.disarm(), "{fault:?}");
        }
    }
}

#[test]
fn down_says_whose_keys_go_with_it() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&[]).expect(0);
        for user in ["alice", "alice", "bob"] {
            world.run(&["user", "add", user]).expect(0);
        }
        let refused = world.run(&["down"]);
        refused.expect(3);
        let said = "3 keys of 2 users stop working: alice (2), bob\n";
        assert!(refused.stderr.contains(said), "{}", refused.stderr);
        world.run(&["down", "--yes"]).expect(0);
        let gone = world.run(&["user", "list", "--json"]);
        gone.expect(1);
        assert_eq!(
            gone.json()["error"]["resource"],
            format!("dynamodb/{}-rate-limits", world.name)
        );
    }
}

#[tokio::test]
async fn a_table_that_is_not_ours_gets_no_key() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    let dynamodb = Client::new(&world.sdk());
    let table = world.table();
    let found = dynamodb.describe_table().table_name(&table).send().await.unwrap();
    let arn = found.table().unwrap().table_arn().unwrap().to_owned();
    dynamodb.untag_resource().resource_arn(&arn).tag_keys("managed-by").send().await.unwrap();
    world.proxy.take_journal();
    for words in [
        &["user", "add", "alice"][..],
        &["user", "list"],
        &["limits"],
        &["usage"],
        &["budget", "list"],
        &["budget", "set", "alice", "5/day"],
        &["budget", "settle"],
    ] {
        let refused = world.run(words);
        refused.expect(3);
        assert!(refused.stderr.contains("is not ours: it does not carry our tags"));
    }
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[tokio::test]
async fn many_keys_are_listed_page_by_page() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&[]).expect(0);
        // A page of a scan ends at 1 MB.
        let filler = "x".repeat(300_000);
        for number in 0..12_u8 {
            let digest = ProxyKey::from_random([number; 32]).digest();
            let item = HashMap::from([
                ("pk".to_owned(), AttributeValue::S(format!("key#{digest}"))),
                ("sk".to_owned(), AttributeValue::S("key".to_owned())),
                ("user".to_owned(), AttributeValue::S("alice".to_owned())),
                ("filler".to_owned(), AttributeValue::S(filler.clone())),
            ]);
            let put = Client::new(&world.sdk()).put_item().set_item(Some(item));
            put.table_name(world.table()).send().await.unwrap();
        }
        let list = world.run(&["user", "list", "--json"]);
        list.expect(0);
        let alice = &list.json()["users"][0];
        assert_eq!((&alice["keys"], &alice["created_at"]), (&json!(12), &Value::Null));
    }
}

/// Whose a key is, for the function.
async fn owner(world: &World, key: &ProxyKey) -> KeyOwner {
    let store = DynamoStore::new(&Aws::from(world.sdk()), &world.table(), table::PATIENCE);
    let digest = key.digest();
    let query = Query { subject: None, key: Some(&digest), session: None };
    store.look_up(&query, Timestamp::now()).await.unwrap().key
}
