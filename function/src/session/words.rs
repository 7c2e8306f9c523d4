//! What a person reads of a session: one line, plain text.

use jiff::tz::TimeZone;

use super::funds::Funds;
use super::{Session, Spending};
use crate::failover::Upstream;
use crate::failover::cooldown::Timestamp;
use crate::money::MicroDollars;

/// Who speaks, where several do.
const SPEAKER: &str = "claude-proxy: ";

/// A moment by the clock of a zone: the time alone where it is on the same day as `now`.
pub(super) fn moment(moment: Timestamp, now: Option<Timestamp>, zone: &TimeZone) -> String {
    let local = moment.to_zoned(zone.clone());
    let is_today = now.is_some_and(|now| now.to_zoned(zone.clone()).date() == local.date());
    let form = if is_today { "%H:%M %Z" } else { "%b %-d %H:%M %Z" };
    local.strftime(form).to_string()
}

/// Why Bedrock answers, for a person.
#[must_use]
pub fn why(session: &Session) -> String {
    let window = session.limit.as_ref().map(|limit| limit.window.as_str());
    because(window, session.reason.as_deref())
}

/// The same of a window, where there is one, else of a reason.
pub(super) fn because(window: Option<&str>, reason: Option<&str>) -> String {
    let why = match (window, reason) {
        (Some(window), _) if window.starts_with("5h") => "5-hour limit",
        (Some(window), _) if window.starts_with("7d") => "weekly limit",
        (None, Some("overloaded")) => "Anthropic is overloaded",
        (None, Some("server_error")) => "Anthropic fails",
        (None, Some("unreachable")) => "Anthropic cannot be reached",
        (Some(_) | None, _) => "rate limit",
    };
    why.to_owned()
}

/// Where Bedrock answers, until when and why.
fn on_bedrock(session: &Session, zone: &TimeZone, now: Timestamp) -> String {
    let until = session.limit.as_ref().map(|limit| moment(limit.until, Some(now), zone));
    let until = until.map(|until| format!(" until {until}")).unwrap_or_default();
    format!("Bedrock{until} ({})", why(session))
}

impl Session {
    /// What is to be told of the last change; `None` where that is nothing.
    ///
    /// `funds` are the subject's, and `spent` what it has spent by now.
    #[must_use]
    pub fn news(
        &self,
        funds: Option<&Funds>,
        spent: Option<&Spending>,
        zone: &TimeZone,
        now: Timestamp,
    ) -> Option<String> {
        match (self.side, self.reason.as_deref()) {
            (Upstream::Bedrock, _) => {
                let dollars = funds.map(|funds| format!(" · {}", funds.so_far()));
                Some(format!("on {}{}", on_bedrock(self, zone, now), dollars.unwrap_or_default()))
            }
            (Upstream::Anthropic, None) if self.is_back() => {
                let cost = spent.map(|spent| self.cost(spent)).unwrap_or_default();
                Some("back on Anthropic".to_owned() + &cost)
            }
            (Upstream::Anthropic, Some("budget_unavailable")) => {
                Some("Bedrock is not asked: its budget cannot be read or written".to_owned())
            }
            (Upstream::Anthropic, _) => None,
        }
    }

    /// What the last detour has cost.
    fn cost(&self, spent: &Spending) -> String {
        let Some(before) = &self.before else { return String::new() };
        let more = |of: fn(&Spending) -> i64| (of(spent) - of(before)).max(0).unsigned_abs();
        let all = more(|spending| spending.spent);
        let own = spent.own.zip(before.own).map(|(own, before)| (own - before).max(0));
        let cost = MicroDollars(own.map_or(all, i64::unsigned_abs));
        let (read, rest) = (more(|s| s.read), more(|s| s.input.saturating_add(s.written)));
        let share = (read * 100).checked_div(read + rest);
        let share = share.map(|share| format!(", cache {share} %")).unwrap_or_default();
        format!(" · this detour cost ${}{share}", cost.cents())
    }

    /// Whether the last change was the way back to Anthropic.
    fn is_back(&self) -> bool {
        self.detours.last().is_some_and(|detour| detour.ended == self.since)
    }
}

/// What stands in a status line; empty where there is nothing to be said.
#[must_use]
pub fn line(
    session: Option<&Session>,
    funds: Option<&Funds>,
    zone: &TimeZone,
    now: Timestamp,
) -> String {
    if let Some(session) = session.filter(|session| session.is_on_bedrock(now)) {
        let dollars = funds.map(|funds| format!(" · {}", funds.so_far())).unwrap_or_default();
        return on_bedrock(session, zone, now) + &dollars;
    }
    let Some((funds, fill)) = funds.and_then(|funds| Some((funds, funds.fullest()?))) else {
        return String::new();
    };
    let refused = session.is_some_and(Session::is_refused);
    match fill.percent() {
        100.. if fill.limit.0 > 0 => funds.used_up(&fill),
        _ if refused => funds.used_up(&fill),
        75..100 => format!("{} % of the Bedrock budget: {}", fill.percent(), funds.so_far()),
        _ => String::new(),
    }
}

/// One line of a conversation, by whom it is said; `None` where there is nothing to be said.
#[must_use]
pub fn said(sentences: &[String]) -> Option<String> {
    let text = plain(&sentences.join(" · "));
    (!text.is_empty()).then(|| format!("{SPEAKER}{text}"))
}

/// A text without anything that a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).collect()
}
