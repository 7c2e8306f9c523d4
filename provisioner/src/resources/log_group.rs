//! Where the function's log lines go, and for how long.
//!
//! Made before the function: Lambda would make it without an end to what is kept. What Lambda made
//! carries no tags at all and our function's name: that is taken over.

use std::collections::BTreeMap;

use crate::aws::values::Retention;
use crate::aws::{Clients, CloudError, OrAbsent as _, Reader, Writer, call};
use crate::engine::Address;
use crate::engine::Resource;
use crate::engine::plan::{Change, Danger, Fields};
use crate::engine::{Ownership, Tags};
use crate::resources::function::Function;

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGroup {
    pub name: String,
    /// Whose lines it keeps.
    pub function: String,
    pub retention: Retention,
    pub tags: Tags,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogGroupLive {
    /// Without `:*` at its end.
    pub arn: String,
    /// In days; `None` keeps lines for ever.
    pub retention: Option<i32>,
    /// How much is in it, in bytes.
    pub stored: Option<i64>,
    pub tags: BTreeMap<String, String>,
}

impl LogGroup {
    fn fields(&self, live: &LogGroupLive) -> Fields {
        Fields::new().field("retentionInDays", live.retention, self.retention.get()).at_least(
            "Tags",
            &live.tags,
            self.tags.wanted(),
        )
    }

    fn owned_tags(&self) -> std::collections::HashMap<String, String> {
        self.tags.wanted().map(|(key, value)| (key.to_owned(), value.to_owned())).into()
    }
}

impl Resource<Clients> for LogGroup {
    type Live = LogGroupLive;

    fn address(&self) -> Address {
        Address::new("log-group", &self.name)
    }

    fn ownership(&self, live: &LogGroupLive) -> Ownership {
        if live.tags.is_empty() { Ownership::Ours } else { self.tags.judge(&live.tags) }
    }

    /// Lambda makes the group, without tags, for whichever function has the name.
    fn belongs_to(&self, live: &LogGroupLive) -> Option<Address> {
        live.tags.is_empty().then(|| Function::address_of(&self.function))
    }

    fn diff(&self, live: Option<&LogGroupLive>) -> Change {
        match live {
            None => Change::create(self.address(), self.fields(&LogGroupLive::default())),
            Some(live) => {
                // The lines that are older than that go.
                let shorter = live.retention.is_none_or(|days| days > self.retention.get());
                let change = Change::compare(self.address(), self.fields(live));
                change.flag(Danger::LosesData, shorter)
            }
        }
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<LogGroupLive>, CloudError> {
        let logs = &cloud.clients().logs;
        let groups = logs.describe_log_groups().log_group_name_prefix(&self.name);
        let groups = groups.into_paginator().items().send().collect::<Result<Vec<_>, _>>();
        let groups = call("CloudWatch Logs", "DescribeLogGroups", groups).await?;
        let ours = groups.into_iter().find(|group| group.log_group_name() == Some(&self.name));
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
            tags,
        }))
    }

    async fn apply(&self, live: Option<LogGroupLive>, cloud: &Writer) -> Result<(), CloudError> {
        let logs = &cloud.clients().logs;
        if live.is_none() {
            let create = async || {
                let create = logs.create_log_group().log_group_name(&self.name);
                let create = create.set_tags(Some(self.owned_tags())).send();
                call("CloudWatch Logs", "CreateLogGroup", create).await
            };
            cloud.persist(create).await?;
        }
        if live.as_ref().and_then(|live| live.retention) != Some(self.retention.get()) {
            let put = async || {
                let put = logs.put_retention_policy().log_group_name(&self.name);
                let put = put.retention_in_days(self.retention.get()).send();
                call("CloudWatch Logs", "PutRetentionPolicy", put).await
            };
            cloud.persist(put).await?;
        }
        let Some(live) = live else { return Ok(()) };
        if Fields::new().at_least("", &live.tags, self.tags.wanted()) != Fields::new() {
            let tag = async || {
                let tag = logs.tag_resource().resource_arn(&live.arn);
                let tag = tag.set_tags(Some(self.owned_tags())).send();
                call("CloudWatch Logs", "TagResource", tag).await
            };
            cloud.persist(tag).await?;
        }
        Ok(())
    }

    async fn delete(&self, cloud: &Writer) -> Result<(), CloudError> {
        let delete = async || {
            let delete = cloud.clients().logs.delete_log_group().log_group_name(&self.name).send();
            call("CloudWatch Logs", "DeleteLogGroup", delete).await.or_absent()
        };
        cloud.persist(delete).await.map(drop)
    }
}
