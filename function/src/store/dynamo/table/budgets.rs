//! The calls that keep the months of budgets.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{ReturnValue, ReturnValuesOnConditionCheckFailure as OnFailure};

use super::super::super::StoreError;
use super::super::super::budgets::{Account, Budgets};
use super::super::{budgets, item};
use super::{DynamoStore, failed};
use crate::money::budget::{Change, Changed, Month};

/// How often a change is tried that can happen only once.
const TRIES: usize = 2;

impl Budgets for DynamoStore {
    async fn change(&self, account: &Account<'_>, change: &Change) -> Result<Changed, StoreError> {
        let tries = if change.happens_once() { TRIES } else { 1 };
        let mut failure = StoreError::TimedOut;
        for _ in 0..tries {
            match tokio::time::timeout(self.try_within, self.update(account, change)).await {
                Ok(Ok(changed)) => return Ok(changed),
                Ok(Err(error)) => failure = error,
                Err(_) => failure = StoreError::TimedOut,
            }
        }
        Err(failure)
    }

    async fn month(&self, subject: &str, month: &str) -> Result<Month, StoreError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let found = get.set_key(Some(item::budget_key(subject, month))).send().await;
        let found = found.map_err(failed("read the budget"))?;
        Ok(found.item.as_ref().map(budgets::read).unwrap_or_default())
    }
}

impl DynamoStore {
    async fn update(&self, account: &Account<'_>, change: &Change) -> Result<Changed, StoreError> {
        let key = item::budget_key(account.subject, &account.at.month());
        let update = self
            .budgets
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(OnFailure::AllOld);
        let error = match budgets::update_of(update, account, change).send().await {
            Ok(done) => {
                return Ok(Changed::Yes(done.attributes().map(budgets::read).unwrap_or_default()));
            }
            Err(error) => error,
        };
        if let Some(UpdateItemError::ConditionalCheckFailedException(refused)) =
            error.as_service_error()
        {
            return Ok(refused.item().map(budgets::read).unwrap_or_default().refuses(change));
        }
        Err(failed("keep the budget")(error))
    }
}
