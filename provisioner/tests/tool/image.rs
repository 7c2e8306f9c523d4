//! From a binary to an image in a registry: is it the right one, and does it get there?
//!
//! The registry is a fake on the loopback; nothing here needs a network, Docker or AWS.

#![expect(clippy::unwrap_used, reason = "what cannot be read or bound fails the test")]

mod content;
mod pushing;
mod registry;
