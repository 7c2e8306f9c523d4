//! What every kind of resource can do.

use std::future::Future;
use std::pin::Pin;

use super::plan::{Action, Change, Field};
use super::{Address, CloudError, Foreign, Kind, Ownership, Reader, Writer};

/// Something that is owned, reached by `C`. The value itself is enough to find it, to judge whose
/// it is, and to remove it; what it is to be like is another value.
pub trait Resource<C> {
    /// What it is to be like. Where there is none, it is to be gone.
    type Spec;
    /// What is there now.
    type Live: Clone;

    /// Whether all else can do without knowing what is there of it.
    const OPTIONAL: bool = false;

    fn address(&self) -> Address;

    /// Judges whose `live` is.
    fn ownership(&self, live: &Self::Live) -> Ownership;

    /// Of which other resource it is a part, so that it is whose that is.
    fn belongs_to(&self, _live: Option<&Self::Live>) -> Option<Address> {
        None
    }

    /// Which other resources `wanted` names: they have to be there first.
    fn refers_to(&self, _spec: &Self::Spec) -> Vec<Address> {
        Vec::new()
    }

    /// Compares what is wanted with what is there; `None` is nothing.
    fn diff(&self, spec: &Self::Spec, live: Option<&Self::Live>) -> Change;

    /// Whether it can be used.
    fn state(&self, _live: &Self::Live) -> State {
        State::Ready
    }

    /// Why it could not become what is wanted, and what has to be done first, as far as `live`
    /// tells.
    fn refuses_change(&self, _spec: &Self::Spec, _live: &Self::Live) -> Option<String> {
        None
    }

    /// Why it could not be removed, and what has to be done first.
    ///
    /// # Errors
    ///
    /// If that cannot be found out.
    fn refuses_removal(
        &self,
        _live: &Self::Live,
        _cloud: &Reader<C>,
    ) -> impl Future<Output = Result<Option<String>, CloudError>> {
        async { Ok(None) }
    }

    /// Reads it; `None` if it does not exist.
    fn read(
        &self,
        cloud: &Reader<C>,
    ) -> impl Future<Output = Result<Option<Self::Live>, CloudError>>;

    /// Makes it what is wanted, starting from `live`. Taken twice, the second time changes nothing.
    fn apply(
        &self,
        spec: &Self::Spec,
        live: Option<Self::Live>,
        cloud: &Writer<C>,
    ) -> impl Future<Output = Result<(), CloudError>>;

    /// Removes what was read and judged, and returns when it is gone.
    fn delete(
        &self,
        live: Self::Live,
        cloud: &Writer<C>,
    ) -> impl Future<Output = Result<(), CloudError>>;
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
pub(crate) const TAG_LOOKS: u32 = 4;

/// Reads it again, judges it, and applies. Where somebody was quicker, looks again and applies what
/// is left. That somebody may have been this very run, whose answer was lost.
pub(super) async fn settle<C, R: Resource<C>>(
    resource: &R,
    spec: &R::Spec,
    planned: Option<&R::Live>,
    adopt: bool,
    cloud: &Writer<C>,
) -> Result<(), CloudError> {
    let plan = resource.diff(spec, planned);
    let mut live = read_judged(resource, adopt, cloud).await?;
    match &live {
        None if planned.is_some() && plan.action != Action::Create => {
            let why = "somebody has removed it since the plan was made";
            return Err(CloudError::new(Kind::Stale, why));
        }
        None => {}
        Some(live) => {
            if let Some(why) = resource.refuses_change(spec, live) {
                return Err(CloudError::new(Kind::Held, why));
            }
            tell_of_others(&plan, &resource.diff(spec, Some(live)), cloud);
        }
    }
    for _ in 0..ROUNDS {
        match resource.apply(spec, live, cloud).await {
            Err(error) if matches!(error.kind, Kind::Exists | Kind::Stale) => {}
            Err(error) if matches!(error.kind, Kind::Throttled | Kind::Unreachable) => {
                // Whether it was done tells only what is there.
                let now = read_judged(resource, adopt, cloud).await.ok().flatten();
                let there = now.is_some_and(|live| is_kept(resource, spec, &live));
                return if there { Ok(()) } else { Err(error) };
            }
            ended => return ended,
        }
        cloud.say().waiting("somebody else was quicker: looking again");
        cloud.pause(1.0).await?;
        live = read_judged(resource, adopt, cloud).await?;
        if live.as_ref().is_some_and(|live| is_kept(resource, spec, live)) {
            return Ok(());
        }
        if let Some(why) = live.as_ref().and_then(|live| resource.refuses_change(spec, live)) {
            return Err(CloudError::new(Kind::Held, why));
        }
    }
    Err(CloudError::new(Kind::Busy, "somebody else changes it all the time"))
}

fn is_kept<C, R: Resource<C>>(resource: &R, spec: &R::Spec, live: &R::Live) -> bool {
    resource.diff(spec, Some(live)).action == Action::Keep
}

/// Says what somebody else has changed since the plan was made.
fn tell_of_others<C>(plan: &Change, now: &Change, cloud: &Writer<C>) {
    let known = |field: &&Field| {
        plan.fields.iter().any(|old| old.path == field.path && old.before == field.before)
    };
    let new = now.fields.iter().filter(|field| !known(field));
    let paths: Vec<&str> = new.map(|field| field.path.as_str()).collect();
    if plan.action != Action::Create && !paths.is_empty() {
        let (address, paths) = (&now.address, paths.join(", "));
        cloud.say().progress(&format!("  {address}: somebody else has just changed {paths}"));
    }
}

/// Removes what is there and ours at this very moment.
pub(super) async fn remove<C, R: Resource<C>>(
    resource: &R,
    cloud: &Writer<C>,
) -> Result<(), CloudError> {
    let Some(live) = read_judged(resource, false, cloud).await? else { return Ok(()) };
    if let Some(why) = resource.refuses_removal(&live, cloud.reader()).await? {
        return Err(CloudError::new(Kind::Held, why));
    }
    resource.delete(live, cloud).await
}

/// Reads what is there now, and judges whose it is. Tags may come later than what carries them.
async fn read_judged<C, R: Resource<C>>(
    resource: &R,
    adopt: bool,
    cloud: &Writer<C>,
) -> Result<Option<R::Live>, CloudError> {
    let mut looks = 0;
    loop {
        let live = resource.read(cloud.reader()).await?;
        let why = match live.as_ref().map(|live| resource.ownership(live)) {
            None | Some(Ownership::Ours) => return Ok(live),
            Some(Ownership::Foreign(why)) if adopt && why.adoptable() => return Ok(live),
            Some(Ownership::Foreign(why)) => why,
        };
        looks += 1;
        if why != Foreign::Untagged || looks == TAG_LOOKS {
            return Err(stranger(&why));
        }
        cloud.say().waiting("its tags are not visible yet");
        cloud.pause(1.0).await?;
    }
}

/// Somebody else has put something in the place of ours.
pub(super) fn stranger(why: &Foreign) -> CloudError {
    CloudError::new(Kind::Foreign, format!("somebody else has just put it there: {why}"))
}
