//! Does the program keep its contract on AWS Lambda? The real binary behind a Function URL and the
//! Runtime API of `support/runtime.rs`, which freezes it between requests, and behind AWS's own
//! emulator. One test per rule; every wait is bounded.
//!
//! Beyond the package registries nothing leaves the loopback; every credential is a dummy.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

#[path = "../clients/child.rs"]
mod child;
#[expect(dead_code, reason = "tests/clients uses all of it")]
#[path = "../clients/claude.rs"]
mod claude;
#[expect(dead_code, reason = "tests/clients uses all of it")]
#[path = "../clients/install.rs"]
mod install;
#[path = "../support/runtime.rs"]
mod runtime;
#[expect(dead_code, reason = "tests/proxy uses all of it")]
#[path = "../support/mod.rs"]
mod support;

mod claude_code;
mod concurrency;
mod deployed;
mod ends;
mod events;
mod pace;
mod protocol;
#[cfg(target_os = "linux")]
mod rie;
mod shared;
mod start;
