//! What an answer used × the id that was invoked × the moment → micro-dollars.
//!
//! A [`Tariff`] is taken when Bedrock is asked, and holds for that answer: a price that changes
//! meanwhile changes nothing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::amount::{MILLION, MicroDollars};
use super::prices::{Rates, Row, Scope, rows};
use super::tokens::Tokens;
use crate::failover::cooldown::Timestamp;
use crate::translate::model::Model;
use crate::wire::usage::Usage;

/// What the operator pays, where that is not the list price.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// By [`name`] of a model, or by the very id that is invoked.
    pub given: BTreeMap<String, Given>,
    pub multiplier: Multiplier,
}

/// Micro-dollars for a million tokens, in every scope and for every length of prompt.
///
/// They are what is paid: no multiplier applies to them. A rate that is not given is as listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cache_write_5m: Option<u64>,
    pub cache_write_1h: Option<u64>,
    pub cache_read: Option<u64>,
}

/// What part of the list price is paid, in millionths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multiplier(pub u64);

impl Default for Multiplier {
    fn default() -> Self {
        Self(MILLION)
    }
}

/// One call of Bedrock, as far as its price depends on it.
#[derive(Clone, Copy, Debug)]
pub struct Invoked<'a> {
    /// The model that answers.
    pub model: &'a Model,
    /// What is really sent to Bedrock: a model id, a profile's id or an ARN.
    pub id: &'a str,
    /// The region that is asked.
    pub region: &'a str,
    /// The request asks for cache writes that last an hour.
    pub hour: bool,
}

/// What a model is called in the table of prices: Anthropic's name without its date.
#[must_use]
pub fn name(model: &Model) -> &str {
    let name = model.name();
    let dated = |(_, date): &(&str, &str)| {
        date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit())
    };
    name.rsplit_once('-').filter(dated).map_or(name, |(name, _)| name)
}

impl Scope {
    /// Reads it off what is invoked. An ARN of a profile of one's own hides it: regional.
    #[must_use]
    pub fn of(id: &str, region: &str) -> Self {
        let short = id.rsplit_once('/').map_or(id, |(_, short)| short);
        let is_arn = id.starts_with("arn:");
        if short.starts_with("global.") {
            Self::Global
        } else if short.starts_with("us-gov.")
            || id.starts_with("arn:aws-us-gov:")
            || (!is_arn && region.starts_with("us-gov-"))
        {
            Self::Gov
        } else {
            Self::Regional
        }
    }
}

impl Prices {
    /// The prices that hold for one call at the moment `at`.
    #[must_use]
    pub fn tariff(&self, invoked: &Invoked<'_>, at: Timestamp) -> Tariff {
        let (name, scope) = (name(invoked.model), Scope::of(invoked.id, invoked.region));
        let in_force = in_force(scope, at.to_zoned(TimeZone::UTC).date());
        let own = in_force.iter().filter(|row| row.model == name);
        let mut tiers: Vec<_> = own.map(|row| (row.prompt_above, listed(&row.rates))).collect();
        if tiers.is_empty() {
            tiers.push((0, assumed(name, &in_force)));
        }
        let given = self.given.get(invoked.id).or_else(|| self.given.get(name));
        let given = given.copied().unwrap_or_default().each();
        for rates in tiers.iter_mut().map(|(_, rates)| rates) {
            for (rate, given) in rates.iter_mut().zip(given) {
                *rate = match given {
                    Some(given) => Rate::of(given),
                    None => rate.times(self.multiplier),
                };
            }
        }
        Tariff { tiers, hour: invoked.hour }
    }
}

/// The rows of a scope that hold on a day: of each model and tier the newest, the highest tier of
/// a model first.
fn in_force(scope: Scope, day: Date) -> Vec<Row> {
    let held = |row: &Row| row.scope == scope && row.valid_from.is_none_or(|from| from <= day);
    let mut held: Vec<Row> = rows().filter(held).collect();
    let tier = |row: &Row| (row.model, Reverse(row.prompt_above));
    held.sort_by_key(|row| (tier(row), Reverse(row.valid_from)));
    held.dedup_by_key(|row| tier(row));
    held
}

/// The rates of one kind of tokens after the other: input, output, cache write for 5 minutes and
/// for an hour, cache read.
type Each<T> = [T; 5];

/// A price: micro-dollars for a million tokens, times the millionths of it that are paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rate {
    listed: u64,
    paid: Multiplier,
    /// Nobody has published it.
    assumed: bool,
}

impl Rate {
    fn of(listed: u64) -> Self {
        Self { listed, paid: Multiplier::default(), assumed: false }
    }

    fn assumed(listed: u64) -> Self {
        Self { assumed: true, ..Self::of(listed) }
    }

    const fn times(self, paid: Multiplier) -> Self {
        Self { paid, ..self }
    }

    /// In millionths of a millionth of a micro-dollar.
    fn cost(self, tokens: u64) -> u128 {
        let scaled = u128::from(self.listed) * u128::from(self.paid.0);
        scaled.saturating_mul(tokens.into())
    }
}

impl Given {
    const fn each(self) -> Each<Option<u64>> {
        [self.input, self.output, self.cache_write_5m, self.cache_write_1h, self.cache_read]
    }
}

/// The rates of a model that is in the table.
fn listed(rates: &Rates) -> Each<Rate> {
    let hour = rates.cache_write_1h.map_or_else(|| Rate::assumed(rates.input * 2), Rate::of);
    let [input, output, short, read] =
        [rates.input, rates.output, rates.cache_write_5m, rates.cache_read].map(Rate::of);
    [input, output, short, hour, read]
}

/// The dearest rates of a model's family, or of all models where there is no such family.
fn assumed(name: &str, rows: &[Row]) -> Each<Rate> {
    let is_relative = |row: &&Row| family(row.model) == family(name);
    let mut rows: Vec<&Row> = rows.iter().collect();
    if rows.iter().any(is_relative) {
        rows.retain(is_relative);
    }
    let dearest = |rate: fn(&Rates) -> u64| rows.iter().map(|row| rate(&row.rates)).max();
    let rates = [
        dearest(|rates| rates.input),
        dearest(|rates| rates.output),
        dearest(|rates| rates.cache_write_5m),
        dearest(|rates| rates.cache_write_1h.unwrap_or(0).max(rates.input * 2)),
        dearest(|rates| rates.cache_read),
    ];
    rates.map(|rate| Rate::assumed(rate.unwrap_or(u64::MAX)))
}

/// The word of a name that is neither Anthropic's brand nor a number: `opus`.
fn family(name: &str) -> Option<&str> {
    let is_word = |part: &&str| part.bytes().all(|byte| byte.is_ascii_lowercase());
    name.split('-').filter(is_word).find(|word| *word != "claude")
}

/// The families that have prices.
pub(crate) fn families() -> BTreeSet<&'static str> {
    rows().filter_map(|row| family(row.model)).collect()
}

/// What a call costs by the prices of its moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tariff {
    /// Prompts above so many tokens, the longest first.
    tiers: Vec<(u64, Each<Rate>)>,
    hour: bool,
}

/// What an answer costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    pub amount: MicroDollars,
    /// A price that nobody has published is part of it.
    pub assumed: bool,
}

impl Cost {
    /// The cost of two calls.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let amount = MicroDollars(self.amount.0.saturating_add(other.amount.0));
        Self { amount, assumed: self.assumed | other.assumed }
    }
}

impl Tariff {
    /// What an answer used, as it is priced: writes to the cache of which it says nothing last as
    /// long as the request has asked for.
    #[must_use]
    pub fn tokens(&self, usage: &Usage) -> Tokens {
        let (cache_write_5m, cache_write_1h) = usage.cache_writes(self.hour);
        Tokens {
            input: usage.input.unwrap_or(0),
            output: usage.output.unwrap_or(0),
            cache_read: usage.cache_read.unwrap_or(0),
            cache_write_5m,
            cache_write_1h,
        }
    }

    /// The price of an answer that used so much, rounded up once.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Cost {
        let counts = self.tokens(usage);
        let Tokens { input, output, cache_read, cache_write_5m, cache_write_1h } = counts;
        let tokens = [input, output, cache_write_5m, cache_write_1h, cache_read];
        let prompt = counts.prompt();
        let fits = |(above, _): &&(u64, Each<Rate>)| *above < prompt || *above == 0;
        let rates = self.tiers.iter().find(fits).map(|(_, rates)| rates);
        let used = rates.into_iter().flatten().zip(tokens).filter(|(_, tokens)| *tokens > 0);
        let (mut sum, mut assumed) = (0_u128, false);
        for (rate, tokens) in used {
            sum = sum.saturating_add(rate.cost(tokens));
            assumed |= rate.assumed;
        }
        let amount = sum.div_ceil(u128::from(MILLION) * u128::from(MILLION));
        Cost { amount: MicroDollars(amount.try_into().unwrap_or(u64::MAX)), assumed }
    }
}

/// Whether a body for Bedrock asks for cache writes that last an hour.
///
/// Looks for the key and its value as JSON writes them outside of strings; an object of a tool that
/// happens to have the same makes an answer dearer only where Bedrock does not say what it wrote.
#[must_use]
pub fn asks_for_an_hour(body: &[u8]) -> bool {
    memchr::memmem::find_iter(body, b"\"ttl\"").any(|at| {
        let mut rest = body[at + 5..].iter().filter(|byte| !byte.is_ascii_whitespace());
        b":\"1h\"".iter().all(|expected| rest.next() == Some(expected))
    })
}
