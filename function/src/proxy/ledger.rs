//! What is known of one credential, what this request has learnt about it, and what is still to be
//! written.
//!
//! A ledger belongs to one request and goes with it by value, into the body of its answer at last:
//! whoever drops the request drops all of it. It is also where the operator's money is watched: the
//! right to spend it is asked for here before a call of Bedrock, and the end of the answer is seen
//! here, so that what is set aside for a call can be settled.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Response, StatusCode};

use super::Proxy;
use super::ask::Ask;
use super::budget::{Allowance, Holder, Reserving, Tab};
use super::cached_store::Write;
use super::labels;
use super::meter;
use crate::access::AccessMode;
use crate::clock;
use crate::failover::Upstream;
use crate::failover::cooldown::Timestamp;
use crate::failover::hint::{self, Limited};
use crate::failover::identity::{LimitKey, LimitScope};
use crate::failover::known::{KeyOwner, Known, Owner, Proof};
use crate::failover::proof::{self, Standing};
use crate::messages;
use crate::money::{Period, estimate};
use crate::session::{Answered, Limit, Session, Spending, Whose};
use crate::store::Query;

/// The subject that the money of drills is counted under.
const DRILL: &str = "drill";

/// By what a request may use Bedrock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    /// Anthropic has accepted its credential lately.
    ByProof,
    /// The operator has said so, for this one request.
    ByOperator,
}

pub(super) struct Ledger {
    pub(super) proxy: Arc<Proxy>,
    right: Right,
    known: Known,
    /// Anthropic's last 429 showed that it knew whose limit it was.
    marked: bool,
    /// The limit that is remembered while Bedrock answers.
    limit: Option<Limit>,
    /// What the subject had spent before this request, where that was looked at.
    before: Option<Spending>,
    /// The limit that this very request has met, from when to when in seconds since 1970.
    met: Option<(i64, i64)>,
    /// Calls of the store that are on their way. They are few, and most often none.
    writes: Vec<Write>,
    /// Whether there is money for Bedrock.
    pub(super) allowance: Allowance,
}

impl Ledger {
    /// Opens the ledger of a request of which so much is known.
    pub(super) fn open(proxy: Arc<Proxy>, right: Right, known: Known) -> Box<Self> {
        let tracked = known.cooldown().filter(|_| proxy.settings.tracking);
        let limit =
            tracked.map(|cooldown| Limit::of(cooldown, known.account.as_ref() == Some(cooldown)));
        let writes = proxy.store.take_late();
        let allowance = Allowance::default();
        let (marked, met, before) = (false, None, None);
        Box::new(Self { proxy, right, known, marked, limit, met, before, writes, allowance })
    }

    /// A ledger for what other requests have left to be seen to its end, if there is anything.
    pub(super) fn of_leftovers(proxy: &Arc<Proxy>) -> Option<Box<Self>> {
        let writes = proxy.store.take_late();
        let (proxy, known) = (Arc::clone(proxy), Known::default());
        let (right, allowance, marked) = (Right::ByProof, Allowance::default(), false);
        let (limit, met, before) = (None, None, None);
        let ledger = Self { proxy, right, known, marked, limit, met, before, writes, allowance };
        (!ledger.is_written()).then(|| Box::new(ledger))
    }

    pub(super) const fn known(&self) -> &Known {
        &self.known
    }

    /// The end of the limit that the client is told of.
    pub(super) fn until(&self) -> Option<Timestamp> {
        self.limit.as_ref().map(|limit| limit.until)
    }

    /// Adds a call of the store, to be awaited beside the answer.
    pub(super) fn write(&mut self, write: impl IntoIterator<Item = Write>) {
        self.writes.extend(write);
    }

    /// Reads what the store knows, for a request of which nothing has been read yet; what it has
    /// learnt by itself stays.
    pub(super) async fn read(&mut self, ask: &Ask) {
        let Some(subject) = &ask.subject else { return };
        let subject = Some((&subject.fingerprint, &subject.class));
        let query = Query { subject, key: None, session: ask.session.as_ref() };
        let proxy = Arc::clone(&self.proxy);
        let stored = self.beside(pin!(proxy.store.look_up(&query, clock::now()))).await;
        let learnt = self.known.proof.take().map(|proof| proof::joined(&stored, proof));
        self.known = Known { proof: learnt.or_else(|| stored.proof.clone()), ..stored };
    }

    /// How far the credential is proven, as far as is known.
    pub(super) fn standing(&self) -> Standing {
        self.proxy.standing(&self.known)
    }

    /// Whether the operator's money may be spent on this request: Anthropic is known to accept the
    /// credential, and as one that may use Bedrock. Asks it where that is too long ago.
    pub(super) async fn may_use_bedrock(&mut self, ask: &Ask) -> bool {
        if self.right == Right::ByOperator {
            return true;
        }
        let Some(subject) = &ask.subject else { return false };
        let standing = self.standing();
        match standing {
            Standing::Proven => return true,
            Standing::Foreign => return false,
            Standing::Stale { .. } | Standing::Unknown => {}
        }
        let proxy = Arc::clone(&self.proxy);
        let max_age = proxy.settings.proof_max_age;
        // The very credentials of which the fingerprint is.
        let from = (&proxy.anthropic, &ask.headers);
        let renewal = pin!(proxy.renewals.renew(subject.fingerprint, standing, max_age, from));
        let checked = self.beside(renewal).await;
        if let Some(proof) = checked.proof {
            self.proven(ask, proof);
        }
        self.standing().stands_after(checked.renewal)
    }

    /// Takes note of a proof, and of its store's need of it.
    pub(super) fn proven(&mut self, ask: &Ask, proof: Proof) {
        let Some(subject) = &ask.subject else { return };
        let max_age = self.proxy.settings.proof_max_age;
        let proof = proof::joined(&self.known, proof);
        let worth = ask.policy.fallback
            && proof::is_worth_writing(&self.known, &proof, max_age, clock::now());
        let worth = worth.then(|| proof.clone());
        self.known.proof = Some(proof);
        // Strangers who pass through leave nothing behind.
        if let Some(proof) = worth
            && self.standing() != Standing::Foreign
        {
            let write = self.proxy.store.remember_proof(subject.fingerprint, proof);
            self.writes.push(write);
        }
    }

    /// Anthropic has refused the credential, and that is the answer: this request asks nobody else,
    /// and for the next one nothing counts any more that was known about the credential.
    pub(super) fn refused(&mut self, ask: &Ask) {
        let Some(subject) = &ask.subject else { return };
        self.proxy.renewals.forget(&subject.fingerprint);
        self.proxy.store.refused(subject.fingerprint, clock::now());
        // What could not be read may be there.
        if self.known.proof.is_some() || self.known.unread.proof {
            self.writes.push(self.proxy.store.forget_proof(subject.fingerprint));
        }
        self.over(ask);
    }

    /// Anthropic has answered: the limits that were known when the request came are over. A newer
    /// one stays.
    pub(super) fn over(&mut self, ask: &Ask) {
        let Some(subject) = &ask.subject else { return };
        let class =
            self.known.class.take().map(|limit| (LimitScope::Class(subject.class.clone()), limit));
        let account = self.known.account.take().map(|limit| (LimitScope::Account, limit));
        for (scope, limit) in class.into_iter().chain(account) {
            let key = LimitKey { fingerprint: subject.fingerprint, scope };
            let write = self.proxy.store.forget_limit(key, limit.recorded_at);
            self.writes.push(write);
        }
        self.limit = None;
    }

    /// Anthropic has said 429; with a proof, if it showed that it knew whose limit that is.
    pub(super) fn limited(&mut self, ask: &Ask, proof: Option<Proof>) {
        self.marked = proof.is_some();
        if let Some(proof) = proof {
            self.proven(ask, proof);
        }
    }

    /// Remembers a limit, if it is certain whose it is: what is remembered is proof, too, so the
    /// answer itself must have been one.
    pub(super) async fn remember(&mut self, ask: &Ask, limited: Limited) {
        let is_certain = self.marked || self.right == Right::ByOperator;
        if !is_certain || !self.may_use_bedrock(ask).await {
            return;
        }
        let now = clock::now();
        let Some(subject) = &ask.subject else { return };
        let whose = hint::LimitedSubject {
            fingerprint: subject.fingerprint,
            class: &subject.class,
            model: &ask.asked.model,
            user: ask.target.user.as_ref().map(|user| user.as_str()),
        };
        for (key, cooldown) in limited.cooldowns(&whose, now) {
            if self.until() < Some(cooldown.until) {
                self.limit = Some(Limit::of(&cooldown, key.scope == LimitScope::Account));
            }
            self.met = self.until().map(|until| (now.as_second(), until.as_second()));
            let left = Duration::try_from(cooldown.until.duration_since(now)).unwrap_or_default();
            ask.record.remembered(left);
            self.writes.push(self.proxy.store.remember_limit(key, cooldown));
        }
    }

    /// Waits for `work` while the writes to the store go on.
    pub(super) async fn beside<T>(&mut self, mut work: Pin<&mut impl Future<Output = T>>) -> T {
        poll_fn(|cx| {
            let done = work.as_mut().poll(cx);
            if done.is_pending() {
                let _whatever_is_left = self.poll(cx);
            }
            done
        })
        .await
    }

    /// Drives what is still to be written; ready when there is nothing left.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.writes.retain_mut(|write| write.as_mut().poll(cx).is_pending());
        if self.writes.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Whether all that was learnt is written.
    pub(super) const fn is_written(&self) -> bool {
        self.writes.is_empty()
    }

    /// Begins to reserve what a request may cost at most when it is `served` so, by the id that is
    /// invoked and the region; `None` where that has been done.
    pub(super) fn reserving(&self, ask: &Ask, served: (&str, &str)) -> Option<Reserving> {
        if !matches!(self.allowance, Allowance::Open) {
            return None;
        }
        let mut settings = self.proxy.settings.budget.clone();
        let (now, holder) = (clock::now(), self.holder(ask)?);
        if let KeyOwner::User(Owner { exception: Some(exception), .. }) = &self.known.key {
            settings.user = exception.over(settings.user, now, holder.at);
        }
        let (store, class) = (Arc::clone(&self.proxy.store), &ask.subject.as_ref()?.class);
        let tab = Tab::open(Arc::clone(&store), holder, class, &ask.record);
        if settings.user.are_none() && settings.total.are_none() {
            let looks = self.changes_side(ask);
            return Some(Reserving::new(store, tab.uncapped(looks)));
        }
        let tariff = meter::tariff_of(ask, &self.proxy, &ask.body, served)?;
        let amount = estimate::reserved(&tariff, &ask.body, messages::max_tokens(&ask.body));
        Some(Reserving::new(store, async move { tab.granted(amount, &settings).await }))
    }

    /// Whose budget a request is on: whom access control has established, and nobody else.
    fn holder(&self, ask: &Ask) -> Option<Holder> {
        let subject = ask.subject.as_ref()?;
        let user = ask.target.user.as_ref().map(ToString::to_string);
        let is_key = matches!(self.proxy.settings.access, AccessMode::Key(_));
        let name = match user.clone().filter(|_| is_key) {
            _ if self.right == Right::ByOperator => DRILL.to_owned(),
            Some(owner) => owner,
            None => subject.fingerprint.to_string(),
        };
        let now = clock::now();
        let at = Period::at(now, &self.proxy.settings.budget.zone);
        let (since, met, session) = (now.as_second(), self.met, ask.session);
        Some(Holder { subject: name, user, at, since, met, session })
    }

    /// Takes note of what may be spent, and of what had been before.
    pub(super) fn allowed(&mut self, (allowance, before): (Allowance, Option<Spending>)) {
        if !matches!(allowance, Allowance::Granted(_)) {
            // What was reserved in vain is given back beside this very answer.
            self.writes.extend(self.proxy.store.take_late());
        }
        (self.allowance, self.before) = (allowance, before);
    }

    /// Whether it would be another side of its session that Bedrock answers.
    fn changes_side(&self, ask: &Ask) -> bool {
        let known = ask.session.map(|digest| self.proxy.store.known_session(&digest));
        known.is_some_and(|known| known.is_none_or(|known| known.side != Upstream::Bedrock))
    }

    /// Takes note of who answers the session, where that has changed.
    pub(super) fn sided<B>(&mut self, ask: &Ask, answer: &Response<B>) {
        let (Some(digest), Some(subject)) = (ask.session, &ask.subject) else { return };
        let Some(Holder { subject: name, user, .. }) = self.holder(ask) else { return };
        if !self.proxy.store.is_shared() {
            ask.record.count_in(self.proxy.tallies.of(digest, &name));
        }
        let Some(side) = labels::upstream(answer.headers()) else { return };
        let reason = labels::reason(answer.headers()).map(str::to_owned);
        let refused = side == Upstream::Anthropic && reason.is_some();
        if !answer.status().is_success() && !refused {
            return;
        }
        let fingerprint = subject.fingerprint;
        let whose = || Whose { subject: name, user, fingerprint };
        let class = subject.class.as_str().to_owned();
        let (limit, before) = (self.limit.clone(), self.before.take());
        let answered = Answered { side, reason, class, limit, before };
        let (store, now) = (&self.proxy.store, clock::now());
        let after = |known: Option<&Session>| Session::after(known, answered, whose, now);
        let write = store.change_session(digest, now, after);
        self.write(write);
    }

    /// Settles what goes along with no stream, and says in an answer that Bedrock would have
    /// replaced why it did not.
    pub(super) fn settle<B>(&mut self, answer: &mut Response<B>) {
        let settlement = match &mut self.allowance {
            Allowance::Granted(tab) => tab.settle(),
            Allowance::Refused(refusal) if is_replaceable(answer.status()) => {
                refusal.tell(answer.headers_mut());
                None
            }
            Allowance::Refused(_) | Allowance::Open => None,
        };
        self.write(settlement);
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        // The client has not waited for all of it: somebody else sees to the rest.
        for write in self.writes.drain(..) {
            self.proxy.store.leave(write);
        }
    }
}

/// Whether Bedrock answers instead of what has this status.
fn is_replaceable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500..=504 | 529)
}
