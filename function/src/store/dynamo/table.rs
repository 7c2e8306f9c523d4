//! The calls to the table, and how they fail.

mod budgets;
mod sessions;

use std::error::Error;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, KeysAndAttributes, ReturnValuesOnConditionCheckFailure as OnFailure,
};

use super::super::{LONGER, Query, RateLimitStore, StoreError, is_newer, outlasts};
use super::item::{self, EXPIRES_AT, Item, LIMITED_UNTIL_EPOCH, RECORDED_AT, REFUSED};
use crate::drill::Drill;
use crate::failover::cooldown::{Cooldown, Timestamp};
use crate::failover::identity::{Fingerprint, LimitKey};
use crate::failover::known::{Known, Proof};
use crate::translate::error::scrub;
use crate::translate::mend::Lesson;
use crate::upstream::aws::{Aws, keeping_connections};

/// A call that failed at once is made once more, after this at most.
const RETRY_AFTER: Duration = Duration::from_millis(25);
/// How often an item is written that turns out to hold something else.
const MOST_PUTS: usize = 3;
/// A request writes a limit of the class, one of the account, and a proof, all at once.
const WARM_CONNECTIONS: usize = 3;

const LOOK_UP: &str = "look up what is remembered";

/// Remembers in a table that is shared by all instances.
#[derive(Debug)]
pub struct DynamoStore {
    client: Client,
    /// The same without retries of its own.
    budgets: Client,
    /// How long one try to change a budget may take.
    try_within: Duration,
    table: String,
}

impl DynamoStore {
    /// Prepares the client; no call is made.
    ///
    /// No call takes longer than four times `patience`, its retry included; a try to change a
    /// budget takes no longer than `patience`.
    #[must_use]
    pub fn new(aws: &Aws, table: &str, patience: Duration) -> Self {
        let retries = RetryConfig::standard()
            .with_max_attempts(2)
            .with_initial_backoff(RETRY_AFTER)
            .with_max_backoff(RETRY_AFTER);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(patience * LONGER)
            .operation_timeout(patience * LONGER)
            .build();
        let mut config =
            aws_sdk_dynamodb::config::Builder::from(&aws.config).timeout_config(timeouts);
        if aws.variables.is_blank("AWS_ENDPOINT_URL_DYNAMODB") {
            config.set_endpoint_url(aws.endpoint());
        }
        let client = |retries| {
            let retries = keeping_connections(retries);
            Client::from_conf(config.clone().retry_config(retries).build())
        };
        let (client, once) = (client(retries), client(RetryConfig::disabled()));
        Self { client, budgets: once, try_within: patience, table: table.to_owned() }
    }

    /// Finds the credentials and opens the connections that the first request will need.
    ///
    /// # Errors
    ///
    /// Where the table cannot be read, which is no reason not to start.
    pub async fn warm_up(&self) -> Result<(), StoreError> {
        let reads = (0..WARM_CONNECTIONS).map(|_| self.get(item::lesson_key("*")));
        futures_util::future::try_join_all(reads).await.map(drop)
    }

    async fn get(&self, key: Item) -> Result<Option<Item>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(key));
        Ok(get.send().await.map_err(failed(LOOK_UP))?.item)
    }

    /// Puts an item, unless the one that is there stays because it holds more.
    ///
    /// The condition compares `end`, a number, where the item is; `stays` judges the item that was
    /// found to end no sooner, which may be a nonsense one.
    async fn put(
        &self,
        action: &'static str,
        item: Item,
        end: &str,
        stays: impl Fn(&Item) -> bool + Send,
    ) -> Result<(), StoreError> {
        let later =
            "attribute_not_exists(#end) OR NOT attribute_type(#end, :number) OR #end < :end";
        let number = AttributeValue::S("N".to_owned());
        let new_end = item.get(end).cloned().unwrap_or(AttributeValue::Null(true));
        let mut condition = (later, vec![(":number", number), (":end", new_end)]);
        for _ in 0..MOST_PUTS {
            let (expression, values) = condition;
            let mut put = self
                .client
                .put_item()
                .table_name(&self.table)
                .set_item(Some(item.clone()))
                .condition_expression(expression)
                .expression_attribute_names("#end", end)
                .return_values_on_condition_check_failure(OnFailure::AllOld);
            for (name, value) in values {
                put = put.expression_attribute_values(name, value);
            }
            let Err(error) = put.send().await else { return Ok(()) };
            let Some(PutItemError::ConditionalCheckFailedException(refused)) =
                error.as_service_error()
            else {
                return Err(failed(action)(error));
            };
            let nonsense = refused.item().filter(|stored| !stays(stored));
            let Some(seen) = nonsense.and_then(|stored| stored.get(end)) else { return Ok(()) };
            condition = ("#end = :seen", vec![(":seen", seen.clone())]);
        }
        Ok(())
    }
}

impl RateLimitStore for DynamoStore {
    async fn look_up(&self, query: &Query<'_>, now: Timestamp) -> Result<Known, StoreError> {
        let keys = item::keys(query);
        if keys.is_empty() {
            return Ok(Known::default());
        }
        let wanted = KeysAndAttributes::builder().set_keys(Some(keys.clone())).build();
        let wanted = wanted.map_err(|error| fault(LOOK_UP, error.to_string()))?;
        let call = self.client.batch_get_item().request_items(&self.table, wanted);
        let answer = call.send().await.map_err(failed(LOOK_UP))?;
        let unread = answer.unprocessed_keys().and_then(|tables| tables.get(&self.table));
        let unread = unread.map_or(&[][..], KeysAndAttributes::keys);
        if unread.len() >= keys.len() {
            return Err(fault(LOOK_UP, "the table processed none of the keys".to_owned()));
        }
        let Some(items) = answer.responses().and_then(|tables| tables.get(&self.table)) else {
            return Err(fault(LOOK_UP, "the answer says nothing of the table".to_owned()));
        };
        Ok(item::known(query, items, unread, now))
    }

    async fn remember_limit(&self, key: &LimitKey, cooldown: &Cooldown) -> Result<(), StoreError> {
        let item = item::limit_item(key, cooldown);
        self.put("remember the limit", item, LIMITED_UNTIL_EPOCH, |stored| {
            item::limit(stored).is_some_and(|stored| outlasts(&stored, cooldown))
        })
        .await
    }

    async fn forget_limit(&self, key: &LimitKey, recorded_at: Timestamp) -> Result<(), StoreError> {
        let deletion = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(item::limit_key(key)))
            .condition_expression("#recorded_at = :recorded_at")
            .expression_attribute_names("#recorded_at", RECORDED_AT)
            .expression_attribute_values(":recorded_at", item::string(recorded_at));
        match deletion.send().await {
            Ok(_) => Ok(()),
            Err(error) if is_condition_failure(&error) => Ok(()),
            Err(error) => Err(failed("forget the limit")(error)),
        }
    }

    async fn remember_proof(
        &self,
        fingerprint: &Fingerprint,
        proof: &Proof,
    ) -> Result<(), StoreError> {
        let item = item::proof_item(fingerprint, proof);
        self.put("remember the proof", item, EXPIRES_AT, |stored| {
            item::proof(stored).is_some_and(|stored| is_newer(&stored, proof))
        })
        .await
    }

    async fn forget_proof(&self, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        let key = item::proof_key(fingerprint);
        let deletion = self.client.delete_item().table_name(&self.table).set_key(Some(key));
        deletion.send().await.map(drop).map_err(failed("forget the proof"))
    }

    /// Looks before it deletes: whoever tries random nonces costs a read, not a write.
    async fn take_drill(
        &self,
        digest: &Fingerprint,
        now: Timestamp,
    ) -> Result<Option<Drill>, StoreError> {
        let action = "take the drill";
        let key = item::drill_key(digest);
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let found = get.set_key(Some(key.clone())).send().await.map_err(failed(action))?.item;
        let open = found.as_ref().and_then(item::drill).filter(|drill| drill.is_open(now));
        let Some(drill) = open else { return Ok(None) };
        let deletion = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .condition_expression("#end = :end")
            .expression_attribute_names("#end", EXPIRES_AT)
            .expression_attribute_values(":end", item::epoch(drill.expires_at));
        match deletion.send().await {
            Ok(_) => Ok(Some(drill)),
            // Somebody was quicker.
            Err(error) if is_condition_failure(&error) => Ok(None),
            Err(error) => Err(failed(action)(error)),
        }
    }

    async fn lesson(
        &self,
        model: &str,
        now: Timestamp,
    ) -> Result<Option<(Lesson, Timestamp)>, StoreError> {
        let item = self.get(item::lesson_key(model)).await?;
        Ok(item.and_then(|item| item::lesson(&item, now)))
    }

    /// Adds to what other instances have learnt; a lesson that is over is replaced.
    async fn remember_lesson(
        &self,
        model: &str,
        lesson: &Lesson,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let item = item::lesson_item(model, lesson, now);
        let value = |name: &str| item.get(name).cloned().unwrap_or(AttributeValue::Null(true));
        let addition = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(item::lesson_key(model)))
            .update_expression("SET #recorded = :recorded, #end = :end ADD #refused :refused")
            .condition_expression("attribute_not_exists(#end) OR #end > :now")
            .expression_attribute_names("#recorded", RECORDED_AT)
            .expression_attribute_names("#end", EXPIRES_AT)
            .expression_attribute_names("#refused", REFUSED)
            .expression_attribute_values(":recorded", value(RECORDED_AT))
            .expression_attribute_values(":end", value(EXPIRES_AT))
            .expression_attribute_values(":refused", value(REFUSED))
            .expression_attribute_values(":now", item::epoch(now));
        let Err(error) = addition.send().await else { return Ok(()) };
        let action = "remember the lesson";
        // An attribute of another type than ours is a nonsense one.
        if !is_condition_failure(&error) && error.code() != Some("ValidationException") {
            return Err(failed(action)(error));
        }
        let put = self.client.put_item().table_name(&self.table).set_item(Some(item));
        put.send().await.map(drop).map_err(failed(action))
    }
}

fn is_condition_failure<E, R>(error: &SdkError<E, R>) -> bool
where
    SdkError<E, R>: ProvideErrorMetadata,
{
    error.code() == Some("ConditionalCheckFailedException")
}

/// The failure of a call, without anything of the operator's account in it.
fn failed<E, R>(action: &'static str) -> impl Fn(SdkError<E, R>) -> StoreError
where
    SdkError<E, R>: ProvideErrorMetadata + Error + 'static,
{
    move |error| {
        if let Some(code) = error.code() {
            let message = error.message().unwrap_or_default();
            return fault(action, format!("{code}: {message}"));
        }
        let mut cause: &dyn Error = &error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        fault(action, cause.to_string())
    }
}

fn fault(action: &'static str, cause: String) -> StoreError {
    StoreError::Failed { action, source: scrub(&cause).into() }
}
