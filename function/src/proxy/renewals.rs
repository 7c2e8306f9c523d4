//! Renews the proof that Anthropic accepts a credential, by a call that costs nothing.
//!
//! One call for each credential at a time: whoever comes meanwhile waits for it and takes its
//! result. Keeps fingerprints only, a bounded number of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::Proxy;
use crate::clock;
use crate::failover::cooldown::Timestamp;
use crate::failover::identity::Fingerprint;
use crate::failover::known::{Known, Proof};
use crate::failover::proof::{self, Renewal, Standing};
use crate::upstream::anthropic::Anthropic;

/// A refusal is not asked for again within this time.
const REFUSED_FOR: Duration = Duration::from_secs(2);
/// When more credentials than this were kept, all that nobody waits for are forgotten; each can be
/// found out again by one free call.
const MOST: usize = 10_000;

type Slot = Arc<tokio::sync::Mutex<Option<Checked>>>;

#[derive(Debug, Default)]
pub(super) struct Renewals(Mutex<BTreeMap<Fingerprint, Slot>>);

/// The result of a call, and when it was made.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    at: Timestamp,
    pub(super) renewal: Renewal,
    /// The new proof, where the answer carried one.
    pub(super) proof: Option<Proof>,
}

impl Checked {
    /// Whether the result still answers for a credential of this standing.
    fn holds(&self, standing: Standing, max_age: Duration, now: Timestamp) -> bool {
        let longest = match self.renewal {
            // The last real proof has aged meanwhile.
            Renewal::Kept if Renewal::of(standing, None, now) != Renewal::Kept => return false,
            Renewal::Proven | Renewal::Kept => max_age,
            Renewal::Unproven => REFUSED_FOR,
        };
        Duration::try_from(now.duration_since(self.at)).is_ok_and(|age| age <= longest)
    }
}

impl Proxy {
    /// How far a credential is proven, for one that wants to use Bedrock.
    pub(super) fn standing(&self, known: &Known) -> Standing {
        let listed = self.settings.access.organizations();
        Standing::of(known, listed, self.settings.proof_max_age, clock::now())
    }
}

impl Renewals {
    /// Asks Anthropic about the credential in `headers`, unless that has just been done.
    pub(super) async fn renew(
        &self,
        whose: Fingerprint,
        standing: Standing,
        max_age: Duration,
        (anthropic, headers): (&Anthropic, &HeaderMap),
    ) -> Checked {
        let slot = self.slot(whose);
        let mut slot = slot.lock().await;
        if let Some(checked) = slot.as_ref().filter(|c| c.holds(standing, max_age, clock::now())) {
            return checked.clone();
        }
        let answer = anthropic.prove(headers).await;
        let now = clock::now();
        let status = answer.as_ref().map(|(status, _)| *status);
        let proof =
            answer.and_then(|(status, headers)| proof::carried_by(status, &headers, false, now));
        // A success that does not bear Anthropic's mark says nothing.
        let said = status.filter(|status| *status != StatusCode::OK || proof.is_some());
        let renewal = Renewal::of(standing, said, now);
        let checked = Checked { at: now, renewal, proof };
        tracing::debug!(status = status.map(|s| s.as_u16()), renewal = ?checked.renewal, "proof");
        *slot = Some(checked.clone());
        checked
    }

    /// Forgets what was found out: Anthropic has refused the credential.
    pub(super) fn forget(&self, whose: &Fingerprint) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(whose);
    }

    fn slot(&self, whose: Fingerprint) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MOST && !slots.contains_key(&whose) {
            // Slots that nobody holds can be made again at the price of one free call.
            slots.retain(|_, slot| Arc::strong_count(slot) > 1);
        }
        Arc::clone(slots.entry(whose).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_that_nobody_could_renew_is_kept_for_six_hours_and_not_a_moment_longer() {
        let checked = |renewal| Checked { at: at(6 * 3600 - 60), renewal, proof: None };
        let (stale, max_age) = (Standing::Stale { proven_at: at(0) }, Duration::from_secs(900));
        let kept = |standing, second| checked(Renewal::Kept).holds(standing, max_age, at(second));
        assert!(kept(stale, 6 * 3600));
        assert!(!kept(stale, 6 * 3600 + 1), "the call is younger than its maximum age");
        assert!(!kept(Standing::Unknown, 6 * 3600), "there was no proof to be kept");
        let proven = checked(Renewal::Proven);
        assert!(proven.holds(stale, max_age, at(6 * 3600 + 840)));
        assert!(!proven.holds(stale, max_age, at(6 * 3600 + 841)));
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("small")
    }
}
