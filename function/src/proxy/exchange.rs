//! One request on its way through the upstreams: a loop that does what the core says, and nothing
//! else.

use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use http::{HeaderValue, Response, StatusCode, header};

use super::ask::Ask;
use super::body::Body;
use super::content::{self, Content, Wrong};
use super::early::Early;
use super::labels;
use super::ledger::Ledger;
use super::legs::anthropic;
use super::legs::bedrock::Leg;
use crate::clock;
use crate::failover::hint;
use crate::failover::{Attempt, Said, Verdict};

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
    early: &Early,
    mut first: Option<Said>,
) -> Ended {
    let (mut original, mut bedrock) = (None, Leg::default());
    let mut attempt = ask.policy.route(ledger.known().cooldown(), clock::now());
    let answer = loop {
        let verdict = match attempt {
            Attempt::Anthropic(asked) => {
                let (said, answer) = match first.take() {
                    Some(said) => (said, None),
                    None => anthropic::ask(ask, ledger, early).await,
                };
                // A second try that gets no answer does not undo the first one's.
                let is_silent = said == Said::Unreachable;
                original = if is_silent { original.or(answer) } else { answer.or(original) };
                ask.policy.after_anthropic(asked, said, clock::now())
            }
            Attempt::Bedrock(asked) => {
                let asking =
                    Box::pin(bedrock.ask(ask, ledger, early, (asked.reason, asked.region)));
                let (served, answer) = asking.await;
                let verdict = ask.policy.after_bedrock(asked, served);
                if verdict == Verdict::Reply {
                    original = answer.or(original);
                }
                verdict
            }
        };
        tracing::debug!(?attempt, ?verdict, "judged");
        match verdict {
            Verdict::Reply => break original,
            Verdict::Wait { delay, then } => {
                ledger.beside(pin!(tokio::time::sleep(delay))).await;
                attempt = then;
            }
            Verdict::FailOver { next, remember } => {
                if let Some(limited) = remember {
                    Box::pin(ledger.remember(ask, limited)).await;
                }
                attempt = next;
            }
            Verdict::GiveUp { passes, remember } => {
                if let Some(limited) = remember {
                    Box::pin(ledger.remember(ask, limited)).await;
                }
                break original.map(|original| honest(original, passes));
            }
        }
    };
    Ended { answer, unserved: bedrock.unserved }
}

/// The answer as it goes to the client, with what is still to be written.
pub(super) async fn reply(
    ask: &Ask,
    mut ledger: Box<Ledger>,
    answer: Response<Content>,
) -> Response<Body> {
    ask.record.answered(answer.status(), labels::upstream(answer.headers()));
    if let Some(Wrong(fault)) = answer.extensions().get() {
        ask.record.broke(fault);
    }
    // A body without a byte is never asked for one, so the writes cannot go beside it.
    if content::is_over(answer.body()) {
        poll_fn(|cx| ledger.poll(cx)).await;
    }
    answer.map(|content| Body::new(content, Some(ledger), ask.record.clone()))
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
