//! How does a person read the difference between two documents? Policies by statement, lists by
//! entry, everything else by leaf; what is the same on both sides is not repeated.

use serde_json::{Map, Value};

use crate::engine::document::statements;

/// Whether a line is new, gone, or names something that changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    New,
    Gone,
    Changed,
    Same,
}

pub(super) type DiffLine = (Sign, String);

/// The lines that say how `before` becomes `after`; `None` where both fit into one line.
pub(super) fn lines(before: &Value, after: &Value) -> Option<Vec<DiffLine>> {
    let either = |is: fn(&Value) -> bool| is(before) || is(after);
    if either(is_policy) {
        return Some(of_policies(before, after));
    }
    if either(Value::is_array) {
        let (had, has) = (entries(before), entries(after));
        return Some(of_sets(&had, &has));
    }
    if either(Value::is_object) {
        let leaves = |value: &Value| leaves(value, String::new());
        return Some(of_sets(&leaves(before), &leaves(after)));
    }
    None
}

fn is_policy(value: &Value) -> bool {
    value.get("Statement").is_some() || is_statement(value)
}

fn is_statement(value: &Value) -> bool {
    value.get("Effect").is_some()
}

fn of_sets(had: &[String], has: &[String]) -> Vec<DiffLine> {
    let gone = had.iter().filter(|line| !has.contains(line)).map(|line| (Sign::Gone, line.clone()));
    let new = has.iter().filter(|line| !had.contains(line)).map(|line| (Sign::New, line.clone()));
    gone.chain(new).collect()
}

fn entries(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(all) => all.iter().map(word).collect(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            vec![word(value)]
        }
    }
}

fn leaves(value: &Value, path: String) -> Vec<String> {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(map) => {
            map.iter().flat_map(|(key, value)| leaves(value, below(key))).collect()
        }
        Value::Array(all) => all
            .iter()
            .enumerate()
            .flat_map(|(index, value)| leaves(value, below(&index.to_string())))
            .collect(),
        Value::Null => Vec::new(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            vec![format!("{path}: {}", word(value))]
        }
    }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn of_policies(before: &Value, after: &Value) -> Vec<DiffLine> {
    let list = |value: &Value| -> Vec<Statement> {
        let all = if is_statement(value) { vec![value] } else { statements(value) };
        all.into_iter().map(Statement::of).collect()
    };
    let (had, has) = (list(before), list(after));
    let same = has.iter().filter(|statement| had.contains(statement)).count();
    let changed = |old: &Statement, new: &Statement| {
        old.id.is_some() && old.id == new.id && old.effect == new.effect
    };
    let mut lines = Vec::new();
    for old in had.iter().filter(|old| !has.contains(old)) {
        if !has.iter().any(|new| changed(old, new)) {
            lines.extend(old.whole(Sign::Gone));
        }
    }
    for new in has.iter().filter(|new| !had.contains(new)) {
        match had.iter().find(|old| changed(old, new)) {
            Some(old) => lines.extend(old.to(new)),
            None => lines.extend(new.whole(Sign::New)),
        }
    }
    match same {
        0 => {}
        1 => lines.push((Sign::Same, "(1 statement as before)".to_owned())),
        same => lines.push((Sign::Same, format!("({same} statements as before)"))),
    }
    lines
}

/// One statement in the words of a person: who may do what, to what, and if what holds.
#[derive(Debug, PartialEq, Eq)]
struct Statement {
    id: Option<String>,
    effect: String,
    actions: Vec<String>,
    /// Principals, resources and whatever else it says.
    rest: Vec<String>,
    /// Key with operator, and value. All keys have to hold; of several values of one, any.
    conditions: Vec<(String, String)>,
}

impl Statement {
    fn of(value: &Value) -> Self {
        let mut fields = value.as_object().cloned().unwrap_or_default();
        let mut take = |key: &str| fields.remove(key).unwrap_or_default();
        let (id, effect, actions) = (take("Sid"), take("Effect"), take("Action"));
        let (principal, resources, condition) =
            (take("Principal"), take("Resource"), take("Condition"));
        let mut rest = principals(&principal);
        rest.extend(entries(&resources).into_iter().map(|resource| format!("on {resource}")));
        let others = fields.iter().flat_map(|(key, value)| leaves(value, key.clone()));
        rest.extend(others);
        Self {
            id: id.as_str().map(str::to_owned),
            effect: word(&effect).to_lowercase(),
            actions: entries(&actions),
            rest,
            conditions: condition.as_object().map(conditions).unwrap_or_default(),
        }
    }

    fn name(&self) -> String {
        self.id.as_ref().map(|id| format!("{id}: ")).unwrap_or_default()
    }

    fn whole(&self, sign: Sign) -> Vec<DiffLine> {
        let Self { effect, actions, rest, conditions, .. } = self;
        let head = format!("{}{effect} {}", self.name(), actions.join(", "));
        let rest = rest.iter().map(|line| format!("  {line}"));
        let conditions = conditions.iter().enumerate().map(|(index, (key, value))| {
            let again = index > 0 && conditions[index - 1].0 == *key;
            if again { format!("  or {value}") } else { format!("  if {key} {value}") }
        });
        [head].into_iter().chain(rest).chain(conditions).map(|line| (sign, line)).collect()
    }

    fn to(&self, new: &Self) -> Vec<DiffLine> {
        let head = (Sign::Changed, format!("{}{}", self.name(), self.effect));
        let parts = |statement: &Self| -> Vec<String> {
            let actions = statement.actions.iter().map(|action| format!("  may {action}"));
            let rest = statement.rest.iter().map(|line| format!("  {line}"));
            let conditions = &statement.conditions;
            let conditions = conditions.iter().map(|(key, value)| format!("  if {key} {value}"));
            actions.chain(rest).chain(conditions).collect()
        };
        [head].into_iter().chain(of_sets(&parts(self), &parts(new))).collect()
    }
}

fn principals(value: &Value) -> Vec<String> {
    let Some(kinds) = value.as_object() else {
        return entries(value).iter().map(|who| who_is("", who)).collect();
    };
    let all = kinds.iter().flat_map(|(kind, all)| entries(all).into_iter().map(move |w| (kind, w)));
    all.map(|(kind, who)| who_is(kind, &who)).collect()
}

fn who_is(kind: &str, who: &str) -> String {
    match (kind, who) {
        ("" | "AWS", "*") => "by everyone".to_owned(),
        ("" | "AWS", who) => format!("by {who}"),
        (kind, who) => format!("by {kind} {who}"),
    }
}

fn conditions(all: &Map<String, Value>) -> Vec<(String, String)> {
    let mut conditions = Vec::new();
    for (operator, keys) in all {
        let operator = match operator.as_str() {
            "StringEquals" | "ArnEquals" | "Bool" => "is",
            "StringLike" | "ArnLike" => "is like",
            other => other,
        };
        for (key, values) in keys.as_object().into_iter().flatten() {
            let key = format!("{key} {operator}");
            conditions.extend(entries(values).into_iter().map(|value| (key.clone(), value)));
        }
    }
    conditions
}
