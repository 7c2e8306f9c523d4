//! What stands in the stack's table: reads, writes and removes items.
//!
//! What an item looks like is decided by the function, in [`function::store::dynamo::item`]; here
//! items only come and go. A read is never an old one.

use aws_sdk_dynamodb::types::AttributeValue;
use function::store::dynamo::item::Item;

use crate::aws::{CloudError, Reader, Writer, call};
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
        let scan = cloud.clients().dynamodb.scan().table_name(&self.table).consistent_read(true);
        let scan = scan
            .filter_expression("begins_with(pk, :kind)")
            .expression_attribute_values(":kind", AttributeValue::S(kind.to_owned()));
        let items = scan.into_paginator().items().send().collect::<Result<Vec<_>, _>>();
        call("DynamoDB", "Scan", items).await.map_err(|error| self.at(error))
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
