//! The images that are more than are kept, once the function runs the wanted one.
//!
//! What the function runs at the moment of deletion is never deleted, whatever was planned.

use crate::aws::{Clients, CloudError, Reader, Writer};
use crate::engine::plan::{Action, Change, Deleted, Fields};
use crate::engine::{Address, Ownership, Resource};
use crate::image::Digest;
use crate::resources::function::{Function, FunctionLive};
use crate::resources::image::{self, ImageLive};
use crate::resources::repository::Repository;

/// How many images before the wanted one are kept, as a way back.
const KEPT_IMAGES: usize = 3;

/// The images that are more than are kept in a repository, and the function that may run one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surplus {
    pub repository: String,
    pub function: String,
}

/// That these go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SurplusSpec(pub Vec<Digest>);

impl SurplusSpec {
    /// Which of what is `stored` is ours and more than is kept beside `deployed`; `None` where
    /// nothing is.
    #[must_use]
    pub fn beyond(deployed: &Digest, stored: &ImageLive) -> Option<Self> {
        let before = stored.images.iter();
        let before = before.filter(|image| image.is_ours() && image.digest != *deployed);
        let surplus: Vec<_> = before.skip(KEPT_IMAGES).map(|image| image.digest.clone()).collect();
        (!surplus.is_empty()).then_some(Self(surplus))
    }
}

impl Resource<Clients> for Surplus {
    type Spec = SurplusSpec;
    /// What is to go is never looked for: it is in what is wanted.
    type Live = ();

    fn address(&self) -> Address {
        Address::new("surplus", &self.repository)
    }

    fn ownership(&self, (): &()) -> Ownership {
        Ownership::Ours
    }

    fn belongs_to(&self, _live: Option<&()>) -> Option<Address> {
        Some(Repository::address_of(&self.repository))
    }

    fn refers_to(&self, _spec: &SurplusSpec) -> Vec<Address> {
        vec![Function::address_of(&self.function)]
    }

    fn diff(&self, spec: &SurplusSpec, _live: Option<&()>) -> Change {
        let digests = spec.0.iter().map(Digest::as_str);
        let fields =
            digests.fold(Fields::new(), |fields, digest| fields.field("imageDigest", digest, ()));
        Change::new(self.address(), Action::Delete(Deleted::OlderThanKept), fields)
    }

    async fn read(&self, _cloud: &Reader) -> Result<Option<()>, CloudError> {
        Ok(None)
    }

    async fn apply(
        &self,
        spec: &SurplusSpec,
        _live: Option<()>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let function = Function::find(&self.function, cloud.reader()).await?;
        let deployed = function.as_ref().and_then(FunctionLive::digest);
        let ours = image::stored(&self.repository, cloud.reader()).await?;
        let goes = |stored: &image::Stored| {
            let planned = stored.is_ours() && spec.0.contains(&stored.digest);
            planned && Some(&stored.digest) != deployed.as_ref()
        };
        let go: Vec<_> = ours.into_iter().filter(goes).map(|stored| stored.digest).collect();
        image::remove(&self.repository, &go, cloud).await
    }

    async fn delete(&self, (): (), _cloud: &Writer) -> Result<(), CloudError> {
        Ok(())
    }
}
