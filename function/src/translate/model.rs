//! Which model is meant, and what does Bedrock call it in this region?
//!
//! The same model only: a name is never answered with a neighbour. What is known about the models
//! stands in the tables; a name that is too new for them follows the naming rule of the newest.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::models::{ALL, COUNTED, KnownModel, MODELS};
use super::table::{Features, OPUS_5_5};

pub use super::models::{Prefix, UnknownPrefix};

/// The longest model id that Bedrock takes (`InvokeModel`, AWS API reference).
const LONGEST_ID: usize = 2048;

/// The longest name of a model that the tables do not know.
const LONGEST_NEW_NAME: usize = 64;

/// How Bedrock's ids begin; Anthropic's name follows.
const VENDOR: &str = "anthropic.";

/// An Anthropic model as Bedrock knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model(Listing);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Listing {
    Known(&'static KnownModel),
    /// The foundation model id of a model that is newer than the tables.
    New(Arc<str>),
}

impl Model {
    /// Finds the model that a client means by a name, a Bedrock id, a profile id or an ARN.
    ///
    /// `None` where it is no Anthropic model, or an ARN that does not tell (application inference
    /// profiles). A marker in brackets at the end, as in `claude-opus-5[1m]`, is no part of a name,
    /// and neither is `-latest`.
    #[must_use]
    pub fn resolve(name: &str) -> Option<Self> {
        if name.len() > LONGEST_ID {
            return None;
        }
        let name = without_marker(name);
        let name = if name.starts_with("arn:") {
            bedrock_name(name.rsplit_once('/')?.1)?
        } else {
            bedrock_name(name).unwrap_or(name)
        };
        let latest = name.strip_suffix("-latest");
        Self::known(name)
            .or_else(|| Self::known(latest?))
            .or_else(|| Self::dated(name.split_once('@')?))
            .or_else(|| Self::new(latest.unwrap_or(name)))
    }

    /// Finds what the operator's map names for a model, by the name that a client uses.
    ///
    /// An exact entry wins; else an entry serves its model also by another name, in other letters,
    /// with a date, and with a marker in brackets, unless there is one for that marker.
    #[must_use]
    pub fn mapped<'m>(map: &'m BTreeMap<String, String>, asked: &str) -> Option<&'m str> {
        if map.is_empty() || asked.len() > LONGEST_ID {
            return None;
        }
        if let Some(exact) = map.get(asked) {
            return Some(exact);
        }
        let asked = asked.to_ascii_lowercase();
        let name = without_marker(&asked);
        let model = Self::resolve(name);
        let keys: Vec<_> = map.iter().map(|(key, id)| (key.to_ascii_lowercase(), id)).collect();
        let find = |marker: &str, fits: &dyn Fn(&str) -> bool| {
            let fits = |key: &&(String, _)| key.0.strip_suffix(marker).is_some_and(fits);
            keys.iter().find(fits).map(|(_, id)| id.as_str())
        };
        [&asked[name.len()..], ""].into_iter().find_map(|marker| {
            find(marker, &|key| key == name)
                .or_else(|| {
                    find(marker, &|key| model.is_some() && Self::resolve_plain(key) == model)
                })
                .or_else(|| find(marker, &|key| without_date(name) == Some(key)))
        })
    }

    /// As [`Self::resolve`]; a marker belongs to the name.
    fn resolve_plain(name: &str) -> Option<Self> {
        if without_marker(name) == name { Self::resolve(name) } else { None }
    }

    /// A name as Google Cloud writes it: `claude-opus-4-5@20251101`.
    fn dated((name, date): (&str, &str)) -> Option<Self> {
        if date == "default" { Self::known(name) } else { Self::known(&format!("{name}-{date}")) }
    }

    /// The newest known model of each family that everyone may use: what clients ask for.
    pub fn newest() -> impl Iterator<Item = Self> {
        let of = |family| MODELS.iter().rfind(move |known| known.name.contains(family));
        let families = ["-opus-", "-sonnet-", "-haiku-", "-fable-"];
        families.into_iter().filter_map(of).map(|known| Self(Listing::Known(known)))
    }

    fn known(name: &str) -> Option<Self> {
        let exactly = |known: &&KnownModel| known.name == name || known.aliases.contains(&name);
        let undated = without_date(name);
        MODELS
            .iter()
            .find(exactly)
            .or_else(|| MODELS.iter().find(|known| Some(known.name) == undated))
            .map(|known| Self(Listing::Known(known)))
    }

    fn new(name: &str) -> Option<Self> {
        let plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte);
        let rest = name.strip_prefix("claude-")?;
        (!rest.is_empty() && name.len() <= LONGEST_NEW_NAME && rest.bytes().all(plain))
            .then(|| Self(Listing::New(format!("{VENDOR}{name}").into())))
    }

    /// Anthropic's own name, with its date where the model has one.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.0 {
            Listing::Known(known) => known.name,
            Listing::New(base) => base.strip_prefix(VENDOR).unwrap_or(base),
        }
    }

    /// Returns the id to invoke from `region`.
    ///
    /// Without a `prefix` it is the profile nearest to the region that the model has, else the
    /// global one. A given prefix is taken as it is, whether or not the model has such a profile.
    #[must_use]
    pub fn bedrock_id(&self, region: &str, prefix: Option<Prefix>) -> String {
        match prefix.unwrap_or_else(|| self.nearest(region)) {
            Prefix::None => self.base().to_owned(),
            prefix @ (Prefix::Us
            | Prefix::Eu
            | Prefix::Apac
            | Prefix::Jp
            | Prefix::Au
            | Prefix::UsGov
            | Prefix::Global) => format!("{prefix}.{}", self.base()),
        }
    }

    /// Returns the foundation model id to count tokens with, `None` where bedrock-runtime cannot.
    #[must_use]
    pub fn count_tokens_id(&self) -> Option<&str> {
        COUNTED.contains(&self.name()).then(|| self.base())
    }

    pub(super) fn features(&self) -> Features {
        match &self.0 {
            Listing::Known(known) => known.features,
            Listing::New(_) => OPUS_5_5,
        }
    }

    /// The foundation model id, without any profile.
    #[must_use]
    pub fn base(&self) -> &str {
        match &self.0 {
            Listing::Known(known) => known.base,
            Listing::New(base) => base,
        }
    }

    fn nearest(&self, region: &str) -> Prefix {
        let profiles = match &self.0 {
            Listing::Known(known) => known.profiles,
            Listing::New(_) => ALL,
        };
        let near = Prefix::near(region).iter().find(|prefix| profiles.contains(prefix));
        near.copied().unwrap_or(Prefix::Global)
    }
}

/// Takes `[1m]` off.
fn without_marker(name: &str) -> &str {
    let marked = |(name, marker): (&'_ str, &str)| {
        marker
            .strip_suffix(']')
            .is_some_and(|word| {
                !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
            })
            .then_some(name.len())
    };
    name.rsplit_once('[').and_then(marked).map_or(name, |end| &name[..end])
}

/// Takes the profile prefix, the vendor and the revision off a Bedrock id.
fn bedrock_name(id: &str) -> Option<&str> {
    let id = Prefix::EVERY
        .iter()
        .find_map(|prefix| id.strip_prefix(prefix.as_str())?.strip_prefix('.'))
        .unwrap_or(id)
        .strip_prefix(VENDOR)?;
    let id = id.split_once(':').map_or(id, |(id, _)| id);
    Some(match id.rsplit_once("-v") {
        Some((name, revision)) if is_number(revision) => name,
        Some(_) | None => id,
    })
}

/// Takes a date (`-20260416`) off.
fn without_date(name: &str) -> Option<&str> {
    let (name, date) = name.rsplit_once('-')?;
    (date.len() == 8 && date.starts_with("20") && is_number(date)).then_some(name)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
