//! How items lie in the file: by key, and by the second in which they end.
//!
//! Knows JSON and seconds, and nothing of what an item means. The two orders never part.

use redb::{ReadableTable, ReadableTableMetadata, Table, TableDefinition, WriteTransaction};
use serde::de::DeserializeOwned;

use crate::failover::cooldown::Timestamp;

/// How many expired items one write deletes at most; with more than one, expired items cannot pile
/// up.
const DELETED_PER_WRITE: usize = 64;

/// Partition key and sort key.
pub(super) type ItemKey = (&'static str, &'static str);
/// The second by which the item is over, and its JSON.
pub(super) type ItemValue = (i64, &'static str);
/// The same second before the key: what ends soonest comes first.
type EndKey = (i64, &'static str, &'static str);

/// A kind of items; each has its own share of the file.
pub(super) struct Definition {
    pub(super) items: TableDefinition<'static, ItemKey, ItemValue>,
    ends: TableDefinition<'static, EndKey, ()>,
}

pub(super) const LIMITS: Definition = Definition {
    items: TableDefinition::new("limits"),
    ends: TableDefinition::new("limits by end"),
};
pub(super) const PROOFS: Definition = Definition {
    items: TableDefinition::new("proofs"),
    ends: TableDefinition::new("proofs by end"),
};

pub(super) const SESSIONS: Definition = Definition {
    items: TableDefinition::new("sessions"),
    ends: TableDefinition::new("sessions by end"),
};

/// The items of one kind and the order in which they end, always changed together.
pub(super) struct ItemTable<'txn> {
    pub(super) items: Table<'txn, ItemKey, ItemValue>,
    ends: Table<'txn, EndKey, ()>,
    capacity: usize,
}

impl<'txn> ItemTable<'txn> {
    pub(super) fn open(
        transaction: &'txn WriteTransaction,
        definition: &Definition,
        capacity: usize,
    ) -> Result<Self, redb::Error> {
        let items = transaction.open_table(definition.items)?;
        let ends = transaction.open_table(definition.ends)?;
        Ok(Self { items, ends, capacity })
    }

    /// Stores the JSON of a value that is over at `end`.
    pub(super) fn put(
        &mut self,
        key: (&str, &str),
        (end, json): (Timestamp, &str),
        now: Timestamp,
    ) -> Result<(), redb::Error> {
        // Rounded up: nothing may be deleted while it is in force.
        let end = end.as_second().saturating_add(1);
        self.remove(key)?;
        self.make_room(now, DELETED_PER_WRITE)?;
        self.items.insert(key, (end, json))?;
        self.ends.insert((end, key.0, key.1), ())?;
        Ok(())
    }

    /// Deletes an item, and says whether it was there.
    pub(super) fn remove(&mut self, key: (&str, &str)) -> Result<bool, redb::Error> {
        let Some(end) = self.items.remove(key)?.map(|item| item.value().0) else {
            return Ok(false);
        };
        self.ends.remove((end, key.0, key.1))?;
        Ok(true)
    }

    /// Deletes what ends soonest: up to `at_most` expired items, and more while there is no room.
    pub(super) fn make_room(&mut self, now: Timestamp, at_most: usize) -> Result<(), redb::Error> {
        let mut deleted = 0;
        while let Some((end, pk, sk)) = self.soonest()? {
            let full = self.items.len()? >= u64::try_from(self.capacity).unwrap_or(u64::MAX);
            let expired = end <= now.as_second();
            if !full && (!expired || deleted == at_most) {
                break;
            }
            self.items.remove((pk.as_str(), sk.as_str()))?;
            self.ends.remove((end, pk.as_str(), sk.as_str()))?;
            deleted += 1;
        }
        Ok(())
    }

    fn soonest(&self) -> Result<Option<(i64, String, String)>, redb::Error> {
        Ok(self.ends.first()?.map(|(key, _)| {
            let (end, pk, sk) = key.value();
            (end, pk.to_owned(), sk.to_owned())
        }))
    }
}

/// Reads one value; one that cannot be understood is none.
pub(super) fn read<T: DeserializeOwned>(
    items: &impl ReadableTable<ItemKey, ItemValue>,
    key: (&str, &str),
) -> Result<Option<T>, redb::Error> {
    Ok(items.get(key)?.and_then(|item| serde_json::from_str(item.value().1).ok()))
}
