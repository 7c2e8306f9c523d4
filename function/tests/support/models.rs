//! What does Bedrock refuse? The rules of `InvokeModel` per model line, in tables: sources are the
//! Bedrock User Guide and Anthropic's platform documentation ("Claude on Amazon Bedrock").
//!
//! A rule that is missing here makes a test too lenient, so a new finding is a new line here.

use serde_json::Value;

/// One Claude model as Bedrock knows it.
#[derive(Debug)]
pub(crate) struct Model {
    /// The foundation model's id, without a profile's prefix.
    pub(crate) id: &'static str,
    /// 41 for 4.1, 45 for 4.5, 50 for 5: what a line accepts grows with it.
    line: u8,
    /// `CountTokens` knows it.
    pub(crate) counted: bool,
}

const fn model(id: &'static str, line: u8, counted: bool) -> Model {
    Model { id, line, counted }
}

const MODELS: &[Model] = &[
    model("anthropic.claude-3-5-haiku-20241022-v1:0", 35, true),
    model("anthropic.claude-sonnet-4-20250514-v1:0", 40, true),
    model("anthropic.claude-opus-4-1-20250805-v1:0", 41, true),
    model("anthropic.claude-sonnet-4-5-20250929-v1:0", 45, true),
    model("anthropic.claude-haiku-4-5-20251001-v1:0", 45, true),
    model("anthropic.claude-opus-4-5-20251101-v1:0", 45, true),
    model("anthropic.claude-opus-4-6-v1", 46, true),
    model("anthropic.claude-sonnet-4-6", 46, true),
    model("anthropic.claude-opus-4-7", 47, false),
    model("anthropic.claude-opus-4-8", 48, false),
    model("anthropic.claude-opus-5", 50, false),
    model("anthropic.claude-sonnet-5", 50, false),
    model("anthropic.claude-fable-5", 50, false),
    model("anthropic.claude-fable-5-1", 51, false),
    model("anthropic.claude-fable-5-2", 52, false),
    model("anthropic.claude-opus-5-5", 55, false),
    model("anthropic.claude-sonnet-5-5", 55, false),
    model("anthropic.claude-haiku-5-5", 55, false),
];

const PREFIXES: &[&str] = &["us", "eu", "apac", "jp", "au", "us-gov", "global"];

/// Top-level fields, and the lines from which to which they are taken.
const FIELDS: &[(&str, u8, u8)] = &[
    ("anthropic_version", 0, 99),
    ("anthropic_beta", 0, 99),
    ("max_tokens", 0, 99),
    ("messages", 0, 99),
    ("system", 0, 99),
    ("stop_sequences", 0, 99),
    ("tools", 0, 99),
    ("tool_choice", 0, 99),
    ("thinking", 0, 99),
    ("metadata", 0, 99),
    ("temperature", 0, 46),
    ("top_p", 0, 46),
    ("top_k", 0, 46),
    ("output_config", 46, 99),
    ("cache_control", 47, 99),
    ("safeguards", 48, 99),
];

/// Beta values, and the first line that takes them.
const BETAS: &[(&str, u8)] = &[
    ("interleaved-thinking-2025-05-14", 0),
    ("fine-grained-tool-streaming-2025-05-14", 0),
    ("computer-use-2025-01-24", 0),
    ("context-1m-2025-08-07", 40),
    ("tool-search-tool-2025-10-19", 45),
    ("tool-examples-2025-10-29", 45),
    ("effort-2025-11-24", 45),
    ("context-management-2025-06-27", 45),
    ("compact-2026-01-12", 46),
    ("thinking-binding-controls-2026-08-01", 46),
    ("thinking-token-count-2026-05-13", 47),
    ("dangerous-tool-use-2026-09-03", 48),
    ("afk-mode-2026-01-31", 48),
    ("thinking-display-updates-2026-08-18", 48),
    ("mid-conversation-tool-changes-2026-07-01", 48),
    ("mid-conversation-output-config-2026-07-01", 50),
];

/// Finds a model by its bare id, and by the id of an inference profile.
pub(crate) fn find(id: &str) -> Option<(&'static Model, bool)> {
    let bare = |id: &str| MODELS.iter().find(|model| model.id == id);
    let profile = id.split_once('.').filter(|(prefix, _)| PREFIXES.contains(prefix));
    match profile {
        Some((_, rest)) => bare(rest).map(|model| (model, true)),
        None => bare(id).map(|model| (model, false)),
    }
}

/// Returns the sentence of the 400, if the body is not one that this model takes.
pub(crate) fn refusal(model: &Model, body: &Value) -> Option<String> {
    let Some(fields) = body.as_object() else {
        return Some("Malformed input request: #: expected type: JSONObject".to_owned());
    };
    let unknown = fields.keys().find(|field| !takes(model, field));
    unknown
        .map(|field| extra(field))
        .or_else(|| missing(model, body))
        .or_else(|| betas(model, body))
        .or_else(|| thinking(model, body))
        .or_else(|| turns(model, body))
        .or_else(|| tools(body))
}

fn takes(model: &Model, field: &str) -> bool {
    FIELDS.iter().any(|(name, from, to)| *name == field && (*from..=*to).contains(&model.line))
}

fn extra(path: &str) -> String {
    format!("{path}: Extra inputs are not permitted")
}

fn missing(model: &Model, body: &Value) -> Option<String> {
    let version = body["anthropic_version"].as_str();
    match version {
        Some("bedrock-2023-05-31") => {}
        Some("2026-10-21") if model.line >= 47 => {}
        Some(_) => {
            return Some("anthropic_version: Input should be 'bedrock-2023-05-31'".to_owned());
        }
        None => return Some("anthropic_version: Field required".to_owned()),
    }
    ["max_tokens", "messages"]
        .into_iter()
        .find(|field| body[*field].is_null())
        .map(|field| format!("{field}: Field required"))
}

fn betas(model: &Model, body: &Value) -> Option<String> {
    let known = |beta: &str| BETAS.iter().any(|(name, from)| *name == beta && *from <= model.line);
    items(&body["anthropic_beta"])
        .any(|beta| !beta.as_str().is_some_and(known))
        .then(|| "invalid beta flag".to_owned())
}

fn thinking(model: &Model, body: &Value) -> Option<String> {
    let thinking = &body["thinking"];
    match thinking["type"].as_str() {
        Some("enabled") if model.line >= 47 => {
            Some("thinking.type: enabled is not supported on this model".to_owned())
        }
        Some("adaptive") if model.line <= 45 => {
            Some("thinking.type: adaptive is not supported on this model".to_owned())
        }
        Some(_) if model.line <= 46 && !thinking["display"].is_null() => {
            Some(extra("thinking.display"))
        }
        Some(_) | None => None,
    }
}

fn turns(model: &Model, body: &Value) -> Option<String> {
    for (index, message) in items(&body["messages"]).enumerate() {
        if message["role"] == "system" && (index == 0 || model.line < 48) {
            return Some("role 'system' is not supported on this model".to_owned());
        }
        if !message["output_config"].is_null() {
            return Some(extra(&format!("messages.{index}.output_config")));
        }
        for block in items(&message["content"]) {
            if matches!(block["source"]["type"].as_str(), Some("url" | "file")) {
                return Some(format!("messages.{index}.content: URL sources are not supported"));
            }
        }
    }
    let last = items(&body["messages"]).last();
    (model.line >= 46 && last.is_some_and(|message| message["role"] == "assistant"))
        .then(|| "This model does not support assistant message prefill.".to_owned())
}

fn tools(body: &Value) -> Option<String> {
    let searching =
        items(&body["anthropic_beta"]).any(|beta| beta == "tool-search-tool-2025-10-19");
    for (index, tool) in items(&body["tools"]).enumerate() {
        let kind = tool["type"].as_str().unwrap_or("custom");
        if ["web_search_", "web_fetch_", "code_execution_"].iter().any(|s| kind.starts_with(s)) {
            return Some(format!("tool type '{kind}' is not supported for this model"));
        }
        if !tool["defer_loading"].is_null() && !searching {
            return Some(extra(&format!("tools.{index}.custom.defer_loading")));
        }
        if !tool["custom"].is_null() || !tool["cache_control"]["scope"].is_null() {
            return Some(extra(&format!("tools.{index}.custom")));
        }
    }
    None
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
