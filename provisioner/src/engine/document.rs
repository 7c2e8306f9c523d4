//! Do two policy documents say the same, and does one allow more than the other?
//!
//! AWS gives documents back in other words: one string or a list of one, lists in another order,
//! IAM's even percent-encoded. So documents are compared in one canonical form. The language is
//! described in *IAM JSON policy language elements reference*, AWS.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// Reads what a service stores; `null` where it is no JSON.
#[must_use]
pub fn parse(text: &str) -> Value {
    serde_json::from_str(text).map_or(Value::Null, canonical)
}

/// Reads what IAM gives back: percent-encoded (RFC 3986).
#[must_use]
pub fn parse_encoded(text: &str) -> Value {
    parse(&percent_decode_str(text).decode_utf8_lossy())
}

/// Brings every list into one order and takes lists of one apart.
#[must_use]
pub fn canonical(value: Value) -> Value {
    match value {
        Value::Array(values) => {
            let mut values: Vec<_> = values.into_iter().map(canonical).collect();
            values.sort_by_key(Value::to_string);
            values.dedup();
            match values.len() {
                1 => values.remove(0),
                _ => Value::Array(values),
            }
        }
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, canonical(value)))
            .collect::<Map<_, _>>()
            .into(),
        // IAM reads `true` and `"true"` as the same in a condition.
        Value::Bool(truth) => Value::String(truth.to_string()),
        Value::Null | Value::Number(_) | Value::String(_) => value,
    }
}

/// The statements of a canonical document.
#[must_use]
pub fn statements(document: &Value) -> Vec<&Value> {
    match document.get("Statement") {
        Some(Value::Array(all)) => all.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

/// Whether `after` allows something that `before` does not, or no longer denies something.
#[must_use]
pub fn widens(before: &Value, after: &Value) -> bool {
    let (had, has) = (grants(before), grants(after));
    let more = has.iter().any(|grant| grant.0 == "Allow" && !had.contains(grant));
    more || had.iter().any(|grant| grant.0 != "Allow" && !has.contains(grant))
}

/// Effect, action, resource and everything else of each statement, one line for each pair.
fn grants(document: &Value) -> BTreeSet<(String, String, String, String)> {
    let mut grants = BTreeSet::new();
    for statement in statements(document) {
        let mut rest = statement.as_object().cloned().unwrap_or_default();
        rest.remove("Sid");
        let effect = rest.remove("Effect").and_then(|v| v.as_str().map(str::to_owned));
        let (actions, resources) = (words(rest.remove("Action")), words(rest.remove("Resource")));
        let rest = Value::Object(rest).to_string();
        for action in &actions {
            for resource in &resources {
                let effect = effect.clone().unwrap_or_default();
                grants.insert((effect, action.clone(), resource.clone(), rest.clone()));
            }
        }
    }
    grants
}

fn words(value: Option<Value>) -> Vec<String> {
    match value {
        Some(Value::Array(all)) => all.iter().map(word).collect(),
        Some(one) => vec![word(&one)],
        None => vec![String::new()],
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
