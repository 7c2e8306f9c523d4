//! Anthropic's refusals of a credential, which are good for a minute.
//!
//! Where strangers may knock, one bad credential is asked about once a minute, not each time. What
//! is kept is Anthropic's own answer, never a credential. A new credential is a new question; so is
//! the same one in another manner: a token in the wrong header, or without the beta that says what
//! it is, is refused although it is good.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Response;

use super::Proxy;
use super::cached_store::elapsed;
use super::subject::{PresentedCredential, Subject};
use crate::access::AccessMode;
use crate::clock;
use crate::failover::cooldown::Timestamp;
use crate::failover::hint;

/// How long a refusal is answered again without a call.
const LIFETIME: Duration = Duration::from_secs(60);
/// More refusals than this are not kept.
const MOST: usize = 1000;
/// A refusal with a larger body is not kept.
const MOST_BODY_BYTES: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<PresentedCredential, (Timestamp, Response<Bytes>)>>);

impl Proxy {
    /// What Anthropic said lately to a credential that it refuses.
    pub(super) fn recall(&self, subject: Option<&Subject>) -> Option<Response<Bytes>> {
        self.refusals.recall(subject?.presented.as_ref()?, clock::now())
    }

    /// Whether refusals are kept: where everybody may knock.
    pub(super) const fn keeps_refusals(&self) -> bool {
        matches!(self.settings.access, AccessMode::Organization(_))
    }

    /// Keeps a refusal, if it is Anthropic's.
    pub(super) fn keep_refusal(&self, presented: PresentedCredential, answer: Response<Bytes>) {
        self.refusals.remember(presented, answer, clock::now());
    }
}

impl Refusals {
    /// Anthropic's refusal of this credential, if that was just now.
    fn recall(&self, whose: &PresentedCredential, now: Timestamp) -> Option<Response<Bytes>> {
        let kept = self.kept();
        let (at, answer) = kept.get(whose)?;
        (!elapsed(Some(*at), LIFETIME, now)).then(|| answer.clone())
    }

    fn remember(&self, whose: PresentedCredential, answer: Response<Bytes>, now: Timestamp) {
        // A refusal without Anthropic's mark may be anybody's.
        if answer.body().len() > MOST_BODY_BYTES || !hint::has_request_id(answer.headers()) {
            return;
        }
        let mut kept = self.kept();
        kept.retain(|_, (at, _)| !elapsed(Some(*at), LIFETIME, now));
        if kept.len() < MOST {
            kept.insert(whose, (now, answer));
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<PresentedCredential, (Timestamp, Response<Bytes>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::failover::identity::Fingerprint;

    #[test]
    fn a_refusal_is_good_for_a_minute_and_for_nothing_once_a_clock_was_set_back() {
        let (refusals, fingerprint) = (Refusals::default(), Fingerprint::of(&[b"sk"]));
        let fingerprint = fingerprint.expect("there is a credential");
        let whose =
            PresentedCredential { fingerprint, as_key: true, as_token: false, named: false };
        let mut answer = Response::new(Bytes::from_static(b"{}"));
        answer.headers_mut().insert("request-id", http::HeaderValue::from_static("req_1"));
        refusals.remember(whose, answer.clone(), at(3600));
        let is_kept = |second| refusals.recall(&whose, at(second)).is_some();
        assert_eq!([3600, 3659, 3660].map(is_kept), [true, true, false]);
        assert_eq!([0, 3590].map(is_kept), [false, false], "it is of no known age");
        refusals.remember(whose, answer, at(10));
        assert_eq!([10, 70].map(is_kept), [true, false]);
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second)
    }
}
