//! What does the tool plan, build, print and ask for? Nothing here needs a network or AWS: servers
//! are fakes on the loopback.
//!
//! One test target, so that it is linked once.

mod cli;
mod doctor;
mod engine;
mod image;
mod logs;
mod plan;
mod policies;
mod probe;
mod readme;
mod template;
