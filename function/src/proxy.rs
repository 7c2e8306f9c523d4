//! The one place where the core meets the edges: a request goes in, an answer comes out.
//!
//! Both front doors call [`Proxy::answer`] and nothing else. Only the two Messages calls are looked
//! into; everything else passes through as it is.

mod body;
mod content;
mod count;
mod credential;
mod door;
mod drill;
mod exchange;
mod legs;
mod lessons;
mod memory;
mod meter;
mod refusals;

use std::sync::Arc;
use std::time::Duration;

use async_stream::stream;
use bytes::Bytes;
use futures_util::StreamExt;
use http::response;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use http_body::Frame;

pub use self::body::Body;
use self::body::Writes;
use self::content::{Content, upstream_value};
use self::credential::Renewals;
use self::door::Admitted;
pub use self::door::busy;
use self::exchange::{Early, Exchange, Subject};
use self::lessons::Lessons;
use self::memory::Memory;
use self::refusals::{Manner, Refusals};
use crate::caller::{self, Call};
use crate::drill::is_asked;
use crate::failover::cooldown::{Fingerprint, ModelClass};
use crate::failover::{Policy, Upstream};
use crate::limits::Store;
use crate::messages::Asked;
use crate::reply::{ErrorKind, Failure};
use crate::room::{Held, Place};
use crate::settings::Settings;
use crate::telemetry::Record;
use crate::translate::model::Model;
use crate::upstream::Fault;
use crate::upstream::anthropic::Anthropic;
use crate::upstream::bedrock::Bedrock;

/// What is read of a refusal, to judge it; a longer one is passed on unjudged.
const MOST_ERROR_BYTES: usize = 1 << 20;
/// Says who answered.
static UPSTREAM: HeaderName = HeaderName::from_static("x-claude-proxy-upstream");
/// Where to ask whether the proxy is up.
const HEALTH: &str = "/healthz";
/// What can be made ahead must not delay the start for longer.
const WARM_UP_WITHIN: Duration = Duration::from_millis(500);

/// The proxy: settings, the two upstreams, and what is remembered.
#[derive(Debug)]
pub struct Proxy {
    settings: Settings,
    anthropic: Anthropic,
    bedrock: Bedrock,
    memory: Arc<Memory>,
    renewals: Renewals,
    refusals: Refusals,
    lessons: Lessons,
}

impl Proxy {
    /// Puts the parts together.
    #[must_use]
    pub fn new(settings: Settings, anthropic: Anthropic, bedrock: Bedrock, store: Store) -> Self {
        let memory = Arc::new(Memory::new(store));
        let (renewals, refusals) = (Renewals::default(), Refusals::default());
        let lessons = Lessons::default();
        Self { settings, anthropic, bedrock, memory, renewals, refusals, lessons }
    }

    /// What the operator decided.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The way to Bedrock, for what is said at the start.
    #[must_use]
    pub const fn bedrock(&self) -> &Bedrock {
        &self.bedrock
    }

    /// Makes ahead the connections that the first request will need, and looks for credentials. May
    /// fail, and takes 500 ms at most.
    pub async fn warm_up(&self) {
        let credentials = tokio::time::timeout(WARM_UP_WITHIN, self.bedrock.find_credentials());
        let ((), _late, ()) = tokio::join!(
            self.anthropic.connect_ahead(WARM_UP_WITHIN),
            credentials,
            self.memory.reach_store(WARM_UP_WITHIN)
        );
    }

    /// Opens the connections to a shared store that the first request would otherwise wait for.
    pub async fn reach_store(&self) {
        self.memory.reach_store(WARM_UP_WITHIN).await;
    }

    /// Closes the connections to Anthropic that nobody has used for long.
    pub fn tidy(&self) {
        self.anthropic.tidy();
    }

    /// What the store has yet to say to a request that went on without it.
    fn late(&self) -> Writes {
        let mut writes = Writes::default();
        writes.extend(self.memory.take_late());
        writes
    }

    /// Answers a request that was not let in.
    fn refuse(&self, failure: Failure, record: Record) -> Response<Body> {
        let answer = door::refusal(failure, &record);
        self.own(answer, record)
    }

    /// An answer that no upstream has given.
    fn own(&self, answer: Response<Bytes>, record: Record) -> Response<Body> {
        record.answered(answer.status(), None);
        answer.map(|bytes| Body::new(content::full(bytes), self.late(), record))
    }

    /// Answers one request. There is always an answer; what goes wrong is in it. The place, where
    /// there are places, is held until the answer has gone.
    pub async fn answer<B>(
        self: Arc<Self>,
        request: Request<B>,
        place: Option<Place>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let held = place.as_ref().map(Place::hold);
        self.find_answer(request, held).await.map(|body| body.holding(place))
    }

    async fn find_answer<B>(
        self: Arc<Self>,
        request: Request<B>,
        held: Option<Held>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let (mut head, body) = request.into_parts();
        if head.uri.path() == HEALTH {
            return healthz(head.uri.query());
        }
        caller::seal(&mut head.headers);
        let record = head.extensions.get().cloned().unwrap_or_else(Record::begin);
        if is_asked(&head.method, head.uri.path()) {
            return Box::pin(self.drill(head, body, record)).await;
        }
        let admitted = match self.admit(head, body, held).await {
            Ok(admitted) => admitted,
            Err(failure) => return self.refuse(failure, record),
        };
        match admitted.target.call {
            Call::Messages => self.messages(admitted, record).await,
            Call::CountTokens => Box::pin(self.count_tokens(admitted, record)).await,
            Call::Other => Box::pin(self.pass_through(admitted, record)).await,
        }
    }

    async fn messages(self: Arc<Self>, mut admitted: Admitted, record: Record) -> Response<Body> {
        let Some(asked) = Asked::read(&admitted.body) else {
            return Box::pin(self.pass_through(admitted, record)).await;
        };
        let subject = self.subject(&admitted.head.headers, &asked.model);
        let policy = self.policy(subject.as_ref());
        let wanted = subject.as_ref().filter(|_| policy.fallback);
        let known = match self.look_up(&mut admitted, wanted).await {
            Ok(known) => known,
            Err(failure) => return self.refuse(failure, record),
        };
        let Admitted { head, target, body, .. } = admitted;
        let user = target.user.as_ref().map(|user| user.as_str());
        record.asked("messages", user, Some((&asked.model, asked.stream)));
        if let Some(refusal) = self.recall(subject.as_ref()) {
            return self.own(refusal, record);
        }
        let late = self.late();
        let early = Early::default();
        let stream = asked.stream;
        let exchange = Exchange {
            proxy: self,
            target,
            headers: head.headers,
            body,
            asked,
            policy,
            subject,
            until: known.cooldown().filter(|_| policy.tracking).map(|cooldown| cooldown.until),
            known,
            record: record.clone(),
            writes: late,
            early: early.clone(),
            mends: None,
            marked: false,
            mended: 0,
            is_drill: false,
            unserved: None,
        };
        let mut drive: std::pin::Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(exchange.drive());
        if !stream {
            return drive.await;
        }
        tokio::select! {
            biased;
            answer = &mut drive => answer,
            upstream = early.due() => {
                record.begun_early(upstream);
                content::waiting(drive, upstream, record)
            }
        }
    }

    /// Hands a request to Anthropic, and the answer back, as they are.
    async fn pass_through(
        self: Arc<Self>,
        mut admitted: Admitted,
        record: Record,
    ) -> Response<Body> {
        if let Err(failure) = self.look_up(&mut admitted, None).await {
            return self.refuse(failure, record);
        }
        let Admitted { head, target, body, .. } = admitted;
        if target.path_and_query.path().starts_with("/_proxy/") {
            return self.refuse(nothing_here(), record);
        }
        let user = target.user.as_ref().map(|user| user.as_str());
        record.asked("other", user, None);
        record.attempt(Upstream::Anthropic, None);
        let (sent, to) = (head.headers, &target.path_and_query);
        let answer = self.anthropic.send(head.method, to, sent, body).await;
        let (answer, upstream) = match answer {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                let answer = Response::from_parts(anthropic_head(head), Content::AsItComes(body));
                (answer, Some(Upstream::Anthropic))
            }
            Err(fault) => {
                warn_of(&fault);
                let failure = unreachable_failure(&fault);
                (failure.into_response(record.id()).map(content::full), None)
            }
        };
        record.answered(answer.status(), upstream);
        answer.map(|body| Body::new(body, self.late(), record))
    }

    /// Whose request it is; `None` where no limit of theirs could be told from another's.
    fn subject(&self, sent: &HeaderMap, model: &str) -> Option<Subject> {
        self.subject_of(caller::fingerprint(sent)?, sent, model)
    }

    /// The same for whoever has this fingerprint and goes on with these headers.
    fn subject_of(
        &self,
        fingerprint: Fingerprint,
        sent: &HeaderMap,
        model: &str,
    ) -> Option<Subject> {
        let class = ModelClass::of(model)?;
        // What is invoked says what it accepts, unless the operator's id hides what it is.
        let mapped = Model::mapped(&self.settings.model_map, model);
        let by_any_letters = || Model::resolve(&model.to_ascii_lowercase());
        let model = mapped
            .and_then(Model::resolve)
            .or_else(|| Model::resolve(model))
            .or_else(|| mapped.and_then(|_| by_any_letters()));
        let manner = self.keeps_refusals().then(|| Manner::of(fingerprint, sent));
        Some(Subject { fingerprint, manner, class, model })
    }

    fn policy(&self, subject: Option<&Subject>) -> Policy {
        let settings = &self.settings;
        Policy {
            tracking: settings.tracking,
            fallback: settings.fallback && subject.is_some_and(|s| s.model.is_some()),
            fallback_on: settings.fallback_on,
            retry_threshold: settings.retry_threshold,
            max_retry_wait: settings.max_retry_wait,
            regions: self.bedrock.region_count(),
        }
    }
}

/// Whether somebody asks only if the proxy is up, which takes no room.
#[must_use]
pub fn is_health<B>(request: &Request<B>) -> bool {
    request.uri().path() == HEALTH
}

/// Below `/_proxy/` there is nothing for whoever asks.
fn nothing_here() -> Failure {
    let message = "The proxy has no such endpoint of its own; /healthz is one.";
    Failure::new(ErrorKind::NotFound, message)
}

/// The head of an answer of Anthropic, for the client.
fn anthropic_head(mut head: response::Parts) -> response::Parts {
    head.headers = caller::client_headers(head.headers);
    head.headers.insert(&UPSTREAM, upstream_value(Upstream::Anthropic));
    head.version = http::Version::HTTP_11;
    head
}

fn warn_of(fault: &Fault) {
    let cause = std::error::Error::source(fault).map(innermost);
    tracing::warn!(cause, "anthropic did not answer: {fault}");
}

/// The last cause of an error, which is the one that tells.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

fn unreachable_failure(fault: &Fault) -> Failure {
    let kind = match fault {
        Fault::TimedOut { .. } => ErrorKind::Timeout,
        Fault::NoAnswer { .. } => ErrorKind::BadGateway,
        Fault::NoConnection { .. } | Fault::Broken { .. } => ErrorKind::Unavailable,
    };
    Failure::new(kind, format!("Anthropic did not answer: {fault}. Try again soon."))
}

/// A cause as a sentence for a person.
fn sentence(cause: &impl std::fmt::Display) -> String {
    let cause = cause.to_string();
    let mut letters = cause.chars();
    let first = letters.next().map(|letter| letter.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

/// Says that the proxy is up; with `?stream=1` in two chunks, so that streaming can be proved.
fn healthz(query: Option<&str>) -> Response<Body> {
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    let in_two = query.is_some_and(|query| query.split('&').any(|pair| pair == "stream=1"));
    let body = if in_two {
        let halves = stream! {
            yield Bytes::from_static(b"ok");
            tokio::time::sleep(Duration::from_millis(300)).await;
            yield Bytes::from_static(b"\n");
        };
        Body::made(halves.map(|half| Ok(Frame::data(half))))
    } else {
        Body::from(Bytes::from_static(b"ok\n"))
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}
