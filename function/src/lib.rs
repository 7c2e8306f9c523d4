//! claude-proxy: Claude Code keeps working when Anthropic says 429.

pub mod caller;
pub mod clock;
pub mod failover;
pub mod limits;
pub mod messages;
pub mod reply;
pub mod settings;
pub mod translate;
pub mod wire;
