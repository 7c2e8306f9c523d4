//! A record for whoever may go on when the request is over: its line waits for nobody.

use std::sync::{Arc, Weak};

use super::{Record, Shared};

/// Notes something as long as there is a line to note it in.
#[derive(Clone, Debug)]
pub struct WeakRecord(Weak<Shared>);

impl Record {
    /// The same record, for somebody who is not waited for.
    #[must_use]
    pub fn weak(&self) -> WeakRecord {
        WeakRecord(Arc::downgrade(&self.0))
    }
}

impl WeakRecord {
    /// Hands the record to `what`, if it is still being written.
    pub fn note(&self, what: impl FnOnce(&Record)) {
        if let Some(shared) = self.0.upgrade() {
            what(&Record(shared));
        }
    }
}
