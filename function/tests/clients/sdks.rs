//! Do Anthropic's SDKs get through the proxy what they would get without it, from both upstreams?

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::{Value, json};
use testing::{
    answer::{limited, ok, refused},
    child::{self, clean},
    claude::{self, lines},
    installed::{Requirements, installed},
    world::World,
};

const KEY: &str = "sk-ant-api03-test-sdk";
const COUNT: &str = "/v1/messages/count_tokens";

#[test]
fn the_python_sdk_reads_every_answer_of_anthropic() {
    reads_every_answer_of_anthropic(python);
}

#[test]
fn the_typescript_sdk_reads_every_answer_of_anthropic() {
    reads_every_answer_of_anthropic(typescript);
}

#[test]
fn the_python_sdk_reads_the_same_from_bedrock_during_a_limit() {
    reads_the_same_from_bedrock(python, "claude-sonnet-4-5-20250929");
}

#[test]
fn the_typescript_sdk_reads_the_same_from_bedrock_during_a_limit() {
    reads_the_same_from_bedrock(typescript, "claude-sonnet-4-5");
}

#[test]
fn the_python_sdk_names_its_user_in_the_default_query() {
    names_its_user(python);
}

#[test]
fn the_typescript_sdk_names_its_user_in_the_default_query() {
    names_its_user(typescript);
}

fn reads_every_answer_of_anthropic(sdk: Sdk) {
    let world = World::start();
    let text = "max_tokens: 100 is too few";
    world.anthropic.next([ok(), ok(), refused(400, "invalid_request_error", text)]);
    let seen = sdk(&world, "claude-opus-5-5", "");
    assert_eq!(seen["create"], answer("anthropic", "claude-opus-5-5"));
    assert_eq!(seen["stream"], seen["create"]);
    assert_eq!(seen["deltas"], "anthropic heard: hello");
    assert!(seen["count"].as_u64().is_some_and(|count| count > 0), "{seen}");
    assert_eq!(seen["models"], json!(["claude-opus-5-5"]));
    assert_eq!(seen["error"], bad_request(text));
    assert!(world.bedrock.requests().is_empty());
}

fn reads_the_same_from_bedrock(sdk: Sdk, model: &str) {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.anthropic.next_on(COUNT, [limited(120)]);
    let text = "prompt is too long: 250000 tokens > 200000 maximum";
    world.bedrock.next([ok(), ok(), refused(400, "ValidationException", text)]);
    let seen = sdk(&world, model, "");
    assert_eq!(seen["create"], answer("bedrock", model));
    assert_eq!(seen["stream"], seen["create"]);
    assert_eq!(seen["deltas"], "bedrock heard: hello");
    assert!(seen["count"].as_u64().is_some_and(|count| count > 0), "{seen}");
    assert_eq!(seen["models"], json!(["claude-opus-5-5"]));
    assert_eq!(seen["error"], bad_request(text));
    assert_eq!((world.anthropic.messages().len(), world.bedrock.requests().len()), (1, 4));
    for request in world.bedrock.requests() {
        let whole = format!("{:?}{:?}", request.headers, request.body);
        assert!(!whole.contains(KEY), "the client's credential stays here: {whole}");
    }
}

fn names_its_user(sdk: Sdk) {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.bedrock.next([ok(), ok(), refused(400, "ValidationException", "no")]);
    sdk(&world, "claude-sonnet-4-5-20250929", "alice");
    crate::assert_names_stay_here(&world, "alice");
    let lines = lines(&world, 5);
    assert!(lines.iter().all(|line| line.contains(" user=\"alice\" ")), "{lines:#?}");
}

/// Runs a driver script, as this user if one is named.
type Sdk = fn(&World, &str, &str) -> Value;

fn python(world: &World, model: &str, user: &str) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/sdk.py");
    seen(Command::new(interpreter()).arg(script), world, [model, user])
}

fn typescript(world: &World, model: &str, user: &str) -> Value {
    // A script on the command line finds its packages from the working directory.
    let script = ["--input-type=module", "--eval", include_str!("sdk.mjs"), "--"];
    seen(Command::new("node").args(script).current_dir(claude::node()), world, [model, user])
}

fn seen(driver: &mut Command, world: &World, arguments: [&str; 2]) -> Value {
    driver.arg(format!("http://{}", world.address())).arg(KEY).args(arguments);
    clean(driver);
    let ended = child::run(driver, Duration::from_secs(60), "the SDKs were installed");
    assert!(ended.status.success(), "{}\n{}", ended.stderr, world.log());
    serde_json::from_str(&ended.stdout).unwrap()
}

/// What a message looks like through either SDK.
fn answer(upstream: &str, model: &str) -> Value {
    let text = format!("{upstream} heard: hello");
    json!({"text": text, "model": model, "stop_reason": "end_turn", "usage": [12, 7]})
}

fn bad_request(text: &str) -> Value {
    let kind = "invalid_request_error";
    json!({"class": "BadRequestError", "status": 400, "type": kind, "message": text})
}

/// The interpreter that has the Python SDK.
fn interpreter() -> PathBuf {
    let list = Requirements::Python(include_str!("requirements.txt"));
    installed("sdk", list).join("bin/python")
}
