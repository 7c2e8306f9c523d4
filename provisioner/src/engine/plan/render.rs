//! How does a person read a plan? Grouped by what happens, one line for each resource and each
//! field, documents by what differs in them, and at the end what to think about.
//!
//! Colour says nothing that is not also said by a sign or a word. Values may come from anybody who
//! can write into the account, so none can steer the terminal.

mod difference;

use std::fmt::{self, Write as _};

use serde_json::Value;

use self::difference::Sign;
use super::{Action, Change, Danger, Field, Plan};
use crate::engine::words::{DIGITS, clean};

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

    /// Names it as cargo does (`CARGO_TERM_COLOR`).
    #[must_use]
    pub const fn of_cargo(self) -> &'static str {
        match self {
            Self::Plain => "never",
            Self::Colour => "always",
        }
    }
}

/// The longest value that is shown whole, in characters.
const LONGEST_VALUE: usize = 100;

/// As wide as names of fields make their column, in characters.
const WIDEST_NAME: usize = 36;

/// A plan as it fits a screen, with a last line that counts: one line for each resource that is
/// new, with every field for those that change.
#[must_use]
pub fn text(plan: &Plan, style: Style) -> String {
    rendered(plan, style, false)
}

/// A plan with every field, also of what is new.
#[must_use]
pub fn whole(plan: &Plan, style: Style) -> String {
    rendered(plan, style, true)
}

fn rendered(plan: &Plan, style: Style, whole: bool) -> String {
    if plan.is_empty() {
        return "No changes.\n".to_owned();
    }
    let groups = ["create", "update", "replace", "delete"].map(|word| {
        let of_it: Vec<_> = plan.pending().filter(|c| c.action.as_str() == word).collect();
        let width = of_it.iter().map(|c| c.address.to_string().chars().count()).max();
        let width = width.unwrap_or_default();
        let blocks: String = of_it.iter().map(|c| block(c, width, style, whole)).collect();
        let title = format!("{}{}", word[..1].to_uppercase(), &word[1..]);
        if blocks.is_empty() { blocks } else { format!("{}\n{blocks}\n", style.paint("1", title)) }
    });
    format!("{}{}{}\n", groups.concat(), dangers(plan, style), style.paint("1", count(plan)))
}

fn block(change: &Change, width: usize, style: Style, whole: bool) -> String {
    let (sign, colour) = match change.action {
        Action::Create => ("+", "32"),
        Action::Update => ("~", "33"),
        Action::Replace(_) => ("±", "35"),
        Action::Delete(_) => ("-", "31"),
        Action::Keep => (" ", "0"),
    };
    let mut block = format!("  {} {}", style.paint(colour, sign), change.address);
    for danger in &change.dangers {
        block += &style.paint("1;31", format!("  ! {}", danger.label()));
    }
    if let Some(about) = change.about.as_ref().filter(|_| change.dangers.is_empty()) {
        let gap = width.saturating_sub(change.address.to_string().chars().count());
        write!(block, "{:gap$}  {}", "", clean(about)).expect("a string takes all");
    }
    block.push('\n');
    if let Some(note) = &change.note {
        writeln!(block, "      {}", clean(note)).expect("a string takes all");
    }
    if change.action == Action::Create && !whole {
        return block;
    }
    block + &details(change, style)
}

/// The fields of a change, each with what is there and what is wanted.
#[must_use]
pub fn details(change: &Change, style: Style) -> String {
    let is_new = change.action == Action::Create;
    // Everything new carries the same tags.
    let shown = |field: &&Field| !is_new || !field.path.starts_with("Tags.");
    let fields: Vec<_> = change.fields.iter().filter(shown).collect();
    let width = fields.iter().map(|field| field.path.chars().count()).max().unwrap_or_default();
    let width = width.min(WIDEST_NAME);
    fields.into_iter().map(|field| lines(field, is_new, width, style)).collect()
}

/// What changes in one field: on its own line, or below it.
fn lines(field: &Field, is_new: bool, width: usize, style: Style) -> String {
    let Field { path, before, after } = field;
    let path = clean(path);
    let (before, after) = (unpacked(before), unpacked(after));
    let Some(lines) = difference::lines(&before, &after) else {
        let after = show(&after);
        let line = if is_new { after } else { format!("{} → {after}", show(&before)) };
        return format!("      {path:<width$}  {line}\n");
    };
    let mut text = format!("      {path}\n");
    for (sign, line) in lines {
        let (sign, colour) = match sign {
            Sign::New => ("+", "32"),
            Sign::Gone => ("-", "31"),
            Sign::Changed => ("~", "33"),
            Sign::Same => (" ", "2"),
        };
        let line = style.paint(colour, format!("{sign} {}", clean(&line)));
        writeln!(text, "        {line}").expect("a string takes all");
    }
    text
}

/// A text that is an object written as JSON, such as `BEDROCK_MODEL_MAP`, is shown as that object.
fn unpacked(value: &Value) -> Value {
    let object = value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    object.filter(Value::is_object).unwrap_or_else(|| value.clone())
}

/// One value on one line. What is too long for that is cut: `--json` has it whole.
fn show(value: &Value) -> String {
    let text = match value {
        Value::Null => return "(none)".to_owned(),
        Value::String(text) if text.is_empty() => return "(empty)".to_owned(),
        Value::String(text) => shorten(text),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let length = text.chars().count();
    if length <= LONGEST_VALUE {
        return clean(&text);
    }
    let start: String = text.chars().take(LONGEST_VALUE / 2).collect();
    format!("{}… ({length} characters)", clean(&start))
}

/// Cuts a digest at the end of a text to the digits that people compare.
fn shorten(text: &str) -> String {
    let digest = text.rsplit_once("sha256:").filter(|(_, digits)| {
        digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit())
    });
    digest.map_or_else(
        || text.to_owned(),
        |(before, digits)| format!("{before}sha256:{}", &digits[..DIGITS]),
    )
}

/// What to think about, once for each danger.
fn dangers(plan: &Plan, style: Style) -> String {
    let all = [
        Danger::WidensRights,
        Danger::Exposes,
        Danger::ChangesUrl,
        Danger::LosesData,
        Danger::TakesOver,
    ];
    let of = |danger: Danger| {
        let changes = plan.pending().filter(|change| change.dangers.contains(&danger));
        let named = |change: &Change| match &change.about {
            Some(about) => format!("{}: {}", change.address, clean(about)),
            None => change.address.to_string(),
        };
        let addresses: Vec<_> = changes.map(named).collect();
        let line = style.paint("1;31", format!("! {danger}:"));
        if addresses.is_empty() {
            return String::new();
        }
        format!("{line}\n    {}\n", addresses.join("\n    "))
    };
    let text = all.map(of).concat();
    if text.is_empty() { text } else { format!("{text}\n") }
}

fn count(plan: &Plan) -> String {
    let number = |word: &str| plan.changes.iter().filter(|c| c.action.as_str() == word).count();
    let verbs = [
        ("create", "to create"),
        ("update", "to update"),
        ("replace", "to replace"),
        ("delete", "to delete"),
        ("keep", "unchanged"),
    ];
    let parts: Vec<_> = verbs
        .into_iter()
        .map(|(word, verb)| (number(word), verb))
        .filter(|(number, _)| *number > 0)
        .map(|(number, verb)| format!("{number} {verb}"))
        .collect();
    format!("Plan: {}.", parts.join(", "))
}
