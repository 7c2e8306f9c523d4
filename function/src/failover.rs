//! Where does this request go, and what does the answer mean?
//!
//! The whole decision is [`Policy::route`], which names the first [`Attempt`], and for each
//! upstream one function that turns what has come of it into a [`Verdict`], until one ends the
//! request: [`Policy::after_anthropic`] and [`Policy::after_bedrock`].
//! Plain values in, plain values out: no clock (`now` is an argument), no I/O, no environment, and
//! no way to ask an upstream more often than the types allow: Anthropic twice, Bedrock once in each
//! region.

pub mod cooldown;
pub mod hint;
pub mod identity;
pub mod known;
pub mod proof;

use std::fmt;
use std::time::Duration;

use cooldown::{Cooldown, Timestamp};
use hint::Limited;
use serde::{Deserialize, Serialize};

/// The pause before the one more try that a 429 without any hint gets.
const WAIT_WITHOUT_HINT: Duration = Duration::from_secs(1);

/// A service that can answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Upstream {
    Anthropic,
    Bedrock,
}

impl Upstream {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Anthropic, Self::Bedrock];
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anthropic => "anthropic",
            Self::Bedrock => "bedrock",
        })
    }
}

/// Why Bedrock is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Anthropic has just said 429.
    RateLimited,
    /// A limit that was met earlier still holds; Anthropic was not asked.
    Cooldown,
    Overloaded,
    ServerError,
    Unreachable,
}

impl Reason {
    /// Each of them.
    pub const ALL: [Self; 5] =
        [Self::RateLimited, Self::Cooldown, Self::Overloaded, Self::ServerError, Self::Unreachable];
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RateLimited => "rate_limited",
            Self::Cooldown => "cooldown",
            Self::Overloaded => "overloaded",
            Self::ServerError => "server_error",
            Self::Unreachable => "unreachable",
        })
    }
}

/// Which failures of Anthropic may be answered by Bedrock (`FALLBACK_ON`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FallbackOn {
    /// 429.
    pub rate_limit: bool,
    /// 529, or an `overloaded_error` before the first content event of a stream.
    pub overloaded: bool,
    /// 500 to 504, or a stream that breaks before its first content event.
    pub server_error: bool,
    /// No connection, or no response head in time.
    pub unreachable: bool,
}

impl Default for FallbackOn {
    fn default() -> Self {
        Self { rate_limit: true, overloaded: true, server_error: false, unreachable: false }
    }
}

impl FallbackOn {
    const fn allows(self, reason: Reason) -> bool {
        match reason {
            Reason::RateLimited | Reason::Cooldown => self.rate_limit,
            Reason::Overloaded => self.overloaded,
            Reason::ServerError => self.server_error,
            Reason::Unreachable => self.unreachable,
        }
    }
}

/// What the operator wants, for one request.
#[derive(Clone, Copy, Debug)]
pub struct Policy {
    /// Limits are remembered and obeyed (`RATE_LIMIT_TRACKING_ENABLED`).
    pub tracking: bool,
    /// Bedrock may answer this request: switched on, and the model is one that it has.
    pub fallback: bool,
    pub fallback_on: FallbackOn,
    /// Up to here a limit is waited for, above it Bedrock answers and the limit is remembered.
    pub retry_threshold: Duration,
    pub max_retry_wait: Duration,
    /// How many Bedrock regions there are to ask, in their order.
    pub regions: usize,
}

/// One try at one upstream, and what has been tried before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    Anthropic(AnthropicTry),
    Bedrock(BedrockTry),
}

/// One try at Anthropic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnthropicTry {
    /// The short wait has been spent; there is no third try.
    again: bool,
    bedrock: BedrockSoFar,
}

/// One try at one region of Bedrock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BedrockTry {
    pub reason: Reason,
    /// Index into the operator's list of regions.
    pub region: usize,
    /// A region before this one failed in a way that will pass.
    passes: bool,
    anthropic_asked: bool,
}

/// What this request already knows of Bedrock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BedrockSoFar {
    Untried,
    /// Every region has failed, or none can serve this request.
    Failed {
        /// The failure will pass within seconds: a throttle, a 5xx.
        passes: bool,
    },
}

impl Attempt {
    /// The upstream that is asked.
    #[must_use]
    pub const fn upstream(&self) -> Upstream {
        match self {
            Self::Anthropic(_) => Upstream::Anthropic,
            Self::Bedrock(_) => Upstream::Bedrock,
        }
    }
}

/// What has come of asking Anthropic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// An answer that is the client's business: a success, or a failure of its own.
    Answered,
    /// A genuine 429.
    Limited(Limited),
    /// 529, an `overloaded_error` inside a 429, or one at the head of a stream.
    Overloaded,
    /// 500 to 504, or a stream that broke before its first content event.
    ServerError,
    /// No connection, or no response head in time.
    Unreachable,
}

/// What has come of asking Bedrock in one region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// An answer that is the client's business: a success, or a failure of its own.
    Answered,
    /// It could not serve in this region.
    Unserved {
        /// The failure will pass within seconds.
        passes: bool,
    },
    /// No region can serve this request as it is.
    Untranslatable,
    /// It is not proven that Anthropic accepts this credential, so no money is spent on it.
    Unproven,
}

/// What an outcome means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward the answer; nothing is decided after this.
    Reply,
    /// Pause, then ask again.
    Wait { delay: Duration, then: Attempt },
    /// Ask the next one; a limit that came with the outcome is remembered for `remember`.
    FailOver { next: Attempt, remember: Option<Limited> },
    /// Nobody answers: the client gets what Anthropic said, if it said anything.
    GiveUp {
        /// Bedrock's failure will pass within seconds, so the client may come back soon.
        passes: bool,
        remember: Option<Limited>,
    },
}

impl Policy {
    /// Names the upstream that is asked first.
    #[must_use]
    pub fn route(&self, cooldown: Option<&Cooldown>, now: Timestamp) -> Attempt {
        let limited = cooldown.is_some_and(|cooldown| cooldown.is_in_force(now));
        if limited && self.tracking && self.may_fall_back(Reason::Cooldown) {
            return Self::first_region(Reason::Cooldown, false);
        }
        Attempt::Anthropic(AnthropicTry { again: false, bedrock: BedrockSoFar::Untried })
    }

    /// Says what to do about what Anthropic has said.
    #[must_use]
    pub fn after_anthropic(&self, asked: AnthropicTry, said: Said, now: Timestamp) -> Verdict {
        let reason = match said {
            Said::Answered => return Verdict::Reply,
            Said::Limited(limited) => return self.after_limit(asked, limited, now),
            Said::Overloaded => Reason::Overloaded,
            Said::ServerError => Reason::ServerError,
            Said::Unreachable => Reason::Unreachable,
        };
        self.fall_back(reason, asked.bedrock, None)
    }

    fn after_limit(&self, asked: AnthropicTry, limited: Limited, now: Timestamp) -> Verdict {
        let AnthropicTry { again, bedrock } = asked;
        let hint = limited.hint(now);
        let lasting = hint.is_some_and(|hint| hint > self.retry_threshold);
        let remember = (lasting && self.tracking).then(|| limited.clone());
        match hint {
            // An entitlement refusal looks like this; it never ends, and Bedrock is not the cure.
            None if again && !limited.has_rate_limit_headers => Verdict::Reply,
            _ if lasting || again => self.fall_back(Reason::RateLimited, bedrock, remember),
            hint => Verdict::Wait {
                delay: hint.map_or(WAIT_WITHOUT_HINT, |hint| hint.min(self.max_retry_wait)),
                then: Attempt::Anthropic(AnthropicTry { again: true, bedrock }),
            },
        }
    }

    fn fall_back(
        &self,
        reason: Reason,
        bedrock: BedrockSoFar,
        remember: Option<Limited>,
    ) -> Verdict {
        match bedrock {
            BedrockSoFar::Failed { passes } => Verdict::GiveUp { passes, remember },
            BedrockSoFar::Untried if self.may_fall_back(reason) => {
                Verdict::FailOver { next: Self::first_region(reason, true), remember }
            }
            BedrockSoFar::Untried => Verdict::GiveUp { passes: false, remember },
        }
    }

    /// Says what to do about what Bedrock has made of it.
    #[must_use]
    pub fn after_bedrock(&self, asked: BedrockTry, served: Served) -> Verdict {
        let bedrock = match served {
            Served::Answered => return Verdict::Reply,
            Served::Unserved { passes } => {
                let passes = asked.passes || passes;
                if asked.region + 1 < self.regions {
                    let next = BedrockTry { region: asked.region + 1, passes, ..asked };
                    return Verdict::FailOver { next: Attempt::Bedrock(next), remember: None };
                }
                BedrockSoFar::Failed { passes }
            }
            Served::Untranslatable => BedrockSoFar::Failed { passes: false },
            // Anthropic's own word decides about the credential, and may open Bedrock again.
            Served::Unproven if asked.region == 0 => BedrockSoFar::Untried,
            Served::Unproven => BedrockSoFar::Failed { passes: asked.passes },
        };
        if asked.anthropic_asked {
            let passes = bedrock == BedrockSoFar::Failed { passes: true };
            return Verdict::GiveUp { passes, remember: None };
        }
        let next = Attempt::Anthropic(AnthropicTry { again: false, bedrock });
        Verdict::FailOver { next, remember: None }
    }

    /// Whether Bedrock may answer for this reason.
    #[must_use]
    pub const fn may_fall_back(&self, reason: Reason) -> bool {
        self.fallback && self.regions > 0 && self.fallback_on.allows(reason)
    }

    const fn first_region(reason: Reason, anthropic_asked: bool) -> Attempt {
        Attempt::Bedrock(BedrockTry { reason, region: 0, passes: false, anthropic_asked })
    }
}
