//! What a request may cost: reserved before Bedrock is asked, settled when its answer is over.
//!
//! Only what goes to Bedrock is counted; a request that Anthropic answers makes no call here. Where
//! there is a cap, Bedrock is not asked before the reservation has come back, and never without
//! one. Whatever becomes of a request, its [`Tab`] is settled once, or stays reserved.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::future::OptionFuture;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::cached_store::{CachedStore, Write};
use crate::failover::identity::ModelClass;
use crate::money::Period;
use crate::money::budget::{Bill, Change, Changed, DEPLOYMENT, Entry, UsedUp};
use crate::money::{Cost, MicroDollars, Tariff, Tokens, estimate};
use crate::session::Spending;
use crate::settings::Budget;
use crate::store::StoreError;
use crate::store::budgets::Account;
use crate::telemetry::Record;
use crate::translate::error::BedrockFailure;
use crate::wire::usage::Usage;

static REASON: HeaderName = HeaderName::from_static("x-claude-proxy-reason");
static BUDGET: HeaderName = HeaderName::from_static("x-claude-proxy-budget");
static MESSAGE: HeaderName = HeaderName::from_static("x-claude-proxy-budget-message");

/// A text as a header may hold it: one that is not all ASCII with percent signs, byte by byte.
fn in_ascii(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let letter = |byte: u8| match byte {
        b'%' | 0x80.. => format!("%{byte:02X}"),
        ascii => char::from(ascii).to_string(),
    };
    text.bytes().map(letter).collect()
}

/// What a request is allowed to spend, as far as it is known.
#[derive(Default)]
pub(super) enum Allowance {
    /// Nobody has asked yet.
    #[default]
    Open,
    Granted(Box<Tab>),
    Refused(Refusal),
}

/// Why Bedrock may not be asked.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    UsedUp { what: String, message: Option<Arc<str>> },
    Unavailable,
}

impl Refusal {
    fn of(used_up: Option<UsedUp>, at: Period, settings: &Budget) -> Self {
        let Some(used_up) = used_up else { return Self::Unavailable };
        let used = used_up.used.map(|used| format!("used={}; ", used.cents()));
        let period = if used_up.is_month { "month" } else { "day" };
        let resets = used_up.resets(at, &settings.zone);
        let (used, limit) = (used.unwrap_or_default(), used_up.limit.cents());
        let what = format!("{used}limit={limit}; period={period}; resets={resets}");
        Self::UsedUp { what, message: settings.message.clone() }
    }

    /// Tells the client of an answer that Bedrock would have replaced.
    pub(super) fn tell(&self, headers: &mut HeaderMap) {
        let (reason, budget, message) = match self {
            Self::UsedUp { what, message } => {
                ("budget", HeaderValue::from_str(what).ok(), message.as_deref().map(in_ascii))
            }
            Self::Unavailable => ("budget_unavailable", None, None),
        };
        headers.insert(&REASON, HeaderValue::from_static(reason));
        headers.extend(budget.map(|budget| (BUDGET.clone(), budget)));
        let message = message.and_then(|message| HeaderValue::from_str(&message).ok());
        headers.extend(message.map(|message| (MESSAGE.clone(), message)));
    }

    /// The same for whoever reads a sentence.
    pub(super) fn sentence(&self) -> String {
        match self {
            Self::UsedUp { what, message: None } => format!("The budget is used up: {what}."),
            Self::UsedUp { what, message: Some(message) } => {
                format!("The budget is used up: {what}. {message}")
            }
            Self::Unavailable => "The budget cannot be read or written.".to_owned(),
        }
    }

    const fn label(&self) -> &'static str {
        match self {
            Self::UsedUp { .. } => "used_up",
            Self::Unavailable => "unavailable",
        }
    }
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
}

/// What one request has reserved and spent. Settled when it is dropped, if not before.
pub(super) struct Tab {
    pub(super) store: Arc<CachedStore>,
    owner: Holder,
    class: String,
    /// What is known to be reserved.
    entries: Vec<Entry>,
    /// What of it counts against the deployment, too; `None` where that has no cap.
    everybodys: Option<MicroDollars>,
    /// The output tokens that are reserved.
    reserved_output: u64,
    /// Bedrock has been asked, and nothing is known yet of what that costs.
    asked: bool,
    /// Nothing will ever be known of what a call before that has cost.
    lost: bool,
    bill: Option<Bill>,
    settled: bool,
    record: Record,
    /// What the subject had spent before, where that is known.
    pub(super) before: Option<Spending>,
}

impl Tab {
    /// Adds what a call has cost.
    pub(super) fn charge(&mut self, (cost, tokens): (Cost, Tokens)) {
        let bill =
            self.bill.get_or_insert_with(|| Bill { class: self.class.clone(), ..Bill::default() });
        bill.cost = bill.cost.plus(cost);
        bill.tokens = bill.tokens.plus(tokens);
        self.asked = false;
    }

    /// Puts what was spent in the place of what was reserved; nothing more is counted afterwards.
    /// What is not known costs its reservation, which stays.
    pub(super) fn settle(&mut self) -> Option<Write> {
        self.settlement(Some(self.record.clone()))
    }

    fn settlement(&mut self, record: Option<Record>) -> Option<Write> {
        let over = std::mem::replace(&mut self.settled, true);
        let is_nothing = self.entries.is_empty() && self.everybodys.is_none();
        if over || (self.bill.is_none() && (is_nothing || self.asked || self.lost)) {
            return None;
        }
        let (store, owner) = (Arc::clone(&self.store), self.owner.clone());
        let mut bill = self.bill.take();
        if let (Some(bill), Some(met)) = (&mut bill, owner.met) {
            bill.saved = store.bridged(&owner.subject, met);
        }
        // What was reserved stays for the call of which nothing is known.
        let stays = self.asked || self.lost;
        let own = match stays {
            true => Change::book(owner.at, MicroDollars(0), bill.as_ref()),
            false => Change::settle(owner.at, &self.entries, bill.as_ref()),
        };
        let everybodys = self.everybodys.map(|reserved| {
            let reserved = if stays { MicroDollars(0) } else { reserved };
            Change::book(owner.at, reserved, bill.as_ref())
        });
        Some(Box::pin(async move {
            let (own, all) = store.change_both(&owner, &own, everybodys.as_ref()).await;
            if own.is_err() || all.is_some_and(|done| done.is_err()) {
                record.iter().for_each(Record::unsettled);
            }
        }))
    }

    /// Reserves more where a stream has brought more than is reserved for; `None` while there is
    /// enough.
    pub(super) fn top_up(&mut self, tariff: &Tariff, so_far: &Usage) -> Option<TopUp> {
        let first = self.entries.first()?;
        if so_far.output.unwrap_or(0) <= self.reserved_output {
            return None;
        }
        let id = format!("{}-{}", first.id, self.reserved_output);
        self.reserved_output += estimate::MORE_OUTPUT;
        let amount = estimate::topped_up(tariff, so_far);
        let entry = Entry { id, amount, since: self.owner.since };
        let (store, owner) = (Arc::clone(&self.store), self.owner.clone());
        let is_everybodys = self.everybodys.is_some();
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
        self.entries.extend(done.own);
        if let (Some(reserved), Some(more)) = (&mut self.everybodys, done.everybodys) {
            reserved.0 = reserved.0.saturating_add(more.0);
        }
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
        // The client has left, or the platform allows no more time: somebody else sees to it. The
        // line of the request does not wait for that.
        if let Some(write) = self.settlement(None) {
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

/// How a reservation ends.
pub(super) type Reserving = Pin<Box<dyn Future<Output = Allowance> + Send>>;

impl Allowance {
    /// Bedrock is asked now.
    pub(super) fn asks(&mut self) {
        if let Self::Granted(tab) = self {
            tab.lost |= tab.asked;
            tab.asked = true;
        }
    }

    /// Takes note that a call has failed. One of which nothing was heard may have been answered.
    pub(super) fn spared(&mut self, failure: &BedrockFailure) {
        if let Self::Granted(tab) = self
            && !matches!(failure, BedrockFailure::Unheard { .. })
        {
            tab.asked = false;
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
        record: Record,
    ) -> Box<Self> {
        Box::new(Self {
            store,
            owner,
            class: class.as_str().to_owned(),
            entries: Vec::new(),
            everybodys: None,
            reserved_output: estimate::FIRST_OUTPUT,
            asked: false,
            lost: false,
            bill: None,
            settled: false,
            record,
            before: None,
        })
    }

    /// Nobody has to be asked for money; what was spent is looked up where that is wanted.
    pub(super) async fn uncapped(mut self: Box<Self>, looks: bool) -> Allowance {
        if looks {
            let month = self.owner.at.month();
            let spent = self.store.month(&self.owner.subject, &month).await;
            self.before = spent.map(|item| Spending::of(month, &item));
        }
        Allowance::Granted(self)
    }

    /// What comes of reserving `amount`; what was reserved in vain is given back.
    pub(super) async fn granted(
        mut self: Box<Self>,
        amount: MicroDollars,
        settings: &Budget,
    ) -> Allowance {
        match self.reserve(amount, settings).await {
            Ok(()) => Allowance::Granted(self),
            Err(refusal) => {
                self.record.budget(refusal.label(), None);
                Allowance::Refused(refusal)
            }
        }
    }

    /// Commits `amount` for this request, in its subject's month and in the deployment's.
    async fn reserve(&mut self, amount: MicroDollars, settings: &Budget) -> Result<(), Refusal> {
        let (at, caps) = (self.owner.at, [settings.user, settings.total]);
        let entry = Entry { id: self.record.id().to_owned(), amount, since: self.owner.since };
        let own = Change::reserve(at, amount, Some(&entry), &settings.user);
        let all = Change::reserve(at, amount, None, &settings.total);
        let (Some(own), Some(all)) = (own, all) else {
            let never = caps.iter().find_map(|caps| caps.used_up(None, amount, at));
            return Err(Refusal::of(never, at, settings));
        };
        let is_capped = !settings.total.are_none();
        let (own, all) = self.store.change_both(&self.owner, &own, is_capped.then_some(&all)).await;
        if let Ok(Changed::Yes(month)) = &own {
            self.before = Some(Spending::of(at.month(), month));
            self.entries.push(entry);
        }
        if matches!(all, Some(Ok(Changed::Yes(_)))) {
            self.everybodys = Some(amount);
        }
        if let Some(Ok(changed)) = &all {
            let percent = match changed {
                Changed::Yes(month) => settings.total.used_percent(month, at),
                // There is room for less, at most.
                Changed::Full(_) => Some(100),
            };
            percent.into_iter().for_each(|percent| self.record.total_used(percent));
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
        if self.entries.is_empty() || last.is_some() {
            return Err(Refusal::of(last, at, settings));
        }
        self.record.budget("ok", Some(amount));
        Ok(())
    }
}
