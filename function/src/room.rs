//! How much is held at a time, and who gets the last of it?
//!
//! A room has permits for requests, and bytes for their bodies. Whoever holds less than is still
//! free gets more: alone, one takes half of a room; ten take a tenth each, and a newcomer still
//! finds a permit. Counts only: nothing here knows a socket, a header or a clock, and a client is a
//! number that means nothing outside this process.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A body up to this size, in bytes, is not counted: a permit covers it.
pub const SMALL_BODY: usize = 64 << 10;
/// Larger bodies are counted in steps, so that the lock is seldom taken.
const STEP: usize = 256 << 10;

/// What a room has, or what somebody holds of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    pub requests: usize,
    pub bytes: usize,
}

impl Capacity {
    /// What the proxy answers and holds at a time, at most.
    pub const MAX: Self = Self { requests: 1024, bytes: 256 << 20 };

    /// As much of [`Self::MAX`] as a process may use that may open `files` of them: a request
    /// needs a socket on either side, and upstreams' sockets are kept for a while.
    #[must_use]
    pub const fn for_files(files: usize) -> Self {
        let requests = files.saturating_sub(64) / 4;
        let requests = if requests < Self::MAX.requests { requests } else { Self::MAX.requests };
        Self { requests: if requests == 0 { 1 } else { requests }, ..Self::MAX }
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
pub struct ClientId(u64);

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
    free: Capacity,
    clients: BTreeMap<ClientId, Capacity>,
}

impl Room {
    #[must_use]
    pub fn new(whole: Capacity) -> Self {
        let taken = Taken { free: whole, clients: BTreeMap::new() };
        Self(Arc::new(Inner { taken: Mutex::new(taken), names: RandomState::new() }))
    }

    /// The number of whoever shows these texts.
    #[must_use]
    pub fn client(&self, shown: &[&[u8]]) -> ClientId {
        ClientId(self.0.names.hash_one(shown))
    }

    /// Gives one permit.
    ///
    /// # Errors
    ///
    /// [`Full`], where there is none, or none for this one.
    pub fn enter(&self, client: ClientId) -> Result<Permit, Full> {
        self.0.take(client, Capacity { requests: 1, bytes: 0 })?;
        Ok(Permit(Arc::new(Taking { room: Self(Arc::clone(&self.0)), client })))
    }

    /// What nobody holds.
    #[must_use]
    pub fn free(&self) -> Capacity {
        self.0.taken().free
    }
}

impl Inner {
    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, client: ClientId, more: Capacity) -> Result<(), Full> {
        let mut taken = self.taken();
        let mine = taken.clients.get(&client).copied().unwrap_or_default();
        let free = taken.free;
        if more.requests > free.requests || more.bytes > free.bytes {
            return Err(Full::All);
        }
        let requests = more.requests == 0 || may_take(mine.requests, more.requests, free.requests);
        let bytes = more.bytes == 0 || may_take(mine.bytes, more.bytes, free.bytes);
        if !(requests && bytes) {
            return Err(Full::Share);
        }
        taken.free =
            Capacity { requests: free.requests - more.requests, bytes: free.bytes - more.bytes };
        let mine =
            Capacity { requests: mine.requests + more.requests, bytes: mine.bytes + more.bytes };
        taken.clients.insert(client, mine);
        Ok(())
    }

    fn give_back(&self, client: ClientId, less: Capacity) {
        let mut taken = self.taken();
        taken.free.requests += less.requests;
        taken.free.bytes += less.bytes;
        if let Some(mine) = taken.clients.get_mut(&client) {
            mine.requests -= less.requests;
            mine.bytes -= less.bytes;
            if *mine == Capacity::default() {
                taken.clients.remove(&client);
            }
        }
    }
}

/// A permit, held until its last clone is dropped.
#[derive(Clone, Debug)]
pub struct Permit(Arc<Taking>);

#[derive(Debug)]
struct Taking {
    room: Room,
    client: ClientId,
}

impl Drop for Taking {
    fn drop(&mut self) {
        self.room.0.give_back(self.client, Capacity { requests: 1, bytes: 0 });
    }
}

impl Permit {
    /// Begins to hold a body.
    #[must_use]
    pub fn hold(&self) -> BodyPermit {
        BodyPermit { permit: self.clone(), bytes: 0 }
    }
}

/// The bytes that a body takes, held until this is dropped.
#[derive(Debug)]
pub struct BodyPermit {
    permit: Permit,
    bytes: usize,
}

impl BodyPermit {
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
        let Taking { room, client } = &*self.permit.0;
        room.0.take(*client, Capacity { requests: 0, bytes })?;
        self.bytes += bytes;
        Ok(())
    }

    /// Whether the body is so small that it is not counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl Drop for BodyPermit {
    fn drop(&mut self) {
        if self.bytes > 0 {
            let Taking { room, client } = &*self.permit.0;
            room.0.give_back(*client, Capacity { requests: 0, bytes: self.bytes });
        }
    }
}
