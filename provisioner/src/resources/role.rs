//! The role that the function works under: who may take it, and what it may do.
//!
//! The whole role is ours: a policy that somebody added to it is shown and taken off.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::types::Tag;
use serde_json::Value;

use crate::aws::values::{Boundary, PolicyName};
use crate::aws::{Clients, CloudError, OrAbsent as _, Reader, Writer, call, pages};
use crate::engine::Address;
use crate::engine::Resource;
use crate::engine::document;
use crate::engine::plan::{Change, Danger, Fields};
use crate::engine::{Marks, Ownership, Tags};
use crate::resources::stand_in;

/// The role of this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub tags: Tags,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSpec {
    /// Who may take it.
    pub trust: Value,
    /// The one policy that is written into it.
    pub policy_name: PolicyName,
    /// `None` leaves that policy as it is.
    pub policy: Option<Value>,
    /// The ARN of the one policy of AWS's own that is attached to it.
    pub managed: String,
    pub boundary: Option<Boundary>,
    pub marks: Marks,
    /// What the policies allow, in words.
    pub about: String,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RoleLive {
    pub trust: Value,
    pub policies: BTreeMap<String, Value>,
    pub attached: BTreeSet<String>,
    pub boundary: Option<String>,
    pub tags: BTreeMap<String, String>,
}

impl Role {
    /// Writes a policy into the role that is there, and nothing else.
    ///
    /// # Errors
    ///
    /// If IAM does not take it.
    pub async fn write_policy(
        &self,
        name: PolicyName,
        policy: &Value,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let document = policy.to_string();
        let put = async || {
            let put = cloud.clients().iam.put_role_policy().role_name(&self.name);
            let put = put.policy_name(name.as_str()).policy_document(&document).send();
            call("IAM", "PutRolePolicy", put).await
        };
        cloud.persist(put).await.map(drop)
    }

    fn fields(&self, spec: &RoleSpec, live: &RoleLive) -> Fields {
        let boundary = spec.boundary.as_ref().map(|boundary| boundary.0.clone());
        let before = |name: &str| live.policies.get(name).cloned().unwrap_or_default();
        let mut fields = Fields::new()
            .field("AssumeRolePolicyDocument", live.trust.clone(), spec.trust.clone())
            .field("PermissionsBoundary", live.boundary.clone(), boundary);
        if let Some(policy) = &spec.policy {
            let had = before(spec.policy_name.as_str());
            fields = fields.field(format!("Policies.{}", spec.policy_name), had, policy.clone());
        }
        for name in spec.strange_policies(live) {
            fields = fields.field(format!("Policies.{name}"), before(name), Value::Null);
        }
        let managed = [spec.managed.clone()].into();
        if live.attached != managed {
            let list = |arns: &BTreeSet<String>| arns.iter().cloned().collect::<Vec<_>>();
            let had = (!live.attached.is_empty()).then(|| list(&live.attached));
            fields = fields.field("AttachedPolicies", had, list(&managed));
        }
        let fields = fields.at_least("Tags", &live.tags, self.tags.pairs());
        fields.marks(&live.tags, &spec.marks)
    }

    /// The id of the role `name`, another one for each that has had the name; `None` if there is
    /// none.
    pub(super) async fn id(name: &str, cloud: &Reader) -> Result<Option<String>, CloudError> {
        let get = cloud.clients().iam.get_role().role_name(name).send();
        let found = call("IAM", "GetRole", get).await.or_absent()?;
        Ok(found.and_then(|found| found.role).map(|role| role.role_id))
    }

    async fn create(&self, spec: &RoleSpec, cloud: &Writer) -> Result<RoleLive, CloudError> {
        let iam = &cloud.clients().iam;
        let boundary = spec.boundary.as_ref().map(|boundary| boundary.0.clone());
        let owned = self.tags.with(&spec.marks);
        cloud
            .persist(async || {
                let role = iam
                    .create_role()
                    .role_name(&self.name)
                    .assume_role_policy_document(spec.trust.to_string())
                    .set_permissions_boundary(boundary.clone())
                    .set_tags(Some(tags(&owned)));
                call("IAM", "CreateRole", role.send()).await
            })
            .await?;
        // What was just made is not there yet for everyone: it is not read back.
        let trust = spec.trust.clone();
        Ok(RoleLive { trust, boundary, tags: owned, ..Default::default() })
    }

    async fn apply_itself(
        &self,
        spec: &RoleSpec,
        live: &RoleLive,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let iam = &cloud.clients().iam;
        // What was asked is written down before it is done: who finishes the job reads it.
        let owned = self.tags.with(&spec.marks);
        if Fields::new().tags(&live.tags, &owned) != Fields::new() {
            let tag = async || {
                let tag = iam.tag_role().role_name(&self.name).set_tags(Some(tags(&owned)));
                call("IAM", "TagRole", tag.send()).await
            };
            cloud.persist(tag).await?;
        }
        if live.trust != spec.trust {
            let trust = spec.trust.to_string();
            let update = async || {
                let update = iam.update_assume_role_policy().role_name(&self.name);
                let update = update.policy_document(&trust).send();
                call("IAM", "UpdateAssumeRolePolicy", update).await
            };
            cloud.persist(update).await?;
        }
        self.bound(spec, live, cloud).await
    }

    async fn bound(
        &self,
        spec: &RoleSpec,
        live: &RoleLive,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let iam = &cloud.clients().iam;
        match &spec.boundary {
            Some(boundary) if live.boundary.as_ref() != Some(&boundary.0) => {
                let put = async || {
                    let put = iam.put_role_permissions_boundary().role_name(&self.name);
                    let put = put.permissions_boundary(&boundary.0).send();
                    call("IAM", "PutRolePermissionsBoundary", put).await
                };
                cloud.persist(put).await.map(drop)
            }
            None if live.boundary.is_some() => {
                let delete = async || {
                    let delete = iam.delete_role_permissions_boundary().role_name(&self.name);
                    call("IAM", "DeleteRolePermissionsBoundary", delete.send()).await.or_absent()
                };
                cloud.persist(delete).await.map(drop)
            }
            Some(_) | None => Ok(()),
        }
    }

    async fn apply_policies(
        &self,
        spec: &RoleSpec,
        live: &RoleLive,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let iam = &cloud.clients().iam;
        for name in spec.strange_policies(live) {
            self.delete_policy(name, cloud).await?;
        }
        for arn in live.attached.iter().filter(|arn| **arn != spec.managed) {
            self.detach(arn, cloud).await?;
        }
        if let Some(policy) = &spec.policy
            && live.policies.get(spec.policy_name.as_str()) != Some(policy)
        {
            self.write_policy(spec.policy_name, policy, cloud).await?;
        }
        if !live.attached.contains(&spec.managed) {
            let attach = async || {
                let attach = iam.attach_role_policy().role_name(&self.name);
                let attach = attach.policy_arn(&spec.managed).send();
                call("IAM", "AttachRolePolicy", attach).await
            };
            cloud.persist(attach).await?;
        }
        Ok(())
    }

    async fn delete_policy(&self, name: &str, cloud: &Writer) -> Result<(), CloudError> {
        let delete = async || {
            let delete = cloud.clients().iam.delete_role_policy();
            let delete = delete.role_name(&self.name).policy_name(name).send();
            call("IAM", "DeleteRolePolicy", delete).await.or_absent()
        };
        cloud.persist(delete).await.map(drop)
    }

    async fn detach(&self, arn: &str, cloud: &Writer) -> Result<(), CloudError> {
        let detach = async || {
            let detach = cloud.clients().iam.detach_role_policy();
            let detach = detach.role_name(&self.name).policy_arn(arn).send();
            call("IAM", "DetachRolePolicy", detach).await.or_absent()
        };
        cloud.persist(detach).await.map(drop)
    }

    /// The instance profiles that the role is in: they hold on to it, and are somebody else's.
    async fn profiles(&self, cloud: &Reader) -> Result<Vec<String>, CloudError> {
        let list = cloud.clients().iam.list_instance_profiles_for_role().role_name(&self.name);
        let asked = ("IAM", "ListInstanceProfilesForRole");
        let list = pages(asked, list.into_paginator().send(), |page| page.is_truncated);
        let list = list.await.or_absent()?.unwrap_or_default();
        let profiles = list.into_iter().flat_map(|page| page.instance_profiles);
        Ok(profiles.map(|profile| profile.instance_profile_name).collect())
    }

    async fn read_policies(&self, cloud: &Reader) -> Result<BTreeMap<String, Value>, CloudError> {
        let iam = &cloud.clients().iam;
        let names = iam.list_role_policies().role_name(&self.name).into_paginator().send();
        let names = pages(("IAM", "ListRolePolicies"), names, |page| page.is_truncated).await?;
        let mut policies = BTreeMap::new();
        for name in names.into_iter().flat_map(|page| page.policy_names) {
            let get = iam.get_role_policy().role_name(&self.name).policy_name(&name).send();
            if let Some(policy) = call("IAM", "GetRolePolicy", get).await.or_absent()? {
                policies.insert(name, document::parse_encoded(policy.policy_document()));
            }
        }
        Ok(policies)
    }
}

impl RoleSpec {
    fn strange_policies<'a>(&self, live: &'a RoleLive) -> impl Iterator<Item = &'a str> + use<'a> {
        let ours = self.policy_name.as_str();
        live.policies.keys().map(String::as_str).filter(move |name| *name != ours)
    }
}

/// Tags as IAM takes them.
pub(super) fn tags(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
    tags.iter().map(|pair| tag(pair).expect("it has a key and a value")).collect()
}

impl Resource<Clients> for Role {
    type Spec = RoleSpec;
    type Live = RoleLive;

    fn address(&self) -> Address {
        Address::new("iam-role", &self.name)
    }

    fn ownership(&self, live: &RoleLive) -> Ownership {
        self.tags.judge(&live.tags)
    }

    fn diff(&self, spec: &RoleSpec, live: Option<&RoleLive>) -> Change {
        let nothing = RoleLive::default();
        let before = live.unwrap_or(&nothing);
        let fields = self.fields(spec, before);
        let had = before.policies.get(spec.policy_name.as_str()).unwrap_or(&Value::Null);
        let policy = spec.policy.as_ref();
        let widens = policy.is_some_and(|policy| document::widens(had, policy))
            || document::widens(&before.trust, &spec.trust)
            || !before.attached.contains(&spec.managed)
            || (before.boundary.is_some() && spec.boundary.is_none());
        let change = match live {
            None => Change::create(self.address(), fields),
            Some(_) => Change::compare(self.address(), fields),
        };
        change.flag(Danger::WidensRights, widens).about(&spec.about)
    }

    async fn refuses_removal(
        &self,
        _live: &RoleLive,
        cloud: &Reader,
    ) -> Result<Option<String>, CloudError> {
        let profiles = self.profiles(cloud).await?;
        Ok((!profiles.is_empty()).then(|| {
            format!(
                "it is in the instance profile {}: take it out first (aws iam \
                 remove-role-from-instance-profile --role-name {} --instance-profile-name {})",
                profiles.join(", "),
                self.name,
                profiles[0]
            )
        }))
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<RoleLive>, CloudError> {
        let iam = &cloud.clients().iam;
        let get = iam.get_role().role_name(&self.name).send();
        let Some(role) =
            call("IAM", "GetRole", get).await.or_absent()?.and_then(|found| found.role)
        else {
            return Ok(None);
        };
        let attached = iam.list_attached_role_policies().role_name(&self.name);
        let asked = ("IAM", "ListAttachedRolePolicies");
        let attached = pages(asked, attached.into_paginator().send(), |page| page.is_truncated);
        let tags = iam.list_role_tags().role_name(&self.name).into_paginator().send();
        let tags = pages(("IAM", "ListRoleTags"), tags, |page| page.is_truncated);
        let tags = async { super::tags(tags.await) };
        let Some((policies, attached, tags)) =
            tokio::try_join!(self.read_policies(cloud), attached, tags).or_absent()?
        else {
            return Ok(None);
        };
        Ok(Some(RoleLive {
            trust: document::parse_encoded(role.assume_role_policy_document().unwrap_or_default()),
            policies,
            attached: attached
                .into_iter()
                .flat_map(|page| page.attached_policies.unwrap_or_default())
                .filter_map(|policy| policy.policy_arn)
                .collect(),
            boundary: role.permissions_boundary.and_then(|bound| bound.permissions_boundary_arn),
            tags: tags
                .into_iter()
                .flat_map(|page| page.tags)
                .map(|tag| (tag.key, tag.value))
                .collect(),
        }))
    }

    async fn apply(
        &self,
        spec: &RoleSpec,
        live: Option<RoleLive>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let live = match live {
            Some(live) => {
                self.apply_itself(spec, &live, cloud).await?;
                live
            }
            None => self.create(spec, cloud).await?,
        };
        self.apply_policies(spec, &live, cloud).await
    }

    async fn delete(&self, live: RoleLive, cloud: &Writer) -> Result<(), CloudError> {
        for arn in &live.attached {
            self.detach(arn, cloud).await?;
        }
        for name in live.policies.keys() {
            self.delete_policy(name, cloud).await?;
        }
        stand_in::remove(self, cloud).await?;
        let delete = async || {
            let delete = cloud.clients().iam.delete_role().role_name(&self.name).send();
            call("IAM", "DeleteRole", delete).await.or_absent()
        };
        cloud.persist(delete).await.map(drop)
    }
}
