//! How does a request drive the HTTP/1.1 connection that it travels on?
//!
//! It polls the connection itself. No task stands between the two sockets: what arrives goes on in
//! the same turn, and a clump of events that arrived together stays one. Nothing here chooses a
//! connection; that is [`super::pool`]'s.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::{HeaderMap, HeaderName, Method, Request, Response};
use http_body::{Body, Frame};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1};
use tokio::task::coop::unconstrained;

use super::connector::Transport;
use super::reread::{Io, MOST_HEADERS};

pub(super) type Unsent = TrySendError<Request<Full<Bytes>>>;

/// After so many rounds without a result the other tasks have their turn.
const MOST_ROUNDS: usize = 8;

/// Where a server says how long it keeps a connection.
static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// A server that names its time means its own clock: by then the request must have arrived.
const EARLIER: Duration = Duration::from_secs(1);
/// The longest that a server is believed to keep a connection, whatever it promises.
const LONGEST_KEPT: Duration = Duration::from_secs(330);

/// One HTTP/1.1 connection and what it takes to drive it.
pub(super) struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    driver: http1::Connection<Io, Full<Bytes>>,
    filter: WakeFilter,
    kept_for: Option<Duration>,
}

impl Connection {
    pub(super) async fn new(transport: Transport) -> hyper::Result<Self> {
        Self::over(Io::Live(transport), &http1::Builder::new()).await
    }

    async fn over(io: Io, builder: &http1::Builder) -> hyper::Result<Self> {
        let (sender, driver) = builder.handshake(io).await?;
        Ok(Self { sender, driver, filter: WakeFilter::new(), kept_for: None })
    }

    /// Reads the head once more that was too large, of an answer to a request of this `method`. The
    /// connection is not used again after it.
    pub(super) async fn reread(
        self,
        method: Method,
    ) -> hyper::Result<(Response<Incoming>, Box<Self>)> {
        let parts = self.driver.into_parts();
        let io = parts.io.reread(parts.read_buf);
        let mut again = Self::over(io, http1::Builder::new().max_headers(MOST_HEADERS)).await?;
        let mut request = Request::new(Full::default());
        *request.method_mut() = method;
        let answer = again.send(request).await.map_err(TrySendError::into_error)?;
        again.kept_for = Some(Duration::ZERO);
        Ok((answer, Box::new(again)))
    }

    /// Sends one request and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Unsent> {
        let Self { sender, driver, filter, kept_for } = self;
        let mut answer = std::pin::pin!(sender.try_send_request(request));
        filter.begin();
        let answer = std::future::poll_fn(|cx| {
            filter.drive(cx, |cx| {
                // It ends by telling the answer why. Whatever is still to be read stays readable.
                let _ended = driver.poll_without_shutdown(cx);
                answer.as_mut().poll(cx)
            })
        });
        let answer = answer.await?;
        *kept_for = kept_for_by(answer.headers());
        Ok(answer)
    }

    /// How long the server keeps the connection after its last answer, if it said so.
    pub(super) const fn kept_for(&self) -> Option<Duration> {
        self.kept_for
    }

    /// The next frame of the answer's body.
    pub(super) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Self { driver, filter, .. } = self;
        filter.drive(cx, |cx| {
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(frame);
            }
            let _ended = Pin::new(&mut *driver).poll(cx);
            Pin::new(&mut *body).poll_frame(cx)
        })
    }

    /// Whether another request can be sent now; takes note of what the server has done meanwhile.
    pub(super) fn is_free(&mut self) -> bool {
        let quiet = &mut Context::from_waker(Waker::noop());
        // A task that has used up its turn would be told that nothing has come.
        let looked = std::pin::pin!(unconstrained(&mut self.driver));
        looked.poll(quiet).is_pending() && self.sender.is_ready()
    }
}

/// Wakes the task that drives a connection, except for what that very driving brings about.
///
/// A connection and its answer talk to each other through channels, which would wake their task for
/// each word although it is awake and listening.
struct WakeFilter {
    own: Arc<FilteredWaker>,
    waker: Waker,
}

#[derive(Default)]
struct FilteredWaker {
    task: AtomicWaker,
    woken: AtomicBool,
    driving: AtomicBool,
}

impl WakeFilter {
    fn new() -> Self {
        let own = Arc::<FilteredWaker>::default();
        Self { waker: Waker::from(Arc::clone(&own)), own }
    }

    /// There is something to do, whatever was heard.
    fn begin(&self) {
        self.own.woken.store(true, Ordering::SeqCst);
    }

    /// Polls as long as that brings anything about; not at all, if nothing was heard since.
    fn drive<T>(
        &self,
        cx: &mut Context<'_>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.own.task.register(cx.waker());
        for _ in 0..MOST_ROUNDS {
            if !self.own.woken.swap(false, Ordering::SeqCst) {
                return Poll::Pending;
            }
            self.own.driving.store(true, Ordering::SeqCst);
            let polled = poll(&mut Context::from_waker(&self.waker));
            self.own.driving.store(false, Ordering::SeqCst);
            if polled.is_ready() {
                self.begin();
                return polled;
            }
        }
        self.begin();
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Wake for FilteredWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::SeqCst);
        // Whoever drives looks again before it rests.
        if !self.driving.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// How long the server keeps a connection open on which nothing happens, if its answer says so;
/// no time at all, where it was the last answer.
fn kept_for_by(headers: &HeaderMap) -> Option<Duration> {
    let named = headers.get(&KEEP_ALIVE)?.to_str().ok()?;
    let of = |wanted: &str| {
        named.split(',').find_map(|part| {
            let (name, value) = part.split_once('=')?;
            let value = value.trim().trim_matches('"');
            name.trim().eq_ignore_ascii_case(wanted).then(|| value.parse::<u64>().ok())?
        })
    };
    if of("max") == Some(0) {
        return Some(Duration::ZERO);
    }
    let seconds = of("timeout")?;
    Some(Duration::from_secs(seconds).saturating_sub(EARLIER).min(LONGEST_KEPT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_kept_for_as_long_as_the_server_says() {
        for (named, seconds) in [
            ("timeout=5", Some(4)),
            ("max=100, Timeout = 60", Some(59)),
            ("timeout=\"75\"; max=3", None),
            ("timeout=0", Some(0)),
            ("timeout=1", Some(0)),
            ("timeout=60, max=0", Some(0)),
            ("timeout=99999999999", Some(330)),
            ("timeout=-1", None),
            ("timeout=soon", None),
            ("timeout", None),
            ("", None),
        ] {
            let headers = [(KEEP_ALIVE.clone(), named.parse().unwrap())];
            let headers = HeaderMap::from_iter(headers);
            assert_eq!(kept_for_by(&headers), seconds.map(Duration::from_secs), "{named}");
        }
        assert_eq!(kept_for_by(&HeaderMap::new()), None);
    }
}
