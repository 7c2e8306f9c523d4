//! Are the rights of `policies/operator.json` and `policies/reader.json` enough, and does the error
//! name the one that is missing? `MiniStack` checks signatures and policies here.
//!
//! It does not check `iam:PassRole` nor tags at creation, and some calls only against all resources:
//! those stand in `AGAINST_ALL`.

use provisioner::aws::Account;
use provisioner::stack::names::Name;
use provisioner::stack::names::Names;
use provisioner::stack::policies;
use serde_json::{Value, json};
use testing::aws::emulator::Emulator::Guarded;
use testing::aws::world::{Ended, World};

use crate::logs::Following;

/// What the emulator checks against `*`, although AWS knows a resource or a condition for it.
const AGAINST_ALL: [&str; 15] = [
    "cloudwatch:DeleteAlarms",
    "cloudwatch:DeleteDashboards",
    "cloudwatch:DescribeAlarms",
    "cloudwatch:GetDashboard",
    "cloudwatch:ListTagsForResource",
    "cloudwatch:PutDashboard",
    "cloudwatch:PutMetricAlarm",
    "dynamodb:ListTagsOfResource",
    "dynamodb:TagResource",
    "ecr:DescribeRepositories",
    "ecr:ListTagsForResource",
    "ecr:TagResource",
    "iam:AttachRolePolicy",
    "iam:DetachRolePolicy",
    "lambda:CreateFunction",
];

#[tokio::test]
async fn a_reader_may_plan_and_look_and_change_nothing() {
    let mut world = World::new(Guarded);
    world.up(&[]).expect(0);
    world.run(&["user", "add", "alice"]).expect(0);
    let person = Person::hire(&world, "reader", &document(&world, policies::reader)).await;
    world.key = person.key;
    world.run(&["status", "--no-probe"]).expect(0);
    let mut watching = Following::start(&world, &["status", "--watch", "--json"]);
    assert_eq!(watching.read(1)[0]["troubles"], json!([]));
    watching.interrupt().expect(0);
    world.run(&["usage"]).expect(0);
    world.run(&["budget", "list"]).expect(0);
    names_action(&world.run(&["budget", "set", "alice", "9/month"]), "dynamodb:UpdateItem");
    assert!(world.plan().is_empty());
    let refused = world.up(&["--memory", "512"]);
    refused.expect(4);
    // What is asked for is noted before it is done.
    names_action(&refused, "lambda:TagResource");
    world.run(&["down", "--yes"]).expect(4);
    assert!(!world.is_gone());
}

#[tokio::test]
async fn an_operator_may_make_change_and_remove_all_of_it() {
    let mut world = World::new(Guarded);
    let person = Person::hire(&world, "operator", &document(&world, policies::operator)).await;
    world.key = person.key;
    world.up(&[]).expect(0);
    let two = world.binary("two").display().to_string();
    let more = ["--binary", &two, "--memory", "512", "--reserved-concurrency", "5"];
    world.up(&more).expect(0);
    world.up(&["--binary", &two]).expect(0);
    world.run(&["user", "add", "alice"]).expect(0);
    for words in [
        &["budget", "set", "alice", "9/month"][..],
        &["budget", "clear", "alice"],
        &["budget", "settle"],
        &["usage"],
        &["limits"],
    ] {
        world.run(words).expect(0);
    }
    world.run(&["down", "--yes"]).expect(0);
    assert!(world.is_gone());
}

/// What of the reader's rights `plan` and `status` do without here, and why.
const NOT_FOR_PLANS: [&str; 2] = [
    // Not checked by the emulator: AWS asks for it with `GetFunction`.
    "lambda:ListTags",
    // For `doctor`.
    "lambda:GetAccountSettings",
];

#[tokio::test]
async fn each_right_of_a_reader_that_is_missing_is_named() {
    let mut world = World::new(Guarded);
    world.up(&[]).expect(0);
    let whole = document(&world, policies::reader);
    let person = Person::hire(&world, "reader", &whole).await;
    for action in actions(&whole) {
        person.may(&without(&whole, &action)).await;
        let key = std::mem::replace(&mut world.key, person.key.clone());
        let ended = world.run(&["status", "--no-probe"]);
        world.key = key;
        if ended.code == Some(0) {
            let known = NOT_FOR_PLANS.contains(&action.as_str()) || is_for_others(&action);
            assert!(known, "{action} is not needed");
            continue;
        }
        names_action(&ended, &action);
    }
}

/// What commands other than these two need.
fn is_for_others(action: &str) -> bool {
    ["cloudwatch:", "logs:Filter", "dynamodb:Scan", "dynamodb:GetItem", "bedrock:"]
        .iter()
        .any(|start| action.starts_with(start))
        || ["sts:GetCallerIdentity"].contains(&action)
}

#[tokio::test]
#[ignore = "minutes: scripts/rights-matrix runs it"]
async fn each_right_of_an_operator_that_is_missing_is_named() {
    let mut world = World::new(Guarded);
    let whole = document(&world, policies::operator);
    let person = Person::hire(&world, "operator", &whole).await;
    let two = world.binary("two").display().to_string();
    let (mut named, mut idle) = (0, Vec::new());
    for action in actions(&whole) {
        person.may(&without(&whole, &action)).await;
        let root = std::mem::replace(&mut world.key, person.key.clone());
        let steps = [
            world.up(&[]),
            world.up(&["--binary", &two, "--memory", "512", "--reserved-concurrency", "5"]),
            world.run(&["user", "add", "alice"]),
            world.run(&["budget", "set", "alice", "9/month"]),
            world.run(&["down", "--yes"]),
        ];
        world.key = root;
        world.run(&["down", "--yes"]).expect(0);
        match steps.iter().find(|ended| ended.code != Some(0)) {
            Some(failed) => {
                names_action(failed, &action);
                named += 1;
            }
            None => idle.push(action),
        }
    }
    println!("{named} rights are needed, and named when they are missing; not here: {idle:?}");
    assert!(named > 25, "{named}");
}

/// The error says which action was refused, and where all of them are listed.
#[track_caller]
fn names_action(ended: &Ended, action: &str) {
    assert!(matches!(ended.code, Some(3..=5)), "{action}: {ended:?}");
    let (_, name) = action.split_once(':').unwrap();
    assert!(ended.stderr.contains(name), "{action} is not named:\n{}", ended.stderr);
}

type Filled = fn(&Account, &Names) -> Result<Value, policies::PolicyError>;

/// A document for the stack of `world`, as far as the emulator can check it.
fn document(world: &World, filled: Filled) -> Value {
    let name: Name = world.name.parse().unwrap();
    let [id, region, partition] = ["000000000000", "us-east-1", "aws"].map(str::to_owned);
    let mut document = filled(&Account { id, region, partition }, &Names::from(&name)).unwrap();
    let statements = document["Statement"].as_array_mut().unwrap();
    let used = |action: &&str| statements.iter().any(|s| s["Action"].to_string().contains(*action));
    let loose: Vec<&str> = AGAINST_ALL.into_iter().filter(used).collect();
    statements.push(json!({"Sid": "Loose", "Effect": "Allow", "Action": loose, "Resource": "*"}));
    document
}

fn actions(document: &Value) -> Vec<String> {
    let statements = document["Statement"].as_array().unwrap().iter();
    let mut actions: Vec<String> = statements.flat_map(|s| words(&s["Action"])).collect();
    actions.sort_unstable();
    actions.dedup();
    actions
}

fn words(value: &Value) -> Vec<String> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    value.as_array().map_or_else(|| vec![word(value)], |all| all.iter().map(word).collect())
}

fn without(document: &Value, action: &str) -> Value {
    let mut document = document.clone();
    for statement in document["Statement"].as_array_mut().unwrap() {
        let rest = words(&statement["Action"]).into_iter().filter(|other| other != action);
        statement["Action"] = rest.collect();
    }
    let statements = document["Statement"].as_array_mut().unwrap();
    statements.retain(|statement| statement["Action"] != json!([]));
    document
}

/// Somebody with an access key and one policy.
struct Person {
    iam: aws_sdk_iam::Client,
    name: String,
    key: (String, String),
}

impl Person {
    async fn hire(world: &World, what: &str, policy: &Value) -> Self {
        let iam = aws_sdk_iam::Client::new(&world.sdk());
        let name = format!("{}-{what}", world.name);
        iam.create_user().user_name(&name).send().await.unwrap();
        let made = iam.create_access_key().user_name(&name).send().await.unwrap();
        let key = made.access_key().unwrap();
        let key = (key.access_key_id().to_owned(), key.secret_access_key().to_owned());
        let person = Self { iam, name, key };
        person.may(policy).await;
        person
    }

    /// May this and nothing else from now on.
    async fn may(&self, policy: &Value) {
        let put = self.iam.put_user_policy().user_name(&self.name).policy_name("only");
        put.policy_document(policy.to_string()).send().await.unwrap();
    }
}
