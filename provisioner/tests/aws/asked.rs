//! A question may stand for hours: what was asked about is looked at again after the yes, whichever
//! command asks. And what nobody was asked about fits what somebody else has set meanwhile.

use aws_sdk_cloudwatchlogs::Client as Logs;
use serde_json::{Value, json};
use testing::aws::emulator::Emulator::{MiniStack, Moto};
#[cfg(unix)]
use testing::aws::terminal;
use testing::aws::world::World;

use crate::behind::wait;

fn setting(world: &World, name: &str) -> Value {
    let list = world.run(&["config", "list", "--json"]);
    let settings = list.json()["settings"].as_array().unwrap().clone();
    settings.into_iter().find(|one| one["name"] == name).unwrap()["value"].clone()
}

#[cfg(unix)]
#[test]
fn what_doctor_would_mend_and_somebody_else_has_mended_is_left_to_them() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    let group = format!("/aws/lambda/{}-api", world.name);
    let logs = Logs::new(&world.sdk());
    wait(logs.delete_retention_policy().log_group_name(&group).send()).unwrap();
    let mut asked = 0;
    let screen = terminal::run_with(&world, &["doctor", "--fix"], &[], || {
        asked += 1;
        // A colleague wants them kept for longer.
        world.up(&["--log-retention-days", "90"]).expect(0);
        "y\n"
    });
    assert_eq!(asked, 1, "{}", screen.text);
    assert!(screen.text.contains("somebody else has changed log-group/"), "{}", screen.text);
    let found = wait(logs.describe_log_groups().log_group_name_prefix(&group).send()).unwrap();
    assert_eq!(found.log_groups()[0].retention_in_days, Some(90), "{}", screen.text);
    assert!(world.plan().is_empty(), "{:?}", world.plan());
}

#[cfg(unix)]
#[test]
fn what_is_stored_of_prices_is_what_holds_when_somebody_says_yes() {
    let world = World::new(MiniStack);
    world.up(&["--env", "BUDGET_USER_MONTH_USD=1"]).expect(0);
    let none = json!({"__type": "ValidationException", "message": "Agreement not supported"});
    world.proxy.answer("/list-foundation-model-agreement-offers/", 400, none);
    let card =
        json!([{"dimension": "USE1_output_tokens_standard", "price": "20", "unit": "1M tokens"}]);
    let offers =
        json!({"offers": [{"termDetails": {"usageBasedPricingTerm": {"rateCard": card}}}]});
    world.proxy.answer(
        "/list-foundation-model-agreement-offers/anthropic.claude-opus-5-5",
        200,
        offers,
    );
    let public = json!({"products": {}, "terms": {"OnDemand": {}}});
    world.proxy.answer("/offers/v1.0/aws/AmazonBedrockFoundationModels/", 200, public);
    // A colleague stores a price of another model: both are shown, and asked about.
    let theirs = r#"BEDROCK_PRICES={"claude-haiku-4-5": {"input": 0.9}}"#;
    let mut asked = 0;
    let screen = terminal::run_with(&world, &["prices", "--write"], &[], || {
        asked += 1;
        if asked == 1 {
            world.run(&["config", "set", theirs]).expect(0);
        }
        "y\n"
    });
    assert_eq!((screen.code, asked), (Some(0), 2), "{}", screen.text);
    let stored: Value =
        serde_json::from_str(setting(&world, "BEDROCK_PRICES").as_str().unwrap()).unwrap();
    let both = json!({"claude-haiku-4-5": {"input": 0.9}, "claude-opus-5-5": {"output": 20}});
    assert_eq!(stored, both, "{}", screen.text);
    // A factor that is set meanwhile counts for nothing that is stored: it is refused, as before.
    world.run(&["config", "unset", "BEDROCK_PRICES"]).expect(0);
    let screen = terminal::run_with(&world, &["prices", "--write"], &[], || {
        world.run(&["config", "set", "BEDROCK_PRICE_MULTIPLIER=0.9"]).expect(0);
        "y\n"
    });
    assert_eq!(screen.code, Some(3), "{}", screen.text);
    assert_eq!(setting(&world, "BEDROCK_PRICES"), Value::Null, "{}", screen.text);
    // And what is booked already by then is not stored again.
    world.run(&["config", "unset", "BEDROCK_PRICE_MULTIPLIER"]).expect(0);
    let screen = terminal::run_with(&world, &["prices", "--write"], &[], || {
        world
            .run(&["config", "set", r#"BEDROCK_PRICES={"claude-opus-5-5": {"output": 20}}"#])
            .expect(0);
        "y\n"
    });
    assert_eq!(screen.code, Some(0), "{}", screen.text);
    assert!(screen.text.contains("Nothing to store"), "{}", screen.text);
}

#[test]
fn the_role_may_what_the_settings_of_both_ask_for() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&[]).expect(0);
        let map = r#"BEDROCK_MODEL_MAP={"mine": "us.anthropic.claude-opus-4-1-20250805-v1:0"}"#;
        let mut theirs = world.command(&["config", "set", map]);
        // Between our policy and our settings they write theirs.
        world.proxy.meddle(1, move || {
            let ended = theirs.output().unwrap();
            assert!(ended.status.success(), "{ended:?}");
        });
        let ours = world.run(&["config", "set", "BEDROCK_REGIONS=us-east-1,us-west-2"]);
        ours.expect(0);
        assert!(!world.proxy.call_off(), "nobody has meddled");
        assert!(ours.stderr.contains("the role follows both"), "{}", ours.stderr);
        assert!(world.plan().is_empty(), "{emulator:?}: {:?}", world.plan());
    }
}

#[test]
fn a_key_that_is_made_while_its_owner_s_are_taken_back_goes_as_well() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    world.run(&["user", "add", "alice"]).expect(0);
    let mut theirs = world.command(&["user", "add", "alice"]);
    world.proxy.meddle(1, move || assert!(theirs.output().unwrap().status.success()));
    let removed = world.run(&["user", "remove", "alice", "--json"]);
    removed.expect(0);
    assert!(!world.proxy.call_off(), "nobody has meddled");
    assert_eq!(removed.json()["removed"], 2, "{removed:?}");
    assert_eq!(world.run(&["user", "list", "--json"]).json()["users"], json!([]));
}
