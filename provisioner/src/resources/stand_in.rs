//! A role that a function takes for a moment, so that taking its own again has an effect.
//!
//! It may do nothing, exists for seconds, and belongs to the function's role: whoever removes that
//! removes this as well.

use crate::aws::values::Boundary;
use crate::aws::{CloudError, Kind, OrAbsent as _, Reader, Writer, call};
use crate::engine::{Ownership, Tags};
use crate::resources::role::{self, Role};

/// What it would be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    name: String,
    trust: String,
    boundary: Option<Boundary>,
    tags: Tags,
}

impl StandIn {
    /// That of `role`.
    #[must_use]
    pub fn of(role: &Role) -> Self {
        let Role { name, trust, boundary, tags, .. } = role;
        Self {
            name: format!("{name}-stand-in"),
            trust: trust.to_string(),
            boundary: boundary.clone(),
            tags: tags.clone(),
        }
    }

    /// Makes it, unless it is there; its ARN.
    pub(super) async fn make(&self, cloud: &Writer) -> Result<String, CloudError> {
        if let Some(arn) = self.find(cloud.reader()).await? {
            return Ok(arn);
        }
        let create = async || {
            let create = cloud.clients().iam.create_role().role_name(&self.name);
            let create = create.assume_role_policy_document(&self.trust);
            let create = create.set_tags(Some(role::tags(&self.tags)));
            let boundary = self.boundary.as_ref().map(|boundary| boundary.0.clone());
            call("IAM", "CreateRole", create.set_permissions_boundary(boundary).send()).await
        };
        let made = cloud.persist(create).await?;
        Ok(made.role.map(|role| role.arn).unwrap_or_default())
    }

    /// Removes it, if it is there.
    pub(super) async fn remove(&self, cloud: &Writer) -> Result<(), CloudError> {
        if self.find(cloud.reader()).await?.is_none() {
            return Ok(());
        }
        let delete = async || {
            let delete = cloud.clients().iam.delete_role().role_name(&self.name).send();
            call("IAM", "DeleteRole", delete).await.or_absent()
        };
        cloud.persist(delete).await.map(drop)
    }

    async fn find(&self, cloud: &Reader) -> Result<Option<String>, CloudError> {
        let get = cloud.clients().iam.get_role().role_name(&self.name).send();
        let found = call("IAM", "GetRole", get).await.or_absent()?;
        let Some(role) = found.and_then(|found| found.role) else { return Ok(None) };
        let tags = role.tags.into_iter().flatten().map(|tag| (tag.key, tag.value)).collect();
        match self.tags.judge(&tags) {
            Ownership::Ours => Ok(Some(role.arn)),
            Ownership::Foreign(why) => {
                let name = &self.name;
                let why = format!("the role {name} would have to stand in, but {why}");
                Err(CloudError::new(Kind::Foreign, why))
            }
        }
    }
}
