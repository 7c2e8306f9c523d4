//! One statement of the function's own policy: the internet may call it by its URL.
//!
//! A URL needs two of them, and they are there before it (AWS, *Control access to Lambda function
//! URLs*). Their ids are fixed, so an interrupted run leaves none that nobody knows.

use aws_sdk_lambda::types::FunctionUrlAuthType;
use serde_json::{Value, json};

use crate::aws::values::StatementId;
use crate::aws::{Clients, CloudError, Reader, Writer, call};
use crate::engine::Address;
use crate::engine::Ownership;
use crate::engine::Resource;
use crate::engine::plan::{Action, Change, Danger, Fields, Replaced};
use crate::resources::function::Function;
use crate::resources::policy;

/// Which of the two.
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
}

/// One of the two statements of this function; what it says follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    pub function: String,
    pub grant: Grant,
}

/// What is there: effect, principal, action and condition, in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionLive(pub Value);

impl Permission {
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
            let add = add.statement_id(self.grant.id().as_str()).principal("*");
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

impl Resource<Clients> for Permission {
    /// That it is there.
    type Spec = ();
    type Live = PermissionLive;

    fn address(&self) -> Address {
        Address::new("permission", self.grant.id().as_str())
    }

    fn ownership(&self, _live: &PermissionLive) -> Ownership {
        Ownership::Ours
    }

    fn belongs_to(&self, _live: Option<&PermissionLive>) -> Option<Address> {
        Some(Function::address_of(&self.function))
    }

    fn refers_to(&self, (): &()) -> Vec<Address> {
        let function = Function::address_of(&self.function);
        match self.grant {
            Grant::CallUrl => vec![function],
            // One policy holds both.
            Grant::CallFunction => {
                vec![function, Self { grant: Grant::CallUrl, ..self.clone() }.address()]
            }
        }
    }

    fn diff(&self, (): &(), live: Option<&PermissionLive>) -> Change {
        let spec = self.statement();
        let fields = |before: Value| Fields::new().field("Statement", before, spec.clone());
        let change = match live {
            None => Change::create(self.address(), fields(Value::Null)),
            Some(live) if live.0 == spec => {
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
        let mut all = policy::statements(&self.function, cloud).await?;
        Ok(all.remove(self.grant.id().as_str()).map(PermissionLive))
    }

    async fn apply(
        &self,
        (): &(),
        live: Option<PermissionLive>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        if let Some(live) = live {
            self.delete(live, cloud).await?;
        }
        self.add(cloud).await
    }

    async fn delete(&self, _live: PermissionLive, cloud: &Writer) -> Result<(), CloudError> {
        policy::remove(&self.function, self.grant.id().as_str(), cloud).await
    }
}
