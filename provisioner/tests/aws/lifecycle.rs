//! From nothing to a stack and back, and what lies beside it.

use serde_json::json;
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::world::World;

#[test]
fn a_second_up_makes_no_mutating_call() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&[]).expect(0);
        assert!(!world.proxy.take_journal().is_empty());
        let second = world.up(&[]);
        second.expect(0);
        assert!(second.stdout.starts_with("No changes.\n"), "{}", second.stdout);
        assert_eq!(world.proxy.take_journal(), [""; 0], "{emulator:?}");
    }
}

#[test]
fn a_plan_writes_nothing() {
    let world = World::new(MiniStack);
    let binary = world.binary("one");
    let plan = ["plan", "--exit-code", "--binary", binary.to_str().unwrap()];
    world.run(&plan).expect(2);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
    assert!(world.is_gone());
    world.up(&[]).expect(0);
    world.run(&plan).expect(0);
}

#[test]
fn a_change_is_made_in_place_and_the_url_stays() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        let url = |ended: &testing::aws::world::Ended| ended.json()["outputs"]["url"].clone();
        let first = world.up(&["--json"]);
        first.expect(0);
        let two = world.binary("two");
        let more = ["--memory", "512", "--env", "LOG_LEVEL=debug", "--json"];
        let second = world.up(&[&more[..], &["--binary", two.to_str().unwrap()]].concat());
        second.expect(0);
        assert_eq!(url(&first), url(&second));
        let changes = second.json()["changes"].clone();
        let of_function = changes.as_array().unwrap().iter().find(|c| c["action"] == "update");
        let fields = of_function.unwrap()["fields"].as_array().unwrap().clone();
        let paths: Vec<_> = fields.iter().map(|field| field["path"].clone()).collect();
        assert_eq!(paths, ["Code.ImageUri", "MemorySize", "Environment.LOG_LEVEL"]);
        // The setting is remembered, and so is the option.
        world.proxy.take_journal();
        world.up(&["--json", "--binary", two.to_str().unwrap()]).expect(0);
        assert_eq!(world.proxy.take_journal(), [""; 0]);
        let back = ["--json", "--memory", "default", "--binary", two.to_str().unwrap()];
        let third = world.up(&back);
        third.expect(0);
        let changes = third.json()["changes"].clone();
        let of_function = changes.as_array().unwrap().iter().find(|c| c["action"] == "update");
        let fields = of_function.unwrap()["fields"].clone();
        assert_eq!(fields, json!([{"path": "MemorySize", "before": 512, "after": 256}]));
    }
}

#[test]
fn after_going_back_to_an_old_image_a_new_one_ends_well() {
    let world = World::new(MiniStack);
    for code in ["one", "two", "three", "four"] {
        world.up(&["--binary", &world.path(code)]).expect(0);
    }
    let image = provisioner::image::OciImage::from_binary(
        &std::fs::read(world.binary("one")).unwrap(),
        provisioner::image::Architecture::Arm64,
    );
    let oldest = image.unwrap().digest().to_string();
    world.run(&["up", "--yes", "--no-probe", "--image", &oldest]).expect(0);
    let five = world.path("five");
    let ended = world.up(&["--json", "--binary", &five]);
    ended.expect(0);
    let addresses: Vec<_> = ended.json()["changes"].as_array().unwrap().clone();
    let addresses: Vec<_> = addresses.iter().map(|change| change["address"].clone()).collect();
    let unique: std::collections::BTreeSet<_> = addresses.iter().map(ToString::to_string).collect();
    assert_eq!(unique.len(), addresses.len(), "{addresses:?}");
    world.proxy.take_journal();
    world.up(&["--binary", &five]).expect(0);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[tokio::test]
async fn down_leaves_nothing_of_ours_and_all_of_others() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        let logs = aws_sdk_cloudwatchlogs::Client::new(&world.sdk());
        let iam = aws_sdk_iam::Client::new(&world.sdk());
        let decoy = format!("/aws/lambda/{}-api-2", world.name);
        logs.create_log_group().log_group_name(&decoy).send().await.unwrap();
        let role = format!("{}-api-role-2", world.name);
        let create = iam.create_role().role_name(&role).assume_role_policy_document("{}");
        create.send().await.unwrap();
        world.up(&[]).expect(0);
        let down = world.run(&["down", "--yes", "--json"]);
        down.expect(0);
        assert_eq!(down.json()["remaining"], json!([]));
        assert_eq!(down.json()["deleted"].as_array().unwrap().len(), 9);
        assert!(world.is_gone());
        world.proxy.take_journal();
        world.run(&["down", "--yes"]).expect(0);
        assert_eq!(world.proxy.take_journal(), [""; 0]);
        iam.get_role().role_name(&role).send().await.unwrap();
        let found = logs.describe_log_groups().log_group_name_prefix(&decoy).send().await.unwrap();
        assert_eq!(found.log_groups().len(), 1);
    }
}

#[tokio::test]
async fn what_is_not_ours_stops_up_before_any_change_and_is_kept_by_down() {
    let world = World::new(MiniStack);
    let iam = aws_sdk_iam::Client::new(&world.sdk());
    let role = format!("{}-api-role", world.name);
    let create = iam.create_role().role_name(&role).assume_role_policy_document("{}");
    create.send().await.unwrap();
    world.proxy.take_journal();
    let refused = world.up(&["--json"]);
    refused.expect(3);
    assert_eq!(refused.json()["error"]["resource"], format!("iam-role/{role}"));
    let down = world.run(&["down", "--yes", "--json"]);
    down.expect(3);
    assert_eq!(down.json()["kept"], json!([format!("iam-role/{role}")]));
    assert_eq!(world.proxy.take_journal(), [""; 0]);
    world.up(&["--adopt"]).expect(0);
    assert!(world.plan().is_empty());
}

#[test]
fn without_a_yes_nothing_is_changed() {
    let world = World::new(MiniStack);
    let binary = world.binary("one");
    let ended = world.run(&["up", "--binary", binary.to_str().unwrap()]);
    ended.expect(3);
    assert!(ended.stderr.ends_with("hint: --yes says it beforehand\n"), "{}", ended.stderr);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[test]
fn a_binary_for_another_processor_is_refused_before_any_change() {
    let world = World::new(MiniStack);
    world.up(&["--architecture", "x86_64"]).expect(4);
    world.up(&["--binary", "/nowhere"]).expect(64);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[test]
fn two_ups_at_once_end_in_one_whole_stack() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        let up = world.words_of_up();
        for ended in world.both(&up, &up) {
            ended.expect(0);
        }
        assert!(world.plan().is_empty(), "{:?}", world.plan());
    }
}
