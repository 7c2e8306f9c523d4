//! The stacks whose policies are looked at.

use provisioner::aws::Account;
use provisioner::stack::names::{Name, Names};
use provisioner::stack::policies::{self, ExecutionPolicy};
use serde_json::Value;

/// Those of a stack with the usual name.
pub(crate) fn names() -> Names {
    Names::from(&"claude-proxy".parse::<Name>().unwrap())
}

/// A typical stack in each partition that has Bedrock or once may.
pub(crate) fn stacks() -> [ExecutionPolicy<'static>; 3] {
    [
        stack("aws", "us-east-1", &["us-east-1", "us-west-2"], &["us", "global"]),
        stack("aws-us-gov", "us-gov-west-1", &["us-gov-west-1"], &["us-gov"]),
        stack("aws-cn", "cn-north-1", &["cn-north-1"], &["none"]),
    ]
}

pub(crate) fn stack<'a>(
    partition: &str,
    region: &str,
    bedrock_regions: &'a [&'a str],
    prefixes: &'a [&'a str],
) -> ExecutionPolicy<'a> {
    let [id, region, partition] = ["123456789012", region, partition].map(str::to_owned);
    let account: &Account = Box::leak(Box::new(Account { id, region, partition }));
    let table = "claude-proxy-rate-limits";
    ExecutionPolicy { account, table, bedrock_regions, prefixes, models: &[] }
}

/// Every document of a stack, under the name of its file.
pub(crate) fn rendered(stack: &ExecutionPolicy<'_>) -> [(&'static str, Value); 5] {
    let (account, names) = (stack.account, names());
    [
        ("trust", policies::trust()),
        ("execution", policies::execution(stack).unwrap()),
        ("repository", policies::repository(account, &names.function).unwrap()),
        ("operator", policies::operator(account, &names).unwrap()),
        ("reader", policies::reader(account, &names).unwrap()),
    ]
}
