//! How a command ended: the exit code, and what a person or a machine reads of a failure.

use std::process::ExitCode;
use std::slice;

use serde_json::{Value, json};

use crate::aws::{CloudError, Kind, is_question};
use crate::build::BuildError;
use crate::engine::Address;
use crate::engine::words::SHOWN;
use crate::view::printer::Printer;

/// How a command ended, for whoever started it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Pending = 2,
    Refused = 3,
    /// Nothing was changed.
    Preflight = 4,
    /// Something was changed; running it again finishes the job.
    Partly = 5,
    Usage = 64,
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    /// What it came of.
    pub cause: Option<Cause>,
    pub resource: Option<Address>,
    pub hint: Option<String>,
}

/// What a failure came of.
#[derive(Debug)]
pub enum Cause {
    Message(String),
    /// A call, of whose sentence as much is told as fits.
    Call(Box<CloudError>),
}

impl Failure {
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), cause: None, resource: None, hint: None }
    }

    /// Says what it came of.
    pub(super) fn because(self, why: impl Into<String>) -> Self {
        Self { cause: Some(Cause::Message(why.into())), ..self }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// What was attempted at a resource, and why it failed.
    pub(super) fn at(exit: Exit, attempt: &str, error: &CloudError) -> Self {
        let hint = error.hint();
        let Some(address) = error.address.as_deref().cloned() else {
            // Its own sentence has the command to log in.
            if error.kind == Kind::Credentials && hint.is_none() {
                return Self::new(exit, error.message.as_str());
            }
            // What was found out here has a sentence of its own.
            if error.service.is_empty() {
                return Self { hint, ..Self::new(exit, error.to_string()) };
            }
            let attempts = [
                (Kind::Unreachable, "AWS cannot be reached"),
                (Kind::Credentials, "AWS does not know who is asking"),
                (Kind::Denied, "AWS does not allow it"),
                (Kind::Throttled, "AWS is not well"),
            ];
            let attempt = attempts.iter().find(|(kind, _)| *kind == error.kind);
            let attempt = attempt.map_or("AWS does not do it", |(_, attempt)| attempt);
            return Self { hint, ..Self::new(exit, attempt).of(error.clone()) };
        };
        let cause = CloudError { address: None, ..error.clone() };
        let failure = Self::new(exit, format!("{address} {attempt}")).of(cause);
        Self { resource: Some(address), hint, ..failure }
    }

    fn of(self, error: CloudError) -> Self {
        Self { cause: Some(Cause::Call(Box::new(error))), ..self }
    }

    /// What it came of: with so many characters of AWS's sentence, or whole.
    pub(super) fn causes(&self, most: Option<usize>) -> Vec<String> {
        let cause = self.cause.as_ref().map(|cause| match (cause, most) {
            (Cause::Message(why), _) => why.clone(),
            (Cause::Call(error), None) => format!("{error:#}"),
            (Cause::Call(error), Some(most)) => format!("{error:.most$}"),
        });
        cause.into_iter().collect()
    }

    /// Says it on as many lines as a person reads, unless more is wanted.
    pub(super) fn tell(&self, printer: Printer) {
        let (message, hint) = (self.message.as_str(), self.hint.as_deref());
        let shorter =
            [SHOWN, SHOWN * 3 / 4, SHOWN / 2, SHOWN / 4].map(|most| self.causes(Some(most)));
        let fit = shorter.iter().find(|causes| Printer::fits(message, causes, hint));
        let causes = match printer.is_verbose() {
            true => &self.causes(None),
            false => fit.unwrap_or(&shorter[shorter.len() - 1]),
        };
        printer.error(message, causes, hint);
    }

    /// Something was changed: the same command finishes the job, once its own hint is followed.
    pub(super) fn unfinished(self) -> Self {
        let again = "run it again: it finishes the job";
        let hint = match &self.hint {
            None => again.to_owned(),
            Some(hint) if hint.contains("run it again") => hint.clone(),
            Some(hint) => format!("{hint}; then {again}"),
        };
        Self { exit: Exit::Partly, ..self.hint(hint) }
    }

    /// All of it in one sentence.
    pub(super) fn sentence(&self) -> String {
        [slice::from_ref(&self.message), &self.causes(None)].concat().join(": ")
    }

    pub(super) fn json(&self) -> Value {
        let resource = self.resource.as_ref().map(ToString::to_string);
        json!({"message": self.sentence(), "resource": resource, "hint": self.hint})
    }
}

/// What was not done, by the verb of the call.
fn attempt(action: &str) -> &'static str {
    let is = |verbs: &[&str]| verbs.iter().any(|verb| action.starts_with(verb));
    match () {
        () if action.is_empty() || is_question(action) => "could not be read",
        () if is(&["Create"]) => "was not created",
        () if is(&["Delete", "BatchDelete", "Remove"]) => "was not deleted",
        () => "was not changed",
    }
}

/// Before anything was changed.
impl From<CloudError> for Failure {
    fn from(error: CloudError) -> Self {
        let exit = match error.kind {
            Kind::Denied | Kind::Unreachable | Kind::Credentials | Kind::NoRegion => {
                Exit::Preflight
            }
            Kind::Foreign | Kind::Held => Exit::Refused,
            Kind::Interrupted => Exit::Interrupted,
            Kind::NotFound
            | Kind::Exists
            | Kind::Busy
            | Kind::Stale
            | Kind::NotYet
            | Kind::Throttled
            | Kind::TimedOut
            | Kind::Other => Exit::Failed,
        };
        Self::at(exit, attempt(error.action), &error)
    }
}

/// Nothing is changed before there is a binary.
impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::new(Exit::Preflight, error.to_string()).hint(error.hint())
    }
}
