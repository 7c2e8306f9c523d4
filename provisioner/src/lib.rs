//! # The design on one page
//!
//! A command reads the account, compares it with what is wanted, shows the difference and, after a
//! yes, makes it so.
//!
//! 1. [`cli`] and [`stack::settings`] check everything that was typed, before any call.
//! 2. [`stack`] declares what is wanted: one struct with one field for each resource.
//! 3. [`stack::Stack::observe`] reads what is there, through an [`aws::Reader`], which only asks.
//! 4. [`build`] makes the function's binary out of the source, [`image`] the image out of that.
//! 5. [`stack::Declaration::plan`] compares the two: a plain function that gives an
//!    [`engine::plan::Plan`].
//! 6. [`view`] shows it; [`commands`] ask.
//! 7. [`engine::walk`] goes through the plan with an [`aws::Writer`]. Every step can be taken
//!    twice.
//!
//! There is no state file: names and tags in the account are the state, and what lacks our tags is
//! never changed or deleted.
//!
//! # Rooms
//!
//! ```text
//! engine ← aws ← image ← resources ← stack ← proxy ← cli ← view ← build ← doctor ← commands
//! ```
//!
//! Each may name what stands before it, never what stands behind it; the fence is a test,
//! `function/tests/core/layering.rs`. Whoever wants to provision something else takes [`engine`]
//! and [`aws`] as they are. A file in [`resources`] has two halves: what it wants and how it
//! differs is pure; how it is read, made and deleted takes a `Reader` or a `Writer`.

pub mod aws;
pub mod build;
pub mod cli;
pub mod commands;
pub mod doctor;
pub mod engine;
pub mod image;
pub mod proxy;
pub mod resources;
pub mod stack;
pub mod view;

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
