//! What a request may cost: reserved before Bedrock is asked, settled when its answer is over.
//!
//! Only what goes to Bedrock is counted; a request that Anthropic answers makes no call here. Where
//! there is a cap, Bedrock is not asked before the reservation has come back, and never without
//! one. Whatever becomes of a request, its [`Tab`] is settled once, or stays reserved.

mod refusal;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::OptionFuture;

pub(super) use self::refusal::Refusal;
use super::cached_store::{CachedStore, Write};
use crate::failover::identity::{Fingerprint, ModelClass};
use crate::money::Period;
use crate::money::budget::{Bill, Change, Changed, DEPLOYMENT, Entry, of_session};
use crate::money::{Cost, MicroDollars, Tariff, Tokens, estimate};
use crate::session::Spending;
use crate::settings::Budget;
use crate::store::StoreError;
use crate::store::budgets::Account;
use crate::telemetry::{Record, WeakRecord};
use crate::translate::error::BedrockFailure;
use crate::wire::usage::Usage;

/// What a request is allowed to spend, as far as it is known.
#[derive(Default)]
pub(super) enum Allowance {
    /// Nobody has asked yet.
    #[default]
    Open,
    Granted(Box<Tab>),
    Refused(Refusal),
}

/// Whose money it is, and since when.
#[derive(Clone)]
pub(super) struct Holder {
    pub(super) subject: String,
    pub(super) user: Option<String>,
    /// The moment at which the request came to Bedrock, by the budget's clock and in seconds since
    /// 1970. Whatever is reserved for it belongs to that day, to the end.
    pub(super) at: Period,
    pub(super) since: i64,
    /// The limit that this request has met, from when to when in seconds since 1970.
    pub(super) met: Option<(i64, i64)>,
    /// The session of the request, by the digest of its name.
    pub(super) session: Option<Fingerprint>,
}

/// What one request has reserved and spent. Settled when it is dropped, if not before.
pub(super) struct Tab {
    pub(super) store: Arc<CachedStore>,
    owner: Holder,
    class: String,
    /// The request's own id.
    id: String,
    record: WeakRecord,
    held: Held,
    heard: Heard,
    bill: Option<Bill>,
    settled: bool,
}

/// What is known to be reserved.
struct Held {
    entries: Vec<Entry>,
    /// What of it counts against the deployment, too; `None` where that has no cap.
    everybodys: Option<MicroDollars>,
    /// In tokens of output.
    output: u64,
}

impl Held {
    const fn nothing() -> Self {
        Self { entries: Vec::new(), everybodys: None, output: estimate::FIRST_OUTPUT }
    }

    const fn is_nothing(&self) -> bool {
        self.entries.is_empty() && self.everybodys.is_none()
    }

    /// Takes note of what a top-up has come to.
    fn add(&mut self, more: ToppedUp) {
        self.entries.extend(more.own);
        if let (Some(reserved), Some(more)) = (&mut self.everybodys, more.everybodys) {
            reserved.0 = reserved.0.saturating_add(more.0);
        }
    }
}

/// Whether it is known what the calls of Bedrock have cost so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heard {
    Everything,
    /// One has been made.
    NotYet,
    /// Of one nothing will ever be heard, and another one was made.
    Never,
}

impl Heard {
    /// Another call is made.
    const fn asked(self) -> Self {
        match self {
            Self::Everything => Self::NotYet,
            Self::NotYet | Self::Never => Self::Never,
        }
    }

    /// The last call has been heard of.
    const fn answered(self) -> Self {
        match self {
            Self::Everything | Self::NotYet => Self::Everything,
            Self::Never => Self::Never,
        }
    }
}

impl Tab {
    /// Adds what a call has cost.
    pub(super) fn charge(&mut self, (cost, tokens): (Cost, Tokens)) {
        let bill =
            self.bill.get_or_insert_with(|| Bill { class: self.class.clone(), ..Bill::default() });
        bill.cost = bill.cost.plus(cost);
        bill.tokens = bill.tokens.plus(tokens);
        self.heard = self.heard.answered();
    }

    /// Puts what was spent in the place of what was reserved; nothing more is counted afterwards.
    /// What is not known costs its reservation, which stays.
    pub(super) fn settle(&mut self) -> Option<Write> {
        let over = std::mem::replace(&mut self.settled, true);
        // What was reserved stays for the call of which nothing is known.
        let stays = self.heard != Heard::Everything;
        if over || (self.bill.is_none() && (self.held.is_nothing() || stays)) {
            return None;
        }
        let (store, owner, record) =
            (Arc::clone(&self.store), self.owner.clone(), self.record.clone());
        let mut bill = self.bill.take();
        if let Some(bill) = &mut bill {
            bill.saved = owner.met.map_or(0, |met| store.bridged(&owner.subject, met));
            bill.session = owner.session.as_ref().map(of_session);
        }
        let own = match stays {
            true => Change::book(owner.at, MicroDollars(0), bill.as_ref()),
            false => Change::settle(owner.at, &self.held.entries, bill.as_ref()),
        };
        if let Some(bill) = &mut bill {
            bill.session = None;
        }
        let everybodys = self.held.everybodys.map(|reserved| {
            let reserved = if stays { MicroDollars(0) } else { reserved };
            Change::book(owner.at, reserved, bill.as_ref())
        });
        Some(Box::pin(async move {
            let (own, all) = store.change_both(&owner, &own, everybodys.as_ref()).await;
            if own.is_err() || all.is_some_and(|done| done.is_err()) {
                record.note(Record::unsettled);
            }
        }))
    }

    /// Reserves more where a stream has brought more than is reserved for; `None` while there is
    /// enough.
    pub(super) fn top_up(&mut self, tariff: &Tariff, so_far: &Usage) -> Option<TopUp> {
        let Held { entries, everybodys, output } = &mut self.held;
        let first = entries.first()?;
        if so_far.output.unwrap_or(0) <= *output {
            return None;
        }
        let id = format!("{}-{output}", first.id);
        *output += estimate::MORE_OUTPUT;
        let amount = estimate::topped_up(tariff, so_far);
        let entry = Entry { id, amount, since: self.owner.since };
        let (store, owner) = (Arc::clone(&self.store), self.owner.clone());
        let is_everybodys = everybodys.is_some();
        Some(Box::pin(async move {
            let own = Change::top_up(owner.at, amount, Some(&entry));
            let all = Change::top_up(owner.at, amount, None);
            let (own, all) = store.change_both(&owner, &own, is_everybodys.then_some(&all)).await;
            let all = all.and_then(Result::ok).map(|_| amount);
            ToppedUp { own: own.is_ok().then_some(entry), everybodys: all }
        }))
    }

    /// Takes note of what a top-up has come to.
    pub(super) fn topped_up(&mut self, done: ToppedUp) {
        self.held.add(done);
    }
}

/// A top-up that is on its way.
pub(super) type TopUp = Pin<Box<dyn Future<Output = ToppedUp> + Send>>;

/// What is known to have been reserved in addition.
pub(super) struct ToppedUp {
    own: Option<Entry>,
    everybodys: Option<MicroDollars>,
}

impl Drop for Tab {
    fn drop(&mut self) {
        // The client has left, or the platform allows no more time: somebody else sees to it.
        if let Some(write) = self.settle() {
            self.store.leave(write);
        }
    }
}

impl CachedStore {
    /// Changes a subject's month and, where that is asked for, the deployment's, at once.
    async fn change_both(
        &self,
        owner: &Holder,
        own: &Change,
        everybodys: Option<&Change>,
    ) -> (Result<Changed, StoreError>, Option<Result<Changed, StoreError>>) {
        let account =
            Account { subject: &owner.subject, user: owner.user.as_deref(), at: owner.at };
        let all = Account { subject: DEPLOYMENT, user: None, at: owner.at };
        let everybodys = everybodys.map(|change| self.change(&all, change));
        tokio::join!(self.change(&account, own), OptionFuture::from(everybodys))
    }
}

/// How a reservation ends, and what the subject had spent before, where that is known.
type Reserved = (Allowance, Option<Spending>);

/// A reservation on its way. Once it has begun it is seen to its end, also where nobody waits for
/// it any more: what it has reserved is given back then.
pub(super) struct Reserving {
    store: Arc<CachedStore>,
    work: Pin<Box<dyn Future<Output = Reserved> + Send>>,
    is_under_way: bool,
}

impl Reserving {
    pub(super) fn new(
        store: Arc<CachedStore>,
        work: impl Future<Output = Reserved> + Send + 'static,
    ) -> Self {
        Self { store, work: Box::pin(work), is_under_way: false }
    }
}

impl Future for Reserving {
    type Output = Reserved;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reserved> {
        let polled = self.work.as_mut().poll(cx);
        self.is_under_way = polled.is_pending();
        polled
    }
}

impl Drop for Reserving {
    fn drop(&mut self) {
        if self.is_under_way {
            let nothing = Box::pin(std::future::pending());
            let work = std::mem::replace(&mut self.work, nothing);
            self.store.leave(Box::pin(async move { drop(work.await) }));
        }
    }
}

impl Allowance {
    /// Bedrock is asked now.
    pub(super) fn asks(&mut self) {
        if let Self::Granted(tab) = self {
            tab.heard = tab.heard.asked();
        }
    }

    /// Takes note that a call has failed. One of which nothing was heard may have been answered.
    pub(super) fn spared(&mut self, failure: &BedrockFailure) {
        if let Self::Granted(tab) = self
            && !matches!(failure, BedrockFailure::Unheard { .. })
        {
            tab.heard = tab.heard.answered();
        }
    }

    /// Adds what a whole answer has cost, if that is known.
    pub(super) fn charge(&mut self, charged: Option<(Cost, Tokens)>) {
        if let (Self::Granted(tab), Some(charged)) = (self, charged) {
            tab.charge(charged);
        }
    }
}

impl Tab {
    /// Opens the tab of a request for a model of this class.
    pub(super) fn open(
        store: Arc<CachedStore>,
        owner: Holder,
        class: &ModelClass,
        record: &Record,
    ) -> Box<Self> {
        let (class, id, record) =
            (class.as_str().to_owned(), record.id().to_owned(), record.weak());
        let (held, heard, bill, settled) = (Held::nothing(), Heard::Everything, None, false);
        Box::new(Self { store, owner, class, id, record, held, heard, bill, settled })
    }

    /// Nobody has to be asked for money; what was spent is looked up where that is wanted.
    pub(super) async fn uncapped(self: Box<Self>, looks: bool) -> Reserved {
        let month = self.owner.at.month();
        let looking = looks.then(|| self.store.month(&self.owner.subject, &month));
        let spent = OptionFuture::from(looking).await.flatten();
        let session = self.owner.session.as_ref();
        let before = spent.map(|item| Spending::of(month, &item, session));
        (Allowance::Granted(self), before)
    }

    /// What comes of reserving `amount`; what was reserved in vain is given back.
    pub(super) async fn granted(
        mut self: Box<Self>,
        amount: MicroDollars,
        settings: &Budget,
    ) -> Reserved {
        match self.reserve(amount, settings).await {
            Ok(before) => (Allowance::Granted(self), before),
            Err(refusal) => {
                self.record.note(|record| record.budget(refusal.label(), None));
                (Allowance::Refused(refusal), None)
            }
        }
    }

    /// Commits `amount` for this request, in its subject's month and in the deployment's; returns
    /// what the subject has committed now.
    async fn reserve(
        &mut self,
        amount: MicroDollars,
        settings: &Budget,
    ) -> Result<Option<Spending>, Refusal> {
        let (at, caps) = (self.owner.at, [settings.user, settings.total]);
        let entry = Entry { id: self.id.clone(), amount, since: self.owner.since };
        let own = Change::reserve(at, amount, Some(&entry), &settings.user);
        let all = Change::reserve(at, amount, None, &settings.total);
        let (Some(own), Some(all)) = (own, all) else {
            let never = caps.iter().find_map(|caps| caps.used_up(None, amount, at));
            return Err(Refusal::of(never, at, settings));
        };
        let is_capped = !settings.total.are_none();
        let (own, all) = self.store.change_both(&self.owner, &own, is_capped.then_some(&all)).await;
        let mut spending = None;
        if let Ok(Changed::Yes(month)) = &own {
            spending = Some(Spending::of(at.month(), month, self.owner.session.as_ref()));
            self.held.entries.push(entry);
        }
        if matches!(all, Some(Ok(Changed::Yes(_)))) {
            self.held.everybodys = Some(amount);
        }
        if let Some(Ok(changed)) = &all {
            let percent = match changed {
                Changed::Yes(month) => settings.total.used_percent(month, at),
                // There is room for less, at most.
                Changed::Full(_) => Some(100),
            };
            let note = |percent| self.record.note(|record| record.total_used(percent));
            percent.into_iter().for_each(note);
        }
        let mut used_up = Vec::new();
        for (changed, caps) in [Some(own), all].into_iter().zip(caps) {
            match changed {
                Some(Ok(Changed::Full(month))) => {
                    used_up.extend(caps.used_up(Some(&month), amount, at));
                }
                Some(Ok(Changed::Yes(_))) | None => {}
                Some(Err(_)) => return Err(Refusal::Unavailable),
            }
        }
        let last = used_up.into_iter().max_by_key(|used_up| used_up.is_month);
        if self.held.entries.is_empty() || last.is_some() {
            return Err(Refusal::of(last, at, settings));
        }
        self.record.note(|record| record.budget("ok", Some(amount)));
        Ok(spending)
    }
}
