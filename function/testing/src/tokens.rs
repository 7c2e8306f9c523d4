//! How many tokens would a prompt have, and how many of them are cached already? Four bytes make a
//! token; a prefix that was marked for the cache is found there by the next request that has it.

use std::sync::{Mutex, PoisonError};

use serde_json::{Map, Value, json};

/// The prefixes that are cached, each with the model that has read it.
#[derive(Debug, Default)]
pub struct PromptCache(Mutex<Vec<(String, Vec<String>)>>);

impl PromptCache {
    /// The `usage` of an answer with this `content`.
    pub fn usage(&self, model: &str, request: &Value, content: &Value) -> Value {
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut parts, mut markers) = (Vec::new(), Vec::new());
        for mut part in parts_of(request) {
            let marker = part.as_object_mut().and_then(|part| part.remove("cache_control"));
            parts.push(part.to_string());
            markers.extend(marker.map(|marker| (parts.len(), marker["ttl"] == "1h")));
        }
        let known = cached.iter().filter(|(of, prefix)| of == model && parts.starts_with(prefix));
        let read = known.map(|(_, prefix)| prefix.len()).max().unwrap_or(0);
        let (mut written, mut from) = ([0, 0], read);
        for (end, hour) in markers {
            written[usize::from(hour)] += tokens(&parts[from.min(end)..end]);
            from = from.max(end);
            cached.push((model.to_owned(), parts[..end].to_vec()));
        }
        json!({
            "input_tokens": tokens(&parts[from..]).max(1),
            "cache_creation_input_tokens": written[0] + written[1],
            "cache_read_input_tokens": tokens(&parts[..read]),
            "cache_creation": {
                "ephemeral_5m_input_tokens": written[0], "ephemeral_1h_input_tokens": written[1],
            },
            "output_tokens": content.to_string().len().div_ceil(4),
        })
    }
}

fn tokens(parts: &[String]) -> usize {
    parts.iter().map(String::len).sum::<usize>().div_ceil(4)
}

/// Tools, system and the blocks of all messages, in the order in which they are cached.
fn parts_of(request: &Value) -> Vec<Value> {
    let listed = |value: &Value| {
        let text = value.as_str().map(|text| vec![json!({"type": "text", "text": text})]);
        text.or_else(|| value.as_array().cloned()).unwrap_or_default()
    };
    let mut parts = [listed(&request["tools"]), listed(&request["system"])].concat();
    for message in request["messages"].as_array().into_iter().flatten() {
        for block in listed(&message["content"]) {
            let mut part = block.as_object().cloned().unwrap_or_else(Map::new);
            part.insert("role".to_owned(), message["role"].clone());
            parts.push(part.into());
        }
    }
    parts
}
