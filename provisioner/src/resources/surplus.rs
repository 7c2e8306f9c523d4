//! The images that are more than are kept, once the function runs the wanted one.
//!
//! What is there of it is a list; where nothing is to go, nothing is there. What the function runs
//! at the moment of deletion is never deleted, whatever was planned.

use crate::aws::{Clients, CloudError, Reader, Writer};
use crate::engine::plan::{Action, Change, Deleted, Fields};
use crate::engine::{Address, Ownership, Resource};
use crate::image::Digest;
use crate::resources::function::{Function, FunctionLive};
use crate::resources::image;
use crate::resources::repository::Repository;

/// How many images before the wanted one are kept, as a way back.
const KEPT: usize = 3;

/// What is wanted: that they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surplus {
    pub repository: String,
    pub function: String,
    /// What the function is to run; `None` leaves all as they are.
    pub wanted: Option<Digest>,
}

/// The digests of those that go.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SurplusLive(pub Vec<Digest>);

/// Which of `images`, newest first, are of ours and more than are kept beside `wanted`.
#[must_use]
pub fn of(images: &[image::Stored], wanted: &Digest) -> Vec<Digest> {
    let before = images.iter().filter(|image| image.is_ours() && image.digest != *wanted);
    before.skip(KEPT).map(|image| image.digest.clone()).collect()
}

impl Surplus {
    /// What is more than `image` and those before it, once `function` runs it.
    #[must_use]
    pub fn of(image: &image::Image, function: &Function) -> Self {
        let (repository, function) = (image.repository.clone(), function.name.clone());
        Self { repository, function, wanted: image.wanted.digest().cloned() }
    }
}

impl Resource<Clients> for Surplus {
    type Live = SurplusLive;

    fn address(&self) -> Address {
        Address::new("surplus", &self.repository)
    }

    fn is_wanted(&self) -> bool {
        false
    }

    fn ownership(&self, _live: &SurplusLive) -> Ownership {
        Ownership::Ours
    }

    fn belongs_to(&self, _live: &SurplusLive) -> Option<Address> {
        Some(Repository::address_of(&self.repository))
    }

    fn diff(&self, live: Option<&SurplusLive>) -> Change {
        let all = live.map(|live| live.0.as_slice()).unwrap_or_default();
        let fields = all
            .iter()
            .fold(Fields::new(), |fields, digest| fields.field("imageDigest", digest.as_str(), ()));
        let goes = Action::Delete(Deleted::OlderThanKept);
        let action = if all.is_empty() { Action::Keep } else { goes };
        Change::new(self.address(), action, fields)
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<SurplusLive>, CloudError> {
        let Some(wanted) = &self.wanted else { return Ok(None) };
        let surplus = of(&image::stored(&self.repository, cloud).await?, wanted);
        Ok((!surplus.is_empty()).then_some(SurplusLive(surplus)))
    }

    async fn apply(&self, _live: Option<SurplusLive>, cloud: &Writer) -> Result<(), CloudError> {
        self.delete(cloud).await
    }

    async fn delete(&self, cloud: &Writer) -> Result<(), CloudError> {
        let Some(SurplusLive(mut surplus)) = self.read(cloud.reader()).await? else {
            return Ok(());
        };
        let function = Function::find(&self.function, cloud.reader()).await?;
        let deployed = function.as_ref().and_then(FunctionLive::digest);
        surplus.retain(|digest| Some(digest) != deployed.as_ref());
        image::remove(&self.repository, &surplus, cloud).await
    }
}
