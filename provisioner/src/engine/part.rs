//! How does one walk over all resources, whatever their kind? The list in `stack` makes the structs
//! and the one walk over them; everything else iterates over [`Part`]s.

use crate::aws::{CloudError, Reader, Writer, made_for};
use crate::engine::Address;
use crate::engine::plan::Change;
use crate::engine::resource::settle;
use crate::engine::{Foreign, Ownership};
use crate::engine::{Later, Resource, State};

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
pub trait Part {
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
    fn settle<'a>(&'a self, adopt: bool, cloud: &'a Writer) -> Later<'a, ()>;

    /// Removes it.
    fn delete<'a>(&'a self, cloud: &'a Writer) -> Later<'a, ()>;
}

pub(crate) struct Pair<'a, R: Resource> {
    pub(crate) wanted: &'a R,
    pub(crate) live: Option<&'a R::Live>,
    pub(crate) after: Vec<Address>,
}

impl<R: Resource> Part for Pair<'_, R> {
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

    fn settle<'a>(&'a self, adopt: bool, cloud: &'a Writer) -> Later<'a, ()> {
        Box::pin(settle(self.wanted, self.live.cloned(), adopt, cloud))
    }

    fn delete<'a>(&'a self, cloud: &'a Writer) -> Later<'a, ()> {
        Box::pin(self.wanted.delete(cloud))
    }
}

pub(crate) async fn read<R: Resource>(
    resource: &R,
    cloud: &Reader,
) -> Result<Option<R::Live>, CloudError> {
    let address = resource.address();
    let read = made_for(address.clone(), Box::pin(resource.read(cloud))).await;
    read.map_err(|error| error.at(&address))
}

/// Makes of one list the struct of what is wanted, that of what is there, and the walks over both.
macro_rules! resources {
    ($($field:ident: $Kind:ident $(after $($first:ident),+)?;)+) => {
        /// What is wanted.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct Stack {
            $(pub $field: $Kind,)+
        }

        /// What is there of each resource.
        #[derive(Debug, Clone, Default, PartialEq, Eq)]
        pub struct Observed {
            $(pub $field: Option<<$Kind as crate::engine::Resource>::Live>,)+
        }

        impl Stack {
            /// Reads all of it, at once.
            ///
            /// # Errors
            ///
            /// The first answer that could not be had: what is unknown is not taken for absent.
            pub async fn observe(
                &self,
                cloud: &crate::aws::Reader,
            ) -> Result<Observed, crate::aws::CloudError> {
                let ($($field,)+) = tokio::try_join!($(crate::engine::part::read(&self.$field, cloud)),+)?;
                Ok(Observed { $($field),+ })
            }

            /// Each resource in the order of creation.
            #[must_use]
            pub fn parts<'a>(&'a self, there: &'a Observed) -> Vec<Box<dyn crate::engine::part::Part + 'a>> {
                use crate::engine::Resource as _;
                vec![$(Box::new(crate::engine::part::Pair {
                    wanted: &self.$field,
                    live: there.$field.as_ref(),
                    after: vec![$($(self.$first.address()),+)?],
                })),+]
            }
        }
    };
}

pub(crate) use resources;
