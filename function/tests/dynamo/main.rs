//! Does the shared table keep its rules on a DynamoDB that we have not written? The store alone, the
//! proxy on real sockets, and the function on Lambda, all on tables of moto's.
//!
//! Beyond the package registries nothing leaves the loopback; every credential is a dummy.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

#[path = "../core/budgets/rules.rs"]
mod budget_rules;
#[path = "../core/limits/rules.rs"]
mod rules;

mod budgets;
mod drill;
mod lambda;
mod limits;
mod proxy;
mod store;
