//! What stops a command before any change: something that is not ours, or would not work.

use super::{Exit, Failure};
use crate::aws::Account;
use crate::engine::Address;
use crate::engine::Foreign;
use crate::resources::image::ImageSpec;
use crate::stack::cure_of;
use crate::stack::names::Name;
use crate::stack::options::Choice;
use crate::stack::settings::{Environment, Settings};
use crate::stack::{Declaration, Found, Observed};

/// Refuses to go on if anything is not ours. Names all of it.
pub(super) fn refuse_foreign(
    survey: &[Found],
    adopt: bool,
    place: (&Name, &Account),
) -> Result<(), Failure> {
    let foreign = survey.iter().filter_map(|found| Some((&found.address, found.foreign.as_ref()?)));
    let refused: Vec<(&Address, &Foreign)> =
        foreign.filter(|(_, why)| !(adopt && why.adoptable())).collect();
    let Some((first, _)) = refused.first() else { return Ok(()) };
    let lines = refused.iter().map(|(address, why)| format!("{address} is not ours: {why}"));
    let why: Vec<&Foreign> = refused.iter().map(|(_, why)| *why).collect();
    let hint = cure_of(&why, true, place);
    let failure = Failure::new(Exit::Refused, lines.collect::<Vec<_>>().join("\n"));
    Err(Failure { resource: Some((*first).clone()), ..failure.hint(hint) })
}

/// Refuses to go on where AWS would, once half of it is done. Names all of it.
pub(super) fn refuse_held(held: Vec<(Address, String)>, what: &str) -> Result<(), Failure> {
    let Some((first, _)) = held.first().cloned() else { return Ok(()) };
    let lines = held.iter().map(|(address, why)| format!("{address} cannot be {what}: {why}"));
    let failure = Failure::new(Exit::Refused, lines.collect::<Vec<_>>().join("\n"));
    Err(Failure { resource: Some(first), ..failure.hint("nothing was changed") })
}

/// What could not become what is wanted.
pub(super) fn held(declared: &Declaration, there: &Observed) -> Vec<(Address, String)> {
    let parts = declared.parts(there);
    parts.iter().filter_map(|part| Some((part.address(), part.refuses_change()?))).collect()
}

/// A function whose settings are wrong would not start. Where nothing was typed, what is there
/// already is wrong.
pub(super) fn refuse_settings(
    declared: &Declaration,
    asked: &Settings,
    is_deployed: bool,
) -> Result<(), Failure> {
    let problems = match &declared.trouble {
        Some(trouble) => vec![trouble.to_string()],
        None => Environment::check_whole(&declared.environment).err().unwrap_or_default(),
    };
    if problems.is_empty() {
        return Ok(());
    }
    let typed = asked.environment.iter().next().is_some();
    let exit = if typed { Exit::Usage } else { Exit::Preflight };
    let hint = match is_deployed {
        true => "`config set` and `config unset` mend what is set; `config list` shows it",
        false => "nothing is set yet: say it otherwise, or all of it, by --env",
    };
    Err(Failure::new(exit, problems.join("\n")).hint(hint))
}

/// A role takes a boundary of its own account only.
pub(super) fn refuse_boundary(asked: &Settings, account: &Account) -> Result<(), Failure> {
    let misfit = match &asked.boundary {
        Some(Choice::Given(boundary)) => boundary.misfit(account),
        Some(Choice::Default) | None => None,
    };
    let refused = |why| Failure::new(Exit::Usage, why).hint("name a policy of this account");
    misfit.map_or(Ok(()), |why| Err(refused(why)))
}

/// So many images are named to somebody who asks for one that is not there.
const KEPT: usize = 3;

/// An image that is to be deployed again must still be there.
pub(super) fn refuse_missing_image(image: &ImageSpec, there: &Observed) -> Result<(), Failure> {
    match image {
        ImageSpec::Kept(digest) if !there.image.as_ref().is_some_and(|live| live.has(digest)) => {
            let message = format!("the repository has no image {digest}");
            let kept = there.image.iter().flat_map(|live| &live.images);
            let kept: Vec<&str> = kept.map(|image| image.digest.as_str()).take(KEPT).collect();
            Err(Failure::new(Exit::Failed, message).hint(match kept.is_empty() {
                true => "it has none: `up` without --image makes one".to_owned(),
                false => format!("it has {}", kept.join(", ")),
            }))
        }
        ImageSpec::Kept(_) | ImageSpec::Ready(_) | ImageSpec::NotCompared => Ok(()),
    }
}
