//! What can be done about a failure: the next step, in one sentence.

use super::error::LOGIN;
use super::{CloudError, Kind, is_question};

impl CloudError {
    /// What the reader of the message can do, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self.kind {
            // Its own sentence says what to do.
            Kind::Credentials if self.said(LOGIN) => return None,
            Kind::Credentials if self.said("Signature expired") || self.said("not yet current") => {
                "set this machine's clock"
            }
            Kind::Credentials => "give credentials: aws sso login, AWS_PROFILE, or --profile NAME",
            Kind::NoRegion => "name one: --region us-east-1, or AWS_REGION",
            Kind::Unreachable => "look at the network and at AWS_ENDPOINT_URL, then run it again",
            Kind::Denied => return Some(self.hint_of_denial()),
            // Nobody may say whose it is.
            Kind::Foreign if !self.action.is_empty() => return Some(self.hint_of_denial()),
            Kind::Busy | Kind::Stale | Kind::NotYet | Kind::TimedOut | Kind::Throttled => {
                "run it again: what is done already stays done"
            }
            Kind::NotFound | Kind::Exists | Kind::Interrupted | Kind::Foreign | Kind::Other => {
                return self.hint_of_code().map(str::to_owned);
            }
        };
        Some(hint.to_owned())
    }

    fn said(&self, words: &str) -> bool {
        self.message.contains(words)
    }

    /// Who can allow it. AWS names the kind of policy that was in the way.
    fn hint_of_denial(&self) -> String {
        let elsewhere = [
            ("service control policy", "whoever runs the organisation"),
            ("resource control policy", "whoever runs the organisation"),
            ("permissions boundary", "whoever set it"),
            ("session policy", "whoever started the session"),
            ("VPC endpoint policy", "whoever runs the network"),
        ];
        if let Some((policy, who)) = elsewhere.into_iter().find(|(policy, _)| self.said(policy)) {
            return format!("a {policy} is in the way: ask {who} to let this action through");
        }
        let list = match is_question(self.action) {
            true => "policies/reader.json lists what `plan` and `status` need",
            false => "policies/operator.json lists what `up` and `down` need",
        };
        let role = match self.action {
            "CreateRole" => {
                "; where every role must have a boundary, add --permissions-boundary ARN"
            }
            _ => "",
        };
        match self.permission() {
            Some(permission) => format!("ask for the permission {permission}: {list}{role}"),
            None => format!("{list}{role}"),
        }
    }

    /// The action as a policy names it. Lambda says it itself where it asks for another one, such
    /// as `iam:PassRole`.
    fn permission(&self) -> Option<String> {
        let named = self.message.split("not authorized to perform: ").nth(1);
        let named = named.and_then(|rest| rest.split_whitespace().next());
        if let Some(named) = named.filter(|word| word.contains(':')) {
            return Some(named.to_owned());
        }
        let prefix = match self.service {
            "CloudWatch" => "cloudwatch",
            "CloudWatch Logs" => "logs",
            "DynamoDB" => "dynamodb",
            "ECR" => "ecr",
            "IAM" => "iam",
            "Lambda" => "lambda",
            "STS" => "sts",
            _ => return None,
        };
        Some(format!("{prefix}:{}", self.action))
    }

    fn hint_of_code(&self) -> Option<&'static str> {
        let code = self.code.as_deref()?;
        match code.strip_suffix("Exception").unwrap_or(code) {
            "PublicPolicy" => Some(
                "this account forbids functions that everyone may call: allow public function \
                 policies for this function, or run the proxy elsewhere",
            ),
            "InvalidParameterValue" if self.said("UnreservedConcurrentExecution") => Some(
                "the account has too few concurrent executions: give a smaller \
                 --reserved-concurrency or none, or ask AWS for more (Service Quotas, AWS Lambda, \
                 concurrent executions)",
            ),
            "UnknownOperation" | "404" if self.action.contains("FunctionUrl") => {
                Some("this region may not have function URLs: try another, such as us-east-1")
            }
            "LimitExceeded" | "ServiceQuotaExceeded" | "CodeStorageExceeded" => {
                Some("a quota of the account is used up: Service Quotas shows and raises it")
            }
            "Validation" if self.said("modified multiple times") => {
                Some("AWS takes one change of a table's expiry an hour: run it again in an hour")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: Kind, action: &'static str, code: &str, message: &str) -> CloudError {
        let error = CloudError::new(kind, message);
        CloudError { service: "Lambda", action, code: Some(code.to_owned()), ..error }
    }

    #[test]
    fn a_denial_names_the_permission_that_aws_names() {
        let said = "User: x is not authorized to perform: iam:PassRole on resource: y because no \
                    identity-based policy allows the iam:PassRole action";
        let denied = failed(Kind::Denied, "CreateFunction", "AccessDeniedException", said);
        let hint = denied.hint().unwrap();
        assert!(
            hint.starts_with("ask for the permission iam:PassRole: policies/operator"),
            "{hint}"
        );
        let denied = failed(Kind::Denied, "GetPolicy", "AccessDeniedException", "no");
        let hint = denied.hint().unwrap();
        assert!(
            hint.starts_with("ask for the permission lambda:GetPolicy: policies/reader"),
            "{hint}"
        );
    }

    #[test]
    fn a_denial_by_the_organisation_says_whom_to_ask() {
        for (said, whom) in [
            ("with an explicit deny in a service control policy", "runs the organisation"),
            ("because no permissions boundary allows the action", "whoever set it"),
        ] {
            let denied = failed(Kind::Denied, "CreateFunction", "AccessDeniedException", said);
            assert!(denied.hint().unwrap().contains(whom), "{said}");
        }
    }
}
