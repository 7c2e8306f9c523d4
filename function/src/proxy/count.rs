//! `count_tokens`: Anthropic first, also while a limit is in force; then Bedrock where it can count
//! the model; else an honest 501. Never an estimate, and never a word about limits of messages.

use std::pin::pin;
use std::sync::Arc;

use http::{HeaderValue, Response, StatusCode, header};

use super::Proxy;
use super::admit::Admitted;
use super::ask::Ask;
use super::body::Body;
use super::content::{self, Content};
use super::exchange;
use super::fault;
use super::labels::BedrockLabels;
use super::ledger::{Ledger, Right};
use super::legs::anthropic;
use crate::failover::known::{Known, Unread};
use crate::failover::proof::Standing;
use crate::failover::{Reason, Upstream};
use crate::messages::Asked;
use crate::reply::{ErrorKind, Failure};
use crate::telemetry::Record;
use crate::translate::{request, response};
use crate::upstream::bedrock::Call;

impl Proxy {
    pub(super) async fn count_tokens(
        self: Arc<Self>,
        mut admitted: Admitted,
        record: Record,
    ) -> Response<Body> {
        if let Err(failure) = self.look_up(&mut admitted, (None, None)).await {
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
        let policy = self.policy(subject.as_ref());
        let (headers, asked) = (head.headers, asked.unwrap_or_default());
        let session = None;
        let ask = Ask { target, headers, body, asked, policy, subject, session, record };
        // Nothing is read before it is needed.
        let unread = Known { unread: Unread::ALL, ..Known::default() };
        let mut ledger = Ledger::open(self, Right::ByProof, unread);
        let (answer, reason) = ask_anthropic(&ask, &mut ledger).await;
        let reason = reason.filter(|_| ledger.proxy.settings.fallback);
        let answer = match reason {
            None => answer,
            Some(reason) => match count(&ask, &mut ledger, reason).await {
                Some(counted) => {
                    ask.record.attempt(Upstream::Bedrock, Some(reason));
                    counted
                }
                None => cannot_count(&ask.record),
            },
        };
        exchange::reply(&ask, ledger, answer).await
    }
}

/// Anthropic's answer for the client, and why Bedrock is to be asked instead, if it is.
async fn ask_anthropic(ask: &Ask, ledger: &mut Ledger) -> (Response<Content>, Option<Reason>) {
    let (head, answer) = match anthropic::send(ask, ledger).await {
        Ok(answer) => answer.into_parts(),
        Err(fault) => {
            let failure = fault::failure_of(&fault).into_response(ask.record.id());
            return (failure.map(content::full), Some(Reason::Unreachable));
        }
    };
    let reason = reason(head.status);
    if head.status.is_success() {
        return (Response::from_parts(head, Content::AsItComes(answer)), reason);
    }
    let (_, answer) = anthropic::refused(ask, ledger, head, answer).await;
    (answer, reason)
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

/// Counts with Bedrock; `None` where it has no such model, or may not be asked.
async fn count(ask: &Ask, ledger: &mut Ledger, reason: Reason) -> Option<Response<Content>> {
    let model = ask.subject.as_ref()?.model.as_ref()?;
    let model_id = model.count_tokens_id()?.to_owned();
    if ledger.standing() == Standing::Unknown {
        ledger.read(ask).await;
    }
    if !ledger.may_use_bedrock(ask).await {
        return None;
    }
    let body = request::to_count(&ask.body, &ask.for_bedrock(), model).ok()?;
    count_in_turn(ask, ledger, &Call { model_id, metadata: None, body }, reason).await
}

/// Asks one region after the other.
async fn count_in_turn(
    ask: &Ask,
    ledger: &mut Ledger,
    call: &Call,
    reason: Reason,
) -> Option<Response<Content>> {
    let proxy = Arc::clone(&ledger.proxy);
    for (index, region) in proxy.bedrock.regions().enumerate() {
        match ledger.beside(pin!(proxy.bedrock.count(index, call.clone()))).await {
            Ok(tokens) => {
                let (until, model_id, id) = (None, call.model_id.as_str(), ask.record.id());
                return Some(counted(
                    tokens,
                    &BedrockLabels { reason, until, model_id, region, id },
                ));
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

fn counted(tokens: u64, served: &BedrockLabels<'_>) -> Response<Content> {
    let mut answer = Response::new(content::full(response::count(tokens)));
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(header::CONTENT_TYPE, json);
    served.label(answer.headers_mut());
    answer
}

fn cannot_count(record: &Record) -> Response<Content> {
    let message = "Tokens cannot be counted now: Anthropic does not answer, and Bedrock cannot \
                   count this model. The client may estimate.";
    Failure::new(ErrorKind::NotSupported, message).into_response(record.id()).map(content::full)
}
