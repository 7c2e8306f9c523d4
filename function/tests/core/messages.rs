//! What is read of a request is what a whole parser reads, however the request is written.

use function::messages::Asked;
use proptest::collection::vec;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

#[test]
fn model_and_stream_are_found_wherever_they_stand() {
    for (body, model, stream) in [
        (r#"{"model":"m"}"#, "m", false),
        (
            r#" { "messages" : [ {"model":"x"} , "}" ] , "stream" : true , "model" : "m" } "#,
            "m",
            true,
        ),
        (r#"{"a":"\"model\":\"x\"","b":"\\","model":"m","stream":null}"#, "m", false),
        (r#"{"mod\u0065l":"\u006d\n","n":-1.5e3,"stream":false}"#, "m\n", false),
        (r#"{"model":"m","deep":[[[{"stream":true}]]],"t":true}"#, "m", false),
    ] {
        let asked = Asked::read(body.as_bytes()).unwrap();
        assert_eq!((asked.model.as_str(), asked.stream), (model, stream), "{body}");
        assert_eq!(Some(asked), parsed(body.as_bytes()), "{body}");
    }
}

#[test]
fn what_is_no_request_for_a_model_is_left_to_anthropic() {
    for body in [
        "",
        "{}",
        "[]",
        "null",
        "\"model\"",
        r#"{"model":1}"#,
        r#"{"model":""}"#,
        r#"{"model":"m""#,
        r#"{"model":"m"} x"#,
        r#"{"model":"m",}"#,
        r#"{"model" "m"}"#,
        r#"{model:"m"}"#,
        r#"{"model":"m","stream":"yes"}"#,
        r#"{"model":"m","stream":1}"#,
        r#"{"model":"\x"}"#,
        r#"{"model":"m","a":"#,
        r#"{"model":"m","a":}"#,
        r#"{"model":"m","a":{"b":1}"#,
    ] {
        assert_eq!(Asked::read(body.as_bytes()), None, "{body}");
    }
    let long = json!({"model": "m".repeat(3000)}).to_string();
    assert_eq!(Asked::read(long.as_bytes()), None);
}

#[test]
fn a_key_that_comes_twice_is_left_to_anthropic() {
    for body in [
        r#"{"model":"claude-opus-5","model":"claude-haiku-4-5"}"#,
        r#"{"model":"m","\u006dodel":"m"}"#,
        r#"{"model":"m","stream":null,"stream":true}"#,
    ] {
        assert_eq!(Asked::read(body.as_bytes()), None, "{body}");
    }
}

proptest! {
    #[test]
    fn what_a_parser_reads_is_read(fields in vec((key(), value()), 0..6), pretty: bool) {
        let fields = fields.iter().map(|(key, value)| {
            let value = match pretty {
                true => serde_json::to_string_pretty(value).unwrap(),
                false => value.to_string(),
            };
            format!("{}{}:{value}", " ".repeat(usize::from(pretty)), Value::from(key.as_str()))
        });
        let body = format!("{{{}}}", fields.collect::<Vec<_>>().join(","));
        prop_assert_eq!(Asked::read(body.as_bytes()), parsed(body.as_bytes()));
    }

    /// What is broken inside of another value may be overlooked: Anthropic refuses it.
    #[test]
    fn what_is_damaged_is_never_read_as_something_else(
        value in value(),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut body = json!({"a": value, "model": "m", "stream": true}).to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        if let Some(parsed) = parsed(&body) {
            prop_assert_eq!(Asked::read(&body), Some(parsed));
        } else {
            let _survived = Asked::read(&body);
        }
    }
}

/// What serde makes of a request.
fn parsed(body: &[u8]) -> Option<Asked> {
    #[derive(Deserialize)]
    struct Body {
        model: String,
        #[serde(default)]
        stream: Option<bool>,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    let fits = (1..=2048).contains(&body.model.len());
    fits.then(|| Asked { model: body.model, stream: body.stream.unwrap_or(false) })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("model".to_owned()), Just("stream".to_owned()), "[a-z\"\\\\{}]{0,6}"]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z\"\\\\\n{}\\[\\]:,é]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec(("[a-z\"]{0,4}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}
