//! What went wrong, and what that means for what is done next.

use std::fmt;

use super::Address;

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloudError {
    pub kind: Kind,
    pub service: &'static str,
    pub action: &'static str,
    /// The resource that the call was made for, once it is known.
    pub address: Option<Box<Address>>,
    /// AWS's own code.
    pub code: Option<String>,
    /// AWS's own sentence, or that of whoever failed before AWS was reached.
    pub message: String,
    pub request_id: Option<String>,
}

/// What a failure means for what is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It is not there.
    NotFound,
    /// Somebody made it in the meantime, perhaps a call of ours whose answer was lost.
    Exists,
    /// Something else is being done to it.
    Busy,
    /// Somebody changed it after it was read: what was decided has to be decided again.
    Stale,
    /// AWS does not see everywhere what was made a moment ago.
    NotYet,
    /// AWS has too much to do, or is not well.
    Throttled,
    /// No connection, or it broke.
    Unreachable,
    Denied,
    /// There are no credentials, or they are no longer good.
    Credentials,
    NoRegion,
    /// It did not come about in the time that it may take.
    TimedOut,
    /// The person who runs the command stopped it.
    Interrupted,
    /// What is there is not ours.
    Foreign,
    Other,
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind: _, service, action, address, code, message, request_id } = self;
        if let Some(address) = address {
            write!(f, "{address}: ")?;
        }
        if !service.is_empty() {
            write!(f, "{service} {action}: ")?;
        }
        f.write_str(message)?;
        match (code, request_id) {
            (Some(code), Some(id)) => write!(f, " ({code}, request {id})"),
            (Some(code), None) => write!(f, " ({code})"),
            (None, Some(id)) => write!(f, " (request {id})"),
            (None, None) => Ok(()),
        }
    }
}

impl std::error::Error for CloudError {}

impl CloudError {
    /// A failure of our own.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            service: "",
            action: "",
            address: None,
            code: None,
            message: message.into(),
            request_id: None,
        }
    }

    /// Says which resource it was.
    #[must_use]
    pub fn at(mut self, address: &Address) -> Self {
        self.address.get_or_insert_with(|| Box::new(address.clone()));
        self
    }
}

/// Takes "it is not there" for an answer.
pub trait OrAbsent<T> {
    /// `None` for what is not there.
    ///
    /// # Errors
    ///
    /// Every other failure.
    fn or_absent(self) -> Result<Option<T>, CloudError>;
}

impl<T> OrAbsent<T> for Result<T, CloudError> {
    fn or_absent(self) -> Result<Option<T>, CloudError> {
        match self {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
