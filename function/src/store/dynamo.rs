//! What all instances of the proxy remember together, in one DynamoDB table.
//!
//! One `BatchGetItem` reads all that a request wants to know, eventually consistent: whoever reads
//! too early meets the limit once more. Writes are conditional, so that instances need no lock.
//! Deletion by TTL is never relied upon. The table is made by the operator, never here.

pub mod budgets;
pub mod item;
pub mod sessions;
#[cfg(feature = "proxy")]
mod table;

#[cfg(feature = "proxy")]
pub use table::DynamoStore;
