//! Where the function's log lines go, and for how long.
//!
//! Made before the function: Lambda would make it without an end to what is kept. What Lambda made
//! carries no tags at all and our function's name: that is taken over.

use std::collections::{BTreeMap, HashMap};

use crate::aws::values::Retention;
use crate::aws::{Clients, CloudError, OrAbsent as _, Reader, Writer, call, pages};
use crate::engine::Address;
use crate::engine::Resource;
use crate::engine::plan::{Change, Danger, Fields};
use crate::engine::{Marks, Ownership, Tags};
use crate::resources::function::Function;

/// The log group of this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGroup {
    pub name: String,
    /// Whose lines it keeps.
    pub function: String,
    pub tags: Tags,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGroupSpec {
    pub retention: Retention,
    pub marks: Marks,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogGroupLive {
    /// Without `:*` at its end.
    pub arn: String,
    /// In days; `None` keeps lines for ever.
    pub retention: Option<i32>,
    /// Somebody has forbidden to delete it.
    pub protected: bool,
    /// How much is in it, in bytes.
    pub stored: Option<i64>,
    pub tags: BTreeMap<String, String>,
}

impl LogGroup {
    fn fields(&self, spec: &LogGroupSpec, live: &LogGroupLive) -> Fields {
        let fields = Fields::new();
        let fields = fields.field("retentionInDays", live.retention, spec.retention.get());
        let fields = fields.at_least("Tags", &live.tags, self.tags.pairs());
        fields.marks(&live.tags, &spec.marks)
    }
}

impl Resource<Clients> for LogGroup {
    type Spec = LogGroupSpec;
    type Live = LogGroupLive;

    fn address(&self) -> Address {
        Address::new("log-group", &self.name)
    }

    fn ownership(&self, live: &LogGroupLive) -> Ownership {
        if live.tags.is_empty() { Ownership::Ours } else { self.tags.judge(&live.tags) }
    }

    /// Lambda makes the group, without tags, for whichever function has the name.
    fn belongs_to(&self, live: Option<&LogGroupLive>) -> Option<Address> {
        live?.tags.is_empty().then(|| Function::address_of(&self.function))
    }

    fn diff(&self, spec: &LogGroupSpec, live: Option<&LogGroupLive>) -> Change {
        let Some(live) = live else {
            let fields = self.fields(spec, &LogGroupLive::default());
            let about = format!("log lines, kept for {} days", spec.retention);
            return Change::create(self.address(), fields).about(about);
        };
        // The lines that are older than that go.
        let shorter = live.retention.is_none_or(|days| days > spec.retention.get());
        let change = Change::compare(self.address(), self.fields(spec, live));
        change.flag(Danger::LosesData, shorter)
    }

    async fn refuses_removal(
        &self,
        live: &LogGroupLive,
        _cloud: &Reader,
    ) -> Result<Option<String>, CloudError> {
        Ok(live.protected.then(|| {
            format!(
                "it is protected from deletion: take the protection off first (aws logs \
                 put-log-group-deletion-protection --log-group-identifier {} \
                 --no-deletion-protection-enabled)",
                self.name
            )
        }))
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<LogGroupLive>, CloudError> {
        let logs = &cloud.clients().logs;
        let groups = logs.describe_log_groups().log_group_name_prefix(&self.name);
        let asked = ("CloudWatch Logs", "DescribeLogGroups");
        let groups = groups.into_paginator().send();
        let groups = pages(asked, groups, |page| page.next_token.is_some()).await?;
        let mut groups = groups.into_iter().flat_map(|page| page.log_groups.unwrap_or_default());
        let ours = groups.find(|group| group.log_group_name() == Some(&self.name));
        let Some(group) = ours else { return Ok(None) };
        let arn = group.arn().unwrap_or_default();
        let arn = arn.strip_suffix(":*").unwrap_or(arn).to_owned();
        let tags = logs.list_tags_for_resource().resource_arn(&arn).send();
        let tags = super::tags(call("CloudWatch Logs", "ListTagsForResource", tags).await);
        let Some(tags) = tags.or_absent()? else { return Ok(None) };
        let tags = tags.tags.unwrap_or_default().into_iter().collect();
        Ok(Some(LogGroupLive {
            arn,
            retention: group.retention_in_days,
            stored: group.stored_bytes,
            protected: group.deletion_protection_enabled.unwrap_or_default(),
            tags,
        }))
    }

    async fn apply(
        &self,
        spec: &LogGroupSpec,
        live: Option<LogGroupLive>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let logs = &cloud.clients().logs;
        let owned = self.tags.with(&spec.marks);
        let tags = Some(owned.clone().into_iter().collect::<HashMap<_, _>>());
        match &live {
            None => {
                let create = async || {
                    let create = logs.create_log_group().log_group_name(&self.name);
                    let create = create.set_tags(tags.clone()).send();
                    call("CloudWatch Logs", "CreateLogGroup", create).await
                };
                cloud.persist(create).await?;
            }
            // What was asked is written down before it is done: who finishes the job reads it.
            Some(live) if Fields::new().tags(&live.tags, &owned) != Fields::new() => {
                let tag = async || {
                    let tag = logs.tag_resource().resource_arn(&live.arn);
                    call("CloudWatch Logs", "TagResource", tag.set_tags(tags.clone()).send()).await
                };
                cloud.persist(tag).await?;
            }
            Some(_) => {}
        }
        if live.and_then(|live| live.retention) == Some(spec.retention.get()) {
            return Ok(());
        }
        let put = async || {
            let put = logs.put_retention_policy().log_group_name(&self.name);
            let put = put.retention_in_days(spec.retention.get()).send();
            call("CloudWatch Logs", "PutRetentionPolicy", put).await
        };
        cloud.persist(put).await.map(drop)
    }

    async fn delete(&self, _live: LogGroupLive, cloud: &Writer) -> Result<(), CloudError> {
        let delete = async || {
            let delete = cloud.clients().logs.delete_log_group().log_group_name(&self.name).send();
            call("CloudWatch Logs", "DeleteLogGroup", delete).await.or_absent()
        };
        cloud.persist(delete).await.map(drop)
    }
}
