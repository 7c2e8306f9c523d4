//! Does a linter that we have not written agree with the policies?
//!
//! Parliament comes from pip at the versions that `requirements.txt` pins. It knows AWS's actions, resources and conditions as of early 2025.

#![expect(clippy::unwrap_used, reason = "a policy that cannot be read fails the test")]

#[path = "../tool/policies/stacks.rs"]
mod stacks;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use provisioner::aws::Account;
use serde_json::{Value, json};
use testing::installed::{Requirements, installed};

use self::stacks::{rendered, stacks};

const REQUIREMENTS: &str = include_str!("requirements.txt");
const SCRIPT: &str = include_str!("lint.py");

/// What the linter may say, and why it is no fault of ours.
const EXCEPTIONS: [(&str, &str); 3] = [
    (
        "execution RESOURCE_MISMATCH bedrock:InvokeModel",
        "it wants every kind of resource that can be invoked; we grant only those we use",
    ),
    ("execution RESOURCE_MISMATCH bedrock:InvokeModelWithResponseStream", "the same"),
    (
        "execution UNKNOWN_ACTION Unknown action bedrock:CountTokens",
        "CountTokens is younger than the linter's data",
    ),
];

#[test]
fn the_linter_finds_nothing_that_is_not_explained() {
    let expected = EXCEPTIONS.map(|(finding, _)| finding.to_owned()).into_iter().collect();
    for stack in stacks() {
        let documents = rendered(&stack).map(|(name, document)| {
            // The documents of a resource leave it out, since they hang on it.
            let Account { id: account, partition, region } = stack.account;
            let hangs_on = match name {
                "trust" => format!("arn:{partition}:iam::{account}:role/x"),
                "repository" => {
                    format!("arn:{partition}:ecr:{region}:{account}:repository/x")
                }
                _ => return (name, document),
            };
            (name, on(document, &hangs_on))
        });
        assert_eq!(findings(&documents.into()), expected, "{}", stack.account.partition);
    }
}

#[test]
fn the_linter_sees_faults() {
    let document = json!({
        "Version": "2012-10-17",
        "Statement": [
            { "Effect": "Allow", "Action": "lambda:Invent", "Resource": "*" },
            { "Effect": "Allow", "Action": "dynamodb:Scan", "Resource": "arn:aws:s3:::bucket" },
        ],
    });
    let seen = findings(&BTreeMap::from([("planted", document)]));
    let expected = [
        "planted RESOURCE_MISMATCH dynamodb:Scan",
        "planted UNKNOWN_ACTION Unknown action lambda:Invent",
    ];
    assert_eq!(seen, expected.map(str::to_owned).into());
}

/// Says in each statement of a document what it hangs on.
fn on(mut document: Value, resource: &str) -> Value {
    for statement in document["Statement"].as_array_mut().unwrap() {
        statement["Resource"] = resource.into();
    }
    document
}

fn findings(documents: &BTreeMap<&str, Value>) -> BTreeSet<String> {
    let mut linter =
        Command::new(installed("linter", Requirements::Python(REQUIREMENTS)).join("bin/python"))
            .args(["-W", "ignore", "-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
    let documents = serde_json::to_vec(documents).unwrap();
    linter.stdin.take().unwrap().write_all(&documents).unwrap();
    let ended = linter.wait_with_output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap().lines().map(str::to_owned).collect()
}
