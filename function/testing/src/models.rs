//! What does Bedrock refuse? The rules of `InvokeModel` per model line, in tables: sources are the
//! Bedrock User Guide and Anthropic's platform documentation ("Claude on Amazon Bedrock").
//!
//! A rule that is missing here makes a test too lenient, so a new finding is a new line here. The
//! tables know nothing of the proxy's own: what both are wrong about only the service can tell.

use serde_json::Value;

/// One Claude model as Bedrock knows it.
#[derive(Debug)]
pub struct Model {
    /// The foundation model's id, without a profile's prefix.
    pub id: &'static str,
    /// 41 for 4.1, 45 for 4.5, 50 for 5: what a line accepts grows with it.
    line: u8,
    /// `CountTokens` knows it.
    pub counted: bool,
}

const fn model(id: &'static str, line: u8, counted: bool) -> Model {
    Model { id, line, counted }
}

const MODELS: &[Model] = &[
    model("anthropic.claude-3-5-haiku-20241022-v1:0", 35, true),
    model("anthropic.claude-3-7-sonnet-20250219-v1:0", 37, true),
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
    ("output_config", 45, 99),
    ("cache_control", 47, 99),
    ("safeguards", 48, 99),
];

const SEARCH: &str = "tool-search-tool-2025-10-19";
const EXAMPLES: &str = "tool-examples-2025-10-29";
const STREAMING: &str = "fine-grained-tool-streaming-2025-05-14";
const CHANGES: &str = "mid-conversation-tool-changes-2026-07-01";
const BINDING: &str = "thinking-binding-controls-2026-08-01";
const SAFEGUARDS: &str = "dangerous-tool-use-2026-09-03";
const MEMORY: &str = "context-management-2025-06-27";
const COMPUTER_2024: &str = "computer-use-2024-10-22";
const COMPUTER_2025: &str = "computer-use-2025-01-24";
const COMPUTER_2025_11: &str = "computer-use-2025-11-24";
const UPDATES: &str = "thinking-display-updates-2026-08-18";

/// Beta values, and the first line that takes them.
const BETAS: &[(&str, u8)] = &[
    ("interleaved-thinking-2025-05-14", 40),
    (STREAMING, 0),
    (COMPUTER_2024, 35),
    (COMPUTER_2025, 37),
    (COMPUTER_2025_11, 45),
    ("context-1m-2025-08-07", 40),
    (SEARCH, 45),
    (EXAMPLES, 45),
    ("effort-2025-11-24", 45),
    (MEMORY, 45),
    ("compact-2026-01-12", 46),
    (BINDING, 46),
    ("thinking-token-count-2026-05-13", 47),
    (SAFEGUARDS, 48),
    ("afk-mode-2026-01-31", 48),
    (UPDATES, 48),
    (CHANGES, 48),
    ("mid-conversation-output-config-2026-07-01", 50),
];

/// The tools that Bedrock takes, by the start of their type, and the beta that each needs.
const TOOLS: &[(&str, Option<&str>)] = &[
    ("custom", None),
    ("bash_20241022", Some(COMPUTER_2024)),
    ("bash_20", None),
    ("text_editor_20241022", Some(COMPUTER_2024)),
    ("text_editor_20", None),
    ("memory_20250818", Some(MEMORY)),
    ("computer_20241022", Some(COMPUTER_2024)),
    ("computer_20250124", Some(COMPUTER_2025)),
    ("computer_20251124", Some(COMPUTER_2025_11)),
    ("tool_search_tool_", Some(SEARCH)),
];

/// The longest name of a tool, and the most cache markers in one request.
const LONGEST_NAME: usize = 64;
const MOST_MARKERS: usize = 4;

/// Blocks that Bedrock takes only with a beta, and blocks that it never takes.
const GATED_BLOCKS: &[(&str, &str)] = &[
    ("tool_reference", SEARCH),
    ("tool_search_tool_result", SEARCH),
    ("tool_addition", CHANGES),
    ("tool_removal", CHANGES),
];
const FOREIGN_BLOCKS: &[&str] = &[
    "mcp_tool_use",
    "mcp_tool_result",
    "container_upload",
    "compaction",
    "fallback",
    "web_search_tool_result",
    "web_fetch_tool_result",
    "code_execution_tool_result",
    "bash_code_execution_tool_result",
    "text_editor_code_execution_tool_result",
    "advisor_tool_result",
];

impl Model {
    fn is(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.id.contains(name))
    }

    /// Structured output, by model and not by age.
    fn formats(&self) -> bool {
        matches!(self.line, 45 | 46 | 48) || self.is(&["sonnet-5", "haiku-5-5"])
    }

    fn streams_input(&self) -> bool {
        self.line >= 47 || self.is(&["sonnet-4-6"])
    }

    fn has_long_context(&self) -> bool {
        self.line >= 46 || self.is(&["sonnet-4"])
    }

    /// Thinking cannot be turned off.
    fn always_thinks(&self) -> bool {
        self.line == 55 || self.is(&["fable"])
    }
}

/// Finds a model by its bare id, and by the id of an inference profile. Whatever profile an account
/// has made itself is one of the newest Opus.
pub fn find(id: &str) -> Option<(&'static Model, bool)> {
    let bare = |id: &str| MODELS.iter().find(|model| model.id == id);
    if id.contains(":application-inference-profile/") {
        return bare("anthropic.claude-opus-5-5").map(|model| (model, true));
    }
    let profile = id.split_once('.').filter(|(prefix, _)| PREFIXES.contains(prefix));
    match profile {
        Some((_, rest)) => bare(rest).map(|model| (model, true)),
        None => bare(id).map(|model| (model, false)),
    }
}

/// Returns the sentence of the 400, if the body is not one that this model takes.
pub fn refusal(model: &Model, body: &Value) -> Option<String> {
    let Some(fields) = body.as_object() else {
        return Some("Malformed input request: #: expected type: JSONObject".to_owned());
    };
    let unknown = fields.keys().find(|field| !takes(model, field));
    unknown
        .map(|field| extra(field))
        .or_else(|| missing(model, body))
        .or_else(|| betas(model, body))
        .or_else(|| thinking(model, body))
        .or_else(|| output(model, body))
        .or_else(|| system(body))
        .or_else(|| turns(model, body))
        .or_else(|| tools(model, body))
        .or_else(|| markers(model, body, ""))
}

fn takes(model: &Model, field: &str) -> bool {
    FIELDS.iter().any(|(name, from, to)| *name == field && (*from..=*to).contains(&model.line))
}

fn extra(path: &str) -> String {
    format!("{path}: Extra inputs are not permitted")
}

fn has(body: &Value, beta: &str) -> bool {
    items(&body["anthropic_beta"]).any(|sent| sent == beta)
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
    let known = |beta: &str| {
        BETAS.iter().any(|(name, from)| *name == beta && *from <= model.line)
            && !(beta.starts_with("interleaved") && model.is(&["haiku-4-5"]))
    };
    let sent = body.get("anthropic_beta")?;
    if sent.as_array().is_none_or(Vec::is_empty) {
        return Some("anthropic_beta: Input should be a list of betas".to_owned());
    }
    if items(sent).any(|beta| !beta.as_str().is_some_and(known)) {
        return Some("invalid beta flag".to_owned());
    }
    (has(body, "context-1m-2025-08-07") && !model.has_long_context())
        .then(|| "The long context beta is not available for this model.".to_owned())
}

fn thinking(model: &Model, body: &Value) -> Option<String> {
    let thinking = &body["thinking"];
    let kind = thinking["type"].as_str()?;
    let keys = thinking.as_object().map_or(0, serde_json::Map::len);
    let unsupported = match kind {
        "enabled" => model.line >= 47,
        "adaptive" => model.line <= 45,
        "disabled" => model.always_thinks(),
        _ => true,
    };
    if unsupported {
        return Some(format!("thinking.type: {kind} is not supported on this model"));
    }
    let display = match thinking["display"].as_str() {
        None => false,
        Some("updates") => !has(body, UPDATES),
        Some("highlights") => true,
        Some(_) => model.line <= 46,
    };
    if display || (kind == "disabled" && keys > 1) {
        return Some(extra(&format!("thinking.{kind}.display")));
    }
    (!thinking["block_binding"].is_null() && !has(body, BINDING))
        .then(|| extra(&format!("thinking.{kind}.block_binding")))
}

fn output(model: &Model, body: &Value) -> Option<String> {
    let config = body["output_config"].as_object()?;
    let effort = config.get("effort").and_then(Value::as_str);
    if effort.is_some() && model.line <= 45 && !model.is(&["opus-4-5"]) {
        return Some(extra("output_config.effort"));
    }
    if effort == Some("xhigh") && model.line <= 46 {
        return Some(
            "output_config.effort: Input should be 'low', 'medium', 'high' or 'max'".into(),
        );
    }
    let known = |key: &&String| match key.as_str() {
        "effort" => true,
        "format" => model.formats(),
        _ => false,
    };
    config.keys().find(|key| !known(key)).map(|key| extra(&format!("output_config.{key}")))
}

fn system(body: &Value) -> Option<String> {
    let reserved = "x-anthropic-billing-header";
    let is_reserved =
        |block: &Value| block["text"].as_str().is_some_and(|text| text.starts_with(reserved));
    items(&body["system"]).skip(1).any(is_reserved).then(|| {
        format!("{reserved} is a reserved keyword and may not be used in the system prompt.")
    })
}

fn turns(model: &Model, body: &Value) -> Option<String> {
    for (index, message) in items(&body["messages"]).enumerate() {
        let at = format!("messages.{index}");
        if message["role"] == "system" && (index == 0 || model.line < 48) {
            return Some("role 'system' is not supported on this model".to_owned());
        }
        for field in ["output_config", "clear_at"] {
            if !message[field].is_null() {
                return Some(extra(&format!("{at}.{field}")));
            }
        }
        let refused = items(&message["content"]).find_map(|block| refused_block(body, block, &at));
        if refused.is_some() {
            return refused;
        }
    }
    if let Some(found) = begins_without_thinking(body) {
        return Some(format!(
            "messages: Expected `thinking` or `redacted_thinking`, but found `{found}`. When \
             `thinking` is enabled, a final `assistant` message must start with a thinking block."
        ));
    }
    let last = items(&body["messages"]).last();
    (model.line >= 46 && last.is_some_and(|message| message["role"] == "assistant"))
        .then(|| "This model does not support assistant message prefill.".to_owned())
}

/// With a budget for thinking, the last turn that calls a tool has to begin with a thought.
fn begins_without_thinking(body: &Value) -> Option<&str> {
    if body["thinking"]["type"] != "enabled" {
        return None;
    }
    let mut turns = items(&body["messages"]).collect::<Vec<_>>().into_iter().rev();
    let blocks = &turns.find(|turn| turn["role"] == "assistant")?["content"];
    let calls = items(blocks).any(|block| block["type"] == "tool_use");
    let first = blocks[0]["type"].as_str()?;
    (calls && !first.ends_with("thinking")).then_some(first)
}

fn refused_block(body: &Value, block: &Value, at: &str) -> Option<String> {
    let kind = block["type"].as_str().unwrap_or_default();
    let searches = block["name"].as_str().is_some_and(|name| name.starts_with("tool_search_tool"));
    let gate = GATED_BLOCKS.iter().find(|(name, _)| *name == kind).map(|(_, beta)| *beta);
    let gate = gate.or((kind == "server_tool_use" && searches).then_some(SEARCH));
    let foreign = FOREIGN_BLOCKS.contains(&kind) || (kind == "server_tool_use" && !searches);
    if foreign || gate.is_some_and(|beta| !has(body, beta)) {
        return Some(format!("{at}.content: Input tag '{kind}' does not match the expected tags"));
    }
    if matches!(block["source"]["type"].as_str(), Some("url" | "file")) {
        return Some(format!("{at}.content: URL sources are not supported"));
    }
    items(&block["content"])
        .chain(items(&block["source"]["content"]))
        .find_map(|inner| refused_block(body, inner, at))
}

fn tools(model: &Model, body: &Value) -> Option<String> {
    for (index, tool) in items(&body["tools"]).enumerate() {
        let kind = tool["type"].as_str().unwrap_or("custom");
        let known = TOOLS.iter().find(|(known, _)| kind.starts_with(known));
        if known.is_none_or(|(_, beta)| beta.is_some_and(|beta| !has(body, beta))) {
            return Some(format!("tool type '{kind}' is not supported for this model"));
        }
        if tool["name"].as_str().is_some_and(|name| name.chars().count() > LONGEST_NAME) {
            return Some(format!(
                "tools.{index}.{kind}.name: String should have at most {LONGEST_NAME} characters"
            ));
        }
        let refused = [
            ("defer_loading", !has(body, SEARCH)),
            ("input_examples", !has(body, EXAMPLES)),
            ("eager_input_streaming", !(model.streams_input() && has(body, STREAMING))),
            ("strict", !model.formats()),
            ("allowed_callers", true),
            ("custom", true),
        ];
        for (field, refused) in refused {
            if refused && !tool[field].is_null() {
                return Some(extra(&format!("tools.{index}.custom.{field}")));
            }
        }
    }
    (!body["safeguards"].is_null() && !has(body, SAFEGUARDS)).then(|| extra("safeguards"))
}

/// Cache markers may stand anywhere but in what the model or the user wrote.
fn markers(model: &Model, value: &Value, path: &str) -> Option<String> {
    if let Some(list) = value.as_array() {
        let indexed = list.iter().enumerate();
        return indexed.into_iter().find_map(|(n, item)| markers(model, item, &join(path, n)));
    }
    let marker = &value["cache_control"];
    let ttl = !marker["ttl"].is_null() && model.line < 45;
    let refused = if marker["scope"].is_null() { ttl.then_some("ttl") } else { Some("scope") };
    if let Some(field) = refused {
        return Some(extra(&format!("{}.ephemeral.{field}", join(path, "cache_control"))));
    }
    let fields = value.as_object()?.iter();
    fields
        .filter(|(key, _)| !["input", "input_schema", "metadata"].contains(&key.as_str()))
        .find_map(|(key, inner)| markers(model, inner, &join(path, key)))
}

/// What may be marked, and how often.
pub fn marked(body: &Value) -> Option<String> {
    let mut found = 0;
    let mut left: Vec<&Value> = vec![&body["system"], &body["tools"], &body["messages"]];
    while let Some(value) = left.pop() {
        left.extend(items(value));
        let inner = [&value["content"], &value["source"]["content"]];
        left.extend(inner.into_iter().filter(|inner| inner.is_array()));
        if !value["cache_control"].is_object() {
            continue;
        }
        found += 1;
        match value["type"].as_str() {
            Some("thinking" | "redacted_thinking") => {
                return Some(extra("messages.0.content.0.thinking.cache_control"));
            }
            Some("text") if value["text"].as_str().is_none_or(|text| text.trim().is_empty()) => {
                return Some("cache_control cannot be set for empty text blocks".to_owned());
            }
            _ => {}
        }
    }
    let found = found + usize::from(body["cache_control"].is_object());
    (found > MOST_MARKERS).then(|| {
        format!(
            "A maximum of {MOST_MARKERS} blocks with cache_control may be provided. Found {found}."
        )
    })
}

fn join(path: &str, key: impl std::fmt::Display) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}.{key}") }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}
