//! What an answer of Bedrock costs, told to whoever asks and to the request's record.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use futures_util::future::OptionFuture;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Proxy;
use super::ask::Ask;
use super::budget::{Allowance, Tab, TopUp};
use super::cached_store::{CachedStore, Write};
use crate::clock;
use crate::money::price::asks_for_an_hour;
use crate::money::{Cost, Invoked, Tariff, Tokens};
use crate::telemetry::Record;
use crate::translate::stream::Stream as Translation;
use crate::upstream::bedrock::Call;
use crate::wire::usage::Usage;

/// Says what an answer has cost, in dollars.
static COST: HeaderName = HeaderName::from_static("x-claude-proxy-cost");

/// The prices of a call that is about to be made.
pub(super) fn tariff(ask: &Ask, proxy: &Proxy, call: &Call, region: usize) -> Option<Tariff> {
    tariff_of(ask, proxy, &call.body, (&call.model_id, proxy.bedrock.region(region)?))
}

/// The prices of a call with this body, by the id that is invoked and the region.
pub(super) fn tariff_of(
    ask: &Ask,
    proxy: &Proxy,
    body: &[u8],
    (id, region): (&str, &str),
) -> Option<Tariff> {
    let model = ask.subject.as_ref()?.model.as_ref()?;
    let invoked = Invoked { model, id, region, hour: asks_for_an_hour(body) };
    Some(proxy.settings.prices.tariff(&invoked, clock::now()))
}

/// Notes what a whole answer has used and cost, also in its head.
pub(super) fn charge(
    ask: &Ask,
    usage: Usage,
    tariff: Option<&Tariff>,
    head: &mut HeaderMap,
) -> Option<(Cost, Tokens)> {
    ask.record.used(usage);
    // An answer that does not say what it has used costs nobody knows what.
    let tariff = tariff.filter(|_| usage.input.is_some())?;
    let (cost, tokens) = (tariff.cost(&usage), tariff.tokens(&usage));
    ask.record.cost(cost);
    let dollars = HeaderValue::from_str(&cost.amount.to_string()).ok();
    head.extend(dollars.map(|dollars| (COST.clone(), dollars)));
    Some((cost, tokens))
}

/// A stream of Bedrock's that is being translated; what it has cost is noted when it ends, however
/// that comes about.
pub(super) struct Metered {
    pub(super) translation: Translation,
    tariff: Option<Tariff>,
    pub(super) record: Record,
    tab: Option<Box<Tab>>,
    topping_up: Option<TopUp>,
    settling: Option<Write>,
    store: Option<Arc<CachedStore>>,
}

impl Metered {
    pub(super) fn new(ask: &Ask, tariff: Option<Tariff>, allowance: &mut Allowance) -> Self {
        let translation = Translation::new(&ask.asked.model);
        let tab = match std::mem::take(allowance) {
            Allowance::Granted(tab) => Some(tab),
            Allowance::Open | Allowance::Refused(_) => None,
        };
        let record = ask.record.clone();
        let store = tab.as_ref().map(|tab| Arc::clone(&tab.store));
        Self { translation, tariff, record, tab, topping_up: None, settling: None, store }
    }

    /// The call has failed: another one may go on with what is reserved.
    pub(super) fn failed(mut self, allowance: &mut Allowance) {
        self.note();
        if let Some(tab) = self.tab.take() {
            *allowance = Allowance::Granted(tab);
        }
    }

    /// Waits for `work` while what has to be reserved in addition is.
    pub(super) async fn beside<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        if let (Some(tab), Some(tariff), None) = (&mut self.tab, &self.tariff, &self.topping_up) {
            self.topping_up = tab.top_up(tariff, &self.translation.billed());
        }
        poll_fn(|cx| {
            let done = self.topping_up.as_mut().map(|topping_up| topping_up.as_mut().poll(cx));
            if let (Some(Poll::Ready(done)), Some(tab)) = (done, &mut self.tab) {
                self.topping_up = None;
                tab.topped_up(done);
            }
            work.as_mut().poll(cx)
        })
        .await
    }

    /// Notes what the stream has cost, and settles it.
    pub(super) async fn settle(&mut self) {
        self.note();
        self.begin_to_settle();
        poll_fn(|cx| {
            self.settling.as_mut().map_or(Poll::Ready(()), |write| write.as_mut().poll(cx))
        })
        .await;
        self.settling = None;
    }

    fn begin_to_settle(&mut self) {
        let topping_up = self.topping_up.take();
        let Some(mut tab) = self.tab.take() else { return };
        self.settling = Some(Box::pin(async move {
            if let Some(done) = OptionFuture::from(topping_up).await {
                tab.topped_up(done);
            }
            OptionFuture::from(tab.settle()).await;
        }));
    }

    /// Notes what the stream has cost, once. One that has not begun costs nobody knows what.
    fn note(&mut self) {
        self.record.used(self.translation.usage());
        let Some(tariff) = self.tariff.take() else { return };
        let billed = self.translation.billed();
        if billed.input.is_none() {
            return;
        }
        let cost = tariff.cost(&billed);
        self.record.cost(cost);
        if let Some(tab) = &mut self.tab {
            tab.charge((cost, tariff.tokens(&billed)));
        }
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.note();
        // What is on its way is seen to its end, though nobody waits for this stream any more.
        if self.topping_up.is_some() {
            self.begin_to_settle();
        }
        if let (Some(write), Some(store)) = (self.settling.take(), &self.store) {
            store.leave(write);
        }
    }
}
