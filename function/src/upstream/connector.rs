//! How connections to upstreams are made: TCP and TLS within [`CONNECT_TIMEOUT`], or not at all.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::{CONNECT_TIMEOUT, roots};

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

pub(super) type Connection = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Which versions of HTTP are offered to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Versions {
    All,
    Http1,
}

/// Connects by TLS, and by plain TCP for `http` (loopback only).
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tcp: HttpConnector,
    versions: Versions,
    /// Reading the machine's certificates takes milliseconds, so it waits until it is needed.
    https: Arc<OnceLock<HttpsConnector<HttpConnector>>>,
}

impl Connector {
    /// Speaks HTTP/2 where that is offered, or HTTP/1.1 only.
    pub(super) fn new(versions: Versions) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        Self { tcp, versions, https: Arc::default() }
    }

    /// Makes one connection; nothing is sent on it yet.
    pub(super) async fn connect(mut self, uri: Uri) -> Result<Connection, BoxError> {
        let connecting = async move {
            if uri.scheme() == Some(&Scheme::HTTP) {
                return Ok(MaybeHttpsStream::Http(self.tcp.call(uri).await?));
            }
            self.https()?.clone().call(uri).await
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await?
    }

    /// The same with TLS. Blocks for some milliseconds when it is called first.
    fn https(&self) -> Result<&HttpsConnector<HttpConnector>, rustls::Error> {
        if let Some(https) = self.https.get() {
            return Ok(https);
        }
        let tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots::store())
                .with_no_client_auth();
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let https = match self.versions {
            Versions::All => https.enable_all_versions().wrap_connector(self.tcp.clone()),
            Versions::Http1 => https.enable_http1().wrap_connector(self.tcp.clone()),
        };
        Ok(self.https.get_or_init(|| https))
    }
}

impl Service<Uri> for Connector {
    type Response = Connection;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Connection, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
