//! The two legs of an exchange: what an upstream does becomes an outcome.
//!
//! Each leg reads as far as the commit point and no further. What it has held back by then is
//! bounded, and goes to the client only with an answer that counts.

pub(super) mod anthropic;
pub(super) mod bedrock;

/// Events are held back up to this size; more commits.
const MOST_HELD: usize = 1 << 20;
