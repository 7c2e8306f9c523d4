//! What was once asked for and holds until something else is asked. There is no file: it stands in
//! tags of what it was asked of, and is written down before it is done.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::settings::Settings;
use super::{Observed, Stack};
use crate::aws::values::{Boundary, Concurrency, Memory, Retention, Timeout};
use crate::engine::{Marks, Ownership, Resource as _};

/// An option as it is typed: a value, or the word `default`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<T> {
    Default,
    Given(T),
}

const DEFAULT: &str = "default";

impl<T: FromStr> FromStr for Choice<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        if text == DEFAULT { Ok(Self::Default) } else { text.parse().map(Self::Given) }
    }
}

impl<T: fmt::Display> fmt::Display for Choice<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str(DEFAULT),
            Self::Given(value) => value.fmt(f),
        }
    }
}

impl<T: Clone> Choice<T> {
    /// The value, unless it is the default.
    pub fn given(&self) -> Option<T> {
        match self {
            Self::Default => None,
            Self::Given(value) => Some(value.clone()),
        }
    }
}

/// What a stack is where nothing else was asked.
pub const MEMORY: Memory = Memory::new(256);
pub const TIMEOUT: Timeout = Timeout::new(900);
pub const RETENTION: Retention = Retention::days(30);

const MEMORY_TAG: &str = "claude-proxy:memory";
const TIMEOUT_TAG: &str = "claude-proxy:timeout";
const CONCURRENCY_TAG: &str = "claude-proxy:reserved-concurrency";
const RETENTION_TAG: &str = "claude-proxy:log-retention-days";
const BOUNDARY_TAG: &str = "claude-proxy:permissions-boundary";

/// What counts of each option: what is asked now, else what was asked, else what is deployed by a
/// stack that does not say what was asked, else the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub memory: Choice<Memory>,
    pub timeout: Choice<Timeout>,
    pub concurrency: Choice<Concurrency>,
    pub retention: Choice<Retention>,
    pub boundary: Choice<Boundary>,
}

impl Options {
    /// Those that count, where `usual` is what is reserved without being asked for.
    #[must_use]
    pub fn of(
        asked: &Settings,
        stack: &Stack,
        there: &Observed,
        usual: Option<Concurrency>,
    ) -> Self {
        let function = there.function.as_ref();
        let function = function.filter(|live| stack.function.ownership(live) == Ownership::Ours);
        let of_function = Past(function.map(|live| &live.tags));
        let logs = there.log_group.as_ref().filter(|live| !live.tags.is_empty());
        let logs = logs.filter(|live| stack.log_group.ownership(live) == Ownership::Ours);
        let of_logs = Past(logs.map(|live| &live.tags));
        let deployed = |number: Option<i32>| number.map(|number| number.to_string());
        let usual = usual.map(Concurrency::get);
        let reserved = function.and_then(|live| live.concurrency).filter(|n| Some(*n) != usual);
        Self {
            memory: of_function.choose(
                asked.memory,
                MEMORY_TAG,
                deployed(function.map(|live| live.memory).filter(|n| *n != MEMORY.get())),
            ),
            timeout: of_function.choose(
                asked.timeout,
                TIMEOUT_TAG,
                deployed(function.map(|live| live.timeout).filter(|n| *n != TIMEOUT.get())),
            ),
            concurrency: of_function.choose(asked.concurrency, CONCURRENCY_TAG, deployed(reserved)),
            retention: of_logs.choose(
                asked.retention,
                RETENTION_TAG,
                deployed(logs.and_then(|live| live.retention).filter(|n| *n != RETENTION.get())),
            ),
            boundary: boundary(asked, stack, there),
        }
    }

    /// What is written beside the tags of the function.
    #[must_use]
    pub fn of_function(&self) -> Marks {
        [
            (MEMORY_TAG, self.memory.to_string()),
            (TIMEOUT_TAG, self.timeout.to_string()),
            (CONCURRENCY_TAG, self.concurrency.to_string()),
        ]
        .into()
    }

    /// What is written beside the tags of the log group.
    #[must_use]
    pub fn of_log_group(&self) -> Marks {
        [(RETENTION_TAG, self.retention.to_string())].into()
    }

    /// What is written beside the tags of the role.
    #[must_use]
    pub fn of_role(&self) -> Marks {
        [(BOUNDARY_TAG, self.boundary.to_string())].into()
    }
}

/// A boundary is taken off by nobody but who says so: where the tag names none and there is one, it
/// stays.
fn boundary(asked: &Settings, stack: &Stack, there: &Observed) -> Choice<Boundary> {
    let role = there.role.as_ref();
    let role = role.filter(|live| stack.role.ownership(live) == Ownership::Ours);
    let past = Past(role.map(|live| &live.tags));
    let choice = past.choose(asked.boundary.clone(), BOUNDARY_TAG, None);
    if choice != Choice::Default || asked.boundary.is_some() {
        return choice;
    }
    let there = role.and_then(|live| live.boundary.clone());
    there.map_or(Choice::Default, |arn| Choice::Given(Boundary(arn)))
}

/// The tags of what is ours, if it is there.
struct Past<'a>(Option<&'a BTreeMap<String, String>>);

impl Past<'_> {
    /// What counts of one option; `deployed` is what runs, where that is not the default.
    fn choose<T: FromStr>(
        &self,
        asked: Option<Choice<T>>,
        tag: &str,
        deployed: Option<String>,
    ) -> Choice<T> {
        let written = || self.0?.get(tag)?.parse().ok();
        let runs = || deployed?.parse().ok().map(Choice::Given);
        asked.or_else(written).or_else(runs).unwrap_or(Choice::Default)
    }
}
