//! Who is let in, and with what.
//!
//! Nothing of a request goes to an upstream before it has passed here: its target is well-formed,
//! its proxy key is somebody's where one is needed, and its body has come whole and within bounds.
//! Whoever has no good key reads one and the same answer, whatever is wrong with theirs.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http::request::Parts;
use http::{Response, header};
use http_body::Frame;
use http_body_util::BodyExt;

use super::body::{Body, Writes};
use super::content;
use super::exchange::Subject;
use super::{Proxy, sentence};
use crate::access::Entry;
use crate::caller::{Target, upstream_headers};
use crate::clock;
use crate::failover::cooldown::{Fingerprint, KeyOwner, Known};
use crate::limits::Query;
use crate::reply::{ErrorKind, Failure};
use crate::room::{Full, Held, SMALL_BODY};
use crate::telemetry::Record;

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
/// A body that is whole within this time has come at once.
const AT_ONCE: Duration = Duration::from_millis(100);
/// A body that is refused is read, so that its client finds the answer, for this long.
const WASTE_WITHIN: Duration = Duration::from_secs(10);
/// Or until nothing has come of it for this long.
const WASTE_IDLE: Duration = Duration::from_secs(1);
/// When to come back if there is no room.
const BUSY_FOR: Duration = Duration::from_secs(1);
/// When to come back if the store cannot say whose a key is.
const KEY_AGAIN: Duration = Duration::from_secs(5);
/// Stands for the request's id where two answers must not differ in a byte.
pub(super) const NOBODYS_ID: &str = "req_proxy_000000000000000000000000";

/// A request that may go on.
pub(super) struct Admitted {
    /// With the headers that travel on.
    pub(super) head: Parts,
    pub(super) target: Target,
    pub(super) body: Bytes,
    /// A proxy key of which only the store knows whose it is, until it has been asked.
    pub(super) key: Option<Fingerprint>,
}

impl Proxy {
    /// Lets a request in as far as its head and its body decide, or says why not.
    pub(super) async fn admit<B>(
        &self,
        mut head: Parts,
        body: B,
        held: Option<Held>,
    ) -> Result<Admitted, Failure>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let mut target = Target::parse(&head.method, &head.uri, &head.headers)
            .map_err(|refused| Failure::new(ErrorKind::InvalidRequest, sentence(&refused)))?;
        let waits = head.headers.contains_key(header::EXPECT);
        let mut arriving = Arriving { body, waits, held, gate: None };
        let (key, collected) = match self.settings.access.entry(&target.key) {
            Entry::Granted(None) => (None, arriving.collect().await),
            Entry::Granted(owner) => {
                target.user = owner;
                (None, arriving.collect().await)
            }
            Entry::Ask(digest) => (Some(digest), self.collect_of(&digest, &mut arriving).await),
            Entry::Denied => (None, Err(no_key())),
        };
        head.headers = upstream_headers(head.headers, &target.call);
        match collected {
            Ok(body) => Ok(Admitted { head, target, body: arriving.kept(body), key }),
            Err(failure) => Err(arriving.turned_away(failure).await),
        }
    }

    /// Reads the body of somebody whose key only the store can judge.
    ///
    /// A body that comes at once is read first: then one read of the store brings the key together
    /// with all else. Beside one that is large, takes its time or waits for the go-ahead, the key
    /// is asked about; until then a body takes no room that others could use.
    async fn collect_of<B>(
        &self,
        digest: &Fingerprint,
        arriving: &mut Arriving<B>,
    ) -> Result<Bytes, Failure>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let gate = Arc::<Gate>::default();
        arriving.gate = arriving.held.is_some().then(|| Arc::clone(&gate));
        let waits = arriving.waits;
        let mut reading = pin!(arriving.collect());
        let at_once = poll_fn(|cx| match reading.as_mut().poll(cx) {
            Poll::Ready(read) => Poll::Ready(Some(read)),
            Poll::Pending if gate.is_reached() => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        // Whoever looks for a body gives the go-ahead for it.
        if !waits && let Ok(Some(read)) = tokio::time::timeout(AT_ONCE, at_once).await {
            let Err(failure) = read else { return read };
            // Whoever has no good key reads the same as ever, whatever their body was.
            return Err(self.verdict(digest).await.unwrap_or(failure));
        }
        let mut verdict = pin!(self.verdict(digest));
        tokio::select! {
            biased;
            verdict = &mut verdict => match verdict {
                None => {
                    gate.open();
                    reading.await
                }
                Some(failure) => Err(failure),
            },
            read = &mut reading, if !waits => {
                let against = verdict.await;
                against.map_or(read, Err)
            }
        }
    }

    /// What there is to say against a key, if anything.
    async fn verdict(&self, digest: &Fingerprint) -> Option<Failure> {
        let query = Query { subject: None, key: Some(digest) };
        match self.memory.look_up(&query, clock::now()).await.key {
            KeyOwner::User(_) => None,
            KeyOwner::Nobody => Some(no_key()),
            KeyOwner::Unread => Some(unread_key()),
        }
    }

    /// Asks the store, at most once, all that a request wants to know; settles whose its key is.
    pub(super) async fn look_up(
        &self,
        admitted: &mut Admitted,
        subject: Option<&Subject>,
    ) -> Result<Known, Failure> {
        let key = admitted.key.take();
        let subject = subject.map(|subject| (&subject.fingerprint, &subject.class));
        if key.is_none() && subject.is_none() {
            return Ok(Known::default());
        }
        let query = Query { subject, key: key.as_ref() };
        let known = self.memory.look_up(&query, clock::now()).await;
        match &known.key {
            KeyOwner::User(owner) if key.is_some() => admitted.target.user = owner.parse().ok(),
            KeyOwner::Nobody if key.is_some() => return Err(no_key()),
            KeyOwner::Unread if key.is_some() => return Err(unread_key()),
            KeyOwner::User(_) | KeyOwner::Nobody | KeyOwner::Unread => {}
        }
        Ok(known)
    }
}

/// What a request reads that was not let in.
pub(super) fn refusal(failure: Failure, record: &Record) -> Response<Bytes> {
    record.asked("refused", None, None);
    let strange = failure.kind == ErrorKind::Authentication;
    failure.into_response(if strange { NOBODYS_ID } else { record.id() })
}

/// Sends a request away for which there is no room.
#[must_use]
pub fn busy(full: Full) -> Response<Body> {
    let record = Record::begin();
    let answer = refusal(crowded(full), &record);
    record.answered(answer.status(), None);
    answer.map(|bytes| Body::new(content::full(bytes), Writes::default(), record))
}

fn no_key() -> Failure {
    let message = "This proxy needs a proxy key, and this request has none that is valid: send \
                   yours in the header x-claude-proxy-key, or use the base URL https://HOST/k/KEY. \
                   Whoever runs the proxy can give you one.";
    Failure::new(ErrorKind::Authentication, message)
}

fn unread_key() -> Failure {
    let message = "The proxy cannot check your proxy key at this moment. Try again soon.";
    let failure = Failure::new(ErrorKind::Unavailable, message);
    Failure { retry_after: Some(KEY_AGAIN), ..failure }
}

/// Lets a body come that nobody is interested in, so that its sender finds the answer.
pub(super) async fn turned_away<B>(head: &Parts, body: B, failure: Failure) -> Failure
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
{
    let waits = head.headers.contains_key(header::EXPECT);
    Arriving { body, waits, held: None, gate: None }.turned_away(failure).await
}

/// A body on its way.
struct Arriving<B> {
    body: B,
    /// Its client sends nothing of it before the go-ahead.
    waits: bool,
    /// The room that it takes, where there is one to be shared.
    held: Option<Held>,
    /// Where it waits for a verdict, if it has to.
    gate: Option<Arc<Gate>>,
}

/// Where a body stops that is more than a place has room for, until its key is known to be
/// somebody's. Whoever opens it polls the body next.
#[derive(Debug, Default)]
struct Gate {
    open: AtomicBool,
    reached: AtomicBool,
}

impl Gate {
    fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    fn is_reached(&self) -> bool {
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
    async fn collect(&mut self) -> Result<Bytes, Failure> {
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
    fn kept(self, body: Bytes) -> Bytes {
        match self.held {
            Some(held) if !held.is_empty() => Bytes::from_owner(Kept { body, _held: held }),
            _ => body,
        }
    }

    /// Lets the rest of the body come, for a while, so that its client finds the answer instead of
    /// a reset; where they wait for the go-ahead, nothing comes.
    async fn turned_away(mut self, failure: Failure) -> Failure {
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
struct Kept {
    body: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

fn too_large() -> Failure {
    let message = "The request body is larger than 32 MiB, which is the most that Anthropic takes. \
                   Start a new conversation, or attach smaller files.";
    Failure::new(ErrorKind::RequestTooLarge, message)
}

fn crowded(full: Full) -> Failure {
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
