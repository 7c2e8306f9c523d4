//! What every kind of resource can do.

use std::future::Future;
use std::pin::Pin;

use crate::cloud::{CloudError, Kind, Reader, Writer};
use crate::names::Ownership;
use crate::plan::{Action, Address, Change};

/// Something in the account that the stack owns. The value itself is what is wanted.
pub trait Resource {
    /// What the account says now.
    type Live: Clone;

    fn address(&self) -> Address;

    /// Judges whose `live` is.
    fn ownership(&self, live: &Self::Live) -> Ownership;

    /// Of which other resource `live` is a part, so that it is whose that is.
    fn belongs_to(&self, _live: &Self::Live) -> Option<Address> {
        None
    }

    /// Whether it is to be there at all. What is not wanted and not there is not spoken of.
    fn is_wanted(&self) -> bool {
        true
    }

    /// Compares what is wanted with what is there; `None` is nothing.
    fn diff(&self, live: Option<&Self::Live>) -> Change;

    /// Whether AWS says that it can be used.
    fn state(&self, _live: &Self::Live) -> State {
        State::Ready
    }

    /// Reads it; `None` if it does not exist.
    fn read(&self, cloud: &Reader) -> impl Future<Output = Result<Option<Self::Live>, CloudError>>;

    /// Makes it what is wanted, starting from `live`. Taken twice, the second time changes nothing.
    fn apply(
        &self,
        live: Option<Self::Live>,
        cloud: &Writer,
    ) -> impl Future<Output = Result<(), CloudError>>;

    /// Removes it, and returns when it is gone. What is not there is removed.
    fn delete(&self, cloud: &Writer) -> impl Future<Output = Result<(), CloudError>>;
}

/// How something that exists is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ready,
    Changing,
    Failed,
}

/// What comes of something that takes its time.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = Result<T, CloudError>> + 'a>>;

/// How often somebody else may be quicker.
const ROUNDS: u32 = 5;

/// Applies; where somebody was quicker, looks again and applies what is left. That somebody may
/// have been this very run, whose answer was lost.
pub(crate) async fn settle<R: Resource>(
    resource: &R,
    live: Option<R::Live>,
    adopt: bool,
    cloud: &Writer,
) -> Result<(), CloudError> {
    let mut live = live;
    let mut rounds = 0;
    loop {
        let error = match resource.apply(live, cloud).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        rounds += 1;
        if !matches!(error.kind, Kind::Exists | Kind::Busy) || rounds > ROUNDS {
            return Err(error);
        }
        cloud.reader().rest(1.0).await;
        live = resource.read(cloud.reader()).await?;
        if let Some(live) = &live {
            if let Ownership::Foreign(why) = resource.ownership(live)
                && !(adopt && why.adoptable())
            {
                let why = format!("somebody else has just made it: {why}");
                return Err(CloudError::new(Kind::Foreign, why));
            }
            if resource.diff(Some(live)).action == Action::Keep {
                return Ok(());
            }
        }
    }
}
