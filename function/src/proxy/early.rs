//! The head that goes out before its answer.
//!
//! A client that hears nothing for long takes a stream for dead. So it gets a head, and pings,
//! while it is open who answers in the end; what comes then follows as if it had been there before.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use async_stream::stream;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep, sleep_until};

use super::body::Body;
use super::content::{self, MOST_ERROR_BYTES, PING_EVERY};
use super::labels::{UPSTREAM, upstream_value};
use crate::failover::Upstream;
use crate::messages::ApiError;
use crate::reply::{ErrorKind, Failure};
use crate::telemetry::Record;
use crate::wire::names;
use crate::wire::sse;

/// How long a client may be left without a head once an answer is under way.
const HEAD_WITHIN: Duration = Duration::from_secs(15);

/// When the client gets a head, whoever answers in the end; empty until somebody is answering.
#[derive(Clone, Debug, Default)]
pub(super) struct EarlyHead(Arc<Mutex<Option<DueHead>>>);

#[derive(Clone, Copy, Debug)]
struct DueHead {
    deadline: Instant,
    /// Who is being asked.
    upstream: Upstream,
}

impl EarlyHead {
    /// Nobody is answering any more.
    pub(super) fn forget(&self) {
        *self.head() = None;
    }

    /// Starts the time within which the client of a stream gets a head.
    pub(super) fn soon(&self, upstream: Upstream) {
        let mut head = self.head();
        let deadline = head.map_or_else(|| Instant::now() + HEAD_WITHIN, |head| head.deadline);
        *head = Some(DueHead { deadline, upstream });
    }

    /// Waits until the client must have a head, and names who is being asked then.
    ///
    /// To be polled after the exchange, in the same task: nobody else is told of a change.
    pub(super) async fn due(&self) -> Upstream {
        let mut sleep: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            let Some(head) = *self.head() else { return Poll::Pending };
            let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(head.deadline)));
            if sleep.deadline() != head.deadline {
                sleep.as_mut().reset(head.deadline);
            }
            sleep.as_mut().poll(cx).map(|()| head.upstream)
        })
        .await
    }

    fn head(&self) -> MutexGuard<'_, Option<DueHead>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A stream whose head has to go out before it is known who answers: pings until then. The head
/// names who is being asked, and nothing that only the answer could tell.
pub(super) fn waiting(
    mut drive: Pin<Box<dyn Future<Output = Response<Body>> + Send>>,
    announced: Upstream,
    record: Record,
) -> Response<Body> {
    let id = HeaderValue::from_str(record.id()).ok();
    let body = content::made(stream! {
        let response = loop {
            yield Bytes::from_static(sse::PING);
            if let Ok(response) = tokio::time::timeout(PING_EVERY, &mut drive).await {
                break response;
            }
        };
        let (head, mut body) = response.into_parts();
        let events = content::is_event_stream(&head.headers);
        if head.status != StatusCode::OK || !events {
            let event = last_event(head.status, body, record.id()).await;
            record.broke("nobody answered after the head");
            yield event;
            return;
        }
        let served = head.headers.get(&UPSTREAM).filter(|name| **name != upstream_value(announced));
        if let Some(name) = served.and_then(|name| name.to_str().ok()) {
            yield sse::comment(&format!("{UPSTREAM}: {name}"));
        }
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(chunk) = frame.into_data() {
                yield chunk;
            }
        }
    });
    let mut response = content::event_stream(announced, body);
    response.headers_mut().extend(id.map(|id| (names::REQUEST_ID.clone(), id)));
    response.map(Into::into)
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
    let message = error.map(|error| error.message).filter(|message| !message.is_empty());
    let message = message.unwrap_or_else(|| "Nobody could answer.".to_owned());
    Failure::new(kind, message).into_event(request_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_asked_next_does_not_put_the_head_off() {
        let early = EarlyHead::default();
        let deadline = || early.head().map(|head| head.deadline);
        early.soon(Upstream::Bedrock);
        let first = deadline();
        std::thread::sleep(Duration::from_millis(2));
        early.soon(Upstream::Bedrock);
        assert_eq!((deadline(), first.is_some()), (first, true));
        early.forget();
        assert_eq!(deadline(), None);
    }
}
