//! How connections to upstreams are made: TCP and TLS within [`CONNECT_TIMEOUT`], or not at all.
//!
//! Nothing but HTTP/1.1 is offered to either upstream.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use super::{BoxError, CONNECT_TIMEOUT, roots};

pub(super) type Transport = MaybeHttpsStream<TokioIo<TcpStream>>;

/// A peer that says nothing for so long is asked whether it is there.
const ASK_AFTER: Duration = Duration::from_secs(60);
/// And again, so often, at such intervals: one that has vanished is missed after two minutes.
const ASK_AGAIN: (u32, Duration) = (4, Duration::from_secs(15));
/// What was written and not taken by the peer for so long, it will never take.
#[cfg(target_os = "linux")]
const UNTAKEN: Duration = Duration::from_secs(120);

/// Connects by TLS, and by plain TCP for `http` (loopback only).
#[derive(Clone, Debug)]
pub(super) struct Connector {
    tcp: HttpConnector,
    /// Reading the machine's certificates takes milliseconds, so it waits until it is needed.
    https: Arc<OnceLock<HttpsConnector<HttpConnector>>>,
}

impl Connector {
    pub(super) fn new() -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(ASK_AFTER));
        tcp.set_keepalive_retries(Some(ASK_AGAIN.0));
        tcp.set_keepalive_interval(Some(ASK_AGAIN.1));
        #[cfg(target_os = "linux")]
        tcp.set_tcp_user_timeout(Some(UNTAKEN));
        Self { tcp, https: Arc::default() }
    }

    /// Makes one connection; nothing is sent on it yet.
    pub(super) async fn connect(mut self, uri: Uri) -> Result<Transport, BoxError> {
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
        let mut tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots::store())
                .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let https = HttpsConnector::from((self.tcp.clone(), tls));
        Ok(self.https.get_or_init(|| https))
    }
}

impl Service<Uri> for Connector {
    type Response = Transport;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Transport, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}
