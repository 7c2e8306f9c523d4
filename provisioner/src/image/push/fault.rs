//! What does a failure of the registry mean: try again, give up, or tell the user what?
//!
//! Must never repeat a password or more of an answer than a sentence.

use http::StatusCode;
use oci_client::errors::{OciDistributionError, OciEnvelope, OciErrorCode};

use super::{Digest, Registry};
use crate::engine::network;
use crate::engine::words::{SHOWN, cut, quoted};

/// Why an image is not in the registry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    #[error("{endpoint:?} is no address of a registry: https:// and a host are wanted")]
    Endpoint { endpoint: String },
    #[error("the registry {host} wants plain HTTP, which is used only on this machine itself")]
    PlainHttp { host: String },
    #[error("no connection to a registry can be set up: {reason}")]
    Setup { reason: String },
    #[error("the registry {host} refuses the login: {said}")]
    Denied { host: String, said: String },
    #[error("the registry {host} has no repository {repository}")]
    NoRepository { host: String, repository: String },
    #[error("the registry {host} could not be used, in several attempts: {said}")]
    Unreachable { host: String, said: String },
    #[error("the registry {host} refuses the image: {said}")]
    Refused { host: String, said: String },
    #[error("the registry {host} names the image {found}, but {expected} was pushed")]
    WrongDigest { host: String, expected: String, found: String },
}

/// A failed request, before it is known to which registry.
#[derive(Debug)]
pub(super) struct PushFault {
    pub(super) kind: PushFaultKind,
    said: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum PushFaultKind {
    /// Worth another attempt.
    Passing,
    /// What was asked for is not there.
    Missing,
    NoRepository,
    Denied,
    Refused,
    WrongDigest {
        expected: String,
    },
}

impl PushFault {
    fn new(kind: PushFaultKind, said: &str) -> Self {
        let said = cut(&quoted(said), SHOWN);
        let said = if said.is_empty() { "it does not say why".to_owned() } else { said };
        Self { kind, said }
    }

    /// The registry has something else under the image's tag, or nothing.
    pub(super) fn wrong_digest(expected: &Digest, found: Option<String>) -> Self {
        let found = found.unwrap_or_else(|| "nothing".to_owned());
        Self::new(PushFaultKind::WrongDigest { expected: quoted(expected.as_str()) }, &found)
    }

    /// Says it with names, and without the password.
    pub(super) fn explain(self, host: &str, registry: &Registry) -> PushError {
        let host = host.to_owned();
        let said = match registry.password.as_str() {
            "" => self.said,
            password => self.said.replace(password, "***"),
        };
        match self.kind {
            PushFaultKind::Passing => PushError::Unreachable { host, said },
            PushFaultKind::NoRepository => {
                PushError::NoRepository { host, repository: registry.repository.clone() }
            }
            PushFaultKind::Denied => PushError::Denied { host, said },
            PushFaultKind::Missing | PushFaultKind::Refused => PushError::Refused { host, said },
            PushFaultKind::WrongDigest { expected } => {
                PushError::WrongDigest { host, expected, found: said }
            }
        }
    }
}

impl From<OciDistributionError> for PushFault {
    fn from(error: OciDistributionError) -> Self {
        use OciDistributionError as Oci;
        // What a library says of an answer that it cannot read has the answer in it, and with that
        // perhaps a token.
        let unreadable = |what: &str| Self::new(PushFaultKind::Refused, what);
        match error {
            Oci::RequestError(error) => match error.status() {
                Some(status) => of_status(status.as_u16(), ""),
                None if error.is_decode() => unreadable("its answer cannot be read"),
                None if error.is_redirect() => unreadable("it sends from one place to another"),
                None if error.is_builder() => unreadable("it names a place that is none"),
                None if error.is_timeout() => {
                    Self::new(PushFaultKind::Passing, "no answer came in time")
                }
                None => Self::new(PushFaultKind::Passing, &elsewhere(&error)),
            },
            Oci::IoError(error) => Self::new(PushFaultKind::Passing, &network::why(&error)),
            Oci::ServerError { code, message, url: _ } => of_status(code, &message),
            Oci::RegistryError { envelope, url: _ } => of_envelope(&envelope, None),
            Oci::UnauthorizedError { url: _ } => of_status(401, ""),
            Oci::AuthenticationFailure(said) => Self::new(PushFaultKind::Denied, &said),
            Oci::ImageManifestNotFoundError(said) => Self::new(PushFaultKind::Missing, &said),
            Oci::RegistryTokenDecodeError(_) => {
                unreadable("its answer to the login cannot be read")
            }
            Oci::RegistryNoDigestError => unreadable("it does not say which digest it has"),
            Oci::RegistryNoLocationError => unreadable("it does not say where to send the image"),
            Oci::HeaderValueError(_)
            | Oci::JsonError(_)
            | Oci::ManifestEncodingError(_)
            | Oci::ManifestParsingError(_)
            | Oci::UrlParseError(_)
            | Oci::UnsupportedMediaTypeError(_)
            | Oci::UnsupportedSchemaVersionError(_)
            | Oci::VersionedParsingError(_)
            | Oci::SpecViolationError(_) => unreadable("its answer cannot be read"),
            Oci::ConfigConversionError(_)
            | Oci::DigestError(_)
            | Oci::GenericError(_)
            | Oci::ImageIndexParsingNoPlatformResolverError
            | Oci::IncompatibleLayerMediaTypeError(_)
            | Oci::PushNoDataError
            | Oci::PushLayerNoDataError
            | Oci::PullNoLayersError => unreadable("what it answers does not fit what was asked"),
        }
    }
}

/// Why a place was not reached, and which: a registry may send somewhere else.
fn elsewhere(error: &reqwest::Error) -> String {
    let host = error.url().and_then(|url| url.host_str()).map(quoted);
    let why = network::why(error);
    host.map_or_else(|| why.clone(), |host| format!("{host}: {why}"))
}

/// Reads a refusal that has a status and perhaps the protocol's own words.
fn of_status(status: u16, body: &str) -> PushFault {
    if let Ok(envelope) = serde_json::from_str(body) {
        return of_envelope(&envelope, Some(status));
    }
    let named = StatusCode::from_u16(status).map_or_else(|_| status.to_string(), |s| s.to_string());
    PushFault::new(kind_of(status), &format!("it answers {named}"))
}

fn of_envelope(envelope: &OciEnvelope, status: Option<u16>) -> PushFault {
    let said = envelope.errors.iter().map(|error| match (&error.code, error.message.as_str()) {
        (OciErrorCode::Other(code), "") => code.clone(),
        (_, "") => "it says no more than a code".to_owned(),
        (_, message) => message.to_owned(),
    });
    let said = said.collect::<Vec<_>>().join(", ");
    let named = envelope.errors.iter().find_map(|error| kind_of_code(&error.code));
    PushFault::new(named.unwrap_or_else(|| status.map_or(PushFaultKind::Refused, kind_of)), &said)
}

fn kind_of(status: u16) -> PushFaultKind {
    match status {
        401 | 403 => PushFaultKind::Denied,
        404 => PushFaultKind::Missing,
        408 | 429 | 500..=599 => PushFaultKind::Passing,
        _ => PushFaultKind::Refused,
    }
}

fn kind_of_code(code: &OciErrorCode) -> Option<PushFaultKind> {
    match code {
        OciErrorCode::NameUnknown => Some(PushFaultKind::NoRepository),
        OciErrorCode::Unauthorized | OciErrorCode::Denied => Some(PushFaultKind::Denied),
        OciErrorCode::ManifestUnknown | OciErrorCode::NotFound => Some(PushFaultKind::Missing),
        // The registry has forgotten the upload: the next attempt begins another.
        OciErrorCode::BlobUploadUnknown | OciErrorCode::Toomanyrequests => {
            Some(PushFaultKind::Passing)
        }
        OciErrorCode::BlobUnknown
        | OciErrorCode::BlobUploadInvalid
        | OciErrorCode::DigestInvalid
        | OciErrorCode::ManifestBlobUnknown
        | OciErrorCode::ManifestInvalid
        | OciErrorCode::ManifestUnverified
        | OciErrorCode::NameInvalid
        | OciErrorCode::SizeInvalid
        | OciErrorCode::TagInvalid
        | OciErrorCode::Unsupported
        | OciErrorCode::Other(_) => None,
    }
}
