//! May whoever asks do what `up` and `down` need? IAM is asked to simulate it.
//!
//! A simulation knows the caller's policies and boundaries; what an organisation forbids shows only
//! when it is tried.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, PolicyEvaluationDecisionType};
use futures_util::future::join_all;
use serde_json::Value;

use super::Check;
use crate::aws::{Cloud, CloudError, Reader, call, pages};
use crate::stack::names::Names;
use crate::stack::policies;

/// Simulates every statement of the operator's policy; which actions are denied.
pub(crate) async fn permissions(cloud: &Cloud, names: &Names) -> (Check, BTreeSet<String>) {
    match denied(cloud, names).await {
        Ok(denied) => (of_denied(&denied), denied),
        Err(check) => (check, BTreeSet::new()),
    }
}

async fn denied(cloud: &Cloud, names: &Names) -> Result<BTreeSet<String>, Check> {
    let warn = |cause: &str, cure: &str| Err(Check::warn("permissions", cause, cure));
    let Ok(policy) = policies::operator(&cloud.account, names) else {
        return warn("not checked: a name fits no policy", "use another");
    };
    let reader = cloud.reader();
    let principal = match principal(&cloud.caller) {
        Principal::Root => {
            let cure = "use a role or user with policies/operator.json";
            return warn("the root user may do everything", cure);
        }
        Principal::Unknown => {
            let cure = "compare with policies/operator.json";
            return warn("not checked: IAM simulates no such caller", cure);
        }
        Principal::User(arn) => arn,
        Principal::Role(name) => {
            role(&name, &cloud.account.iam_arn(&format!("role/{name}")), &reader).await
        }
    };
    let statements = policy["Statement"].as_array().cloned().unwrap_or_default();
    let asked = statements.iter().map(|statement| simulate(&principal, statement, &reader));
    let mut denied = BTreeSet::new();
    for answer in join_all(asked).await {
        denied.extend(answer.map_err(|error| Check::unknown("permissions", &error))?);
    }
    Ok(denied)
}

/// Judges by what is denied.
#[must_use]
pub fn of_denied(denied: &BTreeSet<String>) -> Check {
    if denied.is_empty() {
        return Check::ok("permissions", "all that `up` and `down` need, as IAM simulates it");
    }
    let shown: Vec<&str> = denied.iter().map(String::as_str).take(5).collect();
    let more = denied.len().saturating_sub(shown.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let cause = format!("denied: {}{more}", shown.join(", "));
    Check::fail("permissions", cause, "attach policies/operator.json, filled in for this stack")
}

/// Whose policies are simulated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    Root,
    User(String),
    /// By its name: a session's ARN has no path.
    Role(String),
    Unknown,
}

/// Reads the ARN that STS gives.
#[must_use]
pub fn principal(caller: &str) -> Principal {
    let resource = caller.splitn(6, ':').nth(5).unwrap_or_default();
    match resource.split('/').collect::<Vec<_>>()[..] {
        ["root"] => Principal::Root,
        ["user", ..] => Principal::User(caller.to_owned()),
        ["assumed-role", name, _] => Principal::Role(name.to_owned()),
        _ => Principal::Unknown,
    }
}

async fn role(name: &str, guess: &str, reader: &Reader) -> String {
    let get = reader.clients().iam.get_role().role_name(name).send();
    let found = call("IAM", "GetRole", get).await.ok().and_then(|found| found.role);
    found.map_or_else(|| guess.to_owned(), |role| role.arn)
}

/// Which actions of `statement` are denied.
async fn simulate(
    principal: &str,
    statement: &Value,
    reader: &Reader,
) -> Result<Vec<String>, CloudError> {
    let asking = reader.clients().iam.simulate_principal_policy().policy_source_arn(principal);
    let asking = asking
        .set_action_names(Some(words(&statement["Action"])))
        .set_resource_arns(Some(words(&statement["Resource"])))
        .set_context_entries(Some(context(statement).into_iter().map(entry).collect()));
    let asking = asking.into_paginator().send();
    let found = pages(("IAM", "SimulatePrincipalPolicy"), asking, |page| page.is_truncated).await?;
    let denied = found
        .into_iter()
        .flat_map(|page| page.evaluation_results.unwrap_or_default())
        .filter(|result| result.eval_decision != PolicyEvaluationDecisionType::Allowed);
    Ok(denied.map(|result| result.eval_action_name).collect())
}

/// What the statement's conditions ask for: an action that meets them is what is simulated.
#[must_use]
pub fn context(statement: &Value) -> BTreeMap<String, Vec<String>> {
    let operators = statement["Condition"].as_object().into_iter().flatten();
    let keys = operators.flat_map(|(_, keys)| keys.as_object().into_iter().flatten());
    keys.map(|(key, values)| (key.clone(), words(values))).collect()
}

fn entry((key, values): (String, Vec<String>)) -> ContextEntry {
    ContextEntry::builder()
        .context_key_name(key)
        .context_key_type(ContextKeyTypeEnum::String)
        .set_context_key_values(Some(values))
        .build()
}

fn words(value: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    value.as_array().map_or_else(
        || text(value).into_iter().collect(),
        |all| all.iter().filter_map(text).collect(),
    )
}
