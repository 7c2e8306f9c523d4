//! A limit that was met, and until when it holds.
//!
//! Values only: nothing here reads a clock, a header or a store.

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use jiff::Timestamp;

/// Right clocks of two machines, or one clock that is set a little, are apart by so much at most.
pub const SKEW: Duration = Duration::from_secs(1);

/// How long ago a moment was; `None` where it lies ahead by more than [`SKEW`].
///
/// A clock was wrong then, or is wrong now: what was written at such a moment is of no known age.
#[must_use]
pub fn age(moment: Timestamp, now: Timestamp) -> Option<Duration> {
    let age = now.duration_since(moment);
    let ahead = age.is_negative() && age.unsigned_abs() > SKEW;
    (!ahead).then(|| age.try_into().unwrap_or_default())
}

/// No remembered limit lasts longer than this, whatever a header says.
pub const LONGEST_COOLDOWN: Duration = Duration::from_secs(6 * 60 * 60);

/// A limit known to be exhausted until a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooldown {
    /// When the limit ends.
    pub until: Timestamp,
    /// When Anthropic said so; that answer is also proof of the credential.
    pub recorded_at: Timestamp,
    /// What the end was read from: `retry-after`, or the name of a window such as `5h`.
    pub reason: String,
    /// The hint in seconds from `recorded_at`, before the cap.
    pub retry_after_seconds: u64,
    /// The model that was asked for, as the client named it.
    pub model: String,
    /// The label of the person who met the limit, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

impl Cooldown {
    /// Whether the limit still holds at `now`.
    ///
    /// A limit that is over is no limit; nor is one that would last longer than any does, or was
    /// met in the future: it was written while a clock was wrong.
    #[must_use]
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        let left = self.until.duration_since(now);
        let is_right = left.unsigned_abs() <= LONGEST_COOLDOWN + Duration::from_secs(1);
        left.is_positive() && is_right && age(self.recorded_at, now).is_some()
    }
}
