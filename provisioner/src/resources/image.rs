//! The image that the function runs, as the repository has it.
//!
//! Images are told apart by digest. Ours carry the first digits of their digest as tag; what does
//! not is never deleted while the repository stays.

use aws_sdk_ecr::types::{AuthorizationData, ImageFailure, ImageFailureCode, ImageIdentifier};

use crate::aws::{Clients, CloudError, Kind, OrAbsent as _, Reader, Writer, call};
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
pub enum Wanted {
    /// This one, which is at hand.
    Ready(image::Image),
    /// One that the repository still has.
    Kept(Digest),
    /// Whichever is deployed.
    NotCompared,
}

impl Wanted {
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

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub repository: String,
    pub wanted: Wanted,
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

impl Image {
    async fn push(&self, image: &image::Image, cloud: &Writer) -> Result<(), CloudError> {
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
    let found = describe.into_paginator().items().send().collect::<Result<Vec<_>, _>>();
    let found = call("ECR", "DescribeImages", found).await.or_absent()?.unwrap_or_default();
    let stored = found.into_iter().filter_map(|image| {
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
    CloudError { service: "ECR", action: "push", ..CloudError::new(kind, error.to_string()) }
}

impl Resource<Clients> for Image {
    type Live = ImageLive;

    fn address(&self) -> Address {
        Address::new("image", &self.repository)
    }

    fn ownership(&self, _live: &ImageLive) -> Ownership {
        Ownership::Ours
    }

    fn belongs_to(&self, _live: &ImageLive) -> Option<Address> {
        Some(Repository::address_of(&self.repository))
    }

    fn diff(&self, live: Option<&ImageLive>) -> Change {
        let there = |digest| live.is_some_and(|live| live.has(digest));
        match &self.wanted {
            Wanted::Ready(image) if !there(image.digest()) => Change::create(
                self.address(),
                Fields::new().field("imageDigest", (), image.digest().as_str()).field(
                    "imageTag",
                    (),
                    image.tag(),
                ),
            ),
            Wanted::NotCompared => {
                Change::new(self.address(), Action::Keep, Fields::new()).note("not compared")
            }
            Wanted::Ready(_) | Wanted::Kept(_) => {
                Change::new(self.address(), Action::Keep, Fields::new())
            }
        }
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<ImageLive>, CloudError> {
        let images = stored(&self.repository, cloud).await?;
        Ok((!images.is_empty()).then_some(ImageLive { images }))
    }

    async fn apply(&self, live: Option<ImageLive>, cloud: &Writer) -> Result<(), CloudError> {
        match &self.wanted {
            Wanted::Ready(image) if !live.is_some_and(|live| live.has(image.digest())) => {
                self.push(image, cloud).await
            }
            Wanted::Ready(_) | Wanted::Kept(_) | Wanted::NotCompared => Ok(()),
        }
    }

    async fn delete(&self, cloud: &Writer) -> Result<(), CloudError> {
        let live = self.read(cloud.reader()).await?.unwrap_or_default();
        let all: Vec<_> = live.images.into_iter().map(|image| image.digest).collect();
        remove(&self.repository, &all, cloud).await
    }
}
