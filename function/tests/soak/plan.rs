//! What will happen to one request: what each upstream will say, and what the client will do.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use testing::answer::{Answer, access_denied, limited, ok, overloaded, refused, throttled};
use testing::fake::{Director, Received};

/// Limits up to here are waited for, in seconds; it is a setting of the proxy.
pub(crate) const THRESHOLD: i64 = 1;
/// How long a limit lasts that is remembered.
pub(crate) const LIMIT: i64 = 6;
/// Stands before the number of a request in its last words.
const MARK: &str = "request number ";

/// What Anthropic says to one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The answer, perhaps late, in crumbs or with a pause.
    Answer(Manner),
    Limit,
    ShortLimit,
    Overloaded,
    /// 529 as the first event of a stream.
    OverloadedLate,
    ServerError,
    Refused,
    Invalid,
    /// The stream breaks before its content, or after some.
    CutEarly,
    CutLate,
}

/// What Bedrock says to one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Answer(Manner),
    Throttled,
    Denied,
    /// In a sentence that Anthropic says, too: the client's own fault.
    Invalid,
    /// An exception in the stream before its first delta, or after some.
    FailsEarly,
    FailsLate,
    CutLate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    Plain,
    Late,
    Crumbs,
    Stalls,
}

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    Reads,
    ReadsSlowly,
    Vanishes(Duration),
}

/// One request, and what has been said to it so far.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) stream: bool,
    pub(crate) large: bool,
    pub(crate) patience: Patience,
    pub(crate) words: VecDeque<Word>,
    pub(crate) replies: VecDeque<Reply>,
    /// Who was asked, in order.
    pub(crate) asked: Vec<&'static str>,
}

impl Plan {
    pub(crate) fn any(rng: &mut Rng) -> Self {
        let stream = rng.u8(..10) < 7;
        let patience = match rng.u8(..20) {
            0 | 1 => Patience::Vanishes(Duration::from_millis(rng.u64(1..300))),
            2 | 3 => Patience::ReadsSlowly,
            _ => Patience::Reads,
        };
        let large = rng.u8(..40) == 0;
        let mut words: VecDeque<_> = (0..2).map(|_| word(rng, stream)).collect();
        let mut replies: VecDeque<_> = (0..2).map(|_| reply(rng, stream)).collect();
        if large {
            // A megabyte in crumbs is nothing but slow.
            words.retain(|word| *word != Word::Answer(Manner::Crumbs));
            replies.retain(|reply| *reply != Reply::Answer(Manner::Crumbs));
        }
        Self { stream, large, patience, words, replies, asked: Vec::new() }
    }
}

fn word(rng: &mut Rng, stream: bool) -> Word {
    match rng.u8(..40) {
        0..=5 => Word::Limit,
        6 | 7 => Word::ShortLimit,
        8..=10 => Word::Overloaded,
        11 | 12 if stream => Word::OverloadedLate,
        13 => Word::ServerError,
        14 => Word::Refused,
        15 => Word::Invalid,
        16 => Word::CutEarly,
        17 if stream => Word::CutLate,
        _ => Word::Answer(manner(rng)),
    }
}

fn reply(rng: &mut Rng, stream: bool) -> Reply {
    match rng.u8(..30) {
        0..=2 => Reply::Throttled,
        3 => Reply::Denied,
        4 => Reply::Invalid,
        5 | 6 if stream => Reply::FailsEarly,
        7 if stream => Reply::FailsLate,
        8 if stream => Reply::CutLate,
        _ => Reply::Answer(manner(rng)),
    }
}

fn manner(rng: &mut Rng) -> Manner {
    *rng.choice(&[Manner::Plain, Manner::Plain, Manner::Late, Manner::Crumbs, Manner::Stalls])
        .unwrap_or(&Manner::Plain)
}

impl Manner {
    fn answer(self) -> Answer {
        match self {
            Self::Plain => ok(),
            Self::Late => ok().head_after(Duration::from_millis(120)),
            Self::Crumbs => ok().crumbs(7),
            Self::Stalls => ok().pause_after(3, Duration::from_millis(250)),
        }
    }
}

impl Word {
    fn answer(self) -> Answer {
        match self {
            Self::Answer(manner) => manner.answer(),
            Self::Limit => limited(LIMIT),
            Self::ShortLimit => limited(THRESHOLD),
            Self::Overloaded => overloaded(),
            Self::OverloadedLate => ok().error_after(1, "overloaded_error"),
            Self::ServerError => refused(500, "api_error", "Internal server error"),
            Self::Refused => refused(401, "authentication_error", "invalid x-api-key"),
            Self::Invalid => refused(400, "invalid_request_error", "the very words"),
            Self::CutEarly => ok().torn_after(0),
            Self::CutLate => ok().torn_after(5),
        }
    }
}

impl Reply {
    fn answer(self) -> Answer {
        match self {
            Self::Answer(manner) => manner.answer(),
            Self::Throttled => throttled(),
            Self::Denied => access_denied(),
            Self::Invalid => refused(400, "ValidationException", "messages.0: unexpected role"),
            Self::FailsEarly => ok().exception_after(2, "internalServerException"),
            Self::FailsLate => ok().exception_after(4, "internalServerException"),
            Self::CutLate => ok().torn_after(5),
        }
    }
}

/// The plans of all requests under way, for the fakes to look into.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plans(Arc<Mutex<BTreeMap<u64, Plan>>>);

impl Plans {
    fn all(&self) -> MutexGuard<'_, BTreeMap<u64, Plan>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn begin(&self, number: u64, plan: Plan) {
        self.all().insert(number, plan);
    }

    /// What has been said to the request.
    pub(crate) fn end(&self, number: u64) -> Vec<&'static str> {
        self.all().remove(&number).map(|plan| plan.asked).unwrap_or_default()
    }

    /// The last words of a request.
    pub(crate) fn prompt(number: u64) -> String {
        format!("{MARK}{number}, please")
    }

    pub(crate) fn anthropic(&self) -> Director {
        let plans = self.clone();
        Arc::new(move |request| {
            let mut plans = plans.all();
            let plan = plans.get_mut(&number(request)?)?;
            plan.asked.push("anthropic");
            Some(plan.words.pop_front().map_or_else(ok, Word::answer))
        })
    }

    pub(crate) fn bedrock(&self) -> Director {
        let plans = self.clone();
        Arc::new(move |request| {
            let mut plans = plans.all();
            let plan = plans.get_mut(&number(request)?)?;
            plan.asked.push("bedrock");
            Some(plan.replies.pop_front().map_or_else(ok, Reply::answer))
        })
    }
}

/// The number of the request that has arrived.
fn number(request: &Received) -> Option<u64> {
    let at = memchr::memmem::rfind(&request.body, MARK.as_bytes())? + MARK.len();
    let digits = request.body[at..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.map(|byte| char::from(*byte)).collect::<String>().parse().ok()
}
