//! What does a template of the stack say? It is asked for without credentials, a network or a home.

#![expect(clippy::unwrap_used, reason = "helpers fail where a template is not as it has to be")]

use std::collections::BTreeSet;
use std::process::{Command, Output};

use serde_json::Value;

const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// Combinations of options; between them every resource and every property that may be missing.
const OPTIONS: [&[&str]; 5] = [
    &[],
    &["--dashboard", "--memory", "512", "--timeout", "60"],
    &["--dashboard", "--env", "BUDGET_TOTAL_MONTH_USD=10", "--architecture", "x86_64"],
    &["--permissions-boundary", "arn:aws:iam::123456789012:policy/edge", "--retain"],
    &["--reserved-concurrency", "7", "--log-retention-days", "7", "--name", "other"],
];

#[test]
fn a_template_is_what_is_on_record() {
    insta::assert_snapshot!("template", text(&[]));
}

#[test]
fn whatever_is_named_in_a_template_is_in_it() {
    for options in OPTIONS {
        let template = template(options);
        let keys = |key: &str| template[key].as_object().unwrap().keys().cloned();
        let there: BTreeSet<String> = keys("Resources").chain(keys("Parameters")).collect();
        let mut named = BTreeSet::new();
        references(&template, &mut named);
        assert!(named.len() > 4 && named.is_subset(&there), "{named:?} {there:?}");
    }
}

#[test]
fn every_resource_says_what_becomes_of_it() {
    for options in OPTIONS {
        let template = template(options);
        for (name, resource) in template["Resources"].as_object().unwrap() {
            let stays = name == "Table" || options.contains(&"--retain");
            let fate = if stays { "Retain" } else { "Delete" };
            assert_eq!(resource["DeletionPolicy"], fate, "{name}");
            assert_eq!(resource["UpdateReplacePolicy"], fate, "{name}");
        }
    }
}

#[test]
fn what_is_optional_is_in_it_where_it_is_asked_for() {
    let names = |options: &[&str]| -> BTreeSet<String> {
        template(options)["Resources"].as_object().unwrap().keys().cloned().collect()
    };
    let more = |options: &[&str]| -> Vec<String> {
        names(options).difference(&names(&[])).cloned().collect()
    };
    assert_eq!(names(&[]).len(), 8);
    assert_eq!(more(OPTIONS[1]), ["Dashboard", "ErrorAlarm", "FallbackAlarm"]);
    let all = ["Dashboard", "ErrorAlarm", "FallbackAlarm", "NearCapAlarm", "UsedUpAlarm"];
    assert_eq!(more(OPTIONS[2]), all);
}

#[test]
fn a_secret_is_a_parameter_and_not_in_the_template() {
    let keys = format!("PROXY_KEYS=alice:{DIGEST}");
    let template = template(&["--env", &keys, "--env", "LOG_LEVEL=debug"]);
    assert!(!template.to_string().contains(&DIGEST[..8]));
    let variables = &template["Resources"]["Function"]["Properties"]["Environment"]["Variables"];
    assert_eq!(variables["PROXY_KEYS"]["Ref"], "ProxyKeys");
    assert_eq!(variables["LOG_LEVEL"], "debug");
    assert_eq!(template["Parameters"]["ProxyKeys"]["NoEcho"], true);
}

#[test]
fn it_is_for_the_account_and_the_region_that_are_named() {
    for (region, partition) in [
        ("eu-central-1", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eusc-de-east-1", "aws-eusc"),
    ] {
        let template = template(&["--region", region]);
        let about = &template["Metadata"]["claude-proxy"];
        let said = ["account", "region", "partition"].map(|key| about[key].as_str().unwrap());
        assert_eq!(said, ["123456789012", region, partition]);
        let text = template.to_string();
        let scope = format!("arn:{partition}:dynamodb:{region}:123456789012:table/");
        assert!(text.contains(&scope), "{text}");
        assert_eq!(text.contains("arn:aws:"), partition == "aws", "{text}");
    }
}

#[test]
fn plan_prints_it_too_and_yaml_says_the_same() {
    let plan = run(&["plan", "--template", "--account", "1"]);
    assert_eq!(plan.status.code(), Some(64), "it is for the account of the credentials");
    let yaml = text(&["--format", "yaml"]);
    for line in
        ["AWSTemplateFormatVersion: \"2010-09-09\"", "  Function:", "    Type: AWS::IAM::Role"]
    {
        assert!(yaml.lines().any(|is| is == line), "{line}\n{yaml}");
    }
    assert!(text(&["--format", "json"]) == text(&["--json"]));
}

#[test]
fn what_makes_no_template_ends_with_a_sentence() {
    for (words, sentence) in [
        (&["--account", "12345"][..], "an account has twelve digits"),
        (&["--json", "--format", "yaml"], "two forms"),
        (&["--format", "toml"], "invalid value 'toml'"),
        (&["--env", "BEDROCK_REGIONS=nowhere*"], "BEDROCK_REGIONS"),
        (&["--env", "RATE_LIMIT_STORE=memory"], "belongs to the stack"),
    ] {
        let words = [&["template"], words].concat();
        let ended = run(&words);
        let said =
            String::from_utf8(ended.stderr).unwrap() + &String::from_utf8(ended.stdout).unwrap();
        assert_eq!(ended.status.code(), Some(64), "{said}");
        assert!(said.contains(sentence), "{said}");
    }
}

fn references(value: &Value, named: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = match key.as_str() {
                    "Ref" => value.as_str(),
                    "Fn::GetAtt" => value[0].as_str(),
                    _ => None,
                };
                named.extend(name.map(str::to_owned));
                if key == "DependsOn" {
                    let all = value.as_array().unwrap().iter().filter_map(Value::as_str);
                    named.extend(all.map(str::to_owned));
                }
                references(value, named);
            }
        }
        Value::Array(all) => all.iter().for_each(|value| references(value, named)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn template(options: &[&str]) -> Value {
    serde_json::from_str(&text(options)).unwrap()
}

fn text(options: &[&str]) -> String {
    let ended = run(&[&["template", "--account", "123456789012"], options].concat());
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    String::from_utf8(ended.stdout).unwrap()
}

fn run(words: &[&str]) -> Output {
    let region = (!words.contains(&"--region")).then_some(("AWS_REGION", "us-east-1"));
    Command::new(env!("CARGO_BIN_EXE_provisioner"))
        .args(words)
        .env_clear()
        .envs(region)
        .env("AWS_CONFIG_FILE", "/dev/null")
        .output()
        .unwrap()
}
