//! What does a failed answer of Anthropic say about limits, and for how long?
//!
//! Reads a status, headers and a JSON error; never guesses. Windows are found by prefix, because
//! new ones appear without notice. Sources: Anthropic, *Rate limits* and *Errors*; the
//! `unified` windows of subscriptions as Claude Code 2.1.330 reads them.

mod value;

use std::collections::BTreeMap;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use jiff::SignedDuration;

pub use self::value::{RETRY_AFTER_MS, retry_after_seconds};
use self::value::{items, number, reset, retry_after_end};
use super::Said;
use super::cooldown::{Cooldown, LONGEST_COOLDOWN, Timestamp};
use super::identity::{Fingerprint, LimitKey, LimitScope, ModelClass};
use crate::messages::ApiError;
use crate::wire::names;

const PREFIX: &str = "anthropic-ratelimit-";
/// What says when to come back, and nothing of a window.
const RETRY_AFTER: &str = "retry-after";
/// Two clocks may be so far apart, that of this machine and the one that resets are told by.
const CLOCKS_APART: SignedDuration = SignedDuration::from_secs(10);
/// A model's name is kept up to this length, in characters.
const LONGEST_NAME: usize = 128;
/// More windows than this are not looked at.
const MOST_WINDOWS: usize = 64;
/// Spend caps end when somebody pays or the month does; no fallback is meant to get around them.
const SPEND_CAPS: [&str; 2] = ["enforced_spend_limit_reached", "contract_spend_limit_reached"];
/// The same of a cap that the organization has set itself, or of a prepaid account.
const OWN_CAPS: [&str; 2] = ["you have reached your specified", "credit balance is too low"];
/// Words of the refusals that a shorter prompt cures, and nothing else.
const LONG_CONTEXT: [&str; 2] =
    ["extra usage is required for long context", "usage credits are required for long context"];

/// A genuine rate limit: when each part of it ends, as far as the answer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limited {
    /// The whole account is limited until then.
    pub account: Option<End>,
    /// The model class of the request is limited until then.
    pub class: Option<End>,
    /// Some `anthropic-ratelimit-*` header came along.
    pub has_rate_limit_headers: bool,
}

/// The end of a limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub until: Timestamp,
    /// What said so: `retry-after`, or the name of the window.
    pub reason: String,
}

impl Limited {
    /// How long the request would have to wait; `None` where the answer gives no hint.
    #[must_use]
    pub fn hint(&self, now: Timestamp) -> Option<Duration> {
        let ends = [&self.account, &self.class];
        let latest = ends.into_iter().flatten().map(|end| end.until).max()?;
        Some(Duration::try_from(latest.duration_since(now)).unwrap_or_default())
    }

    /// Turns the ends into what a store keeps; none lasts longer than [`LONGEST_COOLDOWN`].
    #[must_use]
    pub fn cooldowns(
        &self,
        whose: &LimitedSubject<'_>,
        now: Timestamp,
    ) -> Vec<(LimitKey, Cooldown)> {
        let account = self.account.iter().map(|end| (LimitScope::Account, end));
        let class = self.class.iter().map(|end| (LimitScope::Class(whose.class.clone()), end));
        account
            .chain(class)
            .map(|(scope, end)| {
                let left = Duration::try_from(end.until.duration_since(now)).unwrap_or_default();
                let left = Duration::from_secs_f64(left.as_secs_f64().round());
                let cooldown = Cooldown {
                    until: whole_second(now + left.min(LONGEST_COOLDOWN)),
                    recorded_at: now,
                    reason: end.reason.clone(),
                    retry_after_seconds: left.as_secs(),
                    model: whose.model.chars().take(LONGEST_NAME).collect(),
                    user: whose.user.map(str::to_owned),
                };
                (LimitKey { fingerprint: whose.fingerprint, scope }, cooldown)
            })
            .collect()
    }
}

/// The end of a limit is kept in whole seconds, never a moment too early.
fn whole_second(moment: Timestamp) -> Timestamp {
    let second = moment.as_second() + i64::from(moment.subsec_nanosecond() > 0);
    Timestamp::from_second(second).unwrap_or(moment)
}

/// Who met a limit, and with which model.
#[derive(Clone, Copy, Debug)]
pub struct LimitedSubject<'a> {
    pub fingerprint: Fingerprint,
    pub class: &'a ModelClass,
    pub model: &'a str,
    pub user: Option<&'a str>,
}

/// Whether an answer speaks of rate limits at all.
#[must_use]
pub fn has_rate_limit_headers(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name.as_str().starts_with(PREFIX))
}

/// Judges an answer of Anthropic that is not a success.
///
/// What does not certainly come from Anthropic (no `request-id`, no JSON error) and what no wait
/// and no other upstream can cure is [`Said::Answered`]: the client gets it as it is.
#[must_use]
pub fn judge_failure(
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    class: &ModelClass,
    now: Timestamp,
) -> Said {
    match status.as_u16() {
        429 => judge_429(headers, body, class, now),
        529 => Said::Overloaded,
        500..=504 => Said::ServerError,
        _ => Said::Answered,
    }
}

fn judge_429(headers: &HeaderMap, body: &[u8], class: &ModelClass, now: Timestamp) -> Said {
    let Some(error) = ApiError::read(body).filter(|_| has_request_id(headers)) else {
        return Said::Answered;
    };
    let windows = Windows::read(headers, now);
    let rejected = windows.any_rejected(&claim(headers));
    let credits = word(headers, "anthropic-ratelimit-unified-overage-disabled-reason");
    let out_of_credits = credits == "out_of_credits" && !rejected;
    match error.kind.as_str() {
        "overloaded_error" => Said::Overloaded,
        "rate_limit_error" if out_of_credits || is_entitlement(&error) => Said::Answered,
        "rate_limit_error" => Said::Limited(windows.limited(headers, class, now)),
        // Without a name of its own it is what the windows say it is.
        "" if rejected && !is_entitlement(&error) => {
            Said::Limited(windows.limited(headers, class, now))
        }
        _ => Said::Answered,
    }
}

/// Judges an error that came inside a stream of Anthropic, before its first content.
#[must_use]
pub fn judge_event(error: &ApiError, headers: &HeaderMap) -> Said {
    match error.kind.as_str() {
        "overloaded_error" => Said::Overloaded,
        "rate_limit_error" if !is_entitlement(error) => Said::Limited(Limited {
            has_rate_limit_headers: has_rate_limit_headers(headers),
            ..Limited::default()
        }),
        "api_error" | "timeout_error" => Said::ServerError,
        // The client's own fault: nobody else would answer it better.
        _ => Said::Answered,
    }
}

/// Whether what looks like a limit is a matter of money or of the plan. Such words count wherever
/// they stand: if in doubt, the operator's money is not spent.
fn is_entitlement(error: &ApiError) -> bool {
    SPEND_CAPS.iter().chain(&OWN_CAPS).chain(&LONG_CONTEXT).any(|words| error.text.contains(words))
}

/// Whether an answer bears Anthropic's mark, which a middlebox does not send.
#[must_use]
pub fn has_request_id(headers: &HeaderMap) -> bool {
    headers.get(&names::REQUEST_ID).is_some_and(|id| !id.as_bytes().trim_ascii().is_empty())
}

/// The value of a header that is one word, in small letters; empty where there is none.
fn word(headers: &HeaderMap, name: &str) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().trim().to_ascii_lowercase()
}

/// The windows of an answer by name: `requests`, `unified-5h`, `unified-7d_opus`, …; the aggregate
/// of the subscription's windows is `unified`.
#[derive(Debug, Default)]
struct Windows {
    by_name: BTreeMap<String, Window>,
    retry_after: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Window {
    rejected: bool,
    reset: Option<Timestamp>,
}

/// What a rejected window stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stops {
    Account,
    /// One model family, until the window's own reset.
    Family,
    /// The model class of the request.
    Class,
    /// Nothing that this request waits for.
    Nothing,
}

impl Windows {
    fn read(headers: &HeaderMap, now: Timestamp) -> Self {
        let mut by_name: BTreeMap<String, Window> = BTreeMap::new();
        for (name, value) in headers {
            let Some((window, attribute)) =
                name.as_str().strip_prefix(PREFIX).and_then(|rest| rest.rsplit_once('-'))
            else {
                continue;
            };
            let Ok(value) = value.to_str() else { continue };
            if by_name.len() >= MOST_WINDOWS && !by_name.contains_key(window) {
                continue;
            }
            let window = by_name.entry(window.to_owned()).or_default();
            match attribute {
                "status" => {
                    window.rejected |= value.trim().eq_ignore_ascii_case("rejected");
                }
                "remaining" => window.rejected |= items(value, number).any(|left| left <= 0.0),
                "reset" => {
                    window.reset = window.reset.max(items(value, |text| reset(text, now)).max());
                }
                _ => {}
            }
        }
        Self { by_name, retry_after: retry_after_end(headers, now) }
    }

    /// Whether a window is used up, and not only the paid usage beyond it.
    fn any_rejected(&self, claim: &str) -> bool {
        let plan = claim == "five_hour" || claim.starts_with("seven_day");
        self.by_name
            .iter()
            .any(|(name, window)| window.rejected && !is_extra(name) && (name != "unified" || plan))
    }

    fn limited(&self, headers: &HeaderMap, class: &ModelClass, now: Timestamp) -> Limited {
        let mut limited = Limited {
            has_rate_limit_headers: has_rate_limit_headers(headers),
            ..Limited::default()
        };
        let claim = claim(headers);
        let single = self.by_name.iter().any(|(name, w)| w.rejected && stops_alone(name, class));
        let (mut account, mut family) = (false, false);
        for (name, window) in self.by_name.iter().filter(|(_, window)| window.rejected) {
            let stops = match name.as_str() {
                // The aggregate repeats one of the windows, and says which.
                "unified" if claim.is_empty() && single => Stops::Nothing,
                "unified" => stopped_by_claim(&claim),
                name => stopped_by(name, class),
            };
            account |= stops == Stops::Account;
            family |= stops == Stops::Family && window.reset.is_some();
            let slot = match stops {
                Stops::Account => &mut limited.account,
                Stops::Family | Stops::Class => &mut limited.class,
                Stops::Nothing => continue,
            };
            let name = match name.strip_prefix("unified-") {
                None if name == "unified" => claimed(&claim),
                name_of_plan => name_of_plan.unwrap_or(name).to_owned(),
            };
            keep_later(slot, window.reset, &name, now);
        }
        if account {
            keep_later(&mut limited.account, self.retry_after, RETRY_AFTER, now);
        } else if !family {
            keep_later(&mut limited.class, self.retry_after, RETRY_AFTER, now);
        }
        limited
    }
}

/// The window that the aggregate speaks of.
fn claim(headers: &HeaderMap) -> String {
    word(headers, "anthropic-ratelimit-unified-representative-claim")
}

/// The name of the window that the aggregate speaks of; its own where it does not say.
fn claimed(claim: &str) -> String {
    let short = [("five_hour", "5h"), ("seven_day", "7d")];
    let rest = short.iter().find_map(|(long, short)| Some((short, claim.strip_prefix(long)?)));
    rest.map_or_else(|| "unified".to_owned(), |(short, rest)| format!("{short}{rest}"))
}

fn keep_later(slot: &mut Option<End>, until: Option<Timestamp>, reason: &str, now: Timestamp) {
    let Some(until) = until.filter(|until| *until >= now) else { return };
    let reason = match slot {
        Some(end) if until <= end.until => return,
        // The same moment, told in seconds from now: the window's name says more.
        Some(end) if reason == RETRY_AFTER && until.duration_since(end.until) <= CLOCKS_APART => {
            std::mem::take(&mut end.reason)
        }
        Some(_) | None => reason.chars().take(64).collect(),
    };
    *slot = Some(End { until, reason });
}

fn stops_alone(name: &str, class: &ModelClass) -> bool {
    name != "unified" && stopped_by(name, class) != Stops::Nothing
}

fn stopped_by(name: &str, class: &ModelClass) -> Stops {
    if is_extra(name) {
        return Stops::Nothing;
    }
    match name.strip_prefix("unified-") {
        Some("5h" | "7d") => Stops::Account,
        // `7d_opus`, `7d_sonnet`, …: one family; `7d_oi`, the allowance with overage included, is
        // in practice the family that was asked for.
        Some(window) => match window.split_once('_') {
            Some((_, "oi")) => Stops::Family,
            Some((_, family)) if ModelClass::of(family).as_ref() == Some(class) => Stops::Family,
            Some((_, family)) if ModelClass::is_family(family) => Stops::Nothing,
            Some(_) | None => Stops::Class,
        },
        None => Stops::Class,
    }
}

fn stopped_by_claim(claim: &str) -> Stops {
    match claim {
        "five_hour" | "seven_day" => Stops::Account,
        claim if claim.starts_with("seven_day_") || claim.starts_with("five_hour_") => {
            Stops::Family
        }
        _ => Stops::Class,
    }
}

/// Paid usage beyond the plan, and how a refusal is softened: no window of its own.
fn is_extra(name: &str) -> bool {
    ["overage", "slow", "grace", "fallback"]
        .iter()
        .any(|extra| name.strip_prefix("unified-").is_some_and(|window| window.starts_with(extra)))
}
