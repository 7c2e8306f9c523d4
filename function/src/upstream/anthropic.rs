//! Anthropic's API over HTTP: a request goes out as it is given, the answer comes back as it is.
//!
//! Over HTTP/1.1, on connections that are kept. No redirect is followed, nothing is decompressed,
//! and an answer that has begun is given up only when it has fallen silent.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use tokio::time::{Instant, Sleep, sleep};

use super::connection::Connection;
use super::pool::{Failed, KEPT_FOR, Pool};
use super::{Fault, HEAD_TIMEOUT};

/// The free call that proves a credential must not hold a request up for longer.
const PROOF_TIMEOUT: Duration = Duration::from_secs(2);

/// And what is read of its answer, so that its connection is kept.
const MOST_PROOF_BYTES: usize = 64 << 10;

/// Pieces that have arrived together go on as one, up to about this size.
const MOST_JOINED: usize = 16 << 10;

/// How long Anthropic is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the head of a stream to its first content; pings are none. Reading a long prompt takes
    /// minutes.
    pub first_content: Duration,
    /// Between two pieces of an answer; one that is silent for longer has failed, at the latest
    /// after twice this time.
    pub silence: Duration,
    /// How long a connection is kept after its last answer, where the server names no time.
    pub kept_for: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        let longest = HEAD_TIMEOUT;
        Self { first_content: longest, silence: longest, kept_for: KEPT_FOR }
    }
}

/// The client of Anthropic's API.
#[derive(Clone, Debug)]
pub struct Anthropic {
    pool: Arc<Pool>,
    timeouts: Timeouts,
}

impl Anthropic {
    /// Prepares the client; connections are made when they are needed.
    #[must_use]
    pub fn new(base: Uri) -> Self {
        Self::with_timeouts(base, Timeouts::default())
    }

    /// The same with its own idea of how long to wait.
    #[must_use]
    pub fn with_timeouts(base: Uri, timeouts: Timeouts) -> Self {
        Self { pool: Arc::new(Pool::new(base, timeouts.kept_for)), timeouts }
    }

    /// How long it waits.
    #[must_use]
    pub const fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// Makes a connection for the first request, without sending anything on it. May fail, and
    /// takes no longer than `within`; what is unfinished then, the first request goes on with.
    pub async fn connect_ahead(&self, within: Duration) {
        self.pool.connect_ahead(within).await;
    }

    /// Closes the connections that nobody has used for long.
    pub fn tidy(&self) {
        self.pool.tidy();
    }

    /// Sends one request and waits for the head of its answer.
    ///
    /// # Errors
    ///
    /// Where no head comes: no connection within 5 s, a broken one, or silence for 600 s; and where
    /// the head is none of an answer.
    pub async fn send(
        &self,
        method: Method,
        target: &PathAndQuery,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Answer>, Fault> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri(target);
        *request.headers_mut() = headers;
        let answered = tokio::time::timeout(HEAD_TIMEOUT, self.pool.send(request)).await;
        let (answer, connection) = answered
            .map_err(|_| Fault::TimedOut { host: self.host() })?
            .map_err(|failed| self.fault(failed))?;
        if answer.status().is_informational() {
            return Err(Fault::NoAnswer { host: self.host(), status: answer.status() });
        }
        Ok(answer.map(|body| Answer {
            body,
            connection: Some(connection),
            pool: Arc::clone(&self.pool),
            next: None,
            ended: false,
            silence: Silence { most: self.timeouts.silence, timer: None, heard: false },
        }))
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
        let deadline = Instant::now() + PROOF_TIMEOUT;
        let call = self.send(Method::GET, &target, headers, Bytes::new());
        let answer = tokio::time::timeout_at(deadline, call).await.ok()?.ok()?;
        let (head, mut body) = answer.into_parts();
        let _of_no_interest = tokio::time::timeout_at(deadline, body.read(MOST_PROOF_BYTES)).await;
        Some((head.status, head.headers))
    }

    /// The target below the path of the base URL.
    fn uri(&self, target: &PathAndQuery) -> Uri {
        let base = self.pool.base().path().trim_end_matches('/');
        if base.is_empty() {
            return target.clone().into();
        }
        let joined = format!("{base}{target}").parse();
        joined.unwrap_or_else(|_| target.clone().into())
    }

    fn host(&self) -> String {
        self.pool.base().authority().map(ToString::to_string).unwrap_or_default()
    }

    fn fault(&self, failed: Failed) -> Fault {
        let host = self.host();
        match failed {
            Failed::Connecting(source) => Fault::NoConnection { host, source },
            Failed::Asking(error) if error.is_parse_too_large() => Fault::HeadTooLarge { host },
            Failed::Asking(error) => Fault::Broken { host, source: Box::new(error) },
        }
    }
}

/// Why the body of an answer ends before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    #[error("nothing came for {} s", .0.as_secs())]
    Silent(Duration),
}

type Piece = Result<Frame<Bytes>, BodyError>;
type Polled = Option<Piece>;

/// The body of an answer, as it arrives. Dropping it before its end cancels the call.
#[derive(Debug)]
pub struct Answer {
    body: Incoming,
    /// `None` once it has been given back, or given up.
    connection: Option<Box<Connection>>,
    pool: Arc<Pool>,
    /// What came together with the last piece, and could not be joined to it. Rare, and large.
    next: Option<Box<Piece>>,
    ended: bool,
    silence: Silence,
}

/// Notices that nothing comes any more.
#[derive(Debug)]
struct Silence {
    most: Duration,
    /// Runs since the first wait. It is set again only when it has ended: resetting it for each
    /// piece would cost more than the piece.
    timer: Option<Pin<Box<Sleep>>>,
    /// Something has come since the timer was set.
    heard: bool,
}

impl Silence {
    /// Ready when nothing has come for a whole round of the timer. To be polled while nothing is
    /// there.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { most, timer, heard } = self;
        let timer = timer.get_or_insert_with(|| {
            *heard = false;
            Box::pin(sleep(*most))
        });
        loop {
            ready!(timer.as_mut().poll(cx));
            if !std::mem::take(heard) {
                return Poll::Ready(());
            }
            timer.as_mut().reset(Instant::now() + *most);
        }
    }
}

impl Answer {
    /// Reads on until the end or until more than `most` bytes have come, whichever is first.
    ///
    /// # Errors
    ///
    /// Where the connection breaks, or nothing comes for too long.
    pub async fn read(&mut self, most: usize) -> Result<Bytes, BodyError> {
        let mut read = Vec::new();
        while read.len() <= most {
            match self.chunk().await {
                Some(chunk) => read.extend_from_slice(&chunk?),
                None => break,
            }
        }
        Ok(read.into())
    }

    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            match self.frame().await? {
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

impl Answer {
    /// What has arrived, if anything.
    fn poll_arrived(&mut self, cx: &mut Context<'_>) -> Poll<Polled> {
        let Some(connection) = self.connection.as_mut().filter(|_| !self.ended) else {
            return Poll::Ready(None);
        };
        let polled = ready!(connection.poll_frame(&mut self.body, cx));
        self.ended = polled.is_none();
        self.silence.heard = true;
        Poll::Ready(polled.map(|piece| piece.map_err(BodyError::Broken)))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Polled> {
        if let Poll::Ready(arrived) = self.poll_arrived(cx) {
            return Poll::Ready(arrived);
        }
        ready!(self.silence.poll(cx));
        self.connection = None;
        Poll::Ready(Some(Err(BodyError::Silent(self.silence.most))))
    }

    /// Adds to a piece what has arrived with it.
    fn join(&mut self, first: Bytes, cx: &mut Context<'_>) -> Bytes {
        let mut joined = BytesMut::new();
        while joined.len().max(first.len()) < MOST_JOINED && !self.body.is_end_stream() {
            let Poll::Ready(polled) = self.poll_arrived(cx) else { break };
            match polled.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(piece))) => {
                    if joined.is_empty() {
                        joined.extend_from_slice(&first);
                    }
                    joined.extend_from_slice(&piece);
                }
                Some(Ok(Err(other))) => {
                    self.next = Some(Box::new(Ok(other)));
                    break;
                }
                Some(Err(error)) => {
                    self.next = Some(Box::new(Err(error)));
                    break;
                }
                None => break,
            }
        }
        if joined.is_empty() { first } else { joined.freeze() }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Polled> {
        if let Some(next) = self.next.take() {
            return Poll::Ready(Some(*next));
        }
        let polled = ready!(self.poll_piece(cx));
        Poll::Ready(match polled.map(|frame| frame.map(Frame::into_data)) {
            Some(Ok(Ok(piece))) => Some(Ok(Frame::data(self.join(piece, cx)))),
            Some(Ok(Err(other))) => Some(Ok(other)),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_none() && (self.ended || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let is_over = |answer: &Self| answer.ended || answer.body.is_end_stream();
        if !is_over(self) {
            // Its end may have come, and nobody has asked for it.
            drop(self.poll_arrived(&mut Context::from_waker(Waker::noop())));
        }
        if let Some(connection) = self.connection.take().filter(|_| is_over(self)) {
            self.pool.keep(connection);
        }
    }
}
