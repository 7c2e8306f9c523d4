//! What CloudFormation makes of the template is what `up` would have made: deployed by it, the stack
//! is as wanted already, but for what the emulator leaves out.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use serde_json::Value;
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::emulator::installed;
use testing::aws::world::World;

const DEPLOY: &str = include_str!("deploy.py");

/// No digest of an image that there is: `MiniStack` does not look.
const IMAGE: &str = "000000000000.dkr.ecr.us-east-1.amazonaws.com/NAME@sha256:\
                     0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// What `plan` finds of a whole stack that `MiniStack` has made by the template, and why.
const OF_MINISTACK: [(&str, &str); 2] = [
    ("dynamodb/NAME-rate-limits TimeToLiveDescription.AttributeName", "it forgets the expiry"),
    ("lambda/NAME-api Tags.claude-proxy:role-id", "the id is known once there is a role: to `up`"),
];

/// The same of moto, without what needs an image: it makes functions of code only.
const OF_MOTO: [(&str, &str); 6] = [
    ("dynamodb/NAME-rate-limits TimeToLiveDescription.AttributeName", "it forgets the expiry"),
    ("ecr/NAME imageScanningConfiguration.scanOnPush", "it makes bare repositories"),
    ("ecr/NAME lifecyclePolicyText", "the same"),
    ("ecr/NAME policyText", "the same"),
    ("iam-role/NAME-api-role AttachedPolicies", "it makes bare roles"),
    ("iam-role/NAME-api-role Policies.BedrockAndDynamoDB", "the same"),
];

#[test]
fn what_cloudformation_has_made_is_as_wanted() {
    let several = ["--memory", "512", "--env", "BEDROCK_REGIONS=us-east-1,us-west-2", "--retain"];
    for options in [&[][..], &several] {
        let world = World::new(MiniStack);
        let template = world.run(&[&["template"], options].concat()).json();
        let made = deploy(&world, &template, None);
        assert_eq!(made["Function"], Value::Null, "there is no image yet");
        let made = deploy(&world, &template, Some(IMAGE));
        assert_eq!(made["Function"], format!("{}-api", world.name));
        let options = options.strip_suffix(&["--retain"]).unwrap_or(options);
        assert_eq!(differences(&world, options), explained(&OF_MINISTACK), "{options:?}");
        // Taken over, it is `up`'s: nothing is made twice, and all of it goes again.
        world.up(&[&["--adopt"], options].concat()).expect(0);
        assert_eq!(world.plan().len(), 0, "{:?}", world.plan());
        world.run(&["down", "--yes"]).expect(0);
        assert!(world.is_gone());
    }
}

#[test]
fn another_emulator_makes_as_much_as_it_can_of_the_template() {
    let world = World::new(Moto);
    let mut template = world.run(&["template", "--log-retention-days", "7"]).json();
    // It resolves outputs whatever their condition.
    template.as_object_mut().unwrap().remove("Outputs");
    deploy(&world, &template, None);
    let mut differences = differences(&world, &["--log-retention-days", "7"]);
    let needs_image = ["lambda/", "permission/", "function-url/"];
    differences.retain(|found| !needs_image.iter().any(|kind| found.starts_with(kind)));
    assert_eq!(differences, explained(&OF_MOTO));
}

fn explained(all: &[(&str, &str)]) -> BTreeSet<String> {
    all.iter().map(|(found, _why)| (*found).to_owned()).collect()
}

/// What `plan` would change.
fn differences(world: &World, options: &[&str]) -> BTreeSet<String> {
    let plan = world.run(&[&["plan", "--no-build", "--json", "--adopt"], options].concat());
    plan.expect(0);
    let plan = plan.json();
    let changes = plan["changes"].as_array().unwrap().iter();
    let all = changes.filter(|change| change["action"] != "keep").flat_map(|change| {
        let address = change["address"].as_str().unwrap();
        let fields = change["fields"].as_array().unwrap().iter();
        let found = |field: &Value| format!("{address} {}", field["path"].as_str().unwrap());
        fields.map(|field| found(field).replace(&world.name, "NAME")).collect::<Vec<_>>()
    });
    all.collect()
}

/// Makes or changes a stack of CloudFormation; what comes out of it.
fn deploy(world: &World, template: &Value, image: Option<&str>) -> Value {
    let file = world.folder().join("template");
    fs::write(&file, template.to_string()).unwrap();
    let image = image.map(|image| format!("ImageUri={}", image.replace("NAME", &world.name)));
    let ended = Command::new(installed().join("bin/python"))
        .args(["-c", DEPLOY, &format!("http://{}", world.proxy.address), &world.name])
        .arg(file)
        .args(image)
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    serde_json::from_slice(&ended.stdout).unwrap()
}
