//! Anthropic's API over HTTP: a request goes out as it is given, the answer comes back as it is.
//!
//! HTTP/2 where TLS negotiates it, else HTTP/1.1; connections are kept. No redirect is followed,
//! nothing is decompressed, and no timeout ever cuts an answer that has begun.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use super::pool::{Failed, Pool, Way};
use super::{Fault, HEAD_TIMEOUT};

/// The free call that proves a credential must not hold a request up for longer.
const PROOF_TIMEOUT: Duration = Duration::from_secs(2);

/// Over HTTP/2 a larger body travels apart from the small ones.
const LARGE_BODY: usize = 1 << 20;

/// Pieces that have arrived together go on as one, up to about this size.
const MOST_JOINED: usize = 16 << 10;

/// The client of Anthropic's API.
#[derive(Clone, Debug)]
pub struct Anthropic {
    pool: Arc<Pool>,
}

impl Anthropic {
    /// Prepares the client; connections are made when they are needed.
    #[must_use]
    pub fn new(base: Uri) -> Self {
        Self { pool: Arc::new(Pool::new(base)) }
    }

    /// Makes a connection for the first request, without sending anything on it. May fail.
    pub async fn connect_ahead(&self) {
        self.pool.connect_ahead().await;
    }

    /// Closes the connections that nobody has used for long.
    pub fn tidy(&self) {
        self.pool.tidy();
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
        let is_large = body.len() > LARGE_BODY;
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.uri(target);
        *request.headers_mut() = headers;
        let answered = tokio::time::timeout(HEAD_TIMEOUT, self.pool.send(request, is_large)).await;
        let (answer, way) = answered
            .map_err(|_| Fault::TimedOut { host: self.host() })?
            .map_err(|failed| self.fault(failed))?;
        Ok(answer.map(|body| Answer {
            body,
            way: Some(way),
            pool: Arc::clone(&self.pool),
            next: None,
            ended: false,
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
        let call = self.send(Method::GET, &target, headers, Bytes::new());
        let answer = tokio::time::timeout(PROOF_TIMEOUT, call).await.ok()?.ok()?;
        let (head, _) = answer.into_parts();
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
            Failed::Asking(error) => Fault::Broken { host, source: Box::new(error) },
        }
    }
}

type Piece = Result<Frame<Bytes>, hyper::Error>;
type Polled = Option<Piece>;

/// The body of an answer, as it arrives. Dropping it cancels the call.
#[derive(Debug)]
pub struct Answer {
    body: Incoming,
    /// `None` once it has been given back.
    way: Option<Way>,
    pool: Arc<Pool>,
    /// What came together with the last piece, and could not be joined to it. Rare, and large.
    next: Option<Box<Piece>>,
    ended: bool,
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
            match self.chunk().await {
                Some(chunk) => read.extend_from_slice(&chunk?),
                None => break,
            }
        }
        Ok(read.into())
    }

    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, hyper::Error>> {
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
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Polled> {
        if self.ended {
            return Poll::Ready(None);
        }
        let polled = ready!(match &mut self.way {
            Some(Way::Own(line)) => line.poll_frame(&mut self.body, cx),
            Some(Way::Shared { .. }) | None => Pin::new(&mut self.body).poll_frame(cx),
        });
        self.ended = polled.is_none();
        Poll::Ready(polled)
    }

    /// Adds to a piece what has arrived with it.
    fn join(&mut self, first: Bytes, cx: &mut Context<'_>) -> Bytes {
        let mut joined = BytesMut::new();
        while joined.len().max(first.len()) < MOST_JOINED && !self.body.is_end_stream() {
            let Poll::Ready(polled) = self.poll_piece(cx) else { break };
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
    type Error = hyper::Error;

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
        if let Some(Way::Own(line)) = self.way.take_if(|_| self.ended || self.body.is_end_stream())
        {
            self.pool.keep(line);
        }
    }
}
