//! May an operator do all that the tool asks of AWS? The calls stand in its sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use provisioner::stack::policies;
use regex_lite::Regex;

use super::documents::{statements, texts};
use super::{names, rendered, stacks};

/// What is called and not granted, and why.
const NOT_GRANTED: [(&str, &str); 1] = [(
    "bedrock:InvokeModel",
    "`doctor --spend` spends as the person who runs it: whether that one may, the account says",
)];

/// What is granted and stands in no call of a source, and why.
const NOT_CALLED: [(&str, &str); 9] = [
    ("ecr:BatchCheckLayerAvailability", PUSH),
    ("ecr:BatchGetImage", PUSH),
    ("ecr:CompleteLayerUpload", PUSH),
    ("ecr:GetDownloadUrlForLayer", PUSH),
    ("ecr:InitiateLayerUpload", PUSH),
    ("ecr:PutImage", PUSH),
    ("ecr:UploadLayerPart", PUSH),
    ("iam:PassRole", "asked for where a function gets its role"),
    ("lambda:ListTags", "without it `GetFunction` leaves the tags out"),
];

const PUSH: &str = "what ECR asks for where an image is pushed by the registry's own protocol";

#[test]
fn nobody_may_do_what_is_never_called() {
    let called = called(&sources());
    for (name, document) in stacks().iter().flat_map(rendered) {
        if !["operator", "reader"].contains(&name) {
            continue;
        }
        let granted = granted(&document);
        let idle = granted.difference(&called).map(String::as_str);
        let known = |action: &&str| NOT_CALLED.iter().any(|(named, _)| named == action);
        let idle: Vec<&str> = idle.filter(|action| !known(action)).collect();
        assert_eq!(idle, [""; 0], "{name}");
    }
}

/// A policy that somebody attached to the role goes with it, whichever it is; what is attached is
/// ours.
#[test]
fn any_policy_may_be_taken_off_the_role_and_one_put_on() {
    for stack in stacks() {
        let document = policies::operator(stack.account, &names()).unwrap();
        let condition = |action: &str| {
            let all = statements(&document).into_iter();
            let mut all = all.filter(|statement| texts(&statement["Action"]).contains(&action));
            let condition = all.next().unwrap()["Condition"].take();
            assert_eq!(all.count(), 0, "{action} is granted twice");
            condition
        };
        assert!(condition("iam:DetachRolePolicy").is_null());
        let only = condition("iam:AttachRolePolicy")["ArnEquals"]["iam:PolicyARN"].take();
        assert!(only.as_str().unwrap().ends_with("/AWSLambdaBasicExecutionRole"), "{only}");
    }
}

#[test]
fn an_operator_may_do_all_that_is_called() {
    let called = called(&sources());
    assert!(called.len() > 60, "{called:?}");
    for stack in stacks() {
        let granted = granted(&policies::operator(stack.account, &names()).unwrap());
        let missing: Vec<_> = called.difference(&granted).map(String::as_str).collect();
        assert_eq!(missing, NOT_GRANTED.map(|(action, _)| action));
    }
}

#[test]
fn a_call_is_seen_however_it_is_written() {
    let text = "call(\"CloudWatch Logs\", \"FilterLogEvents\", x)
        call(
            \"IAM\",
            \"GetRole\", x)
        pages((\"IAM\", \"ListRoles\"), x) let asked = (\"DynamoDB\", \"Scan\");
        Ask::get(BEDROCK, \"ListThings\", y) Ask::action(CLOUDWATCH, \"PutAlarm\", z)";
    let seen: Vec<_> = called(text).into_iter().collect();
    let all = [
        "bedrock:ListThings",
        "cloudwatch:PutAlarm",
        "dynamodb:Scan",
        "iam:GetRole",
        "iam:ListRoles",
        "logs:FilterLogEvents",
    ];
    assert_eq!(seen, all);
}

/// The actions that a source calls, as policies name them.
fn called(source: &str) -> BTreeSet<String> {
    let call =
        r#"(?:(?:call\(|pages\(\(|asked = \()\s*"([\w ]+)"|Ask::\w+\(\s*([A-Z_]+)),\s*"(\w+)""#;
    let call = Regex::new(call).unwrap();
    let action = |found: regex_lite::Captures<'_>| {
        let service = found.get(1).or(found.get(2)).unwrap().as_str();
        format!("{}:{}", prefix(service), &found[3])
    };
    call.captures_iter(source).map(action).collect()
}

/// How policies name a service.
fn prefix(service: &str) -> &'static str {
    match service {
        "BEDROCK" | "BEDROCK_RUNTIME" => "bedrock",
        "CLOUDWATCH" => "cloudwatch",
        "CloudWatch Logs" => "logs",
        "DynamoDB" => "dynamodb",
        "ECR" => "ecr",
        "IAM" => "iam",
        "Lambda" => "lambda",
        "STS" => "sts",
        other => panic!("how do policies name {other}?"),
    }
}

fn granted(document: &serde_json::Value) -> BTreeSet<String> {
    let statements = statements(document);
    statements.iter().flat_map(|one| texts(&one["Action"])).map(str::to_owned).collect()
}

/// All sources, without their tests.
fn sources() -> String {
    fn read(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, text);
            } else {
                let file = fs::read_to_string(&path).unwrap();
                text.push_str(file.split("#[cfg(test)]").next().unwrap_or_default());
            }
        }
    }
    let mut text = String::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut text);
    text
}
