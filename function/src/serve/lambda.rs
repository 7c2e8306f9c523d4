//! The front door on AWS Lambda: takes events from the Runtime API, and streams the answers back.
//!
//! An own loop in the place of `lambda_http`'s runner, which delays every streamed answer (it
//! leaves Nagle's algorithm on) and writes its errors into the body. What a request does ends with
//! its answer: the process is frozen after it. A panic is one failed request, never the end of the
//! process.

mod answer;
pub mod event;
mod runtime;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::FutureExt;
use http::{Request, Response};
use http_body_util::Full;
use tokio::task::JoinSet;

pub use self::runtime::Runtime;

use self::answer::{Deadline, Interruption};
use self::runtime::Invocation;
use crate::clock;
use crate::proxy::{Body, Proxy};
use crate::settings::{Platform, Settings};
use crate::store::Store;
use crate::telemetry::{self, LogFormat, Record};
use crate::upstream::anthropic::{Anthropic, Timeouts};
use crate::upstream::aws::Aws;
use crate::upstream::bedrock::Bedrock;

/// A process that is frozen does not hear that a server has closed a connection, so here one is not
/// kept for longer than the most impatient of them wait (Amazon's load balancers: 60 s).
const KEPT_FOR: Duration = Duration::from_secs(50);

/// Answers events until the platform ends the process, as many at a time as it may send.
///
/// # Errors
///
/// Where the proxy cannot start, which the platform is told as well, or where the Runtime API is
/// gone.
pub async fn run(settings: Settings, runtime: Runtime, on: &Platform) -> anyhow::Result<()> {
    telemetry::init(settings.log_level, LogFormat::Json);
    if let Some(name) = &on.function_name {
        telemetry::measure_as(name.clone());
    }
    let proxy = match start(settings).await {
        Ok(proxy) => Arc::new(proxy),
        Err(error) => {
            runtime.fail_init(&format!("{error:#}")).await;
            return Err(error);
        }
    };
    let front = Front {
        ask: {
            let proxy = Arc::clone(&proxy);
            move |request| Arc::clone(&proxy).answer(request, None)
        },
        settle: move || {
            let proxy = Arc::clone(&proxy);
            async move { proxy.settle().await }
        },
    };
    serve(runtime, on.concurrency, front).await
}

/// Who answers.
#[derive(Clone, Debug)]
pub struct Front<A, S> {
    /// Answers a request.
    pub ask: A,
    /// Sees to its end what an answer has left behind that was given up.
    pub settle: S,
}

/// Makes all that the first request would otherwise have to wait for: here is CPU to spare.
async fn start(settings: Settings) -> anyhow::Result<Proxy> {
    let aws = Aws::load(settings.regions.first().map(String::as_str)).await;
    let store = Store::open(&settings, &aws, clock::now())?;
    let timeouts = Timeouts { kept_for: KEPT_FOR, ..Timeouts::default() };
    let anthropic = Anthropic::with_timeouts(settings.upstream_url.clone(), timeouts);
    let bedrock = Bedrock::new(&settings.regions, &aws);
    let proxy = Proxy::new(settings, anthropic, bedrock, store);
    proxy.warm_up().await;
    Ok(proxy)
}

/// Runs `concurrency` independent loops, each of which answers one event after the other.
///
/// # Errors
///
/// Where the Runtime API fails the last of them.
pub async fn serve<A, F, S, E>(
    runtime: Runtime,
    concurrency: usize,
    front: Front<A, S>,
) -> anyhow::Result<()>
where
    A: Fn(Request<Full<Bytes>>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
    S: Fn() -> E + Clone + Send + Sync + 'static,
    E: Future<Output = ()> + Send + 'static,
{
    let runtime = Arc::new(runtime);
    let mut loops = JoinSet::new();
    for _ in 0..concurrency {
        loops.spawn(take_turns(Arc::clone(&runtime), front.clone()));
    }
    let mut end = Ok(());
    while let Some(ended) = loops.join_next().await {
        end = ended.context("a loop panicked").flatten();
    }
    end
}

async fn take_turns<A, F, S, E>(runtime: Arc<Runtime>, front: Front<A, S>) -> anyhow::Result<()>
where
    A: Fn(Request<Full<Bytes>>) -> F,
    F: Future<Output = Response<Body>>,
    S: Fn() -> E,
    E: Future<Output = ()>,
{
    loop {
        let mut invocation = runtime.next().await?;
        let record = Record::begin();
        let mut deadline = Deadline::before(invocation.deadline(), clock::now());
        let response = Box::pin(answer(&mut invocation, &front, &record, &mut deadline)).await;
        let frames = answer::frames(response, deadline, record);
        if let Err(error) = runtime.respond(&invocation, frames).await {
            tracing::error!("an answer did not reach the platform: {error:#}");
        }
    }
}

/// Answers one event. There is always an answer.
async fn answer<A, F, S, E>(
    invocation: &mut Invocation,
    front: &Front<A, S>,
    record: &Record,
    deadline: &mut Deadline,
) -> Response<Body>
where
    A: Fn(Request<Full<Bytes>>) -> F,
    F: Future<Output = Response<Body>>,
    S: Fn() -> E,
    E: Future<Output = ()>,
{
    let event = std::mem::take(&mut invocation.event);
    let request = catch_unwind(AssertUnwindSafe(|| event::request(&event)));
    // Both may be megabytes, and the answer takes minutes.
    drop(event);
    let failure = match request {
        Err(_) => {
            Interruption::Panic.note(record);
            Interruption::Panic.failure()
        }
        Ok(Err(failure)) => {
            record.asked("refused", None, None);
            failure
        }
        Ok(Ok(mut request)) => {
            request.extensions_mut().insert(record.clone());
            let interruption = tokio::select! {
                biased;
                () = deadline.comes() => {
                    // What is said now is short.
                    *deadline = Deadline::none();
                    Interruption::Deadline
                }
                answer = AssertUnwindSafe(async { (front.ask)(request).await }).catch_unwind() => {
                    match answer {
                        Ok(answer) => return answer,
                        Err(_) => Interruption::Panic,
                    }
                }
            };
            interruption.note(record);
            // Nothing goes on once this answer has ended.
            (front.settle)().await;
            interruption.failure()
        }
    };
    let answer = failure.into_response(record.id());
    record.answered(answer.status(), None);
    record.complete();
    answer.map(Body::from)
}
