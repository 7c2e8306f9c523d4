//! How does a person read a plan? One line for each resource, one for each field.

use std::fmt::{self, Write as _};

use serde_json::Value;

use super::{Action, Change, Plan};

/// With colour or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    Plain,
    Colour,
}

impl Style {
    /// Wraps `text` in an SGR sequence (ECMA-48), if there is colour.
    #[must_use]
    pub fn paint(self, code: &str, text: impl fmt::Display) -> String {
        match self {
            Self::Plain => text.to_string(),
            Self::Colour => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}

/// The longest value that is shown whole, in characters.
const LONGEST_VALUE: usize = 60;

/// The whole plan, with a last line that counts.
#[must_use]
pub fn text(plan: &Plan, style: Style) -> String {
    if plan.is_empty() {
        return "No changes.\n".to_owned();
    }
    let changes: String = plan.pending().map(|change| block(change, style)).collect();
    format!("{changes}\n{}\n", count(plan))
}

fn block(change: &Change, style: Style) -> String {
    let (sign, colour) = match change.action {
        Action::Create => ("+", "32"),
        Action::Update => ("~", "33"),
        Action::Replace(_) => ("±", "35"),
        Action::Delete(_) => ("-", "31"),
        Action::Keep => (" ", "0"),
    };
    let action = format!("{sign} {:<7}", change.action.as_str());
    let mut block = format!("{} {}\n", style.paint(colour, action), change.address);
    let known = change.action != Action::Create;
    // Everything new carries the same tags.
    let shown = |path: &str| known || !path.starts_with("Tags.");
    for field in change.fields.iter().filter(|field| shown(&field.path)) {
        let after = show(&field.after);
        let line = if known { format!("{} → {after}", show(&field.before)) } else { after };
        writeln!(block, "      {}: {line}", field.path).expect("a string takes all");
    }
    if let Some(note) = &change.note {
        writeln!(block, "      {note}").expect("a string takes all");
    }
    for danger in &change.dangers {
        let line = style.paint("1;31", format!("! {danger}"));
        writeln!(block, "      {line}").expect("a string takes all");
    }
    block
}

/// One value on one line. A long document is named by its size: `--json` has it whole.
fn show(value: &Value) -> String {
    let text = match value {
        Value::Null => return "(none)".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let length = text.chars().count();
    if length <= LONGEST_VALUE || !matches!(value, Value::Object(_) | Value::Array(_)) {
        return text;
    }
    let statements = value.get("Statement").and_then(Value::as_array).map(Vec::len);
    match statements {
        Some(1) => "(a policy of 1 statement)".to_owned(),
        Some(count) => format!("(a policy of {count} statements)"),
        None => format!("(a document of {length} characters)"),
    }
}

fn count(plan: &Plan) -> String {
    let number = |word: &str| plan.pending().filter(|c| c.action.as_str() == word).count();
    let verbs = [
        ("create", "to create"),
        ("update", "to update"),
        ("replace", "to replace"),
        ("delete", "to delete"),
    ];
    let parts: Vec<_> = verbs
        .into_iter()
        .map(|(word, verb)| (number(word), verb))
        .filter(|(number, _)| *number > 0)
        .map(|(number, verb)| format!("{number} {verb}"))
        .collect();
    format!("Plan: {}.", parts.join(", "))
}
