//! How much is held at a time, and who gets the last of it?
//!
//! A room has places for requests and bytes for their bodies. Whoever holds less than is still free
//! gets more: alone, one takes half of a room; ten take a tenth each, and a newcomer still finds a
//! place. Counts only: nothing here knows a socket, a header or a clock, and a holder is a number
//! that means nothing outside this process.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A body up to this size, in bytes, is not counted: a place has room for it.
pub const SMALL_BODY: usize = 64 << 10;
/// Larger bodies are counted in steps, so that the lock is seldom taken.
const STEP: usize = 256 << 10;

/// What a room has, or what somebody holds of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    pub places: usize,
    pub bytes: usize,
}

impl Space {
    /// What the proxy answers and holds at a time, at most.
    pub const MOST: Self = Self { places: 1024, bytes: 256 << 20 };

    /// As much of [`Self::MOST`] as a process may use that may open `files` of them: a request
    /// needs a socket on either side, and upstreams' sockets are kept for a while.
    #[must_use]
    pub const fn for_files(files: usize) -> Self {
        let places = files.saturating_sub(64) / 4;
        let places = if places < Self::MOST.places { places } else { Self::MOST.places };
        Self { places: if places == 0 { 1 } else { places }, ..Self::MOST }
    }
}

/// Whether somebody who holds `mine` may take `more` of what is `free`.
#[must_use]
pub const fn may_take(mine: usize, more: usize, free: usize) -> bool {
    more <= free && (mine == 0 || mine + more <= free)
}

/// Why nothing is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// Nothing is free for anybody.
    All,
    /// What is free is for others.
    Share,
}

/// Whoever is told apart from others while there is room to be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder(u64);

/// Places and bytes, and who has them.
#[derive(Clone, Debug)]
pub struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    taken: Mutex<Taken>,
    names: RandomState,
}

#[derive(Debug)]
struct Taken {
    free: Space,
    holders: BTreeMap<Holder, Space>,
}

impl Room {
    #[must_use]
    pub fn new(whole: Space) -> Self {
        let taken = Taken { free: whole, holders: BTreeMap::new() };
        Self(Arc::new(Inner { taken: Mutex::new(taken), names: RandomState::new() }))
    }

    /// The number of whoever shows these texts.
    #[must_use]
    pub fn holder(&self, shown: &[&[u8]]) -> Holder {
        Holder(self.0.names.hash_one(shown))
    }

    /// Gives one place.
    ///
    /// # Errors
    ///
    /// [`Full`], where there is none, or none for this one.
    pub fn enter(&self, holder: Holder) -> Result<Place, Full> {
        self.0.take(holder, Space { places: 1, bytes: 0 })?;
        Ok(Place(Arc::new(Taking { room: Self(Arc::clone(&self.0)), holder })))
    }

    /// What nobody holds.
    #[must_use]
    pub fn free(&self) -> Space {
        self.0.taken().free
    }
}

impl Inner {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, holder: Holder, more: Space) -> Result<(), Full> {
        let mut taken = self.taken();
        let mine = taken.holders.get(&holder).copied().unwrap_or_default();
        let free = taken.free;
        if more.places > free.places || more.bytes > free.bytes {
            return Err(Full::All);
        }
        let places = more.places == 0 || may_take(mine.places, more.places, free.places);
        let bytes = more.bytes == 0 || may_take(mine.bytes, more.bytes, free.bytes);
        if !(places && bytes) {
            return Err(Full::Share);
        }
        taken.free = Space { places: free.places - more.places, bytes: free.bytes - more.bytes };
        let mine = Space { places: mine.places + more.places, bytes: mine.bytes + more.bytes };
        taken.holders.insert(holder, mine);
        Ok(())
    }

    fn give_back(&self, holder: Holder, less: Space) {
        let mut taken = self.taken();
        taken.free.places += less.places;
        taken.free.bytes += less.bytes;
        if let Some(mine) = taken.holders.get_mut(&holder) {
            mine.places -= less.places;
            mine.bytes -= less.bytes;
            if *mine == Space::default() {
                taken.holders.remove(&holder);
            }
        }
    }
}

/// A place, held until its last clone is dropped.
#[derive(Clone, Debug)]
pub struct Place(Arc<Taking>);

#[derive(Debug)]
struct Taking {
    room: Room,
    holder: Holder,
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.room.0.give_back(self.holder, Space { places: 1, bytes: 0 });
    }
}

impl Place {
    /// Begins to hold a body.
    #[must_use]
    pub fn hold(&self) -> Held {
        Held { place: self.clone(), bytes: 0 }
    }
}

/// The bytes that a body takes, held until this is dropped.
#[derive(Debug)]
pub struct Held {
    place: Place,
    bytes: usize,
}

impl Held {
    /// Makes sure of room for a body of so many bytes.
    ///
    /// # Errors
    ///
    /// [`Full`], where there is none; what is held already stays held.
    pub fn grow(&mut self, to: usize) -> Result<(), Full> {
        if to <= SMALL_BODY.max(self.bytes) {
            return Ok(());
        }
        let bytes = to.next_multiple_of(STEP) - self.bytes;
        let Taking { room, holder } = &*self.place.0;
        room.0.take(*holder, Space { places: 0, bytes })?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Held {
    /// Whether the body is so small that it is not counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let Taking { room, holder } = &*self.place.0;
            room.0.give_back(*holder, Space { places: 0, bytes: self.bytes });
        }
    }
}
