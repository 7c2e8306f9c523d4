//! One connection of a client: HTTP/1.1, or HTTP/2 by prior knowledge, within the same bounds.
//!
//! Those of HTTP/1.1 are kept by hyper and by the socket. A client of HTTP/2 answers pings and
//! acknowledges packets even while it asks for nothing and takes nothing, so that is watched here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, Uri, Version};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::proxy::Body;

/// What is read at a time, in bytes. A body of 128 KiB comes with its head in one piece, which is
/// never copied.
const MOST_READ_BYTES: usize = 144 << 10;
/// The largest head of a request, in bytes.
const MOST_HEAD_BYTES: u32 = 32 << 10;
/// A client of HTTP/2 may have so many requests under way.
const MOST_STREAMS: u32 = 64;
/// What it may send before it is read, in bytes, of one request; of all four times as much.
const WINDOW: u32 = 256 << 10;
/// What is handed over to it at a time, and waits for it at most, in bytes of one answer.
const PIECE: usize = 64 << 10;
/// A client of HTTP/2 that says nothing for so long is asked whether it is there.
const PING_EVERY: Duration = Duration::from_secs(60);

/// A client that says nothing for so long is asked whether it is there.
const VANISHED: Duration = Duration::from_secs(60);

/// How every connection of HTTP/2 begins (RFC 9113, section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A preface that has not come whole is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How long a client may let others wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientTimeouts {
    /// For the head of a request.
    pub(super) head: Duration,
    /// For taking what was handed over to it.
    pub(super) untaken: Duration,
}

/// What answers where it is seldom asked. All of them have this one type, since each type more is
/// another server of HTTP/1.1 and HTTP/2 in the program.
pub(super) type SeldomAnswer =
    Box<dyn Fn(Request<Incoming>) -> BoxFuture<'static, Response<Body>> + Send + Sync>;

/// Serves a connection until its client has left or run into its timeouts; after `stop` only the
/// requests that are under way. The connection stays open for more than one if it is `kept`.
pub(super) async fn serve<F>(
    socket: TcpStream,
    timeouts: ClientTimeouts,
    kept: bool,
    mut stop: watch::Receiver<()>,
    answer: impl Fn(Request<Incoming>) -> F + Send + Sync,
) where
    F: Future<Output = Response<Body>> + Send + 'static,
{
    watch_over(&socket, timeouts.untaken);
    let version = tokio::select! {
        version = version(&socket) => version,
        _ = stop.changed() => return,
        () = tokio::time::sleep(timeouts.head) => return,
    };
    let traffic = Traffic::default();
    let service = service_fn(|request: Request<Incoming>| {
        let stream = traffic.begin(request.version());
        let answered = answer(in_origin_form(request));
        async move {
            let track = |body| TrackedBody::new(body, stream);
            Ok::<_, Infallible>(answered.await.map(track))
        }
    });
    let socket = TokioIo::new(socket);
    match version {
        Version::HTTP_2 => {
            let connection = pin!(http2().serve_connection(socket, service));
            let finish = http2::Connection::graceful_shutdown;
            drive_http2(connection, finish, (&traffic, timeouts), stop).await;
        }
        _ => {
            let connection = pin!(http1(timeouts.head, kept).serve_connection(socket, service));
            drive_http1(connection, http1::Connection::graceful_shutdown, stop).await;
        }
    }
}

/// Small events must not wait for each other; a client that has vanished must be missed, and one
/// that takes nothing must not keep its permit for ever.
fn watch_over(socket: &TcpStream, untaken: Duration) {
    let _unsupported = socket.set_nodelay(true);
    let socket = SockRef::from(socket);
    let alive = TcpKeepalive::new().with_time(VANISHED).with_interval(VANISHED / 4);
    let _unsupported = socket.set_tcp_keepalive(&alive);
    #[cfg(target_os = "linux")]
    let _unsupported = socket.set_tcp_user_timeout(Some(untaken));
    #[cfg(not(target_os = "linux"))]
    let _unsupported = untaken;
}

/// Looks at the first bytes, and leaves them where they are: HTTP/2 begins with a preface. Who
/// sends that piece by piece is looked at again.
async fn version(socket: &TcpStream) -> Version {
    let mut begun = [0; PREFACE.len()];
    loop {
        let Ok(length) = socket.peek(&mut begun).await else { return Version::HTTP_11 };
        let begun = &begun[..length];
        if length == 0 || !PREFACE.starts_with(begun) {
            return Version::HTTP_11;
        }
        if length == PREFACE.len() {
            return Version::HTTP_2;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// To its end: hyper and the socket keep its bounds.
async fn drive_http1<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    finish: fn(Pin<&mut C>),
    mut stop: watch::Receiver<()>,
) {
    let ended = loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => break ended,
            () = told(stop.clone()) => match stop.has_changed() {
                Ok(_) => finish(connection.as_mut()),
                Err(_) => return,
            },
        }
        stop.mark_unchanged();
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Completes when something is said, or nobody is left to say it. Of what wakes the task for
/// another reason it costs next to nothing to look here.
async fn told(stop: watch::Receiver<()>) {
    let mut heard = stop.clone();
    let mut changed = pin!(heard.changed());
    let mut waits = None::<Waker>;
    poll_fn(|cx| {
        let waits_already = waits.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if waits_already && matches!(stop.has_changed(), Ok(false)) {
            return Poll::Pending;
        }
        waits = Some(cx.waker().clone());
        changed.as_mut().poll(cx).map(drop)
    })
    .await;
}

/// To its end, while its client asks and takes.
async fn drive_http2<C: Future<Output = hyper::Result<()>>>(
    mut connection: Pin<&mut C>,
    finish: fn(Pin<&mut C>),
    (traffic, timeouts): (&Traffic, ClientTimeouts),
    mut stop: watch::Receiver<()>,
) {
    let mut look = tokio::time::interval(timeouts.head.min(timeouts.untaken) / 4);
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
                return;
            }
            stopped = stop.changed() => match stopped {
                Ok(()) => finish(connection.as_mut()),
                Err(_) => return,
            },
            now = look.tick() => match traffic.action(timeouts, now) {
                IdleAction::GoOn => {}
                IdleAction::Finish => finish(connection.as_mut()),
                IdleAction::Leave => return,
            },
        }
    }
}

/// HTTP/1.1 for clients that send each head within `head`.
fn http1(head: Duration, kept: bool) -> http1::Builder {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(head).keep_alive(kept);
    server.max_buf_size(MOST_READ_BYTES).max_header_size(MOST_HEAD_BYTES as usize);
    server
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut server = http2::Builder::new(TokioExecutor::new());
    server.timer(TokioTimer::new()).keep_alive_interval(PING_EVERY);
    server.max_concurrent_streams(MOST_STREAMS).max_header_list_size(MOST_HEAD_BYTES);
    server.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW * 4);
    server.max_send_buf_size(PIECE);
    server
}

/// HTTP/2 names the host in the target, where HTTP/1.1 allows only a path.
fn in_origin_form(mut request: Request<Incoming>) -> Request<Incoming> {
    if request.version() == Version::HTTP_2
        && let Some(path) = request.uri().path_and_query().cloned()
    {
        *request.uri_mut() = Uri::from(path);
    }
    request
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdleAction {
    GoOn,
    /// Nothing is asked any more: the client is told to ask elsewhere.
    Finish,
    /// Nothing was asked at all, or what was answered is not taken.
    Leave,
}

/// What goes on on one connection.
#[derive(Clone, Debug, Default)]
struct Traffic(Arc<Mutex<TrafficState>>);

#[derive(Debug)]
struct TrafficState {
    /// Since when nothing is under way, or when the connection began.
    quiet_since: Instant,
    /// Nothing yet; then the version of its requests.
    version: Option<Version>,
    begun: u64,
    /// Those of HTTP/2 that are under way, and since when their clients have something to take.
    open: BTreeMap<u64, Option<Instant>>,
}

impl Default for TrafficState {
    fn default() -> Self {
        Self { quiet_since: Instant::now(), version: None, begun: 0, open: BTreeMap::new() }
    }
}

impl Traffic {
    fn state(&self) -> MutexGuard<'_, TrafficState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come.
    fn begin(&self, version: Version) -> Option<OpenStream> {
        let mut state = self.state();
        state.version = Some(version);
        (version == Version::HTTP_2).then(|| {
            state.begun += 1;
            let number = state.begun;
            state.open.insert(number, None);
            OpenStream { traffic: self.clone(), number }
        })
    }

    fn action(&self, timeouts: ClientTimeouts, now: Instant) -> IdleAction {
        let state = self.state();
        let quiet = now.saturating_duration_since(state.quiet_since);
        let mut handed = state.open.values().flatten();
        match state.version {
            None if quiet >= timeouts.head => IdleAction::Leave,
            Some(Version::HTTP_2) if state.open.is_empty() => match quiet {
                _ if quiet >= timeouts.head + timeouts.untaken => IdleAction::Leave,
                _ if quiet >= timeouts.head => IdleAction::Finish,
                _ => IdleAction::GoOn,
            },
            _ if handed.any(|at| now.saturating_duration_since(*at) >= timeouts.untaken) => {
                IdleAction::Leave
            }
            _ => IdleAction::GoOn,
        }
    }
}

/// One request of HTTP/2, until its answer has been handed over.
#[derive(Debug)]
struct OpenStream {
    traffic: Traffic,
    number: u64,
}

impl OpenStream {
    fn has_to_take(&self, since: Option<Instant>) {
        self.traffic.state().open.insert(self.number, since);
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut state = self.traffic.state();
        state.open.remove(&self.number);
        if state.open.is_empty() {
            state.quiet_since = Instant::now();
        }
    }
}

/// An answer on its way. Over HTTP/2 it goes in pieces, and who asks for the next one has taken
/// the one before.
struct TrackedBody {
    body: Body,
    rest: Bytes,
    stream: Option<OpenStream>,
}

impl TrackedBody {
    const fn new(body: Body, stream: Option<OpenStream>) -> Self {
        Self { body, rest: Bytes::new(), stream }
    }
}

impl http_body::Body for TrackedBody {
    type Data = Bytes;
    type Error = <Body as http_body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { body, rest, stream } = &mut *self;
        let Some(stream) = stream else { return Pin::new(body).poll_frame(cx) };
        stream.has_to_take(None);
        if rest.is_empty() {
            match ready!(Pin::new(body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => *rest = data,
                Some(Ok(Err(frame))) => return Poll::Ready(Some(Ok(frame))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        stream.has_to_take(Some(Instant::now()));
        let piece = rest.split_to(rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}
