//! Is everything as it has to be, before `up` and after? Each check has a state, a cause, a cure.
//!
//! What an answer means is decided here and in the files below, by plain functions; asking stands
//! beside it. A check that cannot be made is a warning, never a failure, and stops no other.

pub mod account;
pub mod bedrock;
pub mod deployed;
pub mod money;
pub mod rights;
pub(crate) mod tools;

use std::fmt::Write as _;

use serde::Serialize;

use crate::aws::{CloudError, Kind};
use crate::engine::plan::Style;
use crate::engine::words::clean;

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: String,
    pub state: CheckState,
    /// What was found.
    pub cause: String,
    /// What to do about it; `None` where nothing has to be done.
    pub cure: Option<String>,
    /// The action that it could not be made without.
    #[serde(skip)]
    pub denied: Option<&'static str>,
}

impl Check {
    pub(crate) fn ok(name: impl Into<String>, cause: impl Into<String>) -> Self {
        let (name, cause) = (name.into(), cause.into());
        Self { name, state: CheckState::Ok, cause, cure: None, denied: None }
    }

    pub(crate) fn warn(
        name: impl Into<String>,
        cause: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        let cure = Some(cure.into());
        Self { state: CheckState::Warn, cure, ..Self::ok(name, cause) }
    }

    pub(crate) fn fail(
        name: impl Into<String>,
        cause: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self { state: CheckState::Fail, ..Self::warn(name, cause, cure) }
    }

    /// What could not be asked.
    pub(crate) fn unknown(name: impl Into<String>, error: &CloudError) -> Self {
        let cure = error.hint().unwrap_or_else(|| "nothing, if all else is well".to_owned());
        Self::warn(name, format!("not checked: {error}"), cure).without(error)
    }

    /// Notes which right was missing, if one was.
    pub(crate) fn without(self, error: &CloudError) -> Self {
        let denied = (error.kind == Kind::Denied).then_some(error.action);
        Self { denied, ..self }
    }

    /// One line, and one for the cure.
    #[must_use]
    pub fn text(&self, style: Style) -> String {
        let (word, colour) = match self.state {
            CheckState::Ok => ("ok", "32"),
            CheckState::Warn => ("warn", "33"),
            CheckState::Fail => ("fail", "1;31"),
        };
        let word = style.paint(colour, format!("{word:<4}"));
        let (name, cause) = (clean(&self.name), clean(&self.cause.replace('\n', "; ")));
        let mut text = format!("{word}  {name:<22}  {cause}");
        if let Some(cure) = &self.cure {
            write!(text, "\n      {}", style.paint("1", format!("→ {}", clean(cure))))
                .expect("it takes all");
        }
        text
    }
}

/// The last line: how many are well.
#[must_use]
pub fn summary(checks: &[Check]) -> String {
    let count = |state| checks.iter().filter(|check| check.state == state).count();
    let (ok, warn, fail) =
        (count(CheckState::Ok), count(CheckState::Warn), count(CheckState::Fail));
    format!("{ok} ok, {warn} to look at, {fail} failed.")
}
