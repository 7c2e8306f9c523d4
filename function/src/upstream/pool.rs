//! Which connection to Anthropic does a request travel on?
//!
//! Over HTTP/1.1 one of its own, which is kept for the next one. Over HTTP/2 one that it shares;
//! each carries about a hundred streams at Anthropic's edge, the next stream would queue behind
//! them, and model streams live for minutes: so further connections are opened. Nothing runs here
//! by itself: what has grown old is not used again, and thrown away by [`Pool::tidy`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::client::legacy::connect::Connection as _;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::{SignedDuration, Timestamp};

use super::connector::{BoxError, Connection, Connector, Versions};
use super::line::{Line, Refused};
use crate::clock;

/// Servers close a connection on which nothing happens. By the wall clock: a process that is
/// frozen does not notice how time passes.
const KEPT_FOR: SignedDuration = SignedDuration::from_secs(50);
/// The same for one on which nothing was ever sent.
const AHEAD_FOR: SignedDuration = SignedDuration::from_secs(10);

/// Streams on one HTTP/2 connection, as long as there may be another.
const STREAMS_PER_CONNECTION: usize = 80;
/// HTTP/2 connections for small bodies, and as many for large ones: what the server has not read of
/// a large body takes the window that all uploads of a connection share.
const MOST_OF_A_KIND: usize = 8;

/// What Anthropic may send ahead of a client that does not read, over HTTP/2.
///
/// The h2 crate ends a connection that holds too many small frames, and events are small frames:
/// the budget is half of the connection's window. With these sizes all streams of one connection
/// may stand still with 10-byte events and not reach it.
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024 * 1024;

/// The connections to one host.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    base: Uri,
    host: HeaderValue,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Nobody uses these, and each is good until its moment; the newest is the last.
    free: Vec<(Timestamp, Box<Line>)>,
    shared: Vec<Shared>,
}

/// An HTTP/2 connection, driven by a task of its own.
#[derive(Debug)]
struct Shared {
    sender: http2::SendRequest<Full<Bytes>>,
    until: Timestamp,
    is_for_large: bool,
    /// Each request that is under way holds a clone.
    streams: Arc<()>,
}

/// What one request travels on.
#[derive(Debug)]
pub(super) enum Way {
    Own(Box<Line>),
    Shared { sender: http2::SendRequest<Full<Bytes>>, _stream: Arc<()> },
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    Connecting(BoxError),
    Asking(hyper::Error),
}

impl Pool {
    pub(super) fn new(base: Uri) -> Self {
        let host = HeaderValue::from_str(&host(&base));
        let host = host.unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { connector: Connector::new(Versions::All), base, host, kept: Mutex::default() }
    }

    pub(super) const fn base(&self) -> &Uri {
        &self.base
    }

    /// Makes a connection that the next request takes, if it comes soon. May fail.
    pub(super) async fn connect_ahead(&self) {
        // A start without it is only slower.
        match Box::pin(self.connect(false)).await {
            Ok(Way::Own(line)) => {
                self.kept().free.push((later(clock::now(), AHEAD_FOR), line));
            }
            Ok(Way::Shared { .. }) | Err(_) => {}
        }
    }

    /// Sends a request and waits for the head of its answer, on a kept connection where there is
    /// one. One that breaks before anything was written to it does not count.
    pub(super) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        is_large: bool,
    ) -> Result<(Response<Incoming>, Way), Failed> {
        if let Some(mut way) = self.take(is_large) {
            match self.send_by(&mut way, request).await {
                Ok(answer) => return Ok((answer, way)),
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(Failed::Asking(refused.into_error())),
                },
            }
        }
        // Rare and large, so it takes no room in every request.
        let mut way = Box::pin(self.connect(is_large)).await?;
        let sent = self.send_by(&mut way, request).await;
        let answer = sent.map_err(|refused| Failed::Asking(refused.into_error()))?;
        Ok((answer, way))
    }

    async fn send_by(
        &self,
        way: &mut Way,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Refused> {
        match way {
            Way::Own(line) => {
                request.headers_mut().insert(header::HOST, self.host.clone());
                line.send(request).await
            }
            Way::Shared { sender, .. } => {
                request.headers_mut().remove(header::HOST);
                *request.uri_mut() = self.absolute(request.uri());
                sender.try_send_request(request).await
            }
        }
    }

    /// HTTP/2 wants the whole URI.
    fn absolute(&self, target: &Uri) -> Uri {
        let mut parts = self.base.clone().into_parts();
        parts.path_and_query = target.path_and_query().cloned();
        Uri::from_parts(parts).unwrap_or_else(|_| target.clone())
    }

    /// Keeps a connection whose answer has come to its end.
    pub(super) fn keep(&self, line: Box<Line>) {
        self.kept().free.push((later(clock::now(), KEPT_FOR), line));
    }

    /// Throws away what has grown old.
    pub(super) fn tidy(&self) {
        let now = clock::now();
        let mut kept = self.kept();
        kept.free.retain(|(until, _)| *until > now);
        kept.shared.retain(|one| one.is_good(now));
    }

    /// A kept connection that can be used at once.
    fn take(&self, is_large: bool) -> Option<Way> {
        let now = clock::now();
        let mut kept = self.kept();
        if let Some(shared) = kept.share(is_large, now) {
            return Some(shared);
        }
        while let Some((until, mut line)) = kept.free.pop() {
            if until > now && line.is_free() {
                return Some(Way::Own(line));
            }
        }
        None
    }

    async fn connect(&self, is_large: bool) -> Result<Way, Failed> {
        let connected = self.connector.clone().connect(self.base.clone()).await;
        let connection = connected.map_err(Failed::Connecting)?;
        if !connection.connected().is_negotiated_h2() {
            let line = Line::new(connection).await.map_err(Failed::Asking)?;
            return Ok(Way::Own(Box::new(line)));
        }
        let sender = speak_http2(connection).await.map_err(Failed::Asking)?;
        let streams = Arc::new(());
        let way = Way::Shared { sender: sender.clone(), _stream: Arc::clone(&streams) };
        let mut kept = self.kept();
        if kept.of_a_kind(is_large).count() < MOST_OF_A_KIND {
            let until = later(clock::now(), AHEAD_FOR);
            kept.shared.push(Shared { sender, until, is_for_large: is_large, streams });
        }
        Ok(way)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// A connection that others may be using as well.
    fn share(&mut self, is_large: bool, now: Timestamp) -> Option<Way> {
        self.shared.retain(|one| one.is_good(now));
        let may_open = self.of_a_kind(is_large).count() < MOST_OF_A_KIND;
        let most = if is_large { 1 } else { STREAMS_PER_CONNECTION };
        let one = self.of_a_kind(is_large).min_by_key(|one| one.load())?;
        if may_open && one.load() >= most {
            return None;
        }
        one.until = later(now, KEPT_FOR);
        Some(Way::Shared { sender: one.sender.clone(), _stream: Arc::clone(&one.streams) })
    }

    fn of_a_kind(&mut self, is_large: bool) -> impl Iterator<Item = &mut Shared> {
        self.shared.iter_mut().filter(move |one| one.is_for_large == is_large)
    }
}

impl Shared {
    fn is_good(&self, now: Timestamp) -> bool {
        self.sender.is_ready() && (self.load() > 0 || self.until > now)
    }

    /// How many requests are under way.
    fn load(&self) -> usize {
        Arc::strong_count(&self.streams) - 1
    }
}

async fn speak_http2(connection: Connection) -> hyper::Result<http2::SendRequest<Full<Bytes>>> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    let (sender, connection) = builder.handshake(connection).await?;
    #[expect(clippy::disallowed_methods, reason = "several requests share it; it ends with them")]
    tokio::task::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a connection to anthropic ended early");
        }
    });
    Ok(sender)
}

/// The value of the header `host`: the port only where it is not the scheme's own.
fn host(base: &Uri) -> String {
    let default = if base.scheme() == Some(&uri::Scheme::HTTP) { 80 } else { 443 };
    let name = base.host().unwrap_or_default();
    match base.port_u16().filter(|port| *port != default) {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    }
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.saturating_add(by).unwrap_or(Timestamp::MAX)
}
