//! Does any pass over what comes from outside need more stack than there is, or more work than its
//! length allows? The same hostile bodies run before every pass.

#![expect(clippy::unwrap_used, reason = "a test stops where its own material is broken")]

use std::cell::Cell;
use std::thread;

use function::failover::hint::judge_failure;
use function::failover::identity::ModelClass;
use function::messages::{ApiError, Asked, Opening};
use function::translate::error::judge;
use function::translate::mend::{Lesson, Mends};
use function::translate::model::Model;
use function::translate::request::{Headers, Request, to_bedrock, to_count};
use function::translate::response;
use function::translate::stream::Stream;
use function::wire::usage::Usage;
use http::{HeaderMap, StatusCode};

/// Two lines: one takes system messages and caches by itself, the other does neither.
const MODELS: [&str; 2] = ["claude-opus-5-5", "claude-opus-4-6"];

/// The parser's own limit for what it reads into values is 128.
const DEPTHS: [usize; 3] = [127, 129, 30_000];

/// What Bedrock may say, so that a mend goes through every part of a body.
const REFUSALS: [&str; 12] = [
    "messages.0.content.0.text.foo: Extra inputs are not permitted",
    "messages.0.content.0.foo: Extra inputs are not permitted",
    "messages.0.foo: Extra inputs are not permitted",
    "messages.0.content.0.tool_result.content.0.text.cache_control.foo: Extra inputs are not permitted",
    "messages.0.content.0.tool_result.content.0.document.source.content.content.0.text.foo: Extra \
     inputs are not permitted",
    "messages.0.content.0.image.source.base64.foo: Extra inputs are not permitted",
    "system.0.cache_control.ephemeral.foo: Extra inputs are not permitted",
    "tools.0.custom.foo: Extra inputs are not permitted",
    "thinking.adaptive.foo: Extra inputs are not permitted",
    "cache_control: Extra inputs are not permitted",
    "role 'system' is not supported on this model",
    "Invalid `signature` in `thinking` block",
];

#[test]
fn no_depth_overflows_the_stack_of_any_pass() {
    let run = || {
        for depth in DEPTHS {
            for (name, body) in hostile(depth) {
                readings(body.as_bytes());
                for model in MODELS {
                    let steps = translations(body.as_bytes(), model);
                    let most = 140 * body.len();
                    assert!(steps < most, "{name} at {depth} for {model}: {steps} of {most}");
                }
            }
        }
    };
    // A stack as small as that of a blocking thread, where nothing is left of it by others.
    thread::Builder::new().stack_size(256 << 10).spawn(run).unwrap().join().unwrap();
}

#[test]
fn twice_as_much_costs_twice_the_work() {
    for (name, template) in LONG {
        for model in MODELS {
            let [one, two] = [200, 400].map(|size| {
                let body = grown(template, size);
                (body.len(), translations(body.as_bytes(), model))
            });
            let grown = |(before, after): (usize, usize)| after * 100 / before.max(1);
            let (length, steps) = (grown((one.0, two.0)), grown((one.1, two.1)));
            assert!(steps <= length + 20, "{name} for {model}: {length} % longer, {steps} % work");
        }
    }
}

#[test]
fn a_turn_before_thousands_of_system_messages_is_read_once() {
    let turn = |messages: usize| {
        let said = format!(r#"{{"type":"text","text":"{}"}}"#, "x".repeat(1 << 20));
        let system = vec![r#"{"role":"system","content":"a"}"#; messages].join(",");
        let turn = format!(r#"{{"role":"assistant","content":[{said}]}}"#);
        let body = format!(r#"{{"messages":[{{"role":"user","content":"a"}},{turn},{system}]}}"#);
        let model = Model::resolve("claude-opus-4-6").unwrap();
        steps(body.as_bytes(), &model, &Mends::default())
    };
    let (few, many) = (turn(10), turn(4000));
    assert!(many - few < 4 << 20, "{few} {many}");
}

#[test]
fn work_ends_when_nobody_waits_for_it() {
    let body = format!(r#"{{"messages":[{}]}}"#, vec![r#"{"role":"user"}"#; 10_000].join(","));
    let (model, left) = (Model::resolve(MODELS[0]).unwrap(), Cell::new(100_usize));
    let watch = |_| left.replace(left.get().saturating_sub(1)) > 0;
    let request = Request {
        body: body.as_bytes(),
        headers: Headers::default(),
        model: &model,
        watch: &watch,
    };
    assert!(request.to_bedrock(&Mends::default()).is_err());
    assert_eq!(left.get(), 0);
}

/// Runs everything that reads an answer, an error or a few fields of a body.
fn readings(body: &[u8]) {
    let text = str::from_utf8(body).unwrap();
    let now = "2026-11-29T00:00:00Z".parse().unwrap();
    let class = ModelClass::of(MODELS[0]).unwrap();
    drop(Asked::read(body));
    drop(ApiError::read(body));
    drop(Opening::of(Some("error"), body));
    let _counts = Usage::found_in(body);
    drop(response::message(body, MODELS[0]));
    drop(Stream::new(MODELS[0]).event(body));
    drop(judge(Some(400), Some("ValidationException"), text));
    drop(Lesson::of([text]));
    drop(judge_failure(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), body, &class, now));
}

/// Runs everything that translates a body, and returns what that cost.
fn translations(body: &[u8], model: &str) -> usize {
    let text = str::from_utf8(body).unwrap();
    let model = Model::resolve(model).unwrap();
    drop(to_count(body, &Headers::default(), &model));
    let mut mends = Mends::default();
    let plain = steps(body, &model, &mends);
    let sent = to_bedrock(body, &Headers::default(), &model, &mends).unwrap_or_default();
    for refusal in REFUSALS {
        mends.add(refusal, &sent);
    }
    mends.add("invalid beta flag", body);
    mends.add(text, body);
    plain.max(steps(body, &model, &mends))
}

/// How many bytes are read to translate a body.
fn steps(body: &[u8], model: &Model, mends: &Mends) -> usize {
    let read = Cell::new(0);
    let watch = |bytes| {
        read.set(read.get() + bytes);
        true
    };
    let request = Request { body, headers: Headers::default(), model, watch: &watch };
    drop(request.to_bedrock(mends));
    read.get()
}

fn nested(open: &str, close: &str, depth: usize) -> String {
    open.repeat(depth) + "1" + &close.repeat(depth)
}

/// Deep values in every place where something is read.
fn hostile(depth: usize) -> Vec<(&'static str, String)> {
    let arrays = nested("[", "]", depth);
    let objects = nested(r#"{"a":"#, "}", depth);
    let blocks = nested(r#"{"content":["#, "]}", depth);
    let sources = nested(r#"{"source":{"content":["#, "]}}", depth);
    let markers = nested(r#"{"cache_control":"#, "}", depth);
    let errors = nested(r#"{"error":"#, "}", depth);
    let user = |content: &str| {
        format!(
            r#"{{"messages":[{{"role":"user","content":[{{"type":"text","text":"a","foo":1}}]}},
            {{"role":"user","content":{content}}},{{"role":"system","content":"a"}}]}}"#
        )
    };
    let mut bodies = vec![
        ("arrays", arrays.clone()),
        ("objects", objects.clone()),
        ("errors in errors", errors),
        ("only opened arrays", "[".repeat(depth)),
        ("only opened objects", r#"{"a":"#.repeat(depth)),
        ("arrays as content", user(&arrays)),
        ("objects as content", user(&objects)),
        ("arrays in content", user(&format!("[{arrays}]"))),
        ("blocks in blocks", user(&format!("[{blocks}]"))),
        ("sources in sources", user(&format!("[{sources}]"))),
        ("markers in markers", user(&format!("[{markers}]"))),
        ("arrays in a result", user(&format!(r#"[{{"type":"tool_result","content":{arrays}}}]"#))),
        (
            "blocks in a result",
            user(&format!(r#"[{{"type":"tool_result","content":[{blocks}]}}]"#)),
        ),
        ("arrays as input", user(&format!(r#"[{{"type":"tool_use","input":{arrays}}}]"#))),
        ("objects as input", user(&format!(r#"[{{"type":"tool_use","input":{objects}}}]"#))),
        ("arrays as a source", user(&format!(r#"[{{"type":"image","source":{arrays}}}]"#))),
        ("arrays as a type", user(&format!(r#"[{{"type":{arrays}}}]"#))),
        ("a message of arrays", format!(r#"{{"messages":[{arrays}]}}"#)),
        ("messages of arrays", format!(r#"{{"messages":{arrays}}}"#)),
        (
            "a system message of arrays",
            format!(r#"{{"messages":[{{"role":"user"}},{{"role":"system","content":{arrays}}}]}}"#),
        ),
        (
            "arrays as a schema",
            beside("tools", &format!(r#"[{{"name":"a","input_schema":{arrays}}}]"#)),
        ),
        (
            "objects as a schema",
            beside("tools", &format!(r#"[{{"name":"a","input_schema":{objects}}}]"#)),
        ),
    ];
    bodies.extend(at_the_top(&arrays, &objects));
    bodies
}

/// Deep values in every field that something looks at.
fn at_the_top(arrays: &str, objects: &str) -> Vec<(&'static str, String)> {
    let mut bodies = Vec::new();
    for key in [
        "system",
        "tools",
        "thinking",
        "output_config",
        "cache_control",
        "metadata",
        "safeguards",
        "thread",
        "usage",
        "message",
        "error",
        "model",
        "stream",
        "tool_choice",
        "unknown",
        "delta",
    ] {
        bodies.push(("arrays at the top", beside(key, arrays)));
        bodies.push(("objects at the top", beside(key, objects)));
    }
    bodies
}

fn beside(key: &str, value: &str) -> String {
    let said = r#"[{"role":"user","content":"a"}]"#;
    format!(r#"{{"type":"message","model":"m","{key}":{value},"messages":{said}}}"#)
}

/// Bodies of which a part, between `<<` and `>>`, is there as often as is wished.
const LONG: [(&str, &str); 11] = [
    (
        "system messages behind a long turn that calls",
        r#"{"messages":[{"role":"assistant","content":[
            <<{"type":"tool_use","id":"t","name":"a","input":{}}>>]},
            <<{"role":"system","content":"a"}>>]}"#,
    ),
    (
        "system messages behind a long turn that only speaks",
        r#"{"messages":[{"role":"assistant","content":[<<{"type":"text","text":"aaaaaaaaaaa"}>>]},
            <<{"role":"system","content":"a"}>>]}"#,
    ),
    (
        "system messages at the beginning",
        r#"{"system":"a","messages":[<<{"role":"system","content":"a"}>>,{"role":"user"}]}"#,
    ),
    (
        "calls, results and system messages",
        r#"{"messages":[{"role":"user"},
            <<{"role":"assistant","content":[{"type":"tool_use"}]},{"role":"system","content":"a"},
            {"role":"user","content":[{"type":"tool_result"}]}>>]}"#,
    ),
    (
        "turns without a word, so that a marker finds no place",
        r#"{"cache_control":{"type":"ephemeral"},"messages":[
            <<{"role":"user","content":[{"type":"text","text":""},{"type":"thinking"}]}>>]}"#,
    ),
    (
        "blocks with markers",
        r#"{"cache_control":{"type":"ephemeral"},"messages":[{"role":"user","content":[
            <<{"type":"text","text":"a","foo":1,"cache_control":{"ttl":"1h","foo":1}}>>]}]}"#,
    ),
    (
        "blocks in results",
        r#"{"cache_control":{"type":"ephemeral"},"messages":[{"role":"user","content":[
            <<{"type":"tool_result","content":[{"type":"text","cache_control":{"foo":1}}]}>>]}]}"#,
    ),
    (
        "tools",
        r#"{"messages":[],"tools":[<<{"name":"a","foo":1,"input_schema":{},"cache_control":{}}>>]}"#,
    ),
    (
        "blocks of system",
        r#"{"messages":[],"system":[
            <<{"type":"text","text":"x-anthropic-billing-header: a","cache_control":{"foo":1}}>>]}"#,
    ),
    (
        "keys of a block",
        r#"{"messages":[{"role":"user","content":[{"type":"text",<<"k#":1>>}]}],<<"k#":1>>}"#,
    ),
    ("quotes and backslashes", r#"{"messages":[{"role":"user","content":[<<"\\\\\"'`">>]}]}"#),
];

/// One of [`LONG`]; `#` is another number each time.
fn grown(template: &str, size: usize) -> String {
    let mut body = String::new();
    for (index, part) in template.split("<<").enumerate() {
        let (item, rest) = if index == 0 { ("", part) } else { part.split_once(">>").unwrap() };
        let items = (0..size).map(|n| item.replace('#', &n.to_string()));
        body += &items.take(if index == 0 { 0 } else { size }).collect::<Vec<_>>().join(",");
        body += rest;
    }
    body
}
