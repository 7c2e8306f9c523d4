//! Where may a mend cut, and how is a field cut out?
//!
//! An allow list of places: a message, a content block, a source, a cache marker, a tool, and
//! `thinking`. Out of these goes only what is no part of the thing itself; what the user or the
//! model has said lies in none of them. A node is known by its path without the numbers, since
//! what is refused in one tool is refused in the next.

use super::Untranslatable;
use super::json::{Edit, Object, edit_all};
use super::reader::Reader;

/// The longest path that is looked at, in segments; a field of a marker in a text in a document in
/// a result has 15.
const LONGEST_PATH: usize = 20;

/// One field in every node of one kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cut {
    /// The path without numbers.
    name: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Key(String),
    /// Every element of a list, or those of one type.
    Each(Option<String>),
}

impl Cut {
    /// The cut that a path asks for, with or without numbers; `None` where a mend may not cut.
    pub(super) fn at(path: &[&str]) -> Option<Self> {
        if path.len() > LONGEST_PATH || !path.iter().all(|part| is_plain(part)) {
            return None;
        }
        let path: Vec<_> = path.iter().copied().filter(|part| !is_number(part)).collect();
        let (root, mut rest) = path.split_first()?;
        let mut node = Node::at_root(root)?;
        let mut steps = vec![Step::Key((*root).to_owned())];
        loop {
            let kind = node.variant(rest);
            rest = &rest[usize::from(kind.is_some())..];
            if node.is_in_a_list() {
                steps.push(Step::Each(kind.map(str::to_owned)));
            }
            let (key, deeper) = rest.split_first()?;
            match node.within(key).filter(|_| !deeper.is_empty()) {
                Some(inner) => (node, rest) = (inner, deeper),
                None if node.owns(kind, key) => return None,
                None => {
                    steps.push(Step::Key((*key).to_owned()));
                    return Some(Self { name: path.join("."), steps });
                }
            }
            steps.push(Step::Key((*key).to_owned()));
        }
    }

    /// The cut of this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::at(&name.split('.').collect::<Vec<_>>()).filter(|cut| cut.name == name)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// What a field stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Message,
    Block,
    Source,
    Marker,
    Tool,
    Thinking,
}

impl Node {
    fn at_root(key: &str) -> Option<Self> {
        Some(match key {
            "messages" => Self::Message,
            "system" => Self::Block,
            "tools" => Self::Tool,
            "thinking" => Self::Thinking,
            _ => return None,
        })
    }

    const fn is_in_a_list(self) -> bool {
        matches!(self, Self::Message | Self::Block | Self::Tool)
    }

    /// The name of a variant, which stands between a node and its key and is a key of nothing.
    fn variant<'p>(self, rest: &[&'p str]) -> Option<&'p str> {
        let [first, next, ..] = rest else { return None };
        let is_one = match self {
            Self::Message => false,
            // `text` and `thinking` are keys too, but of a string that nothing stands in.
            Self::Block | Self::Tool => {
                ["text", "thinking"].contains(first)
                    || !(self.owns(None, first) || self.within(first).is_some())
            }
            Self::Source => match *first {
                "base64" | "text" | "url" | "file" => true,
                "content" => *next == "content",
                _ => false,
            },
            Self::Marker => *first == "ephemeral",
            Self::Thinking => ["adaptive", "disabled", "enabled"].contains(first),
        };
        is_one.then_some(first)
    }

    /// The node behind a key.
    fn within(self, key: &str) -> Option<Self> {
        match (self, key) {
            (Self::Message | Self::Block | Self::Source, "content") => Some(Self::Block),
            (Self::Block, "source") => Some(Self::Source),
            (Self::Block | Self::Tool, "cache_control") => Some(Self::Marker),
            _ => None,
        }
    }

    /// Whether a key is a part of the thing itself: what was said, or what it is nothing without.
    fn owns(self, kind: Option<&str>, key: &str) -> bool {
        let own: &[&str] = match self {
            Self::Message => &["content", "role"],
            // Of a text, citations tell where the model has it from; elsewhere the user asks for
            // them.
            Self::Block if kind == Some("text") => &["text", "type"],
            Self::Block => &[
                "citations",
                "content",
                "context",
                "data",
                "id",
                "input",
                "is_error",
                "name",
                "signature",
                "source",
                "text",
                "thinking",
                "title",
                "tool",
                "tool_name",
                "tool_use_id",
                "type",
            ],
            Self::Source => &["content", "data", "file_id", "media_type", "type", "url"],
            Self::Marker => &["type"],
            Self::Tool => &[
                "description",
                "display_height_px",
                "display_number",
                "display_width_px",
                "enable_zoom",
                "input_examples",
                "input_schema",
                "max_characters",
                "name",
                "type",
            ],
            Self::Thinking => &["budget_tokens", "type"],
        };
        own.contains(&key)
    }
}

/// Cuts out of a top-level field, in one pass for all cuts together.
pub(super) fn edit<'c>(
    cuts: impl IntoIterator<Item = &'c Cut>,
    (key, json): (&str, &str),
    reader: &Reader<'_>,
) -> Result<Edit, Untranslatable> {
    let inside = |cut: &'c Cut| cut.steps.split_first().filter(|(root, _)| root.is_key(key));
    let paths: Vec<_> = cuts.into_iter().filter_map(inside).map(|(_, rest)| rest).collect();
    cut(json, &paths, reader)
}

impl Step {
    fn is_key(&self, key: &str) -> bool {
        matches!(self, Self::Key(own) if own == key)
    }

    /// A tool without a type is one that the client has made up.
    fn is_each(&self, kind: Option<&str>) -> bool {
        match self {
            Self::Each(Some(own)) => own == kind.unwrap_or("custom"),
            Self::Each(None) => true,
            Self::Key(_) => false,
        }
    }
}

/// What `paths` name in this value. Each level of the value takes one step of every path.
fn cut(json: &str, paths: &[&[Step]], reader: &Reader<'_>) -> Result<Edit, Untranslatable> {
    let is_list = |path: &&&[Step]| matches!(path.first(), Some(Step::Each(_)));
    let lists: Vec<_> = paths.iter().filter(is_list).copied().collect();
    if !lists.is_empty()
        && let Some(items) = reader.array(json)?
    {
        return edit_all(&items, |item| cut_item(item, &lists, reader));
    }
    if lists.len() == paths.len() {
        return Ok(Edit::Keep);
    }
    let Some(object) = reader.object(json)? else { return Ok(Edit::Keep) };
    cut_fields(&object, paths, reader)
}

fn cut_item(json: &str, paths: &[&[Step]], reader: &Reader<'_>) -> Result<Edit, Untranslatable> {
    let Some(object) = reader.object(json)? else { return Ok(Edit::Keep) };
    let kind = object.text("type");
    let rest = behind(paths, |step| step.is_each(kind.as_deref()));
    cut_fields(&object, &rest, reader)
}

fn cut_fields(
    object: &Object<'_>,
    paths: &[&[Step]],
    reader: &Reader<'_>,
) -> Result<Edit, Untranslatable> {
    object.edit(|key, value| {
        let rest = behind(paths, |step| step.is_key(key));
        if rest.iter().any(|path| path.is_empty()) {
            return Ok(Edit::Drop);
        }
        if rest.is_empty() { Ok(Edit::Keep) } else { cut(value, &rest, reader) }
    })
}

/// What is left of the paths whose first step fits.
fn behind<'p>(paths: &[&'p [Step]], fits: impl Fn(&Step) -> bool) -> Vec<&'p [Step]> {
    let firsts = paths.iter().filter_map(|path| path.split_first());
    firsts.filter(|(step, _)| fits(step)).map(|(_, rest)| rest).collect()
}

fn is_number(part: &str) -> bool {
    part.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_plain(part: &str) -> bool {
    (1..=64).contains(&part.len())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}
