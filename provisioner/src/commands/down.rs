//! `down`: removes all that is ours, goes on past a failure, and looks again at the end.

use std::collections::{BTreeMap, BTreeSet};

use function::caller::User;
use serde_json::json;

use super::refuse::refuse_held;
use super::{Exit, Failure, Session, user};
use crate::aws::{Cloud, CloudError, Kind, Writer};
use crate::engine::plan::Style;
use crate::engine::{Address, Foreign, Resource as _, walk};
use crate::proxy::items::Items;
use crate::resources::log_group::LogGroup;
use crate::stack::{Declaration, Observed, Stack};
use crate::view::{number, removal};

pub(super) async fn run(session: &mut Session) -> Result<Exit, Failure> {
    let cloud = session.connect().await?;
    // What is wanted of it does not matter any more.
    let declared = Stack::named(&session.global.name, &cloud.account).unwanted();
    let found = locate(session, &declared, &cloud).await?;
    session.report = report(&[], &found.kept(), &[]);
    let scope = session.scope(&cloud);
    let printer = session.printer;
    if !found.foreign.is_empty() {
        printer.progress(&removal::kept(&found.foreign));
    }
    if found.ours.is_empty() {
        printer.text(format!("There is nothing to delete of the {scope}."));
        return match found.foreign.first() {
            None => Ok(Exit::Done),
            Some((first, _)) => {
                let message = "nothing here is ours, so nothing was deleted";
                let failure = Failure::new(Exit::Refused, message);
                Err(Failure { resource: Some(first.clone()), ..failure })
            }
        };
    }
    let found = agree(session, &declared, &cloud, found).await?;
    let writer = cloud.writer(printer.say(), session.stop.clone());
    let mut failed = delete(&declared, &found, &writer).await;
    let left = again(&declared, &found.ours, &writer, &mut failed).await;
    let mut kept = found.kept();
    // What somebody has put in the place of ours is not ours to delete.
    let strangers = failed.iter().filter(|error| error.kind == Kind::Foreign);
    kept.extend(strangers.filter_map(|error| error.address.as_deref().cloned()));
    let (deleted, remaining): (Vec<_>, Vec<_>) =
        found.ours.into_iter().partition(|address| !left.contains(address));
    let deleted: Vec<_> = deleted.into_iter().filter(|gone| !kept.contains(gone)).collect();
    let scope = session.scope(&cloud);
    printer.text(removal::gone(&deleted, &remaining, &scope, printer.stdout_style()).trim_end());
    session.report = report(&deleted, &kept, &remaining);
    conclude(&declared.stack.log_group, remaining, failed, &writer)
}

/// What was found at one moment.
struct Located {
    there: Observed,
    ours: Vec<Address>,
    foreign: Vec<(Address, Foreign)>,
}

/// Lambda may have made it for whichever function once had the name.
const BARE: &str = "it carries no tags, and nothing else of the stack is here";

impl Located {
    /// What was `known` to be ours a moment ago may have been the last that told whose a log group
    /// without tags is.
    fn of(declared: &Declaration, there: Observed, known: &[Address]) -> Self {
        let mut foreign = declared.foreign(&there);
        let survey = declared.survey(&there).into_iter();
        let ours = survey.filter(|found| found.state.is_some() && found.foreign.is_none());
        let mut ours: Vec<Address> = ours.map(|found| found.address).collect();
        let group = declared.stack.log_group.address();
        let bare = there.log_group.as_ref().is_some_and(|live| live.tags.is_empty());
        if bare && known.is_empty() && ours == [group.clone()] {
            ours.clear();
            foreign.push((group, Foreign::Unfit(BARE)));
        }
        Self { there, ours, foreign }
    }

    fn kept(&self) -> Vec<Address> {
        self.foreign.iter().map(|(address, _)| address.clone()).collect()
    }
}

/// Looks at all of it, and refuses what AWS would refuse once half of it is gone.
async fn locate(
    session: &Session,
    declared: &Declaration,
    cloud: &Cloud,
) -> Result<Located, Failure> {
    let reader = cloud.reader();
    let looking = async {
        let there = session.observe(&declared.stack, &reader).await?.whole()?;
        let found = Located::of(declared, there, &[]);
        let mut held = Vec::new();
        for part in declared.parts(&found.there) {
            let address = part.address();
            if !found.ours.contains(&address) {
                continue;
            }
            held.extend(part.refuses_removal(&reader).await?.map(|why| (address, why)));
        }
        refuse_held(held, "deleted")?;
        Ok(found)
    };
    session.unless_stopped(looking).await
}

/// Shows what would go until somebody says yes to it and it is still what would go. A question may
/// stand for hours: what was read before it is read again after it.
async fn agree(
    session: &Session,
    declared: &Declaration,
    cloud: &Cloud,
    mut shown: Located,
) -> Result<Located, Failure> {
    let (printer, scope) = (session.printer, session.scope(cloud));
    loop {
        let mut text =
            removal::list(&shown.ours, &declared.stack, &shown.there, printer.stderr_style());
        if shown.ours.contains(&declared.stack.table.address()) {
            let items = Items::of(declared.stack.table.name.clone());
            let users = async { Ok(user::holders(&items, &cloud.reader()).await) };
            text += &keys(session.unless_stopped(users).await?, printer.stderr_style());
        }
        printer.progress(text.trim_end());
        let all = shown.ours.len();
        session
            .consent(&format!("Delete all {all} of the {scope}? Nothing can be undone."))
            .await?;
        let now = locate(session, declared, cloud).await?;
        refuse_strangers(&shown.ours, &now.foreign)?;
        if now.ours.iter().all(|address| shown.ours.contains(address)) {
            return Ok(now);
        }
        printer.progress("\nSince then somebody else has added to it.\n");
        shown = now;
    }
}

/// Refuses to go on where something of ours has become somebody else's.
fn refuse_strangers(ours: &[Address], foreign: &[(Address, Foreign)]) -> Result<(), Failure> {
    let new: Vec<_> = foreign.iter().filter(|(address, _)| ours.contains(address)).collect();
    let Some((first, _)) = new.first() else { return Ok(()) };
    let line = |(address, why): &&(Address, Foreign)| {
        format!("{address} is not ours any more, so nothing was deleted: {why}")
    };
    let failure = Failure::new(Exit::Refused, new.iter().map(line).collect::<Vec<_>>().join("\n"));
    let hint = "run it again to delete all else";
    Err(Failure { resource: Some(first.clone()), ..failure.hint(hint) })
}

/// Says what is left, and what to do about it.
fn conclude(
    group: &LogGroup,
    remaining: Vec<Address>,
    failed: Vec<CloudError>,
    writer: &Writer,
) -> Result<Exit, Failure> {
    let first = failed.iter().position(|error| error.kind == Kind::Foreign);
    // What could not be deleted may have gone with what it belonged to.
    if remaining.is_empty() && first.is_none() {
        return Ok(Exit::Done);
    }
    if writer.stop().said() {
        let failure = Failure::new(Exit::Interrupted, "interrupted");
        return Err(failure.hint("run it again to finish the job"));
    }
    let first = failed.into_iter().nth(first.unwrap_or_default());
    let failure = match &first {
        Some(error) if writer.has_changed() => Failure::at(Exit::Partly, ATTEMPT, error),
        Some(error) => Failure::at(Failure::from(error.clone()).exit, ATTEMPT, error),
        None => Failure::new(Exit::Partly, "not all of it is gone"),
    };
    // Without tags it is nobody's, once all else is gone.
    let comes_back = first.is_none() && remaining.iter().all(|address| *address == group.address());
    let hint = match failure.hint.clone() {
        Some(hint) => hint,
        None if comes_back => format!(
            "something still writes into it: aws logs delete-log-group --log-group-name {}",
            group.name
        ),
        None => "run it again: it finishes the job".to_owned(),
    };
    let resource = failure.resource.clone().or_else(|| remaining.into_iter().next());
    Err(Failure { resource, ..failure }.hint(hint))
}

const ATTEMPT: &str = "was not deleted";

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

/// Deletes backwards what is still ours at that moment, and goes on past a failure.
async fn delete(declared: &Declaration, found: &Located, cloud: &Writer) -> Vec<CloudError> {
    let mut failed = Vec::new();
    let parts = declared.parts(&found.there);
    for part in parts.iter().rev() {
        if !found.ours.contains(&part.address()) || cloud.stop().said() {
            continue;
        }
        if let Err(error) = walk::delete(&parts, part.as_ref(), cloud).await {
            cloud.say().progress(&format!("  not deleted: {error}"));
            failed.push(error);
        }
    }
    failed
}

/// Looks again, and says what is left of `ours`. A late line of the function makes its log group
/// anew, which goes once more.
async fn again(
    declared: &Declaration,
    ours: &[Address],
    cloud: &Writer,
    failed: &mut Vec<CloudError>,
) -> BTreeSet<Address> {
    let look = async || declared.stack.observe(cloud.reader()).await?.whole();
    let group = declared.stack.log_group.address();
    let mut found = look().await.map(|there| Located::of(declared, there, ours));
    let resurrected = found.as_ref().is_ok_and(|found| found.ours.contains(&group));
    if let Ok(now) = &found
        && resurrected
        && !cloud.stop().said()
    {
        let parts = declared.parts(&now.there);
        for part in parts.iter().filter(|part| part.address() == group) {
            failed.extend(walk::delete(&parts, part.as_ref(), cloud).await.err());
        }
        drop(parts);
        found = look().await.map(|there| Located::of(declared, there, ours));
    }
    match found {
        Ok(found) => found.ours.into_iter().collect(),
        // What nobody has seen gone is still there.
        Err(error) => {
            failed.push(error);
            ours.iter().cloned().collect()
        }
    }
}
