//! The image that the function runs, as the repository has it.
//!
//! Images are told apart by digest. Ours carry the first digits of their digest as tag; what does
//! not is never deleted while the repository stays.

use aws_sdk_ecr::types::{AuthorizationData, ImageFailure, ImageFailureCode, ImageIdentifier};

use crate::aws::{Clients, CloudError, Kind, OrAbsent as _, Reader, Writer, call, pages};
use crate::engine::Address;
use crate::engine::Ownership;
use crate::engine::Resource;
use crate::engine::plan::{Action, Change, Fields};
use crate::image::push::{self, PushError, Registry};
use crate::image::{self, Digest};
use crate::resources::repository::Repository;

/// How many images `BatchDeleteImage` takes (ECR API reference).
const BATCH: usize = 100;

/// Which image is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSpec {
    /// This one, which is at hand.
    Ready(image::OciImage),
    /// One that the repository still has.
    Kept(Digest),
    /// Whichever is deployed.
    NotCompared,
}

impl ImageSpec {
    /// Its digest, if there is a wish.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        match self {
            Self::Ready(image) => Some(image.digest()),
            Self::Kept(digest) => Some(digest),
            Self::NotCompared => None,
        }
    }
}

/// The images of the repository of this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub repository: String,
}

/// One image of the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub digest: Digest,
    pub tags: Vec<String>,
    /// Milliseconds since 1970.
    pub pushed: i64,
}

impl Stored {
    /// Whether it carries our tag.
    pub(super) fn is_ours(&self) -> bool {
        self.tags.iter().any(|tag| tag == self.digest.tag())
    }
}

/// What is there: newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageLive {
    pub images: Vec<Stored>,
}

impl ImageLive {
    /// Whether the repository has it.
    #[must_use]
    pub fn has(&self, digest: &Digest) -> bool {
        self.images.iter().any(|image| image.digest == *digest)
    }
}

impl ImageLive {
    /// The image of this digest, if it is there without our tag.
    fn bare(&self, digest: &Digest) -> Option<&Stored> {
        self.images.iter().find(|image| image.digest == *digest && !image.is_ours())
    }
}

impl Image {
    async fn push(&self, image: &image::OciImage, cloud: &Writer) -> Result<(), CloudError> {
        let token = async || {
            let token = cloud.clients().ecr.get_authorization_token().send();
            call("ECR", "GetAuthorizationToken", token).await
        };
        let token = cloud.persist(token).await?;
        let data = token.authorization_data.unwrap_or_default();
        let registry = data.first().and_then(|data| self.registry(data));
        let registry = registry.ok_or_else(|| {
            CloudError::new(Kind::Other, "ECR gave a token that is none: run it again")
        })?;
        cloud.stop().begin();
        let sent = async || {
            let say = cloud.say();
            let sent = push::push(image, &registry, |done, total| say.sent(done, total)).await;
            let sent = sent.map(drop).map_err(|error| refused(&error));
            if !sent.as_ref().is_err_and(|error| error.kind == Kind::Denied) {
                cloud.note_change();
            }
            match sent {
                // A push has its own patience with a registry that is not well.
                Err(error) if error.kind == Kind::Unreachable => Ok(Err(error)),
                sent => sent.map(Ok),
            }
        };
        cloud.persist(sent).await?
    }

    /// Gives an image that is there our tag: what carries none expires, also while it is deployed.
    async fn tag(&self, digest: &Digest, cloud: &Writer) -> Result<(), CloudError> {
        let id = ImageIdentifier::builder().image_digest(digest.as_str()).build();
        let get = cloud.reader().clients().ecr.batch_get_image().repository_name(&self.repository);
        let found = call("ECR", "BatchGetImage", get.image_ids(id).send()).await?;
        let failures = found.failures.unwrap_or_default();
        let found = found.images.into_iter().flatten().next();
        let Some(manifest) = found.and_then(|image| image.image_manifest) else {
            let absent = Some(ImageFailureCode::ImageNotFound);
            let failure = failures.iter().find(|failure| failure.failure_code != absent);
            return Err(failure.map_or_else(
                || CloudError::new(Kind::Stale, "the image has just gone"),
                |failure| CloudError { action: "BatchGetImage", ..kept(failure) },
            ));
        };
        let put = async || {
            let put = cloud.clients().ecr.put_image().repository_name(&self.repository);
            let put = put.image_manifest(&manifest).image_tag(digest.tag()).send();
            call("ECR", "PutImage", put).await
        };
        match cloud.persist(put).await {
            // The answer to the first try was lost.
            Err(error) if error.kind == Kind::Exists => Ok(()),
            ended => ended.map(drop),
        }
    }

    /// Where to push, and as whom (AWS, *ECR: Private registry authentication*).
    fn registry(&self, data: &AuthorizationData) -> Option<Registry> {
        let token = aws_smithy_types::base64::decode(data.authorization_token()?).ok()?;
        let token = String::from_utf8(token).ok()?;
        let (user, password) = token.split_once(':')?;
        Some(Registry {
            endpoint: data.proxy_endpoint()?.to_owned(),
            repository: self.repository.clone(),
            user: user.to_owned(),
            password: password.to_owned(),
        })
    }
}

/// All images of the repository `name`, newest first; none where there is no repository.
pub(super) async fn stored(name: &str, cloud: &Reader) -> Result<Vec<Stored>, CloudError> {
    let describe = cloud.clients().ecr.describe_images().repository_name(name);
    let describe = describe.into_paginator().send();
    let found = pages(("ECR", "DescribeImages"), describe, |page| page.next_token.is_some());
    let found = found.await.or_absent()?.unwrap_or_default().into_iter();
    let found = found.flat_map(|page| page.image_details.unwrap_or_default());
    let stored = found.filter_map(|image| {
        let digest = image.image_digest()?.parse().ok()?;
        let pushed = image.image_pushed_at().and_then(|at| at.to_millis().ok());
        let pushed = pushed.unwrap_or_default();
        Some(Stored { digest, tags: image.image_tags.unwrap_or_default(), pushed })
    });
    let mut images: Vec<_> = stored.collect();
    images.sort_by(|a, b| (b.pushed, &b.digest).cmp(&(a.pushed, &a.digest)));
    Ok(images)
}

/// Deletes images of the repository `name`. One that is gone is deleted.
///
/// # Errors
///
/// AWS's refusal, also of a single one.
pub(super) async fn remove(
    name: &str,
    digests: &[Digest],
    cloud: &Writer,
) -> Result<(), CloudError> {
    for some in digests.chunks(BATCH) {
        let id = |digest: &Digest| ImageIdentifier::builder().image_digest(digest.as_str()).build();
        let ids: Vec<_> = some.iter().map(id).collect();
        let delete = async || {
            let delete = cloud.clients().ecr.batch_delete_image().repository_name(name);
            let delete = delete.set_image_ids(Some(ids.clone())).send();
            call("ECR", "BatchDeleteImage", delete).await.or_absent()
        };
        let answer = cloud.persist(delete).await?;
        let failures = answer.and_then(|answer| answer.failures).unwrap_or_default();
        let absent = Some(ImageFailureCode::ImageNotFound);
        if let Some(failure) = failures.iter().find(|failure| failure.failure_code != absent) {
            return Err(kept(failure));
        }
    }
    Ok(())
}

/// Why an image is still there, which AWS says in an answer that looks like success.
fn kept(failure: &ImageFailure) -> CloudError {
    let id = failure.image_id.as_ref().and_then(|id| id.image_digest.as_deref());
    let why = failure.failure_reason.as_deref().unwrap_or("ECR does not say why");
    let error = CloudError::new(Kind::Other, format!("{} stays: {why}", id.unwrap_or("an image")));
    let code = failure.failure_code.as_ref().map(|code| code.as_str().to_owned());
    CloudError { service: "ECR", action: "BatchDeleteImage", code, ..error }
}

fn refused(error: &PushError) -> CloudError {
    let kind = match error {
        PushError::Denied { .. } => Kind::Denied,
        PushError::Unreachable { .. } => Kind::Unreachable,
        PushError::NoRepository { .. } => Kind::NotFound,
        PushError::Endpoint { .. }
        | PushError::PlainHttp { .. }
        | PushError::Setup { .. }
        | PushError::Refused { .. }
        | PushError::WrongDigest { .. } => Kind::Other,
    };
    let cure = match error {
        PushError::Denied { .. } | PushError::NoRepository { .. } | PushError::Setup { .. } => None,
        PushError::Unreachable { host, .. } => {
            Some(format!("look at the way to {host}, then run it again"))
        }
        PushError::PlainHttp { host } | PushError::Refused { host, .. } => {
            Some(format!("look at what answers as {host}: it may be no registry of AWS's"))
        }
        PushError::WrongDigest { .. } => {
            Some("look who else pushes into the repository, then run it again".to_owned())
        }
        PushError::Endpoint { .. } => Some("look at AWS_ENDPOINT_URL_ECR".to_owned()),
    };
    let error = CloudError::new(kind, error.to_string());
    let error = cure.into_iter().fold(error, CloudError::cured_by);
    CloudError { service: "ECR", action: "push", ..error }
}

impl Resource<Clients> for Image {
    type Spec = ImageSpec;
    type Live = ImageLive;

    fn address(&self) -> Address {
        Address::new("image", &self.repository)
    }

    fn ownership(&self, _live: &ImageLive) -> Ownership {
        Ownership::Ours
    }

    fn belongs_to(&self, _live: Option<&ImageLive>) -> Option<Address> {
        Some(Repository::address_of(&self.repository))
    }

    fn refers_to(&self, _spec: &ImageSpec) -> Vec<Address> {
        vec![Repository::address_of(&self.repository)]
    }

    fn diff(&self, spec: &ImageSpec, live: Option<&ImageLive>) -> Change {
        let there = |digest| live.is_some_and(|live| live.has(digest));
        match spec {
            ImageSpec::Ready(image) if !there(image.digest()) => {
                let fields = Fields::new().field("imageDigest", (), image.digest().as_str()).field(
                    "imageTag",
                    (),
                    image.tag(),
                );
                let size = image.size() as f64 / 1e6;
                Change::create(self.address(), fields).about(format!("{size:.1} MB to push"))
            }
            ImageSpec::NotCompared => {
                Change::new(self.address(), Action::Keep, Fields::new()).note("not compared")
            }
            ImageSpec::Ready(_) | ImageSpec::Kept(_) => {
                let bare = live.and_then(|live| live.bare(spec.digest()?));
                let fields = bare.map_or_else(Fields::new, |image| {
                    Fields::new().field("imageTag", image.tags.first().cloned(), image.digest.tag())
                });
                Change::compare(self.address(), fields)
            }
        }
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<ImageLive>, CloudError> {
        let images = stored(&self.repository, cloud).await?;
        Ok((!images.is_empty()).then_some(ImageLive { images }))
    }

    async fn apply(
        &self,
        spec: &ImageSpec,
        live: Option<ImageLive>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        match spec {
            ImageSpec::Ready(image)
                if !live.as_ref().is_some_and(|live| live.has(image.digest())) =>
            {
                self.push(image, cloud).await
            }
            ImageSpec::Ready(_) | ImageSpec::Kept(_) | ImageSpec::NotCompared => {
                let bare = live.as_ref().and_then(|live| live.bare(spec.digest()?));
                match bare {
                    Some(image) => self.tag(&image.digest, cloud).await,
                    None => Ok(()),
                }
            }
        }
    }

    async fn delete(&self, live: ImageLive, cloud: &Writer) -> Result<(), CloudError> {
        let all: Vec<_> = live.images.into_iter().map(|image| image.digest).collect();
        remove(&self.repository, &all, cloud).await
    }
}
