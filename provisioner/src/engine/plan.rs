//! What would be done, as data: which resource, what kind of change, which fields, and why.
//!
//! A plan is made by comparing values and shown before anything happens; nothing here reads or
//! writes an account.

mod render;
mod secret;

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::{Address, Foreign};

pub use render::{Style, details, text, whole};
pub use secret::{is_secret, shown};

/// What happens to one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Create,
    Update,
    /// Removed and made anew, because AWS cannot change it in place.
    Replace(Replaced),
    Delete(Deleted),
    Keep,
}

/// Why something is made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replaced {
    /// A statement of a function's policy can only be removed and added.
    StatementIsFixed,
}

/// Why something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// More images are there than are kept.
    OlderThanKept,
    /// It was wanted once.
    NotWanted,
}

impl Action {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Replace(_) => "replace",
            Self::Delete(_) => "delete",
            Self::Keep => "keep",
        }
    }
}

impl Action {
    /// What is being done, and what was done.
    #[must_use]
    pub const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Create => ("creating", "created"),
            Self::Update => ("updating", "updated"),
            Self::Replace(_) => ("replacing", "replaced"),
            Self::Delete(_) => ("deleting", "deleted"),
            Self::Keep => ("keeping", "kept"),
        }
    }
}

/// What a person should think about before saying yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Danger {
    WidensRights,
    Exposes,
    ChangesUrl,
    LosesData,
    TakesOver,
}

impl Danger {
    /// In two words.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::WidensRights => "widens rights",
            Self::Exposes => "public",
            Self::ChangesUrl => "new URL",
            Self::LosesData => "loses data",
            Self::TakesOver => "somebody else's",
        }
    }
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WidensRights => "widens what the function may do in this account",
            Self::Exposes => "opens the function to the internet; its own access check decides",
            Self::ChangesUrl => "changes the URL that clients are configured with",
            Self::LosesData => "deletes data that cannot be brought back",
            Self::TakesOver => {
                "takes over what somebody else made: `down` will delete it and all in it"
            }
        })
    }
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    /// AWS's own name, with dots: `Environment.LOG_LEVEL`.
    pub path: String,
    /// `null` where there is nothing yet.
    pub before: Value,
    /// `null` where nothing will be.
    pub after: Value,
}

/// One resource's part in a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub address: Address,
    pub action: Action,
    pub fields: Vec<Field>,
    pub dangers: Vec<Danger>,
    /// Says more than the action does, where there is more to say.
    pub note: Option<String>,
    /// What it is for and what comes with it, for whoever sees it for the first time.
    pub about: Option<String>,
}

impl Change {
    /// Something that is not there yet.
    #[must_use]
    pub fn create(address: Address, fields: Fields) -> Self {
        Self::new(address, Action::Create, fields)
    }

    /// Something that is there: kept where no field differs.
    #[must_use]
    pub fn compare(address: Address, fields: Fields) -> Self {
        let action = if fields.0.is_empty() { Action::Keep } else { Action::Update };
        Self::new(address, action, fields)
    }

    /// A change of any kind.
    #[must_use]
    pub fn new(address: Address, action: Action, fields: Fields) -> Self {
        Self { address, action, fields: fields.0, dangers: Vec::new(), note: None, about: None }
    }

    /// Flags the change, if it is one.
    #[must_use]
    pub fn flag(mut self, danger: Danger, flagged: bool) -> Self {
        if flagged && self.action != Action::Keep {
            self.dangers.push(danger);
        }
        self
    }

    /// Adds a sentence for the reader.
    #[must_use]
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Says what it is for, if it is new.
    #[must_use]
    pub fn about(mut self, about: impl Into<String>) -> Self {
        if self.action == Action::Create {
            self.about = Some(about.into());
        }
        self
    }

    /// Whether a field differs whose path begins with `path`.
    #[must_use]
    pub fn touches(&self, path: &str) -> bool {
        self.fields.iter().any(|field| field.path.starts_with(path))
    }

    /// Why, in one sentence; empty where nothing happens.
    #[must_use]
    pub fn reason(&self) -> String {
        let why = match self.action {
            Action::Keep => "",
            Action::Create => "does not exist",
            Action::Update => "differs from what is wanted",
            Action::Replace(Replaced::StatementIsFixed) => {
                "differs, and a statement can only be removed and added again"
            }
            Action::Delete(Deleted::NotWanted) => "is no longer wanted",
            Action::Delete(Deleted::OlderThanKept) => "older than the images that are kept",
        };
        let dangers = self.dangers.iter().map(Danger::to_string);
        let parts = [why.to_owned()].into_iter().chain(self.note.clone()).chain(dangers);
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }
}

impl Serialize for Change {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        json!({
            "address": self.address,
            "action": self.action.as_str(),
            "fields": self.fields,
            "reason": self.reason(),
        })
        .serialize(serializer)
    }
}

/// Collects the fields that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<Field>);

impl Fields {
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Notes `path` if `before` is not `after`. What is known to be a secret is noted as hidden.
    #[must_use]
    pub fn field(
        mut self,
        path: impl Into<String>,
        before: impl Into<Value>,
        after: impl Into<Value>,
    ) -> Self {
        let (before, after) = (before.into(), after.into());
        if before != after {
            let path = path.into();
            let (before, after) = secret::hide(&path, before, after);
            self.0.push(Field { path, before, after });
        }
        self
    }

    /// Adds what `more` has noted.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }

    /// Notes every tag of `wanted` that differs.
    #[must_use]
    pub fn tags(
        self,
        live: &std::collections::BTreeMap<String, String>,
        wanted: &std::collections::BTreeMap<String, String>,
    ) -> Self {
        let wanted = wanted.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        self.at_least("Tags", live, wanted)
    }

    /// Notes every mark that differs, where nothing else does: what was asked is written down
    /// beside what is done, and is no news of its own.
    #[must_use]
    pub fn marks(
        self,
        live: &std::collections::BTreeMap<String, String>,
        marks: &super::Marks,
    ) -> Self {
        if !self.0.is_empty() {
            return self;
        }
        self.at_least("Tags", live, marks.iter().map(|(key, value)| (*key, value.as_str())))
    }

    /// Notes every key under `path` whose value differs, except those that only `before` has.
    #[must_use]
    pub fn at_least<'a>(
        self,
        path: &str,
        before: &std::collections::BTreeMap<String, String>,
        after: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        after.into_iter().fold(self, |fields, (key, value)| {
            fields.field(format!("{path}.{key}"), before.get(key).cloned(), value)
        })
    }
}

/// Everything that would be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub changes: Vec<Change>,
}

impl Plan {
    /// What is not kept as it is.
    pub fn pending(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(|change| change.action != Action::Keep)
    }

    /// Whether nothing would be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending().next().is_none()
    }

    /// Flags what would be taken over: what of `foreign` changes.
    #[must_use]
    pub fn taking_over(mut self, foreign: &[(Address, Foreign)]) -> Self {
        let others = |change: &&mut Change| foreign.iter().any(|(at, _)| *at == change.address);
        for change in self.changes.iter_mut().filter(others) {
            change.dangers.push(Danger::TakesOver);
        }
        self
    }

    /// The contract's JSON, to which a command may add.
    #[must_use]
    pub fn json(&self) -> Map<String, Value> {
        Map::from_iter([("changes".to_owned(), json!(self.changes))])
    }
}
