//! A page for a browser: one file without anything from elsewhere, and what it shows.
//!
//! Whatever it asks for is relative to it, so that a key in its path stays there. What it may do is
//! said in its head: run the one script that it brings along, and ask this proxy.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use aws_smithy_types::base64;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use sha2::{Digest, Sha256};

use super::caller::Caller;
use crate::access::AccessMode;
use crate::failover::cooldown::Timestamp;
use crate::failover::identity::Fingerprint;
use crate::money::Period;
use crate::proxy::Proxy;
use crate::session::overview::{self, Everybody, Overview};
use crate::settings::Budget;
use crate::store::StoreError;

/// Where a browser asks.
pub(super) const PATH: &str = "/_proxy/";
/// The same as people write it.
pub(super) const UNFINISHED: &str = "/_proxy";
/// Where the page asks what it shows.
pub(super) const OVERVIEW: &str = "/_proxy/overview";

const PAGE: &str = include_str!("page.html");

/// What the page may do.
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |tag: &str| {
        let inside = PAGE
            .split_once(&format!("<{tag}>"))
            .and_then(|(_, rest)| rest.split_once(&format!("</{tag}>")).map(|(inside, _)| inside));
        base64::encode(Sha256::digest(inside.unwrap_or_default()))
    };
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash("script"),
        hash("style")
    );
    HeaderValue::try_from(policy).unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"))
});

/// The page itself.
pub(super) fn page() -> Response<Bytes> {
    let mut response = Response::new(Bytes::from_static(PAGE.as_bytes()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, POLICY.clone());
    let fixed: [(HeaderName, &'static str); 4] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Sends a browser from where it is to the page, without naming the key in its path.
pub(super) fn finished(query: Option<&str>) -> Response<Bytes> {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let place = HeaderValue::try_from(format!("_proxy/{query}"));
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
    let place = place.unwrap_or_else(|_| HeaderValue::from_static("_proxy/"));
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, place);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

impl Proxy {
    /// What the page shows a caller.
    pub(super) async fn overview(
        &self,
        caller: Caller,
        session: Option<&Fingerprint>,
        now: Timestamp,
    ) -> Result<Overview, StoreError> {
        let at = Period::at(now, &self.settings.budget.zone);
        let mut sessions = self.store.sessions(now)?;
        sessions.retain(|of| Some(&of.subject) == caller.subject.as_ref());
        let latest = overview::latest(&sessions, now).cloned();
        let caller = Caller { session: caller.session.or(latest), ..caller };
        let mut months = BTreeMap::new();
        if let Some(subject) = &caller.subject {
            for month in overview::months(at) {
                let item = self.store.month_of(subject, &month).await?;
                months.insert(month, item);
            }
        }
        let me = self.report(&caller, session, now).await;
        let user = caller.session.as_ref().and_then(|session| session.user.clone());
        let of_key = matches!(self.settings.access, AccessMode::Key(_));
        let user = user.or_else(|| caller.subject.clone().filter(|_| of_key));
        let (session, funds) = (caller.session.as_ref(), caller.funds.as_ref());
        Ok(Overview {
            now,
            timezone: overview::timezone(&self.settings.budget.zone),
            user,
            me,
            why: overview::why(session, now),
            caps: overview::caps(funds),
            days: overview::days(at, &months),
            detours: overview::detours(&sessions, now),
            everybody: None,
        })
    }

    /// The same of the whole proxy.
    pub(super) fn whole(&self, now: Timestamp) -> Result<Overview, StoreError> {
        let Budget { total, zone, .. } = &self.settings.budget;
        let sessions = self.store.sessions(now)?;
        let mut items = Vec::new();
        for month in overview::months(Period::at(now, zone)) {
            let theirs = self.store.months(&month)?.into_iter();
            items.extend(theirs.map(|(subject, item)| (month.clone(), subject, item)));
        }
        let (requests, by_bedrock, _) = self.tallies.all().read();
        let all = Everybody {
            months: items,
            sessions: &sessions,
            limits: self.store.limits(now)?,
            total: *total,
            zone,
            counted: Some((requests, by_bedrock)),
        };
        Ok(Overview::of(all, now))
    }

    /// Whether whoever reaches the proxy is at this machine, and may see all of it.
    pub(super) fn is_one_persons_own(&self) -> bool {
        let here = self.settings.listen.ip().to_canonical().is_loopback();
        here && self.settings.access == AccessMode::Open && !self.store.is_shared()
    }
}
