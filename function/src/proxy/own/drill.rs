//! Answers a drill, to whoever shows its nonce.
//!
//! The one exception to the rule that Bedrock is spent only on what Anthropic has accepted. It is
//! the operator who allows it, by an item in the table, for one request that the proxy itself has
//! written. To everybody else there is no such endpoint: whatever is wrong, the answer is the same
//! one that any path under `/_proxy/` gets, byte for byte.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Response};

use super::nothing_here;
use crate::access::Shown;
use crate::caller::{Endpoint, Target};
use crate::clock;
use crate::drill::{self, Drill, Nonce};
use crate::failover::known::Known;
use crate::messages::Asked;
use crate::proxy::Proxy;
use crate::proxy::admit::NOBODYS_ID;
use crate::proxy::ask::Ask;
use crate::proxy::body::Body;
use crate::proxy::content;
use crate::proxy::early::EarlyHead;
use crate::proxy::exchange;
use crate::proxy::intake;
use crate::proxy::ledger::{Ledger, Right};
use crate::reply::{ErrorKind, Failure};
use crate::telemetry::Record;
use crate::wire::names;

/// The version of the Messages API that the request of a drill is written in.
const VERSION: &str = "2023-06-01";
/// Whose the log says that a drill is.
const USER: &str = "drill";

impl Proxy {
    /// Answers the request of a drill, once.
    pub(in crate::proxy) async fn drill<B>(
        self: Arc<Self>,
        head: Parts,
        body: B,
        record: Record,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let Some((nonce, drill)) = self.taken(&head.headers).await else {
            record.asked("refused", None, None);
            let failure = intake::turned_away(&head, body, nothing_here()).await;
            return self.own(failure.into_response(NOBODYS_ID), record);
        };
        let body = Bytes::from(drill.request());
        let asked = Asked::read(&body);
        let mut headers = HeaderMap::new();
        headers.insert(&names::VERSION, HeaderValue::from_static(VERSION));
        let subject = self.subject_of(nonce.nobody(), &headers, &drill.model);
        let (Some(asked), Some(subject)) = (asked, subject) else {
            let failure = Failure::new(ErrorKind::NotSupported, "No model has this name.");
            record.asked("drill", Some(USER), None);
            let answer = failure.into_response(record.id());
            return self.own(answer, record);
        };
        record.asked("drill", Some(USER), Some((&asked.model, asked.stream)));
        let target = Target {
            user: USER.parse().ok(),
            key: Shown::Nothing,
            path_and_query: PathAndQuery::from_static("/v1/messages"),
            endpoint: Endpoint::Messages,
        };
        let policy = self.policy(Some(&subject));
        // Anthropic's part is played: what it says is known before it is asked.
        let said = drill::limited(&subject.class, policy.retry_threshold, clock::now());
        let (subject, session) = (Some(subject), None);
        let ask = Ask { target, headers, body, asked, policy, subject, session, record };
        let mut ledger = Ledger::open(self, Right::ByOperator, Known::default());
        let early = EarlyHead::default();
        let driving = Box::pin(exchange::drive(&ask, &mut ledger, &early, Some(said)));
        let ended = driving.await;
        let answer = ended.answer.unwrap_or_else(|| {
            let has_model = ask.subject.as_ref().is_some_and(|subject| subject.model.is_some());
            let failure = match ended.unserved {
                Some(said) => Failure::new(ErrorKind::Unavailable, format!("Bedrock said: {said}")),
                None => Failure::new(ErrorKind::Unavailable, ledger.proxy.idle(has_model)),
            };
            failure.into_response(ask.record.id()).map(content::full)
        });
        exchange::reply(&ask, ledger, answer).await
    }

    /// The drill that a request may have. Nothing is read for a text that is no nonce.
    async fn taken(&self, headers: &HeaderMap) -> Option<(Nonce, Drill)> {
        let nonce = Nonce::shown(headers).filter(|_| self.settings.drill)?;
        let drill = self.store.take_drill(&nonce.digest(), clock::now()).await?;
        Some((nonce, drill))
    }

    /// Why Bedrock was not even asked, as far as the settings say so.
    fn idle(&self, has_model: bool) -> &'static str {
        match &self.settings {
            settings if !settings.fallback => "BEDROCK_FALLBACK_ENABLED is false.",
            settings if !settings.fallback_on.rate_limit => "FALLBACK_ON lacks rate_limit.",
            _ if !has_model => "Bedrock has no such model.",
            _ if self.bedrock.region_count() == 0 => "No AWS region is known.",
            _ => "Bedrock cannot serve this request.",
        }
    }
}
