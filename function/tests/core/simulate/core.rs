//! The core at work: what `proxy::exchange` does around it, without sockets, tasks or a clock.
//!
//! All decisions are the core's. Words become the heads and bodies that Anthropic would send, in one
//! of their spellings.

use std::time::Duration;

use function::failover::cooldown::Timestamp;
use function::failover::hint::{Limited, LimitedSubject, judge_failure};
use function::failover::identity::{Fingerprint, LimitKey, LimitScope, ModelClass};
use function::failover::known::{Known, Proof};
use function::failover::proof::{self, Renewal, Standing};
use function::failover::{self, Attempt, FallbackOn, Said, Served, Verdict};
use function::store::memory::MemoryStore;
use function::store::{Query, RateLimitStore};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, StatusCode};
use jiff::SignedDuration;

use super::story::{
    CLASSES, Done, Free, Limits, NoLimit, PROOF_AGE, Policy, Proofs, REGIONS, Reply, Request, Step,
    Stops, Word,
};

pub(crate) struct Core {
    policy: failover::Policy,
    store: MemoryStore,
}

/// One request on its way.
struct Way<'a> {
    core: &'a Core,
    request: &'a Request,
    now: i64,
    steps: Vec<Step>,
    known: Known,
    /// Anthropic's last 429 showed whose limit it was.
    marked: bool,
    asked_anthropic: usize,
}

impl Core {
    pub(crate) fn new(policy: Policy) -> Self {
        let fallback_on = FallbackOn {
            rate_limit: policy.rate_limit,
            overloaded: policy.overloaded,
            server_error: policy.server_error,
            unreachable: policy.unreachable,
        };
        let seconds = |seconds: i64| Duration::from_secs(seconds.unsigned_abs());
        let policy = failover::Policy {
            tracking: policy.tracking,
            fallback: policy.fallback,
            fallback_on,
            retry_threshold: seconds(policy.threshold),
            max_retry_wait: seconds(policy.longest_wait),
            regions: REGIONS,
        };
        Self { policy, store: MemoryStore::new() }
    }

    pub(crate) fn answer(&mut self, request: &Request, now: i64) -> Done {
        let (who, class) = (whose(request.who), class(request.class));
        let query = Query { subject: Some((&who, &class)), key: None, session: None };
        let read = self.store.look_up(&query, at(now)).now_or_never().unwrap().unwrap();
        let known = if request.unread || !self.policy.fallback { Known::default() } else { read };
        let mut way = Way {
            core: self,
            request,
            now,
            steps: Vec::new(),
            known,
            marked: false,
            asked_anthropic: 0,
        };
        way.drive();
        let (steps, ended) = (way.steps, way.now);
        let (limits, proofs) = self.remembered(ended);
        Done { steps, ended, limits, proofs }
    }

    fn remembered(&self, now: i64) -> (Limits, Proofs) {
        let (mut limits, mut proofs) = (Vec::new(), Vec::new());
        for who in 0..2 {
            let mut account = None;
            let mut proof = None;
            for (index, name) in CLASSES.iter().enumerate() {
                let (whose, class) = (whose(who), class(index));
                let query = Query { subject: Some((&whose, &class)), key: None, session: None };
                let known = self.store.look_up(&query, at(now)).now_or_never().unwrap().unwrap();
                limits.extend(known.class.map(|limit| (who, *name, limit.until.as_second())));
                account = known.account.map(|limit| (who, "*", limit.until.as_second()));
                proof = known.proof.map(|proof| (who, proof.proven_at.as_millisecond()));
            }
            limits.extend(account);
            proofs.extend(proof);
        }
        (limits, proofs)
    }
}

impl Way<'_> {
    fn drive(&mut self) {
        let policy = self.core.policy;
        let mut attempt = policy.route(self.known.cooldown(), at(self.now));
        loop {
            let verdict = match attempt {
                Attempt::Anthropic(asked) => {
                    let said = self.ask_anthropic();
                    policy.after_anthropic(asked, said, at(self.now))
                }
                Attempt::Bedrock(asked) => {
                    policy.after_bedrock(asked, self.ask_bedrock(asked.region))
                }
            };
            match verdict {
                Verdict::Reply => return self.steps.push(Step::Reply),
                Verdict::Wait { delay, then } => {
                    let delay = i64::try_from(delay.as_millis()).unwrap();
                    self.steps.push(Step::Wait(delay));
                    self.now += delay;
                    attempt = then;
                }
                Verdict::FailOver { next, remember } => {
                    self.remember(remember);
                    attempt = next;
                }
                Verdict::GiveUp { passes, remember } => {
                    self.remember(remember);
                    return self.steps.push(Step::GivenUp { soon: passes });
                }
            }
        }
    }

    fn ask_anthropic(&mut self) -> Said {
        self.steps.push(Step::Anthropic);
        self.now += self.request.takes;
        let word = self.request.words[self.asked_anthropic.min(1)];
        self.asked_anthropic += 1;
        if word == Word::Unreachable {
            return Said::Unreachable;
        }
        let (status, headers, body) = spelled(word, self.request, self.now);
        if status == StatusCode::OK {
            if let Some(new) = proof::carried_by(status, &headers, false, at(self.now)) {
                self.forget_limits();
                self.prove(new);
            }
            return Said::Answered;
        }
        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        if refused && headers.contains_key("request-id") {
            self.revoke();
        }
        let class = class(self.request.class);
        let outcome = judge_failure(status, &headers, body.as_bytes(), &class, at(self.now));
        let limited = matches!(outcome, Said::Limited(_));
        let carried = proof::carried_by(status, &headers, limited, at(self.now));
        self.marked = carried.is_some();
        if let Some(new) = carried {
            self.prove(new);
        }
        outcome
    }

    fn ask_bedrock(&mut self, region: usize) -> Served {
        if !self.is_proven() {
            return Served::Unproven;
        }
        if self.request.replies[region] == Reply::Untranslatable {
            return Served::Untranslatable;
        }
        self.steps.push(Step::Bedrock(region));
        self.now += self.request.takes;
        match self.request.replies[region] {
            Reply::Answer => Served::Answered,
            Reply::Passes => Served::Unserved { passes: true },
            Reply::Stays | Reply::Untranslatable => Served::Unserved { passes: false },
        }
    }

    fn standing(&self) -> Standing {
        let age = Duration::from_secs(PROOF_AGE.unsigned_abs());
        Standing::of(&self.known, None, age, at(self.now))
    }

    fn is_proven(&mut self) -> bool {
        let standing = self.standing();
        if standing == Standing::Proven {
            return true;
        }
        self.steps.push(Step::FreeCall);
        let mut marks = HeaderMap::new();
        let status = match self.request.free_call {
            Free::Accepts => {
                marks.insert("request-id", "req_1".parse().unwrap());
                marks.insert("anthropic-organization-id", "org".parse().unwrap());
                Some(StatusCode::OK)
            }
            Free::Unmarked => Some(StatusCode::OK),
            Free::Refuses => Some(StatusCode::UNAUTHORIZED),
            Free::CannotSay => Some(StatusCode::BAD_GATEWAY),
            Free::Silent => None,
        };
        let carried = status.and_then(|s| proof::carried_by(s, &marks, false, at(self.now)));
        let said = status.filter(|status| *status != StatusCode::OK || carried.is_some());
        let renewal = Renewal::of(standing, said, at(self.now));
        if let Some(new) = carried {
            self.prove(new);
        }
        self.standing().stands_after(renewal)
    }

    fn prove(&mut self, new: Proof) {
        let new = proof::joined(&self.known, new);
        let age = Duration::from_secs(PROOF_AGE.unsigned_abs());
        let worth = self.core.policy.fallback
            && proof::is_worth_writing(&self.known, &new, age, at(self.now));
        self.known.proof = Some(new.clone());
        if worth && !self.request.unwritten {
            let whose = whose(self.request.who);
            let writing = self.core.store.remember_proof(&whose, &new);
            writing.now_or_never().unwrap().unwrap();
        }
    }

    fn revoke(&mut self) {
        if self.known.proof.is_some() && !self.request.unwritten {
            let whose = whose(self.request.who);
            let writing = self.core.store.forget_proof(&whose);
            writing.now_or_never().unwrap().unwrap();
        }
        self.forget_limits();
        self.known = Known::default();
    }

    fn forget_limits(&mut self) {
        let fingerprint = whose(self.request.who);
        let known = [
            (LimitScope::Class(class(self.request.class)), self.known.class.take()),
            (LimitScope::Account, self.known.account.take()),
        ];
        for (scope, limit) in known {
            if let Some(limit) = limit.filter(|_| !self.request.unwritten) {
                let key = LimitKey { fingerprint, scope };
                let writing = self.core.store.forget_limit(&key, limit.recorded_at);
                writing.now_or_never().unwrap().unwrap();
            }
        }
    }

    fn remember(&mut self, limited: Option<Limited>) {
        let Some(limited) = limited.filter(|_| self.marked) else { return };
        if self.standing() != Standing::Proven || self.request.unwritten {
            return;
        }
        let class = class(self.request.class);
        let whose = LimitedSubject {
            fingerprint: whose(self.request.who),
            class: &class,
            model: "claude",
            user: None,
        };
        for (key, limit) in limited.cooldowns(&whose, at(self.now)) {
            let writing = self.core.store.remember_limit(&key, &limit);
            writing.now_or_never().unwrap().unwrap();
        }
    }
}

/// What Anthropic sends for a word, at a moment.
fn spelled(word: Word, request: &Request, now: i64) -> (StatusCode, HeaderMap, String) {
    let mut headers = HeaderMap::new();
    let mut add = |name: &str, value: &str| {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, value.parse().unwrap());
    };
    add("request-id", "req_1");
    let limit = error("rate_limit_error", "This request would exceed your rate limit.");
    let (status, body) = match word {
        Word::Answer => {
            add("anthropic-organization-id", "org");
            (200, String::new())
        }
        Word::Limit { stops, seconds, marked } => {
            if marked {
                add("anthropic-organization-id", "org");
            }
            spell_limit(&mut add, (stops, seconds, marked), request, now);
            (429, limit)
        }
        Word::Overloaded { inside_429: true } => {
            add("retry-after", "500");
            (429, error("overloaded_error", "Overloaded"))
        }
        Word::Overloaded { inside_429: false } => (529, error("overloaded_error", "Overloaded")),
        Word::ServerError => (500 + (request.spelling % 5) as u16, "<html>".to_owned()),
        Word::Unreachable => unreachable!("nothing is sent"),
        Word::NoLimit(kind) => {
            add("anthropic-organization-id", "org");
            add("retry-after", "500");
            if kind == NoLimit::Credits {
                add("anthropic-ratelimit-unified-overage-disabled-reason", "out_of_credits");
            }
            (429, spell_no_limit(kind, &limit))
        }
        Word::Refused { .. } => {
            let status = if request.spelling.is_multiple_of(2) { 401 } else { 403 };
            (status, error("authentication_error", "no"))
        }
        Word::Invalid => (400, error("invalid_request_error", "no")),
    };
    let unmarked = Word::Refused { marked: false };
    if word == unmarked || word == Word::NoLimit(NoLimit::NoRequestId) {
        headers.remove("request-id");
    }
    (StatusCode::from_u16(status).unwrap(), headers, body)
}

fn error(kind: &str, message: &str) -> String {
    format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}}}}"#)
}

fn spell_no_limit(kind: NoLimit, limit: &str) -> String {
    match kind {
        NoLimit::SpendCap => {
            let details = r#""details":{"error_code":"enforced_spend_limit_reached"}}}"#;
            limit.replace("}}", &format!(",{details}"))
        }
        NoLimit::Credits | NoLimit::NoRequestId => limit.to_owned(),
        NoLimit::LongContext => {
            error("rate_limit_error", "Extra usage is required for long context requests.")
        }
        NoLimit::OtherKind => error("billing_error", "Pay first."),
        NoLimit::NoJson => "Too many requests".to_owned(),
    }
}

/// The headers of a limit: the same end can be told in many ways.
fn spell_limit(
    add: &mut impl FnMut(&str, &str),
    (stops, seconds, marked): (Stops, Option<i64>, bool),
    request: &Request,
    now: i64,
) {
    let spelling = request.spelling;
    let bit = |n: u32| spelling >> n & 1 == 1;
    let Some(seconds) = seconds else {
        if marked && bit(0) {
            add("anthropic-ratelimit-requests-limit", "50");
        }
        return;
    };
    let end = at(now + seconds * 1000);
    let unix = end.as_second().to_string();
    if !marked {
        // Nothing but a number of seconds.
        return add("retry-after", &seconds.to_string());
    }
    let family = CLASSES[request.class];
    match stops {
        Stops::Account => {
            let window = if bit(1) { "5h" } else { "7d" };
            add(&format!("anthropic-ratelimit-unified-{window}-status"), "rejected");
            if bit(2) {
                // The end is told by `retry-after`, and the window says only that it is used up.
                add("retry-after", &seconds.to_string());
            } else {
                add(&format!("anthropic-ratelimit-unified-{window}-reset"), &unix);
                add("retry-after", "1");
            }
        }
        Stops::Family => {
            let name = format!("anthropic-ratelimit-unified-7d_{family}");
            add(&format!("{name}-status"), "rejected");
            add(&format!("{name}-reset"), &unix);
            add("retry-after", "500000");
        }
        Stops::Class if bit(3) => {
            add("anthropic-ratelimit-unified-30d-status", "rejected");
            add("anthropic-ratelimit-unified-30d-reset", &unix);
        }
        Stops::Class => {
            add("anthropic-ratelimit-input-tokens-remaining", "0");
            add("anthropic-ratelimit-input-tokens-reset", &end.to_string());
            if bit(4) {
                add("retry-after", "1");
            }
        }
    }
    // What is not used up says nothing.
    let far = at(now + 300_000_000).as_second().to_string();
    if bit(5) {
        add("anthropic-ratelimit-requests-remaining", "7");
        add("anthropic-ratelimit-requests-reset", "2199-01-01T00:00:00Z");
    }
    if bit(6) {
        add("anthropic-ratelimit-unified-overage-status", "rejected");
        add("anthropic-ratelimit-unified-overage-reset", &far);
    }
    if bit(7) {
        let other = if family == "opus" { "sonnet" } else { "opus" };
        add(&format!("anthropic-ratelimit-unified-7d_{other}-status"), "rejected");
        add(&format!("anthropic-ratelimit-unified-7d_{other}-reset"), &far);
    }
}

fn whose(who: usize) -> Fingerprint {
    Fingerprint::of(&[format!("sk-ant-api03-test-{who}").as_bytes()]).unwrap()
}

fn class(index: usize) -> ModelClass {
    ModelClass::of(CLASSES[index]).unwrap()
}

fn at(millisecond: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_millis(millisecond)
}
