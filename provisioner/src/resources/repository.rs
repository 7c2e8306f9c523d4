//! Where the function's image lies.
//!
//! Tags are immutable and only untagged leftovers expire: a function whose image is gone fails, and
//! refuses even its next image.

use std::collections::BTreeMap;

use aws_sdk_ecr::types::{ImageScanningConfiguration, ImageTagMutability, Tag};
use serde_json::Value;

use crate::aws::{Clients, CloudError, Kind, OrAbsent as _, Reader, Writer, call};
use crate::engine::Address;
use crate::engine::Resource;
use crate::engine::document;
use crate::engine::plan::{Change, Fields};
use crate::engine::{Ownership, Tags};

/// The repository of this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    pub name: String,
    pub tags: Tags,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositorySpec {
    /// Who may pull.
    pub policy: Value,
    /// What expires.
    pub lifecycle: Value,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RepositoryLive {
    pub arn: String,
    /// Host and name, as ECR gives them.
    pub uri: String,
    pub scan: bool,
    pub mutability: String,
    pub policy: Value,
    pub lifecycle: Value,
    pub tags: BTreeMap<String, String>,
}

pub(super) const IMMUTABLE: &str = "IMMUTABLE";

/// Lambda writes a statement of this name by itself where it may (AWS, *Lambda, container images*).
const OF_LAMBDA: &str = "LambdaECRImageRetrievalPolicy";

impl Repository {
    /// The address of the repository `name`.
    #[must_use]
    pub fn address_of(name: &str) -> Address {
        Address::new("ecr", name)
    }

    fn fields(&self, spec: &RepositorySpec, live: &RepositoryLive) -> Fields {
        let mutability = Some(live.mutability.clone()).filter(|word| !word.is_empty());
        let scan = (!live.uri.is_empty()).then_some(live.scan);
        let fields = Fields::new()
            .field("imageScanningConfiguration.scanOnPush", scan, true)
            .field("imageTagMutability", mutability, IMMUTABLE)
            .field("lifecyclePolicyText", live.lifecycle.clone(), spec.lifecycle.clone());
        let fields = match spec.has_policy(live) {
            true => fields,
            false => fields.field("policyText", live.policy.clone(), spec.policy.clone()),
        };
        fields.at_least("Tags", &live.tags, self.tags.pairs())
    }

    fn ecr_tags(&self) -> Vec<Tag> {
        let tag = |(key, value): (&str, &str)| Tag::builder().key(key).value(value).build();
        self.tags
            .pairs()
            .into_iter()
            .map(|pair| tag(pair).expect("it has a key and a value"))
            .collect()
    }

    /// Host and name of a repository, from ECR: a host is never put together by hand.
    ///
    /// # Errors
    ///
    /// If it cannot be read or is not there.
    pub async fn uri(name: &str, cloud: &Reader) -> Result<String, CloudError> {
        let describe = cloud.clients().ecr.describe_repositories().repository_names(name).send();
        let found = call("ECR", "DescribeRepositories", describe).await?.repositories;
        let uri = found.into_iter().flatten().find_map(|repository| repository.repository_uri);
        uri.ok_or_else(|| CloudError::new(Kind::NotFound, "the repository has no URI"))
    }

    async fn create(&self, cloud: &Writer) -> Result<RepositoryLive, CloudError> {
        cloud
            .persist(async || {
                let scan = ImageScanningConfiguration::builder().scan_on_push(true).build();
                let create = cloud
                    .clients()
                    .ecr
                    .create_repository()
                    .repository_name(&self.name)
                    .image_scanning_configuration(scan)
                    .image_tag_mutability(ImageTagMutability::Immutable)
                    .set_tags(Some(self.ecr_tags()));
                call("ECR", "CreateRepository", create.send()).await
            })
            .await?;
        let tags = self.tags.pairs().map(|(key, value)| (key.to_owned(), value.to_owned()));
        let (scan, mutability) = (true, IMMUTABLE.to_owned());
        Ok(RepositoryLive { scan, mutability, tags: tags.into(), ..Default::default() })
    }

    async fn apply_documents(
        &self,
        spec: &RepositorySpec,
        live: &RepositoryLive,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let ecr = &cloud.clients().ecr;
        if live.lifecycle != spec.lifecycle {
            let text = rules(&spec.lifecycle);
            let put = async || {
                let put = ecr.put_lifecycle_policy().repository_name(&self.name);
                let put = put.lifecycle_policy_text(&text).send();
                call("ECR", "PutLifecyclePolicy", put).await
            };
            cloud.persist(put).await?;
        }
        if !spec.has_policy(live) {
            let text = spec.policy.to_string();
            let set = async || {
                let set = ecr.set_repository_policy().repository_name(&self.name);
                call("ECR", "SetRepositoryPolicy", set.policy_text(&text).send()).await
            };
            cloud.persist(set).await?;
        }
        Ok(())
    }
}

impl RepositorySpec {
    fn has_policy(&self, live: &RepositoryLive) -> bool {
        let ours = document::statements(&self.policy);
        let theirs = document::statements(&live.policy);
        let of_lambda =
            |statement: &Value| statement.get("Sid").and_then(Value::as_str) == Some(OF_LAMBDA);
        ours.iter().all(|statement| theirs.contains(statement))
            && theirs.iter().all(|theirs| ours.contains(theirs) || of_lambda(theirs))
    }
}

/// A canonical document has taken the list of one rule apart; ECR wants a list.
fn rules(lifecycle: &Value) -> String {
    let rules = lifecycle.get("rules").cloned().unwrap_or_default();
    let rules = if rules.is_array() { rules } else { Value::Array(vec![rules]) };
    serde_json::json!({ "rules": rules }).to_string()
}

impl Resource<Clients> for Repository {
    type Spec = RepositorySpec;
    type Live = RepositoryLive;

    fn address(&self) -> Address {
        Self::address_of(&self.name)
    }

    fn ownership(&self, live: &RepositoryLive) -> Ownership {
        self.tags.judge(&live.tags)
    }

    fn diff(&self, spec: &RepositorySpec, live: Option<&RepositoryLive>) -> Change {
        match live {
            None => Change::create(self.address(), self.fields(spec, &RepositoryLive::default()))
                .about("where the function's images lie"),
            Some(live) => Change::compare(self.address(), self.fields(spec, live)),
        }
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<RepositoryLive>, CloudError> {
        let ecr = &cloud.clients().ecr;
        let describe = ecr.describe_repositories().repository_names(&self.name).send();
        let found = call("ECR", "DescribeRepositories", describe).await.or_absent()?;
        let found = found.and_then(|found| found.repositories?.into_iter().next());
        let Some(found) = found else { return Ok(None) };
        let arn = found.repository_arn.clone().unwrap_or_default();
        let policy = ecr.get_repository_policy().repository_name(&self.name).send();
        let policy = async { call("ECR", "GetRepositoryPolicy", policy).await.or_absent() };
        let lifecycle = ecr.get_lifecycle_policy().repository_name(&self.name).send();
        let lifecycle = async { call("ECR", "GetLifecyclePolicy", lifecycle).await.or_absent() };
        let tags = ecr.list_tags_for_resource().resource_arn(&arn).send();
        let tags =
            async { super::tags(call("ECR", "ListTagsForResource", tags).await).or_absent() };
        let (policy, lifecycle, tags) = tokio::try_join!(policy, lifecycle, tags)?;
        let Some(tags) = tags else { return Ok(None) };
        let text = |text: Option<String>| text.map_or(Value::Null, |text| document::parse(&text));
        let mutability = found.image_tag_mutability().map(ImageTagMutability::as_str);
        Ok(Some(RepositoryLive {
            arn,
            scan: found.image_scanning_configuration().is_some_and(|scan| scan.scan_on_push),
            mutability: mutability.unwrap_or_default().to_owned(),
            policy: text(policy.and_then(|policy| policy.policy_text)),
            lifecycle: text(lifecycle.and_then(|lifecycle| lifecycle.lifecycle_policy_text)),
            tags: tags.tags.into_iter().flatten().map(|tag| (tag.key, tag.value)).collect(),
            uri: found.repository_uri.unwrap_or_default(),
        }))
    }

    async fn apply(
        &self,
        spec: &RepositorySpec,
        live: Option<RepositoryLive>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let ecr = &cloud.clients().ecr;
        let live = match live {
            Some(live) => live,
            None => self.create(cloud).await?,
        };
        if !live.scan {
            let put = async || {
                let scan = ImageScanningConfiguration::builder().scan_on_push(true).build();
                let put = ecr.put_image_scanning_configuration().repository_name(&self.name);
                let put = put.image_scanning_configuration(scan).send();
                call("ECR", "PutImageScanningConfiguration", put).await
            };
            cloud.persist(put).await?;
        }
        if live.mutability != IMMUTABLE {
            let put = async || {
                let put = ecr.put_image_tag_mutability().repository_name(&self.name);
                let put = put.image_tag_mutability(ImageTagMutability::Immutable).send();
                call("ECR", "PutImageTagMutability", put).await
            };
            cloud.persist(put).await?;
        }
        if Fields::new().at_least("", &live.tags, self.tags.pairs()) != Fields::new() {
            let tag = async || {
                let tag = ecr.tag_resource().resource_arn(&live.arn);
                call("ECR", "TagResource", tag.set_tags(Some(self.ecr_tags())).send()).await
            };
            cloud.persist(tag).await?;
        }
        self.apply_documents(spec, &live, cloud).await
    }

    async fn delete(&self, _live: RepositoryLive, cloud: &Writer) -> Result<(), CloudError> {
        // With everything in it: what that is was shown before.
        let delete = async || {
            let delete = cloud.clients().ecr.delete_repository();
            let delete = delete.repository_name(&self.name).force(true).send();
            call("ECR", "DeleteRepository", delete).await.or_absent()
        };
        cloud.persist(delete).await.map(drop)
    }
}
