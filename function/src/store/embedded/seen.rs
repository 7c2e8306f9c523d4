//! What was read of the file since it was last written.
//!
//! One process owns the file, so what was read stays true until this process writes. A read costs
//! a transaction, three look-ups and as many pieces of JSON, which is more than all the rest that
//! is done for a small request.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::failover::identity::{Fingerprint, ModelClass};
use crate::failover::known::Known;

/// More are not kept; then all are forgotten.
const MOST: usize = 1000;

type Key = (Fingerprint, ModelClass);

#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    known: BTreeMap<Key, Known>,
    /// How often the file was written.
    moment: u64,
}

impl Seen {
    /// What was read before, and the moment at which a read begins.
    pub(super) fn recall(&self, whose: &Fingerprint, class: &ModelClass) -> (Option<Known>, u64) {
        let shelf = self.shelf();
        (shelf.known.get(&(*whose, class.clone())).cloned(), shelf.moment)
    }

    /// Keeps what a read that began at `moment` has brought, unless there was a write meanwhile.
    pub(super) fn note(&self, key: Key, known: &Known, moment: u64) {
        let mut shelf = self.shelf();
        if shelf.moment != moment {
            return;
        }
        if shelf.known.len() >= MOST {
            shelf.known.clear();
        }
        shelf.known.insert(key, known.clone());
    }

    /// The file has been written.
    pub(super) fn forget(&self) {
        let mut shelf = self.shelf();
        shelf.moment += 1;
        shelf.known.clear();
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_a_write_has_overtaken_is_not_kept() {
        let (seen, (whose, class)) = (Seen::default(), key());
        let (_, before) = seen.recall(&whose, &class);
        seen.forget();
        seen.note(key(), &Known::default(), before);
        let (known, now) = seen.recall(&whose, &class);
        assert_eq!(known, None);
        seen.note(key(), &Known::default(), now);
        assert_eq!(seen.recall(&whose, &class).0, Some(Known::default()));
    }

    #[test]
    fn no_more_than_a_thousand_are_kept() {
        let seen = Seen::default();
        for index in 0..=MOST {
            let whose = Fingerprint::of(&[index.to_string().as_bytes()]).unwrap();
            seen.note((whose, key().1), &Known::default(), 0);
        }
        assert_eq!(seen.shelf().known.len(), 1);
    }

    fn key() -> Key {
        (Fingerprint::of(&[b"sk-ant-api03-test"]).unwrap(), ModelClass::of("opus").unwrap())
    }
}
