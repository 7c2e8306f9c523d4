//! What a client receives, chunk by chunk.
//!
//! Every stream that is made here ends properly: with its own last event, or with exactly one
//! `event: error`. Nothing is decided here any more, and no answer is ever begun again. There is no
//! background task: what remains to be written to the store is driven by whoever reads the body.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_stream::stream;
use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};

use super::legs::is_event_stream;
use super::memory::Write;
use super::{MOST_ERROR_BYTES, UPSTREAM};
use crate::failover::Upstream;
use crate::messages::ApiError;
use crate::reply::{ErrorKind, Failure};
use crate::telemetry::Record;
use crate::translate::error::BedrockFailure;
use crate::translate::stream::{Event, Stream as Translation};
use crate::upstream::anthropic::Answer;
use crate::upstream::bedrock::Events;
use crate::wire::sse::{self, Ending, Tail};

/// A client that hears nothing for longer than this may take the stream for dead.
const PING_EVERY: Duration = Duration::from_secs(15);

/// Once Bedrock has begun, a silence of this length means that it will not go on.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Before its first event Bedrock reads the prompt, which may take minutes.
pub(super) const FIRST_EVENT_TIMEOUT: Duration = Duration::from_secs(600);

type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// Any body that goes to a client.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The writes to the store that belong to one request.
pub(super) type Writes = FuturesUnordered<Write>;

/// A body that is already there.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// Whether no more bytes are to come. A body of a known length may say so before its stream has
/// ended, as over HTTP/2, and whoever has the length does not wait for that.
pub(super) fn is_over(body: &Body) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

/// Anthropic's body, as it arrives.
pub(super) fn as_it_comes(answer: Answer) -> Body {
    answer.map_err(Into::into).boxed_unsync()
}

/// Anthropic's body, of which a part has been read already.
pub(super) fn resumed(read: Bytes, mut answer: Answer) -> Body {
    let chunks = stream! {
        yield Ok(Frame::data(read));
        while let Some(chunk) = answer.chunk().await {
            yield chunk.map(Frame::data).map_err(Into::into);
        }
    };
    StreamBody::new(chunks).boxed_unsync()
}

/// A body of events.
fn events(stream: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    StreamBody::new(stream.map(|event| Ok(Frame::data(event)))).boxed_unsync()
}

/// Anthropic's stream from the commit point on: what was held back, then what comes.
pub(super) fn anthropic(held: Bytes, mut answer: Answer, record: Record) -> Body {
    events(stream! {
        let mut tail = Tail::default();
        let out = tail.push(held);
        if !out.is_empty() {
            yield out;
        }
        while let Some(Ok(chunk)) = answer.chunk().await {
            let out = tail.push(chunk);
            if !out.is_empty() {
                yield out;
            }
        }
        record.used(tail.usage());
        let between = tail.is_between_events();
        match tail.finish() {
            Ending::Complete(rest) if rest.is_empty() => {}
            Ending::Complete(rest) => yield rest,
            Ending::Cut => {
                record.broke("anthropic's stream was cut");
                if !between {
                    yield Bytes::from_static(b"\n\n");
                }
                let message = "The connection to Anthropic broke before the answer was complete.";
                yield Failure::new(ErrorKind::Api, message).into_event(record.id());
            }
        }
    })
}

/// Bedrock's stream from the commit point on, with pings in its silences.
pub(super) fn bedrock(
    held: Vec<Bytes>,
    mut upstream: Events,
    mut translation: Translation,
    record: Record,
) -> Body {
    events(stream! {
        for event in held {
            yield event;
        }
        let failure = loop {
            if translation.finished() {
                break None;
            }
            let mut next = Box::pin(upstream.next());
            let mut silence = Duration::ZERO;
            let next = loop {
                if let Ok(next) = tokio::time::timeout(PING_EVERY, &mut next).await {
                    break next;
                }
                silence += PING_EVERY;
                if silence >= IDLE_TIMEOUT {
                    break Err(fell_silent());
                }
                yield Bytes::from_static(sse::PING);
            };
            match next.map(|chunk| chunk.map(|chunk| translation.event(&chunk))) {
                Ok(Some(Ok(Event::Opening(event) | Event::Content(event)))) => yield event,
                Ok(Some(Ok(Event::Skip))) => {}
                Ok(Some(Ok(Event::Failed(failure)))) | Err(failure) => break Some(failure),
                Ok(Some(Err(_))) => break Some(broke_off()),
                Ok(None) => break Some(broke_off()),
            }
        };
        record.used(translation.usage());
        if let Some(failure) = failure {
            record.broke("bedrock's stream failed");
            yield said(failure).into_event(record.id());
        }
    })
}

/// What the client is told about a failure of Bedrock.
pub(super) fn said(failure: BedrockFailure) -> Failure {
    match failure {
        BedrockFailure::Client { message } => Failure::new(ErrorKind::InvalidRequest, message),
        BedrockFailure::Transient { kind, message }
        | BedrockFailure::Permanent { kind, message } => Failure::new(kind, message),
    }
}

pub(super) fn fell_silent() -> BedrockFailure {
    BedrockFailure::Transient {
        kind: ErrorKind::Timeout,
        message: "Bedrock fell silent in the middle of the answer.".to_owned(),
    }
}

pub(super) fn broke_off() -> BedrockFailure {
    BedrockFailure::Transient {
        kind: ErrorKind::Api,
        message: "Bedrock's stream ended before the answer was complete.".to_owned(),
    }
}

/// The head of a stream.
pub(super) fn event_stream(upstream: Upstream, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(UPSTREAM, upstream_value(upstream));
    response
}

pub(super) const fn upstream_value(upstream: Upstream) -> HeaderValue {
    HeaderValue::from_static(match upstream {
        Upstream::Anthropic => "anthropic",
        Upstream::Bedrock => "bedrock",
    })
}

/// A stream whose head has to go out before it is known who answers: pings until then. The head
/// names who is being asked, and nothing that only the answer could tell.
pub(super) fn waiting(
    mut drive: Pin<Box<dyn Future<Output = Response<Body>> + Send>>,
    announced: Upstream,
    record: Record,
) -> Response<Body> {
    let id = HeaderValue::from_str(record.id()).ok();
    let body = events(stream! {
        let response = loop {
            yield Bytes::from_static(sse::PING);
            if let Ok(response) = tokio::time::timeout(PING_EVERY, &mut drive).await {
                break response;
            }
        };
        let (head, mut body) = response.into_parts();
        let events = head.headers.get(header::CONTENT_TYPE).is_some_and(is_event_stream);
        if head.status != StatusCode::OK || !events {
            yield last_event(head.status, body, record.id()).await;
            return;
        }
        let served = head.headers.get(UPSTREAM).filter(|name| **name != upstream_value(announced));
        if let Some(name) = served.and_then(|name| name.to_str().ok()) {
            yield sse::comment(&format!("{UPSTREAM}: {name}"));
        }
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(chunk) = frame.into_data() {
                yield chunk;
            }
        }
    });
    let mut response = event_stream(announced, body);
    response.headers_mut().extend(id.map(|id| (HeaderName::from_static("request-id"), id)));
    response
}

/// Says in one event what a whole answer would have said.
async fn last_event(status: StatusCode, mut body: Body, request_id: &str) -> Bytes {
    let mut read = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        read.extend(frame.into_data().unwrap_or_default());
        if read.len() > MOST_ERROR_BYTES {
            break;
        }
    }
    let error = ApiError::read(&read);
    let kind = match status.as_u16() {
        429 => ErrorKind::RateLimit,
        500.. => ErrorKind::Overloaded,
        _ => error.as_ref().and_then(|e| ErrorKind::named(&e.kind)).unwrap_or(ErrorKind::Api),
    };
    let message = error.map_or_else(|| "Nobody could answer.".to_owned(), |error| error.message);
    Failure::new(kind, message).into_event(request_id)
}

/// A body that takes the request's record and its last writes along.
///
/// The last bytes leave when the writes are done, so that a client that has its answer never
/// overtakes what was learnt from it.
pub(super) struct Accompanied {
    body: Body,
    writes: Writes,
    last: Option<Frame<Bytes>>,
    record: Record,
    begun: bool,
}

impl Accompanied {
    pub(super) const fn new(body: Body, writes: Writes, record: Record) -> Self {
        Self { body, writes, last: None, record, begun: false }
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.record.first_byte();
        }
    }

    fn poll_writes(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while ready!(self.writes.poll_next_unpin(cx)).is_some() {}
        Poll::Ready(())
    }
}

impl Drop for Accompanied {
    fn drop(&mut self) {
        // Whoever has all the bytes that were announced does not ask for the end.
        if http_body::Body::is_end_stream(self) {
            self.record.complete();
        }
    }
}

impl http_body::Body for Accompanied {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let written = self.poll_writes(cx);
        if self.last.is_none() {
            match ready!(self.body.poll_frame_unpin(cx)) {
                Some(Ok(frame)) if is_over(&self.body) => self.last = Some(frame),
                Some(Ok(frame)) => {
                    self.begin();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(error)) => {
                    self.record.broke("the connection to anthropic broke");
                    return Poll::Ready(Some(Err(error)));
                }
                None => {}
            }
        }
        ready!(written);
        let last = self.last.take();
        self.begin();
        self.record.complete();
        Poll::Ready(last.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.body.is_end_stream() && self.writes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        if let Some(held) = self.last.as_ref().and_then(Frame::data_ref) {
            let held = held.len() as u64;
            hint = SizeHint::with_exact(hint.lower() + held);
        }
        hint
    }
}

trait PollFrame {
    fn poll_frame_unpin(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>;
}

impl PollFrame for Body {
    fn poll_frame_unpin(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        http_body::Body::poll_frame(Pin::new(self), cx)
    }
}
