//! Compares what is wanted with what is there, and makes it so: for resources of any kind.
//!
//! Nothing here knows a service, a stack or what it is for. Whoever wants to provision something
//! else writes, for each kind, a [`Resource`]: what finds it, whose it is, how it differs, how it
//! is read, made and removed. Then a stack is a list of [`part::Part`]s:
//!
//! 1. Read all of it, and declare what is wanted where that is there.
//! 2. [`part::survey`] says what is not ours; a [`plan::Plan`] is the parts' differences, and
//!    [`plan::text`] shows it.
//! 3. [`walk::up`] does it, what is named by others first, and [`walk::delete`] takes one away.
//!    Both read and judge again at the moment of acting.
//!
//! What is reached is a type of one's own: `crate::aws::Clients` for AWS, anything that can be
//! cloned otherwise. `tests/tool/engine.rs` declares a stack of toys with this room alone.

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
pub use ownership::{Foreign, Marks, Ownership, Tags};
pub use persist::{Stop, Wait};
pub use resource::{Later, Resource, State};
pub use say::{Message, Say};
