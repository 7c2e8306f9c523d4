//! What do the proxy and the tool meet in the world? Two upstreams, clients, AWS, a registry and the
//! programs themselves, on real sockets of the loopback. Only tests use it, those of both crates.
//!
//! Nothing here knows how the proxy is built, and nothing but an install leaves the machine. The two
//! upstreams are as strict as the real ones, so that a request they would refuse is refused here.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]
#![expect(clippy::disallowed_methods, reason = "the world goes by the real clock and environment")]

pub mod answer;
pub mod anthropic;
pub mod aws;
pub mod bedrock;
pub mod child;
pub mod claude;
pub mod client;
pub mod deployed;
pub mod dynamo;
pub mod elf;
#[cfg(target_os = "linux")]
pub mod emulated;
pub mod fake;
pub mod gzip;
pub mod installed;
pub mod message;
pub mod models;
pub mod moto;
pub mod runtime;
pub mod table;
pub mod terminal;
pub mod tls;
pub mod tokens;
pub mod world;
