//! Which betas go along with a body?
//!
//! Those that the client has sent and the model takes, and those that the body needs: one unknown
//! value fails the whole request, and so does a missing one.

use super::Untranslatable;
use super::mend::Mends;
use super::table::{BETAS, Features, Holds, RENAMED};

/// The betas for Bedrock, in the order of the table whatever the client's order was; `sent` are the
/// values of the client's headers.
///
/// # Errors
///
/// Fails where a beta is missing without which a tool or a block would be refused.
pub(super) fn betas(
    sent: &[&str],
    (features, mends): (&Features, &Mends),
    holds: &Holds,
) -> Result<Vec<&'static str>, Untranslatable> {
    let renamed =
        |sent| RENAMED.iter().find(|(from, _)| *from == sent).map_or(sent, |(_, name)| *name);
    let sent: Vec<&str> = sent
        .iter()
        .flat_map(|value| value.split(','))
        .map(|beta| renamed(beta.trim_ascii()))
        .collect();
    let needed = |beta: &str| holds.needed.contains(beta);
    let betas: Vec<_> = BETAS
        .iter()
        .filter(|beta| (beta.accepted)(features) && mends.allows(beta.name))
        .filter(|beta| needed(beta.name) || (beta.wanted)(sent.contains(&beta.name), holds))
        .map(|beta| beta.name)
        .collect();
    if holds.needed.iter().all(|beta| betas.contains(beta)) {
        Ok(betas)
    } else {
        Err(Untranslatable::Missing("the beta that a tool needs"))
    }
}
