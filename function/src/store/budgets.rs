//! Where the months of budgets are kept: what is committed, by subject.
//!
//! Unlike what is known of limits, what is known of money is never given up for lack of room, and
//! what cannot be read is an error: it must not look like a budget that nobody has touched.

use std::future::Future;

use super::StoreError;
use crate::money::Period;
use crate::money::budget::{Change, Changed, Month};

/// Whose month it is.
#[derive(Clone, Copy, Debug)]
pub struct Account<'a> {
    /// The owner of a proxy key, else a credential's fingerprint.
    pub subject: &'a str,
    /// The name that people know it by.
    pub user: Option<&'a str>,
    /// The day on which the money was, or is to be, committed.
    pub at: Period,
}

/// Keeps one item for a subject and month, in which each change happens as a whole or not at all.
pub trait Budgets: Send + Sync {
    /// Applies `change` if its condition holds. One that [`Change::happens_once`] is asked for
    /// twice where the first answer is lost.
    ///
    /// # Errors
    ///
    /// Where it is not known whether it has happened.
    fn change(
        &self,
        account: &Account<'_>,
        change: &Change,
    ) -> impl Future<Output = Result<Changed, StoreError>> + Send;

    /// What is known of a subject's month, which is nothing where nobody has spent anything.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    fn month(
        &self,
        subject: &str,
        month: &str,
    ) -> impl Future<Output = Result<Month, StoreError>> + Send;
}
