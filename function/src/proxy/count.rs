//! `count_tokens`: Anthropic first, also while a limit is in force; then Bedrock where it can count
//! the model; else an honest 501. Never an estimate, and never a word about limits of messages.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::body::Body;
use super::content::{self, Content, upstream_value};
use super::door::Admitted;
use super::exchange::Subject;
use super::legs::{REFUSAL_WITHIN, request_headers};
use super::{MOST_ERROR_BYTES, Proxy, UPSTREAM, anthropic_head, unreachable_failure, warn_of};
use crate::clock;
use crate::failover::cooldown::{Known, Proof};
use crate::failover::hint;
use crate::failover::proof::{self, Standing};
use crate::failover::{Reason, Upstream};
use crate::limits::Query;
use crate::messages::Asked;
use crate::reply::{ErrorKind, Failure};
use crate::telemetry::Record;
use crate::translate::{request, response};
use crate::upstream::anthropic::Answer;
use crate::upstream::bedrock::Call;

impl Proxy {
    pub(super) async fn count_tokens(
        self: Arc<Self>,
        mut admitted: Admitted,
        record: Record,
    ) -> Response<Body> {
        if let Err(failure) = self.look_up(&mut admitted, None).await {
            return self.refuse(failure, record);
        }
        let Admitted { head, target, body, .. } = admitted;
        let asked = Asked::read(&body);
        let model = asked.as_ref().map(|asked| asked.model.as_str());
        let subject = model.and_then(|model| self.subject(&head.headers, model));
        let user = target.user.as_ref().map(|user| user.as_str());
        record.asked("count_tokens", user, model.map(|model| (model, false)));
        if let Some(refusal) = self.recall(subject.as_ref()) {
            return self.own(refusal, record);
        }
        record.attempt(Upstream::Anthropic, None);
        let (sent, to) = (head.headers.clone(), &target.path_and_query);
        let call = self.anthropic.send(head.method, to, sent, body.clone()).await;
        let (mut answer, reason) = match call {
            Ok(answer) => {
                let (head, body) = answer.into_parts();
                let reason = reason(head.status);
                let answer = Response::from_parts(anthropic_head(head), body);
                (self.passed_on(subject.as_ref(), answer, &record).await, reason)
            }
            Err(fault) => {
                warn_of(&fault);
                let failure = unreachable_failure(&fault);
                (failure.into_response(record.id()).map(content::full), Some(Reason::Unreachable))
            }
        };
        let mut upstream = Some(Upstream::Anthropic);
        if let Some(reason) = reason.filter(|_| self.settings.fallback) {
            let counted = match &subject {
                Some(subject) => {
                    let refusal = (answer.status(), answer.headers().clone());
                    self.count(subject, &head.headers, refusal, &body).await
                }
                None => None,
            };
            upstream = counted.as_ref().map(|_| Upstream::Bedrock);
            if counted.is_some() {
                record.attempt(Upstream::Bedrock, Some(reason));
            }
            answer = counted.map_or_else(
                || cannot_count(&record),
                |counted| counted_answer(&counted, reason, record.id()),
            );
        }
        record.answered(answer.status(), upstream);
        answer.map(|body| Body::new(body, self.late(), record))
    }

    /// Anthropic's answer for the client. That it refuses the credential counts for messages too.
    async fn passed_on(
        &self,
        subject: Option<&Subject>,
        answer: Response<Answer>,
        record: &Record,
    ) -> Response<Content> {
        let is_refused = answer.status() == StatusCode::UNAUTHORIZED;
        let Some(subject) = subject.filter(|_| is_refused) else {
            return answer.map(Content::AsItComes);
        };
        if hint::has_request_id(answer.headers()) {
            self.renewals.forget(&subject.fingerprint);
            self.memory.refused(subject.fingerprint, clock::now());
        }
        let Some(manner) = subject.manner else { return answer.map(Content::AsItComes) };
        let (head, mut body) = answer.into_parts();
        let read = tokio::time::timeout(REFUSAL_WITHIN, body.read(MOST_ERROR_BYTES)).await;
        let Ok(Ok(read)) = read else {
            let message = "Anthropic's refusal broke off before it could be read.";
            let failure = Failure::new(ErrorKind::Authentication, message);
            return failure.into_response(record.id()).map(content::full);
        };
        if read.len() <= MOST_ERROR_BYTES {
            let refusal = Response::from_parts(head.clone(), read.clone());
            self.keep_refusal(manner, refusal);
        }
        Response::from_parts(head, content::resumed(read, body))
    }

    /// Counts with Bedrock; `None` where it has no such model, or may not be asked.
    async fn count(
        &self,
        subject: &Subject,
        headers: &HeaderMap,
        (status, refusal): (StatusCode, HeaderMap),
        body: &Bytes,
    ) -> Option<Counted<'_>> {
        let model = subject.model.as_ref()?;
        let model_id = model.count_tokens_id()?.to_owned();
        let now = clock::now();
        let limited = status == StatusCode::TOO_MANY_REQUESTS;
        let carried = proof::carried_by(status, &refusal, limited, now);
        if !self.may_count(subject, headers, carried).await {
            return None;
        }
        let body = request::to_count(body, &request_headers(headers), model).ok()?;
        for region in 0..self.bedrock.region_count() {
            let call = Call { model_id: model_id.clone(), body: body.clone() };
            match self.bedrock.count(region, call).await {
                Ok(tokens) => {
                    let region = self.bedrock.region(region).unwrap_or_default();
                    return Some(Counted { tokens, model_id, region });
                }
                Err(failure) => {
                    tracing::warn!("bedrock cannot count: {}", failure.message());
                    if failure.is_refusal() {
                        return None;
                    }
                }
            }
        }
        None
    }

    async fn may_count(
        &self,
        subject: &Subject,
        headers: &HeaderMap,
        carried: Option<Proof>,
    ) -> bool {
        let (fingerprint, max_age) = (subject.fingerprint, self.settings.proof_max_age);
        let mut known = Known { proof: carried, ..Known::default() };
        if self.standing(&known) == Standing::Unknown {
            let query = Query { subject: Some((&fingerprint, &subject.class)), key: None };
            let stored = self.memory.look_up(&query, clock::now()).await;
            let joined = known.proof.map(|proof| proof::joined(&stored, proof));
            known = Known { proof: joined.or(stored.proof), ..stored };
        }
        let standing = self.standing(&known);
        match standing {
            Standing::Proven => return true,
            Standing::Foreign => return false,
            Standing::Stale { .. } | Standing::Unknown => {}
        }
        let from = (&self.anthropic, headers);
        let checked = self.renewals.renew(fingerprint, standing, max_age, from).await;
        if let Some(proof) = checked.proof {
            let proof = proof::joined(&known, proof);
            known.proof = Some(proof.clone());
            if self.standing(&known) != Standing::Foreign {
                // Beside the answer, which does not wait for it.
                self.memory.leave(self.memory.remember_proof(fingerprint, proof));
            }
        }
        self.standing(&known).stands_after(checked.renewal)
    }
}

/// Why Bedrock is asked instead; `None` where Anthropic's answer stands.
fn reason(status: StatusCode) -> Option<Reason> {
    match status.as_u16() {
        429 => Some(Reason::RateLimited),
        529 => Some(Reason::Overloaded),
        500.. => Some(Reason::ServerError),
        _ => None,
    }
}

/// A count of Bedrock's, and who has counted.
struct Counted<'a> {
    tokens: u64,
    model_id: String,
    region: &'a str,
}

fn counted_answer(counted: &Counted<'_>, reason: Reason, id: &str) -> Response<Content> {
    let mut answer = Response::new(content::full(response::count(counted.tokens)));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(&UPSTREAM, upstream_value(Upstream::Bedrock));
    for (name, value) in [
        ("x-claude-proxy-reason", reason.to_string().as_str()),
        ("x-claude-proxy-bedrock-model", &counted.model_id),
        ("x-claude-proxy-region", counted.region),
        ("request-id", id),
    ] {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    answer
}

fn cannot_count(record: &Record) -> Response<Content> {
    let message = "Tokens cannot be counted now: Anthropic does not answer, and Bedrock cannot \
                   count this model. The client may estimate.";
    Failure::new(ErrorKind::NotSupported, message).into_response(record.id()).map(content::full)
}
