//! What does AWS mean by a code?
//!
//! The code decides, and where one code has several meanings, the action: whoever makes something
//! and is told of a conflict looks whether it is there. Only where neither tells the meanings
//! apart, a whole sentence of AWS's does, by how it begins and ends: a name inside it never can.

use super::Kind;

/// A call, by the names of its service and its action.
pub(super) type ServiceAction = (&'static str, &'static str);

/// The kind of a failure, by its code; its status and its whole sentence count where a code is not
/// enough.
pub(super) fn of(call: ServiceAction, code: &str, status: Option<u16>, said: &str) -> Kind {
    let short = code.strip_suffix("Exception").unwrap_or(code);
    let kind = of_code(short)
        .or_else(|| of_action(call, short, said))
        .or_else(|| of_stranger(short))
        .unwrap_or(Kind::Other);
    if kind == Kind::Other { of_status(status) } else { kind }
}

/// What only the status tells.
pub(super) fn of_status(status: Option<u16>) -> Kind {
    match status {
        Some(429 | 500..=599) => Kind::Throttled,
        Some(_) | None => Kind::Other,
    }
}

fn of_code(code: &str) -> Option<Kind> {
    Some(match code {
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
        "OperationAborted" | "ConcurrentModification" => Kind::Busy,
        "PreconditionFailed" => Kind::Stale,
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
        _ => return None,
    })
}

/// Codes that mean one thing to whoever makes something, and another to whoever changes it.
fn of_action((service, action): ServiceAction, code: &str, said: &str) -> Option<Kind> {
    let makes = ["Create", "AddPermission"].iter().any(|verb| action.starts_with(verb));
    match code {
        "ResourceConflict" | "ResourceInUse" if makes => Some(Kind::Exists),
        "ResourceConflict" | "ResourceInUse" => Some(Kind::Busy),
        // Of so many operations at once (DynamoDB, *CreateTable*); of so many in all is a quota,
        // and does not pass.
        "LimitExceeded" if service == "DynamoDB" => {
            Some(if OF_A_QUOTA.iter().any(|one| one.is(said)) { Kind::Other } else { Kind::Busy })
        }
        "InvalidParameterValue" => PASSING.iter().any(|one| one.is(said)).then_some(Kind::NotYet),
        _ => None,
    }
}

/// A sentence of AWS's, as it begins and ends.
struct Sentence(&'static str, &'static str);

impl Sentence {
    fn is(&self, said: &str) -> bool {
        let Self(begins, ends) = self;
        said.trim_end_matches('.').ends_with(ends) && said.starts_with(begins)
    }
}

/// What Lambda says of a role, a key or an image that it does not see everywhere yet.
const PASSING: [Sentence; 4] = [
    Sentence("The role defined for the function cannot be assumed by Lambda", ""),
    Sentence("Lambda does not have permission to access the ECR image", ""),
    Sentence(
        "Lambda was unable to configure access to your environment variables because the KMS key \
         is invalid for CreateGrant",
        "",
    ),
    Sentence("Source image ", "Provide a valid source image"),
];

/// What DynamoDB says of a quota.
const OF_A_QUOTA: [Sentence; 1] = [Sentence("Subscriber limit exceeded: ", "")];

/// Who asks may not, or is not known.
fn of_stranger(code: &str) -> Option<Kind> {
    Some(match code {
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
        | "RequestTimeTooSkewed"
        | "UnrecognizedClient"
        | "SignatureDoesNotMatch"
        | "InvalidSignature"
        | "IncompleteSignature"
        | "MissingAuthenticationToken" => Kind::Credentials,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::CloudError;

    /// Names that are words of AWS's, or of ours.
    const NASTY: [&str; 16] = [
        "existing",
        "already-exists",
        "sso",
        "expired",
        "denied",
        "throttling",
        "not-found",
        "quota",
        "credential",
        "cannot-be-assumed",
        "does-not-have-permission",
        "concurrent",
        "simultaneous",
        "retry-later",
        "subscriber-limit-exceeded",
        "provide-a-valid-source-image",
    ];

    /// What was asked, the code, the status, AWS's sentence, and what it means.
    type Case = (ServiceAction, &'static str, u16, &'static str, Kind);

    const CREATE_FUNCTION: ServiceAction = ("Lambda", "CreateFunction");
    const CREATE_TABLE: ServiceAction = ("DynamoDB", "CreateTable");

    const SAID: [Case; 24] = [
        (
            CREATE_FUNCTION,
            "ResourceConflictException",
            409,
            "Function already exist: NAME-api",
            Kind::Exists,
        ),
        (
            ("Lambda", "UpdateFunctionCode"),
            "ResourceConflictException",
            409,
            "The operation cannot be performed at this time. An update is in progress for \
             resource: arn:aws:lambda:us-east-1:1:function:NAME-api",
            Kind::Busy,
        ),
        (
            ("Lambda", "DeleteFunction"),
            "ResourceConflictException",
            409,
            "The operation cannot be performed at this time. The function NAME-api is currently \
             in the following state: 'Pending'",
            Kind::Busy,
        ),
        (
            ("Lambda", "AddPermission"),
            "ResourceConflictException",
            409,
            "The statement id (FunctionURLAllowPublicAccess) provided already exists. Please \
             provide a new statement id, or remove the existing statement.",
            Kind::Exists,
        ),
        (
            ("Lambda", "CreateFunctionUrlConfig"),
            "ResourceConflictException",
            409,
            "FunctionUrlConfig exists for this Lambda function: NAME-api",
            Kind::Exists,
        ),
        (
            ("Lambda", "PutFunctionConcurrency"),
            "InvalidParameterValueException",
            400,
            "Specified ReservedConcurrentExecutions for function decreases account's \
             UnreservedConcurrentExecution below its minimum value of [10].",
            Kind::Other,
        ),
        (
            CREATE_FUNCTION,
            "InvalidParameterValueException",
            400,
            "The role defined for the function cannot be assumed by Lambda.",
            Kind::NotYet,
        ),
        (
            CREATE_FUNCTION,
            "InvalidParameterValueException",
            400,
            "Lambda does not have permission to access the ECR image. Check the ECR permissions.",
            Kind::NotYet,
        ),
        (
            CREATE_FUNCTION,
            "InvalidParameterValueException",
            400,
            "Source image 1.dkr.ecr.us-east-1.amazonaws.com/NAME@sha256:00 does not exist. \
             Provide a valid source image.",
            Kind::NotYet,
        ),
        (
            CREATE_FUNCTION,
            "InvalidParameterValueException",
            400,
            "Unzipped size of NAME must be smaller",
            Kind::Other,
        ),
        (
            CREATE_TABLE,
            "ResourceInUseException",
            400,
            "Table already exists: NAME-rate-limits",
            Kind::Exists,
        ),
        (
            ("DynamoDB", "UpdateTable"),
            "ResourceInUseException",
            400,
            "Attempt to change a resource which is still in use: Table is being updated: \
             NAME-rate-limits",
            Kind::Busy,
        ),
        (
            CREATE_TABLE,
            "LimitExceededException",
            400,
            "Up to 500 simultaneous table operations are allowed per account",
            Kind::Busy,
        ),
        (
            ("DynamoDB", "UpdateTable"),
            "LimitExceededException",
            400,
            "Subscriber limit exceeded: Update to PayPerRequest mode are limited to once in 1 \
             day(s). Last update at NAME",
            Kind::Other,
        ),
        (
            ("IAM", "CreateRole"),
            "LimitExceeded",
            409,
            "Cannot exceed quota for RolesPerAccount: 1000",
            Kind::Other,
        ),
        (
            ("IAM", "GetRole"),
            "NoSuchEntity",
            404,
            "The role with name NAME-api-role cannot be found.",
            Kind::NotFound,
        ),
        (
            ("IAM", "CreateRole"),
            "EntityAlreadyExists",
            409,
            "Role with name NAME-api-role already exists.",
            Kind::Exists,
        ),
        (
            ("IAM", "CreateRole"),
            "AccessDenied",
            403,
            "User: arn:aws:iam::1:user/NAME is not authorized to perform: iam:CreateRole on \
             resource: arn:aws:iam::1:role/NAME-api-role with an explicit \
             deny in a service control policy",
            Kind::Denied,
        ),
        (
            ("STS", "GetCallerIdentity"),
            "ExpiredToken",
            403,
            "The security token included in the request is expired",
            Kind::Credentials,
        ),
        (
            ("STS", "GetCallerIdentity"),
            "SignatureDoesNotMatch",
            403,
            "Signature expired: 1 is now earlier than 2",
            Kind::Credentials,
        ),
        (
            ("Lambda", "GetFunction"),
            "TooManyRequestsException",
            429,
            "Rate exceeded for NAME-api",
            Kind::Throttled,
        ),
        (("ECR", "PutImage"), "NewException", 503, "NAME is not well", Kind::Throttled),
        (
            ("CloudWatch Logs", "CreateLogGroup"),
            "OperationAbortedException",
            400,
            "A conflicting operation is currently in progress against NAME",
            Kind::Busy,
        ),
        (
            ("STS", "GetCallerIdentity"),
            "ValidationError",
            400,
            "Could not connect: No address associated with hostname NAME",
            Kind::Other,
        ),
    ];

    #[test]
    fn no_name_changes_what_a_sentence_means_nor_what_helps() {
        for (call, code, status, said, kind) in SAID {
            let told = |name: &str| {
                let said = said.replace("NAME", name);
                let kind = of(call, code, Some(status), &said);
                let error = CloudError::new(kind, said);
                let (service, action) = call;
                let error = CloudError { service, action, code: Some(code.to_owned()), ..error };
                (kind, error.hint())
            };
            let plain = told("plain");
            assert_eq!(plain.0, kind, "{said}");
            for name in NASTY {
                assert_eq!(told(name), plain, "{name}: {said}");
            }
        }
    }
}
