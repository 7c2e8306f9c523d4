//! Changes the variables of a function that is there, and nothing else of it.

use std::collections::BTreeMap;

use aws_sdk_lambda::types::Environment;

use super::{FAILED, Function};
use crate::aws::{CloudError, Kind, Writer, call};

impl Function {
    /// Gives it the variables that `merge` makes of those that are there, and nothing else; returns
    /// when it runs with them.
    ///
    /// # Errors
    ///
    /// If it cannot be read or changed. [`Kind::Stale`] where somebody else has changed it since,
    /// or `merge` makes nothing of what is there: then it has to be judged again.
    pub async fn set_variables(
        &self,
        merge: impl Fn(&BTreeMap<String, String>) -> Option<BTreeMap<String, String>>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let change = async || {
            let live = Self::settled(&self.name, cloud).await?;
            let Some(variables) = merge(&live.environment) else {
                return Err(CloudError::new(Kind::Stale, "somebody else has just changed it"));
            };
            if variables == live.environment {
                return Ok(());
            }
            let variables = Some(variables.into_iter().collect());
            let update = cloud.clients().lambda.update_function_configuration();
            let update = update
                .function_name(&self.name)
                .environment(Environment::builder().set_variables(variables).build())
                .set_revision_id(live.revision);
            call("Lambda", "UpdateFunctionConfiguration", update.send()).await.map(drop)
        };
        cloud.persist(change).await?;
        let live = Self::settled(&self.name, cloud).await?;
        if live.last_update == FAILED {
            let why = format!("Lambda could not change it: {}", live.state_reason);
            return Err(CloudError::new(Kind::Other, why));
        }
        Ok(())
    }
}
