//! The function's own policy, statement by statement: who may call it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::aws::{CloudError, OrAbsent as _, Reader, Writer, call};
use crate::engine::document;

/// What each statement says, by its id, in canonical form: effect, principal, action and condition.
pub(super) async fn statements(
    function: &str,
    cloud: &Reader,
) -> Result<BTreeMap<String, Value>, CloudError> {
    let policy = cloud.clients().lambda.get_policy().function_name(function).send();
    let policy = call("Lambda", "GetPolicy", policy).await.or_absent()?;
    let policy = policy.and_then(|found| found.policy).unwrap_or_default();
    Ok(read(&policy))
}

fn read(policy: &str) -> BTreeMap<String, Value> {
    let policy = document::parse(policy);
    let all = document::statements(&policy).into_iter().filter_map(|one| {
        let id = one.get("Sid")?.as_str()?.to_owned();
        let principal = match one.get("Principal") {
            Some(Value::Object(map)) if map.get("AWS") == Some(&json!("*")) => json!("*"),
            other => other.cloned().unwrap_or_default(),
        };
        let get = |key: &str| one.get(key).cloned().unwrap_or_default();
        let statement = json!({
            "Effect": get("Effect"), "Principal": principal, "Action": get("Action"),
            "Condition": get("Condition"),
        });
        Some((id, statement))
    });
    all.collect()
}

/// Removes the statement `id`, if it is there.
pub(super) async fn remove(function: &str, id: &str, cloud: &Writer) -> Result<(), CloudError> {
    let remove = async || {
        let remove = cloud.clients().lambda.remove_permission().function_name(function);
        call("Lambda", "RemovePermission", remove.statement_id(id).send()).await.or_absent()
    };
    cloud.persist(remove).await.map(drop)
}
