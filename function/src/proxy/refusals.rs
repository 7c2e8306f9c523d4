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
use http::header::AUTHORIZATION;
use http::{HeaderMap, Response};

use super::Proxy;
use super::exchange::Subject;
use crate::access::AccessMode;
use crate::clock;
use crate::failover::cooldown::{Fingerprint, Timestamp};
use crate::failover::hint;
use crate::wire::names;

/// How long a refusal is answered again without a call.
const LIFETIME: Duration = Duration::from_secs(60);
/// More refusals than this are not kept.
const MOST: usize = 1000;
/// A refusal with a larger body is not kept.
const MOST_BODY_BYTES: usize = 4096;

/// How betas begin that say what kind of credential it is (`oauth-2025-04-20`).
const KIND_OF_CREDENTIAL: &str = "oauth-";

#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<BTreeMap<Manner, (Timestamp, Response<Bytes>)>>);

/// A credential, and all else that Anthropic judges it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manner {
    fingerprint: Fingerprint,
    as_key: bool,
    as_token: bool,
    named: bool,
}

impl Manner {
    /// Reads the manner off the headers that Anthropic sees.
    pub(super) fn of(fingerprint: Fingerprint, sent: &HeaderMap) -> Self {
        let betas = sent.get_all(&names::BETA).iter().filter_map(|value| value.to_str().ok());
        let mut betas = betas.flat_map(|value| value.split(','));
        Self {
            fingerprint,
            as_key: sent.contains_key(&names::API_KEY),
            as_token: sent.contains_key(AUTHORIZATION),
            named: betas.any(|beta| beta.trim_ascii().starts_with(KIND_OF_CREDENTIAL)),
        }
    }
}

impl Proxy {
    /// What Anthropic said lately to a credential that it refuses.
    pub(super) fn recall(&self, subject: Option<&Subject>) -> Option<Response<Bytes>> {
        self.refusals.recall(subject?.manner.as_ref()?, clock::now())
    }

    /// Whether refusals are kept: where everybody may knock.
    pub(super) const fn keeps_refusals(&self) -> bool {
        matches!(self.settings.access, AccessMode::Organization(_))
    }

    /// Keeps a refusal, if it is Anthropic's.
    pub(super) fn keep_refusal(&self, manner: Manner, answer: Response<Bytes>) {
        self.refusals.remember(manner, answer, clock::now());
    }
}

impl Refusals {
    /// Anthropic's refusal of this credential, if that was just now.
    fn recall(&self, whose: &Manner, now: Timestamp) -> Option<Response<Bytes>> {
        let kept = self.kept();
        let (until, answer) = kept.get(whose)?;
        (*until > now).then(|| answer.clone())
    }

    fn remember(&self, whose: Manner, answer: Response<Bytes>, now: Timestamp) {
        // A refusal without Anthropic's mark may be anybody's.
        if answer.body().len() > MOST_BODY_BYTES || !hint::has_request_id(answer.headers()) {
            return;
        }
        let mut kept = self.kept();
        kept.retain(|_, (until, _)| *until > now);
        if kept.len() < MOST {
            kept.insert(whose, (now + LIFETIME, answer));
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<Manner, (Timestamp, Response<Bytes>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
