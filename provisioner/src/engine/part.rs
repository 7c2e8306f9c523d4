//! How does one walk over all resources, whatever their kind? Each is a [`Part`]: what finds it,
//! what is wanted of it and what is there, side by side.

use super::plan::{Action, Change, Deleted, Fields};
use super::resource::{Later, Resource, State, remove, settle};
use super::{Address, CloudError, Foreign, Kind, Ownership, Reader, Writer, made_for};

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

/// One resource, what is wanted of it, and what is there of it.
pub trait Part<C> {
    fn address(&self) -> Address;

    /// What has to be there before it.
    fn after(&self) -> Vec<Address>;

    /// Whose it is; `None` if it is not there.
    fn ownership(&self) -> Option<Ownership>;

    /// Of which other resource it is a part.
    fn belongs_to(&self) -> Option<Address>;

    /// Whether it is wanted, or there and ours.
    fn matters(&self) -> bool;

    /// How it is doing; `None` if it is not there.
    fn state(&self) -> Option<State>;

    /// Compares what is wanted with what is there.
    fn diff(&self) -> Change;

    /// Why it could not become what is wanted, as far as what is there tells.
    fn refuses_change(&self) -> Option<String>;

    /// Why it could not be removed, if it is there.
    fn refuses_removal<'a>(&'a self, cloud: &'a Reader<C>) -> Later<'a, Option<String>>;

    /// Reads it now, and judges whose it is.
    fn judge<'a>(&'a self, cloud: &'a Reader<C>) -> Later<'a, Option<Ownership>>;

    /// Makes it what is wanted, also where somebody else is about to. `adopt` takes over what
    /// carries no tags of ours.
    fn settle<'a>(&'a self, adopt: bool, cloud: &'a Writer<C>) -> Later<'a, ()>;

    /// Removes what is there now, if it is ours.
    fn remove<'a>(&'a self, cloud: &'a Writer<C>) -> Later<'a, ()>;
}

/// A resource of one kind as a [`Part`].
#[expect(missing_debug_implementations, reason = "it is walked over, never shown")]
pub struct Pair<'a, C, R: Resource<C>> {
    pub resource: &'a R,
    /// `None` where it is to be gone.
    pub spec: Option<&'a R::Spec>,
    /// `None` where it is not there.
    pub live: Option<&'a R::Live>,
}

impl<C, R: Resource<C>> Part<C> for Pair<'_, C, R> {
    fn address(&self) -> Address {
        self.resource.address()
    }

    fn after(&self) -> Vec<Address> {
        // Not what it belongs to: a function waits for the log group that an earlier one has left.
        self.spec.map(|spec| self.resource.refers_to(spec)).unwrap_or_default()
    }

    fn ownership(&self) -> Option<Ownership> {
        self.live.map(|live| self.resource.ownership(live))
    }

    fn belongs_to(&self) -> Option<Address> {
        self.resource.belongs_to(self.live)
    }

    fn matters(&self) -> bool {
        self.spec.is_some() || self.ownership() == Some(Ownership::Ours)
    }

    fn state(&self) -> Option<State> {
        self.live.map(|live| self.resource.state(live))
    }

    fn diff(&self) -> Change {
        let goes = Action::Delete(Deleted::NotWanted);
        match (self.spec, self.live) {
            (Some(spec), live) => self.resource.diff(spec, live),
            (None, Some(_)) => Change::new(self.address(), goes, Fields::new()),
            (None, None) => Change::new(self.address(), Action::Keep, Fields::new()),
        }
    }

    fn refuses_change(&self) -> Option<String> {
        self.resource.refuses_change(self.spec?, self.live?)
    }

    fn refuses_removal<'a>(&'a self, cloud: &'a Reader<C>) -> Later<'a, Option<String>> {
        Box::pin(async move {
            let Some(live) = self.live else { return Ok(None) };
            let refusal = self.resource.refuses_removal(live, cloud).await;
            refusal.map_err(|error| error.at(&self.address()))
        })
    }

    fn judge<'a>(&'a self, cloud: &'a Reader<C>) -> Later<'a, Option<Ownership>> {
        Box::pin(async move {
            let live = self.resource.read(cloud).await?;
            Ok(live.map(|live| self.resource.ownership(&live)))
        })
    }

    fn settle<'a>(&'a self, adopt: bool, cloud: &'a Writer<C>) -> Later<'a, ()> {
        match self.spec {
            Some(spec) => Box::pin(settle(self.resource, spec, self.live, adopt, cloud)),
            None => self.remove(cloud),
        }
    }

    fn remove<'a>(&'a self, cloud: &'a Writer<C>) -> Later<'a, ()> {
        Box::pin(remove(self.resource, cloud))
    }
}

/// Reads a resource, and says which it was if that fails.
///
/// # Errors
///
/// If it cannot be read: what is unknown is not taken for absent.
pub async fn read<C, R: Resource<C>>(
    resource: &R,
    cloud: &Reader<C>,
) -> Result<Option<R::Live>, CloudError> {
    let address = resource.address();
    let read = made_for(address.clone(), Box::pin(resource.read(cloud))).await;
    read.map_err(|error| error.at(&address))
}

/// As [`read()`]; `Err` inside where nobody can tell, and all else can do without.
///
/// # Errors
///
/// If what is needed cannot be read.
pub async fn look<C, R: Resource<C>>(
    resource: &R,
    cloud: &Reader<C>,
) -> Result<Result<Option<R::Live>, CloudError>, CloudError> {
    match read(resource, cloud).await {
        Err(error) if R::OPTIONAL && matches!(error.kind, Kind::Denied | Kind::Unreachable) => {
            Ok(Err(error))
        }
        ended => ended.map(Ok),
    }
}

/// Why `part` is not ours, if it is not. What belongs to another of `parts` is whose that is.
#[must_use]
pub fn foreign<C>(parts: &[Box<dyn Part<C> + '_>], part: &dyn Part<C>) -> Option<Foreign> {
    match part.ownership()? {
        Ownership::Foreign(why) => Some(why),
        Ownership::Ours => {
            let owner = part.belongs_to()?;
            let owner = parts.iter().find(|part| part.address() == owner)?;
            foreign(parts, owner.as_ref())
        }
    }
}

/// Looks at each of `parts`: what is there of it, and whose it is.
#[must_use]
pub fn survey<C>(parts: &[Box<dyn Part<C> + '_>]) -> Vec<Found> {
    let found = parts.iter().filter(|part| part.matters()).map(|part| Found {
        address: part.address(),
        state: part.state(),
        foreign: foreign(parts, part.as_ref()),
        change: part.diff(),
    });
    found.collect()
}
