//! The table that remembers limits, proofs and keys.
//!
//! Its keys can never be changed without losing what is in it, so a table with other keys is never
//! touched.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType, TableStatus,
    Tag, TimeToLiveSpecification, TimeToLiveStatus,
};

use crate::aws::values::Attribute;
use crate::aws::{
    Clients, CloudError, MOST_PAGES, OrAbsent as _, Reader, Wait, Writer, call, endless,
};
use crate::engine::Address;
use crate::engine::plan::{Change, Fields};
use crate::engine::{Foreign, Ownership, Tags};
use crate::engine::{Resource, State};

/// The keys' names, both strings.
pub(super) const KEYS: [(&str, &str); 2] = [("pk", "HASH"), ("sk", "RANGE")];

/// The table of this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub tags: Tags,
}

/// What is wanted: on demand, with two string keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSpec {
    /// Items go after the moment in this attribute.
    pub expiry: Attribute,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableLive {
    pub arn: String,
    /// Name, kind and type of each key.
    pub keys: Vec<(String, String, String)>,
    pub billing: String,
    /// The attribute by which items expire; `None` while they do not.
    pub expiry: Option<String>,
    pub protected: bool,
    /// As AWS counted them at some time in the last six hours.
    pub items: Option<i64>,
    pub status: String,
    pub tags: BTreeMap<String, String>,
}

const ACTIVE: &str = "ACTIVE";
const DELETING: &str = "DELETING";
pub(super) const ON_DEMAND: &str = "PAY_PER_REQUEST";

/// How long a table may take to come or go, in seconds.
const TABLE_TIMEOUT: f64 = 300.0;

impl Table {
    fn fields(&self, spec: &TableSpec, live: &TableLive) -> Fields {
        Fields::new()
            .field("BillingModeSummary.BillingMode", or_null(&live.billing), ON_DEMAND)
            .field("TimeToLiveDescription.AttributeName", live.expiry.clone(), spec.expiry.as_str())
            .at_least("Tags", &live.tags, self.tags.pairs())
    }

    fn dynamodb_tags(&self) -> Vec<Tag> {
        let tag = |(key, value): (&str, &str)| Tag::builder().key(key).value(value).build();
        self.tags
            .pairs()
            .into_iter()
            .map(|pair| tag(pair).expect("it has a key and a value"))
            .collect()
    }

    async fn create(&self, cloud: &Writer) -> Result<(), CloudError> {
        let attribute = |(name, _): (&str, &str)| {
            let kind = ScalarAttributeType::S;
            let attribute = AttributeDefinition::builder().attribute_name(name);
            attribute.attribute_type(kind).build().expect("it has a name and a type")
        };
        let key = |(name, kind): (&str, &str)| {
            let key =
                KeySchemaElement::builder().attribute_name(name).key_type(KeyType::from(kind));
            key.build().expect("it has a name and a kind")
        };
        cloud
            .persist(async || {
                let create = cloud
                    .clients()
                    .dynamodb
                    .create_table()
                    .table_name(&self.name)
                    .set_attribute_definitions(Some(KEYS.map(attribute).into()))
                    .set_key_schema(Some(KEYS.map(key).into()))
                    .billing_mode(BillingMode::PayPerRequest)
                    .set_tags(Some(self.dynamodb_tags()));
                call("DynamoDB", "CreateTable", create.send()).await
            })
            .await
            .map(drop)
    }

    /// Returns when it can be changed.
    async fn active(&self, cloud: &Writer) -> Result<TableLive, CloudError> {
        let look = async || {
            Ok(match self.read(cloud.reader()).await? {
                Some(live) if live.status == ACTIVE => Wait::Done(live),
                Some(live) => Wait::For(format!("table is {}", live.status)),
                None => Wait::For("table is not visible yet".to_owned()),
            })
        };
        cloud.until(TABLE_TIMEOUT, look).await
    }

    async fn gone(&self, cloud: &Writer) -> Result<(), CloudError> {
        let look = async || {
            Ok(match self.read(cloud.reader()).await? {
                None => Wait::Done(()),
                Some(live) => Wait::For(format!("table is {}", live.status)),
            })
        };
        cloud.until(TABLE_TIMEOUT, look).await
    }

    async fn expire(
        &self,
        spec: &TableSpec,
        live: &TableLive,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        if live.expiry.as_deref() == Some(spec.expiry.as_str()) {
            return Ok(());
        }
        let update = async || {
            let expiry = TimeToLiveSpecification::builder()
                .enabled(true)
                .attribute_name(spec.expiry.as_str());
            let expiry = expiry.build().expect("it has an attribute");
            let update = cloud.clients().dynamodb.update_time_to_live().table_name(&self.name);
            let update = update.time_to_live_specification(expiry).send();
            let Err(error) = call("DynamoDB", "UpdateTimeToLive", update).await else {
                return Ok(());
            };
            // It refuses what is so already: the answer to the first try may have been lost.
            match self.read(cloud.reader()).await? {
                Some(live) if live.expiry.as_deref() == Some(spec.expiry.as_str()) => Ok(()),
                Some(_) | None => Err(error),
            }
        };
        cloud.persist(update).await
    }
}

impl Resource<Clients> for Table {
    type Spec = TableSpec;
    type Live = TableLive;

    fn address(&self) -> Address {
        Address::new("dynamodb", &self.name)
    }

    fn ownership(&self, live: &TableLive) -> Ownership {
        // It shows no tags any more, and all that is ever done to it is to wait until it is gone.
        if live.status == DELETING {
            return Ownership::Ours;
        }
        let keys = KEYS.map(|(name, kind)| (name.to_owned(), kind.to_owned(), "S".to_owned()));
        if live.keys != keys {
            let why =
                "its keys are not the strings pk and sk, and a table's keys cannot be changed";
            return Ownership::Foreign(Foreign::Unfit(why));
        }
        self.tags.judge(&live.tags)
    }

    fn diff(&self, spec: &TableSpec, live: Option<&TableLive>) -> Change {
        let keys = || KEYS.map(|(name, _)| name).join(", ");
        match live {
            None => Change::create(
                self.address(),
                self.fields(spec, &TableLive::default()).field("KeySchema", (), keys()),
            )
            .about("who is limited until when, and who has a key"),
            Some(live) if live.status == DELETING => {
                Change::create(self.address(), self.fields(spec, &TableLive::default()))
                    .note("the old one is still being deleted")
            }
            Some(live) => Change::compare(self.address(), self.fields(spec, live)),
        }
    }

    fn refuses_change(&self, spec: &TableSpec, live: &TableLive) -> Option<String> {
        let other = live.expiry.as_deref().filter(|other| *other != spec.expiry.as_str())?;
        Some(format!(
            "its items expire by {other}, and AWS takes another attribute only an hour after that \
             was disabled: aws dynamodb update-time-to-live --table-name {} \
             --time-to-live-specification Enabled=false,AttributeName={other}, and wait an hour",
            self.name
        ))
    }

    async fn refuses_removal(
        &self,
        live: &TableLive,
        _cloud: &Reader,
    ) -> Result<Option<String>, CloudError> {
        Ok(live.protected.then(|| {
            format!(
                "it is protected from deletion: take the protection off first (aws dynamodb \
                 update-table --table-name {} --no-deletion-protection-enabled)",
                self.name
            )
        }))
    }

    fn state(&self, live: &TableLive) -> State {
        if live.status == ACTIVE { State::Ready } else { State::Changing }
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<TableLive>, CloudError> {
        let dynamodb = &cloud.clients().dynamodb;
        let describe = dynamodb.describe_table().table_name(&self.name).send();
        let table = call("DynamoDB", "DescribeTable", describe).await.or_absent()?;
        let Some(table) = table.and_then(|found| found.table) else { return Ok(None) };
        let arn = table.table_arn().unwrap_or_default().to_owned();
        let expiry = dynamodb.describe_time_to_live().table_name(&self.name).send();
        let expiry = async { call("DynamoDB", "DescribeTimeToLive", expiry).await };
        let status = table.table_status().map_or(ACTIVE, TableStatus::as_str).to_owned();
        if status == DELETING {
            return Ok(Some(TableLive { arn, status, ..TableLive::default() }));
        }
        let tags = async { super::tags(tags_of(&arn, cloud).await) };
        let Some((expiry, tags)) = tokio::try_join!(expiry, tags).or_absent()? else {
            return Ok(None);
        };
        let expiry = expiry.time_to_live_description.filter(|expiry| {
            matches!(
                expiry.time_to_live_status,
                Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)
            )
        });
        let kind_of = |name: &str| {
            let all = table.attribute_definitions().iter();
            let one = all.clone().find(|attribute| attribute.attribute_name() == name);
            one.map_or_else(String::new, |attribute| attribute.attribute_type().to_string())
        };
        let keys = table.key_schema().iter().map(|key| {
            let name = key.attribute_name();
            (name.to_owned(), key.key_type().to_string(), kind_of(name))
        });
        let billing = table.billing_mode_summary().and_then(|billing| billing.billing_mode());
        Ok(Some(TableLive {
            keys: keys.collect(),
            // Nothing is said of a table that has always been provisioned.
            billing: billing.map_or("PROVISIONED", BillingMode::as_str).to_owned(),
            expiry: expiry.and_then(|expiry| expiry.attribute_name),
            protected: table.deletion_protection_enabled.unwrap_or_default(),
            items: table.item_count,
            status,
            tags: tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
            arn,
        }))
    }

    async fn apply(
        &self,
        spec: &TableSpec,
        live: Option<TableLive>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let dynamodb = &cloud.clients().dynamodb;
        match live {
            Some(live) if live.status == DELETING => {
                self.gone(cloud).await?;
                self.create(cloud).await?;
            }
            Some(_) => {}
            None => self.create(cloud).await?,
        }
        let live = self.active(cloud).await?;
        if live.billing != ON_DEMAND {
            let update = async || {
                let update = dynamodb.update_table().table_name(&self.name);
                let update = update.billing_mode(BillingMode::PayPerRequest).send();
                call("DynamoDB", "UpdateTable", update).await
            };
            cloud.persist(update).await?;
            self.active(cloud).await?;
        }
        if Fields::new().at_least("", &live.tags, self.tags.pairs()) != Fields::new() {
            let tag = async || {
                let tag = dynamodb.tag_resource().resource_arn(&live.arn);
                let tag = tag.set_tags(Some(self.dynamodb_tags())).send();
                call("DynamoDB", "TagResource", tag).await
            };
            cloud.persist(tag).await?;
        }
        self.expire(spec, &live, cloud).await
    }

    async fn delete(&self, live: TableLive, cloud: &Writer) -> Result<(), CloudError> {
        let delete = async || {
            let delete = cloud.clients().dynamodb.delete_table().table_name(&self.name).send();
            call("DynamoDB", "DeleteTable", delete).await.or_absent()
        };
        if live.status != DELETING {
            cloud.persist(delete).await?;
        }
        self.gone(cloud).await
    }
}

/// All tags, on however many pages.
async fn tags_of(arn: &str, cloud: &Reader) -> Result<Vec<Tag>, CloudError> {
    let (mut tags, mut next) = (Vec::new(), None);
    let asked = ("DynamoDB", "ListTagsOfResource");
    for _ in 0..MOST_PAGES {
        let page = cloud.clients().dynamodb.list_tags_of_resource().resource_arn(arn);
        let page = page.set_next_token(next.clone()).send();
        let page = call(asked.0, asked.1, page).await?;
        tags.extend(page.tags.into_iter().flatten());
        match page.next_token {
            None => return Ok(tags),
            Some(token) if Some(&token) == next.as_ref() => break,
            token => next = token,
        }
    }
    Err(endless(asked))
}

fn or_null(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
