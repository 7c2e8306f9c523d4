//! What does the tool meet? AWS as two emulators have it, behind a proxy that breaks things on
//! purpose, and a person at a terminal.

pub mod emulator;
pub mod proxy;
#[cfg(unix)]
pub mod terminal;
pub mod world;
