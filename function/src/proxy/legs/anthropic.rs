//! Asks Anthropic: the request goes out as it came, and the answer is judged as far as its first
//! content.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{Method, Response, StatusCode, header};

use super::MOST_HELD;
use crate::clock;
use crate::failover::{Reason, Said, Upstream, hint, proof};
use crate::messages::{ApiError, Opening};
use crate::proxy::ask::Ask;
use crate::proxy::content::{self, Content, ContentError, MOST_ERROR_BYTES};
use crate::proxy::early::EarlyHead;
use crate::proxy::fault;
use crate::proxy::labels::anthropic_head;
use crate::proxy::ledger::Ledger;
use crate::reply::{ErrorKind, Failure};
use crate::upstream::Fault;
use crate::upstream::anthropic::Answer;
use crate::wire::sse::{self, Splitter};

/// A refusal is short; a body that takes longer is not going to come.
const REFUSAL_WITHIN: Duration = Duration::from_secs(10);

/// How a stream of Anthropic ends that never came to its first content.
const BROKE_EARLY: &str = "The connection to Anthropic broke before the answer began.";
const FELL_SILENT: &str = "Anthropic began an answer, and then sent nothing of it for too long.";

/// What Anthropic has said, and what the client gets of it if that is the end.
type AnthropicOutcome = (Said, Option<Response<Content>>);

/// Sends the request to Anthropic and judges the answer.
pub(in crate::proxy) async fn ask(
    ask: &Ask,
    ledger: &mut Ledger,
    early: &EarlyHead,
) -> AnthropicOutcome {
    early.forget();
    let (head, answer) = match send(ask, ledger).await {
        Ok(answer) => answer.into_parts(),
        Err(fault) => return unanswered(ask, &fault),
    };
    if head.status.is_success() {
        accepted(ask, ledger, early, (head, answer)).await
    } else {
        let (said, answer) = refused(ask, ledger, head, answer).await;
        (said, Some(answer))
    }
}

/// Sends the request to Anthropic, as it came.
pub(in crate::proxy) async fn send(
    ask: &Ask,
    ledger: &mut Ledger,
) -> Result<Response<Answer>, Fault> {
    ask.record.attempt(Upstream::Anthropic, None);
    let (proxy, target) = (Arc::clone(&ledger.proxy), &ask.target.path_and_query);
    let (headers, body) = (ask.headers.clone(), ask.body.clone());
    let answered = {
        let call = pin!(proxy.anthropic.send(Method::POST, target, headers, body));
        ledger.beside(call).await
    };
    let answer = answered.inspect_err(fault::warn_of)?;
    let (head, body) = answer.into_parts();
    Ok(Response::from_parts(anthropic_head(head), body))
}

/// Nothing that could be passed on: a head that is none of an answer is the server's error.
fn unanswered(ask: &Ask, fault: &Fault) -> AnthropicOutcome {
    let answer = fault::failure_of(fault).into_response(ask.record.id()).map(content::full);
    let said = match fault {
        Fault::NoAnswer { .. } | Fault::HeadTooLarge { .. } => Said::ServerError,
        Fault::NoConnection { .. } | Fault::Broken { .. } | Fault::TimedOut { .. } => {
            Said::Unreachable
        }
    };
    (said, Some(answer))
}

async fn accepted(
    ask: &Ask,
    ledger: &mut Ledger,
    early: &EarlyHead,
    (head, answer): (Parts, Answer),
) -> AnthropicOutcome {
    if let Some(proof) = proof::carried_by(head.status, &head.headers, false, clock::now()) {
        ledger.over(ask);
        ledger.proven(ask, proof);
    }
    let plain = !head.headers.contains_key(header::CONTENT_ENCODING);
    if !(plain && content::is_event_stream(&head.headers)) {
        let body = Content::AsItComes(answer);
        return (Said::Answered, Some(Response::from_parts(head, body)));
    }
    if ask.policy.may_fall_back(Reason::Overloaded) || ask.policy.may_fall_back(Reason::ServerError)
    {
        early.soon(Upstream::Anthropic);
        return hold(ask, ledger, head, answer).await;
    }
    let body = content::anthropic(Bytes::new(), answer, ask.record.clone());
    (Said::Answered, Some(Response::from_parts(streamed(head), body)))
}

/// Reads Anthropic's stream up to its first content.
async fn hold(ask: &Ask, ledger: &mut Ledger, head: Parts, mut answer: Answer) -> AnthropicOutcome {
    let patience = ledger.proxy.anthropic.timeouts().first_content;
    let mut held = BytesMut::new();
    let opened = {
        let opening = tokio::time::timeout(patience, read_opening(&mut answer, &mut held));
        ledger.beside(pin!(opening)).await
    };
    let error = match opened {
        Ok(Ok(None)) => {
            let body = content::anthropic(held.freeze(), answer, ask.record.clone());
            return (Said::Answered, Some(Response::from_parts(streamed(head), body)));
        }
        Ok(Ok(Some(error))) => error,
        Ok(Err(NotOpened)) => return cut(ask, head, held, BROKE_EARLY),
        Err(_) => return cut(ask, head, held, FELL_SILENT),
    };
    let said = hint::judge_event(&error, &head.headers);
    let answer = Response::from_parts(streamed(head), content::full(held.freeze()));
    (said, Some(wrong(answer, content::FAILED)))
}

/// Anthropic's stream failed before its first content: it ends as any broken stream does.
fn cut(ask: &Ask, head: Parts, mut held: BytesMut, message: &str) -> AnthropicOutcome {
    let event = Failure::new(ErrorKind::Api, message).into_event(ask.record.id());
    held.extend_from_slice(&event);
    let answer = Response::from_parts(streamed(head), content::full(held.freeze()));
    (Said::ServerError, Some(wrong(answer, content::CUT)))
}

/// Judges an answer that is no success. What it teaches about the credential goes into the ledger.
pub(in crate::proxy) async fn refused(
    ask: &Ask,
    ledger: &mut Ledger,
    head: Parts,
    mut answer: Answer,
) -> (Said, Response<Content>) {
    let refused = matches!(head.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if refused && hint::has_request_id(&head.headers) {
        ledger.refused(ask);
    }
    let stranger = ask.subject.as_ref().filter(|_| head.status == StatusCode::UNAUTHORIZED);
    let kept = stranger.and_then(|subject| subject.presented);
    let judged = kept.is_some() || matches!(head.status.as_u16(), 429 | 500..=504 | 529);
    let Some(subject) = ask.subject.as_ref().filter(|_| judged) else {
        return (Said::Answered, Response::from_parts(head, Content::AsItComes(answer)));
    };
    let reading = {
        let reading = tokio::time::timeout(REFUSAL_WITHIN, answer.read(MOST_ERROR_BYTES));
        ledger.beside(pin!(reading)).await
    };
    let Ok(Ok(read)) = reading else { return broken_refusal(ask, head) };
    if read.len() > MOST_ERROR_BYTES {
        let body = content::resumed(read, answer);
        return (Said::Answered, Response::from_parts(head, body));
    }
    if let Some(presented) = kept {
        let refusal = Response::from_parts(head.clone(), read.clone());
        ledger.proxy.keep_refusal(presented, refusal);
    }
    let now = clock::now();
    let said = hint::judge_failure(head.status, &head.headers, &read, &subject.class, now);
    let limited = matches!(said, Said::Limited(_));
    ledger.limited(ask, proof::carried_by(head.status, &head.headers, limited, now));
    (said, Response::from_parts(head, content::full(read)))
}

/// A refusal whose body does not come: only its status is left to judge by.
fn broken_refusal(ask: &Ask, head: Parts) -> (Said, Response<Content>) {
    let (said, kind) = match head.status.as_u16() {
        401 => (Said::Answered, ErrorKind::Authentication),
        429 => (Said::Answered, ErrorKind::RateLimit),
        529 => (Said::Overloaded, ErrorKind::Overloaded),
        _ => (Said::ServerError, ErrorKind::Api),
    };
    let failure = Failure::new(kind, "Anthropic's refusal broke off before it could be read.");
    let (ours, body) = failure.into_response(ask.record.id()).into_parts();
    let mut head = streamed(head);
    head.headers.extend(ours.headers);
    (said, Response::from_parts(head, content::full(body)))
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

/// An answer with what is wrong with it.
fn wrong(mut answer: Response<Content>, fault: &'static str) -> Response<Content> {
    answer.extensions_mut().insert(ContentError(fault));
    answer
}

/// The head of a stream that the proxy may have to end itself.
fn streamed(mut head: Parts) -> Parts {
    head.headers.remove(header::CONTENT_LENGTH);
    head
}
