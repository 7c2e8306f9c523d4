//! One statement of the function's own policy: the internet may call it by its URL.
//!
//! A URL needs two of them, and they are there before it (AWS, *Control access to Lambda function
//! URLs*). Their ids are fixed, so an interrupted run leaves none that nobody knows.

use aws_sdk_lambda::types::FunctionUrlAuthType;
use serde_json::{Value, json};

use crate::aws::values::StatementId;
use crate::aws::{Clients, CloudError, OrAbsent as _, Reader, Writer, call};
use crate::engine::Address;
use crate::engine::Ownership;
use crate::engine::Resource;
use crate::engine::document;
use crate::engine::plan::{Action, Change, Danger, Fields, Replaced};
use crate::resources::function::Function;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// `lambda:InvokeFunctionUrl`, while the URL asks for no signature.
    CallUrl,
    /// `lambda:InvokeFunction`, when called by the URL only.
    CallFunction,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    pub function: String,
    pub grant: Grant,
}

/// What is there: effect, principal, action and condition, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionLive(pub Value);

impl Permission {
    /// The id of the statement.
    #[must_use]
    pub const fn id(&self) -> StatementId {
        const CALL_URL: StatementId = StatementId::new("FunctionURLAllowPublicAccess");
        const CALL_FUNCTION: StatementId = StatementId::new("FunctionURLInvokeAllowPublicAccess");
        match self.grant {
            Grant::CallUrl => CALL_URL,
            Grant::CallFunction => CALL_FUNCTION,
        }
    }

    /// The statement, in the form of [`PermissionLive`].
    #[must_use]
    pub fn statement(&self) -> Value {
        let (action, condition) = match self.grant {
            Grant::CallUrl => (
                "lambda:InvokeFunctionUrl",
                json!({"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}),
            ),
            Grant::CallFunction => {
                ("lambda:InvokeFunction", json!({"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}))
            }
        };
        json!({"Effect": "Allow", "Principal": "*", "Action": action, "Condition": condition})
    }

    async fn add(&self, cloud: &Writer) -> Result<(), CloudError> {
        let add = async || {
            let add = cloud.clients().lambda.add_permission().function_name(&self.function);
            let add = add.statement_id(self.id().as_str()).principal("*");
            let add = match self.grant {
                Grant::CallUrl => add
                    .action("lambda:InvokeFunctionUrl")
                    .function_url_auth_type(FunctionUrlAuthType::None),
                Grant::CallFunction => {
                    add.action("lambda:InvokeFunction").invoked_via_function_url(true)
                }
            };
            call("Lambda", "AddPermission", add.send()).await
        };
        cloud.persist(add).await.map(drop)
    }
}

/// Takes out of a function's policy what the statement `id` says.
fn statement(policy: &str, id: &str) -> Option<PermissionLive> {
    let policy = document::parse(policy);
    let statements = document::statements(&policy);
    let named = |one: &&&Value| one.get("Sid").and_then(Value::as_str) == Some(id);
    let found = statements.iter().find(named)?;
    let principal = match found.get("Principal") {
        Some(Value::Object(map)) if map.get("AWS") == Some(&json!("*")) => json!("*"),
        other => other.cloned().unwrap_or_default(),
    };
    let get = |key: &str| found.get(key).cloned().unwrap_or_default();
    Some(PermissionLive(json!({
        "Effect": get("Effect"), "Principal": principal, "Action": get("Action"),
        "Condition": get("Condition"),
    })))
}

impl Resource<Clients> for Permission {
    type Live = PermissionLive;

    fn address(&self) -> Address {
        Address::new("permission", self.id().as_str())
    }

    fn ownership(&self, _live: &PermissionLive) -> Ownership {
        Ownership::Ours
    }

    fn belongs_to(&self, _live: &PermissionLive) -> Option<Address> {
        Some(Function::address_of(&self.function))
    }

    fn diff(&self, live: Option<&PermissionLive>) -> Change {
        let wanted = self.statement();
        let fields = |before: Value| Fields::new().field("Statement", before, wanted.clone());
        let change = match live {
            None => Change::create(self.address(), fields(Value::Null)),
            Some(live) if live.0 == wanted => {
                Change::new(self.address(), Action::Keep, Fields::new())
            }
            Some(live) => {
                let action = Action::Replace(Replaced::StatementIsFixed);
                Change::new(self.address(), action, fields(live.0.clone()))
            }
        };
        change.flag(Danger::Exposes, true)
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<PermissionLive>, CloudError> {
        let policy = cloud.clients().lambda.get_policy().function_name(&self.function).send();
        let policy = call("Lambda", "GetPolicy", policy).await.or_absent()?;
        Ok(policy.and_then(|found| statement(found.policy()?, self.id().as_str())))
    }

    async fn apply(&self, live: Option<PermissionLive>, cloud: &Writer) -> Result<(), CloudError> {
        if live.is_some() {
            self.delete(cloud).await?;
        }
        self.add(cloud).await
    }

    async fn delete(&self, cloud: &Writer) -> Result<(), CloudError> {
        let remove = async || {
            let remove = cloud.clients().lambda.remove_permission();
            let remove =
                remove.function_name(&self.function).statement_id(self.id().as_str()).send();
            call("Lambda", "RemovePermission", remove).await.or_absent()
        };
        cloud.persist(remove).await.map(drop)
    }
}
