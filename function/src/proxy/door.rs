//! Who is let in, and with what.
//!
//! Nothing of a request goes to an upstream before it has passed here: its target is well-formed,
//! its proxy key is somebody's where one is needed, and its body has come whole and within bounds.
//! Whoever has no good key reads one and the same answer, whatever is wrong with theirs.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::Response;
use http::request::Parts;
use http_body_util::BodyExt;

use super::body::{self, Body, Writes};
use super::exchange::Subject;
use super::{Proxy, accompanied, sentence};
use crate::access::Entry;
use crate::caller::Target;
use crate::clock;
use crate::failover::cooldown::{Fingerprint, KeyOwner, Known};
use crate::limits::Query;
use crate::reply::{ErrorKind, Failure};
use crate::telemetry::Record;

/// The largest request body, as at Anthropic (*Errors*, `request_too_large`).
const MOST_BODY_BYTES: usize = 32 << 20;
/// What is read past the limit, so that the client finds the answer instead of a reset.
const MOST_WASTED_BYTES: usize = 64 << 20;
/// A body of which nothing comes for so long is not going to come.
const BODY_IDLE: Duration = Duration::from_secs(30);
/// The largest body takes this long at half a megabit a second.
const BODY_WITHIN: Duration = Duration::from_secs(600);
/// A stranger's body is read, so that they find their answer, for this long.
const STRANGER_WITHIN: Duration = Duration::from_secs(10);
/// When to come back if the store cannot say whose a key is.
const KEY_AGAIN: Duration = Duration::from_secs(5);
/// Stands for the request's id where two answers must not differ in a byte.
const NOBODYS_ID: &str = "req_proxy_000000000000000000000000";

/// A request that may go on.
pub(super) struct Admitted {
    pub(super) head: Parts,
    pub(super) target: Target,
    pub(super) body: Bytes,
    /// A proxy key of which only the store knows whose it is, until it has been asked.
    pub(super) key: Option<Fingerprint>,
}

impl Proxy {
    /// Lets a request in as far as its head and its body decide, or says why not.
    pub(super) async fn admit<B>(&self, head: Parts, body: B) -> Result<Admitted, Failure>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let mut target = Target::parse(&head.method, &head.uri, &head.headers)
            .map_err(|refused| Failure::new(ErrorKind::InvalidRequest, sentence(&refused)))?;
        let mut key = None;
        match self.settings.access.entry(&target.key) {
            Entry::Granted(None) => {}
            Entry::Granted(owner) => target.user = owner,
            Entry::Ask(digest) => key = Some(digest),
            Entry::Denied => {
                let rest = collect(body, 0);
                let _too_large_or_late = tokio::time::timeout(STRANGER_WITHIN, rest).await;
                return Err(no_key());
            }
        }
        match (collect(body, MOST_BODY_BYTES).await, &key) {
            (Ok(body), _) => Ok(Admitted { head, target, body, key }),
            (Err(failure), None) => Err(failure),
            // Whoever has no good key reads the same as ever, whatever their body was.
            (Err(failure), Some(digest)) => Err(self.verdict(digest).await.unwrap_or(failure)),
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

/// Answers a request that was not let in.
pub(super) fn refuse(failure: Failure, record: Record) -> Response<Body> {
    record.asked("refused", None, None);
    let strange = failure.kind == ErrorKind::Authentication;
    let id = if strange { NOBODYS_ID } else { record.id() };
    let answer = failure.into_response(id);
    own(answer, record)
}

/// Sends a request away that comes when there are too many.
#[must_use]
pub fn busy(again: Duration) -> Response<Body> {
    let message = "The proxy is answering as many requests as it can. Try again soon.";
    let failure = Failure::new(ErrorKind::Unavailable, message);
    refuse(Failure { retry_after: Some(again), ..failure }, Record::begin())
}

/// An answer that no upstream has given.
pub(super) fn own(answer: Response<Bytes>, record: Record) -> Response<Body> {
    record.answered(answer.status(), None);
    answer.map(|bytes| accompanied(body::full(bytes), Writes::new(), record))
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

/// Reads a body whole, into one buffer of at most `most` bytes.
async fn collect<B>(body: B, most: usize) -> Result<Bytes, Failure>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
{
    let collected = tokio::time::timeout(BODY_WITHIN, collect_in_time(body, most)).await;
    collected.unwrap_or_else(|_| Err(too_slow()))
}

async fn collect_in_time<B>(mut body: B, most: usize) -> Result<Bytes, Failure>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
{
    let announced = body.size_hint().lower().try_into().unwrap_or(usize::MAX);
    let mut too_large = announced > most;
    let mut collected = BytesMut::with_capacity(announced.min(most));
    let mut wasted = 0;
    loop {
        let next = tokio::time::timeout(BODY_IDLE, body.frame()).await;
        let Some(frame) = next.map_err(|_| too_slow())? else { break };
        let broken = |_| {
            let message = "The request body broke off before its end.";
            Failure::new(ErrorKind::InvalidRequest, message)
        };
        let Ok(chunk) = frame.map_err(broken)?.into_data() else { continue };
        too_large = too_large || collected.len() + chunk.len() > most;
        if too_large {
            collected = BytesMut::new();
            wasted += chunk.len();
            if wasted > MOST_WASTED_BYTES {
                break;
            }
        } else {
            collected.extend_from_slice(&chunk);
        }
    }
    if too_large {
        let message = "The request body is larger than 32 MiB, which is the most that Anthropic \
                       takes. Start a new conversation, or attach smaller files.";
        return Err(Failure::new(ErrorKind::RequestTooLarge, message));
    }
    Ok(collected.freeze())
}

fn too_slow() -> Failure {
    let message = "The request body did not come in time: send it without pauses of 30 s, and \
                   within 10 minutes.";
    let failure = Failure::new(ErrorKind::InvalidRequest, message);
    Failure { retryable: true, ..failure }
}
