//! Does the proxy stay right, and stay small, for a long time in bad weather?
//!
//! Callers with a credential each ask one thing after the other; both upstreams, the store and the
//! clients themselves fail at random. A model says which answer is right. `scripts/soak` runs it for
//! ten minutes; `scripts/check full` for some seconds. The seed is printed, and counts at the end.

mod following;
mod model;
mod plan;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use testing::answer::{ok, refused};
use testing::client::{Call, Live, Reply};
use testing::dynamo::FakeDynamo;
use testing::fake::Director;
use testing::world::{self, World};
use tokio::time::{Instant, sleep};

use self::model::{End, Limit, Right, right};
use self::plan::{LIMIT, Patience, Plan, Plans, THRESHOLD};

/// Each has a credential and asks one thing at a time.
const CALLERS: u64 = 48;
/// A large body is made of words of this size, each of which is one event of the answer.
const WORD: usize = 100_000;
/// How many of them.
const WORDS: usize = 12;
/// Around the end of a limit nobody asks: which answer is right is a matter of moments.
const BORDER: Duration = Duration::from_millis(2500);
/// What a pool may keep open for each caller, to each upstream.
const KEPT: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_stays_right_and_small_in_bad_weather() {
    let seconds = number("SOAK_SECONDS", 12);
    let seed = number("SOAK_SEED", 1);
    println!("soak: {seconds} s, seed {seed}");
    let until = Instant::now() + Duration::from_secs(seconds);
    let table = FakeDynamo::start();
    table.direct(weather(seed));
    let calm = settled(World::with("LOG_LEVEL", "error")).start();
    let shared = settled(World::with("LOG_LEVEL", "error"))
        .with("RATE_LIMIT_STORE", "dynamodb")
        .with("AWS_ENDPOINT_URL_DYNAMODB", &table.url())
        .tls("h2,http/1.1")
        .tls_bedrock("h2,http/1.1")
        .start();
    let (calm, shared) = (Soak::of("a file", calm, true), Soak::of("a bad table", shared, false));
    tokio::join!(calm.run(seed, until), shared.run(seed + 1000, until));
    if seconds >= 60 {
        // By then the pools have closed what nobody uses.
        sleep(Duration::from_secs(100)).await;
    }
    for soak in [&calm, &shared] {
        soak.report();
        soak.assert_small(seconds);
    }
}

/// One proxy, its callers, and what has been counted.
struct Soak {
    name: &'static str,
    world: World,
    plans: Plans,
    numbers: AtomicU64,
    /// Whether nothing of what is remembered may be lost.
    certain: bool,
    counts: Mutex<BTreeMap<String, u64>>,
    memory: Mutex<Vec<u64>>,
    handles: (usize, usize),
}

impl Soak {
    fn of(name: &'static str, world: World, certain: bool) -> Self {
        let plans = Plans::default();
        world.anthropic.direct(plans.anthropic());
        world.bedrock.direct(plans.bedrock());
        let handles = world.handles();
        let (counts, memory) = (Mutex::default(), Mutex::default());
        Self { name, world, plans, numbers: AtomicU64::new(0), certain, counts, memory, handles }
    }

    async fn run(&self, seed: u64, until: Instant) {
        let callers = (0..CALLERS).map(|caller| {
            let rng = Rng::with_seed(seed * 100 + caller);
            Caller { soak: self, rng, limit: Known::None, name: format!("soak-{seed}-{caller}") }
                .ask_until(until)
        });
        let watch = async {
            while Instant::now() < until {
                sleep(Duration::from_millis(500)).await;
                lock(&self.memory).push(self.world.memory().0);
            }
        };
        tokio::join!(join_all(callers), watch);
    }

    fn count(&self, what: impl Into<String>) {
        *lock(&self.counts).entry(what.into()).or_default() += 1;
    }

    #[expect(clippy::print_stdout, reason = "the counts are what the run is for")]
    fn report(&self) {
        let (peak, now) = (self.world.memory().1, self.world.handles());
        println!("{}: peak {peak} KiB, files and threads {:?} -> {now:?}", self.name, self.handles);
        for (what, count) in &*lock(&self.counts) {
            println!("  {count:>8}  {what}");
        }
    }

    /// Nothing is kept of requests that have ended.
    fn assert_small(&self, seconds: u64) {
        let log = self.world.log();
        assert!(!log.contains("panicked"), "{log}");
        let memory = lock(&self.memory);
        let early = memory[..memory.len() / 3].iter().max().copied().unwrap_or(0);
        let late = memory[memory.len() * 2 / 3..].iter().max().copied().unwrap_or(0);
        assert!(late < early + 24 * 1024, "{}: resident KiB {early} -> {late}", self.name);
        let calls = usize::try_from(CALLERS).expect("few");
        let pools = if seconds >= 60 { 8 } else { KEPT * calls };
        let now = self.world.handles();
        assert!(
            now.0 <= self.handles.0 + pools,
            "{}: files {:?} -> {now:?}",
            self.name,
            self.handles
        );
        assert!(now.1 <= self.handles.1 + calls, "{}: threads {now:?}", self.name);
    }
}

/// What a caller knows of its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    None,
    Until(Instant),
    /// An answer was not waited for, or the store may have lost it.
    Unsure,
}

struct Caller<'a> {
    soak: &'a Soak,
    rng: Rng,
    limit: Known,
    name: String,
}

impl Caller<'_> {
    async fn ask_until(mut self, until: Instant) {
        self.prove().await;
        while Instant::now() < until {
            sleep(Duration::from_millis(self.rng.u64(..40))).await;
            match self.rng.u8(..12) {
                0 => self.ask_other().await,
                _ => self.ask().await,
            }
        }
    }

    /// Lets Anthropic accept the credential. Whether the free call is in time for one that it does
    /// not know is a matter of moments.
    async fn prove(&self) {
        let reply = self.send(&Call::message()).await;
        assert_eq!((reply.status, reply.errors().len()), (200, 0), "{}", self.name);
    }

    /// What passes through, whatever is limited.
    async fn ask_other(&mut self) {
        let body = "x".repeat(self.rng.usize(..9000));
        let reply = self.send(&Call::new("POST", "/v1/files").body(body.clone())).await;
        assert_eq!((reply.status, reply.body == body.as_bytes()), (200, true), "{}", self.name);
        let reply = self.send(&Call::new("GET", "/healthz")).await;
        assert_eq!(reply.body, "ok\n");
        self.soak.count("passed through");
    }

    async fn ask(&mut self) {
        let limited = self.is_limited().await;
        let number = self.soak.numbers.fetch_add(1, Ordering::Relaxed);
        let plan = Plan::any(&mut self.rng);
        self.soak.plans.begin(number, plan.clone());
        let call = self.call(number, &plan);
        if let Patience::Vanishes(stay) = plan.patience {
            return self.vanish(&call, number, stay).await;
        }
        let begun = Instant::now();
        let reply = match call.try_open(self.soak.world.address()).await {
            Err(error) => Err(error),
            Ok(live) if plan.patience == Patience::ReadsSlowly => Ok(slowly(live).await),
            Ok(live) => Ok(live.finish().await),
        };
        let asked = self.soak.plans.end(number);
        // Where the limit may be lost, whoever was asked first tells what the proxy knew.
        let certain = limited.filter(|limited| self.soak.certain || !limited);
        let right = right(&plan, certain.unwrap_or(asked.first() == Some(&"bedrock")));
        match &reply {
            Ok(reply) => self.check(&plan, &right, (reply, &asked, number)),
            // What breaks at once may take its head along.
            Err(_) if right.end == End::Broken => self.soak.count("broke before its head"),
            Err(error) => {
                let why = self.no_answer(error);
                panic!(
                    "{number} of {}: {plan:?}\n right: {right:?}\n asked: {asked:?}\n{why}",
                    self.name
                );
            }
        }
        self.learn(right.limit, begun);
        if right.status == 401 {
            self.prove().await;
        }
    }

    /// Whether a limit is in force now, if that can be told; waits until it can.
    async fn is_limited(&self) -> Option<bool> {
        match self.limit {
            Known::Until(end) if Instant::now() + BORDER < end => Some(true),
            Known::Until(end) => {
                tokio::time::sleep_until(end + BORDER).await;
                Some(false)
            }
            Known::None => Some(false),
            Known::Unsure => None,
        }
    }

    async fn vanish(&mut self, call: &Call, number: u64, stay: Duration) {
        call.leave_after(self.soak.world.address(), stay).await;
        self.soak.count("the client vanished");
        self.limit = Known::Unsure;
        // What is under way at the upstreams may still be told.
        sleep(Duration::from_millis(300)).await;
        self.soak.plans.end(number);
        self.prove().await;
    }

    fn learn(&mut self, limit: Limit, begun: Instant) {
        let lasting = Duration::from_secs(LIMIT.unsigned_abs());
        self.limit = match limit {
            Limit::Same => self.limit,
            // Where it began is known to within a short wait.
            Limit::Begun => Known::Until(begun + lasting),
            Limit::Over => Known::None,
        };
        if matches!(self.limit, Known::Until(_)) && begun.elapsed() > Duration::from_secs(1) {
            self.limit = Known::Unsure;
        }
    }

    fn call(&self, number: u64, plan: &Plan) -> Call {
        let padding = if plan.large {
            format!("{} ", "x".repeat(WORD - 1)).repeat(WORDS)
        } else {
            String::new()
        };
        let prompt = format!("{padding}{}", Plans::prompt(number));
        Call::message().by(&self.name).says(&prompt).with("stream", plan.stream)
    }

    async fn send(&self, call: &Call) -> Reply {
        match call.clone().by(&self.name).try_open(self.soak.world.address()).await {
            Ok(live) => live.finish().await,
            Err(error) => panic!("{}: {}", self.name, self.no_answer(&error)),
        }
    }

    /// Why a connection may have ended without a head: the log has it if the proxy knows.
    fn no_answer(&self, error: &dyn std::error::Error) -> String {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        format!("no answer: {error} {cause}\n the log:\n{}", self.soak.world.log())
    }

    /// Compares an answer with the right one.
    fn check(&self, plan: &Plan, right: &Right, got: (&Reply, &[&'static str], u64)) {
        let (reply, asked, number) = got;
        let case = format!(
            "{} of {} in {}: {plan:?}\n right: {right:?}\n asked: {asked:?}\n got: {} {:?} {:?}\n{}",
            number,
            self.name,
            self.soak.name,
            reply.status,
            reply.headers,
            reply.broken,
            String::from_utf8_lossy(&reply.body[..reply.body.len().min(2000)]),
        );
        assert_eq!(reply.status, right.status, "{case}");
        assert_eq!(reply.upstream(), right.upstream, "{case}");
        assert_eq!(asked, right.asked, "{case}");
        assert_eq!(reply.broken.is_some(), right.end == End::Broken, "{case}");
        Self::check_body(plan, right, (reply, number), &case);
        if right.soon {
            let seconds: u32 = reply.header("retry-after").parse().expect(&case);
            assert!(seconds <= 30, "{case}");
        }
        self.count_answer(plan, right, reply);
    }

    fn check_body(plan: &Plan, right: &Right, (reply, number): (&Reply, u64), case: &str) {
        match right.end {
            End::Whole => {
                let text = reply.text();
                let spoken = format!("{} heard: ", right.upstream);
                let said = text.strip_prefix(&spoken).expect(case);
                let padding = said.strip_suffix(&Plans::prompt(number)).expect(case);
                assert!(padding.len() == if plan.large { WORD * WORDS } else { 0 }, "{case}");
                if plan.stream {
                    assert_eq!(reply.names().last().map(String::as_str), Some("message_stop"));
                    assert!(reply.errors().is_empty(), "{case}");
                }
            }
            End::ErrorEvent => {
                let names = reply.names();
                assert_eq!(names.last().map(String::as_str), Some("error"), "{case}");
                assert_eq!(names.iter().filter(|name| *name == "error").count(), 1, "{case}");
                assert!(!names.iter().any(|name| name == "message_stop"), "{case}");
            }
            End::Envelope => assert_eq!(reply.json()["type"], "error", "{case}"),
            End::Broken => {}
        }
    }

    fn count_answer(&self, plan: &Plan, right: &Right, reply: &Reply) {
        let kind = if plan.stream { "stream" } else { "whole" };
        let end = format!("{:?}", right.end).to_lowercase();
        self.soak.count(format!("{} from {}: {kind}, {end}", right.status, right.upstream));
        if !reply.reason().is_empty() {
            self.soak.count(format!("because of {}", reply.reason()));
        }
        if plan.patience == Patience::ReadsSlowly {
            self.soak.count("the client read slowly");
        }
    }
}

/// Reads an answer with pauses.
async fn slowly(live: Live) -> Reply {
    sleep(Duration::from_millis(200)).await;
    live.finish_slowly(Duration::from_millis(15)).await
}

/// The settings of both proxies.
fn settled(plan: world::Plan) -> world::Plan {
    plan.with("RETRY_THRESHOLD_SECONDS", &THRESHOLD.to_string())
        .with("MAX_RETRY_WAIT_SECONDS", "1")
        .with("BEDROCK_PROOF_MAX_AGE_SECONDS", "5")
        .with("BEDROCK_REGIONS", "us-east-1,us-west-2")
}

/// How the table fails, in gusts.
fn weather(seed: u64) -> Director {
    let rng = Mutex::new(Rng::with_seed(seed));
    Arc::new(move |_| {
        let mut rng = lock(&rng);
        Some(match rng.u8(..20) {
            0 => refused(400, "ProvisionedThroughputExceededException", "too much"),
            1 => refused(500, "InternalServerError", "broken"),
            2 => ok().head_after(Duration::from_millis(rng.u64(100..600))),
            3 => refused(200, "", "").body("<html>no table</html>"),
            _ => ok(),
        })
    })
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "how long to run is said from outside")]
fn number(name: &str, usual: u64) -> u64 {
    let set = std::env::var(name).ok();
    set.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}
