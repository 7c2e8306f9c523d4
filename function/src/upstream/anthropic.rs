//! Anthropic's API over HTTP: a request goes out as it is given, the answer comes back as it is.
//!
//! HTTP/2 where TLS negotiates it, else HTTP/1.1; connections are kept. No redirect is followed,
//! nothing is decompressed, and no timeout ever cuts an answer that has begun.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::connector::{Connector, Versions};
use super::{Fault, HEAD_TIMEOUT};

/// The free call that proves a credential must not hold a request up for longer.
const PROOF_TIMEOUT: Duration = Duration::from_secs(2);

/// One HTTP/2 connection carries about a hundred streams at Anthropic's edge; the next stream
/// would queue behind them, and model streams live for minutes. So further connections are opened.
const STREAMS_PER_CONNECTION: usize = 80;
const MOST_CONNECTIONS: usize = 16;
/// A larger body goes on a connection among these last ones: what the server has not read of it
/// takes the window that all uploads of a connection share.
const FOR_UPLOADS: usize = 8;
const LARGE_BODY: usize = 1 << 20;

/// What Anthropic may send ahead of a client that does not read, over HTTP/2.
///
/// The h2 crate ends a connection that holds too many small frames, and events are small frames:
/// the budget is half of the connection's window. With these sizes all streams of one connection
/// may stand still with 10-byte events and not reach it.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024 * 1024;

/// The client of Anthropic's API.
#[derive(Debug)]
pub struct Anthropic {
    base: Uri,
    connector: Connector,
    lanes: Vec<Lane>,
}

/// One connection pool; over HTTP/2, one connection.
#[derive(Debug)]
struct Lane {
    client: Client<Connector, Full<Bytes>>,
    in_flight: Arc<AtomicUsize>,
}

impl Anthropic {
    /// Prepares the client; connections are made when they are needed.
    ///
    /// # Errors
    ///
    /// Where TLS cannot be set up at all.
    pub fn new(base: Uri) -> Result<Self, rustls::Error> {
        let connector = Connector::new(Versions::All)?;
        let lane = |_| Lane {
            client: Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(Duration::from_secs(50))
                .http2_initial_stream_window_size(STREAM_WINDOW)
                .http2_initial_connection_window_size(CONNECTION_WINDOW)
                .http2_keep_alive_interval(Duration::from_secs(30))
                .http2_keep_alive_timeout(Duration::from_secs(20))
                .build(connector.clone()),
            in_flight: Arc::default(),
        };
        let lanes = (0..MOST_CONNECTIONS).map(lane).collect();
        Ok(Self { base, connector, lanes })
    }

    /// Makes a connection for the first request, without sending anything on it. May fail.
    pub async fn connect_ahead(&self) {
        self.connector.connect_ahead(self.base.clone()).await;
    }

    /// Sends one request and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// Where no head comes: no connection within 5 s, a broken one, or silence for 600 s.
    pub async fn send(
        &self,
        method: Method,
        target: &PathAndQuery,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Answer>, Fault> {
        let lane = self.lane(body.len());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri(target);
        *request.headers_mut() = headers;
        let in_flight = InFlight::new(&lane.in_flight);
        let head = tokio::time::timeout(HEAD_TIMEOUT, lane.client.request(request)).await;
        let answer = head
            .map_err(|_| Fault::TimedOut { host: self.host() })?
            .map_err(|error| self.fault(error))?;
        Ok(answer.map(|body| Answer { body, _in_flight: in_flight }))
    }

    /// Asks, with this credential, for something that costs nothing: `GET /v1/models`.
    ///
    /// Returns the head of the answer, `None` where none comes within 2 s.
    pub async fn prove(&self, headers: &HeaderMap) -> Option<(StatusCode, HeaderMap)> {
        let target = PathAndQuery::from_static("/v1/models?limit=1");
        let sent = headers.iter().filter(|(name, _)| {
            let name = name.as_str();
            matches!(name, "x-api-key" | "authorization") || name.starts_with("anthropic-")
        });
        let headers = sent.map(|(name, value)| (name.clone(), value.clone())).collect();
        let call = self.send(Method::GET, &target, headers, Bytes::new());
        let answer = tokio::time::timeout(PROOF_TIMEOUT, call).await.ok()?.ok()?;
        let (head, _) = answer.into_parts();
        Some((head.status, head.headers))
    }

    fn uri(&self, target: &PathAndQuery) -> Uri {
        let base = self.base.path().trim_end_matches('/');
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = Some(if base.is_empty() {
            target.clone()
        } else {
            let joined = format!("{base}{target}");
            joined.parse().unwrap_or_else(|_| target.clone())
        });
        Uri::from_parts(parts).unwrap_or_else(|_| self.base.clone())
    }

    fn lane(&self, body: usize) -> &Lane {
        let load = |lane: &&Lane| lane.in_flight.load(Ordering::Relaxed);
        let (small, large) = self.lanes.split_at(MOST_CONNECTIONS - FOR_UPLOADS);
        let lanes = if body > LARGE_BODY { large } else { small };
        let has_room = |lane: &&Lane| body <= LARGE_BODY && load(lane) < STREAMS_PER_CONNECTION;
        let free = lanes.iter().find(has_room);
        free.or_else(|| lanes.iter().min_by_key(load)).expect("there are lanes")
    }

    fn host(&self) -> String {
        self.base.authority().map(ToString::to_string).unwrap_or_default()
    }

    fn fault(&self, error: hyper_util::client::legacy::Error) -> Fault {
        let (host, connecting) = (self.host(), error.is_connect());
        let source = Box::new(error);
        if connecting {
            Fault::NoConnection { host, source }
        } else {
            Fault::Broken { host, source }
        }
    }
}

/// Counts a request as long as it or its answer lives.
#[derive(Debug)]
struct InFlight(Arc<AtomicUsize>);

impl InFlight {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, as it arrives. Dropping it cancels the call.
#[derive(Debug)]
pub struct Answer {
    body: Incoming,
    _in_flight: InFlight,
}

impl Answer {
    /// Reads on until the end or until more than `most` bytes have come, whichever is first.
    ///
    /// # Errors
    ///
    /// Where the connection breaks.
    pub async fn read(&mut self, most: usize) -> Result<Bytes, hyper::Error> {
        let mut read = Vec::new();
        while read.len() <= most {
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(chunk) = frame?.into_data() {
                        read.extend_from_slice(&chunk);
                    }
                }
                None => break,
            }
        }
        Ok(read.into())
    }

    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            match self.body.frame().await? {
                Ok(frame) => {
                    if let Ok(chunk) = frame.into_data() {
                        return Some(Ok(chunk));
                    }
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
