//! The whole tool on two emulations of AWS: what it makes, mends, leaves alone and removes, and what
//! is left of it when it is stopped at any call.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests fail where something is not as they made it"
)]

mod asked;
mod behind;
mod budgets;
mod cdk;
mod config;
mod crash;
mod dashboard;
mod doctor;
mod drift;
mod edges;
mod failing;
mod lifecycle;
mod limits;
mod logs;
mod ownership;
mod people;
mod race;
mod refused;
mod rights;
mod seen;
mod settings;
mod slow;
mod stop;
mod template;
mod watch;
