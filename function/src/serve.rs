//! How requests come in: each front door hands them to [`crate::proxy::Proxy`], and nothing else.

mod connection;
pub mod greeting;
pub mod lambda;
pub mod local;
mod metrics;
