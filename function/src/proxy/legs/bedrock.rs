//! Asks Bedrock in one region: the request is translated, sent, mended where a refusal says how,
//! and the answer read as far as its first delta.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::OptionFuture;
use http::{HeaderValue, Response, header};

use super::MOST_HELD;
use crate::clock;
use crate::failover::{Reason, Served, Upstream};
use crate::money::Tariff;
use crate::proxy::ask::{self, Ask};
use crate::proxy::budget::Allowance;
use crate::proxy::content::{self, Content};
use crate::proxy::early::EarlyHead;
use crate::proxy::labels;
use crate::proxy::ledger::Ledger;
use crate::proxy::metadata;
use crate::proxy::meter::{self, Metered};
use crate::reply::{ErrorKind, Failure};
use crate::translate::error::BedrockFailure;
use crate::translate::mend::{MOST_MENDS, Mends};
use crate::translate::model::Model;
use crate::translate::request::Request;
use crate::translate::response;
use crate::translate::stream::{Event, Stream as Translation};
use crate::upstream::bedrock::{Call, Events};

/// Translating a larger body would keep others waiting for a millisecond: it goes to a thread of
/// its own.
const LARGE_BODY: usize = 256 << 10;

/// What Bedrock has made of the request, and the answer where there is one.
type BedrockOutcome = (Served, Option<Response<Content>>);

/// What has been found out about a request on its way through the regions.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Leg {
    /// How it is translated, once that has been needed.
    mends: Option<Mends>,
    /// How often a refusal has been mended.
    mended: usize,
    /// What Bedrock has said last when it could not serve.
    pub(in crate::proxy) unserved: Option<String>,
}

impl Leg {
    /// Asks Bedrock in one region, if this credential may spend the operator's money.
    pub(in crate::proxy) async fn ask(
        &mut self,
        ask: &Ask,
        ledger: &mut Ledger,
        early: &EarlyHead,
        (reason, region): (Reason, usize),
    ) -> BedrockOutcome {
        if !ledger.may_use_bedrock(ask).await {
            return (Served::Unproven, None);
        }
        let proxy = Arc::clone(&ledger.proxy);
        let Some(name) = proxy.bedrock.region(region) else {
            return (Served::Untranslatable, None);
        };
        let model_id = model_id(ask, ledger, name);
        let mut next = self.prepare(ask, ledger, (&model_id, name)).await;
        if next.is_some() {
            ask.record.attempt(Upstream::Bedrock, Some(reason));
        }
        let answered = loop {
            let Some(body) = next else { return (Served::Untranslatable, None) };
            let metadata = metadata::of(ask, reason);
            let call = Call { model_id: model_id.clone(), metadata, body };
            let tariff = meter::tariff(ask, &proxy, &call, region);
            ledger.allowance.asks();
            let answered = if ask.asked.stream {
                early.soon(Upstream::Bedrock);
                stream(ask, ledger, (region, call), tariff).await
            } else {
                message(ask, ledger, (region, call), tariff.as_ref()).await
            };
            let answered = answered.inspect_err(|failure| ledger.allowance.spared(failure));
            let refusal = answered.as_ref().err().filter(|failure| failure.is_refusal());
            let Some(refusal) = refusal else { break answered };
            next = self.mend(ask, ledger, refusal.message()).await;
            if next.is_none() {
                break answered;
            }
        };
        let served = labels::BedrockLabels {
            reason,
            until: ledger.until(),
            model_id: &model_id,
            region: name,
            id: ask.record.id(),
        };
        match answered {
            Ok(mut response) => {
                served.label(response.headers_mut());
                self.learn(ask, ledger);
                (Served::Answered, Some(response))
            }
            Err(failure) => self.failed(ask, &failure, &served),
        }
    }

    fn failed(
        &mut self,
        ask: &Ask,
        failure: &BedrockFailure,
        served: &labels::BedrockLabels<'_>,
    ) -> BedrockOutcome {
        let outcome = match failure {
            BedrockFailure::Client { message } => {
                let failure = Failure::new(ErrorKind::InvalidRequest, message);
                let mut response = failure.into_response(ask.record.id()).map(content::full);
                served.label(response.headers_mut());
                return (Served::Answered, Some(response));
            }
            // It is the request: no other region would take it.
            BedrockFailure::Refused { .. } => Served::Untranslatable,
            BedrockFailure::Transient { .. } | BedrockFailure::Unheard { .. } => {
                Served::Unserved { passes: true }
            }
            BedrockFailure::Permanent { .. } => Served::Unserved { passes: false },
        };
        ask.record.bedrock_failed();
        let passes = outcome == Served::Unserved { passes: true };
        let (said, region, model) = (failure.message(), served.region, served.model_id);
        self.unserved = Some(said.to_owned());
        tracing::warn!(region, model, passes, "bedrock cannot serve: {said}");
        (outcome, None)
    }

    /// Translates the request while the money for it is being reserved; `None` where it cannot be
    /// translated, or may not be paid for.
    async fn prepare(
        &mut self,
        ask: &Ask,
        ledger: &mut Ledger,
        served: (&str, &str),
    ) -> Option<Vec<u8>> {
        let reserving = OptionFuture::from(ledger.reserving(ask, served));
        let translating = async {
            self.read_lessons(ask, ledger).await;
            self.translate(ask, ledger, None).await
        };
        let (allowance, body) = tokio::join!(reserving, translating);
        if let Some(allowance) = allowance {
            ledger.allowed(allowance);
        }
        if let Allowance::Refused(refusal) = &ledger.allowance {
            self.unserved = Some(refusal.sentence());
            return None;
        }
        body
    }

    /// Before a request is translated for the first time: others may know more about its model.
    async fn read_lessons(&self, ask: &Ask, ledger: &mut Ledger) {
        let proxy = Arc::clone(&ledger.proxy);
        let model = ask.subject.as_ref().and_then(|subject| subject.model.as_ref());
        if let Some(model) = model.filter(|_| self.mends.is_none()) {
            let reading = pin!(proxy.lessons.read(model, &proxy.store, clock::now()));
            ledger.beside(reading).await;
        }
    }

    /// The body for Bedrock after all that has been learnt and mended; after a `refusal` the next
    /// one, if another one than before comes out.
    async fn translate(
        &mut self,
        ask: &Ask,
        ledger: &mut Ledger,
        refusal: Option<String>,
    ) -> Option<Vec<u8>> {
        let model = ask.subject.as_ref()?.model.clone()?;
        let learnt = || ledger.proxy.lessons.mends(&model, clock::now());
        let mends = self.mends.get_or_insert_with(learnt).clone();
        let (body, headers) = (ask.body.clone(), ask.headers.clone());
        let large = body.len() > LARGE_BODY;
        // Whoever drops this request has no use for the rest of the work.
        let waiting = Arc::new(());
        let waited_for = Arc::downgrade(&waiting);
        let work = move || {
            let headers = ask::for_bedrock(&headers);
            let watch = |_| waited_for.strong_count() > 0;
            let request = Request { body: &body, headers, model: &model, watch: &watch };
            match refusal {
                Some(refusal) => Ok(request.mended(&mends, &refusal)),
                None => request.to_bedrock(&mends).map(|body| Some((mends, body))),
            }
        };
        let translated = if large {
            ledger.beside(pin!(tokio::task::spawn_blocking(work))).await.ok()?
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
    async fn mend(&mut self, ask: &Ask, ledger: &mut Ledger, refusal: &str) -> Option<Vec<u8>> {
        if self.mended >= MOST_MENDS {
            return None;
        }
        let mended = self.translate(ask, ledger, Some(refusal.to_owned())).await;
        self.mended += usize::from(mended.is_some());
        mended
    }

    /// Bedrock has taken the request: what was mended is true of its model.
    fn learn(&self, ask: &Ask, ledger: &mut Ledger) {
        let model = ask.subject.as_ref().and_then(|subject| subject.model.as_ref());
        if let (Some(model), Some(mends)) = (model, self.mends.as_ref().filter(|_| self.mended > 0))
        {
            let (lessons, store) = (&ledger.proxy.lessons, &ledger.proxy.store);
            let telling = lessons.learn(model, mends, store, clock::now());
            ledger.write(telling);
        }
    }
}

async fn message(
    ask: &Ask,
    ledger: &mut Ledger,
    (region, call): (usize, Call),
    tariff: Option<&Tariff>,
) -> Result<Response<Content>, BedrockFailure> {
    let proxy = Arc::clone(&ledger.proxy);
    let answer = ledger.beside(pin!(proxy.bedrock.message(region, call))).await?;
    let (message, usage) =
        response::message(&answer, &ask.asked.model).map_err(|_| content::broke_off())?;
    let mut response = Response::new(content::full(message));
    let charged = meter::charge(ask, usage, tariff, response.headers_mut());
    ledger.allowance.charge(charged);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    Ok(response)
}

async fn stream(
    ask: &Ask,
    ledger: &mut Ledger,
    (region, call): (usize, Call),
    tariff: Option<Tariff>,
) -> Result<Response<Content>, BedrockFailure> {
    let proxy = Arc::clone(&ledger.proxy);
    let mut events = ledger.beside(pin!(proxy.bedrock.stream(region, call))).await?;
    let mut metered = Metered::new(ask, tariff, &mut ledger.allowance);
    let held = {
        let opening = hold(&mut events, &mut metered.translation);
        let opening = tokio::time::timeout(content::FIRST_EVENT_TIMEOUT, opening);
        ledger.beside(pin!(opening)).await.unwrap_or_else(|_| Err(content::fell_silent()))
    };
    match held {
        Ok(held) => {
            let body = content::bedrock(held, events, metered);
            Ok(content::event_stream(Upstream::Bedrock, body))
        }
        Err(failure) => {
            metered.failed(&mut ledger.allowance);
            Err(failure)
        }
    }
}

fn model_id(ask: &Ask, ledger: &Ledger, region: &str) -> String {
    let settings = &ledger.proxy.settings;
    if let Some(mapped) = Model::mapped(&settings.model_map, &ask.asked.model) {
        return mapped.to_owned();
    }
    let model = ask.subject.as_ref().and_then(|subject| subject.model.as_ref());
    model.map(|model| model.bedrock_id(region, settings.profile_prefix)).unwrap_or_default()
}

/// Reads Bedrock's stream up to its first delta: it may still fail after a block has started.
async fn hold(
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
