//! How much of a limit has nobody counted yet as bridged?
//!
//! Many requests of one subject meet the same limit: what they did not have to wait for is counted
//! once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::failover::cooldown::LONGEST_COOLDOWN;

/// So many subjects may be bridged over a limit at a time; for more it is not counted how long.
const MOST: usize = 10_000;

/// Until when, in seconds since 1970, somebody's limit has been counted as bridged.
#[derive(Default)]
pub(super) struct Bridged(Mutex<BTreeMap<String, i64>>);

impl Bridged {
    /// How many seconds of a limit that lasts `from` a moment `until` another one nobody has
    /// counted yet for this subject. They are counted now.
    pub(super) fn seconds(&self, subject: &str, (from, until): (i64, i64)) -> u64 {
        let mut bridged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // No limit lasts longer than the longest: what is counted further was so by a wrong clock.
        let furthest = from.saturating_add(LONGEST_COOLDOWN.as_secs().cast_signed() + 1);
        bridged.retain(|_, counted| *counted > from && *counted <= furthest);
        if bridged.len() >= MOST {
            return 0;
        }
        let counted = bridged.entry(subject.to_owned()).or_insert(from);
        let seconds = until.saturating_sub(*counted);
        *counted = until.max(*counted);
        u64::try_from(seconds).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_counts_once_for_each_subject_whatever_a_clock_said_before() {
        let bridged = Bridged::default();
        let day = 24 * 60 * 60;
        for (subject, limit, seconds) in [
            ("alice", (0, 100), 100),
            ("alice", (10, 100), 0),
            ("alice", (20, 150), 50),
            ("alice", (30, 90), 0),
            ("bob", (30, 90), 60),
            ("alice", (200, 260), 60),
            // A clock goes a day ahead, and back.
            ("alice", (day, day + 100), 100),
            ("alice", (300, 360), 60),
            ("alice", (310, 360), 0),
            ("alice", (310, 300), 0),
        ] {
            assert_eq!(bridged.seconds(subject, limit), seconds, "{subject} {limit:?}");
        }
    }
}
