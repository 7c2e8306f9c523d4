//! Which lines are new? Follows a log group that is read again and again.
//!
//! CloudWatch shows a line some seconds after it was written, and lines of several instances not
//! in their order. So every round reads the last minute again, and what was shown is left out by
//! its id. Nothing is lost that comes less than [`LATE`] late, and nothing is shown twice.

use std::collections::BTreeMap;

/// How late a line may come, in milliseconds.
pub const LATE: i64 = 60_000;

/// One line, as CloudWatch has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    pub id: String,
    /// When it was written, in milliseconds since 1970.
    pub at: i64,
    pub message: String,
}

/// What has been shown.
#[derive(Debug, Clone)]
pub struct Tail {
    start: i64,
    newest: i64,
    /// Shown, and young enough to come again: ids, and when they were written.
    shown: BTreeMap<String, i64>,
}

impl Tail {
    /// Begins at `start`, in milliseconds since 1970.
    #[must_use]
    pub const fn since(start: i64) -> Self {
        Self { start, newest: start, shown: BTreeMap::new() }
    }

    /// From when on the next round reads.
    #[must_use]
    pub fn from(&self) -> i64 {
        self.start.max(self.newest.saturating_sub(LATE))
    }

    /// Leaves out what was shown, and brings the rest into the order of time. `now` keeps a line
    /// from the future from hiding those that come after it.
    pub fn fresh(&mut self, mut page: Vec<Event>, now: i64) -> Vec<Event> {
        page.sort_by_key(|event| event.at);
        page.retain(|event| self.shown.insert(event.id.clone(), event.at).is_none());
        let newest = page.iter().map(|event| event.at.min(now)).max();
        self.newest = newest.map_or(self.newest, |newest| newest.max(self.newest));
        // No later round reads what is older.
        let from = self.from();
        self.shown.retain(|_, at| *at >= from);
        page
    }
}
