//! Does the core decide, translate and remember as the contract says? Nothing here starts the
//! program; what answers on a socket are fakes on the loopback.
//!
//! One test target, so that it is linked once.

mod access;
mod answers;
mod budgets;
mod caller;
mod documents;
mod drill;
mod dynamo;
mod failover;
mod fuzz;
mod grafana;
mod layering;
mod limits;
mod matrix;
mod mend;
mod messages;
mod money;
mod passes;
mod room;
mod settings;
mod simulate;
mod statements;
mod translate;
mod wire;
