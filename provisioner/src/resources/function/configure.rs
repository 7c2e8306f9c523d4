//! Changes the variables of a function that is there, and nothing else of it.

use std::collections::BTreeMap;

use aws_sdk_lambda::types::Environment;

use super::{FAILED, Function};
use crate::aws::{CloudError, Kind, Writer, call};

impl Function {
    /// Changes the variables of the function of this name, and nothing else; returns when it runs
    /// with them.
    ///
    /// Whoever changes it at the same moment is not overwritten: their change is read, and `merge`
    /// is asked again.
    ///
    /// # Errors
    ///
    /// If it cannot be read or changed, or `merge` refuses.
    pub async fn configure(
        name: &str,
        merge: impl Fn(&BTreeMap<String, String>) -> Result<BTreeMap<String, String>, CloudError>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let change = async || {
            let live = Self::settled(name, cloud).await?;
            let variables = merge(&live.environment)?;
            if variables == live.environment {
                return Ok(());
            }
            let update = cloud.clients().lambda.update_function_configuration();
            let variables = Some(variables.into_iter().collect());
            let update = update
                .function_name(name)
                .environment(Environment::builder().set_variables(variables).build())
                .set_revision_id(live.revision);
            match call("Lambda", "UpdateFunctionConfiguration", update.send()).await {
                // The next try reads it again.
                Err(error) if error.kind == Kind::Stale => {
                    Err(CloudError { kind: Kind::Busy, ..error })
                }
                ended => ended.map(drop),
            }
        };
        cloud.persist(change).await?;
        let live = Self::settled(name, cloud).await?;
        if live.last_update == FAILED {
            let why = format!("Lambda could not change it: {}", live.state_reason);
            return Err(CloudError::new(Kind::Other, why));
        }
        Ok(())
    }
}
