//! How is one API said in the words of the other: Anthropic Messages and Bedrock `InvokeModel`?
//!
//! Everything here is a pure function of its arguments: no clock, no network, no randomness. Two
//! turns of one conversation are translated alike, byte for byte, because the prompt cache and the
//! newest models' thinking blocks are bound to an unchanged prefix.

mod content;
pub mod error;
pub mod json;
pub mod mend;
pub mod model;
mod models;
pub mod request;
pub mod response;
pub mod stream;
mod table;
