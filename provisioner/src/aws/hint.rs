//! What can be done about a failure: the next step, in one sentence.

use super::{CloudError, Kind, is_question};

impl CloudError {
    /// What the reader of the message can do, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        if let Some(cure) = &self.cure {
            return Some(cure.to_string()).filter(|cure| !cure.is_empty());
        }
        let hint = match self.kind {
            Kind::Credentials if self.is_about_the_clock() => "set this machine's clock",
            Kind::Credentials => "give credentials: aws sso login, AWS_PROFILE, or --profile NAME",
            Kind::NoRegion => "name one: --region us-east-1, or AWS_REGION",
            Kind::Unreachable => "look at the network and at AWS_ENDPOINT_URL, then run it again",
            Kind::Denied => return Some(self.hint_of_denial()),
            // Nobody may say whose it is.
            Kind::Foreign if !self.action.is_empty() => return Some(self.hint_of_denial()),
            Kind::Busy | Kind::Stale | Kind::NotYet | Kind::TimedOut | Kind::Throttled => RUN_AGAIN,
            Kind::Held => "once that is done, run it again",
            Kind::Foreign => "look whose it is (provisioner status) before you run it again",
            Kind::NotFound | Kind::Exists | Kind::Interrupted | Kind::Other => {
                return self.hint_of_code().map(str::to_owned);
            }
        };
        Some(hint.to_owned())
    }

    /// Signatures carry a time; STS begins its sentence with what is wrong about it.
    fn is_about_the_clock(&self) -> bool {
        let begins = ["Signature expired:", "Signature not yet current:"];
        self.code.as_deref() == Some("RequestTimeTooSkewed")
            || begins.iter().any(|begin| self.message.starts_with(begin))
    }

    /// Who can allow it. AWS names the kind of policy that was in the way.
    fn hint_of_denial(&self) -> String {
        let boundary = match self.action {
            "CreateRole" | "PutRolePolicy" | "AttachRolePolicy" => {
                "; where every role must have a boundary, add --permissions-boundary ARN"
            }
            _ => "",
        };
        if let Some((policy, who)) = self.in_the_way() {
            return format!(
                "a {policy} is in the way: ask {who} to let this action through{boundary}"
            );
        }
        let list = match is_question(self.action) {
            true => "policies/reader.json lists what `plan` and `status` need",
            false => "policies/operator.json lists what `up` and `down` need",
        };
        match self.permission() {
            Some(permission) => format!("ask for the permission {permission}: {list}{boundary}"),
            None => format!("{list}{boundary}"),
        }
    }

    /// The policy that denied it, where AWS says so: at the end of its sentence, after what was
    /// asked for (IAM, *Access denied error messages*).
    fn in_the_way(&self) -> Option<(&'static str, &'static str)> {
        let elsewhere = [
            ("service control policy", "whoever runs the organisation"),
            ("resource control policy", "whoever runs the organisation"),
            ("permissions boundary", "whoever set it"),
            ("session policy", "whoever started the session"),
            ("VPC endpoint policy", "whoever runs the network"),
        ];
        let marks = ["with an explicit deny in a ", "with an explicit deny in an ", "because no "];
        let last = |mark: &&str| Some(self.message.rsplit_once(*mark)?.1);
        let tail = marks.iter().find_map(last)?;
        elsewhere.into_iter().find(|(policy, _)| tail.starts_with(policy))
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
            "Bedrock" | "Bedrock Runtime" => "bedrock",
            "CloudWatch" => "cloudwatch",
            "CloudWatch Logs" => "logs",
            "DynamoDB" => "dynamodb",
            "ECR" => "ecr",
            "IAM" => "iam",
            "Lambda" => "lambda",
            "STS" => "sts",
            _ => return None,
        };
        // The SDK's name of a call is not always the right's.
        let action = match (self.service, self.action) {
            ("ECR", "push") => "PutImage",
            (_, action) => action,
        };
        Some(format!("{prefix}:{action}"))
    }

    /// What helps where a code says all, or a code and what was asked.
    fn hint_of_code(&self) -> Option<&'static str> {
        let code = self.code.as_deref()?;
        let short = code.strip_suffix("Exception").unwrap_or(code);
        match (short, self.action) {
            ("PublicPolicy", _) => Some(
                "this account forbids functions that everyone may call: allow public function \
                 policies for this function, or run the proxy elsewhere",
            ),
            ("InvalidParameterValue", "PutFunctionConcurrency") => Some(
                "the account has too few concurrent executions: a smaller \
                 --reserved-concurrency, or more by Service Quotas",
            ),
            ("UnknownOperation", action) if action.contains("FunctionUrl") => {
                Some("this region may not have function URLs: try another, such as us-east-1")
            }
            ("LimitExceeded", "PutRolePolicy") => Some(
                "the role's policy is too long for IAM: name fewer regions in BEDROCK_REGIONS, or \
                 fewer models in BEDROCK_MODEL_MAP",
            ),
            ("LimitExceeded", "UpdateTable") => Some(
                "AWS takes a table's next change of billing at the moment that it names: run it \
                 again then",
            ),
            ("LimitExceeded" | "ServiceQuotaExceeded" | "CodeStorageExceeded", _) => {
                Some("a quota of the account is used up: Service Quotas shows and raises it")
            }
            ("Validation", "UpdateTimeToLive") => {
                Some("AWS takes one change of a table's expiry an hour: run it again in an hour")
            }
            _ => None,
        }
    }
}

const RUN_AGAIN: &str = "run it again: what is done already stays done";

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
