//! Tells what a month has cost, to whoever the file of the ledger belongs to.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Method, Response, header};

use crate::money::period::is_month;
use crate::proxy::Proxy;
use crate::proxy::body::Body;
use crate::settings::StoreSettings;
use crate::usage::{PATH, Told, nonce};

impl Proxy {
    /// What a month has cost; `None` where nobody asks, or somebody who may not: to them there is
    /// no such endpoint.
    pub(in crate::proxy) fn usage(&self, head: &Parts) -> Option<Response<Body>> {
        if head.uri.path() != PATH || head.method != Method::GET {
            return None;
        }
        let StoreSettings::Embedded(store) = &self.settings.store else { return None };
        if !nonce::is_shown(&head.headers, store) {
            return None;
        }
        let month = head.uri.query().and_then(|query| query.strip_prefix("month="));
        let told = self.told(month.filter(|month| is_month(month)))?;
        let mut answer = Response::new(Body::from(Bytes::from(serde_json::to_vec(&told).ok()?)));
        let json = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        Some(answer)
    }

    /// What a month has cost, as far as this machine knows; none named is the one that it is.
    pub fn told(&self, month: Option<&str>) -> Option<Told> {
        Told::read(month, &self.settings.budget, |month| self.store.months(month)).ok()
    }
}
