//! Whose is what was found?
//!
//! Tags are all the state there is. They derive from what a stack is called and where it is, so two
//! runs on two machines agree.

use std::collections::BTreeMap;
use std::fmt;

/// The tags that are put on everything at its creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    tool: Tag,
    name: Tag,
    stack: Tag,
}

/// What somebody once asked for, written beside the tags of what it was asked of.
pub type Marks = BTreeMap<&'static str, String>;

/// A key and its value.
type Tag = (&'static str, String);

/// Whose is what was found?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// It carries our tags, or belongs to something that does.
    Ours,
    /// It is never changed or deleted.
    Foreign(Foreign),
}

/// Why something is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// Our tags are missing: `--adopt` would take it over.
    Untagged,
    /// It belongs to a stack of another name.
    OtherName(String),
    /// It belongs to the stack of this name in another region or account, which has this id.
    OtherStack(String),
    /// It could never become ours, whatever its tags.
    Unfit(&'static str),
}

impl Foreign {
    /// Whether `--adopt` may take it over.
    #[must_use]
    pub const fn adoptable(&self) -> bool {
        matches!(self, Self::Untagged | Self::OtherName(_))
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untagged => f.write_str("it does not carry our tags"),
            Self::OtherName(name) => write!(f, "it belongs to the stack named \"{name}\""),
            Self::OtherStack(_) => {
                f.write_str("it belongs to the stack of this name in another region or account")
            }
            Self::Unfit(why) => f.write_str(why),
        }
    }
}

impl Tags {
    /// The three tags of a stack: which tool takes care of it, what it is called, and which of
    /// those of its name it is.
    #[must_use]
    pub fn new(
        tool: (&'static str, &str),
        name: (&'static str, &str),
        stack: (&'static str, &str),
    ) -> Self {
        let [tool, name, stack] = [tool, name, stack].map(|(key, value)| (key, value.to_owned()));
        Self { tool, name, stack }
    }

    /// Keys and values, as they should be.
    #[must_use]
    pub fn pairs(&self) -> [(&'static str, &str); 3] {
        [&self.tool, &self.name, &self.stack].map(|(key, value)| (*key, value.as_str()))
    }

    /// These tags, and `marks` beside them: what somebody once asked for, to be read back.
    #[must_use]
    pub fn with(&self, marks: &Marks) -> BTreeMap<String, String> {
        let tags = self.pairs().into_iter();
        let tags = tags.chain(marks.iter().map(|(key, value)| (*key, value.as_str())));
        tags.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    /// Judges by `live`, the tags that something carries. Ours is what carries that of our tool and
    /// our name, and no other stack's.
    #[must_use]
    pub fn judge(&self, live: &BTreeMap<String, String>) -> Ownership {
        let get = |tag: &Tag| live.get(tag.0);
        if get(&self.tool) != Some(&self.tool.1) {
            return Ownership::Foreign(Foreign::Untagged);
        }
        match (get(&self.name), get(&self.stack)) {
            (None, _) => Ownership::Foreign(Foreign::Untagged),
            (Some(name), _) if *name != self.name.1 => {
                Ownership::Foreign(Foreign::OtherName(name.clone()))
            }
            (Some(_), Some(stack)) if *stack != self.stack.1 => {
                Ownership::Foreign(Foreign::OtherStack(stack.clone()))
            }
            (Some(_), _) => Ownership::Ours,
        }
    }
}
