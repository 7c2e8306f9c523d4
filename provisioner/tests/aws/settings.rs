//! What is remembered, what is not, and which images stay.

use std::{thread::sleep, time::Duration};

use serde_json::{Value, json};
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::world::{Ended, World};

use crate::behind;

#[tokio::test]
async fn settings_and_options_stay_set() {
    let world = World::new(MiniStack);
    let more = ["--env", "LOG_LEVEL=debug", "--log-retention-days", "7", "--timeout", "60"];
    world.up(&more).expect(0);
    let lambda = aws_sdk_lambda::Client::new(&world.sdk());
    let name = format!("{}-api", world.name);
    let found = lambda.get_function().function_name(&name).send().await.unwrap();
    let there = found.configuration().unwrap();
    // Somebody sets a variable that is none of ours: it stays as well.
    let mut variables = there.environment().unwrap().variables().unwrap().clone();
    variables.insert("THEIRS".to_owned(), "1".to_owned());
    let all = aws_sdk_lambda::types::Environment::builder().set_variables(Some(variables)).build();
    let update = lambda.update_function_configuration().function_name(&name).environment(all);
    update.send().await.unwrap();
    let up = world.up(&["--json", "--env", "FALLBACK_ON=rate_limit"]);
    up.expect(0);
    let name = &world.name;
    let function = format!("lambda/{name}-api");
    assert_eq!(changed(&up), json!({&function: ["Environment.FALLBACK_ON"]}));
    let found = lambda.get_function().function_name(format!("{name}-api")).send().await.unwrap();
    let variables = found.configuration().unwrap().environment().unwrap().variables().unwrap();
    let mut variables: Vec<_> =
        variables.iter().map(|(key, value)| format!("{key}={value}")).collect();
    variables.sort();
    let table = format!("RATE_LIMIT_TABLE_NAME={name}-rate-limits");
    let all = [
        "FALLBACK_ON=rate_limit",
        "LOG_LEVEL=debug",
        "RATE_LIMIT_STORE=dynamodb",
        &table,
        "THEIRS=1",
    ];
    assert_eq!(variables, all);
    // An option goes back when it is told to, and stays there.
    let back = ["--json", "--log-retention-days", "default", "--timeout", "default"];
    let up = world.up(&back);
    up.expect(0);
    let log_group = format!("log-group//aws/lambda/{name}-api");
    assert_eq!(changed(&up), json!({&log_group: ["retentionInDays"], &function: ["Timeout"]}));
    world.proxy.take_journal();
    world.up(&[]).expect(0);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[test]
fn a_setting_that_touches_rights_changes_the_policy_first() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    world.proxy.take_journal();
    let up = world.up(&["--env", "BEDROCK_REGIONS=us-east-1,eu-west-1", "--json"]);
    up.expect(0);
    assert_eq!(
        world.proxy.take_journal(),
        ["iam.PutRolePolicy", "lambda.UpdateFunctionConfiguration"]
    );
    world.up(&[]).expect(0);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[test]
fn organization_mode_reserves_concurrency_unless_told_otherwise() {
    let world = World::new(MiniStack);
    let mode = ["--env", "ACCESS_MODE=organization", "--env", "ALLOWED_ORGANIZATIONS=a-b-c"];
    let reserved = |up: &Ended| {
        up.expect(0);
        let changes = up.json()["changes"].as_array().unwrap().clone();
        let fields = changes.iter().flat_map(|change| change["fields"].as_array().unwrap().clone());
        fields.into_iter().find(|field| field["path"] == "ReservedConcurrentExecutions")
    };
    let up = world.up(&[&mode[..], &["--json"]].concat());
    assert_eq!(reserved(&up).unwrap()["after"], 50);
    let up = world.up(&["--json", "--env", "ACCESS_MODE=key", "--env", "ALLOWED_ORGANIZATIONS="]);
    assert_eq!(reserved(&up).unwrap()["after"], Value::Null);
    let up = world.up(&["--json", "--reserved-concurrency", "5"]);
    assert_eq!(reserved(&up).unwrap()["after"], 5);
    // What was asked for outlives the mode, and every plain `up`.
    assert_eq!(reserved(&world.up(&[&mode[..], &["--json"]].concat())), None);
    assert_eq!(reserved(&world.up(&["--json"])), None);
}

#[test]
fn settings_that_would_not_start_are_refused_before_any_change() {
    let world = World::new(MiniStack);
    // On its own each of them is well; together they are not.
    let refused = world.up(&["--env", "PROXY_KEYS=", "--env", "ACCESS_MODE=organization"]);
    refused.expect(64);
    assert!(refused.error().contains("ALLOWED_ORGANIZATIONS"), "{}", refused.stderr);
    world.up(&["--env", "LOG_LEVEL=loud"]).expect(64);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[tokio::test]
async fn a_function_whose_settings_make_no_sense_is_shown_mended_and_removed() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    let lambda = aws_sdk_lambda::Client::new(&world.sdk());
    let name = format!("{}-api", world.name);
    let spoil = async || {
        let all =
            aws_sdk_lambda::types::Environment::builder().variables("BEDROCK_REGIONS", "us east*");
        let update = lambda.update_function_configuration().function_name(&name);
        update.environment(all.build()).send().await.unwrap();
    };
    spoil().await;
    let status = world.run(&["status", "--no-probe"]);
    status.expect(0);
    assert!(status.stderr.contains("its settings are wrong"), "{}", status.stderr);
    // Nothing that was typed is wrong: what is there is.
    let refused = world.up(&[]);
    refused.expect(4);
    assert!(refused.error().contains("config unset"), "{}", refused.stderr);
    world.up(&["--env", "BEDROCK_REGIONS=us-east-1"]).expect(0);
    spoil().await;
    world.run(&["down", "--yes"]).expect(0);
    assert!(world.is_gone());
}

#[test]
fn the_processors_are_read_back_and_must_fit_the_binary() {
    let world = World::new(MiniStack);
    let intel = world.intel();
    world.up(&["--architecture", "x86_64", "--binary", &intel]).expect(0);
    world.proxy.take_journal();
    world.up(&["--binary", &intel]).expect(0);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
    let refused = world.up(&[]);
    refused.expect(4);
    assert!(
        refused.error().contains("built for arm64, but x86_64 is wanted"),
        "{}",
        refused.stderr
    );
    world.up(&["--architecture", "arm64"]).expect(0);
    world.up(&[]).expect(0);
}

#[test]
fn an_image_that_is_kept_can_be_deployed_again() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        let image = |up: &Ended| {
            up.expect(0);
            let image = up.json()["outputs"]["image"].as_str().unwrap().to_owned();
            image.rsplit_once('@').unwrap().1.to_owned()
        };
        let mut images = Vec::new();
        for code in ["a", "b", "c", "d", "e", "f"] {
            // The emulators count in seconds, and of two in one second none is the older.
            sleep(Duration::from_millis(1100));
            images.push(image(&world.up(&["--json", "--binary", &world.path(code)])));
        }
        assert_eq!(behind::images(&world).len(), 4, "{emulator:?}");
        assert!(images[2..].iter().all(|image| behind::images(&world).contains(image)));
        let back = world.run(&["up", "--yes", "--no-probe", "--json", "--image", &images[3]]);
        assert_eq!(image(&back), images[3]);
        // One that is gone is refused before any change.
        world.proxy.take_journal();
        let gone = world.run(&["up", "--yes", "--no-probe", "--image", &images[0]]);
        gone.expect(1);
        assert!(gone.error().contains("the repository has no image sha256:"), "{}", gone.stderr);
        world.run(&["up", "--yes", "--image", "latest"]).expect(64);
        assert_eq!(world.proxy.take_journal(), [""; 0]);
        assert_eq!(behind::images(&world).len(), 4);
    }
}

#[test]
fn a_boundary_is_set_changed_and_taken_off() {
    let world = World::new(MiniStack);
    let policy = |name: &str| format!("arn:aws:iam::aws:policy/{name}");
    let one = policy("PowerUserAccess");
    world.up(&["--permissions-boundary", &one]).expect(0);
    let up = world.up(&["--json", "--permissions-boundary", &policy("ReadOnlyAccess")]);
    up.expect(0);
    let role = format!("iam-role/{}-api-role", world.name);
    assert_eq!(changed(&up), json!({&role: ["PermissionsBoundary"]}));
    let up = world.up(&["--json"]);
    up.expect(0);
    assert_eq!(changed(&up), json!({}), "a colleague's plain up leaves it");
    let up = world.up(&["--json", "--permissions-boundary", "default"]);
    up.expect(0);
    assert_eq!(changed(&up), json!({&role: ["PermissionsBoundary"]}));
}

/// The paths that changed, by address.
fn changed(up: &Ended) -> Value {
    let changes = up.json()["changes"].as_array().unwrap().clone();
    let changes = changes.iter().filter(|change| change["action"] != "keep");
    let pairs = changes.map(|change| {
        let fields = change["fields"].as_array().unwrap().iter();
        let paths: Vec<_> = fields.map(|field| field["path"].clone()).collect();
        (change["address"].as_str().unwrap().to_owned(), json!(paths))
    });
    Value::Object(pairs.collect())
}
