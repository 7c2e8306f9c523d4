//! What does an item of the shared table look like?
//!
//! Pure: values become items, and items become values. An item that cannot be read is no item,
//! whatever it holds: nobody is ever failed by what somebody else has written.
//!
//! - `pk = limit#FINGERPRINT`, `sk` = model class or `*`: `user`, `limited_until`,
//!   `limited_until_epoch`, `reason`, `retry_after_seconds`, `model`, `recorded_at`, `expires_at`
//! - `pk = proof#FINGERPRINT`, `sk = proof`: `organization`, `proven_at`, `expires_at`
//! - `pk = key#DIGEST`, `sk = key`: `user`, `created_at`, and what the user may spend, where that
//!   is not what everybody may: `budget_month`, `budget_day`, `budget_extra` (micro-dollars),
//!   `budget_extra_period` (`YYYY-MM`), `budget_until`; written by `provisioner` only
//! - `pk = drill#DIGEST`, `sk = drill`: `model`, `expires_at`; written by `provisioner` only
//! - `pk = budget#SUBJECT`, `sk = YYYY-MM`: the month of a budget, as [`super::budgets`] has it
//! - `pk = session#DIGEST`, `sk = session`: `subject`, `side` (`anthropic`, `bedrock`, or what a
//!   budget said), `since`, `limited_until_epoch` (0 where there is no limit), `told`, `session`
//!   (JSON: all that is known), `expires_at`
//! - `pk = lesson#MODEL`, `sk = lesson`: `refused` (a set of strings), `recorded_at`, `expires_at`
//!
//! Moments are RFC 3339; `limited_until_epoch` and `expires_at`, the table's TTL attribute, are
//! seconds since 1970, rounded up.

use std::collections::HashMap;
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;

use super::super::{LESSON_LIFETIME, Query, proof_ends};
use super::sessions::{session, session_key};
use crate::caller::User;
use crate::drill::Drill;
use crate::failover::cooldown::{Cooldown, Timestamp};
use crate::failover::identity::{Fingerprint, LimitKey, LimitScope, ModelClass};
use crate::failover::known::{KeyOwner, Known, Owner, Proof, Unread};
use crate::money::MicroDollars;
use crate::money::budget::{Caps, Exception};
use crate::translate::mend::Lesson;

/// An item, or the key of one, as the SDK has it.
pub type Item = HashMap<String, AttributeValue>;

/// How the partition key of each kind of item begins.
pub const LIMIT: &str = "limit#";
pub const KEY: &str = "key#";
pub const BUDGET: &str = "budget#";

pub(super) const EXPIRES_AT: &str = "expires_at";
pub(super) const LIMITED_UNTIL_EPOCH: &str = "limited_until_epoch";
pub(super) const RECORDED_AT: &str = "recorded_at";
pub(super) const REFUSED: &str = "refused";

/// A text that is longer was not written by us, in bytes; the longest is the model's name.
const LONGEST_TEXT: usize = 2048;

/// Where a limit stands.
#[must_use]
pub fn limit_key(key: &LimitKey) -> Item {
    item_key(format!("{LIMIT}{}", key.fingerprint), key.scope.as_str())
}

pub(super) fn proof_key(fingerprint: &Fingerprint) -> Item {
    item_key(format!("proof#{fingerprint}"), "proof")
}

pub(super) fn lesson_key(model: &str) -> Item {
    item_key(format!("lesson#{model}"), "lesson")
}

/// Where a subject's month stands.
#[must_use]
pub fn budget_key(subject: &str, month: &str) -> Item {
    item_key(format!("{BUDGET}{subject}"), month)
}

/// Whose month an item is, and which; `None` where it is none.
#[must_use]
pub fn stored_month(item: &Item) -> Option<(&str, &str)> {
    let (subject, month) = (text(item, "pk")?.strip_prefix(BUDGET)?, text(item, "sk")?);
    crate::money::period::is_month(month).then_some((subject, month))
}

/// Where the owner of a proxy key stands, by the digest of the key.
#[must_use]
pub fn owner_key(digest: &Fingerprint) -> Item {
    item_key(format!("{KEY}{digest}"), "key")
}

pub(super) fn item_key(pk: String, sk: &str) -> Item {
    [("pk".to_owned(), AttributeValue::S(pk)), ("sk".to_owned(), string(sk))].into()
}

/// Where everything is that a query asks for: at most five keys.
pub(super) fn keys(query: &Query<'_>) -> Vec<Item> {
    let mut keys = Vec::new();
    if let Some((fingerprint, class)) = query.subject {
        keys.extend(limit_keys(fingerprint, class).iter().map(limit_key));
        keys.push(proof_key(fingerprint));
    }
    keys.extend(query.key.map(owner_key));
    keys.extend(query.session.map(session_key));
    keys
}

fn limit_keys(fingerprint: &Fingerprint, class: &ModelClass) -> [LimitKey; 2] {
    [LimitScope::Class(class.clone()), LimitScope::Account]
        .map(|scope| LimitKey { fingerprint: *fingerprint, scope })
}

/// Reads what a query brought; `unread` are the keys that the table did not get to.
pub(super) fn known(query: &Query<'_>, items: &[Item], unread: &[Item], now: Timestamp) -> Known {
    let find = |key: &Item| items.iter().find(|item| is_at(item, key));
    let is_unread = |key: &Item| unread.iter().any(|item| is_at(item, key));
    let mut known = Known::default();
    if let Some((fingerprint, class)) = query.subject {
        let keys = limit_keys(fingerprint, class).map(|key| limit_key(&key));
        let [class, account] = keys.each_ref().map(|key| {
            let limit = find(key).and_then(limit);
            limit.filter(|limit| limit.is_in_force(now))
        });
        let proof_key = proof_key(fingerprint);
        let proof = find(&proof_key).and_then(proof);
        let proof = proof.filter(|proof| proof_ends(proof) > now);
        let unread = Unread {
            class: is_unread(&keys[0]),
            account: is_unread(&keys[1]),
            proof: is_unread(&proof_key),
            session: false,
        };
        known = Known { class, account, proof, unread, ..known };
    }
    if let Some(key) = query.key.map(owner_key) {
        known.key = match find(&key) {
            Some(item) => owner(item),
            None if is_unread(&key) => KeyOwner::Unread,
            None => KeyOwner::Nobody,
        };
    }
    if let Some(key) = query.session.map(session_key) {
        known.session = find(&key).and_then(|item| session(item, now)).map(Box::new);
        known.unread.session = is_unread(&key);
    }
    known
}

fn is_at(item: &Item, key: &Item) -> bool {
    ["pk", "sk"].iter().all(|name| item.get(*name) == key.get(*name))
}

pub(super) fn limit_item(key: &LimitKey, cooldown: &Cooldown) -> Item {
    let until = epoch(cooldown.until);
    let mut item = limit_key(key);
    item.extend(attributes(cooldown.user.as_ref().map(|user| ("user", string(user)))));
    item.extend(attributes([
        ("limited_until", string(cooldown.until)),
        (LIMITED_UNTIL_EPOCH, until.clone()),
        ("reason", string(&cooldown.reason)),
        ("retry_after_seconds", AttributeValue::N(cooldown.retry_after_seconds.to_string())),
        ("model", string(&cooldown.model)),
        (RECORDED_AT, string(cooldown.recorded_at)),
        (EXPIRES_AT, until),
    ]));
    item
}

pub(super) fn limit(item: &Item) -> Option<Cooldown> {
    Some(Cooldown {
        until: moment(item, "limited_until")?,
        recorded_at: moment(item, RECORDED_AT)?,
        reason: text(item, "reason")?.to_owned(),
        retry_after_seconds: item.get("retry_after_seconds")?.as_n().ok()?.parse().ok()?,
        model: text(item, "model")?.to_owned(),
        user: text(item, "user").map(str::to_owned),
    })
}

pub(super) fn proof_item(fingerprint: &Fingerprint, proof: &Proof) -> Item {
    let mut item = proof_key(fingerprint);
    let organization = proof.organization.as_ref().map(|id| ("organization", string(id)));
    item.extend(attributes(organization));
    item.extend(attributes([
        ("proven_at", string(proof.proven_at)),
        (EXPIRES_AT, epoch(proof_ends(proof))),
    ]));
    item
}

pub(super) fn proof(item: &Item) -> Option<Proof> {
    let organization = text(item, "organization").map(str::to_owned);
    Some(Proof { proven_at: moment(item, "proven_at")?, organization })
}

/// Where a drill stands, by the digest of its nonce.
#[must_use]
pub fn drill_key(digest: &Fingerprint) -> Item {
    item_key(format!("drill#{digest}"), "drill")
}

/// The item that allows a drill.
#[must_use]
pub fn drill_item(digest: &Fingerprint, drill: &Drill) -> Item {
    let mut item = drill_key(digest);
    item.extend(attributes([
        ("model", string(&drill.model)),
        (EXPIRES_AT, epoch(drill.expires_at)),
    ]));
    item
}

pub(super) fn drill(item: &Item) -> Option<Drill> {
    let seconds = item.get(EXPIRES_AT)?.as_n().ok()?.parse().ok()?;
    let expires_at = Timestamp::from_second(seconds).ok()?;
    Some(Drill { model: text(item, "model")?.to_owned(), expires_at })
}

/// The item that lets a proxy key in, under its owner's name.
#[must_use]
pub fn owner_item(digest: &Fingerprint, user: &User, created_at: Timestamp) -> Item {
    let mut item = owner_key(digest);
    item.extend(attributes([("user", string(user)), ("created_at", string(created_at))]));
    item
}

/// A limit, and whose it is; `None` where the item is none.
#[must_use]
pub fn stored_limit(item: &Item) -> Option<(LimitKey, Cooldown)> {
    let fingerprint = Fingerprint::from_hex(text(item, "pk")?.strip_prefix(LIMIT)?)?;
    let scope = match text(item, "sk")? {
        "*" => LimitScope::Account,
        class => LimitScope::Class(ModelClass::of(class)?),
    };
    Some((LimitKey { fingerprint, scope }, limit(item)?))
}

/// A proxy key as the table knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredKey {
    pub digest: Fingerprint,
    pub user: User,
    /// `None` where nobody has written that down.
    pub created_at: Option<Timestamp>,
}

/// A proxy key that is somebody's; `None` where the item is none.
#[must_use]
pub fn stored_key(item: &Item) -> Option<StoredKey> {
    let digest = Fingerprint::from_hex(text(item, "pk")?.strip_prefix(KEY)?)?;
    (text(item, "sk")? == "key").then_some(())?;
    let user = text(item, "user")?.parse().ok()?;
    Some(StoredKey { digest, user, created_at: moment(item, "created_at") })
}

/// A key whose owner cannot be read is nobody's.
fn owner(item: &Item) -> KeyOwner {
    let Some(user) = text(item, "user").and_then(|name| name.parse::<User>().ok()) else {
        return KeyOwner::Nobody;
    };
    let exception = EXCEPTION.iter().any(|name| item.contains_key(*name)).then(|| {
        let read = exception(item).unwrap_or_else(Exception::unreadable);
        Arc::new(read)
    });
    KeyOwner::User(Owner { name: user.to_string(), exception })
}

/// What an owner may commit in a month and in a day, in micro-dollars.
pub const BUDGET_MONTH: &str = "budget_month";
pub const BUDGET_DAY: &str = "budget_day";
/// What is added to the month's cap, in micro-dollars, and in which month (`2026-11`).
pub const BUDGET_EXTRA: &str = "budget_extra";
pub const BUDGET_EXTRA_PERIOD: &str = "budget_extra_period";
/// From when on none of this holds (RFC 3339).
pub const BUDGET_UNTIL: &str = "budget_until";

/// The attributes of a key that say what its owner may spend.
pub const EXCEPTION: [&str; 5] =
    [BUDGET_MONTH, BUDGET_DAY, BUDGET_EXTRA, BUDGET_EXTRA_PERIOD, BUDGET_UNTIL];

/// Reads what an owner may spend; `None` where anything of it cannot be read.
#[must_use]
pub fn exception(item: &Item) -> Option<Exception> {
    let amount = |name| match item.get(name) {
        Some(value) => value.as_n().ok()?.parse().ok().map(|amount| Some(MicroDollars(amount))),
        None => Some(None),
    };
    let until = item.contains_key(BUDGET_UNTIL).then(|| moment(item, BUDGET_UNTIL));
    Some(Exception {
        caps: Caps { month: amount(BUDGET_MONTH)?, day: amount(BUDGET_DAY)? },
        extra: amount(BUDGET_EXTRA)?.unwrap_or_default(),
        extra_month: text(item, BUDGET_EXTRA_PERIOD).unwrap_or_default().to_owned(),
        until: until.map_or(Some(None), |until| until.map(Some))?,
    })
}

/// What [`exception`] reads, attribute by attribute; `None` is one that has to go.
#[must_use]
pub fn exception_attributes(of: &Exception) -> [(&'static str, Option<AttributeValue>); 5] {
    let amount = |amount: MicroDollars| AttributeValue::N(amount.0.to_string());
    let extra = Some(of.extra).filter(|extra| extra.0 > 0);
    [
        (BUDGET_MONTH, of.caps.month.map(amount)),
        (BUDGET_DAY, of.caps.day.map(amount)),
        (BUDGET_EXTRA, extra.map(amount)),
        (BUDGET_EXTRA_PERIOD, extra.map(|_| string(&of.extra_month))),
        (BUDGET_UNTIL, of.until.map(string)),
    ]
}

pub(super) fn lesson_item(model: &str, lesson: &Lesson, now: Timestamp) -> Item {
    let mut item = lesson_key(model);
    item.extend(attributes([
        (REFUSED, names(lesson)),
        (RECORDED_AT, string(now)),
        (EXPIRES_AT, epoch(now.saturating_add(LESSON_LIFETIME).unwrap_or(Timestamp::MAX))),
    ]));
    item
}

/// The names of a lesson, as a set of strings.
pub(super) fn names(lesson: &Lesson) -> AttributeValue {
    AttributeValue::Ss(lesson.names().map(str::to_owned).collect())
}

/// Reads a lesson and its end; names that our table does not have are left out.
pub(super) fn lesson(item: &Item, now: Timestamp) -> Option<(Lesson, Timestamp)> {
    let seconds = item.get(EXPIRES_AT)?.as_n().ok()?.parse().ok()?;
    let until = Timestamp::from_second(seconds).ok()?;
    let latest = now.saturating_add(LESSON_LIFETIME).ok()?;
    let names = item.get(REFUSED)?.as_ss().ok()?;
    let lesson = Lesson::of(names.iter().map(String::as_str));
    (until > now && !lesson.is_empty()).then(|| (lesson, until.min(latest)))
}

pub(super) fn attributes(
    pairs: impl IntoIterator<Item = (&'static str, AttributeValue)>,
) -> impl Iterator<Item = (String, AttributeValue)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value))
}

pub(super) fn string(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

/// A moment in whole seconds since 1970, rounded up.
pub(super) fn epoch(moment: Timestamp) -> AttributeValue {
    let rounded_up = moment.as_second() + i64::from(moment.subsec_nanosecond() > 0);
    AttributeValue::N(rounded_up.to_string())
}

pub(super) fn text<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    let text = item.get(name)?.as_s().ok()?;
    (text.len() <= LONGEST_TEXT).then_some(text)
}

pub(super) fn moment(item: &Item, name: &str) -> Option<Timestamp> {
    text(item, name)?.parse().ok()
}
