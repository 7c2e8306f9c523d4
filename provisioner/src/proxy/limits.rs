//! Who is limited? What the function remembers of it in the table.
//!
//! A limit that is over is none, whether or not DynamoDB has removed it.

use function::failover::cooldown::{Cooldown, Timestamp};
use function::failover::identity::{LimitKey, LimitScope, ModelClass};
use function::money::MicroDollars;
use function::store::dynamo::item;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::aws::{CloudError, Reader};
use crate::proxy::answers::Answer;
use crate::proxy::items::Items;
use crate::proxy::when;

/// One limit in force.
#[derive(Debug, Clone)]
pub struct Limit {
    pub key: LimitKey,
    pub cooldown: Cooldown,
    /// What Bedrock has stood in for since; `None` where nobody can say.
    pub detour: Option<Detour>,
}

/// How often Bedrock has answered, and what that has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Detour {
    pub answers: usize,
    pub cost: MicroDollars,
}

/// How many digits of a fingerprint are shown.
const FINGERPRINT_DIGITS: usize = 12;

/// The heads of what [`Limit::row`] gives.
pub const HEADS: [&str; 5] = ["USER", "CREDENTIAL", "CLASS", "UNTIL", "WHY"];

/// Everybody who is limited, by name.
///
/// # Errors
///
/// If the table cannot be read.
pub async fn in_force(
    items: &Items,
    now: Timestamp,
    cloud: &Reader,
) -> Result<Vec<Limit>, CloudError> {
    let all = items.of_kind(item::LIMIT, cloud).await?;
    let all = all.iter().filter_map(item::stored_limit);
    let mut limits: Vec<Limit> = all
        .filter(|(_, cooldown)| cooldown.is_in_force(now))
        .map(|(key, cooldown)| Limit { key, cooldown, detour: None })
        .collect();
    limits.sort_by(|a, b| (&a.cooldown.user, &a.key).cmp(&(&b.cooldown.user, &b.key)));
    Ok(limits)
}

impl Limit {
    /// Whether this limit was in the way of what `answer` answers. The log knows names only.
    #[must_use]
    pub fn covers(&self, answer: &Answer) -> bool {
        let class = match &self.key.scope {
            LimitScope::Account => true,
            LimitScope::Class(class) => {
                answer.model.as_deref().and_then(ModelClass::of).as_ref() == Some(class)
            }
        };
        let since = self.cooldown.recorded_at;
        class && answer.user == self.cooldown.user && answer.at >= since
    }

    /// What Bedrock has stood in for since this limit began.
    #[must_use]
    pub fn detour(&self, all: &[Answer]) -> Detour {
        all.iter().filter(|answer| self.covers(answer)).fold(Detour::default(), |sum, answer| {
            let cost = MicroDollars(sum.cost.0.saturating_add(answer.cost.0));
            Detour { answers: sum.answers + 1, cost }
        })
    }

    /// What a machine reads.
    #[must_use]
    pub fn json(&self) -> Value {
        let Self { key, cooldown, detour } = self;
        let cost = detour.map(|detour| detour.cost.number());
        let cost = cost.and_then(|cost| serde_json::from_str::<Value>(&cost).ok());
        json!({
            "user": cooldown.user,
            "class": key.scope.as_str(),
            "until": cooldown.until.to_string(),
            "reason": cooldown.reason,
            "fingerprint": key.fingerprint.to_string(),
            "served_by_bedrock": detour.map(|detour| detour.answers),
            "cost_usd": cost,
        })
    }

    /// What a person reads. Somebody without a name is known by the credential's fingerprint.
    #[must_use]
    pub fn row(&self, now: Timestamp, zone: &TimeZone) -> [String; 5] {
        let Self { key, cooldown, detour: _ } = self;
        [
            cooldown.user.clone().unwrap_or_else(|| "–".to_owned()),
            key.fingerprint.to_string()[..FINGERPRINT_DIGITS].to_owned(),
            self.models().to_owned(),
            when::ahead(cooldown.until, now, zone),
            cooldown.reason.clone(),
        ]
    }

    /// On which models, in a word.
    #[must_use]
    pub fn models(&self) -> &str {
        match &self.key.scope {
            LimitScope::Account => "all",
            LimitScope::Class(class) => class.as_str(),
        }
    }
}
