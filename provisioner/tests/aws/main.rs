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
mod ownership;
mod people;
#[expect(dead_code, reason = "this needs one kind of processor only")]
#[path = "../tool/image/program.rs"]
mod program;
mod proxy;
mod refused;
mod rights;
mod seen;
mod settings;
mod slow;
mod stop;
#[cfg(unix)]
mod terminal;
mod watch;
mod world;
