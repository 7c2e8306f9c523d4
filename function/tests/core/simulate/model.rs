//! The contract, sections 1.4 to 1.8 and 2, as a person would carry it out with pencil and paper.
//!
//! Numbers and lists only; nothing of the proxy's own code is used here.

use std::collections::BTreeMap;

use super::story::{
    CLASSES, Done, Free, KEPT_AGE, NoLimit, PROOF_AGE, Policy, REGIONS, Reply, Request, Step,
    Stops, Word,
};

/// No limit is remembered for longer, in seconds.
const LONGEST: i64 = 6 * 3600;
/// A proof is stored for so long, in seconds.
const STORED: i64 = 24 * 3600;

pub(crate) struct Model {
    policy: Policy,
    /// By credential and scope: the second in which the limit ends, and when it was recorded.
    limits: BTreeMap<(usize, &'static str), (i64, i64)>,
    /// By credential: the moment of the proof.
    proofs: BTreeMap<usize, i64>,
}

/// What one request knows and has done.
#[derive(Clone, Debug, Default)]
struct Page {
    class: Option<(i64, i64)>,
    account: Option<(i64, i64)>,
    proof: Option<i64>,
    steps: Vec<Step>,
    now: i64,
    asked: usize,
}

/// How asking Bedrock went.
enum Bedrock {
    Answered,
    /// None of the regions, and whether that will pass.
    Failed(bool),
    /// No region was asked: Anthropic's word is needed first.
    Unproven,
}

impl Model {
    pub(crate) const fn new(policy: Policy) -> Self {
        Self { policy, limits: BTreeMap::new(), proofs: BTreeMap::new() }
    }

    pub(crate) fn answer(&mut self, request: &Request, now: i64) -> Done {
        let mut page = Page { now, ..Page::default() };
        if self.policy.fallback && !request.unread {
            let limit = |scope| {
                let limit = self.limits.get(&(request.who, scope)).copied();
                limit.filter(|limit| limit.0 * 1000 > now)
            };
            page.class = limit(CLASSES[request.class]);
            page.account = limit("*");
            let proof = self.proofs.get(&request.who).copied();
            page.proof = proof.filter(|proof| proof + STORED * 1000 > now);
        }
        let limited = page.class.is_some() || page.account.is_some();
        if limited && self.policy.tracking && self.may_fall_back(self.policy.rate_limit) {
            match self.ask_bedrock(request, &mut page) {
                Bedrock::Answered => page.steps.push(Step::Reply),
                Bedrock::Failed(passes) => self.ask_anthropic(request, &mut page, Some(passes)),
                Bedrock::Unproven => self.ask_anthropic(request, &mut page, None),
            }
        } else {
            self.ask_anthropic(request, &mut page, None);
        }
        let (steps, ended) = (page.steps, page.now);
        self.limits.retain(|_, limit| limit.0 * 1000 > ended);
        let mut limits = Vec::new();
        for who in 0..2 {
            for scope in CLASSES.iter().chain(&["*"]) {
                let limit = self.limits.get(&(who, *scope));
                limits.extend(limit.map(|limit| (who, *scope, limit.0)));
            }
        }
        let stored = self.proofs.iter().filter(|(_, proof)| **proof + STORED * 1000 > ended);
        let proofs = stored.map(|(who, proof)| (*who, *proof)).collect();
        Done { steps, ended, limits, proofs }
    }

    fn may_fall_back(&self, listed: bool) -> bool {
        self.policy.fallback && listed
    }

    /// Asks Anthropic, and whom the contract names after it. `failed` says that Bedrock has been
    /// asked already, and whether its failure will pass.
    fn ask_anthropic(&mut self, request: &Request, page: &mut Page, failed: Option<bool>) {
        let mut again = false;
        let listed = loop {
            page.steps.push(Step::Anthropic);
            page.now += request.takes;
            let word = request.words[page.asked.min(1)];
            page.asked += 1;
            match word {
                Word::Answer => {
                    self.accepted(request, page);
                    return page.steps.push(Step::Reply);
                }
                Word::Invalid | Word::Refused { marked: false } | Word::NoLimit(_) => {
                    self.note_no_limit(word);
                    return page.steps.push(Step::Reply);
                }
                Word::Refused { marked: true } => {
                    self.refused(request, page);
                    return page.steps.push(Step::Reply);
                }
                Word::Overloaded { .. } => break self.policy.overloaded,
                Word::ServerError => break self.policy.server_error,
                Word::Unreachable => break self.policy.unreachable,
                Word::Limit { stops, seconds, marked } => {
                    if marked {
                        self.prove(request, page);
                    }
                    // A limit in a header is told in whole seconds, so it may seem a bit nearer.
                    let left = seconds.map(|s| left(stops, s, request, marked, page.now));
                    let threshold = self.policy.threshold * 1000;
                    if let Some(left) = left.filter(|left| *left > threshold) {
                        if marked && self.policy.tracking {
                            self.limit(request, page, (stops, left));
                        }
                        break self.policy.rate_limit;
                    }
                    if again {
                        let named = marked && request.spelling & 1 == 1;
                        if left.is_none() && !named {
                            return page.steps.push(Step::Reply);
                        }
                        break self.policy.rate_limit;
                    }
                    again = true;
                    let longest = self.policy.longest_wait * 1000;
                    let wait = left.map_or(1000, |left| left.min(longest));
                    page.steps.push(Step::Wait(wait));
                    page.now += wait;
                }
            }
        };
        if let Some(passes) = failed {
            return page.steps.push(Step::GivenUp { soon: passes });
        }
        if !self.may_fall_back(listed) {
            return page.steps.push(Step::GivenUp { soon: false });
        }
        match self.ask_bedrock(request, page) {
            Bedrock::Answered => page.steps.push(Step::Reply),
            Bedrock::Failed(passes) => page.steps.push(Step::GivenUp { soon: passes }),
            Bedrock::Unproven => page.steps.push(Step::GivenUp { soon: false }),
        }
    }

    /// What is no limit says nothing about anybody.
    const fn note_no_limit(&self, word: Word) {
        let Word::NoLimit(kind) = word else { return };
        match kind {
            NoLimit::SpendCap
            | NoLimit::Credits
            | NoLimit::LongContext
            | NoLimit::OtherKind
            | NoLimit::NoRequestId
            | NoLimit::NoJson => {}
        }
    }

    fn ask_bedrock(&mut self, request: &Request, page: &mut Page) -> Bedrock {
        let mut passes = false;
        for region in 0..REGIONS {
            if !self.is_proven(request, page) {
                return if region == 0 { Bedrock::Unproven } else { Bedrock::Failed(passes) };
            }
            match request.replies[region] {
                Reply::Untranslatable => return Bedrock::Failed(false),
                Reply::Answer | Reply::Passes | Reply::Stays => {}
            }
            page.steps.push(Step::Bedrock(region));
            page.now += request.takes;
            if request.replies[region] == Reply::Answer {
                return Bedrock::Answered;
            }
            passes |= request.replies[region] == Reply::Passes;
        }
        Bedrock::Failed(passes)
    }

    /// Whether Anthropic has accepted the credential lately, as this request knows.
    fn is_proven(&mut self, request: &Request, page: &mut Page) -> bool {
        let limits = [page.class, page.account].into_iter().flatten().map(|limit| limit.1);
        let latest = limits.chain(page.proof).max();
        let age = latest.map(|latest| page.now - latest);
        if age.is_some_and(|age| age <= PROOF_AGE * 1000) {
            return true;
        }
        page.steps.push(Step::FreeCall);
        match request.free_call {
            Free::Accepts => {
                self.prove(request, page);
                true
            }
            Free::Refuses => false,
            Free::Unmarked | Free::CannotSay | Free::Silent => {
                age.is_some_and(|age| age <= KEPT_AGE * 1000)
            }
        }
    }

    fn prove(&mut self, request: &Request, page: &mut Page) {
        let fresh = page.proof.is_some_and(|proof| page.now - proof <= PROOF_AGE * 1000 / 2);
        page.proof = Some(page.now);
        if self.policy.fallback && !fresh && !request.unwritten {
            let stored = self.proofs.entry(request.who).or_insert(page.now);
            *stored = page.now.max(*stored);
        }
    }

    fn accepted(&mut self, request: &Request, page: &mut Page) {
        self.end_limits(request, page);
        self.prove(request, page);
    }

    fn refused(&mut self, request: &Request, page: &mut Page) {
        if page.proof.is_some() && !request.unwritten {
            self.proofs.remove(&request.who);
        }
        self.end_limits(request, page);
        page.proof = None;
    }

    /// Ends the limits that the request knew of.
    fn end_limits(&mut self, request: &Request, page: &mut Page) {
        let known = [(CLASSES[request.class], page.class.take()), ("*", page.account.take())];
        for (scope, limit) in known {
            let key = (request.who, scope);
            let same = limit.is_some_and(|known| {
                self.limits.get(&key).is_some_and(|stored| stored.1 == known.1)
            });
            if same && !request.unwritten {
                self.limits.remove(&key);
            }
        }
    }

    /// Remembers a limit that ends in `left` milliseconds.
    fn limit(&mut self, request: &Request, page: &Page, (stops, left): (Stops, i64)) {
        if request.unwritten {
            return;
        }
        let scope = match stops {
            Stops::Account => "*",
            Stops::Family | Stops::Class => CLASSES[request.class],
        };
        // To the nearest second, six hours at most, and never a moment too early.
        let left = ((left + 500) / 1000).min(LONGEST) * 1000;
        let until = (page.now + left + 999) / 1000;
        let stored = self.limits.get(&(request.who, scope)).copied();
        if stored.is_none_or(|stored| stored.0 < until || stored.0 * 1000 <= page.now) {
            self.limits.insert((request.who, scope), (until, page.now));
        }
    }
}

/// How long a limit lasts from now on, as far as its headers can tell.
fn left(stops: Stops, seconds: i64, request: &Request, marked: bool, now: i64) -> i64 {
    let exact = seconds * 1000;
    let whole = (now + exact) / 1000 * 1000 - now;
    let bit = |n: u32| request.spelling >> n & 1 == 1;
    match stops {
        _ if !marked => exact,
        Stops::Account if bit(2) => exact,
        // Beside a reset in seconds stands `retry-after: 1`, and the later of the two counts.
        Stops::Account => whole.max(1000),
        Stops::Family => whole,
        Stops::Class if bit(3) => whole,
        Stops::Class if bit(4) => exact.max(1000),
        Stops::Class => exact,
    }
}
