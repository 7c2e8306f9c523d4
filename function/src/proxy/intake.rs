//! A body on its way in: how large, how slow, and in whose room.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::header;
use http::request::Parts;
use http_body::Frame;
use http_body_util::BodyExt;

use crate::reply::{ErrorKind, Failure};
use crate::room::{BodyPermit, Full, SMALL_BODY};

/// The largest request body, as at Anthropic (*Errors*, `request_too_large`).
const MOST_BODY_BYTES: usize = 32 << 20;
/// A larger body than this is not given its whole buffer on its client's word.
const FIRST_BYTES: usize = 4 << 20;
/// What is read of a body that is refused.
const MOST_WASTED_BYTES: usize = 64 << 20;
/// A body of which nothing comes for so long is not going to come.
const BODY_IDLE: Duration = Duration::from_secs(30);
/// The largest body takes this long at half a megabit a second.
const BODY_WITHIN: Duration = Duration::from_secs(600);
/// A body that is refused is read, so that its client finds the answer, for this long.
const WASTE_WITHIN: Duration = Duration::from_secs(10);
/// Or until nothing has come of it for this long.
const WASTE_IDLE: Duration = Duration::from_secs(1);
/// When to come back if there is no room.
const BUSY_FOR: Duration = Duration::from_secs(1);

/// Lets a body come that nobody is interested in, so that its sender finds the answer.
pub(super) async fn turned_away<B>(head: &Parts, body: B, failure: Failure) -> Failure
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
{
    let waits = head.headers.contains_key(header::EXPECT);
    Arriving { body, waits, held: None, gate: None }.turned_away(failure).await
}

/// A body on its way.
pub(super) struct Arriving<B> {
    pub(super) body: B,
    /// Its client sends nothing of it before the go-ahead.
    pub(super) waits: bool,
    /// The room that it takes, where there is one to be shared.
    pub(super) held: Option<BodyPermit>,
    /// Where it waits for a verdict, if it has to.
    pub(super) gate: Option<Arc<Gate>>,
}

/// Where a body stops that is more than a permit covers, until its key is known to be
/// somebody's. Whoever opens it polls the body next.
#[derive(Debug, Default)]
pub(super) struct Gate {
    open: AtomicBool,
    reached: AtomicBool,
}

impl Gate {
    pub(super) fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    async fn passed(&self) {
        poll_fn(|_| {
            self.reached.store(true, Ordering::Relaxed);
            if self.open.load(Ordering::Relaxed) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl<B> Arriving<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
{
    /// Reads the body whole: at most [`MOST_BODY_BYTES`], in one piece.
    pub(super) async fn collect(&mut self) -> Result<Bytes, Failure> {
        let announced = self.body.size_hint().lower().try_into().unwrap_or(usize::MAX);
        if announced > MOST_BODY_BYTES {
            return Err(too_large());
        }
        if self.body.is_end_stream() {
            return Ok(Bytes::new());
        }
        // What has come with the head needs no timer, and no copy if it is all.
        let first = match self.body.frame().now_or_never() {
            Some(None) => return Ok(Bytes::new()),
            Some(Some(frame)) => self.piece(frame, 0).await?,
            None => Bytes::new(),
        };
        if self.body.is_end_stream() {
            return Ok(first);
        }
        let at_once = if self.gate.is_some() { SMALL_BODY } else { FIRST_BYTES };
        let mut collected = BytesMut::with_capacity(announced.min(at_once));
        collected.extend_from_slice(&first);
        drop(first);
        let rest = self.collect_rest(&mut collected);
        let rest = tokio::time::timeout(BODY_WITHIN, rest).await;
        rest.unwrap_or_else(|_| Err(too_slow()))?;
        Ok(collected.freeze())
    }

    async fn collect_rest(&mut self, collected: &mut BytesMut) -> Result<(), Failure> {
        loop {
            let next = tokio::time::timeout(BODY_IDLE, self.body.frame()).await;
            let Some(frame) = next.map_err(|_| too_slow())? else { return Ok(()) };
            let piece = self.piece(frame, collected.len()).await?;
            collected.extend_from_slice(&piece);
        }
    }

    /// What a frame adds to so many bytes that have come; nothing, where it is no data.
    async fn piece(
        &mut self,
        frame: Result<Frame<Bytes>, B::Error>,
        come: usize,
    ) -> Result<Bytes, Failure> {
        let broken = |_| {
            let message = "The request body broke off before its end.";
            Failure::new(ErrorKind::InvalidRequest, message)
        };
        let piece = frame.map_err(broken)?.into_data().unwrap_or_default();
        let size = come + piece.len();
        if size > MOST_BODY_BYTES {
            return Err(too_large());
        }
        if let Some(gate) = self.gate.as_ref().filter(|_| size > SMALL_BODY) {
            gate.passed().await;
        }
        if let Some(held) = &mut self.held {
            held.grow(size).map_err(crowded)?;
        }
        Ok(piece)
    }

    /// The body as it goes on, with the room that it takes as long as anything of it lives.
    pub(super) fn kept(self, body: Bytes) -> Bytes {
        match self.held {
            Some(held) if !held.is_empty() => Bytes::from_owner(CountedBody { body, _held: held }),
            _ => body,
        }
    }

    /// Lets the rest of the body come, for a while, so that its client finds the answer instead of
    /// a reset; where they wait for the go-ahead, nothing comes.
    pub(super) async fn turned_away(mut self, failure: Failure) -> Failure {
        drop(self.held.take());
        let rest = async {
            let mut wasted = 0;
            while wasted <= MOST_WASTED_BYTES {
                let next = tokio::time::timeout(WASTE_IDLE, self.body.frame()).await;
                let Ok(Some(Ok(frame))) = next else { break };
                wasted += frame.data_ref().map_or(0, Bytes::len);
            }
        };
        if !self.waits {
            let _too_much_or_late = tokio::time::timeout(WASTE_WITHIN, rest).await;
        }
        failure
    }
}

/// A body, and the room that it takes.
struct CountedBody {
    body: Bytes,
    _held: BodyPermit,
}

impl AsRef<[u8]> for CountedBody {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn too_large() -> Failure {
    let message = "The request body is larger than 32 MiB, which is the most that Anthropic takes. \
                   Start a new conversation, or attach smaller files.";
    Failure::new(ErrorKind::RequestTooLarge, message)
}

pub(super) fn crowded(full: Full) -> Failure {
    let message = match full {
        Full::All => "The proxy is answering as many requests as it can. Try again soon.",
        Full::Share => {
            "So many requests of yours are under way that the rest of the proxy is for others. Try \
             again when one has ended."
        }
    };
    let failure = Failure::new(ErrorKind::Unavailable, message);
    Failure { retry_after: Some(BUSY_FOR), ..failure }
}

fn too_slow() -> Failure {
    let message = "The request body did not come in time: send it without pauses of 30 s, and \
                   within 10 minutes.";
    let failure = Failure::new(ErrorKind::InvalidRequest, message);
    Failure { retryable: true, ..failure }
}
