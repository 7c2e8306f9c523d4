//! Whose request is it, and on what?

use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::Proxy;
use crate::caller;
use crate::failover::Policy;
use crate::failover::identity::{Fingerprint, ModelClass};
use crate::translate::model::Model;
use crate::wire::names;

/// How betas begin that say what kind of credential it is (`oauth-2025-04-20`).
const KIND_OF_CREDENTIAL: &str = "oauth-";

#[derive(Debug)]
pub(super) struct Subject {
    pub(super) fingerprint: Fingerprint,
    /// Where refusals are kept.
    pub(super) presented: Option<PresentedCredential>,
    pub(super) class: ModelClass,
    /// `None` where Bedrock has no such model.
    pub(super) model: Option<Model>,
}

/// A credential, and all else that Anthropic judges it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PresentedCredential {
    pub(super) fingerprint: Fingerprint,
    pub(super) as_key: bool,
    pub(super) as_token: bool,
    pub(super) named: bool,
}

impl PresentedCredential {
    /// Reads it off the headers that Anthropic sees.
    fn of(fingerprint: Fingerprint, sent: &HeaderMap) -> Self {
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
    /// Whose request it is; `None` where no limit of theirs could be told from another's.
    pub(super) fn subject(&self, sent: &HeaderMap, model: &str) -> Option<Subject> {
        self.subject_of(caller::fingerprint(sent)?, sent, model)
    }

    /// The same for whoever has this fingerprint and goes on with these headers.
    pub(super) fn subject_of(
        &self,
        fingerprint: Fingerprint,
        sent: &HeaderMap,
        model: &str,
    ) -> Option<Subject> {
        let class = ModelClass::of(model)?;
        // What is invoked says what it accepts, unless the operator's id hides what it is.
        let mapped = Model::mapped(&self.settings.model_map, model);
        let by_any_letters = || Model::resolve(&model.to_ascii_lowercase());
        let model = mapped
            .and_then(Model::resolve)
            .or_else(|| Model::resolve(model))
            .or_else(|| mapped.and_then(|_| by_any_letters()));
        let presented = self.keeps_refusals().then(|| PresentedCredential::of(fingerprint, sent));
        Some(Subject { fingerprint, presented, class, model })
    }

    /// What the operator wants for a request of this subject.
    pub(super) fn policy(&self, subject: Option<&Subject>) -> Policy {
        let settings = &self.settings;
        Policy {
            tracking: settings.tracking,
            fallback: settings.fallback && subject.is_some_and(|s| s.model.is_some()),
            fallback_on: settings.fallback_on,
            retry_threshold: settings.retry_threshold,
            max_retry_wait: settings.max_retry_wait,
            regions: self.bedrock.region_count(),
        }
    }
}
