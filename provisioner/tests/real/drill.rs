//! The drill from end to end.

use aws_sdk_dynamodb::Client;
use serde_json::json;
use testing::answer::access_denied;
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::world::World;

use crate::live;

#[tokio::test]
async fn a_drill_is_answered_by_bedrock_and_leaves_nothing_behind() {
    for emulator in [MiniStack, Moto] {
        let (world, deployed) = live(emulator, &[]);
        world.proxy.take_journal();
        let drill = world.run(&["drill", "--json"]);
        drill.expect(0);
        let report = drill.json();
        assert_eq!((&report["ok"], &report["upstream"]), (&json!(true), &json!("bedrock")));
        assert_eq!(
            (&report["reason"], &report["region"]),
            (&json!("rate_limited"), &json!("us-east-1"))
        );
        assert_eq!((&report["taken"], &report["limit"]["removed"]), (&json!(true), &json!(true)));
        assert!(report["first_byte_ms"].as_u64() <= report["duration_ms"].as_u64());
        assert!(report["cost"]["usd"].as_f64().unwrap() > 0.0);
        assert!(deployed.anthropic.requests().is_empty(), "Anthropic's part is played");
        let asked = deployed.bedrock.requests();
        assert_eq!((asked.len(), &asked[0].json()["max_tokens"]), (1, &json!(16)));
        // The tool writes the drill and takes the limit away; the function did the rest.
        assert_eq!(world.proxy.take_journal(), ["dynamodb.PutItem", "dynamodb.DeleteItem"]);
        assert_eq!(items(&world).await, 0);
        let log = deployed.told(r#""call":"drill""#).await;
        assert!(!log.contains("ccd_"), "{log}");
        assert!(!format!("{}{}", drill.stdout, drill.stderr).contains("ccd_"));
        // Another drill is another nonce.
        world.run(&["drill", "--model", "claude-opus-5-5"]).expect(0);
        assert_eq!((deployed.bedrock.requests().len(), items(&world).await), (2, 0));
    }
}

#[tokio::test]
async fn what_a_person_reads_is_on_record() {
    let (world, _deployed) = live(MiniStack, &[]);
    let drill = world.run(&["drill"]);
    drill.expect(0);
    insta::assert_snapshot!("drill", filtered(&world, &drill.stdout));
    insta::assert_snapshot!("drill-progress", filtered(&world, &drill.stderr));
}

#[tokio::test]
async fn a_drill_that_fails_says_why_and_leaves_nothing_behind() {
    for emulator in [MiniStack, Moto] {
        let (world, deployed) = live(emulator, &[]);
        deployed.bedrock.next([access_denied()]);
        let denied = world.run(&["drill", "--json"]);
        denied.expect(1);
        assert_eq!((&denied.json()["ok"], items(&world).await), (&json!(false), 0));
        let error = denied.json()["error"].clone();
        assert!(error["message"].as_str().unwrap().contains("(503): Bedrock said: "), "{error}");
        assert!(error["hint"].is_string());
        // Nobody listens at the URL any more.
        drop(deployed);
        let silent = world.run(&["drill", "--json"]);
        silent.expect(1);
        let message = silent.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("the function did not answer: "), "{message}");
        assert_eq!(items(&world).await, 0);
    }
}

#[tokio::test]
async fn a_function_that_takes_no_drill_is_found_out() {
    // Switched off where the tool can see it, and where it cannot.
    let (world, deployed) = live(MiniStack, &[("DRILL_ENABLED", "false")]);
    let deaf = world.run(&["drill", "--json"]);
    deaf.expect(1);
    let error = deaf.json()["error"].clone();
    assert_eq!(error["message"], "the function did not take the drill (404)");
    assert_eq!((&deaf.json()["taken"], items(&world).await), (&json!(false), 0));
    world.run(&["config", "set", "DRILL_ENABLED=false"]).expect(0);
    world.proxy.take_journal();
    let off = world.run(&["drill"]);
    off.expect(1);
    assert!(off.stderr.contains("hint: `config unset DRILL_ENABLED` lets it"), "{}", off.stderr);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
    assert!(deployed.bedrock.requests().is_empty() && deployed.anthropic.requests().is_empty());
}

#[tokio::test]
async fn without_a_stack_there_is_nothing_to_drill() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        let nothing = world.run(&["drill", "--json"]);
        nothing.expect(1);
        let resource = nothing.json()["error"]["resource"].clone();
        assert_eq!(resource, format!("dynamodb/{}-rate-limits", world.name));
        world.run(&["drill", "--model", "no model"]).expect(64);
    }
}

/// How many items the stack's table has beside what answers have cost.
pub(crate) async fn items(world: &World) -> usize {
    let table = world.table();
    let scan = Client::new(&world.sdk()).scan().table_name(table).send().await.unwrap();
    let is_cost = |pk: &str| pk.starts_with("budget#");
    scan.items().iter().filter(|item| !is_cost(item["pk"].as_s().unwrap())).count()
}

fn filtered(world: &World, text: &str) -> String {
    let text = world.filtered(text);
    let filters = [
        (r"\d+ ms", "N ms"),
        (r"WHEN(, in \d+ s)?", "WHEN"),
        (r"\d\d:\d\d UTC, in \d+ s", "WHEN"),
        (r"drill#[0-9a-f]{12}", "drill#DIGEST"),
        (r"http://127\.0\.0\.1:\d+", "URL"),
    ];
    filters.iter().fold(text, |text, (pattern, word)| {
        regex_lite::Regex::new(pattern).unwrap().replace_all(&text, *word).into_owned()
    })
}
