//! A role that a function takes for a moment, so that taking its own again has an effect.
//!
//! It may do nothing, exists for seconds, and belongs to the function's role: whoever removes that
//! removes this as well.

use crate::aws::values::Boundary;
use crate::aws::{CloudError, Kind, OrAbsent as _, Reader, Writer, call};
use crate::engine::{Marks, Ownership};
use crate::resources::role::{self, Role, RoleSpec};

/// What it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    role: Role,
    trust: String,
    boundary: Option<Boundary>,
}

impl StandIn {
    /// That of `role`.
    #[must_use]
    pub fn of(role: &Role, spec: &RoleSpec) -> Self {
        let (trust, boundary) = (spec.trust.to_string(), spec.boundary.clone());
        Self { role: role.clone(), trust, boundary }
    }

    /// Makes it, unless it is there; its ARN.
    pub(super) async fn make(&self, cloud: &Writer) -> Result<String, CloudError> {
        if let Some(arn) = find(&self.role, cloud.reader()).await? {
            return Ok(arn);
        }
        let tags = self.role.tags.with(&Marks::new());
        let create = async || {
            let create = cloud.clients().iam.create_role().role_name(name(&self.role));
            let create = create.assume_role_policy_document(&self.trust);
            let create = create.set_tags(Some(role::tags(&tags)));
            let boundary = self.boundary.as_ref().map(|boundary| boundary.0.clone());
            call("IAM", "CreateRole", create.set_permissions_boundary(boundary).send()).await
        };
        let made = cloud.persist(create).await?;
        Ok(made.role.map(|role| role.arn).unwrap_or_default())
    }
}

/// Removes that of `role`, if it is there.
pub(super) async fn remove(role: &Role, cloud: &Writer) -> Result<(), CloudError> {
    if find(role, cloud.reader()).await?.is_none() {
        return Ok(());
    }
    let delete = async || {
        let delete = cloud.clients().iam.delete_role().role_name(name(role)).send();
        call("IAM", "DeleteRole", delete).await.or_absent()
    };
    cloud.persist(delete).await.map(drop)
}

async fn find(role: &Role, cloud: &Reader) -> Result<Option<String>, CloudError> {
    let name = name(role);
    let get = cloud.clients().iam.get_role().role_name(&name).send();
    let found = call("IAM", "GetRole", get).await.or_absent()?;
    let Some(found) = found.and_then(|found| found.role) else { return Ok(None) };
    let tags = found.tags.into_iter().flatten().map(|tag| (tag.key, tag.value)).collect();
    match role.tags.judge(&tags) {
        Ownership::Ours => Ok(Some(found.arn)),
        Ownership::Foreign(why) => {
            let why = format!("the role {name} would have to stand in, but {why}");
            Err(CloudError::new(Kind::Foreign, why))
        }
    }
}

fn name(role: &Role) -> String {
    format!("{}-stand-in", role.name)
}
