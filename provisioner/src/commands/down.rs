//! `down`: removes all that is ours, goes on past a failure, and looks again at the end.

use std::collections::{BTreeMap, BTreeSet};

use function::caller::User;
use serde_json::json;

use super::{Exit, Failure, Session, user};
use crate::aws::{CloudError, Writer};
use crate::cli::StackArgs;
use crate::engine::Address;
use crate::engine::Resource as _;
use crate::engine::plan::Style;
use crate::engine::walk;
use crate::proxy::items::Items;
use crate::resources::image::Wanted;
use crate::stack::{Found, Observed, Remembered, Stack};
use crate::view::{number, removal};

pub(super) async fn run(session: &mut Session) -> Result<Exit, Failure> {
    let settings = session.settings(&StackArgs::default())?;
    let cloud = session.connect().await?;
    let account = &cloud.account;
    // What the function remembers does not matter any more, nor whether it makes sense.
    let stack = Stack::new(&settings, account, &Remembered::default(), Wanted::NotCompared)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let reader = cloud.reader();
    let look = async { Ok(session.observe(&stack, &reader).await?) };
    let there = session.unless_stopped(look).await?;
    let survey = stack.survey(&there);
    let (ours, kept) = sort(&survey);
    let printer = session.printer;
    session.report = report(&[], &kept, &[]);
    let scope = session.scope(&cloud);
    let foreign = removal::kept(&survey);
    if !foreign.is_empty() {
        printer.progress(&foreign);
    }
    if ours.is_empty() {
        printer.text(format!("There is nothing to delete of the {scope}."));
        return match kept.first() {
            None => Ok(Exit::Done),
            Some(first) => {
                let message = "nothing here is ours, so nothing was deleted";
                let failure = Failure::new(Exit::Refused, message);
                Err(Failure { resource: Some(first.clone()), ..failure })
            }
        };
    }
    let mut text = removal::list(&ours, &stack, &there, printer.stderr_style());
    if ours.contains(&stack.table.address()) {
        let items = Items::of(stack.table.name.clone());
        let users = async { Ok(user::holders(&items, &cloud.reader()).await) };
        text += &keys(session.unless_stopped(users).await?, printer.stderr_style());
    }
    printer.progress(text.trim_end());
    let question = format!("Delete all {} of the {scope}? Nothing can be undone.", ours.len());
    session.consent(&question).await?;
    let writer = cloud.writer(printer.say(), session.stop.clone());
    let mut failed = delete(&stack, &there, &ours, &writer).await;
    let left = again(&stack, &ours, &writer, &mut failed).await;
    let (deleted, remaining): (Vec<_>, Vec<_>) =
        ours.into_iter().partition(|address| !left.contains(address));
    let scope = session.scope(&cloud);
    printer.text(removal::gone(&deleted, &remaining, &scope, printer.stdout_style()).trim_end());
    session.report = report(&deleted, &kept, &remaining);
    conclude(remaining, failed, &writer)
}

/// Says what is left, and what to do about it.
fn conclude(
    remaining: Vec<Address>,
    failed: Vec<CloudError>,
    writer: &Writer,
) -> Result<Exit, Failure> {
    // What could not be deleted may have gone with what it belonged to.
    if remaining.is_empty() {
        return Ok(Exit::Done);
    }
    if writer.stop().said() {
        let failure = Failure::new(Exit::Interrupted, "interrupted");
        return Err(failure.hint("run it again to finish the job"));
    }
    let first = failed.into_iter().next();
    let failure = match &first {
        Some(error) if writer.has_changed() => Failure::at(Exit::Partly, ATTEMPT, error),
        Some(error) => Failure::at(Failure::from(error.clone()).exit, ATTEMPT, error),
        None => Failure::new(Exit::Partly, "not all of it is gone"),
    };
    let hint = failure.hint.clone();
    let hint = hint.unwrap_or_else(|| "run it again: it finishes the job".to_owned());
    let resource = failure.resource.clone().or_else(|| remaining.into_iter().next());
    Err(Failure { resource, ..failure }.hint(hint))
}

const ATTEMPT: &str = "was not deleted";

/// What is ours, and what is there but is not.
fn sort(survey: &[Found]) -> (Vec<Address>, Vec<Address>) {
    let there = survey.iter().filter(|found| found.state.is_some());
    let (ours, kept): (Vec<_>, Vec<_>) = there.partition(|found| found.foreign.is_none());
    let addresses = |all: Vec<&Found>| all.into_iter().map(|found| found.address.clone()).collect();
    (addresses(ours), addresses(kept))
}

fn report(
    deleted: &[Address],
    kept: &[Address],
    remaining: &[Address],
) -> serde_json::Map<String, serde_json::Value> {
    let report = json!({"deleted": deleted, "kept": kept, "remaining": remaining});
    report.as_object().cloned().unwrap_or_default()
}

/// Who can no longer use the proxy. That it cannot be told is no reason not to go on.
fn keys(users: Result<BTreeMap<User, user::Held>, CloudError>, style: Style) -> String {
    let users = match users {
        Ok(users) if users.is_empty() => return String::new(),
        Ok(users) => users,
        Err(error) => return format!("(whose keys go with it cannot be read: {error})\n"),
    };
    let names = users.iter().map(|(user, held)| match held.keys {
        1 => user.to_string(),
        keys => format!("{user} ({keys})"),
    });
    let all = users.values().map(|held| held.keys).sum();
    let (keys, people) = (number(all, "key"), number(users.len(), "user"));
    let names = names.collect::<Vec<_>>().join(", ");
    format!("{}\n", style.paint("1;31", format!("! {keys} of {people} stop working: {names}")))
}

/// Deletes backwards, and goes on past a failure.
async fn delete(
    stack: &Stack,
    there: &Observed,
    ours: &[Address],
    cloud: &Writer,
) -> Vec<CloudError> {
    let mut failed = Vec::new();
    for part in stack.parts(there).iter().rev() {
        if !ours.contains(&part.address()) || cloud.stop().said() {
            continue;
        }
        if let Err(error) = walk::delete(part.as_ref(), cloud).await {
            cloud.say().progress(&format!("  not deleted: {error}"));
            failed.push(error);
        }
    }
    failed
}

/// Looks again, and says what is left of `ours`. A late line of the function makes its log group
/// anew, which goes once more.
async fn again(
    stack: &Stack,
    ours: &[Address],
    cloud: &Writer,
    failed: &mut Vec<CloudError>,
) -> BTreeSet<Address> {
    let addresses = |there: &Observed| -> BTreeSet<Address> {
        sort(&stack.survey(there)).0.into_iter().collect()
    };
    let mut there = stack.observe(cloud.reader()).await;
    let group = stack.log_group.address();
    let resurrected = there.as_ref().is_ok_and(|there| addresses(there).contains(&group));
    if resurrected && !cloud.stop().said() {
        if let Err(error) = stack.log_group.delete(cloud).await {
            failed.push(error.at(&group));
        }
        there = stack.observe(cloud.reader()).await;
    }
    match there {
        Ok(there) => addresses(&there),
        // What nobody has seen gone is still there.
        Err(error) => {
            failed.push(error);
            ours.iter().cloned().collect()
        }
    }
}
