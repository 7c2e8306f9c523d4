//! Does the program keep its contract on real sockets? One test per rule, against the real binary
//! between two fake upstreams.
//!
//! One test target, so that it is linked once. Nothing leaves the loopback, every wait is bounded.

mod access;
mod attacks;
mod awaiting;
mod bounds;
mod budgets;
mod callers;
mod calls;
mod connections;
mod costs;
mod counting;
mod crowd;
mod drill;
mod empty;
mod encrypted;
mod endless;
mod heads;
mod hostile;
mod keys;
mod limits;
mod lines;
mod load;
mod me;
mod mending;
mod metadata;
mod metrics;
mod notices;
mod overload;
mod page;
mod passthrough;
mod privacy;
mod proof;
mod refusals;
mod reservations;
mod secrets;
mod sessions;
mod shared;
mod start;
mod streams;
mod translation;
mod usage;
mod versions;
mod waiting;
