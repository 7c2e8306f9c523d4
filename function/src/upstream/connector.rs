//! How connections to upstreams are made: TCP and TLS within [`CONNECT_TIMEOUT`], or not at all.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use jiff::{SignedDuration, Timestamp};
use rustls::ClientConfig;
use tower_service::Service;

use super::{CONNECT_TIMEOUT, roots};
use crate::clock;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

type Connection = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;

/// A connection that nothing was sent on: servers close such a one soon.
const AHEAD_FOR: SignedDuration = SignedDuration::from_secs(10);

/// Which versions of HTTP are offered to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Versions {
    All,
    Http1,
}

/// An HTTPS connector (plain HTTP for loopback) that gives up in time.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector>,
    /// A connection made before anybody asked, and when.
    ahead: Arc<Mutex<Option<(Timestamp, Connection)>>>,
}

impl Connector {
    /// Speaks HTTP/2 where that is offered, or HTTP/1.1 only.
    pub(super) fn new(versions: Versions) -> Result<Self, rustls::Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        let tls =
            ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()?
                .with_root_certificates(roots::store())
                .with_no_client_auth();
        let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
        let https = match versions {
            Versions::All => https.enable_all_versions().wrap_connector(tcp),
            Versions::Http1 => https.enable_http1().wrap_connector(tcp),
        };
        Ok(Self { https, ahead: Arc::default() })
    }

    /// Makes a connection that the next call takes, if it comes soon.
    pub(super) async fn connect_ahead(&self, uri: Uri) {
        // A start without it is only slower.
        if let Ok(connection) = self.clone().call(uri).await {
            *self.ahead() = Some((clock::now(), connection));
        }
    }

    fn ahead(&self) -> MutexGuard<'_, Option<(Timestamp, Connection)>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service<Uri> for Connector {
    type Response = Connection;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let ahead = self.ahead().take();
        if let Some((made, connection)) = ahead
            && clock::now().duration_since(made) < AHEAD_FOR
        {
            return Box::pin(std::future::ready(Ok(connection)));
        }
        let connecting = self.https.call(uri);
        Box::pin(async move { tokio::time::timeout(CONNECT_TIMEOUT, connecting).await? })
    }
}
