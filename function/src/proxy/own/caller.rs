//! Who asks one of the proxy's own endpoints, and what is known of them?
//!
//! Where a key is needed, its owner is the caller. Elsewhere it is the session: its name is known
//! to its client alone. Nobody is told of anything that is somebody else's.

use crate::access::{AccessDecision, Shown};
use crate::clock;
use crate::failover::cooldown::Timestamp;
use crate::failover::identity::Fingerprint;
use crate::failover::known::{KeyOwner, Owner};
use crate::money::Period;
use crate::money::budget::{DEPLOYMENT, Month};
use crate::proxy::Proxy;
use crate::proxy::admit::{no_key, unread_key};
use crate::reply::Failure;
use crate::session::funds::Funds;
use crate::session::{Session, Spending};
use crate::store::{Query, StoreError};

/// Who asks, and what is known of them.
#[derive(Debug, Default)]
pub(super) struct Caller {
    /// Whose money it is, and the name that people know it by.
    pub(super) subject: Option<String>,
    pub(super) session: Option<Session>,
    pub(super) funds: Option<Funds>,
}

impl Proxy {
    /// The owner of the key that was shown; `None` where no key is needed.
    pub(super) async fn owner(&self, shown: &Shown) -> Result<Option<Owner>, Failure> {
        let digest = match self.settings.access.decide(shown) {
            AccessDecision::Granted(owner) => {
                return Ok(owner.map(|owner| Owner::named(owner.as_str())));
            }
            AccessDecision::Denied => return Err(no_key()),
            AccessDecision::Ask(digest) => digest,
        };
        let query = Query { key: Some(&digest), ..Query::default() };
        match self.store.look_up(&query, clock::now()).await.key {
            KeyOwner::User(owner) => Ok(Some(owner)),
            KeyOwner::Nobody => Err(no_key()),
            KeyOwner::Unread => Err(unread_key()),
        }
    }

    /// What is known of the owner of a key, or of whose session it is.
    pub(super) async fn caller(
        &self,
        owner: Option<&Owner>,
        digest: Option<&Fingerprint>,
        now: Timestamp,
    ) -> Result<Caller, StoreError> {
        let session = match digest {
            Some(digest) => self.store.session(digest, now).await?,
            None => None,
        };
        let is_theirs = |session: &Session| owner.is_none_or(|owner| owner.name == session.subject);
        let session = session.filter(is_theirs);
        let tallied = || digest.and_then(|digest| self.tallies.find(digest));
        let subject = owner.map(|owner| owner.name.clone());
        let subject = subject.or_else(|| Some(session.as_ref()?.subject.clone()));
        let subject = subject.or_else(|| Some(tallied()?.0));
        let Some(name) = &subject else { return Ok(Caller::default()) };
        let at = Period::at(now, &self.settings.budget.zone);
        let month = self.store.month_of(name, &at.month()).await?;
        let funds = Some(self.funds(owner, month, at, now));
        Ok(Caller { subject, session, funds })
    }

    fn funds(&self, owner: Option<&Owner>, month: Month, at: Period, now: Timestamp) -> Funds {
        let budget = &self.settings.budget;
        let exception = owner.and_then(|owner| owner.exception.as_ref());
        let caps = exception.map_or(budget.user, |exception| exception.over(budget.user, now, at));
        Funds { caps, month, at, zone: budget.zone.clone() }
    }

    /// The funds of all together, where they have a cap.
    pub(super) async fn everybodys_funds(&self, at: Period) -> Result<Option<Funds>, StoreError> {
        let budget = &self.settings.budget;
        if budget.total.are_none() {
            return Ok(None);
        }
        let month = self.store.month_of(DEPLOYMENT, &at.month()).await?;
        Ok(Some(Funds { caps: budget.total, month, at, zone: budget.zone.clone() }))
    }

    /// What a subject and its session have spent by now, counted from the month in which the detour
    /// began.
    pub(super) async fn spent(
        &self,
        caller: &Caller,
        digest: &Fingerprint,
    ) -> Result<Option<Spending>, StoreError> {
        let Caller { subject: Some(subject), session: Some(session), funds: Some(funds) } = caller
        else {
            return Ok(None);
        };
        let spent = Spending::of(funds.at.month(), &funds.month, Some(digest));
        let Some(before) = session.before.as_ref().filter(|before| before.month != spent.month)
        else {
            return Ok(Some(spent));
        };
        let earlier = self.store.month_of(subject, &before.month).await?;
        Ok(Some(spent.plus(&Spending::of(before.month.clone(), &earlier, Some(digest)))))
    }
}
