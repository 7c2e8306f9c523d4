//! What does the model say? One message, as a whole or as the events of a stream.
//!
//! Stateless: everything follows from the request, so that an answer that reached the wrong
//! client is recognised by its text.

use serde_json::{Value, json};

/// The signature of every thought.
pub const THOUGHT: &str = "c2lnbmF0dXJlLW9mLWEtdGhvdWdodA==";

/// A tool call that the model makes where the request offers the tool.
#[derive(Clone, Debug)]
pub struct ToolPlay {
    pub name: String,
    /// A list has one for each of several calls at once.
    pub input: Value,
    /// No call any more once the conversation holds so many tool results.
    pub times: usize,
}

/// Who speaks: its name in the text, and the head of its ids.
#[derive(Clone, Copy, Debug)]
pub struct Voice {
    pub name: &'static str,
    pub ids: &'static str,
}

/// The model's answer to one request.
#[derive(Debug)]
pub struct Message {
    whole: Value,
    safeguards: Option<Value>,
}

impl Message {
    pub fn answer(request: &Value, voice: Voice, model: &str, plays: &[ToolPlay]) -> Self {
        let mut content = Vec::new();
        if matches!(request["thinking"]["type"].as_str(), Some("enabled" | "adaptive")) {
            content
                .push(json!({"type": "thinking", "thinking": "Let me see.", "signature": THOUGHT}));
        }
        let play = plays.iter().find(|play| play.applies(request));
        match play {
            Some(play) => content.extend(play.calls(voice, tool_results(request))),
            None => content.push(json!({
                "type": "text",
                "text": format!("{} heard: {}", voice.name, last_words(request)),
            })),
        }
        let safeguards = request["safeguards"].is_array().then(|| evaluated(&content));
        let whole = json!({
            "id": format!("msg_{}01AbCdEfGhIjKlMnOpQrStUv", voice.ids),
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": if play.is_some() { "tool_use" } else { "end_turn" },
            "stop_sequence": null,
            "usage": {
                "input_tokens": 12,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": 7,
            },
        });
        Self { whole, safeguards }
    }

    /// The same with so many tokens.
    pub fn of_tokens(mut self, tokens: Option<u64>) -> Self {
        if let Some(tokens) = tokens {
            self.whole["usage"]["output_tokens"] = json!(tokens);
        }
        self
    }

    /// What the model says.
    pub fn content(&self) -> &Value {
        &self.whole["content"]
    }

    pub fn usage(&self) -> &Value {
        &self.whole["usage"]
    }

    /// Says that it has used so much.
    pub fn used(mut self, usage: Value) -> Self {
        self.whole["usage"] = usage;
        self
    }

    /// The answer to `stream: false`.
    pub fn whole(mut self) -> Value {
        if let Some(results) = self.safeguards {
            self.whole["safeguard_results"] = results;
        }
        self.whole
    }

    /// The same as events, without pings.
    pub fn events(self) -> Vec<Value> {
        let mut start = self.whole.clone();
        start["content"] = json!([]);
        start["stop_reason"] = Value::Null;
        start["usage"]["output_tokens"] = json!(1);
        let mut events = vec![json!({"type": "message_start", "message": start})];
        let blocks = self.whole["content"].as_array().expect("content was just built as a list");
        for (index, block) in blocks.iter().enumerate() {
            let (empty, deltas) = split(block);
            events.push(json!({
                "type": "content_block_start", "index": index, "content_block": empty,
            }));
            for delta in deltas {
                events.push(json!({"type": "content_block_delta", "index": index, "delta": delta}));
            }
            events.push(json!({"type": "content_block_stop", "index": index}));
        }
        let mut delta = json!({
            "stop_reason": self.whole["stop_reason"], "stop_sequence": null,
        });
        if let Some(results) = self.safeguards {
            delta["safeguard_results"] = results;
        }
        events.push(json!({
            "type": "message_delta", "delta": delta, "usage": self.whole["usage"],
        }));
        events.push(json!({"type": "message_stop"}));
        events
    }
}

impl ToolPlay {
    fn applies(&self, request: &Value) -> bool {
        let offered = items(&request["tools"]).any(|tool| tool["name"] == self.name.as_str());
        offered && tool_results(request) < self.times
    }

    fn calls(&self, voice: Voice, before: usize) -> Vec<Value> {
        let inputs = self.input.as_array().map_or(std::slice::from_ref(&self.input), Vec::as_slice);
        let calls = inputs.iter().enumerate().map(|(index, input)| {
            let id = format!("toolu_{}01{:020}", voice.ids, before + index);
            json!({"type": "tool_use", "id": id, "name": self.name, "input": input})
        });
        calls.collect()
    }
}

fn tool_results(request: &Value) -> usize {
    items(&request["messages"])
        .flat_map(|message| items(&message["content"]))
        .filter(|block| block["type"] == "tool_result")
        .count()
}

/// The text of the last user turn.
fn last_words(request: &Value) -> &str {
    let turn = items(&request["messages"]).filter(|message| message["role"] == "user").last();
    let content = turn.map_or(&Value::Null, |turn| &turn["content"]);
    let last = items(content).filter_map(|block| block["text"].as_str()).last();
    content.as_str().or(last).unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// The check of tool calls that a request with `safeguards` asks for: every call is fine.
fn evaluated(content: &[Value]) -> Value {
    let calls: serde_json::Map<String, Value> = content
        .iter()
        .filter_map(|block| block["id"].as_str())
        .map(|id| (id.to_owned(), json!({"type": "evaluated", "outcome": "not_flagged"})))
        .collect();
    json!([{"type": "dangerous_tool_use", "status": {"type": "available", "tool_uses": calls}}])
}

/// A block as it begins, and the deltas that fill it.
fn split(block: &Value) -> (Value, Vec<Value>) {
    let text = |key: &str| block[key].as_str().unwrap_or_default().to_owned();
    match block["type"].as_str() {
        Some("thinking") => (
            json!({"type": "thinking", "thinking": "", "signature": ""}),
            vec![
                json!({"type": "thinking_delta", "thinking": text("thinking")}),
                json!({"type": "signature_delta", "signature": text("signature")}),
            ],
        ),
        Some("tool_use") => {
            let input = block["input"].to_string();
            let (first, second) = input.split_at(1);
            let mut empty = block.clone();
            empty["input"] = json!({});
            let delta = |part: &str| json!({"type": "input_json_delta", "partial_json": part});
            (empty, vec![delta(""), delta(first), delta(second)])
        }
        Some(_) | None => {
            let words = text("text");
            let deltas = words
                .split_inclusive(' ')
                .map(|word| json!({"type": "text_delta", "text": word}))
                .collect();
            (json!({"type": "text", "text": ""}), deltas)
        }
    }
}
