//! The two legs of an [`Exchange`]: what an upstream does becomes an [`Outcome`].
//!
//! Each leg reads as far as the commit point and no further. What it has held back by then is
//! bounded, and goes to the client only with an answer that counts.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderValue, Response, StatusCode, header};

use super::content::{self, Content, Wrong};
use super::exchange::{Brought, Exchange};
use super::meter::Metered;
use super::{MOST_ERROR_BYTES, anthropic_head};
use crate::clock;
use crate::failover::hint;
use crate::failover::{Outcome, Reason, Upstream, proof};
use crate::messages::{ApiError, Opening};
use crate::money::Tariff;
use crate::reply::{ErrorKind, Failure};
use crate::translate::error::BedrockFailure;
use crate::translate::mend::MOST_MENDS;
use crate::translate::model::Model;
use crate::translate::request::{Headers, Request};
use crate::translate::response;
use crate::translate::stream::{Event, Stream as Translation};
use crate::upstream::Fault;
use crate::upstream::anthropic::Answer;
use crate::upstream::bedrock::{Call, Events};
use crate::wire::names;
use crate::wire::sse::{self, Splitter};

/// A refusal is short; a body that takes longer is not going to come.
pub(super) const REFUSAL_WITHIN: Duration = Duration::from_secs(10);

/// Translating a larger body would keep others waiting for a millisecond: it goes to a thread of
/// its own.
const LARGE_BODY: usize = 256 << 10;

/// Events are held back up to this size; more commits.
const MOST_HELD: usize = 1 << 20;

/// How a stream of Anthropic ends that never came to its first content.
const BROKE_EARLY: &str = "The connection to Anthropic broke before the answer began.";
const FELL_SILENT: &str = "Anthropic began an answer, and then sent nothing of it for too long.";

impl Exchange {
    /// Sends the request to Anthropic, as it came.
    pub(super) async fn ask_anthropic(&mut self) -> Brought {
        self.record.attempt(Upstream::Anthropic, None);
        self.early.forget();
        let answered = {
            let (proxy, headers) = (Arc::clone(&self.proxy), self.headers.clone());
            let (target, body) = (self.target.path_and_query.clone(), self.body.clone());
            let call = pin!(proxy.anthropic.send(http::Method::POST, &target, headers, body));
            self.beside(call).await
        };
        let (head, answer) = match answered {
            Ok(answer) => answer.into_parts(),
            Err(fault) => {
                super::warn_of(&fault);
                return self.unanswered(&fault);
            }
        };
        let head = anthropic_head(head);
        if head.status.is_success() {
            self.accepted(head, answer).await
        } else {
            self.refused(head, answer).await
        }
    }

    /// Nothing that could be passed on: a head that is none of an answer is the server's error.
    fn unanswered(&self, fault: &Fault) -> Brought {
        match fault {
            Fault::NoAnswer { .. } => {
                let failure = super::unreachable_failure(fault);
                let answer = failure.into_response(self.record.id());
                (Outcome::ServerError, Some(answer.map(content::full)))
            }
            Fault::NoConnection { .. } | Fault::Broken { .. } | Fault::TimedOut { .. } => {
                (Outcome::Unreachable, None)
            }
        }
    }

    async fn accepted(&mut self, head: Parts, answer: Answer) -> Brought {
        if let Some(proof) = proof::carried_by(head.status, &head.headers, false, clock::now()) {
            self.forget_limits();
            self.prove(proof);
        }
        let plain = !head.headers.contains_key(header::CONTENT_ENCODING);
        let events = head.headers.get(header::CONTENT_TYPE).is_some_and(is_event_stream);
        if !(plain && events) {
            let body = Content::AsItComes(answer);
            return (Outcome::Answered, Some(Response::from_parts(head, body)));
        }
        if self.policy.may_fall_back(Reason::Overloaded)
            || self.policy.may_fall_back(Reason::ServerError)
        {
            return self.hold_anthropic(head, answer).await;
        }
        let body = content::anthropic(Bytes::new(), answer, self.record.clone());
        (Outcome::Answered, Some(Response::from_parts(streamed(head), body)))
    }

    /// Reads Anthropic's stream up to its first content.
    async fn hold_anthropic(&mut self, head: Parts, mut answer: Answer) -> Brought {
        self.head_soon(Upstream::Anthropic);
        let patience = self.proxy.anthropic.patience().first_content;
        let mut held = BytesMut::new();
        let opening = tokio::time::timeout(patience, read_opening(&mut answer, &mut held));
        let opened = self.beside(pin!(opening)).await;
        let error = match opened {
            Ok(Ok(None)) => {
                let body = content::anthropic(held.freeze(), answer, self.record.clone());
                return (Outcome::Answered, Some(Response::from_parts(streamed(head), body)));
            }
            Ok(Ok(Some(error))) => error,
            Ok(Err(NotOpened)) => return self.cut(head, held, BROKE_EARLY),
            Err(_) => return self.cut(head, held, FELL_SILENT),
        };
        let outcome = hint::judge_event(&error, &head.headers);
        let answer = Response::from_parts(streamed(head), content::full(held.freeze()));
        (outcome, Some(wrong(answer, content::FAILED)))
    }

    /// Anthropic's stream failed before its first content: it ends as any broken stream does.
    fn cut(&self, head: Parts, mut held: BytesMut, message: &str) -> Brought {
        let event = Failure::new(ErrorKind::Api, message).into_event(self.record.id());
        held.extend_from_slice(&event);
        let answer = Response::from_parts(streamed(head), content::full(held.freeze()));
        (Outcome::ServerError, Some(wrong(answer, content::CUT)))
    }

    async fn refused(&mut self, head: Parts, mut answer: Answer) -> Brought {
        let refused = matches!(head.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if refused && hint::has_request_id(&head.headers) {
            self.revoke();
        }
        let stranger = self.subject.as_ref().filter(|_| head.status == StatusCode::UNAUTHORIZED);
        let kept = stranger.and_then(|subject| subject.manner);
        let judged = kept.is_some() || matches!(head.status.as_u16(), 429 | 500..=504 | 529);
        let Some(class) = self.subject.as_ref().map(|s| s.class.clone()).filter(|_| judged) else {
            let body = Content::AsItComes(answer);
            return (Outcome::Answered, Some(Response::from_parts(head, body)));
        };
        let reading = tokio::time::timeout(REFUSAL_WITHIN, answer.read(MOST_ERROR_BYTES));
        let reading = self.beside(pin!(reading)).await;
        let Ok(Ok(read)) = reading else { return self.broken_refusal(head) };
        if read.len() > MOST_ERROR_BYTES {
            let body = content::resumed(read, answer);
            return (Outcome::Answered, Some(Response::from_parts(head, body)));
        }
        if let Some(manner) = kept {
            let refusal = Response::from_parts(head.clone(), read.clone());
            self.proxy.keep_refusal(manner, refusal);
        }
        let now = clock::now();
        let outcome = hint::judge_failure(head.status, &head.headers, &read, &class, now);
        let limited = matches!(outcome, Outcome::Limited(_));
        let proof = proof::carried_by(head.status, &head.headers, limited, now);
        self.marked = proof.is_some();
        if let Some(proof) = proof {
            self.prove(proof);
        }
        (outcome, Some(Response::from_parts(head, content::full(read))))
    }

    /// A refusal whose body does not come: only its status is left to judge by.
    fn broken_refusal(&self, head: Parts) -> Brought {
        let (outcome, kind) = match head.status.as_u16() {
            401 => (Outcome::Answered, ErrorKind::Authentication),
            429 => (Outcome::Answered, ErrorKind::RateLimit),
            529 => (Outcome::Overloaded, ErrorKind::Overloaded),
            _ => (Outcome::ServerError, ErrorKind::Api),
        };
        let failure = Failure::new(kind, "Anthropic's refusal broke off before it could be read.");
        let (ours, body) = failure.into_response(self.record.id()).into_parts();
        let mut head = streamed(head);
        head.headers.extend(ours.headers);
        (outcome, Some(Response::from_parts(head, content::full(body))))
    }

    /// Asks Bedrock in one region, if this credential may spend the operator's money.
    pub(super) async fn ask_bedrock(&mut self, reason: Reason, region: usize) -> Brought {
        if !self.is_proven().await {
            return (Outcome::Unproven, None);
        }
        let proxy = Arc::clone(&self.proxy);
        let Some(name) = proxy.bedrock.region(region) else {
            return (Outcome::Untranslatable, None);
        };
        self.record.attempt(Upstream::Bedrock, Some(reason));
        self.read_lessons().await;
        let model_id = self.model_id(name);
        let mut next = self.translate(None).await;
        let answered = loop {
            let Some(body) = next else { return (Outcome::Untranslatable, None) };
            let call = Call { model_id: model_id.clone(), body };
            let tariff = self.tariff(&call, name);
            let answered = if self.asked.stream {
                self.stream_bedrock(region, call, tariff).await
            } else {
                self.message_bedrock(region, call, tariff).await
            };
            let refusal = answered.as_ref().err().filter(|failure| failure.is_refusal());
            let Some(refusal) = refusal else { break answered };
            next = self.mend(refusal.message()).await;
            if next.is_none() {
                break answered;
            }
        };
        match answered {
            Ok(mut response) => {
                self.learn();
                self.label(&mut response, reason, (&model_id, name));
                (Outcome::Answered, Some(response))
            }
            Err(failure) => self.unserved(failure, reason, (&model_id, name)),
        }
    }

    async fn message_bedrock(
        &mut self,
        region: usize,
        call: Call,
        tariff: Option<Tariff>,
    ) -> Result<Response<Content>, BedrockFailure> {
        let proxy = Arc::clone(&self.proxy);
        let answer = self.beside(pin!(proxy.bedrock.message(region, call))).await?;
        let (message, usage) =
            response::message(&answer, &self.asked.model).map_err(|_| content::broke_off())?;
        let mut response = Response::new(content::full(message));
        self.charge(usage, tariff.as_ref(), response.headers_mut());
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        Ok(response)
    }

    async fn stream_bedrock(
        &mut self,
        region: usize,
        call: Call,
        tariff: Option<Tariff>,
    ) -> Result<Response<Content>, BedrockFailure> {
        self.head_soon(Upstream::Bedrock);
        let proxy = Arc::clone(&self.proxy);
        let mut events = self.beside(pin!(proxy.bedrock.stream(region, call))).await?;
        let (translation, record) = (Translation::new(&self.asked.model), self.record.clone());
        let mut metered = Metered { translation, tariff, record };
        let opening = hold_bedrock(&mut events, &mut metered.translation);
        let opening = tokio::time::timeout(content::FIRST_EVENT_TIMEOUT, opening);
        let held = self.beside(pin!(opening)).await.map_err(|_| content::fell_silent())??;
        let body = content::bedrock(held, events, metered);
        Ok(content::event_stream(Upstream::Bedrock, body))
    }

    fn unserved(
        &mut self,
        failure: BedrockFailure,
        reason: Reason,
        served: (&str, &str),
    ) -> Brought {
        let (outcome, passes) = match &failure {
            BedrockFailure::Client { message } => {
                let failure = Failure::new(ErrorKind::InvalidRequest, message);
                let mut response = failure.into_response(self.record.id()).map(content::full);
                self.label(&mut response, reason, served);
                return (Outcome::Answered, Some(response));
            }
            // It is the request: no other region would take it.
            BedrockFailure::Refused { .. } => (Outcome::Untranslatable, false),
            BedrockFailure::Transient { .. } => (Outcome::Unserved { passes: true }, true),
            BedrockFailure::Permanent { .. } => (Outcome::Unserved { passes: false }, false),
        };
        self.record.bedrock_failed();
        let said = failure.message();
        self.unserved = Some(said.to_owned());
        tracing::warn!(region = served.1, model = served.0, passes, "bedrock cannot serve: {said}");
        (outcome, None)
    }

    /// Before a request is translated for the first time: others may know more about its model.
    async fn read_lessons(&mut self) {
        let proxy = Arc::clone(&self.proxy);
        let model = self.subject.as_ref().and_then(|subject| subject.model.clone());
        if let Some(model) = model.filter(|_| self.mends.is_none()) {
            let reading = pin!(proxy.lessons.read(&model, &proxy.memory, clock::now()));
            self.beside(reading).await;
        }
    }

    /// The body for Bedrock after all that has been learnt and mended; after a `refusal` the next
    /// one, if another one than before comes out.
    async fn translate(&mut self, refusal: Option<String>) -> Option<Vec<u8>> {
        let model = self.subject.as_ref()?.model.clone()?;
        let learnt = || self.proxy.lessons.mends(&model, clock::now());
        let mends = self.mends.get_or_insert_with(learnt).clone();
        let (body, headers) = (self.body.clone(), self.headers.clone());
        let large = body.len() > LARGE_BODY;
        // Whoever drops this request has no use for the rest of the work.
        let waiting = Arc::new(());
        let waited_for = Arc::downgrade(&waiting);
        let work = move || {
            let headers = request_headers(&headers);
            let watch = |_| waited_for.strong_count() > 0;
            let request = Request { body: &body, headers, model: &model, watch: &watch };
            match refusal {
                Some(refusal) => Ok(request.mended(&mends, &refusal)),
                None => request.to_bedrock(&mends).map(|body| Some((mends, body))),
            }
        };
        let translated = if large {
            self.beside(pin!(tokio::task::spawn_blocking(work))).await.ok()?
        } else {
            work()
        };
        drop(waiting);
        let note = |reason: &_| tracing::warn!("bedrock cannot serve this request: {reason}");
        let (mends, body) = translated.inspect_err(note).ok()??;
        self.mends = Some(mends);
        Some(body)
    }

    /// Mends what a refusal names; `None` where that changes nothing, so that the refusal stands.
    async fn mend(&mut self, refusal: &str) -> Option<Vec<u8>> {
        if self.mended >= MOST_MENDS {
            return None;
        }
        let mended = self.translate(Some(refusal.to_owned())).await;
        self.mended += usize::from(mended.is_some());
        mended
    }

    /// Bedrock has taken the request: what was mended is true of its model.
    fn learn(&mut self) {
        let model = self.subject.as_ref().and_then(|subject| subject.model.as_ref());
        if let (Some(model), Some(mends)) = (model, self.mends.as_ref().filter(|_| self.mended > 0))
        {
            let memory = &self.proxy.memory;
            let telling = self.proxy.lessons.learn(model, mends, memory, clock::now());
            self.writes.extend(telling);
        }
    }

    fn model_id(&self, region: &str) -> String {
        let settings = &self.proxy.settings;
        if let Some(mapped) = Model::mapped(&settings.model_map, &self.asked.model) {
            return mapped.to_owned();
        }
        let model = self.subject.as_ref().and_then(|subject| subject.model.as_ref());
        let id = model.map(|model| model.bedrock_id(region, settings.profile_prefix));
        id.unwrap_or_default()
    }
}

/// Anthropic's stream ended, or broke, before it came to anything.
struct NotOpened;

/// Reads Anthropic's stream into `held` up to its first content, or to the error that it is
/// instead. Of a piece that came with it, the rest is held as well.
async fn read_opening(
    answer: &mut Answer,
    held: &mut BytesMut,
) -> Result<Option<ApiError>, NotOpened> {
    let mut splitter = Splitter::default();
    loop {
        match splitter.next() {
            Some(block) => {
                let opening = Opening::of(sse::name(&block), &sse::data(&block));
                held.extend_from_slice(&block);
                match opening {
                    Opening::Held if held.len() <= MOST_HELD => {}
                    Opening::Held | Opening::Content => break,
                    Opening::Failed(error) => return Ok(Some(error)),
                }
            }
            None if splitter.is_overlong() => break,
            None => match answer.chunk().await {
                Some(Ok(chunk)) => splitter.push(chunk),
                Some(Err(_)) | None => return Err(NotOpened),
            },
        }
    }
    held.extend_from_slice(&splitter.rest());
    Ok(None)
}

/// Reads Bedrock's stream up to its first delta: it may still fail after a block has started.
async fn hold_bedrock(
    events: &mut Events,
    translation: &mut Translation,
) -> Result<Vec<Bytes>, BedrockFailure> {
    let mut held = Vec::new();
    let mut size = 0;
    let mut patience: Duration = content::FIRST_EVENT_TIMEOUT;
    loop {
        let next = tokio::time::timeout(patience, events.next()).await;
        let Some(chunk) = next.map_err(|_| content::fell_silent())?? else {
            return Err(content::broke_off());
        };
        patience = content::IDLE_TIMEOUT;
        match translation.event(&chunk).map_err(|_| content::broke_off())? {
            Event::Skip => {}
            Event::Failed(failure) => return Err(failure),
            Event::Opening(event) => {
                size += event.len();
                held.push(event);
                if size > MOST_HELD {
                    return Ok(held);
                }
            }
            Event::Content(event) => {
                held.push(event);
                return Ok(held);
            }
        }
    }
}

/// What of the client's headers goes into a body for Bedrock.
pub(super) fn request_headers(headers: &http::HeaderMap) -> Headers<'_> {
    let betas = headers.get_all(&names::BETA).iter().filter_map(|value| value.to_str().ok());
    let version = headers.get(&names::VERSION).and_then(|value| value.to_str().ok());
    Headers { betas: betas.collect(), version }
}

pub(super) fn is_event_stream(value: &HeaderValue) -> bool {
    let value = value.as_bytes();
    value.get(..17).is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"))
}

/// An answer with what is wrong with it.
fn wrong(mut answer: Response<Content>, fault: &'static str) -> Response<Content> {
    answer.extensions_mut().insert(Wrong(fault));
    answer
}

/// The head of a stream that the proxy may have to end itself.
fn streamed(mut head: Parts) -> Parts {
    head.headers.remove(header::CONTENT_LENGTH);
    head
}
