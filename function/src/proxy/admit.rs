//! Who is let in, and with what.
//!
//! Nothing of a request goes to an upstream before it has passed here: its target is well-formed,
//! its proxy key is somebody's where one is needed, and its body has come whole and within bounds.
//! Whoever has no good key reads one and the same answer, whatever is wrong with theirs.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Response, header};

use super::Proxy;
use super::body::Body;
use super::content;
use super::direct::is_direct;
use super::intake::{Arriving, Gate, crowded};
use super::ledger::Ledger;
use super::subject::Subject;
use crate::access::AccessDecision;
use crate::caller::{Endpoint, Target, upstream_headers};
use crate::clock;
use crate::failover::identity::Fingerprint;
use crate::failover::known::{KeyOwner, Known};
use crate::reply::{ErrorKind, Failure};
use crate::room::{BodyPermit, Full};
use crate::session;
use crate::store::Query;
use crate::telemetry::Record;
use crate::wire::names;

/// A body that is whole within this time has come at once.
const AT_ONCE: Duration = Duration::from_millis(100);
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
    /// It was sent to a name of this machine, with nobody in between who says so.
    pub(super) is_direct: bool,
}

impl Admitted {
    /// The conversation that the request belongs to, by its digest.
    pub(super) fn session(&self) -> Option<Fingerprint> {
        session::digest(self.head.headers.get(&names::SESSION_ID)?.as_bytes())
    }
}

impl Proxy {
    /// Lets a request in as far as its head and its body decide, or says why not.
    pub(super) async fn admit<B>(
        &self,
        mut head: Parts,
        body: B,
        held: Option<BodyPermit>,
    ) -> Result<Admitted, Failure>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let mut target = Target::parse(&head.method, &head.uri, &head.headers)
            .map_err(|refused| Failure::new(ErrorKind::InvalidRequest, sentence(&refused)))?;
        let waits = head.headers.contains_key(header::EXPECT);
        let mut arriving = Arriving { body, waits, held, gate: None };
        let (key, collected) = match self.settings.access.decide(&target.key) {
            AccessDecision::Granted(None) => (None, arriving.collect().await),
            AccessDecision::Granted(owner) => {
                target.user = owner;
                (None, arriving.collect().await)
            }
            AccessDecision::Ask(digest) => {
                (Some(digest), self.collect_of(&digest, &mut arriving).await)
            }
            AccessDecision::Denied => (None, Err(no_key())),
        };
        // Only the proxy's own paths are answered otherwise then.
        let is_direct = target.endpoint == Endpoint::Other && is_direct(&head.headers);
        head.headers = upstream_headers(head.headers, &target.endpoint);
        match collected {
            Ok(body) => Ok(Admitted { head, target, body: arriving.kept(body), key, is_direct }),
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
        let query = Query { key: Some(digest), ..Query::default() };
        match self.store.look_up(&query, clock::now()).await.key {
            KeyOwner::User(_) => None,
            KeyOwner::Nobody => Some(no_key()),
            KeyOwner::Unread => Some(unread_key()),
        }
    }

    /// Asks the store, at most once, all that a request wants to know; settles whose its key is.
    pub(super) async fn look_up(
        &self,
        admitted: &mut Admitted,
        (subject, session): (Option<&Subject>, Option<&Fingerprint>),
    ) -> Result<Known, Failure> {
        let key = admitted.key.take();
        let subject = subject.map(|subject| (&subject.fingerprint, &subject.class));
        if key.is_none() && subject.is_none() {
            return Ok(Known::default());
        }
        let query = Query { subject, key: key.as_ref(), session };
        let known = self.store.look_up(&query, clock::now()).await;
        match &known.key {
            KeyOwner::User(owner) if key.is_some() => {
                admitted.target.user = owner.name.parse().ok();
            }
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
pub(super) fn busy(full: Full) -> Response<Body> {
    let record = Record::begin();
    let answer = refusal(crowded(full), &record);
    record.answered(answer.status(), None);
    answer.map(|bytes| Body::new(content::full(bytes), None, record))
}

/// Answers a request that the proxy could not answer for a fault of its own.
#[must_use]
pub fn panicked() -> Response<Body> {
    let record = Record::begin();
    let message = "The proxy met an error of its own; its log says more.";
    let answer = Failure::new(ErrorKind::Api, message).into_response(record.id());
    answer.map(|bytes| Body::new(content::full(bytes), None, record))
}

impl Proxy {
    /// Answers a request that was not let in.
    pub(super) fn refuse(self: &Arc<Self>, failure: Failure, record: Record) -> Response<Body> {
        let answer = refusal(failure, &record);
        self.own(answer, record)
    }

    /// An answer that no upstream has given.
    pub(super) fn own(self: &Arc<Self>, answer: Response<Bytes>, record: Record) -> Response<Body> {
        record.answered(answer.status(), None);
        answer.map(|bytes| Body::new(content::full(bytes), Ledger::of_leftovers(self), record))
    }
}

/// A cause as a sentence for a person.
fn sentence(cause: &impl std::fmt::Display) -> String {
    let cause = cause.to_string();
    let mut letters = cause.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

pub(super) fn no_key() -> Failure {
    let message = "This proxy needs a proxy key, and this request has none that is valid: send \
                   yours in the header x-claude-proxy-key, or use the base URL https://HOST/k/KEY. \
                   Whoever runs the proxy can give you one.";
    Failure::new(ErrorKind::Authentication, message)
}

pub(super) fn unread_key() -> Failure {
    let message = "The proxy cannot check your proxy key at this moment. Try again soon.";
    let failure = Failure::new(ErrorKind::Unavailable, message);
    Failure { retry_after: Some(KEY_AGAIN), ..failure }
}
