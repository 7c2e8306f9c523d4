//! How does an image get into a registry, and under which digest does the registry know it then?
//!
//! Speaks the distribution protocol through `oci-client`, in the only form that ECR takes well: one
//! `POST` and one `PUT` for each blob, never in chunks. Must never deploy, delete, or tell a
//! password.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::HeaderValue;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use tokio::sync::watch;

use self::endpoint::Endpoint;
pub use self::fault::PushError;
use self::fault::{PushFault, PushFaultKind};
use super::{Blob, Digest, OciImage};
use crate::engine::words::quoted;

mod endpoint;
mod fault;

/// How often one request is made, and how often all of a push are made again.
const REQUEST_ATTEMPTS: u32 = 5;
const RETRY_BUDGET: u32 = 16;
/// The first of the waits between, which double: 0.25 to 2 s.
const FIRST_WAIT: Duration = Duration::from_millis(250);

const REGISTRY_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest silence of a registry; ECR checks a whole layer before it answers.
const REGISTRY_READ_TIMEOUT: Duration = Duration::from_secs(60);

/// What is handed to the connection at once, and so the steps of the progress.
const PIECE: usize = 64 * 1024;

/// Where an image goes, and who says so.
#[derive(Clone)]
pub struct Registry {
    /// The address as `GetAuthorizationToken` names it (`proxyEndpoint`). Plain HTTP is refused
    /// unless its host is this machine.
    pub endpoint: String,
    pub repository: String,
    pub user: String,
    pub password: String,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} in {}, as {}", self.repository, self.endpoint, self.user)
    }
}

/// What a push came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The image's digest, as the registry itself names it.
    pub digest: Digest,
    /// What was sent of the blobs, without what a dropped connection lost.
    pub uploaded_bytes: u64,
    /// The blobs that were there before.
    pub skipped_blobs: usize,
}

/// Pushes an image under its own tag; what the registry has already is not sent again.
///
/// `progress` hears how many bytes of how many are there, never fewer than before. A request that
/// finds no answer is made five times in all, so a push that was cut can simply be run again.
///
/// # Errors
///
/// Where the registry cannot be reached, refuses, or names another digest than the image's. Nothing
/// is tagged unless the image is there as a whole.
pub async fn push(
    image: &OciImage,
    registry: &Registry,
    progress: impl FnMut(u64, u64),
) -> Result<Pushed, PushError> {
    let endpoint = Endpoint::parse(&registry.endpoint)?;
    let client = client(&endpoint)?;
    let target = Reference::with_tag(
        endpoint.authority.clone(),
        registry.repository.clone(),
        image.tag().to_owned(),
    );
    let mut progress = Progress { report: progress, stored: 0, shown: 0, total: image.size() };
    let session = PushSession { client, target, registry, again: AtomicU32::new(RETRY_BUDGET) };
    let pushed = session.push(image, &mut progress).await;
    pushed.map_err(|fault| fault.explain(&endpoint.authority, registry))
}

fn client(endpoint: &Endpoint) -> Result<Client, PushError> {
    // The client takes the process's TLS provider; whoever came first has chosen ring as well.
    drop(rustls::crypto::ring::default_provider().install_default());
    let plain = if endpoint.plain { vec![endpoint.authority.clone()] } else { Vec::new() };
    let config = ClientConfig {
        protocol: ClientProtocol::HttpsExcept(plain),
        use_monolithic_push: true,
        connect_timeout: Some(REGISTRY_CONNECT_TIMEOUT),
        read_timeout: Some(REGISTRY_READ_TIMEOUT),
        user_agent: concat!("claude-proxy-provisioner/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    };
    Client::try_from(config)
        .map_err(|error| PushError::Setup { reason: quoted(&error.to_string()) })
}

/// One push on its way.
struct PushSession<'a> {
    client: Client,
    target: Reference,
    registry: &'a Registry,
    /// How often a request may still be made again.
    again: AtomicU32,
}

impl PushSession<'_> {
    async fn push<R>(
        &self,
        image: &OciImage,
        progress: &mut Progress<R>,
    ) -> Result<Pushed, PushFault>
    where
        R: FnMut(u64, u64),
    {
        self.log_in().await?;
        let blobs = image.blobs();
        let mut pushed =
            Pushed { digest: image.digest().clone(), uploaded_bytes: 0, skipped_blobs: 0 };
        if self.known().await?.as_deref() != Some(image.digest().as_str()) {
            for blob in blobs {
                if self.send(blob, progress).await? {
                    pushed.uploaded_bytes += blob.content().len() as u64;
                } else {
                    pushed.skipped_blobs += 1;
                }
                progress.store(blob.content().len() as u64);
            }
            self.send_manifest(image).await?;
        } else {
            pushed.skipped_blobs = blobs.len();
        }
        match self.known().await? {
            Some(digest) if digest == image.digest().as_str() => {
                progress.finish();
                Ok(pushed)
            }
            found => Err(PushFault::wrong_digest(image.digest(), found)),
        }
    }

    /// Asks the registry how it wants to know who comes.
    ///
    /// For reading and for writing, which are separate to the client: it would ask by itself later,
    /// and take a broken connection for a registry that wants no login.
    async fn log_in(&self) -> Result<(), PushFault> {
        let login = RegistryAuth::Basic(self.registry.user.clone(), self.registry.password.clone());
        for operation in [RegistryOperation::Pull, RegistryOperation::Push] {
            let mut attempts = Attempts::new(&self.again);
            while let Err(error) = self.client.auth(&self.target, &login, operation).await {
                attempts.again(error.into()).await?;
            }
        }
        Ok(())
    }

    /// Asks which digest the image's tag has, if it is there.
    async fn known(&self) -> Result<Option<String>, PushFault> {
        let login = RegistryAuth::Anonymous; // Without effect: the client is logged in.
        let mut attempts = Attempts::new(&self.again);
        loop {
            let asked = self.client.fetch_manifest_digest(&self.target, &login).await;
            match asked.map_err(PushFault::from) {
                Ok(digest) => return Ok(Some(digest)),
                Err(fault) if fault.kind == PushFaultKind::Missing => return Ok(None),
                Err(fault) => attempts.again(fault).await?,
            }
        }
    }

    /// Sends a blob unless it is there; says whether it had to.
    ///
    /// After a dropped connection it asks again: the registry may have had it all.
    async fn send<R>(&self, blob: &Blob, progress: &mut Progress<R>) -> Result<bool, PushFault>
    where
        R: FnMut(u64, u64),
    {
        let (mut attempts, mut sent) = (Attempts::new(&self.again), false);
        loop {
            let attempt = match self.client.blob_exists(&self.target, blob.digest().as_str()).await
            {
                Ok(true) => return Ok(sent),
                Ok(false) => {
                    sent = true;
                    self.upload(blob, progress).await
                }
                Err(error) => Err(error.into()),
            };
            match attempt {
                Ok(()) => return Ok(true),
                Err(fault) => attempts.again(fault).await?,
            }
        }
    }

    async fn upload<R>(&self, blob: &Blob, progress: &mut Progress<R>) -> Result<(), PushFault>
    where
        R: FnMut(u64, u64),
    {
        let (sent, mut seen) = watch::channel(0);
        let (body, size) = (pieces(blob.content().clone(), sent), blob.content().len() as u64);
        let digest = blob.digest().as_str();
        let upload = self.client.push_blob_stream(&self.target, body, digest, Some(size));
        let mut upload = std::pin::pin!(upload);
        loop {
            tokio::select! {
                done = &mut upload => {
                    drop(done?);
                    return Ok(());
                }
                Ok(()) = seen.changed() => progress.sending(*seen.borrow_and_update()),
            }
        }
    }

    async fn send_manifest(&self, image: &OciImage) -> Result<(), PushFault> {
        let mut attempts = Attempts::new(&self.again);
        loop {
            let manifest = image.manifest().clone();
            let kind = HeaderValue::from_static(image.media_type());
            match self.client.push_manifest_raw(&self.target, manifest, kind).await {
                Ok(_) => return Ok(()),
                Err(error) => attempts.again(error.into()).await?,
            }
        }
    }
}

/// How often a request may still be made.
struct Attempts<'a> {
    left: u32,
    of_all: &'a AtomicU32,
    wait: Duration,
}

impl<'a> Attempts<'a> {
    fn new(of_all: &'a AtomicU32) -> Self {
        Self { left: REQUEST_ATTEMPTS, of_all, wait: FIRST_WAIT }
    }

    /// Waits for the next attempt, or gives the fault back where none would help.
    async fn again(&mut self, fault: PushFault) -> Result<(), PushFault> {
        self.left -= 1;
        if self.left == 0 || self.of_all.load(Relaxed) == 0 || fault.kind != PushFaultKind::Passing
        {
            return Err(fault);
        }
        self.of_all.fetch_sub(1, Relaxed);
        tokio::time::sleep(self.wait).await;
        self.wait *= 2;
        Ok(())
    }
}

/// Cuts a body into pieces and tells how many bytes of it have been taken.
fn pieces(
    content: Bytes,
    sent: watch::Sender<u64>,
) -> impl stream::Stream<Item = oci_client::errors::Result<Bytes>> + Send + 'static {
    stream::iter((0..content.len()).step_by(PIECE).map(move |start| {
        let end = content.len().min(start + PIECE);
        sent.send_replace(end as u64);
        Ok(content.slice(start..end))
    }))
}

/// What the caller has been told, and what it will be.
struct Progress<R> {
    report: R,
    /// The bytes of the blobs that the registry has.
    stored: u64,
    shown: u64,
    total: u64,
}

impl<R: FnMut(u64, u64)> Progress<R> {
    /// So much of the current blob is on its way.
    fn sending(&mut self, sent: u64) {
        self.show(self.stored + sent);
    }

    /// A whole blob is there.
    fn store(&mut self, size: u64) {
        self.stored += size;
        self.show(self.stored);
    }

    fn finish(&mut self) {
        self.show(self.total);
    }

    /// Reports a state, unless a dropped connection has thrown it back behind an earlier one.
    fn show(&mut self, done: u64) {
        if done > self.shown {
            self.shown = done;
            (self.report)(done, self.total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_dropped_connection_lost_is_not_told_twice() {
        let mut told = Vec::new();
        let report = |done, total| told.push((done, total));
        let mut progress = Progress { report, stored: 0, shown: 0, total: 30 };
        for sent in [4, 8, 2, 8, 9] {
            progress.sending(sent);
        }
        progress.store(10);
        progress.sending(5);
        progress.store(10);
        progress.finish();
        progress.finish();
        assert_eq!(told, [4, 8, 9, 10, 15, 20, 30].map(|done| (done, 30)));
    }
}
