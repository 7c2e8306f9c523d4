//! Whatever a conversation was, is all of it said to Bedrock, in its order and with each result
//! behind its call?

use std::cell::Cell;

use function::translate::mend::Mends;
use function::translate::model::Model;
use function::translate::request::{Headers, Request};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::Config;
use serde_json::Value;

use super::LINES;
use super::mends::Builder;

proptest! {
    #![proptest_config(Config { cases: Config::default().cases.max(500), ..Config::default() })]

    #[test]
    fn a_conversation_of_any_turns(
        seed in vec(any::<u8>(), 0..160), line in select(&LINES[..]), refused in any::<bool>(),
    ) {
        let mut builder = Builder { seed: &seed, own: 0 };
        let messages = builder.list(12, turn);
        let mut mends = Mends::default();
        if refused {
            mends.add("role 'system' is not supported on this model", b"{}");
        }
        assert_told(&messages, line, &mends);
    }
}

/// One turn: what the user or the operator says, or what the model says or calls.
fn turn(builder: &mut Builder<'_>) -> String {
    let said = builder.say();
    match builder.choose(8) {
        0 => format!(r#"{{"role":"user","content":{said}}}"#),
        1 => format!(r#"{{"role":"user","content":[{}]}}"#, builder.text()),
        2 => format!(
            r#"{{"role":"user","content":[{{"type":"tool_result","tool_use_id":"t","content":{said}}}]}}"#
        ),
        3 => format!(r#"{{"role":"assistant","content":{said}}}"#),
        4 => format!(
            r#"{{"role":"assistant","content":[{{"type":"tool_use","id":{said},"input":{{}}}}]}}"#
        ),
        5 => format!(r#"{{"role":"system","content":{said}}}"#),
        6 => format!(r#"{{"role":"system","content":{}}}"#, builder.list(2, |b| b.text())),
        _ => r#"{"role":"system","content":[],"output_config":{"effort":"low"}}"#.to_owned(),
    }
}

#[track_caller]
fn assert_told(messages: &str, line: &str, mends: &Mends) {
    let (model, read) = (Model::resolve(line).unwrap(), Cell::new(0));
    let watch = |bytes| {
        read.set(read.get() + bytes);
        true
    };
    let body = format!(r#"{{"messages":{messages}}}"#);
    let request = Request {
        body: body.as_bytes(),
        headers: Headers::default(),
        model: &model,
        watch: &watch,
    };
    let sent: Value = serde_json::from_slice(&request.to_bedrock(mends).unwrap()).unwrap();
    assert!(read.get() <= 20 * body.len(), "{} of {}", read.get(), body.len());
    let before: Value = serde_json::from_str(messages).unwrap();
    let (before, after) = (before.as_array().unwrap(), sent["messages"].as_array().unwrap());
    let is_system = |message: &&Value| message["role"] == "system";
    // All is said once; what turns say and what the operator says each keep their order.
    let turns: Vec<_> = before.iter().filter(|message| !is_system(message)).collect();
    let operators: Vec<_> = before.iter().filter(is_system).flat_map(words).collect();
    let from_operator = |word: &String| operators.contains(word);
    let mut all = words(&sent["system"]);
    all.extend(after.iter().flat_map(words));
    let (told, said): (Vec<_>, Vec<_>) = all.into_iter().partition(from_operator);
    assert_eq!(told, operators);
    assert_eq!(said, turns.iter().copied().flat_map(words).collect::<Vec<_>>());
    if !after.iter().any(|message| is_system(&message)) {
        // What follows a call is what followed it, whatever the operator said in between.
        let own = |message: &Value| words(message).iter().any(|word| !from_operator(word));
        let calls = |message: &Value| message["content"][0]["type"] == "tool_use";
        for (at, message) in after.iter().enumerate().filter(|(_, message)| calls(message)) {
            let next = after.get(at + 1);
            let place = turns.iter().position(|turn| words(turn) == words(message)).unwrap();
            match turns.get(place + 1) {
                Some(turn) => {
                    assert_eq!(next.filter(|next| own(next)).map(words), Some(words(turn)));
                }
                None => assert!(next.is_none_or(|next| !own(next))),
            }
        }
    }
}

/// What somebody has said in a value, in its order.
fn words(value: &Value) -> Vec<String> {
    let text = value.to_string();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| word.starts_with("own")).map(str::to_owned).collect()
}
