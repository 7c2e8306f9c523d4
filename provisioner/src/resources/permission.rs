//! One statement of the function's own policy: the internet may call it by its URL.
//!
//! A URL needs two of them, and they are there before it (AWS, *Control access to Lambda function
//! URLs*). Their ids are fixed, so an interrupted run leaves none that nobody knows; a statement
//! that says the same under another id, as CloudFormation gives them, is as good.

use aws_sdk_lambda::types::FunctionUrlAuthType;
use serde_json::Value;

use crate::aws::{Clients, CloudError, Reader, Writer, call};
use crate::engine::Address;
use crate::engine::Ownership;
use crate::engine::Resource;
use crate::engine::plan::{Action, Change, Danger, Fields, Replaced};
use crate::resources::function::Function;
use crate::resources::policy::{self, Grant};

/// One of the two statements of this function; what it says follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    pub function: String,
    pub grant: Grant,
}

/// What is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermissionLive {
    pub id: String,
    /// Effect, principal, action and condition, in canonical form.
    pub statement: Value,
}

impl Permission {
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
        let spec = self.grant.statement();
        let fields = |before: Value| Fields::new().field("Statement", before, spec.clone());
        let change = match live {
            None => Change::create(self.address(), fields(Value::Null)),
            Some(live) if live.statement == spec => {
                Change::new(self.address(), Action::Keep, Fields::new())
            }
            Some(live) => {
                let action = Action::Replace(Replaced::StatementIsFixed);
                Change::new(self.address(), action, fields(live.statement.clone()))
            }
        };
        change.flag(Danger::Exposes, true)
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<PermissionLive>, CloudError> {
        let all = policy::statements(&self.function, cloud).await?;
        let found = self.grant.found(&all);
        Ok(found
            .map(|(id, statement)| PermissionLive { id: id.clone(), statement: statement.clone() }))
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

    async fn delete(&self, live: PermissionLive, cloud: &Writer) -> Result<(), CloudError> {
        policy::remove(&self.function, &live.id, cloud).await
    }
}
