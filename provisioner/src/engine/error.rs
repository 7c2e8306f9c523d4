//! What went wrong, and what that means for what is done next.

use std::fmt;

use super::Address;
use super::words::{SHOWN, cut};

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
    /// AWS's own sentence, or that of whoever failed before AWS was reached: whole, on one line,
    /// and fit to be shown.
    pub message: String,
    /// Where it was asked, and as whom; empty where nobody was asked.
    pub spot: Box<Spot>,
    /// What to do, where that is known from what failed. Empty where the message says it.
    pub cure: Option<Box<str>>,
}

/// The place of a call, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spot {
    /// With a port, where one was named.
    pub host: String,
    pub region: String,
    pub profile: String,
    /// AWS's own number for it.
    pub request_id: Option<String>,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, region, profile, request_id: _ } = self;
        let parts = [("", host), ("region ", region), ("profile ", profile)];
        let parts = parts.iter().filter(|(_, value)| !value.is_empty());
        let parts: Vec<String> = parts.map(|(what, value)| format!("{what}{value}")).collect();
        f.write_str(&parts.join(", "))
    }
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
    /// No connection, or it broke, or something that is not AWS answers.
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
    /// Something holds it that somebody has to take away first, such as a protection.
    Held,
    Other,
}

/// `{}` has as much of AWS's sentence as a person reads, `{:.80}` so many characters of it, and
/// `{:#}` all of it.
impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind: _, service, action, address, code, message, spot, cure: _ } = self;
        if let Some(address) = address {
            write!(f, "{address}: ")?;
        }
        if !service.is_empty() {
            write!(f, "{service} {action}: ")?;
        }
        // Our own sentences are as long as they have to be.
        let most = f.precision().or_else(|| (!service.is_empty()).then_some(SHOWN));
        match most.filter(|_| !f.alternate()) {
            None => f.write_str(message)?,
            Some(most) => f.write_str(&cut(message, most))?,
        }
        let id = spot.request_id.as_ref().map(|id| format!("request {id}"));
        let mut spot = (**spot).clone();
        // AWS itself has answered where there is a code: its host is no news.
        if code.is_some() {
            spot.host.clear();
        }
        let spot = Some(spot.to_string()).filter(|spot| !spot.is_empty());
        let known: Vec<String> = [spot, code.clone(), id].into_iter().flatten().collect();
        if known.is_empty() { Ok(()) } else { write!(f, " ({})", known.join(", ")) }
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
            spot: Box::default(),
            cure: None,
        }
    }

    /// Says what to do.
    #[must_use]
    pub fn cured_by(self, cure: impl Into<String>) -> Self {
        Self { cure: Some(cure.into().into_boxed_str()), ..self }
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
