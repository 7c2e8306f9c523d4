//! Values that were seen, in the order in which they were looked for.
//!
//! What is found gone leaves a mark in its place, so that a read that began earlier and ends later
//! does not bring it back. Both are bounded: what was seen the longest ago makes room.

use std::collections::BTreeMap;

use crate::failover::cooldown::Timestamp;

/// More values than this are not kept.
const MOST: usize = 10_000;
/// More marks than this are not kept; they matter as long as a read takes.
const MOST_MARKS: usize = 1000;

/// The place of a read or a write among all others of this instance, taken when it begins: a read
/// says nothing about what came after that. No clock knows this order, since clocks are set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::proxy::cached_store) struct Sequence(pub(super) u64);

#[derive(Debug)]
pub(super) struct SequencedMap<K, V> {
    values: BTreeMap<K, (V, Sequence, Timestamp)>,
    marks: BTreeMap<K, Sequence>,
}

impl<K, V> Default for SequencedMap<K, V> {
    fn default() -> Self {
        Self { values: BTreeMap::new(), marks: BTreeMap::new() }
    }
}

impl<K: Clone + Ord, V> SequencedMap<K, V> {
    /// A value, and when it was seen.
    pub(super) fn get(&self, key: &K) -> Option<(&V, Timestamp)> {
        self.values.get(key).map(|(value, _, at)| (value, *at))
    }

    /// Takes in a value, unless something is known that was looked for later.
    pub(super) fn put(&mut self, key: K, value: V, (sequence, at): (Sequence, Timestamp)) {
        if self.knows_better(&key, sequence) {
            return;
        }
        self.marks.remove(&key);
        make_room(&mut self.values, &key, MOST, |(_, sequence, _)| *sequence);
        self.values.insert(key, (value, sequence, at));
    }

    /// Takes out a value. One that is not here leaves no mark: whoever asks for much that there is
    /// not would push out what there is.
    pub(super) fn end(&mut self, key: &K, sequence: Sequence) {
        if self.values.contains_key(key) {
            self.bury(key.clone(), sequence);
        }
    }

    /// Takes out a value, and leaves a mark also where there was none.
    pub(super) fn bury(&mut self, key: K, sequence: Sequence) {
        if self.knows_better(&key, sequence) {
            return;
        }
        self.values.remove(&key);
        make_room(&mut self.marks, &key, MOST_MARKS, |sequence| *sequence);
        self.marks.insert(key, sequence);
    }

    fn knows_better(&self, key: &K, sequence: Sequence) -> bool {
        let value = self.values.get(key).map(|(_, sequence, _)| sequence);
        value.max(self.marks.get(key)).is_some_and(|known| *known > sequence)
    }
}

/// Lets go of the oldest entry where a new one would be too many.
fn make_room<K: Clone + Ord, V>(
    entries: &mut BTreeMap<K, V>,
    new: &K,
    most: usize,
    sequence: impl Fn(&V) -> Sequence,
) {
    if entries.len() >= most && !entries.contains_key(new) {
        let oldest = entries.iter().min_by_key(|(_, entry)| sequence(entry));
        let oldest = oldest.map(|(key, _)| key.clone());
        oldest.and_then(|key| entries.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_the_longest_ago_makes_room_and_marks_push_no_value_out() {
        let mut map = SequencedMap::default();
        for n in 0..=MOST as u64 {
            map.put(n, (), (Sequence(n), Timestamp::UNIX_EPOCH));
        }
        assert_eq!((map.values.len(), map.get(&0), map.get(&1).is_some()), (MOST, None, true));
        for n in 0..2 * MOST_MARKS as u64 {
            map.bury(n + 20_000, Sequence(n + 20_000));
            map.end(&(n + 50_000), Sequence(n + 50_000));
        }
        assert_eq!((map.values.len(), map.marks.len()), (MOST, MOST_MARKS));
    }
}
