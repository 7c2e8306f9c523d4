//! From when on? A span back from now, or a moment.

use std::str::FromStr;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};

/// Where the lines begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    Ago(SignedDuration),
    At(Timestamp),
}

/// Longer than any retention that CloudWatch has.
const MAX_SINCE: SignedDuration = SignedDuration::from_hours(24 * 3653);

impl Since {
    /// The moment that is meant.
    #[must_use]
    pub fn before(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(span) => now.saturating_sub(span).unwrap_or(Timestamp::UNIX_EPOCH),
            Self::At(moment) => moment,
        }
    }
}

impl FromStr for Since {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WANTED: &str = "write how long ago (90s, 15m, 1h, 2d; ten years at most) or when \
                              (2026-11-26T14:00:00+09:00)";
        if let Ok(moment) = text.parse() {
            return Ok(Self::At(moment));
        }
        let span: Span = text.parse().map_err(|_| WANTED)?;
        let days = SpanRelativeTo::days_are_24_hours();
        let span = span.to_duration(days).map_err(|_| WANTED)?;
        let good = span > SignedDuration::ZERO && span <= MAX_SINCE;
        if good { Ok(Self::Ago(span)) } else { Err(WANTED) }
    }
}
