//! Does a refusal of Bedrock change just the one thing that it names?

#![expect(clippy::unwrap_used, reason = "a test stops where its own material is broken")]

use std::sync::LazyLock;

use function::translate::mend::{Lesson, MOST_MENDS, Mends};
use function::translate::model::Model;
use function::translate::request::{Headers, Request, to_bedrock};
use proptest::prelude::*;
use serde_json::{Value, json};

const OPUS: &str = "claude-opus-5-5";

#[test]
fn a_beta_that_is_not_named_is_found_by_suspicion_in_at_most_three_mends() {
    let mut mends = Mends::default();
    let rounds: Vec<Vec<String>> = (0..MOST_MENDS)
        .map(|_| {
            let sent = sent(OPUS, &mends);
            assert!(mends.add("invalid beta flag", &sent));
            betas(&parsed(OPUS, &mends))
        })
        .collect();
    let gone = |round: usize, beta: &str| !rounds[round].iter().any(|left| left.starts_with(beta));
    assert!(gone(0, "thinking-token-count") && !gone(0, "interleaved-thinking"), "{rounds:?}");
    assert!(gone(1, "thinking-binding") && gone(1, "dangerous-tool-use"), "{rounds:?}");
    assert!(rounds[2].is_empty(), "{rounds:?}");
    let sent = sent(OPUS, &mends);
    assert!(!mends.add("invalid beta flag", &sent), "nothing is left to suspect");
}

#[test]
fn a_beta_goes_with_the_fields_that_need_it() {
    let mut mends = Mends::default();
    for _ in 0..MOST_MENDS {
        let sent = sent(OPUS, &mends);
        mends.add("The request failed: invalid beta flag", &sent);
    }
    let body = parsed(OPUS, &mends);
    for gone in ["/safeguards", "/thinking/block_binding", "/tools/1/defer_loading"] {
        assert_eq!(body.pointer(gone), None, "{gone}");
    }
    for kept in ["/thinking/type", "/tools/1/name", "/messages/3", "/output_config/effort"] {
        assert!(body.pointer(kept).is_some(), "{kept}");
    }
}

/// A refusal, and the field that it names in [`sent`].
const NAMED: &[(&str, &str)] = &[
    ("output_config.effort: Extra inputs are not permitted", "/output_config"),
    ("metadata: Extra inputs are not permitted", "/metadata"),
    ("safeguards: Extra inputs are not permitted", "/safeguards"),
    ("thinking.adaptive.display: Extra inputs are not permitted", "/thinking/display"),
    ("tools.0.custom.strict_mode: Extra inputs are not permitted", "/tools/0/strict_mode"),
    (
        "system.1.cache_control.ephemeral.ttl: Extra inputs are not permitted",
        "/system/1/cache_control/ttl",
    ),
    (
        "messages.1.content.0.tool_use.caller: Extra inputs are not permitted",
        "/messages/1/content/1/caller",
    ),
    (
        "messages.1.content.2.text.citations: Extra inputs are not permitted",
        "/messages/1/content/2/citations",
    ),
    (
        "messages.1.content.0.thinking.cache_control: Extra inputs are not permitted",
        "/messages/1/content/0/cache_control",
    ),
    (
        "messages.2.content.0.tool_result.content.0.text.citations: Extra inputs are not \
             permitted",
        "/messages/2/content/0/content/0/citations",
    ),
    (
        "messages.2.content.0.tool_result.content.0.text.cache_control.ephemeral.ttl: Extra \
             inputs are not permitted",
        "/messages/2/content/0/content/0/cache_control/ttl",
    ),
    (
        "messages.2.content.0.tool_result.content.1.image.source.base64.detail: Extra inputs \
             are not permitted",
        "/messages/2/content/0/content/1/source/detail",
    ),
    ("messages.1.stop_details: Extra inputs are not permitted", "/messages/1/stop_details"),
    (
        "The model returned the following errors: `system.1.note`: Extra inputs are not permitted",
        "/system/1/note",
    ),
    ("thinking.adaptive.pace: Extra inputs are not permitted", "/thinking/pace"),
    ("metadata.user_id: Extra inputs are not permitted", "/metadata"),
    ("system.1.cache_control.ephemeral.ttl: Input should be '5m'", "/system/1/cache_control/ttl"),
    ("thinking.adaptive.display: Input should be 'summarized' or 'full'", "/thinking/display"),
    ("output_config.effort: Input should be 'low' or 'medium'", "/output_config"),
    ("This model does not support the effort parameter.", "/output_config"),
    (
        "Malformed input request: #/messages/1/content/1: extraneous key [caller] is not \
             permitted",
        "/messages/1/content/1/caller",
    ),
    (
        "Malformed input request: #/tools/0: extraneous key [strict_mode] is not permitted, \
             please reformat your input and try again.",
        "/tools/0/strict_mode",
    ),
    ("Malformed input request: #: extraneous key [metadata] is not permitted", "/metadata"),
    (
        "Malformed input request: extraneous key [metadata] is not permitted, please reformat your \
             input and try again.",
        "/metadata",
    ),
    (
        "Malformed input request: 2 schema violations found: #/messages/1: extraneous key \
             [stop_details] is not permitted, please reformat your input and try again.",
        "/messages/1/stop_details",
    ),
    (
        "system.1.cache_control.ephemeral.ttl: Extra inputs are not permitted (type=value_error.extra)",
        "/system/1/cache_control/ttl",
    ),
    (
        "tools.0.custom.strict_mode: Extra inputs are not permitted (request id 1)",
        "/tools/0/strict_mode",
    ),
    (
        "{\"type\":\"error\",\"error\":{\"type\":\"invalid_request_error\",\"message\":\"metadata: \
             Extra inputs are not permitted\"}}",
        "/metadata",
    ),
    (
        "ValidationException: messages.1.content.2.text.citations: Extra inputs are not permitted",
        "/messages/1/content/2/citations",
    ),
];

#[test]
fn a_field_that_is_named_goes_and_nothing_else() {
    for (message, pointer) in NAMED {
        let mut mends = Mends::default();
        let before = parsed(OPUS, &mends);
        assert!(before.pointer(pointer).is_some(), "{pointer} is there before");
        assert!(mends.add(message, &sent(OPUS, &mends)), "{message}");
        let after = parsed(OPUS, &mends);
        assert_eq!(after.pointer(pointer), None, "{message}");
        let keys = |body: &Value| body.as_object().unwrap().len();
        assert!(keys(&before) - keys(&after) <= 1, "{message}");
        assert_eq!(before["messages"].as_array().unwrap().len(), 4);
        assert_eq!(users_own(&before), users_own(&after), "{message}");
    }
}

#[test]
fn all_fields_of_one_sentence_go_in_one_round() {
    for message in [
        "metadata: Extra inputs are not permitted; output_config.effort: Extra inputs are not \
         permitted, messages.1.content.2.text.citations: Extra inputs are not permitted\n\
         tools.0.custom.strict_mode: Extra inputs are not permitted",
        "Malformed input request: extraneous key [metadata] is not permitted, #/output_config: \
         extraneous key [effort] is not permitted, #/tools/0: extraneous key [strict_mode] is not \
         permitted, messages.1.content.2.text.citations: Extra inputs are not permitted.",
        "Malformed input request: #: extraneous key [metadata] is not permitted#/output_config: \
         extraneous key [effort] is not permitted#/tools/0: extraneous key [strict_mode] is not \
         permitted, messages.1.content.2.text.citations: Extra inputs are not permitted, please \
         reformat your input and try again.",
    ] {
        let mut mends = Mends::default();
        assert!(mends.add(message, &sent(OPUS, &mends)), "{message}");
        let body = parsed(OPUS, &mends);
        for gone in [
            "/metadata",
            "/output_config",
            "/messages/1/content/2/citations",
            "/tools/0/strict_mode",
        ] {
            assert_eq!(body.pointer(gone), None, "{gone}: {message}");
        }
    }
}

#[test]
fn betas_that_are_named_go_and_no_other() {
    for named in [
        "Unexpected value(s) `thinking-token-count-2026-05-13` for the `anthropic-beta` header. \
         Please consult our documentation.",
        "invalid beta flag: thinking-token-count-2026-05-13",
    ] {
        let mut mends = Mends::default();
        let before = betas(&parsed(OPUS, &mends));
        assert!(mends.add(named, &sent(OPUS, &mends)));
        let after = betas(&parsed(OPUS, &mends));
        assert_eq!(before.len(), after.len() + 1, "{after:?}");
        assert!(!after.iter().any(|beta| beta.starts_with("thinking-token-count")), "{after:?}");
    }
    let mut mends = Mends::default();
    let both = "Unexpected value(s) `thinking-token-count-2026-05-13`, \
                `interleaved-thinking-2025-05-14` for the `anthropic-beta` header";
    assert!(mends.add(both, &sent(OPUS, &mends)));
    assert!(!betas(&parsed(OPUS, &mends)).iter().any(|beta| both.contains(beta.as_str())));
}

#[test]
fn a_beta_for_computers_goes_alone_and_never_from_a_tool_that_needs_it() {
    let model = Model::resolve("claude-sonnet-4-5").unwrap();
    for beta in ["computer-use-2025-01-24", "computer-use-2025-11-24"] {
        let headers = Headers { betas: vec![beta], version: None };
        let kind = beta.replace("computer-use-", "computer_").replace('-', "");
        let plain = json!({"messages": []});
        let tool = json!({"messages": [], "tools": [{"type": kind, "name": "computer"}]});
        for (body, silent, named) in [(plain, true, true), (tool, false, false)] {
            let body = body.to_string();
            let asked = Request {
                body: body.as_bytes(),
                headers: headers.clone(),
                model: &model,
                watch: &|_| true,
            };
            let sent = String::from_utf8(asked.to_bedrock(&Mends::default()).unwrap()).unwrap();
            assert!(sent.contains(beta), "{sent}");
            for (refusal, mended) in [
                ("invalid beta flag", silent),
                (format!("invalid beta flag: {beta}").as_str(), named),
            ] {
                let next = asked.mended(&Mends::default(), refusal);
                assert_eq!(next.is_some(), mended, "{body} {refusal}");
                assert!(
                    next.is_none_or(|(_, body)| !body.windows(12).any(|w| w == b"computer-use"))
                );
            }
        }
    }
}

#[test]
fn a_round_that_changes_nothing_is_no_round() {
    let model = Model::resolve(OPUS).unwrap();
    let body = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]});
    let body = body.to_string();
    let watch = |_| true;
    let asked = Request {
        body: body.as_bytes(),
        headers: Headers::default(),
        model: &model,
        watch: &watch,
    };
    for refusal in [
        "messages.0.content.0.text.citations: Extra inputs are not permitted",
        "messages.0.content.0.thinking.signature: Extra inputs are not permitted",
        "messages.0.content.0.text: Extra inputs are not permitted",
        "thinking.adaptive.display: Extra inputs are not permitted",
        "metadata: Extra inputs are not permitted",
        "role 'system' is not supported on this model",
        "messages.0.role: Input should be 'user' or 'assistant'",
        "Invalid `signature` in `thinking` block",
        "x-anthropic-billing-header is a reserved keyword",
        "invalid beta flag",
        "Unexpected value(s) `x` for the `anthropic-beta` header",
        "prompt is too long",
    ] {
        assert!(asked.mended(&Mends::default(), refusal).is_none(), "{refusal}");
    }
}

#[test]
fn what_is_refused_in_one_tool_goes_from_every_tool() {
    let mut mends = Mends::default();
    let message = "tools.0.custom.strict_mode: Extra inputs are not permitted";
    mends.add(message, &sent(OPUS, &mends));
    let body = parsed(OPUS, &mends);
    assert_eq!(body.pointer("/tools/2/strict_mode"), None);
}

#[test]
fn what_the_user_said_is_never_mended_away() {
    for message in [
        "messages: Extra inputs are not permitted",
        "system: Extra inputs are not permitted",
        "tools: Extra inputs are not permitted",
        "max_tokens: Extra inputs are not permitted",
        "messages.0.content: Extra inputs are not permitted",
        "messages.1.content.0.tool_use.input: Extra inputs are not permitted",
        "tools.0.custom.input_schema: Extra inputs are not permitted",
        "tools.0.custom.input_schema.properties.extra: Extra inputs are not permitted",
        "tools.0.input_schema.properties.extra: Extra inputs are not permitted",
        "Malformed input request: #/tools/0/input_schema/properties: extraneous key [extra] is not \
         permitted",
        "tools.0.custom.input_schema.properties.cache_control.ttl: Extra inputs are not permitted",
        "tools.0.custom.input_schema.properties.extra: Input should be 'a'",
        "tools.0.custom.input_examples.0.extra: Extra inputs are not permitted",
        "tools.0.custom.description: Extra inputs are not permitted",
        "messages.1.content.1.tool_use.input.extra: Extra inputs are not permitted",
        "messages.1.content.1.input.extra: Extra inputs are not permitted",
        "messages.1.content.1.tool_use.input.cache_control.ttl: Extra inputs are not permitted",
        "messages.1.content.1.tool_use.name: Extra inputs are not permitted",
        "messages.1.content.2.text.text: Extra inputs are not permitted",
        "messages.2.content.0.tool_result.content: Extra inputs are not permitted",
        "messages.2.content.0.tool_result.is_error: Extra inputs are not permitted",
        "messages.2.content.0.tool_result.content.1.image.source: Extra inputs are not permitted",
        "messages.2.content.0.tool_result.content.1.image.source.base64.data: Extra inputs are not \
         permitted",
        "messages.2.content.0.tool_result.content.1.image.source.base64.media_type: Input should be \
         'image/png'",
        "messages.0.content.0.document.title: Extra inputs are not permitted",
        "messages.0.content.0.document.citations.enabled: Extra inputs are not permitted",
        "output_config.format.schema.properties.effort: Extra inputs are not permitted",
        "tool_choice.disable_parallel_tool_use: Extra inputs are not permitted",
        "stop_sequences: Extra inputs are not permitted",
        "temperature: Input should be less than or equal to 1",
        "messages.0.role: Field required",
        "tools.0.name: Extra inputs are not permitted",
        "a b: Extra inputs are not permitted",
        "prompt is too long: 210000 tokens > 200000 maximum",
        "messages.1.content.0.image.source.base64: invalid base64 data",
        "max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens",
        "",
    ] {
        let mut mends = Mends::default();
        let before = parsed(OPUS, &mends);
        mends.add(message, &sent(OPUS, &mends));
        assert_eq!(before, parsed(OPUS, &mends), "{message}");
    }
}

#[test]
fn a_refused_signature_leaves_out_the_thinking_of_earlier_turns_and_keeps_all_else() {
    for message in [
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "messages.1.content.0.thinking.signature: Field required",
        "messages.1.content.0.thinking.signature: Extra inputs are not permitted",
        "messages.1.content.0: `thinking` block is bound to a different conversation",
        "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant \
         message cannot be modified.",
    ] {
        let mut mends = Mends::default();
        assert!(mends.add(message, &sent(OPUS, &mends)), "{message}");
        let body = parsed(OPUS, &mends);
        let blocks = body["messages"][1]["content"].as_array().unwrap();
        let kinds: Vec<_> = blocks.iter().map(|block| block["type"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["tool_use", "text"], "{message}");
        assert_eq!(body["thinking"]["type"], "adaptive");
        assert!(mends.lesson().is_empty(), "nothing to learn about the model");
    }
}

#[test]
fn a_turn_that_was_only_thinking_goes_as_a_whole() {
    let mut mends = Mends::default();
    mends.add("Invalid `signature` in `thinking` block", b"{}");
    let body = json!({"max_tokens": 1, "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": "s"}]},
        {"role": "user", "content": []},
    ]});
    let model = Model::resolve(OPUS).unwrap();
    let body = serde_json::to_vec(&body).unwrap();
    let sent = to_bedrock(&body, &Headers::default(), &model, &mends).unwrap();
    let sent: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(
        sent["messages"],
        json!([
            {"role": "user", "content": "a"}, {"role": "user", "content": []},
        ])
    );
}

#[test]
fn where_thinking_must_begin_the_turn_and_cannot_the_model_answers_without() {
    let mut mends = Mends::default();
    let message = "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but \
                   found `tool_use`.";
    assert!(mends.add(message, &sent(OPUS, &mends)));
    assert_eq!(parsed(OPUS, &mends).get("thinking"), None);
}

#[test]
fn a_refused_system_message_is_said_in_the_users_place() {
    for message in [
        "messages.3: role 'system' is not supported on this model",
        "messages.3.role: Input should be 'user' or 'assistant'",
        "messages: Unexpected role \"system\". The Messages API accepts a top-level `system` parameter",
    ] {
        let mut mends = Mends::default();
        assert!(mends.add(message, &sent(OPUS, &mends)), "{message}");
        let body = parsed(OPUS, &mends);
        assert!(body["messages"].as_array().unwrap().iter().all(|m| m["role"] != "system"));
        assert!(body.to_string().contains("be brief"));
    }
}

#[test]
fn the_attribution_line_goes_where_it_is_a_reserved_word() {
    let mut mends = Mends::default();
    let message = "x-anthropic-billing-header is a reserved keyword and may not be used in the \
                   system prompt.";
    assert!(mends.add(message, &sent(OPUS, &mends)));
    let body = parsed(OPUS, &mends);
    assert_eq!(body["system"][0]["text"], "You are Claude Code.");
}

#[test]
fn a_system_prompt_that_was_only_the_attribution_line_goes_with_it() {
    let line = json!({"type": "text", "text": "x-anthropic-billing-header: cc_version=2;"});
    let said = json!({"role": "user", "content": "a"});
    for (first, expected) in [
        (None, Value::Null),
        (
            Some(json!({"role": "system", "content": "be brief"})),
            json!([{"type": "text", "text": "be brief"}]),
        ),
    ] {
        let messages: Vec<Value> = first.into_iter().chain([said.clone()]).collect();
        let body = json!({"system": [line], "messages": messages}).to_string();
        let mut mends = Mends::default();
        mends.add("x-anthropic-billing-header is a reserved keyword", b"{}");
        let model = Model::resolve("claude-opus-4-6").unwrap();
        let sent = to_bedrock(body.as_bytes(), &Headers::default(), &model, &mends).unwrap();
        let sent: Value = serde_json::from_slice(&sent).unwrap();
        assert_eq!(sent["system"], expected);
    }
}

#[test]
fn a_long_context_that_the_account_lacks_is_not_asked_for() {
    let mut mends = Mends::default();
    assert!(mends.add("The long context beta is not yet available for this account.", b"{}"));
    let row = r#"("claude-opus-5-5", "context-1m-2025-08-07"),"#;
    assert_eq!(mends.lesson().rows(&Model::resolve(OPUS).unwrap()), row);
}

#[test]
fn structured_output_that_is_refused_is_no_longer_bedrocks_to_give() {
    let mut mends = Mends::default();
    assert!(mends.add("output_config.format: Extra inputs are not permitted", b"{}"));
    let body = br#"{"messages":[],"output_config":{"format":{"type":"json_schema"}}}"#;
    let model = Model::resolve("claude-opus-4-8").unwrap();
    assert!(to_bedrock(body, &Headers::default(), &model, &mends).is_err());
}

#[test]
fn a_lesson_holds_for_the_next_request_of_the_model_and_can_be_pasted_into_the_table() {
    let mut mends = Mends::default();
    for refusal in [
        "output_config.effort: Extra inputs are not permitted",
        "tools.0.custom.strict_mode: Extra inputs are not permitted",
        "messages.1.content.2.text.citations: Extra inputs are not permitted",
        "messages.2.content.0.tool_result.content.0.text.citations: Extra inputs are not permitted",
        "messages.0.content.0.text.cache_control.ephemeral.ttl: Extra inputs are not permitted",
    ] {
        assert!(mends.add(refusal, &sent(OPUS, &mends)), "{refusal}");
    }
    let lesson = mends.lesson();
    let model = Model::resolve(OPUS).unwrap();
    let names = [
        "cache_control.ttl",
        "output_config.effort",
        "messages.content.text.citations",
        "messages.content.tool_result.content.text.citations",
        "tools.custom.strict_mode",
    ];
    let rows = names.map(|name| format!("(\"claude-opus-5-5\", \"{name}\"),")).join(" ");
    assert_eq!(lesson.rows(&model), rows);
    // What another instance reads by its names is the same lesson.
    let told = Lesson::of(lesson.names());
    assert_eq!(told, lesson);
    assert_eq!(sent(OPUS, &mends), sent(OPUS, &Mends::from_lesson(&told)));
    let mut known = Lesson::default();
    assert!(known.join(&lesson));
    assert!(!known.join(&lesson), "the same again is nothing new");
}

#[test]
fn a_lesson_that_was_made_up_takes_nothing_of_the_users_and_is_bounded() {
    let forged = [
        "tools.custom.input_schema",
        "tools.custom.input_schema.properties.extra",
        "messages.content",
        "messages.content.text.text",
        "messages.content.tool_use.input.command",
        "messages.0.content.0.text.note",
        "system",
        "max_tokens",
        "",
        ".",
        "7",
        "tools.custom.a b",
    ];
    assert!(Lesson::of(forged).is_empty());
    let many: Vec<_> = (0..1000).map(|n| format!("tools.custom.field_{n}")).collect();
    assert_eq!(Lesson::of(many.iter().map(String::as_str)).names().count(), 32);
}

#[test]
fn the_same_refusal_twice_is_mended_once() {
    let mut mends = Mends::default();
    let message = "metadata: Extra inputs are not permitted";
    assert!(mends.add(message, &sent(OPUS, &mends)));
    assert!(!mends.add(message, &sent(OPUS, &mends)));
}

static OWN: LazyLock<Vec<Value>> = LazyLock::new(|| users_own(&parsed(OPUS, &Mends::default())));

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_sentence_breaks_a_request(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "tools", "0", "messages", "content", "custom", "Extra inputs are not permitted",
                "thinking", "signature", ": ", ".", "#/", "extraneous key [", "]", " is not permitted",
                "invalid beta flag", "metadata", "system", "cache_control", "ephemeral", "ttl", "1",
                "input_schema", "properties", "extra", "tool_use", "input", "text", "tool_result",
                "image", "source", "base64", "data", "citations", ": Input should be 'a'",
            ]),
            0..12,
        ),
        sentence in ".{0,60}",
    ) {
        let mut mends = Mends::default();
        for message in [words.concat(), sentence, words.join(".")] {
            mends.add(&message, &sent(OPUS, &mends));
            let body = parsed(OPUS, &mends);
            let messages = body["messages"].as_array().unwrap();
            prop_assert_eq!(messages.iter().filter(|m| m["role"] != "assistant").count(), 3);
            prop_assert_eq!(body["tools"].as_array().unwrap().len(), 3);
            prop_assert_eq!(&users_own(&body), &*OWN);
        }
    }
}

/// What the user, the model and the tools have said, and what tools take.
fn users_own(body: &Value) -> Vec<Value> {
    let mut own = Vec::new();
    let mut left = vec![body];
    while let Some(value) = left.pop() {
        let fields = value.as_object().into_iter().flatten();
        for (key, inner) in fields.chain([]) {
            let is_own = [
                "text",
                "input",
                "input_schema",
                "name",
                "data",
                "description",
                "is_error",
                "role",
            ];
            let line = inner.as_str().is_some_and(|text| text.starts_with("x-anthropic-billing"));
            if is_own.contains(&key.as_str()) && !line && inner != "system" && inner != "user" {
                own.push(inner.clone());
            }
        }
        left.extend(value.as_object().into_iter().flat_map(|fields| fields.values()));
        left.extend(value.as_array().into_iter().flatten());
    }
    own.retain(|said| said != "An instruction from the operator, not from the user:");
    own.sort_by_key(Value::to_string);
    own
}

/// What Bedrock is sent for one request that uses all that can be refused.
fn sent(model: &str, mends: &Mends) -> Vec<u8> {
    let betas = "interleaved-thinking-2025-05-14,thinking-token-count-2026-05-13,\
        advanced-tool-use-2025-11-20,afk-mode-2026-01-31,dangerous-tool-use-2026-09-03";
    let headers = Headers { betas: vec![betas], version: None };
    let schema =
        json!({"type": "object", "properties": {"extra": {}, "cache_control": {"ttl": 1}}});
    let tool = json!({"name": "Bash", "description": "Runs", "input_schema": schema,
                      "strict_mode": true});
    let mut deferred = tool.clone();
    deferred["defer_loading"] = json!(true);
    let body = json!({
        "model": model,
        "max_tokens": 1000,
        "metadata": {"user_id": "u"},
        "output_config": {"effort": "high"},
        "safeguards": [{"type": "dangerous_tool_use"}],
        "thinking": {"type": "adaptive", "display": "omitted", "pace": 1},
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330;"},
            {"type": "text", "text": "You are Claude Code.", "note": 1,
             "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "tools": [tool, deferred, tool],
        "messages": [
            {"role": "user", "content": "list the files"},
            {"role": "assistant", "stop_details": {}, "content": [
                {"type": "thinking", "thinking": "hm", "signature": "sig", "cache_control": {}},
                {"type": "tool_use", "id": "toolu_1", "name": "Bash", "caller": {},
                 "input": {"extra": 1, "cache_control": {"ttl": 1}}},
                {"type": "text", "text": "here", "citations": null},
            ]},
            {"role": "user", "content": [{
                "type": "tool_result", "tool_use_id": "toolu_1", "is_error": false, "content": [
                    {"type": "text", "text": "a.txt", "citations": [],
                     "cache_control": {"type": "ephemeral", "ttl": "1h"}},
                    {"type": "image", "source": {
                        "type": "base64", "media_type": "image/png", "data": "AAAA", "detail": 1}},
                ],
            }]},
            {"role": "system", "content": "be brief"},
        ],
    });
    let body = serde_json::to_vec(&body).unwrap();
    to_bedrock(&body, &headers, &Model::resolve(model).unwrap(), mends).unwrap()
}

fn parsed(model: &str, mends: &Mends) -> Value {
    serde_json::from_slice(&sent(model, mends)).unwrap()
}

fn betas(body: &Value) -> Vec<String> {
    let betas = body["anthropic_beta"].as_array().cloned().unwrap_or_default();
    betas.iter().map(|beta| beta.as_str().unwrap().to_owned()).collect()
}
