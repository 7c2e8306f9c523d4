//! A name is never taken for a word of AWS's: whatever the stack is called, the same sentence means
//! the same.

use crate::fake::{Fake, refused};
use crate::run::{command, finish};

/// Names that are words of AWS's, or of ours.
const NASTY: [&str; 14] = [
    "existing",
    "exist",
    "already-exists",
    "sso",
    "expired",
    "denied",
    "throttling",
    "not-found",
    "quota",
    "credential",
    "credentials-provider",
    "cannot-be-assumed",
    "concurrent",
    "retry-later",
];

/// Sentences of AWS's, with `NAME` where a name stands.
const SAID: [(&str, u16, &str, &str); 9] = [
    (
        "lambda.GetFunction",
        409,
        "ResourceConflictException",
        "The operation cannot be performed at this time. An update is in progress for resource: arn:aws:lambda:us-east-1:1:function:NAME-api",
    ),
    (
        "lambda.GetFunction",
        403,
        "AccessDeniedException",
        "User: arn:aws:iam::1:user/NAME is not authorized to perform: lambda:GetFunction on resource: NAME-api",
    ),
    ("lambda.GetFunction", 400, "InvalidParameterValueException", "The value NAME cannot be used"),
    ("dynamodb.DescribeTable", 400, "LimitExceededException", "NAME: once in 1 day"),
    (
        "dynamodb.DescribeTable",
        400,
        "ResourceInUseException",
        "Table NAME-rate-limits is being updated",
    ),
    (
        "dynamodb.DescribeTable",
        400,
        "ValidationException",
        "Invalid table/index name NAME-rate-limits",
    ),
    ("iam.GetRole", 400, "ValidationError", "The specified value for NAME-api-role is invalid"),
    ("sts.GetCallerIdentity", 403, "AccessDenied", "NAME"),
    ("sts.GetCallerIdentity", 400, "ValidationError", "NAME"),
];

#[test]
fn no_name_changes_what_a_sentence_means() {
    for (action, status, code, said) in SAID {
        let tell = |name: &'static str| {
            let said = said.replace("NAME", name);
            let fake = Fake::start(move |asked| {
                (asked.action == action).then(|| refused(asked, status, code, &said))
            });
            let ended = finish(&mut command(&["status", "--name", name], &fake.url()));
            ended.is_fit(name);
            let port = fake.address.port().to_string();
            let stderr = ended.stderr.replace(name, "NAME").replace(&port, "PORT");
            (ended.code, stderr)
        };
        let plain = tell("plain");
        for name in NASTY {
            assert_eq!(tell(name), plain, "{name}: {said}");
        }
    }
}
