//! What became of a call that failed: a refusal of AWS's, no way to AWS, no credentials, or an
//! answer that is none?
//!
//! Told apart by types, codes and status. A library's own words about its values are never
//! repeated: what is told of its errors is written here, beside the system's own sentences.

use std::error::Error;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_sts::operation::RequestId as _;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use http::StatusCode;
use http_body_util::LengthLimitError;

use super::kinds::{self, ServiceAction};
use super::{CloudError, Kind};
use crate::engine::Spot;
use crate::engine::network::{self, find};
use crate::engine::words::quoted;

/// What failed, and what it means.
struct Fault {
    kind: Kind,
    message: String,
    cure: Option<String>,
    /// Of whoever refused credentials, where nobody else was asked.
    code: Option<String>,
}

impl Fault {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), cure: None, code: None }
    }
}

/// Reads the failure of a call that was made at `spot`.
pub(super) fn read<E>(
    asked: ServiceAction,
    error: &SdkError<E, HttpResponse>,
    spot: Spot,
) -> CloudError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (service, action) = asked;
    let code = error.code().filter(|code| !code.is_empty()).map(quoted);
    let answer = error.raw_response();
    let status = answer.map(|answer| answer.status().as_u16());
    let Fault { kind, message, cure, code: refused } = match (&code, answer) {
        (Some(code), _) => {
            let said = error.message().map(quoted).filter(|said| !said.is_empty());
            let said = said.unwrap_or_else(|| "AWS says no more than its code".to_owned());
            Fault::new(kinds::of(asked, code, status, &said), said)
        }
        (None, Some(_)) if find::<LengthLimitError>(error).is_some() => {
            Fault::new(Kind::Unreachable, "its answer goes on for ever: it is none of AWS's")
        }
        (None, Some(answer)) => of_answer(answer),
        (None, None) => of_way(error),
    };
    let spot = Spot { request_id: error.request_id().map(quoted), ..spot };
    let (address, spot, code) = (None, Box::new(spot), code.or(refused));
    CloudError {
        kind,
        service,
        action,
        address,
        code,
        message,
        spot,
        cure: cure.map(String::into_boxed_str),
    }
}

/// An answer without a code of AWS's. Something on the way may have given it.
fn of_answer(answer: &HttpResponse) -> Fault {
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or_default();
    let kind = answer.headers().get("content-type").unwrap_or("no type").split(';').next();
    let is = format!("{status}, {}", quoted(kind.unwrap_or_default()));
    if status.is_success() {
        let said = format!("its answer cannot be read ({is}): it does not look like one of AWS's");
        return Fault::new(Kind::Unreachable, said);
    }
    let kind = match status.as_u16() {
        401 | 403 => Kind::Denied,
        407 | 300..=399 => Kind::Unreachable,
        status => kinds::of_status(Some(status)),
    };
    Fault::new(kind, format!("it answers {is}, and says nothing that AWS would"))
}

/// A call that found no answer.
fn of_way<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> Fault {
    if let Some(credentials) = find::<CredentialsError>(error) {
        return of_credentials(credentials);
    }
    match error {
        SdkError::TimeoutError(_) => Fault::new(Kind::Unreachable, "no answer came in time"),
        SdkError::DispatchFailure(failure) if failure.is_timeout() => {
            Fault::new(Kind::Unreachable, "no connection came about in time")
        }
        SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            Fault::new(Kind::Unreachable, network::why(error))
        }
        SdkError::ConstructionFailure(_) => {
            Fault::new(Kind::Other, format!("it could not be asked: {}", root(error)))
        }
        SdkError::ServiceError(_) | _ => {
            Fault::new(Kind::Other, format!("it failed: {}", root(error)))
        }
    }
}

/// Why nobody could be asked as whom.
fn of_credentials(error: &CredentialsError) -> Fault {
    let fault = |message: String| Fault::new(Kind::Credentials, message);
    match error {
        CredentialsError::CredentialsNotLoaded(_) => fault(NONE_FOUND.to_owned()),
        CredentialsError::InvalidConfiguration(_) => Fault {
            cure: Some("mend it in the AWS settings, or name another --profile".to_owned()),
            ..fault(format!("the AWS settings do not work: {}", root(error)))
        },
        CredentialsError::ProviderTimedOut(late) => {
            let seconds = late.timeout_duration().as_secs();
            fault(format!("no credentials came within {seconds} s"))
        }
        CredentialsError::ProviderError(_) | CredentialsError::Unhandled(_) | _ => {
            match find::<ErrorMetadata>(error) {
                // Who takes a role asks STS for it, and STS says no.
                Some(said) if said.code().is_some() => {
                    let code = said.code().map(quoted);
                    let said = quoted(said.message().unwrap_or("AWS says no more than its code"));
                    Fault { code, ..fault(format!("credentials were refused: {said}")) }
                }
                Some(_) | None => match has_network(error) {
                    true => Fault::new(
                        Kind::Unreachable,
                        format!(
                            "where credentials come from cannot be reached: {}",
                            network::why(error)
                        ),
                    ),
                    false => fault(format!("credentials could not be had: {}", root(error))),
                },
            }
        }
    }
}

pub(super) const NONE_FOUND: &str = "no AWS credentials were found";

fn has_network(error: &CredentialsError) -> bool {
    find::<rustls::Error>(error).is_some()
        || find::<aws_smithy_runtime_api::client::result::ConnectorError>(error).is_some()
}

/// What lies at the bottom, in its own words.
fn root(error: &(dyn Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    let said = quoted(&last.to_string());
    if said.is_empty() { "a library of this program does not say why".to_owned() } else { said }
}
