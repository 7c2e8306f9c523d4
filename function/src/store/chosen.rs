//! Which store is it? The one that the settings name, behind the same words as each of them.

use super::budgets::{Account, Budgets};
use super::dynamo::DynamoStore;
use super::embedded::EmbeddedStore;
use super::memory::MemoryStore;
use super::{Query, RateLimitStore, StoreError};
use crate::drill::Drill;
use crate::failover::cooldown::{Cooldown, Timestamp};
use crate::failover::identity::{Fingerprint, LimitKey};
use crate::failover::known::{Known, Proof};
use crate::money::budget::{Change, Changed, Month};
use crate::session::Session;
use crate::settings::{Settings, StoreSettings};
use crate::translate::mend::Lesson;
use crate::upstream::aws::Aws;

/// The store that was configured.
#[derive(Debug)]
pub enum Store {
    Memory(MemoryStore),
    Embedded(EmbeddedStore),
    Dynamo(DynamoStore),
}

impl Store {
    /// Opens the store that the settings name.
    ///
    /// # Errors
    ///
    /// Where a file cannot be opened, or the region of the table is not known. The table itself
    /// is not looked for: it may come later.
    pub fn open(settings: &Settings, aws: &Aws, now: Timestamp) -> anyhow::Result<Self> {
        Ok(match &settings.store {
            StoreSettings::Dynamo(table) => {
                let no_region = "RATE_LIMIT_STORE=dynamodb needs an AWS region: set AWS_REGION";
                anyhow::ensure!(aws.region().is_some(), no_region);
                Self::Dynamo(DynamoStore::new(aws, table, settings.store_patience))
            }
            StoreSettings::Embedded(path) => Self::Embedded(EmbeddedStore::open(path, now)?),
            StoreSettings::Memory => Self::Memory(MemoryStore::new()),
        })
    }

    /// Whether other instances read and write it too.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Dynamo(_))
    }

    /// All sessions that are kept at `now`, where no other machine keeps any.
    ///
    /// # Errors
    ///
    /// Where they cannot be read.
    pub fn sessions(&self, now: Timestamp) -> Result<Vec<Session>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.sessions(now)),
            Self::Embedded(store) => store.sessions(now),
            Self::Dynamo(_) => Ok(Vec::new()),
        }
    }

    /// All limits in force at `now`, where no other machine keeps any.
    ///
    /// # Errors
    ///
    /// Where they cannot be read.
    pub fn limits(&self, now: Timestamp) -> Result<Vec<(LimitKey, Cooldown)>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.limits(now)),
            Self::Embedded(store) => store.limits(now),
            Self::Dynamo(_) => Ok(Vec::new()),
        }
    }

    /// All subjects and what is known of their month, where no other machine keeps any: a shared
    /// table is read by those who may read all of it.
    ///
    /// # Errors
    ///
    /// Where they cannot be read.
    pub fn months(&self, month: &str) -> Result<Vec<(String, Month)>, StoreError> {
        match self {
            Self::Memory(store) => Ok(store.months(month)),
            Self::Embedded(store) => store.months(month),
            Self::Dynamo(_) => Err(StoreError::Partial),
        }
    }

    /// Does beforehand what the first request would otherwise wait for.
    ///
    /// # Errors
    ///
    /// Where a shared store cannot be read, which is no reason not to start.
    pub async fn warm_up(&self) -> Result<(), StoreError> {
        match self {
            Self::Dynamo(store) => store.warm_up().await,
            Self::Memory(_) | Self::Embedded(_) => Ok(()),
        }
    }
}

// A call over the network is much larger than one to a file, and would be moved about with each.
impl RateLimitStore for Store {
    async fn look_up(&self, query: &Query<'_>, now: Timestamp) -> Result<Known, StoreError> {
        match self {
            Self::Memory(store) => store.look_up(query, now).await,
            Self::Embedded(store) => store.look_up(query, now).await,
            Self::Dynamo(store) => Box::pin(store.look_up(query, now)).await,
        }
    }

    async fn remember_limit(&self, key: &LimitKey, cooldown: &Cooldown) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.remember_limit(key, cooldown).await,
            Self::Embedded(store) => store.remember_limit(key, cooldown).await,
            Self::Dynamo(store) => Box::pin(store.remember_limit(key, cooldown)).await,
        }
    }

    async fn forget_limit(&self, key: &LimitKey, recorded_at: Timestamp) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.forget_limit(key, recorded_at).await,
            Self::Embedded(store) => store.forget_limit(key, recorded_at).await,
            Self::Dynamo(store) => Box::pin(store.forget_limit(key, recorded_at)).await,
        }
    }

    async fn remember_proof(
        &self,
        fingerprint: &Fingerprint,
        proof: &Proof,
    ) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.remember_proof(fingerprint, proof).await,
            Self::Embedded(store) => store.remember_proof(fingerprint, proof).await,
            Self::Dynamo(store) => Box::pin(store.remember_proof(fingerprint, proof)).await,
        }
    }

    async fn forget_proof(&self, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.forget_proof(fingerprint).await,
            Self::Embedded(store) => store.forget_proof(fingerprint).await,
            Self::Dynamo(store) => Box::pin(store.forget_proof(fingerprint)).await,
        }
    }

    async fn take_drill(
        &self,
        digest: &Fingerprint,
        now: Timestamp,
    ) -> Result<Option<Drill>, StoreError> {
        match self {
            Self::Memory(store) => store.take_drill(digest, now).await,
            Self::Embedded(store) => store.take_drill(digest, now).await,
            Self::Dynamo(store) => Box::pin(store.take_drill(digest, now)).await,
        }
    }

    async fn lesson(
        &self,
        model: &str,
        now: Timestamp,
    ) -> Result<Option<(Lesson, Timestamp)>, StoreError> {
        match self {
            Self::Memory(store) => store.lesson(model, now).await,
            Self::Embedded(store) => store.lesson(model, now).await,
            Self::Dynamo(store) => Box::pin(store.lesson(model, now)).await,
        }
    }

    async fn remember_lesson(
        &self,
        model: &str,
        lesson: &Lesson,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        match self {
            Self::Memory(store) => store.remember_lesson(model, lesson, now).await,
            Self::Embedded(store) => store.remember_lesson(model, lesson, now).await,
            Self::Dynamo(store) => Box::pin(store.remember_lesson(model, lesson, now)).await,
        }
    }
}

impl Budgets for Store {
    async fn change(&self, account: &Account<'_>, change: &Change) -> Result<Changed, StoreError> {
        match self {
            Self::Memory(store) => store.change(account, change).await,
            Self::Embedded(store) => store.change(account, change).await,
            Self::Dynamo(store) => Box::pin(store.change(account, change)).await,
        }
    }

    async fn month(&self, subject: &str, month: &str) -> Result<Month, StoreError> {
        match self {
            Self::Memory(store) => store.month(subject, month).await,
            Self::Embedded(store) => store.month(subject, month).await,
            Self::Dynamo(store) => Box::pin(store.month(subject, month)).await,
        }
    }
}
