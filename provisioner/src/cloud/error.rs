//! What went wrong at AWS, in AWS's own words, and what can be done about it.

use std::fmt;
use std::future::Future;

use aws_sdk_sts::operation::RequestId as _;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::display::DisplayErrorContext;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use crate::plan::Address;

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
    /// AWS does not see everywhere what was made a moment ago.
    NotYet,
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

    pub(super) fn no_region() -> Self {
        Self::new(Kind::NoRegion, "no AWS region is set")
    }

    /// Says which resource it was.
    #[must_use]
    pub fn at(mut self, address: &Address) -> Self {
        self.address.get_or_insert_with(|| Box::new(address.clone()));
        self
    }

    /// What the reader of the message can do, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let said = |words: &str| self.message.contains(words);
        let hint = match self.kind {
            Kind::Credentials if said("SSO") || said("sso") || said("session") => {
                "log in again: aws sso login (with --profile NAME, if you use one)"
            }
            Kind::Credentials => "give credentials: aws sso login, AWS_PROFILE, or --profile NAME",
            Kind::NoRegion => "name one: --region us-east-1, or AWS_REGION",
            Kind::Unreachable => "look at the network and at AWS_ENDPOINT_URL, then run it again",
            Kind::Denied if said("service control policy") => {
                "a service control policy forbids it: ask whoever runs the organisation"
            }
            Kind::Denied if said("permissions boundary") => {
                "a permissions boundary forbids it: ask for one that allows this action"
            }
            Kind::Denied if self.action == "CreateRole" => {
                "policies/operator.json lists what is needed; where every role must have a \
                 boundary, add --permissions-boundary ARN"
            }
            Kind::Denied => "policies/operator.json lists what is needed",
            Kind::Busy | Kind::NotYet | Kind::TimedOut | Kind::Throttled => {
                "run it again: what is done already stays done"
            }
            Kind::NotFound | Kind::Exists | Kind::Interrupted | Kind::Foreign | Kind::Other => {
                return self.hint_of_code().map(str::to_owned);
            }
        };
        Some(hint.to_owned())
    }

    fn hint_of_code(&self) -> Option<&'static str> {
        let said = |words: &str| self.message.contains(words);
        match self.code.as_deref()? {
            "PublicPolicyException" => Some(
                "this account forbids functions that everyone may call: allow public function \
                 policies for this function, or run the proxy elsewhere",
            ),
            "InvalidParameterValueException" if said("UnreservedConcurrentExecution") => Some(
                "the account has too few concurrent executions: leave --reserved-concurrency out, \
                 or ask AWS for more (Service Quotas, Lambda, concurrent executions)",
            ),
            "UnknownOperationException" | "404" if self.action.contains("FunctionUrl") => {
                Some("this region may not have function URLs: try another, such as us-east-1")
            }
            _ => None,
        }
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
        let kind = match (&code, error) {
            (Some(code), _) => kind_of(code, &message),
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

fn is_credentials(message: &str) -> bool {
    ["credential", "Credential", "SSO", "sso"].iter().any(|word| message.contains(word))
}

/// One line of what the SDK tells in ten.
fn credentials(message: &str) -> String {
    if message.contains("SSO") || message.contains("sso") {
        return "the AWS SSO session has expired, or there is none".to_owned();
    }
    if message.contains("loaded") || message.contains("provider") {
        return "no AWS credentials were found".to_owned();
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
        "ResourceConflict"
        | "ResourceInUse"
        | "OperationAborted"
        | "PreconditionFailed"
        | "ConcurrentModification"
        | "DeleteConflict"
        | "LimitExceeded" => Kind::Busy,
        "InvalidParameterValue"
            if said(&[
                "cannot be assumed",
                "does not have permission",
                "throttled by EC2",
                "CreateGrant",
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
        | "Service" => Kind::Throttled,
        "AccessDenied" | "UnauthorizedOperation" | "NotAuthorized" | "AuthorizationError" => {
            Kind::Denied
        }
        "ExpiredToken"
        | "InvalidClientTokenId"
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

/// Takes "it is not there" for an answer.
pub(crate) trait OrAbsent<T> {
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
    }
}
