//! Reads what the operator pays for Bedrock, where that is not the list price.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::value::{instead, object, shown};
use crate::money::amount::millionths;
use crate::money::price::{self, name};
use crate::money::prices::rows;
use crate::money::{Given, Multiplier};
use crate::translate::model::Model;

/// The longest value, in bytes, and the most models in it.
const LONGEST: usize = 64 << 10;
const MOST_MODELS: usize = 256;

/// Names that differ by so many letters are nearly the same.
const NEAR: usize = 2;

/// The dearest rate, in micro-dollars for a million tokens: a million dollars.
const DEAREST: u64 = 1_000_000_000_000;

/// The largest multiplier, in millionths: a hundred.
const LARGEST: u64 = 100_000_000;

/// Reads what part of the list price is paid.
pub(super) fn multiplier(text: &str) -> Result<Multiplier, String> {
    let read = millionths(text).filter(|multiplier| *multiplier <= LARGEST);
    let form = "a number from 0 to 100 with at most six decimals, such as `0.85`";
    read.map(Multiplier).ok_or_else(|| instead(text, form))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_write_5m: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_write_1h: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_read: Option<&'a RawValue>,
}

/// Reads a JSON object from models to their rates, in dollars for a million tokens.
pub(super) fn given(text: &str) -> Result<BTreeMap<String, Given>, String> {
    let form = "JSON such as `{\"claude-opus-5-5\":{\"input\":4,\"output\":20,\
                \"cache_write_5m\":5,\"cache_write_1h\":8,\"cache_read\":0.2}}`";
    if text.len() > LONGEST {
        return Err(format!("has more than {LONGEST} bytes: write {form}"));
    }
    let written: BTreeMap<String, Written<'_>> = object(text, "models and rates", form)?;
    if written.len() > MOST_MODELS {
        return Err(format!("names more than {MOST_MODELS} models: write {form}"));
    }
    let mut given = BTreeMap::new();
    for (model, written) in &written {
        let at = shown(model);
        let rates = rates(written).ok_or_else(|| {
            format!(
                "has a rate that cannot be, at {at}: write dollars for a million tokens, from 0 to \
                 1000000 with at most six decimals"
            )
        })?;
        let Some(key) = priced_as(model) else {
            let what = "neither the name of a Claude model nor an ARN";
            return Err(format!("has {at}, which is {what}: write {form}"));
        };
        if let Some(meant) = probably_meant(&key) {
            return Err(format!("has {at}, which is priced nowhere: `{meant}` is probably meant"));
        }
        if given.insert(key, rates).is_some() {
            return Err(format!("names a model twice, the second time as {at}: write it once"));
        }
    }
    Ok(given)
}

/// What rates are found by: the model, or an ARN that does not tell it.
fn priced_as(model: &str) -> Option<String> {
    let known = Model::resolve(model).map(|known| name(&known).to_owned());
    known.or_else(|| model.starts_with("arn:").then(|| model.to_owned()))
}

/// A priced model whose name is nearly this one. A new generation of a family is a new model.
fn probably_meant(key: &str) -> Option<&'static str> {
    let is_of = |family: &str| key.split('-').any(|word| word == family);
    let families = price::families();
    if key.starts_with("arn:") || families.iter().any(|family| is_of(family)) {
        return None;
    }
    let names = rows().map(|row| row.model);
    let near = names.map(|name| (strsim::osa_distance(name, key), name)).min();
    near.filter(|(distance, _)| *distance <= NEAR).map(|(_, name)| name)
}

fn rates(written: &Written<'_>) -> Option<Given> {
    let rate = |value: Option<&RawValue>| match value.map(RawValue::get) {
        Some(text) => millionths(text).filter(|rate| *rate <= DEAREST).map(Some),
        None => Some(None),
    };
    Some(Given {
        input: rate(written.input)?,
        output: rate(written.output)?,
        cache_write_5m: rate(written.cache_write_5m)?,
        cache_write_1h: rate(written.cache_write_1h)?,
        cache_read: rate(written.cache_read)?,
    })
}
