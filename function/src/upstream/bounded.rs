//! How much of an answer of AWS is read?
//!
//! The SDK reads an answer whole before it looks at it, and a stream event by event, however large
//! they are. Whoever answers in the place of AWS could fill the memory that all requests share.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use super::BoxError;

/// What is read of a refusal, in bytes: its sentence stands at its beginning, its status before it.
const MOST_OF_AN_ERROR: usize = 1 << 20;
/// How long a refusal is read. It comes in one piece, or its status has to do.
const ERROR_WITHIN: Duration = Duration::from_secs(10);
/// The largest answer that is read whole, in bytes; the largest that there is are a hundred items
/// of DynamoDB (16 MB: its *API reference*, `BatchGetItem`).
const MOST_AT_ONCE: usize = 32 << 20;
/// The largest event of a stream, in bytes. AWS's client for Python reads no larger one (botocore,
/// `eventstream.py`); Bedrock's are far below 1 MB.
const MOST_OF_AN_EVENT: usize = 24 << 20;
/// The type of a body that goes on for as long as the model writes.
const EVENT_STREAM: &[u8] = b"application/vnd.amazon.eventstream";

/// The body of an answer, as far as it is read.
pub(super) struct BoundedBody {
    body: Incoming,
    bound: Bound,
}

enum Bound {
    /// A refusal: after so many bytes, or after this time, it is taken as it is.
    Error { left: usize, within: Pin<Box<Sleep>> },
    /// An answer in one piece: a larger one is none.
    Whole { left: usize },
    /// A stream: one with a larger event is none.
    Events(EventLengths),
}

impl BoundedBody {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: Incoming) -> Self {
        let is_stream = headers.get(header::CONTENT_TYPE).is_some_and(|value| {
            let start = value.as_bytes().get(..EVENT_STREAM.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(EVENT_STREAM))
        });
        let bound = match status.is_success() {
            true if is_stream => Bound::Events(EventLengths::default()),
            true => Bound::Whole { left: MOST_AT_ONCE },
            false => Bound::Error { left: MOST_OF_AN_ERROR, within: Box::pin(sleep(ERROR_WITHIN)) },
        };
        Self { body, bound }
    }
}

impl Body for BoundedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Self { body, bound } = &mut *self;
        if let Bound::Error { left, within } = bound
            && (*left == 0 || within.as_mut().poll(cx).is_ready())
        {
            return Poll::Ready(None);
        }
        let frame = match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(None),
        };
        let Ok(mut data) = frame.into_data() else { return Poll::Ready(None) };
        let too_much = match bound {
            Bound::Error { left, .. } => {
                data.truncate(*left);
                *left -= data.len();
                false
            }
            Bound::Whole { left } => {
                let too_much = data.len() > *left;
                *left = left.saturating_sub(data.len());
                too_much
            }
            Bound::Events(lengths) => !lengths.pass(&data),
        };
        Poll::Ready(Some(if too_much {
            Err("an answer of AWS is larger than any can be".into())
        } else {
            Ok(Frame::data(data))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.bound {
            Bound::Error { .. } => SizeHint::default(),
            Bound::Whole { .. } | Bound::Events(_) => self.body.size_hint(),
        }
    }
}

/// How long the events of a stream say that they are: four bytes at the beginning of each.
#[derive(Debug, Default)]
struct EventLengths {
    /// The bytes of a length that have come.
    begun: Vec<u8>,
    /// What has not come yet of the event under way.
    left: usize,
}

impl EventLengths {
    /// Takes note of what goes by; false where an event is longer than any can be.
    fn pass(&mut self, mut data: &[u8]) -> bool {
        while !data.is_empty() {
            let skipped = self.left.min(data.len());
            (self.left, data) = (self.left - skipped, &data[skipped..]);
            let (length, rest) = data.split_at(data.len().min(4 - self.begun.len()));
            self.begun.extend_from_slice(length);
            data = rest;
            if let Ok(length) = <[u8; 4]>::try_from(self.begun.as_slice()) {
                self.begun.clear();
                let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                if length > MOST_OF_AN_EVENT {
                    return false;
                }
                self.left = length.saturating_sub(4);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events of these lengths, the length itself included.
    fn events(lengths: &[u32]) -> Vec<u8> {
        let event = |length: &u32| {
            let mut event = length.to_be_bytes().to_vec();
            event.resize(usize::try_from(*length).unwrap().max(4), 0xff);
            event
        };
        lengths.iter().flat_map(event).collect()
    }

    #[test]
    fn an_event_that_claims_to_be_endless_ends_its_stream_wherever_it_is_cut() {
        let good = events(&[16, 4, 100, 0, 3, 5000, 17]);
        let bad = [good.clone(), vec![0xff, 0xff, 0xff, 0xff]].concat();
        for size in [1, 2, 3, 5, 7, 64, good.len() + 4] {
            let passes = |stream: &[u8]| {
                let mut lengths = EventLengths::default();
                stream.chunks(size).all(|piece| lengths.pass(piece))
            };
            assert!(passes(&good), "{size}");
            assert!(!passes(&bad), "{size}");
        }
    }

    #[test]
    fn the_largest_event_passes_and_a_larger_one_does_not() {
        let most = u32::try_from(MOST_OF_AN_EVENT).unwrap();
        for (length, passes) in [(most, true), (most + 1, false), (u32::MAX, false)] {
            assert_eq!(EventLengths::default().pass(&length.to_be_bytes()), passes, "{length}");
        }
    }
}
