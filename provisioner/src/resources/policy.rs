//! The function's own policy, statement by statement: who may call it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::aws::values::StatementId;
use crate::aws::{CloudError, OrAbsent as _, Reader, Writer, call};
use crate::engine::document;

/// Which of the two statements that let the internet call the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// `lambda:InvokeFunctionUrl`, while the URL asks for no signature.
    CallUrl,
    /// `lambda:InvokeFunction`, when called by the URL only.
    CallFunction,
}

impl Grant {
    /// Both, in the order in which they are made.
    pub const ALL: [Self; 2] = [Self::CallUrl, Self::CallFunction];

    /// The id of the statement.
    #[must_use]
    pub const fn id(self) -> StatementId {
        const CALL_URL: StatementId = StatementId::new("FunctionURLAllowPublicAccess");
        const CALL_FUNCTION: StatementId = StatementId::new("FunctionURLInvokeAllowPublicAccess");
        match self {
            Self::CallUrl => CALL_URL,
            Self::CallFunction => CALL_FUNCTION,
        }
    }

    /// What it says: effect, principal, action and condition, in canonical form.
    #[must_use]
    pub fn statement(self) -> Value {
        let (action, condition) = match self {
            Self::CallUrl => (
                "lambda:InvokeFunctionUrl",
                json!({"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}),
            ),
            Self::CallFunction => {
                ("lambda:InvokeFunction", json!({"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}))
            }
        };
        json!({"Effect": "Allow", "Principal": "*", "Action": action, "Condition": condition})
    }

    /// The statement among `all` that is this one: by its id, else by what it says.
    pub(super) fn found(self, all: &BTreeMap<String, Value>) -> Option<(&String, &Value)> {
        let same = || all.iter().find(|(_, said)| **said == self.statement());
        all.get_key_value(self.id().as_str()).or_else(same)
    }
}

/// Those of `all` that no [`Grant`] is.
pub(super) fn strangers(mut all: BTreeMap<String, Value>) -> BTreeMap<String, Value> {
    let found = Grant::ALL.map(|grant| grant.found(&all).map(|(id, _)| id.clone()));
    for id in found.into_iter().flatten() {
        all.remove(&id);
    }
    all
}

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
