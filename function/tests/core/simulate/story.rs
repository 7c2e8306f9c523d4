//! What happens: the operator's policy, a request, and what everybody would say to it. Times are
//! milliseconds since 1970, lengths of time are seconds.

use std::collections::BTreeMap;

use fastrand::Rng;

pub(crate) const BEGIN: i64 = 1_790_000_000_000;
pub(crate) const CLASSES: [&str; 3] = ["opus", "sonnet", "haiku"];
/// The age up to which a proof is good, and up to which it is kept where nobody can renew it.
pub(crate) const PROOF_AGE: i64 = 900;
pub(crate) const KEPT_AGE: i64 = 6 * 3600;
pub(crate) const REGIONS: usize = 2;

/// What must have been seen in a few thousand sequences, or they are none worth their time.
pub(crate) const EVERYTHING: &[&str] = &[
    "ask anthropic",
    "ask bedrock",
    "answered by anthropic",
    "answered by bedrock",
    "free call",
    "given up, come back soon",
    "given up",
    "a limit of the account in force",
    "a limit of a class in force",
    "skipped anthropic",
    "waited",
];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) tracking: bool,
    pub(crate) fallback: bool,
    pub(crate) rate_limit: bool,
    pub(crate) overloaded: bool,
    pub(crate) server_error: bool,
    pub(crate) unreachable: bool,
    pub(crate) threshold: i64,
    pub(crate) longest_wait: i64,
}

impl Policy {
    /// Mostly the usual one.
    pub(crate) fn any(rng: &mut Rng) -> Self {
        let mostly = |rng: &mut Rng| rng.u8(..10) > 0;
        Self {
            tracking: mostly(rng),
            fallback: mostly(rng),
            rate_limit: mostly(rng),
            overloaded: mostly(rng),
            server_error: rng.bool(),
            unreachable: rng.bool(),
            threshold: *rng.choice(&[30, 30, 30, 0, 5, 600]).unwrap(),
            longest_wait: *rng.choice(&[10, 10, 0, 60]).unwrap(),
        }
    }
}

/// One request of one credential for one class.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) who: usize,
    pub(crate) class: usize,
    /// What Anthropic says to the first and to the second attempt.
    pub(crate) words: [Word; 2],
    pub(crate) replies: [Reply; REGIONS],
    pub(crate) free_call: Free,
    /// The store cannot be read, or not be written.
    pub(crate) unread: bool,
    pub(crate) unwritten: bool,
    /// How long each call takes, in milliseconds.
    pub(crate) takes: i64,
    /// Decides how a word is spelled.
    pub(crate) spelling: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Answer,
    /// A genuine limit: what it stops, for how long, and whether it shows whose it is.
    Limit {
        stops: Stops,
        seconds: Option<i64>,
        marked: bool,
    },
    Overloaded {
        inside_429: bool,
    },
    ServerError,
    Unreachable,
    /// A 429 that is no limit, or not Anthropic's.
    NoLimit(NoLimit),
    /// 401 or 403, with Anthropic's mark or without.
    Refused {
        marked: bool,
    },
    Invalid,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stops {
    Account,
    /// The window of the request's own family, which has a reset of its own.
    Family,
    /// A bucket of an API key, or an unknown window.
    Class,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoLimit {
    SpendCap,
    Credits,
    LongContext,
    OtherKind,
    NoRequestId,
    NoJson,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Answer,
    Passes,
    Stays,
    Untranslatable,
}

/// What the free call would say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Free {
    Accepts,
    /// A 200 without Anthropic's mark.
    Unmarked,
    Refuses,
    CannotSay,
    Silent,
}

impl Request {
    pub(crate) fn any(rng: &mut Rng) -> Self {
        Self {
            who: rng.usize(..2),
            class: rng.usize(..CLASSES.len()),
            words: [Word::any(rng), Word::any(rng)],
            replies: std::array::from_fn(|_| Reply::any(rng)),
            free_call: *rng
                .choice(&[
                    Free::Accepts,
                    Free::Accepts,
                    Free::Accepts,
                    Free::Unmarked,
                    Free::Refuses,
                    Free::CannotSay,
                    Free::Silent,
                ])
                .unwrap(),
            unread: rng.u8(..12) == 0,
            unwritten: rng.u8(..12) == 0,
            takes: rng.i64(0..1500),
            spelling: rng.u64(..),
        }
    }
}

impl Word {
    fn any(rng: &mut Rng) -> Self {
        match rng.u8(..24) {
            0..=6 => Self::Answer,
            7..=14 => {
                let stops = *rng.choice(&[Stops::Account, Stops::Family, Stops::Class]).unwrap();
                let seconds = match rng.u8(..8) {
                    0 => None,
                    1 => Some(rng.i64(1..3)),
                    2 => Some(rng.i64(25..35)),
                    3 => Some(rng.i64(4..12)),
                    4 => Some(rng.i64(6 * 3600 - 5..6 * 3600 + 5)),
                    5 => Some(rng.i64(7 * 3600..200 * 3600)),
                    _ => Some(rng.i64(31..7200)),
                };
                Self::Limit { stops, seconds, marked: rng.u8(..6) > 0 }
            }
            15 | 16 => Self::Overloaded { inside_429: rng.bool() },
            17 => Self::ServerError,
            18 => Self::Unreachable,
            19 | 20 => {
                let kinds = [
                    NoLimit::SpendCap,
                    NoLimit::Credits,
                    NoLimit::LongContext,
                    NoLimit::OtherKind,
                    NoLimit::NoRequestId,
                    NoLimit::NoJson,
                ];
                Self::NoLimit(*rng.choice(&kinds).unwrap())
            }
            21 | 22 => Self::Refused { marked: rng.u8(..4) > 0 },
            _ => Self::Invalid,
        }
    }
}

impl Reply {
    fn any(rng: &mut Rng) -> Self {
        match rng.u8(..10) {
            0 | 1 => Self::Passes,
            2 | 3 => Self::Stays,
            4 if rng.bool() => Self::Untranslatable,
            _ => Self::Answer,
        }
    }
}

/// How long nobody asks: a moment, a minute, or a day.
pub(crate) fn pause(rng: &mut Rng) -> i64 {
    match rng.u8(..10) {
        0..=3 => rng.i64(0..2_000),
        4..=6 => rng.i64(0..60_000),
        7 | 8 => rng.i64(0..3_600_000),
        _ => rng.i64(0..100_000_000),
    }
}

/// Limits in force: whose, on what, until which second.
pub(crate) type Limits = Vec<(usize, &'static str, i64)>;
/// Proofs: whose, and of which moment.
pub(crate) type Proofs = Vec<(usize, i64)>;

/// What was done for one request, and what is known after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// Who was asked, and what else took place, in order.
    pub(crate) steps: Vec<Step>,
    pub(crate) ended: i64,
    /// What the store holds that is in force at the end.
    pub(crate) limits: Limits,
    pub(crate) proofs: Proofs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Anthropic,
    Bedrock(usize),
    FreeCall,
    /// A pause, in milliseconds.
    Wait(i64),
    /// The client gets the answer of the upstream that was asked last.
    Reply,
    /// The client gets Anthropic's own answer, or none; it may come back soon.
    GivenUp {
        soon: bool,
    },
}

impl Done {
    pub(crate) fn count(&self, counts: &mut BTreeMap<&'static str, u64>) {
        let mut count = |what| *counts.entry(what).or_default() += 1;
        count("requests");
        for (_, scope, _) in &self.limits {
            let account = *scope == "*";
            count(if account {
                "a limit of the account in force"
            } else {
                "a limit of a class in force"
            });
        }
        for (index, step) in self.steps.iter().enumerate() {
            match step {
                Step::Anthropic => count("ask anthropic"),
                Step::Bedrock(_) => {
                    count("ask bedrock");
                    if !self.steps[..index].contains(&Step::Anthropic) {
                        count("skipped anthropic");
                    }
                }
                Step::FreeCall => count("free call"),
                Step::Wait(_) => count("waited"),
                Step::GivenUp { soon: true } => count("given up, come back soon"),
                Step::GivenUp { soon: false } => count("given up"),
                Step::Reply => {
                    let asked = self.steps[..index].iter().rev();
                    let last = asked.clone().find(|step| **step != Step::FreeCall);
                    count(match last {
                        Some(Step::Bedrock(_)) => "answered by bedrock",
                        _ => "answered by anthropic",
                    });
                }
            }
        }
    }
}
