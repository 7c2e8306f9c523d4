//! How does a test put a proxy on a table, and what is remembered there?
//!
//! An emulator is slow, and so is a machine that works on much else: here a table is waited for as
//! long as a client waits. Tests of what a table costs that does not answer set their own
//! `RATE_LIMIT_STORE_TIMEOUT_MS`.

use std::time::Duration;

use function::{
    failover::{
        cooldown::{Cooldown, Timestamp},
        identity::{Fingerprint, LimitKey, LimitScope, ModelClass},
        known::{Known, Proof},
    },
    store::{Query, RateLimitStore, dynamo::DynamoStore},
    upstream::aws::Aws,
};
use jiff::SignedDuration;

use crate::{moto, world::Plan};

/// How long a table is waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The settings of an instance on a table.
pub const fn settings<'a>(url: &'a str, table: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("RATE_LIMIT_STORE", "dynamodb"),
        ("RATE_LIMIT_TABLE_NAME", table),
        ("AWS_ENDPOINT_URL_DYNAMODB", url),
        ("RATE_LIMIT_STORE_TIMEOUT_MS", "30000"),
    ]
}

/// A proxy on a table.
pub fn world(url: &str, table: &str) -> Plan {
    let settings = settings(url, table).into_iter();
    let plan = settings.fold(Plan::default(), |plan, (name, value)| plan.with(name, value));
    plan.without("RATE_LIMIT_STORE_PATH")
}

/// The store of one more instance, with a client of its own.
pub async fn store(url: &str, table: &str) -> DynamoStore {
    DynamoStore::new(&Aws::from(moto::config(url).await), table, PATIENCE)
}

pub const DAY: i64 = 24 * 60 * 60;

pub fn at(second: i64) -> Timestamp {
    let noon: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
    noon + SignedDuration::from_secs(second)
}

pub fn credential(who: &str) -> Fingerprint {
    Fingerprint::of(&[format!("sk-ant-api03-test-{who}").as_bytes()]).unwrap()
}

pub fn class(model: &str) -> ModelClass {
    ModelClass::of(model).unwrap()
}

pub fn opus_of(who: &str) -> LimitKey {
    LimitKey { fingerprint: credential(who), scope: LimitScope::Class(class("claude-opus-4-5")) }
}

pub fn account_of(who: &str) -> LimitKey {
    LimitKey { fingerprint: credential(who), scope: LimitScope::Account }
}

/// A limit met at second 0.
pub fn until(second: i64) -> Cooldown {
    Cooldown {
        until: at(second),
        recorded_at: at(0),
        reason: "retry-after".to_owned(),
        retry_after_seconds: second.unsigned_abs(),
        model: "claude-opus-4-5".to_owned(),
        user: None,
    }
}

pub fn proven(second: i64) -> Proof {
    Proof { proven_at: at(second), organization: None }
}

/// What a store knows of somebody who asks for Opus.
pub async fn seen(store: &impl RateLimitStore, who: &str, second: i64) -> Known {
    let (who, class) = (credential(who), class("claude-opus-4-5"));
    let query = Query { subject: Some((&who, &class)), key: None, session: None };
    store.look_up(&query, at(second)).await.unwrap()
}
