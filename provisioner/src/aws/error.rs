//! What went wrong at AWS, in AWS's own words, and what can be done about it.

use std::future::Future;

use aws_sdk_sts::operation::RequestId as _;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::engine::{CloudError, Kind};

impl CloudError {
    pub(super) fn no_region() -> Self {
        Self::new(Kind::NoRegion, "no AWS region is set")
    }

    /// Names the profile in what is to be done, if one was named.
    pub(super) fn for_profile(mut self, profile: Option<&str>) -> Self {
        if let Some(profile) = profile.filter(|_| self.kind == Kind::Credentials) {
            self.message = match self.message.as_str() {
                NONE_FOUND => format!("{NONE_FOUND} for the profile {profile}"),
                message => message.replace(LOGIN, &format!("{LOGIN} --profile {profile}")),
            };
        }
        self
    }

    fn of<E>(service: &'static str, action: &'static str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let code = error.code().filter(|code| !code.is_empty()).map(str::to_owned);
        let message = error.message().map_or_else(
            || DisplayErrorContext(error).to_string(),
            |message| message.trim().to_owned(),
        );
        let request_id = error.request_id().map(str::to_owned);
        let status = error.raw_response().map(|answer| answer.status());
        let unwell = status.is_some_and(|status| status.is_server_error());
        let kind = match (code.as_deref().map(|code| kind_of(code, &message)), error) {
            (Some(Kind::Other) | None, _) if unwell => Kind::Throttled,
            (Some(kind), _) => kind,
            (None, SdkError::DispatchFailure(_)) if is_credentials(&message) => Kind::Credentials,
            (None, SdkError::DispatchFailure(_) | SdkError::TimeoutError(_)) => Kind::Unreachable,
            (None, SdkError::ResponseError(_)) => Kind::Unreachable,
            (None, _) if is_credentials(&message) => Kind::Credentials,
            (None, _) => Kind::Other,
        };
        let message = if kind == Kind::Credentials { credentials(&message) } else { message };
        Self { kind, service, action, address: None, code, message, request_id }
    }
}

/// Opens an SSO session.
pub(super) const LOGIN: &str = "aws sso login";

const NONE_FOUND: &str = "no AWS credentials were found";

fn is_credentials(message: &str) -> bool {
    ["credential", "Credential", "SSO", "sso"].iter().any(|word| message.contains(word))
}

/// One line of what the SDK tells in ten.
fn credentials(message: &str) -> String {
    if message.contains("SSO") || message.contains("sso") {
        return format!("the AWS SSO session has expired, or there is none: {LOGIN}");
    }
    if message.contains("loaded") || message.contains("provider") {
        return NONE_FOUND.to_owned();
    }
    message.to_owned()
}

/// What AWS means by a code; where one code has several meanings, the sentence tells.
fn kind_of(code: &str, message: &str) -> Kind {
    let said = |words: &[&str]| words.iter().any(|words| message.contains(words));
    let code = code.strip_suffix("Exception").unwrap_or(code);
    match code {
        "ResourceNotFound"
        | "NoSuchEntity"
        | "RepositoryNotFound"
        | "RepositoryPolicyNotFound"
        | "LifecyclePolicyNotFound"
        | "ImageNotFound"
        | "TableNotFound"
        | "DashboardNotFoundError" => Kind::NotFound,
        "EntityAlreadyExists"
        | "RepositoryAlreadyExists"
        | "ImageAlreadyExists"
        | "ImageTagAlreadyExists"
        | "ResourceAlreadyExists" => Kind::Exists,
        "ResourceConflict" | "ResourceInUse" if said(&["exist"]) => Kind::Exists,
        "ResourceConflict" | "ResourceInUse" | "OperationAborted" | "ConcurrentModification" => {
            Kind::Busy
        }
        // Of so many at once; of so many in all is a quota, and does not pass.
        "LimitExceeded" if said(&["simultaneous", "concurrent"]) => Kind::Busy,
        "PreconditionFailed" => Kind::Stale,
        "InvalidParameterValue"
            if said(&[
                "cannot be assumed",
                "does not have permission",
                "throttled by EC2",
                "CreateGrant",
                "Provide a valid source image",
            ]) =>
        {
            Kind::NotYet
        }
        "Validation" if said(&["retry later", "being enabled"]) => Kind::Busy,
        "Throttling"
        | "ThrottlingError"
        | "Throttled"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "RequestThrottled"
        | "SlowDown"
        | "ServiceUnavailable"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceFailure"
        | "Server"
        | "Service" => Kind::Throttled,
        _ => kind_of_stranger(code),
    }
}

/// Who asks may not, or is not known.
fn kind_of_stranger(code: &str) -> Kind {
    match code {
        "AccessDenied"
        | "Forbidden"
        | "OptInRequired"
        | "UnauthorizedOperation"
        | "NotAuthorized"
        | "AuthorizationError" => Kind::Denied,
        "ExpiredToken"
        | "InvalidClientTokenId"
        | "InvalidAccessKeyId"
        | "RequestExpired"
        | "UnrecognizedClient"
        | "SignatureDoesNotMatch"
        | "InvalidSignature"
        | "IncompleteSignature"
        | "MissingAuthenticationToken" => Kind::Credentials,
        _ => Kind::Other,
    }
}

/// Makes a call and keeps what matters of its failure.
pub(crate) fn call<T, E>(
    service: &'static str,
    action: &'static str,
    sent: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> impl Future<Output = Result<T, CloudError>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    // The SDK's futures have kilobytes each.
    let sent = Box::pin(sent);
    async move { sent.await.map_err(|error| CloudError::of(service, action, &error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_code_with_two_meanings_is_told_apart_by_its_sentence() {
        let conflict = |message| kind_of("ResourceConflictException", message);
        assert_eq!(conflict("Function already exist: x"), Kind::Exists);
        assert_eq!(conflict("An update is in progress for resource: x"), Kind::Busy);
        let value = |message| kind_of("InvalidParameterValueException", message);
        assert_eq!(
            value("The role defined for the function cannot be assumed by Lambda."),
            Kind::NotYet
        );
        assert_eq!(value("Unzipped size must be smaller"), Kind::Other);
        let limit = |message| kind_of("LimitExceededException", message);
        assert_eq!(limit("up to 500 simultaneous table operations are allowed"), Kind::Busy);
        assert_eq!(limit("Cannot exceed quota for RolesPerAccount: 1000"), Kind::Other);
    }
}
