//! What stops a command before any change: something that is not ours, or would not work.

use super::{Exit, Failure};
use crate::engine::Address;
use crate::engine::Foreign;
use crate::resources::image::ImageSpec;
use crate::stack::settings::{Environment, Settings};
use crate::stack::{Declaration, Found, Observed};

/// Refuses to go on if anything is not ours. Names all of it.
pub(super) fn refuse_foreign(survey: &[Found], adopt: bool) -> Result<(), Failure> {
    let foreign = survey.iter().filter_map(|found| Some((&found.address, found.foreign.as_ref()?)));
    let refused: Vec<(&Address, &Foreign)> =
        foreign.filter(|(_, why)| !(adopt && why.adoptable())).collect();
    let Some((first, _)) = refused.first() else { return Ok(()) };
    let lines = refused.iter().map(|(address, why)| format!("{address} is not ours: {why}"));
    let elsewhere = |(_, why): &(&Address, &Foreign)| matches!(why, Foreign::OtherStack(_));
    let hint = if refused.iter().all(|(_, why)| why.adoptable()) {
        "use another --name, or take it over with --adopt"
    } else if refused.iter().any(elsewhere) {
        "name the region of that stack (--region), or use another --name for one here"
    } else {
        "use another --name"
    };
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
pub(super) fn refuse_settings(declared: &Declaration, asked: &Settings) -> Result<(), Failure> {
    let problems = match &declared.trouble {
        Some(trouble) => vec![trouble.to_string()],
        None => Environment::check_whole(&declared.environment).err().unwrap_or_default(),
    };
    if problems.is_empty() {
        return Ok(());
    }
    let typed = asked.environment.iter().next().is_some();
    let exit = if typed { Exit::Usage } else { Exit::Preflight };
    let hint = "`config set` and `config unset` mend what is set; `config list` shows it";
    Err(Failure::new(exit, problems.join("\n")).hint(hint))
}

/// An image that is to be deployed again must still be there.
pub(super) fn refuse_missing_image(image: &ImageSpec, there: &Observed) -> Result<(), Failure> {
    match image {
        ImageSpec::Kept(digest) if !there.image.as_ref().is_some_and(|live| live.has(digest)) => {
            let message = format!("the repository has no image {digest}");
            Err(Failure::new(Exit::Failed, message).hint("aws ecr describe-images lists them"))
        }
        ImageSpec::Kept(_) | ImageSpec::Ready(_) | ImageSpec::NotCompared => Ok(()),
    }
}
