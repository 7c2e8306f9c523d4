//! What stands in the stack's table: reads, writes and removes items.
//!
//! What an item looks like is decided by the function, in [`function::store::dynamo::item`]; here
//! items only come and go. A read is never an old one.

use aws_sdk_dynamodb::operation::scan::ScanOutput;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;
use function::money::budget::Change;
use function::store::budgets::Account;
use function::store::dynamo::budgets;
use function::store::dynamo::item::{self, Item};

use crate::aws::{CloudError, Reader, Writer, call, pages};
use crate::engine::Address;

/// The items of one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    table: String,
}

impl Items {
    /// Those of the table of this name.
    #[must_use]
    pub const fn of(table: String) -> Self {
        Self { table }
    }

    /// All items whose partition key begins with `kind`, page by page to the end.
    ///
    /// # Errors
    ///
    /// If one page cannot be read: half of them would look like all.
    pub async fn of_kind(&self, kind: &str, cloud: &Reader) -> Result<Vec<Item>, CloudError> {
        self.scan(None, kind, cloud).await
    }

    /// As [`Self::of_kind`], but only those with this sort key.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn of_kind_at(
        &self,
        kind: &str,
        at: &str,
        cloud: &Reader,
    ) -> Result<Vec<Item>, CloudError> {
        self.scan(Some(at), kind, cloud).await
    }

    async fn scan(
        &self,
        at: Option<&str>,
        kind: &str,
        cloud: &Reader,
    ) -> Result<Vec<Item>, CloudError> {
        let filter = match at {
            Some(_) => "begins_with(pk, :kind) AND sk = :at",
            None => "begins_with(pk, :kind)",
        };
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let scan = cloud.clients().dynamodb.scan().table_name(&self.table).consistent_read(true);
        let scan = scan.filter_expression(filter).expression_attribute_values(":kind", text(kind));
        let scan =
            at.into_iter().fold(scan, |scan, at| scan.expression_attribute_values(":at", text(at)));
        let more = |page: &ScanOutput| page.last_evaluated_key.is_some();
        let read = pages(("DynamoDB", "Scan"), scan.into_paginator().send(), more).await;
        let read = read.map_err(|error| self.at(error))?;
        Ok(read.into_iter().flat_map(|page| page.items.unwrap_or_default()).collect())
    }

    /// The item at `key`, if there is one.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub async fn get(&self, key: Item, cloud: &Reader) -> Result<Option<Item>, CloudError> {
        let get = cloud.clients().dynamodb.get_item().table_name(&self.table);
        let get = get.set_key(Some(key)).consistent_read(true).send();
        let found = call("DynamoDB", "GetItem", get).await.map_err(|error| self.at(error))?;
        Ok(found.item)
    }

    /// Writes an item. Done twice, it is the same.
    ///
    /// # Errors
    ///
    /// If it cannot be written; a broken connection may have written it.
    pub async fn put(&self, item: &Item, cloud: &Writer) -> Result<(), CloudError> {
        let put = async || {
            let put = cloud.clients().dynamodb.put_item().table_name(&self.table);
            call("DynamoDB", "PutItem", put.set_item(Some(item.clone())).send()).await
        };
        cloud.persist(put).await.map(drop).map_err(|error| self.at(error))
    }

    /// Replaces the attributes `names` of an item by those of `new`, if they and its user are still
    /// as they were `read`; `false` where they are not, or it is gone. Done twice, the second time
    /// is too late.
    ///
    /// # Errors
    ///
    /// If it is not known whether it was changed.
    pub async fn replace(
        &self,
        read: &Item,
        names: &[&str],
        new: &Item,
        cloud: &Writer,
    ) -> Result<bool, CloudError> {
        let update = ItemUpdate::of(read, names, new);
        let change = async || {
            let to = cloud.clients().dynamodb.update_item().table_name(&self.table);
            let to = update.put_into(to.set_key(Some(self.key_of(read))));
            held(call("DynamoDB", "UpdateItem", to.send()).await)
        };
        cloud.persist(change).await.map_err(|error| self.at(error))
    }

    /// Does what the function's own rules say with the month of an account; `false` where their
    /// condition does not hold.
    ///
    /// # Errors
    ///
    /// If it is not known whether it was done.
    pub async fn apply(
        &self,
        account: &Account<'_>,
        change: &Change,
        cloud: &Writer,
    ) -> Result<bool, CloudError> {
        let key = item::budget_key(account.subject, &account.at.month());
        let change = async || {
            let to = cloud.clients().dynamodb.update_item().table_name(&self.table);
            let to = budgets::update_of(to.set_key(Some(key.clone())), account, change);
            held(call("DynamoDB", "UpdateItem", to.send()).await)
        };
        cloud.persist(change).await.map_err(|error| self.at(error))
    }

    /// Removes the item that stands where `item` does; what is not there is removed.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub async fn remove(&self, item: &Item, cloud: &Writer) -> Result<(), CloudError> {
        let key = self.key_of(item);
        let delete = async || {
            let delete = cloud.clients().dynamodb.delete_item().table_name(&self.table);
            call("DynamoDB", "DeleteItem", delete.set_key(Some(key.clone())).send()).await
        };
        cloud.persist(delete).await.map(drop).map_err(|error| self.at(error))
    }

    /// Where an item stands.
    #[must_use]
    pub fn key_of(&self, item: &Item) -> Item {
        let key = ["pk", "sk"].into_iter().filter_map(|name| item.get_key_value(name));
        key.map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn at(&self, error: CloudError) -> CloudError {
        error.at(&Address::new("dynamodb", &self.table))
    }
}

/// Whether a change was made, and not refused because its condition did not hold.
fn held<T>(answer: Result<T, CloudError>) -> Result<bool, CloudError> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.code.as_deref() == Some("ConditionalCheckFailedException") => Ok(false),
        Err(error) => Err(error),
    }
}

/// A change of some attributes that happens only while they are as they were read.
#[derive(Debug, Default)]
struct ItemUpdate {
    set: Vec<String>,
    remove: Vec<String>,
    only_if: Vec<String>,
    names: Vec<(String, String)>,
    values: Vec<(String, AttributeValue)>,
}

impl ItemUpdate {
    fn of(read: &Item, names: &[&str], new: &Item) -> Self {
        let mut update = Self::default();
        let more = new.keys().map(String::as_str).filter(|name| !names.contains(name));
        let changed: Vec<&str> = names.iter().copied().chain(more).collect();
        for name in &changed {
            let place = update.name(name);
            match new.get(*name) {
                Some(value) => {
                    let value = update.value(value);
                    update.set.push(format!("{place} = {value}"));
                }
                None => update.remove.push(place),
            }
        }
        for name in changed.into_iter().chain([OWNER]) {
            let place = update.name(name);
            let condition = match read.get(name) {
                Some(value) => format!("{place} = {}", update.value(value)),
                None => format!("attribute_not_exists({place})"),
            };
            update.only_if.push(condition);
        }
        update
    }

    fn name(&mut self, name: &str) -> String {
        let known = self.names.iter().find(|(_, known)| known == name);
        if let Some((place, _)) = known {
            return place.clone();
        }
        let place = format!("#n{}", self.names.len());
        self.names.push((place.clone(), name.to_owned()));
        place
    }

    fn value(&mut self, value: &AttributeValue) -> String {
        let place = format!(":v{}", self.values.len());
        self.values.push((place.clone(), value.clone()));
        place
    }

    fn put_into(&self, update: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        let parts = [("SET", &self.set), ("REMOVE", &self.remove)].into_iter();
        let parts = parts.filter(|(_, parts)| !parts.is_empty());
        let parts: Vec<String> =
            parts.map(|(verb, parts)| format!("{verb} {}", parts.join(", "))).collect();
        let update = update.update_expression(parts.join(" "));
        let update = update.condition_expression(self.only_if.join(" AND "));
        let update = self
            .names
            .iter()
            .fold(update, |update, (place, name)| update.expression_attribute_names(place, name));
        self.values.iter().fold(update, |update, (place, value)| {
            update.expression_attribute_values(place, value.clone())
        })
    }
}

/// Whose an item is.
const OWNER: &str = "user";
