//! Compares what is wanted with what is there, and makes it so: for resources of any kind.
//!
//! Nothing here knows a service, a stack or what it is for.

mod access;
pub mod address;
pub mod document;
mod error;
pub mod network;
pub mod ownership;
pub mod part;
mod persist;
pub mod plan;
pub mod resource;
mod say;
pub mod walk;
pub mod words;

pub use access::{Changed, Pace, Reader, Writer, made_for, subject};
pub use address::Address;
pub use error::{CloudError, Kind, OrAbsent, Spot};
pub use ownership::{Foreign, Ownership, Tags};
pub use persist::{Stop, Wait};
pub use resource::{Later, Resource, State};
pub use say::{Said, Say};
