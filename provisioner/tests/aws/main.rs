//! The whole tool on two emulations of AWS: what it makes, mends, leaves alone and removes, and what
//! is left of it when it is stopped at any call.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests fail where something is not as they made it"
)]

mod cdk;
mod config;
mod crash;
mod dashboard;
mod doctor;
mod drift;
mod emulator;
mod lifecycle;
mod limits;
mod logs;
mod people;
#[expect(dead_code, reason = "this needs one kind of processor only")]
#[path = "../image/program.rs"]
mod program;
#[expect(dead_code, reason = "tests/real uses the rest")]
mod proxy;
mod rights;
mod seen;
#[cfg(unix)]
mod terminal;
mod world;
