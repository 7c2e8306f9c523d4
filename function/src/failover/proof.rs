//! Does Anthropic accept this credential, and how long ago did it say so?
//!
//! Bedrock is the operator's money, so it is spent only on a credential that Anthropic itself has
//! accepted lately. Pure: ages are computed from values, the free call that renews a proof is made
//! by the caller.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::cooldown::{Timestamp, age};
use super::hint;
use super::known::{Known, Proof};
use crate::wire::names;

/// A proof that can no longer be renewed because nobody answers is believed for this long.
pub const LONGEST_UNRENEWED: Duration = Duration::from_secs(6 * 60 * 60);

/// How far a credential is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Accepted recently enough.
    Proven,
    /// Accepted at this moment, which is too long ago.
    Stale { proven_at: Timestamp },
    /// Never seen to be accepted, or not known of which organization it is, where that counts.
    Unknown,
    /// Accepted, but of an organization that may not use Bedrock. No call can change that.
    Foreign,
}

impl Standing {
    /// Judges what is known; a limit that Anthropic reported is proof as of that moment. What is of
    /// the future proves nothing: a clock was wrong, and nobody knows how old it is.
    ///
    /// Where only `listed` organizations count, the proof must name one of them: a limit alone does
    /// not say whose it is.
    #[must_use]
    pub fn of(known: &Known, listed: Option<&[String]>, max_age: Duration, now: Timestamp) -> Self {
        if let Some(listed) = listed {
            match known.proof.as_ref().and_then(|proof| proof.organization.as_ref()) {
                Some(organization) if listed.contains(organization) => {}
                Some(_) => return Self::Foreign,
                None => return Self::Unknown,
            }
        }
        let limits = [&known.class, &known.account];
        let recorded = limits.into_iter().flatten().map(|cooldown| cooldown.recorded_at);
        let moments = recorded.chain(known.proof.iter().map(|proof| proof.proven_at));
        let aged = moments.filter_map(|moment| Some((age(moment, now)?, moment)));
        let Some((age, proven_at)) = aged.min() else { return Self::Unknown };
        if age <= max_age { Self::Proven } else { Self::Stale { proven_at } }
    }

    /// Whether a call that has shown `renewal` leaves the credential with a right to Bedrock.
    ///
    /// `self` is the standing after the call.
    #[must_use]
    pub const fn stands_after(self, renewal: Renewal) -> bool {
        match (renewal, self) {
            (Renewal::Unproven, _) | (_, Self::Unknown | Self::Foreign) => false,
            (Renewal::Proven | Renewal::Kept, Self::Proven | Self::Stale { .. }) => true,
        }
    }
}

/// What the free call with the same credential (`GET /v1/models`) has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// Anthropic accepts it: a new proof.
    Proven,
    /// No word against it, and the last proof is recent enough to go on with.
    Kept,
    /// Refused, or nothing to go on with.
    Unproven,
}

impl Renewal {
    /// Judges the status of the call; `None` where there was no answer in time.
    #[must_use]
    pub fn of(standing: Standing, status: Option<StatusCode>, now: Timestamp) -> Self {
        match (status, standing) {
            (Some(StatusCode::OK), _) => Self::Proven,
            (Some(StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN), _) => Self::Unproven,
            (_, Standing::Proven) => Self::Kept,
            (_, Standing::Stale { proven_at })
                if age(proven_at, now).is_some_and(|age| age <= LONGEST_UNRENEWED) =>
            {
                Self::Kept
            }
            (_, Standing::Stale { .. } | Standing::Unknown | Standing::Foreign) => Self::Unproven,
        }
    }
}

/// Reads the proof that an answer of Anthropic carries.
///
/// A success proves the credential; so does a 429, if it shows that Anthropic knew whose limit it
/// was. Both only with a `request-id`, which a middlebox does not send. `limited` says that the 429
/// was judged to be a genuine one.
#[must_use]
pub fn carried_by(
    status: StatusCode,
    headers: &HeaderMap,
    limited: bool,
    now: Timestamp,
) -> Option<Proof> {
    let organization = headers.get(&names::ORGANIZATION_ID).and_then(|v| v.to_str().ok());
    let organization = organization.filter(|id| !id.is_empty());
    let knows_whose = organization.is_some() || hint::has_rate_limit_headers(headers);
    let accepted = status == StatusCode::OK || (limited && knows_whose);
    (accepted && hint::has_request_id(headers)).then(|| Proof {
        proven_at: now,
        organization: organization.filter(|id| id.len() <= 128).map(str::to_owned),
    })
}

/// Adds what an older proof says to a new one of the same credential: its organization, which not
/// every answer names and which never changes.
#[must_use]
pub fn joined(known: &Known, new: Proof) -> Proof {
    let older = || known.proof.as_ref()?.organization.clone();
    Proof { organization: new.organization.or_else(older), ..new }
}

/// Whether a proof is worth writing: nothing newer than half the maximum age is known, or only
/// something of the future, or no organization yet.
#[must_use]
pub fn is_worth_writing(known: &Known, new: &Proof, max_age: Duration, now: Timestamp) -> bool {
    known.proof.as_ref().is_none_or(|proof| {
        age(proof.proven_at, now).is_none_or(|age| age > max_age / 2)
            || (proof.organization.is_none() && new.organization.is_some())
    })
}
