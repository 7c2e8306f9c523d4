//! What a client receives: the content of an answer, and what goes along with it.
//!
//! There is no background task: what remains to be written to the store is driven by whoever reads
//! the body.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http_body::{Frame, SizeHint};

use super::cached_store::CachedStore;
use super::content::{self, Content};
use super::ledger::Ledger;
use crate::room::Permit;
use crate::telemetry::Record;
use crate::upstream::BoxError;

/// Any body that goes to a client, with the request's record, its last writes and its permit.
///
/// The last bytes leave when the writes are done, so that a client that has its answer never
/// overtakes what was learnt from it.
pub struct Body {
    content: Content,
    /// What is still to be written. Absent where there is nothing to be written.
    ledger: Option<Box<Ledger>>,
    /// What waits for the writes.
    last: Option<Box<Frame<Bytes>>>,
    /// Absent where somebody else keeps it up.
    record: Option<Record>,
    begun: bool,
    /// Where what has made the content leaves what it has cost, if it is not read to its end.
    store: Option<Arc<CachedStore>>,
    _permit: Option<Permit>,
}

impl Body {
    /// A body that is made while it goes, for an answer that is no upstream's.
    pub fn made(
        frames: impl Stream<Item = Result<Frame<Bytes>, BoxError>> + Send + 'static,
    ) -> Self {
        Content::Made(Box::pin(frames)).into()
    }

    pub(super) const fn new(content: Content, ledger: Option<Box<Ledger>>, record: Record) -> Self {
        let record = Some(record);
        Self { content, ledger, last: None, record, begun: false, store: None, _permit: None }
    }

    /// Names the store that this answer's costs are settled in.
    pub(super) fn settled_in(mut self, store: Arc<CachedStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Ends an answer before its end, and settles what it has cost. Returns the last bytes, if they
    /// have been waiting for nothing but what is written: then it is whole.
    pub async fn give_up(mut self) -> Option<Frame<Bytes>> {
        let last = self.last.take().map(|last| *last);
        if last.is_some() {
            self.begin();
            self.note(Record::complete);
        }
        self.content = content::full(Bytes::new());
        // What it has not written yet is left like all the rest.
        self.ledger = None;
        if let Some(store) = self.store.take() {
            store.settle().await;
        }
        last
    }

    /// Holds a permit until it is dropped.
    pub(super) fn holding(mut self, permit: Option<Permit>) -> Self {
        self._permit = permit;
        self
    }

    fn note(&self, what: impl Fn(&Record)) {
        self.record.iter().for_each(what);
    }

    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.note(Record::first_byte);
        }
    }
}

impl From<Content> for Body {
    fn from(content: Content) -> Self {
        let (ledger, last, record) = (None, None, None);
        Self { content, ledger, last, record, begun: false, store: None, _permit: None }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        content::full(bytes).into()
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        // Whoever has all the bytes that were announced does not ask for the end.
        if http_body::Body::is_end_stream(self) {
            self.note(Record::complete);
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let written = self.ledger.as_mut().map_or(Poll::Ready(()), |ledger| ledger.poll(cx));
        let last = match self.last.take() {
            Some(last) => Some(*last),
            None => match ready!(Pin::new(&mut self.content).poll_frame(cx)) {
                Some(Ok(frame)) if content::is_over(&self.content) => Some(frame),
                Some(Ok(frame)) => {
                    self.begin();
                    return Poll::Ready(Some(Ok(frame)));
                }
                Some(Err(error)) => {
                    self.note(|record| record.broke("the connection to anthropic broke"));
                    return Poll::Ready(Some(Err(error)));
                }
                None => None,
            },
        };
        if written.is_pending() {
            self.last = last.map(Box::new);
            return Poll::Pending;
        }
        self.begin();
        self.note(Record::complete);
        Poll::Ready(last.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        let written = self.ledger.as_ref().is_none_or(|ledger| ledger.is_written());
        self.last.is_none() && self.content.is_end_stream() && written
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.content.size_hint();
        if let Some(held) = self.last.as_ref().and_then(|last| last.data_ref()) {
            let held = held.len() as u64;
            hint = SizeHint::with_exact(hint.lower() + held);
        }
        hint
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}
