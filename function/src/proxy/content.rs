//! What an answer says, chunk by chunk.
//!
//! Every stream that is made here ends properly: with its own last event, or with exactly one
//! `event: error`. Nothing is decided here any more, and no answer is ever begun again.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use async_stream::stream;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::Full;
use tokio::time::Instant;

use super::labels::{UPSTREAM, upstream_value};
use super::meter::Metered;
use crate::failover::Upstream;
use crate::reply::{ErrorKind, Failure};
use crate::telemetry::Record;
use crate::translate::error::BedrockFailure;
use crate::translate::stream::Event;
use crate::upstream::BoxError;
use crate::upstream::anthropic::Answer;
use crate::upstream::bedrock::Events;
use crate::wire::sse::{self, Ending, Tail};

/// What is read of a refusal, to judge it; a longer one is passed on unjudged.
pub(super) const MOST_ERROR_BYTES: usize = 1 << 20;

/// A client that hears nothing for longer than this may take the stream for dead.
pub(super) const PING_EVERY: Duration = Duration::from_secs(15);

/// Once Bedrock has begun, a silence of this length means that it will not go on.
pub(super) const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Before its first event Bedrock reads the prompt, which may take minutes.
pub(super) const FIRST_EVENT_TIMEOUT: Duration = Duration::from_secs(600);

/// After its last event Bedrock has only to say that this was all. It says so within this time, or
/// its connection is not used again.
const END_WITHIN: Duration = Duration::from_millis(50);

/// The fault of a stream that ends before its end.
pub(super) const CUT: &str = "anthropic's stream was cut";
/// The fault of a stream that ends in an error of Anthropic's own.
pub(super) const FAILED: &str = "anthropic's stream failed";

/// What is wrong with an answer that looks like one; it travels with the answer until that is the
/// one that the client gets.
#[derive(Clone, Copy, Debug)]
pub(super) struct ContentError(pub(super) &'static str);

/// What a body is made of.
pub(super) enum Content {
    /// It is already there.
    Whole(Full<Bytes>),
    /// Anthropic's, as it arrives.
    AsItComes(Answer),
    /// It is made while it goes.
    Made(Pin<Box<dyn Stream<Item = Result<Frame<Bytes>, BoxError>> + Send>>),
}

impl http_body::Body for Content {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(whole) => Pin::new(whole).poll_frame(cx).map_err(|never| match never {}),
            Self::AsItComes(answer) => Pin::new(answer).poll_frame(cx).map_err(Into::into),
            Self::Made(stream) => stream.poll_next_unpin(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(whole) => whole.is_end_stream(),
            Self::AsItComes(answer) => answer.is_end_stream(),
            Self::Made(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(whole) => whole.size_hint(),
            Self::AsItComes(answer) => answer.size_hint(),
            Self::Made(_) => SizeHint::default(),
        }
    }
}

/// A body that is already there.
pub(super) fn full(bytes: impl Into<Bytes>) -> Content {
    Content::Whole(Full::new(bytes.into()))
}

/// Whether no more bytes are to come. A body of a known length may say so before its stream has
/// ended, as over HTTP/2, and whoever has the length does not wait for that.
pub(super) fn is_over(body: &Content) -> bool {
    body.is_end_stream() || body.size_hint().exact() == Some(0)
}

/// Anthropic's body, of which a part has been read already.
pub(super) fn resumed(read: Bytes, mut answer: Answer) -> Content {
    Content::Made(Box::pin(stream! {
        yield Ok(Frame::data(read));
        while let Some(chunk) = answer.chunk().await {
            yield chunk.map(Frame::data).map_err(Into::into);
        }
    }))
}

/// A body that is made while it goes.
pub(super) fn made(stream: impl Stream<Item = Bytes> + Send + 'static) -> Content {
    Content::Made(Box::pin(stream.map(|event| Ok(Frame::data(event)))))
}

/// Anthropic's stream from the commit point on: what was held back, then what comes.
pub(super) fn anthropic(held: Bytes, mut answer: Answer, record: Record) -> Content {
    made(stream! {
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
        if tail.has_failed() {
            record.broke(FAILED);
        }
        let between = tail.is_between_events();
        match tail.finish() {
            Ending::Complete(rest) if rest.is_empty() => {}
            Ending::Complete(rest) => yield rest,
            Ending::Cut => {
                record.broke(CUT);
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
pub(super) fn bedrock(held: Vec<Bytes>, mut upstream: Events, mut metered: Metered) -> Content {
    made(stream! {
        for event in held {
            yield event;
        }
        // What the client is not told of breaks no silence.
        let (mut sent, mut told) = (Instant::now(), Instant::now());
        let failure = loop {
            if metered.translation.finished() {
                break None;
            }
            let mut next = Box::pin(upstream.next());
            let next = loop {
                let silence = (sent + PING_EVERY).min(told + IDLE_TIMEOUT);
                let soon = pin!(tokio::time::timeout_at(silence, &mut next));
                if let Ok(next) = metered.beside(soon).await {
                    break next;
                }
                sent = Instant::now();
                if sent >= told + IDLE_TIMEOUT {
                    break Err(fell_silent());
                }
                yield Bytes::from_static(sse::PING);
            };
            match next.map(|chunk| chunk.map(|chunk| metered.translation.event(&chunk))) {
                Ok(Some(Ok(Event::Opening(event) | Event::Content(event)))) => {
                    yield event;
                    (sent, told) = (Instant::now(), Instant::now());
                }
                Ok(Some(Ok(Event::Skip))) => {}
                Ok(Some(Ok(Event::Failed(failure)))) | Err(failure) => break Some(failure),
                Ok(Some(Err(_))) => break Some(broke_off()),
                Ok(None) => break Some(broke_off()),
            }
        };
        let Some(failure) = failure else {
            // The client has all that it is waiting for.
            let end = tokio::time::timeout(END_WITHIN, upstream.next());
            let _whatever = tokio::join!(metered.settle(), end);
            return;
        };
        metered.settle().await;
        metered.record.broke("bedrock's stream failed");
        yield said(failure).into_event(metered.record.id());
    })
}

/// What the client is told about a failure of Bedrock.
pub(super) fn said(failure: BedrockFailure) -> Failure {
    match failure {
        BedrockFailure::Client { message } => Failure::new(ErrorKind::InvalidRequest, message),
        BedrockFailure::Refused { message } => Failure::new(ErrorKind::Api, message),
        BedrockFailure::Transient { kind, message }
        | BedrockFailure::Unheard { kind, message }
        | BedrockFailure::Permanent { kind, message } => Failure::new(kind, message),
    }
}

pub(super) fn fell_silent() -> BedrockFailure {
    BedrockFailure::Unheard {
        kind: ErrorKind::Timeout,
        message: "Bedrock fell silent in the middle of the answer.".to_owned(),
    }
}

pub(super) fn broke_off() -> BedrockFailure {
    BedrockFailure::Unheard {
        kind: ErrorKind::Api,
        message: "Bedrock's stream ended before the answer was complete.".to_owned(),
    }
}

/// Whether an answer is a stream of events.
pub(super) fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| sse::is_event_stream(kind.as_bytes()))
}

/// The head of a stream.
pub(super) fn event_stream(upstream: Upstream, body: Content) -> Response<Content> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(&UPSTREAM, upstream_value(upstream));
    response
}
