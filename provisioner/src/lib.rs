//! What creates, shows and removes claude-proxy in an AWS account?

pub mod image;
pub mod policies;
