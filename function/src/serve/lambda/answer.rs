//! How does an answer travel through Lambda's streaming protocol?
//!
//! A prelude (JSON: status, headers, cookies), eight NUL bytes, then the body as it comes (AWS
//! Lambda Developer Guide, *Response streaming*). The stream always ends properly: what goes wrong
//! on the way is an `event: error` where the body is events, and the runtime's own error trailers
//! where nothing else can tell that the body is not whole. It never fails and is never empty.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use async_stream::stream;
use aws_smithy_types::base64;
use bytes::Bytes;
use futures_util::{FutureExt, Stream};
use http::{HeaderMap, HeaderValue, Response, header, response};
use http_body::Frame;
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde::Serialize;
use tokio::time::Sleep;

use crate::proxy::Body;
use crate::reply::{ErrorKind, Failure};
use crate::telemetry::Record;
use crate::wire::sse;

/// The trailers that tell the platform how an answer failed that had already begun.
pub(super) const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
pub(super) const ERROR_BODY: &str = "lambda-runtime-function-error-body";

/// What stands between the prelude and the body.
const SEPARATOR: [u8; 8] = [0; 8];

/// A stream without a single byte may hang its connection for minutes.
///
/// A line end hurts nobody: to HEAD, 204 and 304 the platform's own server sends no body, and where
/// one is expected, an empty one was no JSON and no event either.
const NOT_EMPTY: &[u8] = b"\n";

/// The platform kills the process at the deadline; an answer has this long to end itself before.
const MARGIN: Duration = Duration::from_secs(3);

/// The moment at which an answer must end by itself.
#[derive(Debug)]
pub(super) struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    /// A few seconds before `deadline`. One that has passed already, as some emulators send it, is
    /// none.
    pub(super) fn before(deadline: Option<Timestamp>, now: Timestamp) -> Self {
        let left =
            deadline.and_then(|deadline| Duration::try_from(deadline.duration_since(now)).ok());
        let left = left.filter(|left| !left.is_zero());
        Self(left.map(|left| Box::pin(tokio::time::sleep(left - MARGIN.min(left / 4)))))
    }

    /// No such moment.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    pub(super) async fn comes(&mut self) {
        match &mut self.0 {
            Some(sleep) => sleep.await,
            None => std::future::pending().await,
        }
    }
}

/// Why an answer ends before its end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Interruption {
    Deadline,
    Broken,
    Panic,
}

impl Interruption {
    /// What the client is told.
    pub(super) fn failure(self) -> Failure {
        let (kind, message) = match self {
            Self::Deadline => (
                ErrorKind::Timeout,
                "AWS Lambda allows no more time for this answer. Ask for less at once, or raise \
                 the function's timeout (15 minutes at most).",
            ),
            Self::Broken => (
                ErrorKind::Api,
                "The connection to the upstream broke before the answer was complete.",
            ),
            Self::Panic => {
                (ErrorKind::Api, "The proxy met an error of its own; its log says more.")
            }
        };
        Failure::new(kind, message)
    }

    /// What the operator is told.
    pub(super) fn note(self, record: &Record) {
        let fault = match self {
            Self::Deadline => "lambda's deadline came",
            Self::Broken => "the upstream's body broke",
            Self::Panic => "a panic",
        };
        record.broke(fault);
        tracing::error!(request.id = record.id(), "an answer was cut short: {fault}");
    }

    /// The trailers: only for what the body itself cannot tell, and for every panic.
    fn trailers(self, is_events: bool) -> Option<HeaderMap> {
        let kind = match self {
            Self::Panic => "Runtime.Panic",
            Self::Deadline | Self::Broken if is_events => return None,
            Self::Deadline => "Runtime.DeadlineReached",
            Self::Broken => "Runtime.UpstreamBroke",
        };
        let body = base64::encode(error_json(kind, &self.failure().message));
        let mut trailers = HeaderMap::new();
        trailers.insert(ERROR_TYPE, HeaderValue::from_static(kind));
        trailers.insert(ERROR_BODY, HeaderValue::try_from(body).ok()?);
        Some(trailers)
    }
}

/// Turns an answer into the frames of the streaming protocol.
pub(super) fn frames(
    response: Response<Body>,
    mut deadline: Deadline,
    record: Record,
) -> impl Stream<Item = Frame<Bytes>> + Send {
    let (head, mut body) = response.into_parts();
    let is_events = is_event_stream(&head.headers);
    let prelude = prelude(&head);
    stream! {
        // Two frames, so two chunks: `cargo lambda watch` tells them apart by nothing else.
        yield Frame::data(prelude);
        yield Frame::data(Bytes::from_static(&SEPARATOR));
        let (mut is_empty, mut between) = (true, true);
        let interruption = loop {
            let next = tokio::select! {
                biased;
                () = deadline.comes() => break Some(Interruption::Deadline),
                next = AssertUnwindSafe(body.frame()).catch_unwind() => next,
            };
            match next {
                Ok(Some(Ok(frame))) => {
                    let chunk = frame.into_data().unwrap_or_default();
                    if !chunk.is_empty() {
                        (is_empty, between) = (false, chunk.ends_with(b"\n\n"));
                        yield Frame::data(chunk);
                    }
                }
                Ok(None) => break None,
                Ok(Some(Err(_))) => break Some(Interruption::Broken),
                Err(_) => break Some(Interruption::Panic),
            }
        };
        let last = match interruption {
            Some(_) => body.give_up().await,
            None => None,
        };
        let interruption = interruption.filter(|_| last.is_none());
        if let Some(last) = last {
            is_empty = false;
            yield last;
        }
        if let Some(interruption) = interruption {
            interruption.note(&record);
        }
        if let Some(interruption) = interruption.filter(|_| is_events) {
            let event = interruption.failure().into_event(record.id());
            // A torn event is ended first.
            let end: &[u8] = if between { b"" } else { b"\n\n" };
            yield Frame::data([end, &event].concat().into());
        } else if is_empty {
            yield Frame::data(Bytes::from_static(NOT_EMPTY));
        }
        if let Some(trailers) = interruption.and_then(|early| early.trailers(is_events)) {
            yield Frame::trailers(trailers);
        }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| sse::is_event_stream(kind.as_bytes()))
}

/// Writes the head of an answer.
///
/// What frames a body on one connection stays behind: the platform frames the client's own.
fn prelude(head: &response::Parts) -> Bytes {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Prelude<'a> {
        status_code: u16,
        headers: BTreeMap<&'a str, String>,
        cookies: Vec<String>,
    }
    let mut headers = BTreeMap::<&str, String>::new();
    let mut cookies = Vec::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        if name == header::SET_COOKIE {
            cookies.push(value.into_owned());
        } else if ![header::CONTENT_LENGTH, header::TRANSFER_ENCODING, header::CONNECTION]
            .contains(name)
        {
            let joined = headers.entry(name.as_str()).or_default();
            if !joined.is_empty() {
                joined.push_str(", ");
            }
            joined.push_str(&value);
        }
    }
    let prelude = Prelude { status_code: head.status.as_u16(), headers, cookies };
    serde_json::to_vec(&prelude).expect("strings can always be written as JSON").into()
}

/// An error as the Runtime API wants it told.
pub(super) fn error_json(kind: &str, message: &str) -> Vec<u8> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Error<'a> {
        error_type: &'a str,
        error_message: &'a str,
        stack_trace: [&'a str; 0],
    }
    let error = Error { error_type: kind, error_message: message, stack_trace: [] };
    serde_json::to_vec(&error).expect("strings can always be written as JSON")
}
