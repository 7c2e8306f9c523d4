//! One request on its way through the upstreams: a loop that does what the core says, and nothing
//! else.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};

use super::ask::Ask;
use super::body::Body;
use super::content::{self, Content, ContentError};
use super::early::EarlyHead;
use super::labels;
use super::ledger::Ledger;
use super::legs::anthropic;
use super::legs::bedrock::Leg;
use crate::clock;
use crate::failover::hint::{self, Limited};
use crate::failover::{AnthropicTry, Attempt, BedrockTry, Said, Verdict};

/// What the client is told at most, where Bedrock's failure will have passed by then.
const SOON: Duration = Duration::from_secs(30);

/// What has come of asking.
pub(super) struct Ended {
    /// `None` where nobody was asked who could have answered.
    pub(super) answer: Option<Response<Content>>,
    /// What Bedrock has said last when it could not serve.
    pub(super) unserved: Option<String>,
}

/// Asks until somebody answers, or nobody is left to ask. Where it is known already what Anthropic
/// says, that comes `first`.
pub(super) async fn drive(
    ask: &Ask,
    ledger: &mut Ledger,
    early: &EarlyHead,
    first: Option<Said>,
) -> Ended {
    let mut attempt = ask.policy.route(ledger.known().cooldown(), clock::now());
    let mut tries = Tries { ask, ledger, early, first, bedrock: Leg::default(), original: None };
    let answer = loop {
        let verdict = tries.next(attempt).await;
        tracing::debug!(?attempt, ?verdict, "judged");
        match verdict {
            Verdict::Reply => break tries.original,
            Verdict::Wait { delay, then } => {
                tries.ledger.beside(pin!(tokio::time::sleep(delay))).await;
                attempt = then;
            }
            Verdict::FailOver { next, remember } => {
                tries.remember(remember).await;
                attempt = next;
            }
            Verdict::GiveUp { passes, remember } => {
                tries.remember(remember).await;
                break tries.original.map(|original| honest(original, passes));
            }
        }
    };
    Ended { answer, unserved: tries.bedrock.unserved }
}

/// What has been tried so far.
struct Tries<'a> {
    ask: &'a Ask,
    ledger: &'a mut Ledger,
    early: &'a EarlyHead,
    first: Option<Said>,
    bedrock: Leg,
    /// What the client gets if nobody else answers.
    original: Option<Response<Content>>,
}

impl Tries<'_> {
    /// Asks once, and says what is to be done about what comes.
    async fn next(&mut self, attempt: Attempt) -> Verdict {
        match attempt {
            Attempt::Anthropic(asked) => self.ask_anthropic(asked).await,
            Attempt::Bedrock(asked) => Box::pin(self.ask_bedrock(asked)).await,
        }
    }

    async fn ask_anthropic(&mut self, asked: AnthropicTry) -> Verdict {
        let (said, answer) = match self.first.take() {
            Some(said) => (said, None),
            None => anthropic::ask(self.ask, self.ledger, self.early).await,
        };
        let before = self.original.take();
        // A second try that gets no answer does not undo the first one's.
        let is_silent = said == Said::Unreachable;
        self.original = if is_silent { before.or(answer) } else { answer.or(before) };
        self.ask.policy.after_anthropic(asked, said, clock::now())
    }

    async fn ask_bedrock(&mut self, asked: BedrockTry) -> Verdict {
        let to = (asked.reason, asked.region);
        let (served, answer) = self.bedrock.ask(self.ask, self.ledger, self.early, to).await;
        let verdict = self.ask.policy.after_bedrock(asked, served);
        if verdict == Verdict::Reply {
            self.original = answer.or(self.original.take());
        }
        verdict
    }

    async fn remember(&mut self, limited: Option<Limited>) {
        if let Some(limited) = limited {
            Box::pin(self.ledger.remember(self.ask, limited)).await;
        }
    }
}

/// The answer as it goes to the client, with what is still to be written.
pub(super) async fn reply(
    ask: &Ask,
    mut ledger: Box<Ledger>,
    mut answer: Response<Content>,
) -> Response<Body> {
    ledger.settle(&mut answer);
    ledger.sided(ask, &answer);
    ask.record.answered(answer.status(), labels::upstream(answer.headers()));
    if let Some(ContentError(fault)) = answer.extensions().get() {
        ask.record.broke(fault);
    }
    // A body without a byte is never asked for one, so the writes cannot go beside it.
    if content::is_over(answer.body()) {
        poll_fn(|cx| ledger.poll(cx)).await;
    }
    let store = Arc::clone(&ledger.proxy.store);
    let body = |content| Body::new(content, Some(ledger), ask.record.clone());
    answer.map(|content| body(content).settled_in(store))
}

/// Makes Anthropic's refusal say when it is worth coming back.
///
/// Where Bedrock will be able to answer within seconds, the client is not to wait for Anthropic's
/// window, and a subscription's client must not stop by itself until then.
fn honest(mut original: Response<Content>, passes: bool) -> Response<Content> {
    let limited = original.status() == StatusCode::TOO_MANY_REQUESTS;
    let headers = original.headers_mut();
    let wait = hint::retry_after_seconds(headers, clock::now());
    // Clients have a wait of their own for what is no limit, if nobody names one.
    if !passes || !(limited || wait.is_some()) {
        return original;
    }
    let seconds = wait.map_or(SOON.as_secs(), |wait| wait.min(SOON.as_secs()));
    headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    headers.remove(hint::RETRY_AFTER_MS);
    let unified: Vec<_> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("anthropic-ratelimit-unified-"))
        .cloned()
        .collect();
    for name in unified {
        headers.remove(name);
    }
    original
}
