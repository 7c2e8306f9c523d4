//! What is said, to the client and in the log, where Anthropic does not answer.

use crate::reply::{ErrorKind, Failure};
use crate::upstream::Fault;

pub(super) fn warn_of(fault: &Fault) {
    let cause = std::error::Error::source(fault).map(innermost);
    tracing::warn!(cause, "anthropic did not answer: {fault}");
}

/// The last cause of an error, which is the one that tells.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// What the client reads if nobody else answers either.
pub(super) fn failure_of(fault: &Fault) -> Failure {
    let kind = match fault {
        Fault::TimedOut { .. } => ErrorKind::Timeout,
        Fault::NoAnswer { .. } | Fault::HeadTooLarge { .. } => ErrorKind::BadGateway,
        Fault::NoConnection { .. } | Fault::Broken { .. } => ErrorKind::Unavailable,
    };
    Failure::new(kind, format!("Anthropic did not answer: {fault}. Try again soon."))
}
