//! Who answers a session, since when, and why?
//!
//! A session is one conversation of a client, which names it in `x-claude-code-session-id` and, in
//! its hooks and its status line, as `session_id`. The name is known to that client alone; only its
//! digest is kept. What is kept changes where the side changes, and nowhere else: as long as the
//! same side answers, there is nothing to be written.

pub mod client;
pub mod funds;
pub mod overview;
pub mod report;
pub mod words;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::failover::Upstream;
use crate::failover::cooldown::{Cooldown, Timestamp};
use crate::failover::identity::Fingerprint;
use crate::money::budget::{Month, SPENT, TOKENS, of_session};

/// How long a session is kept after its side has changed.
pub const LIFETIME: SignedDuration = SignedDuration::from_hours(24);

/// The longest name of a session, in bytes; a client's own has 36.
const LONGEST_NAME: usize = 128;
/// So many detours of a session are kept, the latest.
const MOST_DETOURS: usize = 6;

/// What a session is kept under: the SHA-256 of its name. `None` where that is no name: empty,
/// longer than 128 bytes, or with anything in it but visible ASCII.
#[must_use]
pub fn digest(name: &[u8]) -> Option<Fingerprint> {
    let fits = (1..=LONGEST_NAME).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
    fits.then(|| Fingerprint::of(&[name]))?
}

/// What is known of a session since its side has changed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Whose budget it is on.
    pub subject: String,
    /// The name that people know the subject by.
    pub user: Option<String>,
    /// The credential whose limits it runs into, as a digest.
    pub fingerprint: String,
    /// Who has answered.
    pub side: Upstream,
    /// Why Bedrock answers (`rate_limited`, `overloaded`, …), or why it does not though Anthropic
    /// cannot (`budget`, `budget_unavailable`). `None` is an ordinary answer of Anthropic.
    pub reason: Option<String>,
    /// The model class of the answer that has changed the side.
    pub class: String,
    /// The limit that is remembered meanwhile.
    pub limit: Option<Limit>,
    pub since: Timestamp,
    /// What the subject had spent before Bedrock began to answer.
    pub before: Option<Spending>,
    /// The moment of the change that its client was told of last.
    #[serde(default)]
    pub told: Option<Timestamp>,
    /// When Bedrock has answered instead of Anthropic, the oldest first: at most six times.
    #[serde(default)]
    pub detours: Vec<Detour>,
}

/// The limit that makes a session go to Bedrock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub until: Timestamp,
    /// `retry-after`, or the name of a window such as `5h`.
    pub window: String,
    /// Of the whole account, and not of one class.
    pub account: bool,
}

impl Limit {
    /// The limit as it is remembered for an account or a class.
    #[must_use]
    pub fn of(cooldown: &Cooldown, account: bool) -> Self {
        Self { until: cooldown.until, window: cooldown.reason.clone(), account }
    }
}

/// A time in which Bedrock has answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detour {
    pub began: Timestamp,
    pub ended: Timestamp,
    pub class: String,
    pub reason: Option<String>,
    /// The window of the limit, where there was one.
    #[serde(default)]
    pub window: Option<String>,
}

/// What a subject had spent in a month at some moment: micro-dollars, and tokens of prompts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// `2026-11`.
    pub month: String,
    pub spent: i64,
    /// The part of it that is the session's own, where there is one.
    #[serde(default)]
    pub own: Option<i64>,
    pub input: i64,
    pub read: i64,
    pub written: i64,
}

impl Spending {
    /// What the item of a month says of its subject, and of a session by the digest of its name.
    #[must_use]
    pub fn of(month: String, item: &Month, session: Option<&Fingerprint>) -> Self {
        let own = session.map(|digest| item.counter(&of_session(digest)));
        let [input, _, read, short, hour] = TOKENS.map(|name| item.counter(name));
        let written = short.saturating_add(hour);
        Self { month, spent: item.counter(SPENT), own, input, read, written }
    }

    /// Together with what was spent in an earlier month, and counted from there.
    #[must_use]
    pub fn plus(self, earlier: &Self) -> Self {
        Self {
            month: self.month,
            spent: self.spent.saturating_add(earlier.spent),
            own: self.own.zip(earlier.own).map(|(own, earlier)| own.saturating_add(earlier)),
            input: self.input.saturating_add(earlier.input),
            read: self.read.saturating_add(earlier.read),
            written: self.written.saturating_add(earlier.written),
        }
    }
}

/// An answer, as far as it says who answers.
#[derive(Clone, Debug)]
pub struct Answered {
    pub side: Upstream,
    pub reason: Option<String>,
    pub class: String,
    pub limit: Option<Limit>,
    pub before: Option<Spending>,
}

/// Whose session it is.
#[derive(Clone, Debug)]
pub struct Whose {
    pub subject: String,
    pub user: Option<String>,
    pub fingerprint: Fingerprint,
}

impl Session {
    /// What is to be kept after an answer; `None` where nothing has changed.
    ///
    /// Clients ask for small things of other models in the same session, which may still be
    /// answered by Anthropic: only an answer of the class that is limited is the way back.
    #[must_use]
    pub fn after(
        known: Option<&Self>,
        answered: Answered,
        whose: impl FnOnce() -> Whose,
        now: Timestamp,
    ) -> Option<Self> {
        let same = known.is_some_and(|known| known.is_unchanged_by(&answered));
        let usual = known.is_none() && answered.is_usual();
        if usual || (same && !extends(known, &answered, now)) {
            return None;
        }
        let Whose { subject, user, fingerprint } = whose();
        let (since, told) = match known.filter(|_| same) {
            Some(known) => (known.since, known.told),
            None => (now, None),
        };
        let begins = answered.side == Upstream::Bedrock && !same;
        let before =
            if begins { answered.before } else { known.and_then(|known| known.before.clone()) };
        Some(Self {
            subject,
            user,
            fingerprint: fingerprint.to_string(),
            side: answered.side,
            reason: answered.reason,
            class: answered.class,
            limit: answered.limit,
            since,
            before,
            told,
            detours: known.map(|known| known.detours_until(now, same)).unwrap_or_default(),
        })
    }

    /// When the session is forgotten.
    #[must_use]
    pub fn ends(&self) -> Timestamp {
        self.since.checked_add(LIFETIME).unwrap_or(Timestamp::MAX)
    }

    /// Whether Bedrock answers at `now`, as far as can be told before it is asked: a limit that is
    /// over is no reason any more.
    #[must_use]
    pub fn is_on_bedrock(&self, now: Timestamp) -> bool {
        let over = self.limit.as_ref().is_some_and(|limit| limit.until <= now);
        self.side == Upstream::Bedrock && !over
    }

    /// Whether the budget has kept Bedrock from answering.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.side == Upstream::Anthropic && self.reason.as_deref() == Some("budget")
    }

    /// Whether nobody was told yet of the change of this moment.
    #[must_use]
    pub fn is_untold_of(&self, since: Timestamp) -> bool {
        self.since == since && self.told != Some(since)
    }

    fn is_unchanged_by(&self, answered: &Answered) -> bool {
        let of_another_class =
            self.class != answered.class && !self.limit.as_ref().is_some_and(|limit| limit.account);
        match (self.side, answered.side) {
            (Upstream::Bedrock, Upstream::Bedrock) => true,
            (Upstream::Anthropic, Upstream::Bedrock) => false,
            (Upstream::Bedrock, Upstream::Anthropic) => answered.is_usual() && of_another_class,
            (Upstream::Anthropic, Upstream::Anthropic) => {
                self.reason == answered.reason || (answered.is_usual() && of_another_class)
            }
        }
    }

    fn detours_until(&self, now: Timestamp, goes_on: bool) -> Vec<Detour> {
        let mut detours = self.detours.clone();
        if self.side == Upstream::Bedrock && !goes_on {
            let (class, reason) = (self.class.clone(), self.reason.clone());
            let window = self.limit.as_ref().map(|limit| limit.window.clone());
            detours.push(Detour { began: self.since, ended: now, class, reason, window });
        }
        let too_many = detours.len().saturating_sub(MOST_DETOURS);
        detours.split_off(too_many)
    }
}

impl Answered {
    /// Anthropic has answered, as it does mostly.
    const fn is_usual(&self) -> bool {
        matches!(self.side, Upstream::Anthropic) && self.reason.is_none()
    }
}

/// Whether Bedrock goes on answering, and until a later moment than is known.
fn extends(known: Option<&Session>, answered: &Answered, now: Timestamp) -> bool {
    let (Some(known), Some(new)) = (known, &answered.limit) else { return false };
    let over = known.limit.as_ref().is_none_or(|limit| limit.until <= now);
    answered.side == Upstream::Bedrock && over && new.until > now
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_the_side_is_kept() {
        use Upstream::{Anthropic, Bedrock};
        let bedrock = || (Bedrock, Some("rate_limited"), "opus", Some(600));
        // What is known of the session, what answers then, and whether that is kept.
        let cases = [
            (None, (Anthropic, None, "opus", None), false),
            (None, bedrock(), true),
            (None, (Anthropic, Some("budget"), "opus", None), true),
            (Some(bedrock()), bedrock(), false),
            (Some(bedrock()), (Bedrock, Some("overloaded"), "haiku", None), false),
            (Some(bedrock()), (Anthropic, None, "opus", None), true),
            (Some(bedrock()), (Anthropic, None, "haiku", None), false),
            (Some(bedrock()), (Anthropic, Some("budget"), "opus", None), true),
            (Some((Anthropic, None, "opus", None)), bedrock(), true),
            (Some((Anthropic, None, "opus", None)), (Anthropic, None, "opus", None), false),
            (
                Some((Anthropic, Some("budget"), "opus", None)),
                (Anthropic, Some("budget"), "opus", None),
                false,
            ),
            (
                Some((Anthropic, Some("budget"), "opus", None)),
                (Anthropic, None, "opus", None),
                true,
            ),
            // A limit that was not known, or is over, has a new end.
            (
                Some((Bedrock, Some("overloaded"), "opus", None)),
                (Bedrock, Some("rate_limited"), "opus", Some(600)),
                true,
            ),
            (Some((Bedrock, Some("rate_limited"), "opus", Some(50))), bedrock(), true),
        ];
        for (known, then, kept) in cases {
            let first = known.map(|known| begun(None, known, 0).unwrap_or_else(usual));
            let next = begun(first.as_ref(), then, 100);
            assert_eq!(next.is_some(), kept, "{known:?}, {then:?}");
        }
    }

    #[test]
    fn a_limit_of_the_account_ends_with_any_answer_of_anthropic() {
        let mut known = begun(None, (Upstream::Bedrock, None, "haiku", Some(600)), 0);
        for limit in known.iter_mut().filter_map(|known| known.limit.as_mut()) {
            limit.account = true;
        }
        let back = begun(known.as_ref(), (Upstream::Anthropic, None, "opus", None), 700);
        let back = back.expect("it has changed");
        let detour = &back.detours[0];
        assert_eq!((detour.began, detour.ended), (at(0), at(700)));
    }

    #[test]
    fn the_latest_detours_are_kept() {
        let mut session = None;
        for turn in 0..30 {
            let side = if turn % 2 == 0 { Upstream::Bedrock } else { Upstream::Anthropic };
            session = begun(session.as_ref(), (side, None, "opus", None), turn).or(session);
        }
        let detours = session.expect("there is one").detours;
        let began: Vec<_> = detours.iter().map(|detour| detour.began.as_second()).collect();
        assert_eq!(began, [18, 20, 22, 24, 26, 28]);
    }

    #[test]
    fn a_name_is_short_and_visible() {
        for (name, fits) in [
            ("0ab54ff5-7fcf-4d3b-8a51-2d7ef1e2b1a4".to_owned(), true),
            ("x".repeat(128), true),
            ("x".repeat(129), false),
            (String::new(), false),
            ("a b".to_owned(), false),
            ("é".to_owned(), false),
        ] {
            assert_eq!(digest(name.as_bytes()).is_some(), fits, "{name}");
        }
    }

    type Turn<'a> = (Upstream, Option<&'a str>, &'a str, Option<i64>);

    fn begun(
        known: Option<&Session>,
        (side, reason, class, until): Turn<'_>,
        second: i64,
    ) -> Option<Session> {
        let limit =
            until.map(|until| Limit { until: at(until), window: "5h".to_owned(), account: false });
        let (reason, class) = (reason.map(str::to_owned), class.to_owned());
        let answered = Answered { side, reason, class, limit, before: None };
        let fingerprint = digest(b"sk-ant")?;
        let whose = || Whose { subject: "ada".to_owned(), user: None, fingerprint };
        Session::after(known, answered, whose, at(second))
    }

    /// A session that is back on Anthropic.
    fn usual() -> Session {
        let bedrock = begun(None, (Upstream::Bedrock, None, "opus", None), 0);
        begun(bedrock.as_ref(), (Upstream::Anthropic, None, "opus", None), 0).expect("it is back")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }
}
