//! From the source to a program that answers, out of an image that somebody else's tools pulled: the
//! whole way, built with the profile of a real `up` but without its optimisations.
//!
//! Installs below `target/` what it needs: zig and cargo-zigbuild from `PyPI`, a registry, skopeo and
//! qemu from Debian or Ubuntu. Beyond the package registries nothing leaves the loopback.

#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests fail where something is not as they made it"
)]

mod changes;
mod copy;
mod debian;
mod missing;
mod pulled;
mod registry;
mod running;
mod tools;
