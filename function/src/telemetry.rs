//! What an operator reads: one line for each request, and few others.
//!
//! No credential, no prompt, no answer and no header value ever comes here: a [`Record`] has room
//! for labels, counts and durations only.

#[cfg(feature = "proxy")]
pub mod exposition;
mod id;
pub mod metrics;
#[cfg(feature = "proxy")]
mod readable;
mod reading;
mod tally;
mod weak;
mod writer;

use std::fmt;
#[cfg(feature = "proxy")]
use std::io::IsTerminal;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use http::StatusCode;
#[cfg(feature = "proxy")]
use tracing::level_filters::LevelFilter;
#[cfg(feature = "proxy")]
use tracing_subscriber::filter::Targets;
#[cfg(feature = "proxy")]
use tracing_subscriber::layer::SubscriberExt;
#[cfg(feature = "proxy")]
use tracing_subscriber::util::SubscriberInitExt;

use crate::clock;
use crate::failover::{Reason, Upstream};
use crate::money::{Cost, MicroDollars};
use crate::wire::usage::Usage;

use id::Id;
#[cfg(feature = "proxy")]
use readable::Readable;
pub use reading::{LoggedTokens, RequestLine};
pub use tally::Tally;
pub use weak::WeakRecord;
use writer::Stderr;

/// What a line looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For a person at a terminal.
    Readable,
    /// One JSON object, for `CloudWatch` and other machines.
    Json,
}

/// Starts logging to stderr: our own lines from `level` on, of libraries only errors, because
/// their lines may show what must not be seen. A panic is a line, too.
#[cfg(feature = "proxy")]
pub fn init(level: LevelFilter, format: LogFormat) {
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::ERROR))
        .with_target(env!("CARGO_CRATE_NAME"), level);
    match format {
        LogFormat::Readable => Stderr::queue(),
        // The platform reads them, and freezes the process at the end of an answer.
        LogFormat::Json => {}
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panicked; this request ends here, the others go on");
    }));
    let colour = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(|| Stderr)
        .with_ansi(colour)
        .with_target(false);
    let registry = tracing_subscriber::registry().with(targets);
    match format {
        LogFormat::Readable => registry.with(layer.event_format(Readable)).init(),
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).init(),
    }
}

/// Says something to whoever has started the proxy, in order with the lines of the log.
pub fn say(text: &str) {
    let _never_fails = Stderr.write_all(text.as_bytes());
}

/// Waits until the last lines are written, for a second at most.
pub fn flush() {
    writer::flush();
}

/// The name of the AWS Lambda function, where the lines of requests are to carry metrics.
static MEASURED_AS: OnceLock<String> = OnceLock::new();

/// From now on the line of a request is written in the form of which CloudWatch makes metrics,
/// whatever the log level is.
pub fn measure_as(function: String) {
    MEASURED_AS.get_or_init(|| function);
}

/// What is known of one request; written as one line when the last owner lets go of it.
///
/// Clones share the same line: one goes with the answer's body, so that the line can say how long
/// that took and what it used, also where the client has left.
#[derive(Clone, Debug)]
pub struct Record(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    id: Id,
    began: Instant,
    entries: Mutex<Entries>,
}

/// What the line says so far.
#[derive(Clone, Debug, Default)]
struct Entries {
    request: RequestEntries,
    tries: TryEntries,
    answer: AnswerEntries,
    costs: CostEntries,
    /// Where the request is counted when it is over.
    tallies: Vec<Arc<Tally>>,
}

/// What was asked for, and by whom.
#[derive(Clone, Debug, Default)]
struct RequestEntries {
    call: &'static str,
    user: Option<String>,
    model: Option<String>,
    stream: bool,
}

/// What was met on the way to an answer.
#[derive(Clone, Debug, Default)]
struct TryEntries {
    attempts: u32,
    bedrock_errors: u32,
    cooldown: Option<Duration>,
}

/// Who answers, and how far the answer has come.
#[derive(Clone, Debug, Default)]
struct AnswerEntries {
    upstream: Option<Upstream>,
    reason: Option<Reason>,
    status: Option<StatusCode>,
    /// The client has its head already, whoever answers.
    early: bool,
    first_byte: Option<Duration>,
    fault: Option<&'static str>,
    complete: bool,
}

/// What the answer has used, and what its budget said.
#[derive(Clone, Debug, Default)]
struct CostEntries {
    usage: Usage,
    cost: Option<Cost>,
    budget: Option<&'static str>,
    reserved: Option<MicroDollars>,
    total_used: Option<u64>,
    unsettled: bool,
}

impl Entries {
    /// Counts the request, once.
    fn count(&mut self) {
        for tally in self.tallies.drain(..) {
            tally.add(self.answer.upstream, self.costs.cost);
        }
    }

    /// Why Bedrock has answered, or why it did not where it would have replaced a failure.
    fn reason(&self) -> Option<String> {
        let has_failed = self.answer.status.is_some_and(|status| !status.is_success());
        let refused = match self.costs.budget.filter(|_| has_failed) {
            Some("used_up") => Some("budget"),
            Some("unavailable") => Some("budget_unavailable"),
            _ => None,
        };
        let served = self.answer.reason.map(|reason| reason.to_string());
        served.or_else(|| refused.map(str::to_owned))
    }
}

impl AnswerEntries {
    /// What was not as it should be, if anything.
    fn fault(&self) -> Option<&'static str> {
        self.fault.or((!self.complete).then_some("the client left"))
    }
}

impl Record {
    /// Begins the record of a request. A front door that has more to say of it than the proxy
    /// puts it among the request's extensions.
    #[must_use]
    pub fn begin() -> Self {
        let entries = Mutex::default();
        Self(Arc::new(Shared { id: Id::random(), began: clock::instant(), entries }))
    }

    /// The proxy's own id of the request; it appears in errors that the proxy itself writes.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.id.as_str()
    }

    /// Notes what is asked for, and by whom.
    pub fn asked(&self, call: &'static str, user: Option<&str>, model: Option<(&str, bool)>) {
        let (stream, model) =
            (model.is_some_and(|(_, stream)| stream), model.map(|(name, _)| name));
        let (user, model) = (user.map(str::to_owned), model.map(printable));
        self.note(|entries| entries.request = RequestEntries { call, user, model, stream });
    }

    /// Notes one try at an upstream.
    pub fn attempt(&self, upstream: Upstream, reason: Option<Reason>) {
        self.note(|entries| {
            entries.tries.attempts += 1;
            entries.answer.upstream = Some(upstream);
            entries.answer.reason = reason;
        });
    }

    /// Notes that the client gets the head of a stream, with its first ping, before anybody has
    /// answered. Its status stays; who is asked may change.
    pub fn begun_early(&self, upstream: Upstream) {
        self.answered(StatusCode::OK, Some(upstream));
        self.first_byte();
        self.note(|entries| entries.answer.early = true);
    }

    /// Notes the head of the answer that the client gets.
    pub fn answered(&self, status: StatusCode, upstream: Option<Upstream>) {
        self.note(|entries| {
            if !entries.answer.early {
                entries.answer.status = Some(status);
            }
            if upstream != Some(Upstream::Bedrock) {
                entries.answer.reason = None;
            }
            entries.answer.upstream = upstream;
        });
    }

    /// Notes how long a limit is remembered for.
    pub fn remembered(&self, cooldown: Duration) {
        self.note(|entries| entries.tries.cooldown = Some(cooldown));
    }

    /// Notes that the first byte of the body goes out; only the first call counts.
    pub fn first_byte(&self) {
        let elapsed = self.0.began.elapsed();
        self.note(|entries| {
            entries.answer.first_byte = entries.answer.first_byte.or(Some(elapsed));
        });
    }

    /// Notes the tokens of a stream.
    pub fn used(&self, usage: Usage) {
        self.note(|entries| entries.costs.usage.update(usage));
    }

    /// Adds what Bedrock charges for an answer, or for what there was of it.
    pub fn cost(&self, cost: Cost) {
        self.note(|entries| {
            entries.costs.cost = Some(entries.costs.cost.unwrap_or_default().plus(cost));
        });
    }

    /// Notes what the budget said, and what was reserved.
    pub fn budget(&self, said: &'static str, reserved: Option<MicroDollars>) {
        self.note(|entries| {
            (entries.costs.budget, entries.costs.reserved) = (Some(said), reserved);
        });
    }

    /// Notes how much of the deployment's own cap is used, in percent.
    pub fn total_used(&self, percent: u64) {
        self.note(|entries| entries.costs.total_used = Some(percent));
    }

    /// Notes that the store may not have counted what this request has cost.
    pub fn unsettled(&self) {
        self.note(|entries| entries.costs.unsettled = true);
    }

    /// Notes that Bedrock failed in one region.
    pub fn bedrock_failed(&self) {
        self.note(|entries| entries.tries.bedrock_errors += 1);
    }

    /// Notes that the answer did not come to its proper end.
    pub fn broke(&self, fault: &'static str) {
        self.note(|entries| entries.answer.fault = Some(fault));
    }

    /// Counts the request there, too, when it is over.
    pub fn count_in(&self, tally: Arc<Tally>) {
        self.note(|entries| entries.tallies.push(tally));
    }

    /// Notes that the whole answer has been handed over.
    pub fn complete(&self) {
        self.note(|entries| {
            entries.answer.complete = true;
            entries.count();
        });
    }

    fn note(&self, change: impl FnOnce(&mut Entries)) {
        change(&mut self.0.entries.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let mut entries =
            std::mem::take(self.entries.get_mut().unwrap_or_else(PoisonError::into_inner));
        entries.count();
        // Nothing was asked: a look at `/healthz`.
        if !entries.request.call.is_empty() {
            write_line(self.id.as_str(), self.began.elapsed(), &entries);
        }
    }
}

/// The one line per request.
fn write_line(id: &str, duration: Duration, entries: &Entries) {
    #[cfg(feature = "proxy")]
    exposition::count(entries, duration);
    if let Some(function) = MEASURED_AS.get() {
        let line = metrics::line(function, (id, duration), entries, clock::now());
        say(&(line + "\n"));
        return;
    }
    write_event(id, duration, entries);
}

fn write_event(id: &str, duration: Duration, entries: &Entries) {
    tracing::info!(
        request.id = id,
        call = entries.request.call,
        user = entries.request.user,
        model = entries.request.model,
        stream = entries.request.stream,
        upstream = entries.answer.upstream.map(tracing::field::display),
        reason = entries.reason().map(tracing::field::display),
        status = entries.answer.status.map(|status| status.as_u16()),
        attempts = entries.tries.attempts,
        fault = entries.answer.fault(),
        cooldown_s = entries.tries.cooldown.map(|cooldown| cooldown.as_secs()),
        first_byte_ms = entries.answer.first_byte.map(millis),
        duration_ms = millis(duration),
        tokens.input = entries.costs.usage.input,
        tokens.output = entries.costs.usage.output,
        tokens.cache_read = entries.costs.usage.cache_read,
        tokens.cache_write = entries.costs.usage.cache_write,
        cost_microusd = entries.costs.cost.map(|cost| cost.amount.0),
        cost_assumed = entries.costs.cost.map(|cost| cost.assumed),
        budget = entries.costs.budget,
        reserved_microusd = entries.costs.reserved.map(|reserved| reserved.0),
        "{}",
        Sentence(entries)
    );
}

/// The line in one sentence: who answered, why not Anthropic, and what went wrong.
struct Sentence<'a>(&'a Entries);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(entries) = self;
        match (entries.answer.upstream, entries.answer.status) {
            (Some(who), None) => write!(f, "nobody answered; {who} was asked")?,
            (Some(who), Some(_)) => write!(f, "answered by {who}")?,
            (None, _) => f.write_str("answered by the proxy")?,
        }
        entries.reason().map_or(Ok(()), |reason| write!(f, ": {reason}"))?;
        entries.answer.fault().map_or(Ok(()), |fault| write!(f, " ({fault})"))
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// A client's word as it may stand in a line: no control characters, no endless length.
fn printable(name: &str) -> String {
    if name.len() <= 128 && name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return name.to_owned();
    }
    name.chars().filter(|c| c.is_ascii_graphic()).take(128).collect()
}
