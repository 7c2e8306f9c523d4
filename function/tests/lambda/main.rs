//! Does the program keep its contract on AWS Lambda? The real binary behind a Function URL and the
//! Runtime API of `testing::runtime`, which freezes it between requests. One test per rule; every
//! wait is bounded. `tests/rie` has AWS's own emulator, `tests/clients` Claude Code in front.
//!
//! Nothing leaves the loopback; every credential is a dummy.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

mod budgets;
mod concurrency;
mod ends;
mod events;
mod pace;
mod protocol;
mod shared;
mod start;
