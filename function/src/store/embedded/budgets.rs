//! The months of budgets in the file: by month and subject, so that the oldest come first.

use std::sync::Arc;

use redb::{ReadableDatabase, ReadableTable, TableDefinition};

use super::super::StoreError;
use super::super::budgets::{Account, Budgets};
use super::{EmbeddedStore, failed};
use crate::money::Period;
use crate::money::budget::{Change, Changed, Month};

/// Month and subject, and JSON.
pub(super) const MONTHS: TableDefinition<'static, (&str, &str), &str> =
    TableDefinition::new("budgets");

/// Why a month could not be read or written.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    File(#[from] redb::Error),
    #[error("what is written there is no budget")]
    Unreadable(#[from] serde_json::Error),
}

impl EmbeddedStore {
    /// All subjects and what is known of their month.
    ///
    /// # Errors
    ///
    /// Where any of it cannot be read.
    pub fn months(&self, month: &str) -> Result<Vec<(String, Month)>, StoreError> {
        let read = || -> Result<Vec<(String, Month)>, Trouble> {
            let transaction = self.database.begin_read().map_err(redb::Error::from)?;
            let table = transaction.open_table(MONTHS).map_err(redb::Error::from)?;
            let mut months = Vec::new();
            for row in table.range((month, "")..).map_err(redb::Error::from)? {
                let (key, json) = row.map_err(redb::Error::from)?;
                let (its, subject) = key.value();
                if its != month {
                    break;
                }
                months.push((subject.to_owned(), serde_json::from_str(json.value())?));
            }
            Ok(months)
        };
        read().map_err(failed("read the budgets"))
    }
}

impl Budgets for EmbeddedStore {
    async fn change(&self, account: &Account<'_>, change: &Change) -> Result<Changed, StoreError> {
        const ACTION: &str = "keep the budget";
        let database = Arc::clone(&self.database);
        let (subject, user) = (account.subject.to_owned(), account.user.map(str::to_owned));
        let (at, change) = (account.at, change.clone());
        let work = move || -> Result<Changed, Trouble> {
            let transaction = database.begin_write().map_err(redb::Error::from)?;
            let mut table = transaction.open_table(MONTHS).map_err(redb::Error::from)?;
            let key = at.month();
            let mut month = read(&table, (&key, &subject))?;
            if !month.apply(&change) {
                return Ok(month.refuses(&change));
            }
            month.user = user.or(month.user);
            let json = serde_json::to_string(&month)?;
            put(&mut table, (&key, &subject), &json, at)?;
            drop(table);
            transaction.commit().map_err(redb::Error::from)?;
            Ok(Changed::Yes(month))
        };
        let changed = tokio::task::spawn_blocking(work).await;
        changed.map_err(failed(ACTION))?.map_err(failed(ACTION))
    }

    async fn month(&self, subject: &str, month: &str) -> Result<Month, StoreError> {
        let read = || {
            let transaction = self.database.begin_read().map_err(redb::Error::from)?;
            let table = transaction.open_table(MONTHS).map_err(redb::Error::from)?;
            read(&table, (month, subject))
        };
        read().map_err(failed("read the budget"))
    }
}

fn read(
    table: &impl ReadableTable<(&'static str, &'static str), &'static str>,
    key: (&str, &str),
) -> Result<Month, Trouble> {
    let found = table.get(key).map_err(redb::Error::from)?;
    Ok(match found {
        Some(json) => serde_json::from_str(json.value())?,
        None => Month::default(),
    })
}

/// Writes a month, and deletes those that are over for long.
fn put(
    table: &mut redb::Table<'_, (&'static str, &'static str), &'static str>,
    key: (&str, &str),
    json: &str,
    at: Period,
) -> Result<(), redb::Error> {
    table.insert(key, json)?;
    let oldest = at.oldest_month();
    table.retain_in(..(oldest.as_str(), ""), |_, _| false)?;
    Ok(())
}
