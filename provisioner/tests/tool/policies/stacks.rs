//! The stacks whose policies are looked at.

use provisioner::stack::policies::{self, ArnScope, ExecutionPolicy, PolicyNames};
use serde_json::Value;

pub(crate) const NAMES: PolicyNames<'_> = PolicyNames {
    repository: "claude-proxy",
    function: "claude-proxy-api",
    role: "claude-proxy-api-role",
    table: "claude-proxy-rate-limits",
    log_group: "/aws/lambda/claude-proxy-api",
};

/// A typical stack in each partition that has Bedrock or once may.
pub(crate) const STACKS: [ExecutionPolicy<'_>; 3] = [
    stack("aws", "us-east-1", &["us-east-1", "us-west-2"], &["us", "global"]),
    stack("aws-us-gov", "us-gov-west-1", &["us-gov-west-1"], &["us-gov"]),
    stack("aws-cn", "cn-north-1", &["cn-north-1"], &["none"]),
];

pub(crate) const fn stack<'a>(
    partition: &'a str,
    region: &'a str,
    bedrock_regions: &'a [&'a str],
    prefixes: &'a [&'a str],
) -> ExecutionPolicy<'a> {
    let scope = ArnScope { partition, account: "123456789012", region };
    ExecutionPolicy { scope, table: NAMES.table, bedrock_regions, prefixes, models: &[] }
}

/// Every document of a stack, under the name of its file.
pub(crate) fn rendered(stack: &ExecutionPolicy<'_>) -> [(&'static str, Value); 5] {
    let scope = &stack.scope;
    [
        ("trust", policies::trust()),
        ("execution", policies::execution(stack).unwrap()),
        ("repository", policies::repository(scope, NAMES.function).unwrap()),
        ("operator", policies::operator(scope, &NAMES).unwrap()),
        ("reader", policies::reader(scope, &NAMES).unwrap()),
    ]
}
