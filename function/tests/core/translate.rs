//! Does a request for Anthropic become the request that Bedrock wants, and nothing else?
//!
//! `golden/translate` holds requests of Claude Code 2.1.330 and of an SDK, recorded with dummy
//! credentials, long texts cut; `bedrock.json` is what Claude Code itself sent to Bedrock for the
//! same prompt. The snapshots show one request that uses everything, for each generation of models.

#![expect(clippy::unwrap_used, reason = "a test stops where its own material is broken")]

use std::fs;
use std::path::{Path, PathBuf};

use function::translate::mend::Mends;
use function::translate::model::{Model, Prefix, UnknownPrefix};
use function::translate::request::{Headers, Untranslatable, to_bedrock, to_count};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

// Recorded requests.

#[test]
fn a_recorded_request_becomes_what_claude_code_itself_sends_to_bedrock() {
    for case in ["plain-opus-5-5", "tool-turn-opus-5-5", "plain-haiku-4-5"] {
        let request = Request::read(&golden(case).join("request.json"));
        let mut expected = parsed(&fs::read(golden(case).join("bedrock.json")).unwrap());
        add_deviations(&mut expected, case.ends_with("-5-5"));
        assert_eq!(request.to_bedrock().unwrap(), expected, "{case}");
    }
}

/// Where we differ from Claude Code on purpose: it never moves a conversation, and we do. Thinking
/// that is bound to the side where it was thought must be left out, not refused with a 400.
fn add_deviations(body: &mut Value, preserved_thinking: bool) {
    if preserved_thinking {
        body["thinking"]["block_binding"] = json!({"prefix_mismatch_behavior": "drop_block"});
        let betas = body["anthropic_beta"].as_array_mut().unwrap();
        betas.push(json!("thinking-binding-controls-2026-08-01"));
    }
}

#[test]
fn every_recorded_request_is_translated_for_every_line() {
    for case in ["image-turn-opus-5-5", "tool-turn-opus-5-5", "sdk-sonnet-4-5", "plain-haiku-4-5"] {
        for generation in GENERATIONS {
            let request = Request::read(&golden(case).join("request.json"));
            let body = request.to_bedrock_as(generation).unwrap();
            for gone in ["model", "stream", "context_management"] {
                assert_eq!(body.get(gone), None, "{case} for {generation}");
            }
            for message in body["messages"].as_array().unwrap() {
                assert_eq!(message.get("output_config"), None, "{case} for {generation}");
            }
        }
    }
}

#[test]
fn everything_at_once_for_each_line() {
    let request = Request::read(&golden("everything.json"));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../golden/translate");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        for generation in GENERATIONS {
            let shown = serde_json::to_string_pretty(&request.to_bedrock_as(generation).unwrap());
            insta::assert_snapshot!(format!("everything-{generation}"), shown.unwrap());
        }
    });
}

// Betas.

/// Measured with Claude Code 2.1.330, API key, model by model: what it sends to Anthropic, and what
/// it puts into the body for Bedrock.
#[test]
fn the_betas_are_those_that_claude_code_itself_sends_to_bedrock() {
    let always = "claude-code-20250219,context-management-2025-06-27,\
        thinking-token-count-2026-05-13,advanced-tool-use-2025-11-20";
    let interleaved = "interleaved-thinking-2025-05-14";
    let search = "tool-search-tool-2025-10-19";
    let count = "thinking-token-count-2026-05-13";
    let changes = "per-turn-control-2026-07-01,mid-conversation-tool-changes-2026-07-01";
    for (model, further, expected) in [
        ("claude-haiku-4-5", "", vec![search]),
        ("claude-sonnet-4-5", "", vec![interleaved, search]),
        ("claude-opus-4-5", "effort-2025-11-24", vec![interleaved, search]),
        ("claude-opus-4-6", "effort-2025-11-24", vec![interleaved, search]),
        ("claude-sonnet-4-6", "effort-2025-11-24", vec![interleaved, search]),
        ("claude-opus-4-7", "effort-2025-11-24", vec![interleaved, search, count]),
        ("claude-opus-4-8", changes, vec![interleaved, search, count]),
        ("claude-opus-5", changes, vec![interleaved, search, count]),
        ("claude-sonnet-5", changes, vec![interleaved, search, count]),
        ("claude-opus-5-5", changes, vec![interleaved, search, count]),
        ("claude-sonnet-5-5", changes, vec![interleaved, search, count]),
        ("claude-haiku-5-5", changes, vec![interleaved, search, count]),
        ("claude-fable-5-1", changes, vec![interleaved, search, count]),
        ("claude-fable-5-2", changes, vec![interleaved, search, count]),
    ] {
        let sent = [always, interleaved, further];
        assert_eq!(betas(model, &sent, &json!({})), expected, "{model}");
    }
}

#[test]
fn one_context_of_a_million_tokens_is_asked_for_where_the_model_has_it() {
    let sent = ["context-1m-2025-08-07"];
    for (model, asked) in [
        ("claude-sonnet-4-0", true),
        ("claude-sonnet-4-5", true),
        ("claude-sonnet-4-6", true),
        ("claude-opus-4-1", false),
        ("claude-opus-4-5", false),
        ("claude-haiku-4-5", false),
    ] {
        assert_eq!(betas(model, &sent, &json!({})).len(), usize::from(asked), "{model}");
    }
}

#[test]
fn auto_mode_goes_along_since_4_8() {
    let sent =
        ["afk-mode-2026-01-31,dangerous-tool-use-2026-09-03,thinking-display-updates-2026-08-18"];
    let body = json!({
        "safeguards": [{"type": "dangerous_tool_use"}],
        "thinking": {"type": "adaptive", "display": "updates"}
    });
    let translated = translate("claude-opus-4-8", &sent, &body).unwrap();
    assert_eq!(translated["anthropic_beta"].as_array().unwrap().len(), 3);
    assert_eq!(translated["safeguards"], body["safeguards"]);
    assert_eq!(translated["thinking"], body["thinking"]);
}

#[test]
fn safeguards_that_the_model_lacks_are_dropped_with_their_beta() {
    let body = json!({"messages": [], "max_tokens": 1, "safeguards": [{"type": "x"}]});
    let sent = translate("claude-sonnet-4-5", &["dangerous-tool-use-2026-09-03"], &body).unwrap();
    assert_eq!(sent.get("safeguards"), None);
    assert_eq!(sent.get("anthropic_beta"), None);
}

#[test]
fn the_beta_for_safeguards_goes_only_with_them() {
    let sent = ["dangerous-tool-use-2026-09-03"];
    assert!(betas("claude-opus-5-5", &sent, &json!({})).is_empty());
}

#[test]
fn betas_that_fields_need_are_added() {
    let tool = |key: &str, value: Value| json!({"tools": [{"name": "a", "input_schema": {"type": "object"}, key: value}]});
    let search = "tool-search-tool-2025-10-19";
    assert_eq!(betas("claude-opus-5", &[], &tool("defer_loading", json!(true))), [search]);
    assert!(betas("claude-opus-5", &[], &tool("defer_loading", json!(false))).is_empty());
    let streaming = betas("claude-opus-5", &[], &tool("eager_input_streaming", json!(true)));
    assert_eq!(streaming, ["fine-grained-tool-streaming-2025-05-14"]);
    let examples = betas("claude-opus-5", &[], &tool("input_examples", json!([{}])));
    assert_eq!(examples, ["tool-examples-2025-10-29"]);
    let binding = json!({"thinking": {"type": "adaptive", "block_binding": {}}});
    assert_eq!(betas("claude-opus-5", &[], &binding), ["thinking-binding-controls-2026-08-01"]);
}

#[test]
fn tool_changes_bring_their_beta_or_are_refused() {
    let block = json!({"type": "tool_addition", "tool": {"name": "a"}});
    let body = json!({"messages": [
        {"role": "user", "content": "a"}, {"role": "system", "content": [block]}
    ]});
    let changes = "mid-conversation-tool-changes-2026-07-01";
    assert_eq!(betas("claude-opus-5", &[], &body), [changes]);
    assert!(translate("claude-opus-4-6", &[], &body).is_err());
}

#[test]
fn no_beta_left_is_no_key() {
    let translated = translate("claude-opus-5", &["oauth-2025-04-20, ,brand-new"], &json!({}));
    assert_eq!(translated.unwrap().get("anthropic_beta"), None);
}

// Fields.

#[test]
fn the_version_of_2026_passes_since_4_7() {
    for (model, sent, expected) in [
        ("claude-opus-4-7", Some("2026-10-21"), "2026-10-21"),
        ("claude-opus-4-7", Some("2023-06-01"), "bedrock-2023-05-31"),
        ("claude-opus-4-7", None, "bedrock-2023-05-31"),
        ("claude-opus-4-7", Some("2027-01-01"), "bedrock-2023-05-31"),
        ("claude-sonnet-4-6", Some("2026-10-21"), "bedrock-2023-05-31"),
    ] {
        let headers = Headers { betas: vec![], version: sent };
        let body = to_bedrock(br#"{"messages":[]}"#, &headers, &model_of(model), &Mends::default())
            .unwrap();
        let body = parsed(&body);
        assert_eq!(body["anthropic_version"], expected, "{model} {sent:?}");
    }
}

#[test]
fn effort_is_dropped_where_bedrock_refuses_it() {
    let body = json!({"output_config": {"effort": "high"}});
    for (model, kept) in [
        ("claude-haiku-4-5", false),
        ("claude-sonnet-4-5", false),
        ("claude-opus-4-5", false),
        ("claude-opus-4-1", false),
        ("claude-opus-4-6", true),
        ("claude-opus-5-5", true),
    ] {
        let translated = translate(model, &[], &body).unwrap();
        assert_eq!(translated.get("output_config").is_some(), kept, "{model}");
    }
}

#[test]
fn the_effort_below_the_highest_is_the_highest_where_the_model_lacks_it() {
    for (model, asked, expected) in [
        ("claude-opus-4-6", "xhigh", "max"),
        ("claude-sonnet-4-6", "xhigh", "max"),
        ("claude-opus-4-6", "high", "high"),
        ("claude-opus-4-7", "xhigh", "xhigh"),
        ("claude-opus-5-5", "xhigh", "xhigh"),
    ] {
        let body = json!({"output_config": {"effort": asked}});
        let translated = translate(model, &[], &body).unwrap();
        assert_eq!(translated["output_config"]["effort"], expected, "{model}");
    }
}

#[test]
fn the_attribution_line_stays_first_and_goes_elsewhere() {
    let line = json!({"type": "text", "text": "x-anthropic-billing-header: cc_version=2;"});
    let own = json!({"type": "text", "text": "Be brief."});
    for (system, expected) in [
        (json!([line, own]), json!([line, own])),
        (json!([own, line]), json!([own])),
        (json!([line, own, line]), json!([line, own])),
    ] {
        let body = json!({"system": system, "messages": [{"role": "user", "content": [line]}]});
        let translated = translate("claude-opus-5-5", &[], &body).unwrap();
        assert_eq!(translated["system"], expected);
        assert_eq!(translated["messages"], body["messages"], "what the user says stays");
    }
}

#[test]
fn structured_output_goes_along_or_is_refused() {
    let format = json!({"type": "json_schema", "schema": {"type": "object"}});
    let body = json!({"output_config": {"format": format}});
    for model in ["claude-sonnet-4-5", "claude-opus-4-6", "claude-sonnet-5-5"] {
        assert_eq!(translate(model, &[], &body).unwrap()["output_config"]["format"], format);
    }
    for model in ["claude-opus-4-1", "claude-opus-4-7", "claude-opus-5-5", "claude-fable-5-1"] {
        let refused = translate(model, &[], &body).unwrap_err();
        assert!(matches!(refused, Untranslatable::Missing("structured output")), "{model}");
    }
}

#[test]
fn the_old_spelling_of_structured_output_is_moved() {
    let format = json!({"type": "json_schema"});
    let alone = json!({"output_format": format});
    let beside = json!({"output_format": format, "output_config": {"effort": "low"}});
    let both = json!({"output_format": {}, "output_config": {"format": format}});
    for body in [alone, beside, both] {
        let translated = translate("claude-opus-4-6", &[], &body).unwrap();
        assert_eq!(translated["output_config"]["format"], format, "{body}");
        assert_eq!(translated.get("output_format"), None);
    }
    assert!(translate("claude-opus-4-1", &[], &json!({"output_format": format})).is_err());
}

#[test]
fn display_is_dropped_where_bedrock_refuses_it() {
    let cases = [
        ("claude-opus-4-6", "omitted", false),
        ("claude-opus-4-7", "omitted", true),
        ("claude-opus-4-7", "updates", false),
        ("claude-opus-4-8", "updates", true),
        ("claude-opus-5-5", "highlights", false),
    ];
    for (model, display, kept) in cases {
        let body = json!({"thinking": {"type": "adaptive", "display": display}});
        let translated = translate(model, &[], &body).unwrap();
        assert_eq!(translated["thinking"]["type"], "adaptive");
        assert_eq!(translated["thinking"].get("display").is_some(), kept, "{model} {display}");
    }
}

#[test]
fn cache_lifetimes_are_dropped_before_4_5_and_scopes_everywhere() {
    let marker = json!({"type": "ephemeral", "ttl": "1h", "scope": "global"});
    let block = json!({"type": "text", "text": "a", "cache_control": marker});
    let body = json!({"system": [block], "messages": [{"role": "user", "content": [block]}]});
    for (model, expected) in [
        ("claude-opus-4-1", json!({"type": "ephemeral"})),
        ("claude-opus-4-5", json!({"type": "ephemeral", "ttl": "1h"})),
    ] {
        let translated = translate(model, &[], &body).unwrap();
        assert_eq!(translated["system"][0]["cache_control"], expected);
        assert_eq!(translated["messages"][0]["content"][0]["cache_control"], expected);
    }
}

// System messages.

#[test]
fn system_messages_stay_where_the_model_takes_them() {
    let body = json!({"messages": [
        {"role": "user", "content": "a"}, {"role": "system", "content": "b"}
    ]});
    for model in ["claude-opus-4-8", "claude-sonnet-5", "claude-fable-5", "claude-opus-6"] {
        assert_eq!(translate(model, &[], &body).unwrap()["messages"], body["messages"], "{model}");
    }
}

#[test]
fn a_leading_system_message_joins_the_system_prompt() {
    for (system, before) in [
        (json!("first"), vec!["first"]),
        (json!([{"type": "text", "text": "first"}]), vec!["first"]),
        (json!(""), vec![]),
        (json!(null), vec![]),
    ] {
        let mut body = json!({"messages": [
            {"role": "system", "content": "second"},
            {"role": "system", "content": [{"type": "text", "text": "third"}]},
            {"role": "user", "content": "a"}
        ]});
        let expected: Vec<Value> = before
            .into_iter()
            .chain(["second", "third"])
            .map(|text| json!({"type": "text", "text": text}))
            .collect();
        if !system.is_null() {
            body["system"] = system;
        }
        let translated = translate("claude-opus-4-6", &[], &body).unwrap();
        assert_eq!(translated["system"], Value::Array(expected));
        assert_eq!(translated["messages"], json!([{"role": "user", "content": "a"}]));
    }
}

#[test]
fn a_later_system_message_becomes_a_turn_in_its_place() {
    let body = json!({"messages": [
        {"role": "user", "content": "a"},
        {"role": "system", "content": "b"},
        {"role": "assistant", "content": "c"}
    ]});
    let translated = translate("claude-opus-4-7", &[], &body).unwrap();
    let messages = translated["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[1]["role"], "user");
    assert_eq!(messages[1]["content"][1], json!({"type": "text", "text": "b"}));
    assert_eq!(translated.get("system"), None);
}

#[test]
fn nothing_comes_between_a_call_and_its_result() {
    let call = json!([{"type": "tool_use", "id": "t", "name": "a", "input": {}}]);
    let result = json!([{"type": "tool_result", "tool_use_id": "t"}]);
    let body = json!({"messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": call},
        {"role": "system", "content": "b"},
        {"role": "user", "content": result}
    ]});
    let translated = translate("claude-opus-4-6", &[], &body).unwrap();
    let messages = translated["messages"].as_array().unwrap();
    assert_eq!(messages[2]["content"], result);
    assert_eq!(messages[3]["content"][1]["text"], "b");
}

#[test]
fn a_system_message_that_carried_only_settings_is_dropped() {
    let body = json!({"messages": [
        {"role": "user", "content": "a"},
        {"role": "system", "content": [], "output_config": {"effort": "low"}}
    ]});
    for generation in GENERATIONS {
        let translated = translate(generation, &[], &body).unwrap();
        assert_eq!(
            translated["messages"],
            json!([{"role": "user", "content": "a"}]),
            "{generation}"
        );
    }
}

// What Bedrock cannot serve.

#[test]
fn what_lives_at_anthropic_is_refused() {
    for (key, value) in [
        ("thread", json!({"type": "continue", "id": "thread_1"})),
        ("container", json!("container_1")),
        ("mcp_servers", json!([{"type": "url", "url": "https://mcp.example"}])),
        ("resumption", json!({"id": "r"})),
    ] {
        let refused = translate("claude-opus-5", &[], &json!({key: value})).unwrap_err();
        assert!(matches!(refused, Untranslatable::Kept(named) if named == key), "{refused}");
    }
}

#[test]
fn tools_that_run_at_anthropic_are_refused() {
    for kind in [
        "web_search_20250305",
        "web_fetch_20250910",
        "code_execution_20250825",
        "advisor_20260301",
        "mcp_toolset",
        "computer_toolset_20260801",
        "browser_toolset_20260801",
        "brand_new_20270101",
    ] {
        let body = json!({"tools": [{"type": kind, "name": "a"}]});
        let refused = translate("claude-opus-5", &[], &body).unwrap_err();
        assert!(matches!(&refused, Untranslatable::Tool(named) if named == kind), "{refused}");
    }
    for kind in [
        "custom",
        "bash_20250124",
        "text_editor_20250728",
        "memory_20250818",
        "computer_20251124",
        "tool_search_tool_regex_20251119",
    ] {
        let body = json!({"tools": [{"type": kind, "name": "a"}]});
        assert!(translate("claude-opus-5", &[], &body).is_ok(), "{kind}");
    }
}

#[test]
fn blocks_that_only_anthropic_understands_are_refused() {
    for block in [
        json!({"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}),
        json!({"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
        json!({"type": "bash_code_execution_tool_result", "tool_use_id": "s"}),
        json!({"type": "advisor_tool_result", "tool_use_id": "s"}),
        json!({"type": "mcp_tool_use", "id": "m"}),
        json!({"type": "mcp_tool_result", "tool_use_id": "m"}),
        json!({"type": "container_upload", "file_id": "f"}),
        json!({"type": "compaction", "content": "c"}),
        json!({"type": "fallback"}),
        json!({"type": "image", "source": {"type": "url", "url": "https://images.example/a"}}),
        json!({"type": "document", "source": {"type": "file", "file_id": "f"}}),
        json!({"type": "tool_result", "content": [
            {"type": "image", "source": {"type": "url", "url": "https://images.example/a"}}
        ]}),
        json!({"type": "document", "source": {"type": "content", "content": [
            {"type": "image", "source": {"type": "file", "file_id": "f"}}
        ]}}),
    ] {
        let body = json!({"messages": [{"role": "user", "content": [block]}]});
        assert!(translate("claude-opus-5", &[], &body).is_err(), "{block}");
    }
}

#[test]
fn a_search_for_tools_is_served_since_4_5() {
    let blocks = json!([
        {"type": "server_tool_use", "id": "s", "name": "tool_search_tool_regex", "input": {}},
        {"type": "tool_search_tool_result", "tool_use_id": "s", "content": {"type": "x"}},
        {"type": "tool_result", "tool_use_id": "t", "content": [
            {"type": "tool_reference", "tool_name": "a"}
        ]}
    ]);
    let body = json!({"messages": [{"role": "assistant", "content": blocks}]});
    let sent = betas("claude-haiku-4-5", &[], &body);
    assert_eq!(sent, ["tool-search-tool-2025-10-19"]);
    assert!(translate("claude-opus-4-1", &[], &body).is_err());
}

#[test]
fn a_refusal_never_quotes_the_request() {
    let secret = "a secret, in a place where a type should be";
    for body in [
        json!({"tools": [{"type": secret}]}),
        json!({"tools": [{"type": "secret_".repeat(10)}]}),
        json!({"tools": secret}),
        json!({"messages": secret}),
        json!({"messages": [secret]}),
        json!({"output_config": secret}),
        json!({"messages": [{"role": "user", "content": [
            {"type": format!("{secret}_tool_result")}
        ]}]}),
    ] {
        let refused = translate("claude-opus-5", &[], &body).unwrap_err();
        assert!(!format!("{refused} {refused:?}").contains("secret"), "{refused:?}");
    }
}

#[test]
fn what_is_no_request_is_refused() {
    for body in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"messages":[1]}"#,
        r#"{"messages":[]} x"#,
        r#"{"messages":[],"messages":[]}"#,
        r#"{"messages":[],"m\u0065ssages":[]}"#,
        r#"{"messages":[{"role":"user","role":"system"}]}"#,
    ] {
        let refused =
            to_bedrock(body.as_bytes(), &Headers::default(), &model_of(NEWEST), &Mends::default());
        assert!(refused.is_err(), "{body}");
    }
    assert!(
        to_bedrock(
            b"{\"messages\":[\"\xff\"]}",
            &Headers::default(),
            &model_of(NEWEST),
            &Mends::default()
        )
        .is_err()
    );
}

/// What each tool needs on Bedrock, and since which generation of models that is taken there.
const TOOLS: [(&str, Option<&str>, &[&str]); 12] = [
    ("custom", None, &GENERATIONS),
    ("bash_20241022", Some("computer-use-2024-10-22"), &GENERATIONS),
    ("bash_20250124", None, &GENERATIONS),
    ("text_editor_20241022", Some("computer-use-2024-10-22"), &GENERATIONS),
    ("text_editor_20250124", None, &GENERATIONS),
    ("text_editor_20250429", None, &GENERATIONS),
    ("text_editor_20250728", None, &GENERATIONS),
    ("computer_20241022", Some("computer-use-2024-10-22"), &GENERATIONS),
    ("computer_20250124", Some("computer-use-2025-01-24"), &GENERATIONS),
    ("computer_20251124", Some("computer-use-2025-11-24"), &GENERATIONS),
    ("memory_20250818", Some("context-management-2025-06-27"), GENERATIONS.split_at(3).1),
    (
        "tool_search_tool_bm25_20251119",
        Some("tool-search-tool-2025-10-19"),
        GENERATIONS.split_at(3).1,
    ),
];

#[test]
fn a_tool_goes_with_the_beta_that_it_needs_or_not_at_all() {
    for (kind, beta, generations) in TOOLS {
        let body = json!({"tools": [{"type": kind, "name": "a"}]});
        for generation in GENERATIONS {
            for sent in [vec![], beta.into_iter().collect()] {
                let translated = translate(generation, &sent, &body);
                assert_eq!(
                    translated.is_ok(),
                    generations.contains(&generation),
                    "{kind} for {generation}"
                );
                let Ok(translated) = translated else { continue };
                let betas = translated.get("anthropic_beta").cloned();
                assert_eq!(betas, beta.map(|beta| json!([beta])), "{kind} for {generation}");
                assert_eq!(translated["tools"], body["tools"]);
            }
            let mut mends = Mends::default();
            let Some(beta) = beta else { continue };
            mends.add(
                &format!("Unexpected value(s) `{beta}` for the `anthropic-beta` header"),
                json!({"anthropic_beta": [beta]}).to_string().as_bytes(),
            );
            let body = json!({"messages": [], "tools": body["tools"]}).to_string();
            let without =
                to_bedrock(body.as_bytes(), &Headers::default(), &model_of(generation), &mends);
            assert!(without.is_err(), "{kind} for {generation} without its beta");
        }
        let counted = json!({"messages": [], "tools": body["tools"]}).to_string();
        let count =
            to_count(counted.as_bytes(), &Headers::default(), &model_of("claude-sonnet-4-6"));
        assert_eq!(count.is_ok(), beta.is_none(), "{kind}");
    }
}

#[test]
fn a_tool_of_which_nobody_knows_the_beta_is_not_sent() {
    for kind in ["memory_20270101", "computer_20270101", "custom_20270101", "memory_", "computer_"]
    {
        let body = json!({"tools": [{"type": kind, "name": "a"}]});
        assert!(translate(NEWEST, &[], &body).is_err(), "{kind}");
    }
}

#[test]
fn a_name_of_more_than_64_characters_is_not_sent() {
    for (name, sent) in [("n".repeat(64), true), ("é".repeat(64), true), ("n".repeat(65), false)] {
        let tool = json!({"tools": [{"name": name, "input_schema": {}}]});
        let call = json!([{"type": "tool_use", "id": "t", "name": name, "input": {"name": "n".repeat(99)}}]);
        let call = json!({"messages": [{"role": "assistant", "content": call}]});
        let choice = json!({"tool_choice": {"type": "tool", "name": name}});
        for body in [tool, call, choice] {
            assert_eq!(translate(NEWEST, &[], &body).is_ok(), sent, "{body}");
        }
    }
}

#[test]
fn a_body_that_is_larger_than_bedrock_takes_is_not_sent() {
    let body = |text: usize| {
        let text = "x".repeat(text);
        format!(r#"{{"messages":[{{"role":"user","content":"{text}"}}]}}"#)
    };
    let sent = |body: String| {
        to_bedrock(body.as_bytes(), &Headers::default(), &model_of(NEWEST), &Mends::default())
    };
    let room = 25_000_000 - sent(body(0)).unwrap().len();
    assert_eq!(sent(body(room)).unwrap().len(), 25_000_000);
    assert!(matches!(sent(body(room + 1)), Err(Untranslatable::TooLarge(25_000_001))));
}

// Caching.

/// The lines that cache by themselves take the field; the others are given a marker.
#[test]
fn a_request_to_cache_becomes_a_marker_on_the_last_block_that_may_carry_one() {
    let text = |text: &str| json!({"type": "text", "text": text});
    let user = |content: Value| json!([{"role": "user", "content": content}]);
    let image = json!({"type": "image", "source": {"type": "base64", "data": "AAAA"}});
    let thought = json!({"type": "thinking", "thinking": "hm", "signature": "s"});
    let call = json!({"type": "tool_use", "id": "t", "name": "a", "input": {}});
    let result = json!({"type": "tool_result", "tool_use_id": "t", "content": [text("r")]});
    let reference = json!({"type": "connector_text", "text": "c"});
    for (messages, marked) in [
        (user(json!("a")), Some("/messages/0/content/0")),
        (user(json!([text("a"), text("b")])), Some("/messages/0/content/1")),
        (user(json!([text("a"), image])), Some("/messages/0/content/1")),
        (user(json!([text("a"), text(""), text(" \n")])), Some("/messages/0/content/0")),
        (user(json!([result])), Some("/messages/0/content/0")),
        (user(json!([text("a"), reference])), Some("/messages/0/content/0")),
        (user(json!("")), None),
        (user(json!([])), None),
        (
            json!([
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": [call, thought]},
                {"role": "user", "content": []},
                {"role": "assistant", "content": [thought, {"type": "redacted_thinking"}]},
            ]),
            Some("/messages/1/content/0"),
        ),
        (
            json!([{"role": "user", "content": "a"}, {"role": "system", "content": "b"}]),
            Some("/messages/1/content/1"),
        ),
    ] {
        for (generation, caches) in GENERATIONS.map(|generation| {
            (generation, ["claude-opus-4-7", "claude-opus-4-8", NEWEST].contains(&generation))
        }) {
            let marker = json!({"type": "ephemeral", "ttl": "1h", "scope": "global"});
            let body = json!({"messages": messages, "cache_control": marker});
            let Ok(sent) = translate(generation, &[], &body) else { panic!("{generation} {body}") };
            assert_eq!(sent.get("cache_control").is_some(), caches, "{generation}");
            let old = GENERATIONS.split_at(3).0.contains(&generation);
            let left = if old {
                json!({"type": "ephemeral"})
            } else {
                json!({"type": "ephemeral", "ttl": "1h"})
            };
            let expected = marked.filter(|_| !caches).map(|_| left);
            let at = marked.and_then(|at| sent.pointer(at)).map(|block| &block["cache_control"]);
            assert_eq!(at.filter(|at| !at.is_null()), expected.as_ref(), "{generation} {sent}");
            let all = sent["messages"].to_string().matches("cache_control").count();
            assert_eq!(all, usize::from(expected.is_some()), "{generation} {sent}");
        }
    }
}

#[test]
fn there_are_never_more_than_four_markers_and_never_two_on_one_block() {
    let marker = json!({"type": "ephemeral"});
    let block = json!({"type": "text", "text": "a", "cache_control": marker});
    let plain = json!({"type": "text", "text": "a"});
    for (own, expected) in [(0, 1), (1, 2), (3, 4), (4, 4)] {
        let mut system = vec![block.clone(); own];
        system.push(plain.clone());
        let tools = json!([{"name": "a", "input_schema": {}}]);
        let body = json!({
            "messages": [{"role": "user", "content": [plain]}], "cache_control": marker,
            "system": system, "tools": tools,
        });
        let sent = translate("claude-sonnet-4-5", &[], &body).unwrap();
        assert_eq!(sent.to_string().matches("cache_control").count(), expected);
    }
    let nested =
        json!({"type": "tool_result", "tool_use_id": "t", "content": [block, block, block]});
    let body = json!({
        "messages": [{"role": "user", "content": [nested, plain]}], "cache_control": marker,
        "tools": [{"name": "a", "input_schema": {}, "cache_control": marker}],
    });
    let sent = translate("claude-sonnet-4-5", &[], &body).unwrap();
    assert_eq!(sent.to_string().matches("cache_control").count(), 4);
    let body = json!({
        "messages": [{"role": "user", "content": [block]}], "cache_control": {"type": "ephemeral", "ttl": "1h"},
    });
    let sent = translate("claude-sonnet-4-5", &[], &body).unwrap();
    assert_eq!(sent["messages"], body["messages"], "the user's own marker stays");
    for cache_control in [json!(null), json!({}), json!([]), json!("a"), json!(1)] {
        let body =
            json!({"messages": [{"role": "user", "content": "a"}], "cache_control": cache_control});
        let sent = translate("claude-sonnet-4-5", &[], &body).unwrap();
        assert_eq!(sent["messages"], body["messages"], "{cache_control}");
    }
}

#[test]
fn caching_that_bedrock_has_refused_becomes_a_marker_too() {
    let mut mends = Mends::default();
    assert!(mends.add("cache_control: Extra inputs are not permitted", b"{}"));
    let body =
        br#"{"messages":[{"role":"user","content":"a"}],"cache_control":{"type":"ephemeral"}}"#;
    let sent = to_bedrock(body, &Headers::default(), &model_of(NEWEST), &mends).unwrap();
    let sent = parsed(&sent);
    assert_eq!(sent.get("cache_control"), None);
    assert_eq!(sent["messages"][0]["content"][0]["cache_control"]["type"], "ephemeral");
}

// Counting.

#[test]
fn a_count_carries_what_counts_and_nothing_else() {
    let body = json!({
        "model": "claude-opus-4-6", "stream": true, "metadata": {}, "max_tokens": 5,
        "temperature": 1, "safeguards": [{}], "tools": [],
        "messages": [{"role": "user", "content": "a"}],
        "thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"}
    });
    let betas = vec!["interleaved-thinking-2025-05-14,token-counting-2024-11-01"];
    let headers = Headers { betas, version: Some("2023-06-01") };
    let count = to_count(body.to_string().as_bytes(), &headers, &model_of("claude-opus-4-6"));
    let count = parsed(&count.unwrap());
    let expected = json!({
        "messages": [{"role": "user", "content": "a"}],
        "thinking": {"type": "enabled", "budget_tokens": 2048},
        "max_tokens": 2049,
        "anthropic_version": "bedrock-2023-05-31"
    });
    assert_eq!(count, expected);
}

#[test]
fn tools_that_need_a_beta_are_not_counted() {
    for (field, counted) in [
        (r#""defer_loading":true"#, false),
        (r#""input_examples":[{}]"#, false),
        (r#""defer_loading":false"#, true),
        (r#""eager_input_streaming":true"#, true),
    ] {
        let body = format!(r#"{{"messages":[],"tools":[{{"name":"a",{field}}}]}}"#);
        let count = to_count(body.as_bytes(), &Headers::default(), &model_of("claude-sonnet-4-6"));
        match count {
            Ok(count) => {
                assert!(counted && !String::from_utf8(count).unwrap().contains(field), "{field}");
            }
            Err(refused) => {
                assert!(!counted && matches!(refused, Untranslatable::Uncountable), "{field}");
            }
        }
    }
}

// Byte for byte.

#[test]
fn what_needs_no_change_is_copied_byte_for_byte() {
    let messages = r#"[ {"content" : "\u00e9\/ \ud83d\ude00", "role":"user", "n": 1.50e+02} ]"#;
    let tools =
        r#"[{ "name":"a", "input_schema":{"type":"object","b":1,"a":10000000000000000000000} }]"#;
    let body = format!(r#"{{"model":"m","messages":{messages},"tools":{tools}}}"#);
    for generation in GENERATIONS {
        let body = to_bedrock(
            body.as_bytes(),
            &Headers::default(),
            &model_of(generation),
            &Mends::default(),
        )
        .unwrap();
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains(messages) && body.contains(tools), "{body}");
    }
}

#[test]
fn a_changed_message_changes_nowhere_else() {
    let body =
        br#"{"messages":[{"z":1.0,"role":"user","content":"\u0061","output_config":{},"a":1e5}]}"#;
    let body = to_bedrock(body, &Headers::default(), &model_of(NEWEST), &Mends::default()).unwrap();
    let expected = br#"{"messages":[{"z":1.0,"role":"user","content":"\u0061","a":1e5}]"#;
    assert!(body.starts_with(expected), "{}", String::from_utf8_lossy(&body));
}

#[test]
fn depth_costs_no_stack() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    let input = format!(
        r#"{{"messages":[{{"role":"assistant","content":[{{"type":"tool_use","input":{deep}}}]}}]}}"#
    );
    assert!(
        to_bedrock(input.as_bytes(), &Headers::default(), &model_of(NEWEST), &Mends::default())
            .is_ok()
    );
    let nested = r#"{"content":["#.repeat(50_000) + &"]}".repeat(50_000);
    let nested = format!(r#"{{"messages":[{nested}]}}"#);
    assert!(
        to_bedrock(nested.as_bytes(), &Headers::default(), &model_of(NEWEST), &Mends::default())
            .is_err()
    );
}

#[test]
fn more_elements_than_a_request_can_have_are_refused() {
    let messages = |count: usize| vec!["{}"; count].join(",");
    let keys =
        |count: usize| (0..count).map(|key| format!(r#""{key}":0"#)).collect::<Vec<_>>().join(",");
    for (elements, taken) in [(99_999, true), (100_001, false)] {
        for body in [
            format!(r#"{{"messages":[{}]}}"#, messages(elements)),
            format!(r#"{{"messages":[],{}}}"#, keys(elements)),
        ] {
            let translated = to_bedrock(
                body.as_bytes(),
                &Headers::default(),
                &model_of(NEWEST),
                &Mends::default(),
            );
            assert_eq!(translated.is_ok(), taken, "{elements}");
        }
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), generation in generation()) {
        let _ = to_bedrock(&bytes, &Headers::default(), &model_of(generation), &Mends::default()).is_ok();
        let _ = to_count(&bytes, &Headers::default(), &model_of(generation)).is_ok();
    }

    #[test]
    fn what_comes_out_is_a_body_without_model_and_stream(
        body in requests(), generation in generation(), sent in "[a-z0-9, -]{0,40}",
    ) {
        let body = body.to_string();
        let headers = Headers { betas: vec![&sent], version: None };
        let mended = |body: &[u8], headers: &Headers<'_>, model: &Model| {
            to_bedrock(body, headers, model, &Mends::default())
        };
        for to in [&mended as &dyn Fn(&[u8], &Headers<'_>, &Model) -> _, &to_count] {
            if let Ok(body) = to(body.as_bytes(), &headers, &model_of(generation)) {
                let body = parsed(&body);
                prop_assert!(body.get("model").is_none() && body.get("stream").is_none());
                prop_assert!(body["messages"].is_array());
                prop_assert_eq!(&body["anthropic_version"], "bedrock-2023-05-31");
            }
        }
    }

    #[test]
    fn a_longer_conversation_begins_with_the_same_bytes(
        turns in prop::collection::vec(turns(), 1..8), cut in any::<prop::sample::Index>(),
        generation in generation(),
    ) {
        let translated = |turns: &[Vec<Value>]| {
            let opened = [vec![json!({"role": "user", "content": "opens"})], turns.concat()];
            let messages = opened.concat();
            let body = json!({"messages": messages}).to_string();
            let body = to_bedrock(body.as_bytes(), &Headers::default(), &model_of(generation), &Mends::default()).unwrap();
            String::from_utf8(body).unwrap()
        };
        let shorter = translated(&turns[..=cut.index(turns.len())]);
        let end = shorter.rfind(r#"],"anthropic_version""#).unwrap();
        prop_assert!(translated(&turns).starts_with(&shorter[..end]));
    }
}

// Models.

#[test]
fn every_way_to_name_a_model_leads_to_it() {
    for (names, name, id) in [
        (
            vec![
                "claude-haiku-4-5",
                "claude-haiku-4-5-20251001",
                "claude-haiku-4-5@20251001",
                "claude-haiku-4-5-latest",
                "anthropic.claude-haiku-4-5",
                "anthropic.claude-haiku-4-5-20251001-v1:0",
                "us.anthropic.claude-haiku-4-5-20251001-v1:0",
                "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-haiku-4-5-20251001-v1:0",
            ],
            "claude-haiku-4-5-20251001",
            "us.anthropic.claude-haiku-4-5-20251001-v1:0",
        ),
        (
            vec![
                "claude-opus-4-6",
                "claude-opus-4-6-20260205",
                "claude-opus-4-6[1m]",
                "us-gov.anthropic.claude-opus-4-6-v1",
                "arn:aws:bedrock:eu-west-1::foundation-model/anthropic.claude-opus-4-6-v1",
            ],
            "claude-opus-4-6",
            "us.anthropic.claude-opus-4-6-v1",
        ),
        (
            vec!["claude-3-haiku-20240307"],
            "claude-3-haiku-20240307",
            "us.anthropic.claude-3-haiku-20240307-v1:0",
        ),
        (
            vec!["claude-3-5-sonnet-latest", "anthropic.claude-3-5-sonnet-20241022-v2:0:51k"],
            "claude-3-5-sonnet-20241022",
            "us.anthropic.claude-3-5-sonnet-20241022-v2:0",
        ),
        (
            vec!["claude-3-5-sonnet-20240620"],
            "claude-3-5-sonnet-20240620",
            "us.anthropic.claude-3-5-sonnet-20240620-v1:0",
        ),
        (
            vec!["claude-opus-5", "claude-opus-5-20260901", "global.anthropic.claude-opus-5"],
            "claude-opus-5",
            "us.anthropic.claude-opus-5",
        ),
        (
            vec!["claude-opus-7", "claude-opus-7[1m]", "eu.anthropic.claude-opus-7"],
            "claude-opus-7",
            "us.anthropic.claude-opus-7",
        ),
    ] {
        for given in names {
            let model = model_of(given);
            assert_eq!(model.name(), name, "{given}");
            assert_eq!(model.bedrock_id("us-east-1", None), id, "{given}");
        }
    }
}

#[test]
fn an_entry_of_the_map_serves_its_model_by_every_name() {
    let map = |entries: &[(&str, &str)]| {
        entries.iter().map(|(key, id)| ((*key).to_owned(), (*id).to_owned())).collect()
    };
    let one = map(&[("claude-opus-4-5", "one")]);
    for (asked, served) in [
        ("claude-opus-4-5", true),
        ("claude-opus-4-5[1m]", true),
        ("claude-opus-4-5[200k]", true),
        ("claude-opus-4-5-20251101", true),
        ("claude-opus-4-5-20251101[1m]", true),
        ("claude-opus-4-5-20260101", true),
        ("claude-opus-4-5-latest", true),
        ("claude-opus-4-5@20251101", true),
        ("claude-opus-4-5@default", true),
        ("Claude-Opus-4-5", true),
        ("anthropic.claude-opus-4-5-20251101-v1:0", true),
        ("eu.anthropic.claude-opus-4-5-20251101-v1:0", true),
        ("claude-opus-4-6", false),
        ("claude-opus-4-5-fast", false),
        ("claude-opus-4", false),
        ("claude-sonnet-4-5", false),
        ("", false),
        ("[1m]", false),
    ] {
        assert_eq!(Model::mapped(&one, asked).is_some(), served, "{asked}");
    }
    let many = map(&[
        ("claude-opus-4-5", "plain"),
        ("claude-opus-4-5-20251101", "dated"),
        ("claude-opus-4-5[1m]", "marked"),
        ("Claude-Sonnet-4-6", "letters"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "profile"),
        ("our-own-name", "own"),
        ("claude-opus-9", "new"),
    ]);
    for (asked, id) in [
        ("claude-opus-4-5", Some("plain")),
        ("claude-opus-4-5-20251101", Some("dated")),
        ("claude-opus-4-5-20251101[200k]", Some("dated")),
        ("claude-opus-4-5[1m]", Some("marked")),
        ("claude-opus-4-5-latest", Some("plain")),
        ("claude-sonnet-4-6", Some("letters")),
        ("claude-haiku-4-5", Some("profile")),
        ("our-own-name[1m]", Some("own")),
        ("claude-opus-9-20270101[1m]", Some("new")),
        ("claude-opus-9@default", None),
        ("claude-opus-5", None),
    ] {
        assert_eq!(Model::mapped(&many, asked), id, "{asked}");
    }
}

#[test]
fn the_date_of_another_model_is_another_model() {
    let model = model_of("claude-sonnet-4-5-20991231");
    assert_eq!(model.name(), "claude-sonnet-4-5-20991231");
    assert_eq!(model.count_tokens_id(), None);
}

#[test]
fn what_is_no_anthropic_model_is_none() {
    for name in [
        "",
        "[1m]",
        "claude-",
        "gpt-6",
        "us.amazon.nova-pro-v1:0",
        "anthropic.",
        "claude-opus-5 ",
        "claude-../../x",
        "Claude-Opus-5",
        "claude-opus-5\n",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3d4e5f6",
        "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/claude-opus-5",
    ] {
        assert_eq!(Model::resolve(name), None, "{name:?}");
    }
    assert_eq!(Model::resolve(&format!("claude-{}", "9".repeat(58))), None);
    assert_eq!(Model::resolve(&"a".repeat(10_000_000)), None);
}

#[test]
fn the_nearest_profile_that_the_model_has_is_taken() {
    for (model, region, prefix) in [
        ("claude-opus-5", "us-east-1", "us"),
        ("claude-opus-5", "ca-central-1", "us"),
        ("claude-opus-5", "us-gov-west-1", "us-gov"),
        ("claude-opus-5", "eu-central-1", "eu"),
        ("claude-opus-5", "ap-northeast-1", "jp"),
        ("claude-opus-5", "ap-northeast-3", "jp"),
        ("claude-opus-5", "ap-northeast-2", "apac"),
        ("claude-opus-5", "ap-southeast-2", "au"),
        ("claude-opus-5", "ap-southeast-4", "au"),
        ("claude-opus-5", "ap-south-1", "apac"),
        ("claude-opus-5", "sa-east-1", "global"),
        ("claude-fable-5", "ap-northeast-1", "apac"),
        ("claude-opus-4-5", "ap-southeast-2", "global"),
        ("claude-fable-5-2", "eu-west-1", "global"),
        ("claude-opus-9", "ap-northeast-1", "jp"),
        ("claude-opus-9", "eu-west-1", "eu"),
    ] {
        let id = model_of(model).bedrock_id(region, None);
        assert_eq!(
            id,
            format!("{prefix}.anthropic.{model}")
                .replace("claude-opus-4-5", "claude-opus-4-5-20251101-v1:0"),
            "{model} in {region}"
        );
    }
}

#[test]
fn a_given_prefix_is_obeyed() {
    let model = model_of("claude-fable-5-1");
    let id = |prefix: Prefix| model.bedrock_id("us-east-1", Some(prefix));
    assert_eq!(id(Prefix::Jp), "jp.anthropic.claude-fable-5-1");
    assert_eq!(id(Prefix::None), "anthropic.claude-fable-5-1");
}

#[test]
fn a_prefix_reads_as_it_is_written() {
    for text in ["us", "eu", "apac", "jp", "au", "us-gov", "global", "none"] {
        assert_eq!(text.parse::<Prefix>().unwrap().to_string(), text);
    }
    assert_eq!("US".parse::<Prefix>(), Err(UnknownPrefix));
}

#[test]
fn tokens_are_counted_with_the_foundation_model() {
    let id = |name| model_of(name).count_tokens_id().map(str::to_owned);
    assert_eq!(id("claude-opus-4-6").as_deref(), Some("anthropic.claude-opus-4-6-v1"));
    assert_eq!(id("claude-haiku-4-5").as_deref(), Some("anthropic.claude-haiku-4-5-20251001-v1:0"));
    assert_eq!(id("claude-opus-4-7"), None);
    assert_eq!(id("claude-opus-9"), None);
}

// Vocabulary.

const NEWEST: &str = "claude-opus-5-5";

/// One model of each generation, oldest first.
const GENERATIONS: [&str; 11] = [
    "claude-3-5-haiku-latest",
    "claude-sonnet-4-0",
    "claude-opus-4-1",
    "claude-opus-4-5",
    "claude-haiku-4-5",
    "claude-sonnet-4-5",
    "claude-opus-4-6",
    "claude-sonnet-4-6",
    "claude-opus-4-7",
    "claude-opus-4-8",
    NEWEST,
];

#[derive(Deserialize)]
struct Request {
    #[serde(rename = "anthropic-beta")]
    betas: Vec<String>,
    #[serde(rename = "anthropic-version")]
    version: String,
    body: Box<serde_json::value::RawValue>,
}

impl Request {
    fn read(path: &Path) -> Self {
        serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
    }

    fn to_bedrock(&self) -> Result<Value, Untranslatable> {
        let body = parsed(self.body.get().as_bytes());
        self.to_bedrock_as(body["model"].as_str().unwrap())
    }

    fn to_bedrock_as(&self, model: &str) -> Result<Value, Untranslatable> {
        let betas = self.betas.iter().map(String::as_str).collect();
        let headers = Headers { betas, version: Some(&self.version) };
        let body =
            to_bedrock(self.body.get().as_bytes(), &headers, &model_of(model), &Mends::default())?;
        Ok(parsed(&body))
    }
}

fn golden(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/translate").join(case)
}

fn parsed(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

fn model_of(name: &str) -> Model {
    Model::resolve(name).unwrap()
}

/// Translates `body`, with `messages` where it has none.
fn translate(model: &str, betas: &[&str], body: &Value) -> Result<Value, Untranslatable> {
    let mut body = body.clone();
    let fields = body.as_object_mut().unwrap();
    fields.entry("messages").or_insert_with(|| json!([{"role": "user", "content": "a"}]));
    let headers = Headers { betas: betas.to_vec(), version: None };
    let body =
        to_bedrock(body.to_string().as_bytes(), &headers, &model_of(model), &Mends::default())?;
    Ok(parsed(&body))
}

fn betas(model: &str, sent: &[&str], body: &Value) -> Vec<String> {
    let translated = translate(model, sent, body).unwrap();
    let betas = translated.get("anthropic_beta").cloned().unwrap_or_else(|| json!([]));
    serde_json::from_value(betas).unwrap()
}

fn generation() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&GENERATIONS[..])
}

/// Requests with all the keys that mean something, in places where they may or may not.
fn requests() -> impl Strategy<Value = Value> {
    let keys = [
        "model",
        "stream",
        "messages",
        "system",
        "tools",
        "thinking",
        "output_config",
        "role",
        "content",
        "type",
        "source",
        "cache_control",
        "ttl",
        "scope",
        "display",
        "format",
        "effort",
        "thread",
        "name",
        "defer_loading",
        "budget_tokens",
        "output_format",
    ];
    let words = [
        "system",
        "user",
        "assistant",
        "text",
        "tool_use",
        "tool_result",
        "tool_reference",
        "url",
        "custom",
        "continue",
        "updates",
        "",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::sample::select(words.to_vec()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(6, 64, 5, move |inner| {
        let object =
            prop::collection::btree_map(prop::sample::select(keys.to_vec()), inner.clone(), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Value::from),
            object.prop_map(|fields| json!(fields)),
        ]
    });
    let messages = prop::collection::vec(value.clone(), 0..4);
    (value, messages).prop_map(|(mut body, messages)| {
        if let Some(fields) = body.as_object_mut() {
            fields.insert("messages".to_owned(), Value::from(messages));
        }
        body
    })
}

/// What one turn adds to a conversation.
fn turns() -> impl Strategy<Value = Vec<Value>> {
    let marker = json!({"type": "ephemeral", "scope": "global", "ttl": "1h"});
    let call = json!({"type": "tool_use", "id": "t", "name": "a", "input": {"b": 1}});
    prop::sample::select(vec![
        vec![json!({"role": "user", "content": "a"})],
        vec![json!({"role": "assistant", "content": "b"})],
        vec![json!({"role": "system", "content": "c", "output_config": {"effort": "low"}})],
        vec![json!({"role": "user", "content": [
            {"type": "text", "text": "d", "cache_control": marker}
        ]})],
        vec![
            json!({"role": "assistant", "content": [call]}),
            json!({"role": "system", "content": "e"}),
            json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}),
        ],
    ])
}
