//! What did Bedrock refuse, and which one thing makes the request acceptable?
//!
//! A client that sees a 400 loses a feature for the rest of its session, so a refusal that names
//! something we can do without is mended below it. Pure: a [`Mends`] only says how the very same
//! request is to be translated once more. What was found out about a model becomes a [`Lesson`].

use std::collections::BTreeSet;

use super::json::{Edit, Object, array, edit_all, text};
use super::model::Model;
use super::table::{CAPABILITIES, Capability, Line, REFUSED};

/// A request is mended at most this often.
pub const MOST_MENDS: usize = 3;

/// The longest path to a field that is looked at, in segments.
const LONGEST_PATH: usize = 12;

/// Keys that carry what the user said, or that a request is nothing without.
const NEVER: &[&str] = &[
    "content",
    "data",
    "id",
    "input",
    "input_schema",
    "max_tokens",
    "media_type",
    "messages",
    "model",
    "name",
    "role",
    "signature",
    "source",
    "system",
    "text",
    "thinking",
    "tool_use_id",
    "tools",
    "type",
];

/// How a request is translated so that Bedrock takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mends {
    /// Betas and fields that the model does not take after all.
    refused: BTreeSet<&'static str>,
    /// Fields deeper inside, in this request only.
    paths: Vec<Vec<String>>,
    /// Thinking blocks of earlier turns are left out.
    pub(super) without_thinking_blocks: bool,
    /// The model is not asked to think.
    pub(super) without_thinking: bool,
    /// System messages among the messages are said in the user's place.
    pub(super) without_system_messages: bool,
    /// Claude Code's attribution line is left out of the system prompt.
    pub(super) without_attribution: bool,
}

/// What a model has been found not to take: names of betas and fields from our own table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lesson(BTreeSet<&'static str>);

impl Lesson {
    /// What the table says about a model from the start.
    #[must_use]
    pub fn known(model: &Model) -> Self {
        let rows = REFUSED.iter().filter(|(name, _)| *name == model.name());
        Self(rows.filter_map(|(_, refused)| in_table(refused)).collect())
    }

    /// A lesson that was learnt elsewhere; names that the table does not have are left out.
    #[must_use]
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self(names.into_iter().filter_map(in_table).collect())
    }

    /// What is not taken, in the order of the alphabet.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }

    /// The lesson as rows for the table.
    #[must_use]
    pub fn rows(&self, model: &Model) -> String {
        let row = |refused: &&str| format!("(\"{}\", \"{refused}\"),", model.name());
        self.0.iter().map(row).collect::<Vec<_>>().join(" ")
    }

    /// Takes over what another lesson knows; false if that is nothing new.
    pub fn join(&mut self, other: &Self) -> bool {
        let before = self.0.len();
        self.0.extend(&other.0);
        self.0.len() > before
    }

    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Mends {
    /// Begins with what has been learnt.
    #[must_use]
    pub fn from_lesson(lesson: &Lesson) -> Self {
        Self { refused: lesson.0.clone(), ..Self::default() }
    }

    /// What is worth remembering, once Bedrock has taken a request that was mended like this.
    #[must_use]
    pub fn lesson(&self) -> Lesson {
        Lesson(self.refused.clone())
    }

    /// Adds the one mend that a refusal asks for; false where it asks for none.
    ///
    /// `message` is Bedrock's sentence, `sent` the body that it refused.
    pub fn add(&mut self, message: &str, sent: &[u8]) -> bool {
        let before = self.clone();
        let lower = message.to_ascii_lowercase();
        if lower.contains("invalid beta flag") {
            self.suspect(sent);
        } else if let Some(path) = refused_path(message) {
            self.refuse_path(path);
        } else if lower.contains("long context beta") {
            self.refused.extend(in_table("context-1m-2025-08-07"));
        } else if lower.contains("x-anthropic-billing-header") {
            self.without_attribution = true;
        } else if lower.contains("expected `thinking`") {
            self.without_thinking = true;
        } else if is_about_thinking_blocks(&lower) {
            self.without_thinking_blocks = true;
        } else if lower.contains("role 'system'") || lower.contains("role \"system\"") {
            self.without_system_messages = true;
        }
        *self != before
    }

    /// Bedrock does not say which beta it is: the likeliest go first.
    fn suspect(&mut self, sent: &[u8]) {
        let sent = betas(sent);
        let suspects = |capability: &&Capability| {
            capability.betas.iter().any(|beta| sent.iter().any(|sent| sent == beta))
        };
        let Some(round) = CAPABILITIES.iter().filter(suspects).map(|c| c.round).min() else {
            return;
        };
        for capability in CAPABILITIES.iter().filter(|c| c.round == round).filter(suspects) {
            self.refused.extend(capability.betas);
        }
    }

    fn refuse_path(&mut self, path: Vec<String>) {
        // Names of variants (`adaptive`, `custom`) are no keys, so a field is known by its ends.
        let (Some(first), Some(last)) = (path.first(), path.last()) else { return };
        let dotted = if path.len() == 1 { first.clone() } else { format!("{first}.{last}") };
        if let Some(known) = in_table(&dotted) {
            self.refused.insert(known);
        } else if path.len() > 1 && !NEVER.contains(&last.as_str()) && !self.paths.contains(&path) {
            self.paths.push(path);
        }
    }

    /// What the line accepts, as far as it is known now.
    pub(super) fn applied_to(&self, mut line: Line) -> Line {
        let refused = |capability: &&Capability| {
            let names = capability.betas.iter().chain(capability.fields);
            names.into_iter().any(|name| self.refused.contains(name))
        };
        CAPABILITIES.iter().filter(refused).for_each(|capability| (capability.without)(&mut line));
        if self.without_system_messages {
            line.system_messages = false;
        }
        line
    }

    /// Whether a beta may be sent.
    pub(super) fn allows(&self, beta: &str) -> bool {
        !self.refused.contains(beta)
    }

    /// Takes out of a top-level field what was refused inside it.
    pub(super) fn edit(&self, key: &str, json: &str) -> Result<Edit, serde_json::Error> {
        let mut edit = Edit::Keep;
        for path in self.paths.iter().filter(|path| path.first().is_some_and(|own| own == key)) {
            let now = edit.clone().apply(json).unwrap_or_default();
            match remove(&now, &path[1..])? {
                Edit::Keep => {}
                changed @ (Edit::Drop | Edit::Put(_)) => edit = changed,
            }
        }
        Ok(edit)
    }
}

/// The table's own spelling of a beta or field that can be done without.
fn in_table(name: &str) -> Option<&'static str> {
    let names = CAPABILITIES.iter().flat_map(|capability| {
        let fields = capability.fields.iter();
        capability.betas.iter().chain(fields)
    });
    names.copied().find(|known| *known == name)
}

/// The betas in a body for Bedrock.
fn betas(sent: &[u8]) -> Vec<String> {
    let read = || {
        let body = Object::read(str::from_utf8(sent).ok()?).ok()??;
        let betas = array(body.get("anthropic_beta")?).ok()??;
        Some(betas.into_iter().filter_map(text).map(Into::into).collect())
    };
    read().unwrap_or_default()
}

/// The path of the field that a refusal names, in either of Bedrock's ways to say it.
fn refused_path(message: &str) -> Option<Vec<String>> {
    let path = if let Some((before, _)) = message.split_once(": Extra inputs are not permitted") {
        // `tools.0.custom.defer_loading: Extra inputs are not permitted`
        let name = before.rsplit(|c: char| c.is_whitespace() || c == '`' || c == '"').next()?;
        name.split('.').map(str::to_owned).collect()
    } else {
        // `#/tools/0: extraneous key [strict] is not permitted`
        let (before, after) = message.split_once(": extraneous key [")?;
        let (key, _) = after.split_once(']')?;
        let (_, pointer) = before.rsplit_once('#')?;
        let mut path: Vec<String> =
            pointer.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        path.push(key.to_owned());
        path
    };
    let plain = |part: &String| {
        (1..=64).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    };
    (path.len() <= LONGEST_PATH && path.iter().all(plain)).then_some(path)
}

fn is_about_thinking_blocks(lower: &str) -> bool {
    lower.contains("thinking")
        && ["signature", "bound to a different conversation", "cannot be modified"]
            .iter()
            .any(|words| lower.contains(words))
}

/// Removes the field at the end of `path`, from every element of the arrays on the way: what is
/// refused in one tool is refused in the next. A segment that is no key is the name of a variant.
fn remove(json: &str, path: &[String]) -> Result<Edit, serde_json::Error> {
    let Some((segment, rest)) = path.split_first() else { return Ok(Edit::Keep) };
    if let Some(items) = array(json)? {
        let rest = if segment.bytes().all(|byte| byte.is_ascii_digit()) { rest } else { path };
        return edit_all(&items, |item| remove(item, rest));
    }
    let Some(object) = Object::read(json)? else { return Ok(Edit::Keep) };
    if object.get(segment).is_none() {
        return remove(json, rest);
    }
    object.edit(|key, value| match (key == segment.as_str(), rest.is_empty()) {
        (true, true) => Ok(Edit::Drop),
        (true, false) => remove(value, rest),
        (false, _) => Ok(Edit::Keep),
    })
}
