//! The one place where the core meets the edges: a request goes in, an answer comes out.
//!
//! Both front doors call [`Proxy::answer`] and nothing else. Only the two Messages calls are looked
//! into; everything else passes through as it is.

mod admit;
mod ask;
mod body;
mod budget;
mod cached_store;
mod content;
mod count;
mod direct;
mod early;
mod exchange;
mod fault;
mod intake;
mod labels;
mod ledger;
mod legs;
mod lessons;
mod metadata;
mod meter;
mod own;
mod refusals;
mod renewals;
mod subject;
mod tallies;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};

use self::admit::Admitted;
pub use self::admit::panicked;
use self::ask::Ask;
pub use self::body::Body;
use self::cached_store::CachedStore;
use self::content::Content;
use self::early::EarlyHead;
use self::ledger::{Ledger, Right};
use self::lessons::Lessons;
pub use self::own::{is_health, turned_away};
use self::refusals::Refusals;
use self::renewals::Renewals;
use self::tallies::Tallies;
use crate::caller::{self, Endpoint};
use crate::drill::is_asked;
use crate::failover::Upstream;
use crate::messages::Asked;
use crate::reply::{ErrorKind, Failure};
use crate::room::{BodyPermit, Permit};
use crate::settings::Settings;
use crate::store::Store;
use crate::telemetry::Record;
use crate::upstream::anthropic::Anthropic;
use crate::upstream::bedrock::Bedrock;

/// What can be made ahead must not delay the start for longer.
const WARM_UP_WITHIN: Duration = Duration::from_millis(500);

/// The proxy: settings, the two upstreams, and what is remembered.
#[derive(Debug)]
pub struct Proxy {
    settings: Settings,
    anthropic: Anthropic,
    bedrock: Bedrock,
    store: Arc<CachedStore>,
    renewals: Renewals,
    refusals: Refusals,
    lessons: Lessons,
    tallies: Tallies,
}

impl Proxy {
    /// Puts the parts together.
    #[must_use]
    pub fn new(settings: Settings, anthropic: Anthropic, bedrock: Bedrock, store: Store) -> Self {
        let store = Arc::new(CachedStore::new(store, settings.store_patience));
        let (renewals, refusals) = (Renewals::default(), Refusals::default());
        let lessons = Lessons::default();
        let tallies = Tallies::default();
        Self { settings, anthropic, bedrock, store, renewals, refusals, lessons, tallies }
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
            self.store.reach_store(WARM_UP_WITHIN)
        );
    }

    /// Opens the connections to a shared store that the first request would otherwise wait for.
    pub async fn reach_store(&self) {
        self.store.reach_store(WARM_UP_WITHIN).await;
    }

    /// Closes the connections to Anthropic that nobody has used for long.
    pub fn tidy(&self) {
        self.anthropic.tidy();
    }

    /// Sees to its end what answers have left whose readers are gone: their costs.
    pub async fn settle(&self) {
        self.store.settle().await;
    }

    /// Answers one request. There is always an answer; what goes wrong is in it. The permit, where
    /// there are permits, is held until the answer has gone.
    pub async fn answer<B>(
        self: Arc<Self>,
        request: Request<B>,
        permit: Option<Permit>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let held = permit.as_ref().map(Permit::hold);
        self.find_answer(request, held).await.map(|body| body.holding(permit))
    }

    async fn find_answer<B>(
        self: Arc<Self>,
        request: Request<B>,
        held: Option<BodyPermit>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let (mut head, body) = request.into_parts();
        if head.uri.path() == own::HEALTH {
            return own::healthz(head.uri.query());
        }
        caller::seal(&mut head.headers);
        if own::is_notice(&head) {
            return Box::pin(self.notice(&head, body, held)).await;
        }
        let record = head.extensions.get().cloned().unwrap_or_else(Record::begin);
        if is_asked(&head.method, head.uri.path()) {
            return Box::pin(self.drill(head, body, record)).await;
        }
        if let Some(told) = self.usage(&head) {
            return told;
        }
        let admitted = match self.admit(head, body, held).await {
            Ok(admitted) => admitted,
            Err(failure) => return self.refuse(failure, record),
        };
        match admitted.target.endpoint {
            Endpoint::Messages => self.messages(admitted, record).await,
            Endpoint::CountTokens => Box::pin(self.count_tokens(admitted, record)).await,
            Endpoint::Other => Box::pin(self.pass_through(admitted, record)).await,
        }
    }

    async fn messages(self: Arc<Self>, mut admitted: Admitted, record: Record) -> Response<Body> {
        let Some(asked) = Asked::read(&admitted.body) else {
            return Box::pin(self.pass_through(admitted, record)).await;
        };
        let subject = self.subject(&admitted.head.headers, &asked.model);
        let policy = self.policy(subject.as_ref());
        let wanted = subject.as_ref().filter(|_| policy.fallback);
        let session = admitted.session().filter(|_| policy.fallback);
        let asks = (wanted, session.as_ref());
        let known = match self.look_up(&mut admitted, asks).await {
            Ok(known) => known,
            Err(failure) => return self.refuse(failure, record),
        };
        let Admitted { head, target, body, .. } = admitted;
        let user = target.user.as_ref().map(|user| user.as_str());
        record.asked("messages", user, Some((&asked.model, asked.stream)));
        if !self.store.is_shared() {
            record.count_in(Arc::clone(self.tallies.all()));
        }
        if let Some(refusal) = self.recall(subject.as_ref()) {
            return self.own(refusal, record);
        }
        let headers = head.headers;
        let ask = Ask { target, headers, body, asked, policy, subject, session, record };
        let store = Arc::clone(&self.store);
        let ledger = Ledger::open(self, Right::ByProof, known);
        let (stream, early, record) = (ask.asked.stream, EarlyHead::default(), ask.record.clone());
        let mut drive: std::pin::Pin<Box<dyn Future<Output = _> + Send>> =
            Box::pin(exchanged(ask, ledger, early.clone()));
        if !stream {
            return drive.await;
        }
        tokio::select! {
            biased;
            answer = &mut drive => answer,
            upstream = early.due() => {
                record.begun_early(upstream);
                early::waiting(drive, upstream, record).map(|body| body.settled_in(store))
            }
        }
    }

    /// Hands a request to Anthropic, and the answer back, as they are.
    async fn pass_through(
        self: Arc<Self>,
        mut admitted: Admitted,
        record: Record,
    ) -> Response<Body> {
        let known = match self.look_up(&mut admitted, (None, None)).await {
            Ok(known) => known,
            Err(failure) => return self.refuse(failure, record),
        };
        if own::is_below(admitted.target.path_and_query.path()) {
            return Box::pin(self.tell(admitted, known, record)).await;
        }
        let Admitted { head, target, body, .. } = admitted;
        let user = target.user.as_ref().map(|user| user.as_str());
        record.asked("other", user, None);
        record.attempt(Upstream::Anthropic, None);
        let (sent, to) = (head.headers, &target.path_and_query);
        let answer = self.anthropic.send(head.method, to, sent, body).await;
        let answer = match answer {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                Response::from_parts(labels::anthropic_head(head), Content::AsItComes(body))
            }
            Err(fault) => {
                fault::warn_of(&fault);
                fault::failure_of(&fault).into_response(record.id()).map(content::full)
            }
        };
        record.answered(answer.status(), labels::upstream(answer.headers()));
        answer.map(|body| Body::new(body, Ledger::of_leftovers(&self), record))
    }
}

/// The answer to a request for a message, with what is still to be written.
async fn exchanged(ask: Ask, mut ledger: Box<Ledger>, early: EarlyHead) -> Response<Body> {
    let ended = exchange::drive(&ask, &mut ledger, &early, None).await;
    let nobody = || {
        let message = "Nobody could be asked. Try again soon.";
        let failure = Failure::new(ErrorKind::Unavailable, message);
        failure.into_response(ask.record.id()).map(content::full)
    };
    let answer = ended.answer.unwrap_or_else(nobody);
    exchange::reply(&ask, ledger, answer).await
}
