//! How does one walk over all resources, whatever their kind? The list in `stack` makes the structs
//! and the one walk over them; everything else iterates over [`Part`]s.

use super::plan::Change;
use super::resource::{Later, Resource, State, settle};
use super::{Address, CloudError, Foreign, Ownership, Reader, Writer, made_for};

/// What is known of one resource that may or may not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub address: Address,
    /// `None` if it is not there.
    pub state: Option<State>,
    /// Why it is not ours, if it is not.
    pub foreign: Option<Foreign>,
    /// How it differs from what is wanted.
    pub change: Change,
}

/// One resource beside what is there of it.
pub trait Part<C> {
    fn address(&self) -> Address;

    /// What has to be there before it.
    fn after(&self) -> &[Address];

    /// Whose it is; `None` if it is not there.
    fn ownership(&self) -> Option<Ownership>;

    /// Of which other resource it is a part, if it is there.
    fn belongs_to(&self) -> Option<Address>;

    /// Whether it is wanted, or there and ours.
    fn matters(&self) -> bool;

    /// How it is doing; `None` if it is not there.
    fn state(&self) -> Option<State>;

    /// Compares what is wanted with what is there.
    fn diff(&self) -> Change;

    /// Makes it what is wanted, also where somebody else is about to. `adopt` takes over what
    /// carries no tags of ours.
    fn settle<'a>(&'a self, adopt: bool, cloud: &'a Writer<C>) -> Later<'a, ()>;

    /// Removes it.
    fn delete<'a>(&'a self, cloud: &'a Writer<C>) -> Later<'a, ()>;
}

#[expect(missing_debug_implementations, reason = "it is walked over, never shown")]
pub struct Pair<'a, C, R: Resource<C>> {
    pub wanted: &'a R,
    pub live: Option<&'a R::Live>,
    pub after: Vec<Address>,
}

impl<C, R: Resource<C>> Part<C> for Pair<'_, C, R> {
    fn address(&self) -> Address {
        self.wanted.address()
    }

    fn after(&self) -> &[Address] {
        &self.after
    }

    fn ownership(&self) -> Option<Ownership> {
        self.live.map(|live| self.wanted.ownership(live))
    }

    fn matters(&self) -> bool {
        self.wanted.is_wanted() || self.ownership() == Some(Ownership::Ours)
    }

    fn belongs_to(&self) -> Option<Address> {
        self.live.and_then(|live| self.wanted.belongs_to(live))
    }

    fn state(&self) -> Option<State> {
        self.live.map(|live| self.wanted.state(live))
    }

    fn diff(&self) -> Change {
        self.wanted.diff(self.live)
    }

    fn settle<'a>(&'a self, adopt: bool, cloud: &'a Writer<C>) -> Later<'a, ()> {
        Box::pin(settle(self.wanted, self.live.cloned(), adopt, cloud))
    }

    fn delete<'a>(&'a self, cloud: &'a Writer<C>) -> Later<'a, ()> {
        Box::pin(self.wanted.delete(cloud))
    }
}

pub async fn read<C, R: Resource<C>>(
    resource: &R,
    cloud: &Reader<C>,
) -> Result<Option<R::Live>, CloudError> {
    let address = resource.address();
    let read = made_for(address.clone(), Box::pin(resource.read(cloud))).await;
    read.map_err(|error| error.at(&address))
}
