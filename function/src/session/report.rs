//! What a caller is told of themselves, as JSON (`function/docs/me.schema.json`).
//!
//! Stable: programs read it. Amounts are dollars with at most six decimals, shares go from 0 to 1,
//! moments are RFC 3339, and what there is not is `null`.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::Session;
use super::funds::{Fill, Funds};
use crate::failover::Upstream;
use crate::failover::cooldown::{Cooldown, Timestamp};
use crate::money::MicroDollars;
use crate::money::statement::Statement;
use crate::money::statement::written::{dollars, share};

/// An amount that is written as dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dollars(pub MicroDollars);

impl Serialize for Dollars {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        dollars(self.0).serialize(serializer)
    }
}

/// Who answers a caller now, and what that costs.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub side: Upstream,
    pub reason: Option<String>,
    pub until: Option<Timestamp>,
    pub budget: Option<BudgetReport>,
    pub today_usd: Option<Dollars>,
    pub month_usd: Option<Dollars>,
    pub cache_share: Option<Box<RawValue>>,
    pub limits: Vec<LimitReport>,
    pub session: Option<SessionReport>,
}

/// The cap that leaves least.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BudgetReport {
    pub period: &'static str,
    pub used_usd: Dollars,
    pub limit_usd: Dollars,
    pub resets: Timestamp,
}

/// A limit of Anthropic that is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitReport {
    /// `*` is the whole account.
    pub class: String,
    pub until: Timestamp,
    pub reason: String,
}

/// What a session has asked since the proxy has started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallied {
    pub requests: u64,
    pub by_bedrock: u64,
    pub cost: MicroDollars,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SessionReport {
    pub requests: u64,
    pub by_bedrock: u64,
    pub cost_usd: Dollars,
}

impl Report {
    /// What is known of a caller, their funds, limits and session, at `now`.
    #[must_use]
    pub fn of(
        (subject, funds): (Option<&str>, Option<&Funds>),
        session: Option<&Session>,
        limits: Vec<LimitReport>,
        tallied: Option<Tallied>,
        now: Timestamp,
    ) -> Self {
        let on_bedrock = session.is_some_and(|session| session.is_on_bedrock(now));
        let side = if on_bedrock { Upstream::Bedrock } else { Upstream::Anthropic };
        let tells = session.filter(|session| session.side == side);
        let until = tells.and_then(|session| session.limit.as_ref()).map(|limit| limit.until);
        let statement = funds.map(|funds| {
            let month = funds.at.month();
            Statement::of(subject.unwrap_or_default(), &month, &funds.month, funds.caps.month)
        });
        let cache = statement.and_then(|statement| statement.tokens.cache_share());
        let spent = funds.map(Funds::spent);
        Self {
            side,
            reason: tells.and_then(|session| session.reason.clone()),
            until: until.filter(|until| *until > now),
            budget: funds.and_then(Funds::fullest).map(BudgetReport::of),
            today_usd: spent.map(|(today, _)| Dollars(today)),
            month_usd: spent.map(|(_, month)| Dollars(month)),
            cache_share: cache.and_then(share),
            limits,
            session: tallied.map(SessionReport::of),
        }
    }
}

impl BudgetReport {
    pub(super) fn of(fill: Fill) -> Self {
        let (used_usd, limit_usd) = (Dollars(fill.used), Dollars(fill.limit));
        Self { period: fill.period(), used_usd, limit_usd, resets: fill.resets }
    }
}

impl LimitReport {
    #[must_use]
    pub fn of(class: &str, cooldown: &Cooldown) -> Self {
        let (until, reason) = (cooldown.until, cooldown.reason.clone());
        Self { class: class.to_owned(), until, reason }
    }
}

impl SessionReport {
    fn of(tallied: Tallied) -> Self {
        let Tallied { requests, by_bedrock, cost } = tallied;
        Self { requests, by_bedrock, cost_usd: Dollars(cost) }
    }
}
