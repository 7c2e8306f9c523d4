//! What does the proxy meet in the world? Two upstreams, a client and the binary itself, on real
//! sockets of the loopback.
//!
//! Nothing here knows how the proxy is built, and nothing leaves the machine. The two upstreams
//! are as strict as the real ones, so that a request they would refuse is refused here as well.

pub(crate) mod answer;
pub(crate) mod anthropic;
pub(crate) mod bedrock;
pub(crate) mod client;
pub(crate) mod dynamo;
pub(crate) mod fake;
pub(crate) mod gzip;
pub(crate) mod message;
pub(crate) mod models;
pub(crate) mod moto;
pub(crate) mod tls;
pub(crate) mod world;
