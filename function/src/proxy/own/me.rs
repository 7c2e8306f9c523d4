//! What a caller may read of themselves: a line, and all of it as JSON.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};

use super::caller::Caller;
use super::{nothing_here, page};
use crate::access::AccessMode;
use crate::clock;
use crate::failover::cooldown::Timestamp;
use crate::failover::identity::{Fingerprint, ModelClass};
use crate::failover::known::{KeyOwner, Known, Owner};
use crate::proxy::Proxy;
use crate::proxy::admit::Admitted;
use crate::proxy::body::Body;
use crate::reply::{ErrorKind, Failure};
use crate::session::client::LINE;
use crate::session::report::{LimitReport, Report, Tallied};
use crate::session::{self, words};
use crate::store::{Query, StoreError};
use crate::telemetry::Record;

/// For programs.
const ME: &str = "/_proxy/me";

/// A store that takes longer is not waited for.
const WITHIN: Duration = Duration::from_secs(3);
/// When to come back if it does.
const AGAIN: Duration = Duration::from_secs(5);

impl Proxy {
    /// Answers what is asked below `/_proxy/`, by whoever was let in.
    pub(in crate::proxy) async fn tell(
        self: &Arc<Self>,
        admitted: Admitted,
        known: Known,
        record: Record,
    ) -> Response<Body> {
        let target = &admitted.target.path_and_query;
        let is_read = [Method::GET, Method::HEAD].contains(&admitted.head.method);
        let known_paths = [LINE, ME, page::UNFINISHED, page::PATH, page::OVERVIEW];
        let path = Some(target.path()).filter(|path| is_read && known_paths.contains(path));
        let Some(path) = path else { return self.refuse(nothing_here(), record) };
        match path {
            page::PATH => return self.own(page::page(), record),
            page::UNFINISHED => return self.own(page::finished(target.query()), record),
            _ => {}
        }
        let asked = target.query().and_then(session_name);
        let session = asked.and_then(|name| session::digest(name.as_bytes()));
        let owner = self.owner_of(&admitted, known);
        let now = clock::now();
        let all = admitted.is_direct && self.is_one_persons_own();
        let asking = (owner.as_ref(), session.as_ref(), all);
        let answering = self.answer_of(path, asking, now);
        match tokio::time::timeout(WITHIN, answering).await {
            Ok(Ok(answer)) => self.own(answer, record),
            Ok(Err(_)) | Err(_) => self.refuse(unread(), record),
        }
    }

    async fn answer_of(
        &self,
        path: &str,
        (owner, session, all): (Option<&Owner>, Option<&Fingerprint>, bool),
        now: Timestamp,
    ) -> Result<Response<Bytes>, StoreError> {
        let caller = self.caller(owner, session, now).await?;
        if path == LINE {
            let zone = &self.settings.budget.zone;
            let line = words::line(caller.session.as_ref(), caller.funds.as_ref(), zone, now);
            return Ok(text("text/plain; charset=utf-8", "private, max-age=5", line));
        }
        let json = if path == ME {
            serde_json::to_string(&self.report(&caller, session, now).await)
        } else {
            let overview = match session {
                None if all => self.whole(now)?,
                _ => self.overview(caller, session, now).await?,
            };
            serde_json::to_string(&overview)
        };
        Ok(text("application/json", "no-store", json.unwrap_or_default()))
    }

    /// Whose key has let a request in; `None` where no key is needed.
    fn owner_of(&self, admitted: &Admitted, known: Known) -> Option<Owner> {
        let AccessMode::Key(_) = self.settings.access else { return None };
        match known.key {
            KeyOwner::User(owner) => Some(owner),
            KeyOwner::Nobody | KeyOwner::Unread => {
                admitted.target.user.as_ref().map(|user| Owner::named(user.as_str()))
            }
        }
    }

    /// All that a caller is told of themselves.
    pub(super) async fn report(
        &self,
        caller: &Caller,
        session: Option<&Fingerprint>,
        now: Timestamp,
    ) -> Report {
        let tallied = session.and_then(|digest| self.tallied(digest, caller));
        let limits = self.limits_of(caller, now).await;
        let whose = (caller.subject.as_deref(), caller.funds.as_ref());
        Report::of(whose, caller.session.as_ref(), limits, tallied, now)
    }

    fn tallied(&self, digest: &Fingerprint, caller: &Caller) -> Option<Tallied> {
        let (subject, tally) = self.tallies.find(digest)?;
        let (requests, by_bedrock, cost) = tally.read();
        (Some(subject) == caller.subject).then_some(Tallied { requests, by_bedrock, cost })
    }

    /// The limits in force that the caller's session runs into.
    async fn limits_of(&self, caller: &Caller, now: Timestamp) -> Vec<LimitReport> {
        let whose = caller.session.as_ref().and_then(|session| {
            let fingerprint = Fingerprint::from_hex(&session.fingerprint)?;
            Some((fingerprint, ModelClass::of(&session.class)?))
        });
        let Some((fingerprint, class)) = whose else { return Vec::new() };
        let query = Query { subject: Some((&fingerprint, &class)), ..Query::default() };
        let known = self.store.look_up(&query, now).await;
        let limits = [("*", &known.account), (class.as_str(), &known.class)];
        let limits = limits.into_iter();
        limits.filter_map(|(class, limit)| Some(LimitReport::of(class, limit.as_ref()?))).collect()
    }
}

/// The value of the parameter that names a session.
fn session_name(query: &str) -> Option<&str> {
    query.split('&').find_map(|parameter| parameter.strip_prefix("session="))
}

/// A small answer, whole.
fn text(kind: &'static str, kept: &'static str, text: String) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(text));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    response
}

fn unread() -> Failure {
    let message = "The proxy cannot read its store at this moment. Try again soon.";
    let failure = Failure::new(ErrorKind::Unavailable, message);
    Failure { retry_after: Some(AGAIN), ..failure }
}
