//! Why did a connection not come about, or break? Read off the types of what failed, whichever
//! library it was that failed.

use std::error::Error;
use std::io;

use super::words::quoted;

/// Why a connection did not come about, or broke.
#[must_use]
pub fn why(error: &(dyn Error + 'static)) -> String {
    if let Some(tls) = find::<rustls::Error>(error) {
        return of_tls(tls).to_owned();
    }
    #[expect(clippy::wildcard_enum_match_arm, reason = "the system's own words say the rest")]
    match last(error) {
        Some(broken) => match broken.kind() {
            io::ErrorKind::ConnectionRefused => "nobody listens there".to_owned(),
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => "the connection broke".to_owned(),
            io::ErrorKind::TimedOut => "no connection came about in time".to_owned(),
            _ => quoted(&broken.to_string()),
        },
        None => "the connection broke, or never came about".to_owned(),
    }
}

fn of_tls(error: &rustls::Error) -> &'static str {
    use rustls::CertificateError as Bad;
    #[expect(clippy::wildcard_enum_match_arm, reason = "most say nothing to whoever reads it")]
    match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer => {
                "the TLS certificate is by nobody that this machine trusts: something on the way \
                 may have put in its own"
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                "the TLS certificate is for another name"
            }
            Bad::Expired | Bad::ExpiredContext { .. } => "the TLS certificate has expired",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "the TLS certificate is not valid yet: is this machine's clock right?"
            }
            _ => "the TLS certificate cannot be trusted",
        },
        rustls::Error::InvalidMessage(_) => {
            "it does not speak TLS there (http:// instead of https://?)"
        }
        _ => "TLS did not come about",
    }
}

/// The innermost of the system's errors: those around it only say that it happened.
fn last<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    let mut found = find::<io::Error>(error)?;
    while let Some(inner) = found.get_ref().and_then(|inner| find::<io::Error>(inner)) {
        found = inner;
    }
    Some(found)
}

/// Looks for the first error of this type behind `error`, also where the system's errors carry
/// others.
pub fn find<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let inner = inner.and_then(|inner| find::<T>(inner));
        if inner.is_some() {
            return inner;
        }
        next = error.source();
    }
    None
}
