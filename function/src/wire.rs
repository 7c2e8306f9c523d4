//! How are bytes of a connection cut into what the core can read, and back?
//!
//! Incremental codecs: chunks go in at any boundary, complete frames come out. They never wait,
//! never touch a socket, and hold back no more than one event of at most [`sse::MAX_EVENT`] bytes
//! and the last chunk.

pub mod names;
pub mod sse;
pub mod usage;
