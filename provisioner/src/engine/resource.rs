//! What every kind of resource can do.

use std::future::Future;
use std::pin::Pin;

use super::plan::{Action, Change};
use super::{Address, CloudError, Foreign, Kind, Ownership, Reader, Writer};

/// Something that is owned, reached by `C`. The value itself is what is wanted.
pub trait Resource<C> {
    /// What is there now.
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
    fn read(
        &self,
        cloud: &Reader<C>,
    ) -> impl Future<Output = Result<Option<Self::Live>, CloudError>>;

    /// Makes it what is wanted, starting from `live`. Taken twice, the second time changes nothing.
    fn apply(
        &self,
        live: Option<Self::Live>,
        cloud: &Writer<C>,
    ) -> impl Future<Output = Result<(), CloudError>>;

    /// Removes it, and returns when it is gone. What is not there is removed.
    fn delete(&self, cloud: &Writer<C>) -> impl Future<Output = Result<(), CloudError>>;
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
const ROUNDS: u32 = 6;

/// How often tags are looked for that should be there.
pub(crate) const LOOKS: u32 = 4;

/// Applies; where somebody was quicker, looks again and applies what is left. That somebody may
/// have been this very run, whose answer was lost.
pub(crate) async fn settle<C, R: Resource<C>>(
    resource: &R,
    live: Option<R::Live>,
    adopt: bool,
    cloud: &Writer<C>,
) -> Result<(), CloudError> {
    let mut live = live;
    for _ in 0..ROUNDS {
        match resource.apply(live, cloud).await {
            Err(error) if matches!(error.kind, Kind::Exists | Kind::Stale) => {}
            ended => return ended,
        }
        live = look_again(resource, adopt, cloud).await?;
        if live.is_some() && resource.diff(live.as_ref()).action == Action::Keep {
            return Ok(());
        }
    }
    Err(CloudError::new(Kind::Busy, "somebody else changes it all the time"))
}

/// Reads what somebody else has just made or changed, and judges whose it is. Tags may come later
/// than what carries them.
async fn look_again<C, R: Resource<C>>(
    resource: &R,
    adopt: bool,
    cloud: &Writer<C>,
) -> Result<Option<R::Live>, CloudError> {
    let mut looks = 0;
    loop {
        cloud.reader().rest(1.0).await;
        let live = resource.read(cloud.reader()).await?;
        let why = match live.as_ref().map(|live| resource.ownership(live)) {
            None | Some(Ownership::Ours) => return Ok(live),
            Some(Ownership::Foreign(why)) if adopt && why.adoptable() => return Ok(live),
            Some(Ownership::Foreign(why)) => why,
        };
        looks += 1;
        if why != Foreign::Untagged || looks == LOOKS {
            let why = format!("somebody else has just made it: {why}");
            return Err(CloudError::new(Kind::Foreign, why));
        }
        cloud.say().waiting("its tags are not visible yet");
    }
}
