//! Compares what is wanted with what is there, and makes it so: for resources of any kind.
//!
//! Nothing here knows a service, a stack or what it is for.

pub mod address;
pub mod document;
pub mod ownership;
pub mod part;
pub mod plan;
pub mod resource;
pub mod walk;

pub use address::Address;
pub use ownership::{Foreign, Ownership, Tags};
pub use resource::{Later, Resource, State};
