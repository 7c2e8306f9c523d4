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
pub(super) struct ReadCache(Mutex<Reads>);

#[derive(Debug, Default)]
struct Reads {
    known: BTreeMap<Key, Known>,
    /// How often the file was written.
    moment: u64,
}

impl ReadCache {
    /// What was read before, and the moment at which a read begins.
    pub(super) fn recall(&self, whose: &Fingerprint, class: &ModelClass) -> (Option<Known>, u64) {
        let reads = self.reads();
        (reads.known.get(&(*whose, class.clone())).cloned(), reads.moment)
    }

    /// Keeps what a read that began at `moment` has brought, unless there was a write meanwhile.
    pub(super) fn note(&self, key: Key, known: &Known, moment: u64) {
        let mut reads = self.reads();
        if reads.moment != moment {
            return;
        }
        if reads.known.len() >= MOST {
            reads.known.clear();
        }
        reads.known.insert(key, known.clone());
    }

    /// The file has been written.
    pub(super) fn forget(&self) {
        let mut reads = self.reads();
        reads.moment += 1;
        reads.known.clear();
    }

    fn reads(&self) -> MutexGuard<'_, Reads> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_that_a_write_has_overtaken_is_not_kept() {
        let (cache, (whose, class)) = (ReadCache::default(), key());
        let (_, before) = cache.recall(&whose, &class);
        cache.forget();
        cache.note(key(), &Known::default(), before);
        let (known, now) = cache.recall(&whose, &class);
        assert_eq!(known, None);
        cache.note(key(), &Known::default(), now);
        assert_eq!(cache.recall(&whose, &class).0, Some(Known::default()));
    }

    #[test]
    fn no_more_than_a_thousand_are_kept() {
        let cache = ReadCache::default();
        for index in 0..=MOST {
            let whose = Fingerprint::of(&[index.to_string().as_bytes()]).unwrap();
            cache.note((whose, key().1), &Known::default(), 0);
        }
        assert_eq!(cache.reads().known.len(), 1);
    }

    fn key() -> Key {
        (Fingerprint::of(&[b"sk-ant-api03-test"]).unwrap(), ModelClass::of("opus").unwrap())
    }
}
