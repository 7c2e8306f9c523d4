//! # The design on one page
//!
//! A command reads the account, compares it with what is wanted, shows the difference and, after a
//! yes, makes it so.
//!
//! 1. [`cli`] and [`settings`] check everything that was typed, before any call.
//! 2. [`stack`] declares what is wanted: one struct with one field for each resource.
//! 3. [`stack::Stack::observe`] reads what is there, through a [`cloud::Reader`], which only asks.
//! 4. [`build`] makes the function's binary out of the source, [`image`] the image out of that.
//! 5. [`stack::Stack::plan`] compares the two: a plain function that gives a [`plan::Plan`].
//! 6. [`printer`] shows it; [`commands`] ask.
//! 7. [`apply`] walks the plan through a [`cloud::Writer`]. Every step can be taken twice.
//!
//! There is no state file: names and tags in the account are the state, and what lacks our tags is
//! never changed or deleted.
//!
//! # What depends on what
//!
//! ```text
//! main → cli → commands ─┬→ apply, build, probe, printer, cloud      edges
//!                        └→ stack → resources → plan, document, names, values      core
//! ```
//!
//! A file in [`resources`] has two halves: what it wants and how it differs is pure; how it is
//! read, made and deleted takes a `Reader` or a `Writer`.

pub mod answers;
pub mod apply;
pub mod build;
pub mod claude_settings;
pub mod cli;
pub mod cloud;
pub mod columns;
pub mod commands;
pub mod cost;
pub mod doctor;
pub mod document;
pub mod drill;
pub mod events;
pub mod image;
pub mod items;
pub mod limits;
pub mod logs;
pub mod names;
pub mod plan;
pub mod policies;
pub mod prices;
pub mod printer;
pub mod probe;
pub mod resource;
pub mod resources;
pub mod rights;
pub mod screen;
pub mod settings;
pub mod stack;
pub mod traffic;
pub mod values;
pub mod view;
pub mod when;
