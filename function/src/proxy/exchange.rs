//! One Messages request, from the first attempt to the head of its answer.
//!
//! Obeys [`crate::failover`]: asks whom it names, tells it what came back, and does what it says.
//! The loop in [`Exchange::drive`] is all there is; the two legs below it turn what an upstream
//! does into an [`Outcome`].

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use tokio::time::{Instant, Sleep, sleep_until};

use super::body::{Body, Writes};
use super::content::{self, Content, Wrong, upstream_value};
use super::refusals::Manner;
use super::{Proxy, UPSTREAM};
use crate::caller::Target;
use crate::clock;
use crate::drill;
use crate::failover::cooldown::{
    Fingerprint, Known, LimitKey, ModelClass, Proof, Scope, Timestamp,
};
use crate::failover::hint::{self, Limited, Whose};
use crate::failover::proof::{self, Standing};
use crate::failover::{Attempt, Outcome, Policy, Reason, Upstream, Verdict};
use crate::messages::Asked;
use crate::reply::{ErrorKind, Failure};
use crate::telemetry::Record;
use crate::translate::mend::Mends;
use crate::translate::model::Model;

/// How long a client may be left without a head once an answer is under way.
const HEAD_WITHIN: Duration = Duration::from_secs(15);

/// What the client is told at most, where Bedrock's failure will have passed by then.
const SOON: Duration = Duration::from_secs(30);

/// Everything about one request.
pub(super) struct Exchange {
    pub(super) proxy: Arc<Proxy>,
    pub(super) target: Target,
    /// What Anthropic sees of the client's headers.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) asked: Asked,
    pub(super) policy: Policy,
    /// Absent where the request has no credential or no model that could be limited.
    pub(super) subject: Option<Subject>,
    pub(super) known: Known,
    pub(super) record: Record,
    pub(super) writes: Writes,
    pub(super) early: Early,
    /// The end of the limit that is remembered while Bedrock answers.
    pub(super) until: Option<Timestamp>,
    /// How the request is translated for Bedrock, once it has been needed.
    pub(super) mends: Option<Mends>,
    /// Anthropic's last 429 showed that it knew whose limit it was.
    pub(super) marked: bool,
    /// How often a refusal has been mended.
    pub(super) mended: usize,
    /// Anthropic's part is played, and the operator has said that Bedrock may be spent.
    pub(super) is_drill: bool,
    /// What Bedrock has said last when it could not serve.
    pub(super) unserved: Option<String>,
}

/// Shows neither headers nor body, which hold a credential and a conversation.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Exchange");
        shown.field("id", &self.record.id()).field("asked", &self.asked);
        shown.field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Whose request it is, and on what.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) fingerprint: Fingerprint,
    /// Where refusals are kept.
    pub(super) manner: Option<Manner>,
    pub(super) class: ModelClass,
    pub(super) model: Option<Model>,
}

/// When the client gets a head, whoever answers in the end; empty until somebody is answering.
#[derive(Clone, Debug, Default)]
pub(super) struct Early(Arc<Mutex<Option<Head>>>);

#[derive(Clone, Copy, Debug)]
struct Head {
    deadline: Instant,
    /// Who is being asked.
    upstream: Upstream,
}

impl Early {
    /// Nobody is answering any more.
    pub(super) fn forget(&self) {
        *self.head() = None;
    }

    /// Waits until the client must have a head, and names who is being asked then.
    ///
    /// To be polled after the exchange, in the same task: nobody else is told of a change.
    pub(super) async fn due(&self) -> Upstream {
        let mut sleep: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            let Some(head) = *self.head() else { return Poll::Pending };
            let sleep = sleep.get_or_insert_with(|| Box::pin(sleep_until(head.deadline)));
            if sleep.deadline() != head.deadline {
                sleep.as_mut().reset(head.deadline);
            }
            sleep.as_mut().poll(cx).map(|()| head.upstream)
        })
        .await
    }

    fn head(&self) -> MutexGuard<'_, Option<Head>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an attempt has brought: its meaning, and the answer itself where there is one.
pub(super) type Brought = (Outcome, Option<Response<Content>>);

impl Exchange {
    /// Asks until somebody answers, or nobody is left to ask.
    pub(super) async fn drive(mut self) -> Response<Body> {
        let mut original = None;
        let mut attempt = self.policy.route(self.known.cooldown(), clock::now());
        loop {
            let (outcome, answer) = match attempt {
                Attempt::Anthropic { .. } if self.is_drill => (self.play_anthropic(), None),
                Attempt::Anthropic { .. } => self.ask_anthropic().await,
                Attempt::Bedrock(asked) => {
                    Box::pin(self.ask_bedrock(asked.reason, asked.region)).await
                }
            };
            let verdict = self.policy.judge(attempt, outcome, clock::now());
            note(attempt, &verdict);
            // A second try that gets no answer does not undo the first one's.
            if attempt.upstream() == Upstream::Anthropic || matches!(verdict, Verdict::Reply) {
                original = answer.or(original);
            }
            match verdict {
                Verdict::Reply => return self.reply(original).await,
                Verdict::Wait { delay, then } => {
                    self.beside(pin!(tokio::time::sleep(delay))).await;
                    attempt = then;
                }
                Verdict::FailOver { next, remember } => {
                    Box::pin(self.remember(remember)).await;
                    attempt = next;
                }
                Verdict::GiveUp { passes, remember } => {
                    Box::pin(self.remember(remember)).await;
                    return self.reply(original.map(|original| honest(original, passes))).await;
                }
            }
        }
    }

    async fn reply(&mut self, answer: Option<Response<Content>>) -> Response<Body> {
        let nobody = || {
            let failure = Failure::new(ErrorKind::Unavailable, self.nobody());
            failure.into_response(self.record.id()).map(content::full)
        };
        let answer = answer.unwrap_or_else(nobody);
        let named = answer.headers().get(&UPSTREAM);
        let upstream = named.map(|name| match *name == upstream_value(Upstream::Bedrock) {
            true => Upstream::Bedrock,
            false => Upstream::Anthropic,
        });
        self.record.answered(answer.status(), upstream);
        if let Some(Wrong(fault)) = answer.extensions().get() {
            self.record.broke(fault);
        }
        // A body without a byte is never asked for one, so the writes cannot go beside it.
        if content::is_over(answer.body()) {
            poll_fn(|cx| self.writes.poll(cx)).await;
        }
        let writes = std::mem::take(&mut self.writes);
        answer.map(|content| Body::new(content, writes, self.record.clone()))
    }

    /// Why there is no answer at all. A drill is for whoever may know everything about it.
    fn nobody(&self) -> String {
        if !self.is_drill {
            return "Anthropic could not be reached, and Bedrock may not answer instead. Try again \
                    soon."
                .to_owned();
        }
        let has_model = self.subject.as_ref().is_some_and(|subject| subject.model.is_some());
        match &self.unserved {
            Some(said) => format!("Bedrock said: {said}"),
            None => self.proxy.idle(has_model).to_owned(),
        }
    }

    /// What Anthropic would have said if this were no drill.
    fn play_anthropic(&self) -> Outcome {
        let threshold = self.policy.retry_threshold;
        self.subject.as_ref().map_or(Outcome::Answered, |subject| {
            drill::limited(&subject.class, threshold, clock::now())
        })
    }

    /// Remembers a limit, if it is certain whose it is: what is remembered is proof, too, so the
    /// answer itself must have been one.
    async fn remember(&mut self, limited: Option<Limited>) {
        let Some(limited) = limited.filter(|_| self.marked) else { return };
        if !self.is_proven().await {
            return;
        }
        let now = clock::now();
        let Some(subject) = &self.subject else { return };
        let whose = Whose {
            fingerprint: subject.fingerprint,
            class: &subject.class,
            model: &self.asked.model,
            user: self.target.user.as_ref().map(|user| user.as_str()),
        };
        for (key, cooldown) in limited.cooldowns(&whose, now) {
            self.until = self.until.max(Some(cooldown.until));
            let left = Duration::try_from(cooldown.until.duration_since(now)).unwrap_or_default();
            self.record.remembered(left);
            self.writes.push(self.proxy.memory.remember_limit(key, cooldown));
        }
    }

    /// Whether Anthropic is known to accept this credential, and as one that may use Bedrock; asks
    /// it where that is too long ago.
    pub(super) async fn is_proven(&mut self) -> bool {
        if self.is_drill {
            return true;
        }
        let proxy = Arc::clone(&self.proxy);
        let max_age = proxy.settings.proof_max_age;
        let Some(fingerprint) = self.subject.as_ref().map(|subject| subject.fingerprint) else {
            return false;
        };
        let standing = proxy.standing(&self.known);
        match standing {
            Standing::Proven => return true,
            Standing::Foreign => return false,
            Standing::Stale { .. } | Standing::Unknown => {}
        }
        // The very credentials of which the fingerprint is.
        let headers = self.headers.clone();
        let from = (&proxy.anthropic, &headers);
        let renewal = pin!(proxy.renewals.renew(fingerprint, standing, max_age, from));
        let checked = self.beside(renewal).await;
        if let Some(proof) = checked.proof {
            self.prove(proof);
        }
        proxy.standing(&self.known).stands_after(checked.renewal)
    }

    /// Takes note of a proof, and of its store's need of it.
    pub(super) fn prove(&mut self, proof: Proof) {
        let Some(subject) = &self.subject else { return };
        let max_age = self.proxy.settings.proof_max_age;
        let proof = proof::joined(&self.known, proof);
        let worth = self.policy.fallback
            && proof::is_worth_writing(&self.known, &proof, max_age, clock::now());
        let worth = worth.then(|| proof.clone());
        self.known.proof = Some(proof);
        // Strangers who pass through leave nothing behind.
        if let Some(proof) = worth
            && self.proxy.standing(&self.known) != Standing::Foreign
        {
            let write = self.proxy.memory.remember_proof(subject.fingerprint, proof);
            self.writes.push(write);
        }
    }

    /// Anthropic has refused the credential: nothing that was known about it counts any more.
    pub(super) fn revoke(&mut self) {
        let Some(subject) = &self.subject else { return };
        self.proxy.renewals.forget(&subject.fingerprint);
        self.proxy.memory.refused(subject.fingerprint, clock::now());
        // What could not be read may be there.
        if self.known.proof.is_some() || self.known.unread.proof {
            self.writes.push(self.proxy.memory.forget_proof(subject.fingerprint));
        }
        self.forget_limits();
        self.known = Known::default();
    }

    /// Forgets the limits that were known when the request came; a newer one stays.
    pub(super) fn forget_limits(&mut self) {
        let Some(subject) = &self.subject else { return };
        let class = || Scope::Class(subject.class.clone());
        let class = self.known.class.as_ref().map(|cooldown| (class(), cooldown));
        let account = self.known.account.as_ref().map(|cooldown| (Scope::Account, cooldown));
        for (scope, cooldown) in class.into_iter().chain(account) {
            let key = LimitKey { fingerprint: subject.fingerprint, scope };
            let write = self.proxy.memory.forget_limit(key, cooldown.recorded_at);
            self.writes.push(write);
        }
        (self.known.class, self.known.account, self.until) = (None, None, None);
    }

    /// Waits for `work` while the writes to the store go on.
    pub(super) async fn beside<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|cx| {
            let done = work.as_mut().poll(cx);
            if done.is_pending() {
                let _whatever_is_left = self.writes.poll(cx);
            }
            done
        })
        .await
    }

    /// Starts the time within which the client of a stream gets a head.
    pub(super) fn head_soon(&self, upstream: Upstream) {
        let mut head = self.early.head();
        let deadline = head.map_or_else(|| Instant::now() + HEAD_WITHIN, |head| head.deadline);
        *head = Some(Head { deadline, upstream });
    }

    /// The labels that say who answered, and why not Anthropic.
    pub(super) fn label(
        &self,
        response: &mut Response<Content>,
        reason: Reason,
        served: (&str, &str),
    ) {
        let headers = response.headers_mut();
        headers.insert(&UPSTREAM, upstream_value(Upstream::Bedrock));
        let until = self.until.map(|until| until.to_string());
        let labels = [
            ("x-claude-proxy-reason", Some(reason.to_string())),
            ("x-claude-proxy-until", until),
            ("x-claude-proxy-bedrock-model", Some(served.0.to_owned())),
            ("x-claude-proxy-region", Some(served.1.to_owned())),
            ("request-id", Some(self.record.id().to_owned())),
        ];
        for (name, value) in labels {
            if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
                headers.insert(name, value);
            }
        }
    }
}

fn note(attempt: Attempt, verdict: &Verdict) {
    tracing::debug!(?attempt, ?verdict, "judged");
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
