//! What only this proxy has: what its function left in the account, and how it is used.

pub mod answers;
mod ask;
pub mod claude_settings;
pub mod drill;
pub mod events;
pub mod exceptions;
pub mod items;
pub mod limits;
pub mod logs;
pub mod months;
pub mod offers;
pub mod probe;
pub mod traffic;
pub mod when;
