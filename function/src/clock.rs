//! The one place that reads the clock; everything else is told what time it is.

use std::time::Instant;

use jiff::Timestamp;

/// The moment, for everything that is remembered or compared with a header.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the edge through which time enters")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// The moment, for measuring how long something takes.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the edge through which time enters")]
pub fn instant() -> Instant {
    Instant::now()
}
