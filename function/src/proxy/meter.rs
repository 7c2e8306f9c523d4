//! What an answer of Bedrock costs, told to whoever asks and to the request's record.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::Proxy;
use super::ask::Ask;
use crate::clock;
use crate::money::price::asks_for_an_hour;
use crate::money::{Invoked, Tariff};
use crate::telemetry::Record;
use crate::translate::stream::Stream as Translation;
use crate::upstream::bedrock::Call;
use crate::wire::usage::Usage;

/// Says what an answer has cost, in dollars.
static COST: HeaderName = HeaderName::from_static("x-claude-proxy-cost");

/// The prices of a call that is about to be made.
pub(super) fn tariff(ask: &Ask, proxy: &Proxy, call: &Call, region: usize) -> Option<Tariff> {
    let (model, region) = (ask.subject.as_ref()?.model.as_ref()?, proxy.bedrock.region(region)?);
    let hour = asks_for_an_hour(&call.body);
    let invoked = Invoked { model, id: &call.model_id, region, hour };
    Some(proxy.settings.prices.tariff(&invoked, clock::now()))
}

/// Notes what a whole answer has used and cost, also in its head.
pub(super) fn charge(record: &Record, usage: Usage, tariff: Option<&Tariff>, head: &mut HeaderMap) {
    record.used(usage);
    let Some(cost) = tariff.map(|tariff| tariff.cost(&usage)) else { return };
    record.cost(cost);
    if let Ok(dollars) = HeaderValue::from_str(&cost.amount.to_string()) {
        head.insert(&COST, dollars);
    }
}

/// A stream of Bedrock's that is being translated; what it has cost is noted when it ends, however
/// that comes about.
pub(super) struct Metered {
    pub(super) translation: Translation,
    pub(super) tariff: Option<Tariff>,
    pub(super) record: Record,
}

impl Drop for Metered {
    fn drop(&mut self) {
        self.record.used(self.translation.usage());
        if let Some(tariff) = &self.tariff {
            self.record.cost(tariff.cost(&self.translation.billed()));
        }
    }
}
