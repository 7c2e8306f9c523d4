//! What does a person read when something fails? The whole program, against servers on this machine
//! that fail in every way that is known.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail where something is not as they made it"
)]

#[cfg(unix)]
mod build;
mod empty;
mod fake;
mod faults;
mod limits;
mod names;
mod printed;
mod profiles;
mod run;
#[cfg(unix)]
mod stopped;
