//! Who answers how much, and for whom? What the function's log has told of the last minutes.
//!
//! Pure: lines and now are arguments. CloudWatch shows lines some seconds late, so the last minute
//! is never quite full.

use std::collections::{BTreeMap, BTreeSet};

use function::telemetry::RequestLine;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::proxy::logs::{Event, Tail};

/// How far back is looked, in minutes.
pub const MINUTES: u32 = 15;

/// What selects the lines of requests.
pub const PATTERN: &str = "{ $.duration_ms >= 0 }";

/// The requests of the last minutes.
#[derive(Debug, Clone)]
pub struct Traffic {
    tail: Tail,
    requests: Vec<Request>,
}

#[derive(Debug, Clone)]
struct Request {
    at: Timestamp,
    line: RequestLine,
}

/// How much one upstream answers.
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    /// As the log names it; `proxy` answered by itself.
    pub upstream: String,
    pub last_minute: usize,
    pub per_minute: f64,
    /// Of 100 requests, so many.
    pub share: f64,
    /// Answers that are errors, or that were not as they should be.
    pub failed: usize,
    /// Half of the answers began sooner, in milliseconds.
    pub first_byte_ms: Option<u64>,
}

/// What one user has asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserTraffic {
    pub requests: usize,
    pub by_bedrock: usize,
    pub last: Option<Timestamp>,
}

/// Those that are always shown.
const ALWAYS_SHOWN: [&str; 2] = ["anthropic", "bedrock"];

impl Traffic {
    /// Begins to look.
    #[must_use]
    pub fn before(now: Timestamp) -> Self {
        Self { tail: Tail::since(beginning(now).as_millisecond()), requests: Vec::new() }
    }

    /// From when on lines are to be read, in milliseconds since 1970.
    #[must_use]
    pub fn from(&self) -> i64 {
        self.tail.from()
    }

    /// Takes what was read. What was read before is known again, and what is too old is forgotten.
    pub fn take(&mut self, events: Vec<Event>, now: Timestamp) {
        let fresh = self.tail.fresh(events, now.as_millisecond());
        self.requests.extend(fresh.into_iter().filter_map(|event| {
            let at = Timestamp::from_millisecond(event.at).ok()?;
            Some(Request { at, line: RequestLine::parse(&event.message)? })
        }));
        self.forget(now);
    }

    /// Forgets what is too old to count.
    pub fn forget(&mut self, now: Timestamp) {
        self.requests.retain(|request| request.at >= beginning(now));
    }

    /// How much each upstream answers.
    #[must_use]
    pub fn rates(&self, now: Timestamp) -> Vec<Rate> {
        let seen: BTreeSet<&str> = self.requests.iter().map(Request::upstream).collect();
        let others = seen.into_iter().filter(|name| !ALWAYS_SHOWN.contains(name));
        ALWAYS_SHOWN.into_iter().chain(others).map(|upstream| self.rate(upstream, now)).collect()
    }

    fn rate(&self, upstream: &str, now: Timestamp) -> Rate {
        let of_it = || self.requests.iter().filter(|request| request.upstream() == upstream);
        let minute = now - SignedDuration::from_mins(1);
        let mut first_bytes: Vec<u64> =
            of_it().filter_map(|request| request.line.first_byte_ms).collect();
        first_bytes.sort_unstable();
        let count = of_it().count();
        Rate {
            upstream: upstream.to_owned(),
            last_minute: of_it().filter(|request| request.at >= minute).count(),
            per_minute: tenths(count as f64 / f64::from(MINUTES)),
            share: tenths(100.0 * count as f64 / self.requests.len().max(1) as f64),
            failed: of_it().filter(|request| request.failed()).count(),
            first_byte_ms: first_bytes.get(first_bytes.len() / 2).copied(),
        }
    }

    /// Who has asked, by name; `None` is everybody without one.
    #[must_use]
    pub fn users(&self) -> BTreeMap<Option<String>, UserTraffic> {
        let mut users = BTreeMap::<Option<String>, UserTraffic>::new();
        for request in &self.requests {
            let asked = users.entry(request.line.user.clone()).or_default();
            asked.requests += 1;
            asked.by_bedrock += usize::from(request.upstream() == "bedrock");
            asked.last = asked.last.max(Some(request.at));
        }
        users
    }
}

impl Request {
    fn upstream(&self) -> &str {
        self.line.upstream.as_deref().unwrap_or("proxy")
    }

    fn failed(&self) -> bool {
        self.line.fault.is_some() || self.line.status.is_none_or(|status| status >= 400)
    }
}

impl Rate {
    /// What a machine reads.
    #[must_use]
    pub fn json(&self) -> Value {
        let Self { upstream, last_minute, per_minute, share, failed, first_byte_ms } = self;
        json!({
            "upstream": upstream, "last_minute": last_minute, "per_minute": per_minute,
            "share_percent": share, "failed": failed, "first_byte_ms": first_byte_ms,
        })
    }
}

fn beginning(now: Timestamp) -> Timestamp {
    now - SignedDuration::from_mins(MINUTES.into())
}

/// Rounded to one decimal.
fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_minutes_and_of_each_upstream() {
        let mut traffic = Traffic::before(now());
        let page = vec![
            line("a", 100, "anthropic", 200, 10),
            line("b", 50, "anthropic", 429, 30),
            line("c", 10, "bedrock", 200, 50),
            line("d", 901, "bedrock", 200, 50),
        ];
        traffic.take(page.clone(), now());
        // The next round reads the newest again.
        let from = traffic.from();
        traffic.take(page.into_iter().filter(|event| event.at >= from).collect(), now());
        let rates = traffic.rates(now());
        let anthropic = Rate {
            upstream: "anthropic".to_owned(),
            last_minute: 1,
            per_minute: 0.1,
            share: 66.7,
            failed: 1,
            first_byte_ms: Some(30),
        };
        assert_eq!(rates[0], anthropic);
        assert_eq!((rates[1].last_minute, rates[1].share, rates[1].failed), (1, 33.3, 0));
        assert_eq!(rates.len(), 2);
    }

    #[test]
    fn nobody_is_asked_and_both_upstreams_are_there() {
        let rates = Traffic::before(now()).rates(now());
        let shown: Vec<_> = rates.iter().map(|rate| (rate.upstream.as_str(), rate.share)).collect();
        assert_eq!(shown, [("anthropic", 0.0), ("bedrock", 0.0)]);
        assert_eq!(rates[0].first_byte_ms, None);
    }

    #[test]
    fn what_is_too_old_is_forgotten() {
        let mut traffic = Traffic::before(now());
        traffic.take(vec![line("a", 800, "bedrock", 200, 1)], now());
        assert_eq!(traffic.users()[&Some("alice".to_owned())].by_bedrock, 1);
        traffic.forget(now() + SignedDuration::from_secs(101));
        assert!(traffic.users().is_empty());
    }

    #[test]
    fn a_line_that_is_no_request_is_none() {
        let mut traffic = Traffic::before(now());
        let message = "START RequestId: 1".to_owned();
        let at = now().as_millisecond();
        traffic.take(vec![Event { id: "a".to_owned(), at, message }], now());
        assert!(traffic.users().is_empty());
    }

    fn now() -> Timestamp {
        "2026-11-26T04:22:00Z".parse().unwrap()
    }

    /// A request of alice's, so many seconds ago.
    fn line(id: &str, ago: i64, upstream: &str, status: u16, first_byte_ms: u64) -> Event {
        let message = json!({
            "request.id": id, "call": "messages", "user": "alice", "upstream": upstream,
            "status": status, "first_byte_ms": first_byte_ms, "duration_ms": 100,
        });
        let at = now() - SignedDuration::from_secs(ago);
        Event { id: id.to_owned(), at: at.as_millisecond(), message: message.to_string() }
    }
}
