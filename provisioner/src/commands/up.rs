//! `up`: makes the account what is wanted, and proves that the URL answers.

use std::collections::BTreeMap;

use function::settings::dollars;
use serde_json::Value;

use super::refuse::{
    held, refuse_boundary, refuse_foreign, refuse_held, refuse_missing_image, refuse_settings,
};
use super::session::shown as as_text;
use super::{Exit, Failure, Session, heading, image_source};
use crate::aws::{Cloud, CloudError, Kind, Reader, Writer};
use crate::cli::Up;
use crate::engine::Resource as _;
use crate::engine::plan::{self, Change, Plan};
use crate::engine::walk::{self, Applied};
use crate::proxy::probe::{self, Health};
use crate::resources::image::ImageSpec;
use crate::stack::settings::{Settings, is_uncapped};
use crate::stack::{Declaration, Observed};
use crate::view::ending;

/// What is to be done, made of what was read at one moment.
pub(super) struct Planned {
    pub(super) declared: Declaration,
    pub(super) there: Observed,
    pub(super) plan: Plan,
}

pub(super) async fn run(session: &mut Session, args: Up) -> Result<Exit, Failure> {
    let mut settings = session.settings(&args.stack)?;
    let image_source = image_source(&args.image, false, session.printer).await?;
    let cloud = session.connect().await?;
    let image = session.image(&cloud, &settings, image_source).await?;
    let mut planned = planned(session, &cloud, &settings, &image).await?;
    if !planned.plan.is_empty() {
        planned = agree(session, &cloud, &mut settings, &image, planned).await?;
    }
    let printer = session.printer;
    if planned.plan.is_empty() {
        printer.text("No changes.");
    } else {
        let writer = cloud.writer(printer.say(), session.stop.clone());
        let Planned { declared, there, plan } = &planned;
        let applied = walk::up(&declared.parts(there), plan, &writer, settings.adopt).await;
        conclude(applied, plan, &writer)?;
        planned = prove(session, &cloud, &settings, &image, planned).await?;
    }
    let Planned { declared, there, .. } = &planned;
    session.report.insert("outputs".to_owned(), Value::Object(declared.stack.outputs(there)));
    let stopped = declared.is_stopped();
    let health = match &there.url {
        Some(live) if !args.no_probe && !stopped => {
            Some(probe(session, &live.url, &cloud.reader()).await?)
        }
        Some(_) | None => None,
    };
    let (scope, style) = (session.scope(&cloud), printer.stdout_style());
    printer.text(ending::text(declared, there, health.as_ref(), &scope, style).trim_end());
    health.map_or(Ok(Exit::Done), |health| judge(&health))
}

/// Looks at what is there, and plans; refuses what must not or cannot be done.
pub(super) async fn planned(
    session: &mut Session,
    cloud: &Cloud,
    settings: &Settings,
    image: &ImageSpec,
) -> Result<Planned, Failure> {
    refuse_boundary(settings, &cloud.account)?;
    let (declared, there) = session.declare(cloud, settings, image).await?;
    let plan = declared.plan(&there);
    let plan = if settings.adopt { plan.taking_over(&declared.foreign(&there)) } else { plan };
    session.report = plan.json();
    refuse_foreign(&declared.survey(&there), settings.adopt, (&settings.name, &cloud.account))?;
    refuse_held(held(&declared, &there), "changed")?;
    refuse_missing_image(image, &there)?;
    refuse_settings(&declared, settings, there.function.is_some())?;
    Ok(Planned { declared, there, plan })
}

/// Shows a plan until somebody says yes to it and it is still what would be done. A question may
/// stand for hours: what was read before it is read again after it.
async fn agree(
    session: &mut Session,
    cloud: &Cloud,
    settings: &mut Settings,
    image: &ImageSpec,
    mut shown: Planned,
) -> Result<Planned, Failure> {
    let (printer, account) = (session.printer, &cloud.account);
    let question = format!("Do this in account {}, region {}?", account.id, account.region);
    let mut capped = false;
    loop {
        let style = printer.stderr_style();
        printer.progress(&format!("{}\n", heading(&session.scope(cloud), style)));
        printer.progress(as_text(&shown, printer, style).trim_end());
        if !std::mem::replace(&mut capped, true)
            && let Some(cap) = cap(session, &shown.declared.environment).await?
        {
            settings.environment.set(CAP, &cap);
            let now = Box::pin(planned(session, cloud, settings, image)).await?;
            printer.progress(&format!("{CAP}={cap} goes with it."));
            let function = shown.declared.stack.function.address().to_string();
            let others = changed(&shown.plan, &now.plan).iter().any(|one| *one != function);
            shown = now;
            if others {
                continue;
            }
        }
        session.consent(&question).await?;
        let mut now = Box::pin(planned(session, cloud, settings, image)).await?;
        if now.plan == shown.plan {
            return Ok(now);
        }
        printer.progress(&format!("\n{}\n", since(&shown.plan, &now.plan)));
        if now.plan.is_empty() {
            return Ok(now);
        }
        if session.global.yes {
            printer.progress(as_text(&now, printer, style).trim_end());
            return Ok(now);
        }
        std::mem::swap(&mut shown, &mut now);
    }
}

/// What caps each user, and what is suggested.
const CAP: &str = "BUDGET_USER_MONTH_USD";
const SUGGESTED: &str = "50";

/// How often somebody may answer what is no answer.
const ANSWERS: usize = 5;

/// Asks for a cap where there is none, and somebody is there to say one.
async fn cap(
    session: &Session,
    environment: &BTreeMap<String, String>,
) -> Result<Option<String>, Failure> {
    if session.global.yes || !session.printer.can_ask() || !is_uncapped(environment) {
        return Ok(None);
    }
    let question = format!(
        "Cap Bedrock at how many dollars a month for each user? [{SUGGESTED}] (none: no cap) "
    );
    for _ in 0..ANSWERS {
        let line = session.ask(&question).await?;
        match (line.trim(), line.ends_with('\n')) {
            ("", true) => return Ok(Some(SUGGESTED.to_owned())),
            ("", false) => break,
            (text, _) if text.eq_ignore_ascii_case("none") => return Ok(None),
            (text, _) => {
                let text = text.strip_prefix('$').unwrap_or(text);
                match dollars(text) {
                    Ok(_) => return Ok(Some(text.to_owned())),
                    Err(why) => session.printer.progress(&format!("That {why}; or none.")),
                }
            }
        }
    }
    Err(Failure::new(Exit::Refused, "nothing was changed: no cap was said").hint(
        "an amount such as 50, or none; or say it beforehand: --env BUDGET_USER_MONTH_USD=50",
    ))
}

/// What somebody else has changed between two plans.
pub(super) fn since(before: &Plan, now: &Plan) -> String {
    let changed = changed(before, now).join(", ");
    format!("Since the plan was made somebody else has changed {changed}.")
}

fn changed(before: &Plan, now: &Plan) -> Vec<String> {
    let old = |change: &Change| before.changes.iter().find(|old| old.address == change.address);
    let new = now.changes.iter().filter(|change| old(change) != Some(*change));
    let gone = before.pending().filter(|old| now.changes.iter().all(|c| c.address != old.address));
    let mut changed: Vec<_> = new.chain(gone).map(|change| change.address.to_string()).collect();
    changed.dedup();
    changed
}

/// Says what was done and what was not, if not all was.
pub(super) fn conclude(applied: Applied, plan: &Plan, writer: &Writer) -> Result<(), Failure> {
    let Applied { done, failed, left } = applied;
    if failed.is_none() && left.is_empty() {
        return Ok(());
    }
    let say = writer.say();
    for (title, all) in [("Done", &done), ("Not done", &left)] {
        let all: String = all.iter().map(|address| format!("\n  {address}")).collect();
        if !all.is_empty() {
            say.progress(&format!("\n{title}:{all}"));
        }
    }
    say.progress("");
    let changed = writer.has_changed();
    match failed.filter(|error| error.kind != Kind::Interrupted) {
        None => {
            Err(Failure::new(Exit::Interrupted, "interrupted")
                .hint("run it again to finish the job"))
        }
        Some(error) if changed => Err(half_done(plan, &error)),
        Some(error) => {
            let exit = Failure::from(error.clone()).exit;
            Err(Failure::at(exit, attempt(plan, &error), &error))
        }
    }
}

/// What was not done to the resource that failed.
fn attempt(plan: &Plan, error: &CloudError) -> &'static str {
    let action = plan.pending().find(|change| Some(&change.address) == error.address.as_deref());
    match action.map(|change| change.action.words().1) {
        Some("created") => "was not created",
        Some("replaced") => "was not replaced",
        Some("deleted") => "was not deleted",
        Some(_) => "was not updated",
        None => "could not be read",
    }
}

/// How often what was made is looked for before it counts as not made.
const PROOF_LOOKS: u32 = 15;

/// Looks again until everything is seen to be as it should be.
async fn prove(
    session: &Session,
    cloud: &Cloud,
    settings: &Settings,
    image: &ImageSpec,
    done: Planned,
) -> Result<Planned, Failure> {
    let mut looks = 0;
    loop {
        let (declared, there) = session.declare(cloud, settings, image).await.map_err(unproved)?;
        let plan = declared.plan(&there);
        let Some(first) = plan.pending().next() else {
            return Ok(Planned { declared, there, plan: done.plan });
        };
        looks += 1;
        let others = of_others(&done.plan, first);
        if looks == PROOF_LOOKS || !others.is_empty() {
            let address = &first.address;
            let message = match others.as_slice() {
                [] => format!("{address} still differs from what is wanted"),
                fields => {
                    format!("{address}: somebody else has just changed {}", fields.join(", "))
                }
            };
            let failure = Failure::new(Exit::Partly, message);
            let failure = Failure { resource: Some(address.clone()), ..failure };
            return Err(failure.unfinished());
        }
        if looks == 1 {
            let wait = format!("{} is not visible everywhere yet", first.address);
            session.printer.waiting(&wait);
        }
        let reader = cloud.reader();
        let rest = async {
            reader.rest(2.0).await;
            Ok(())
        };
        session.unless_stopped(rest).await?;
    }
}

/// What was done cannot be looked at.
fn unproved(failure: Failure) -> Failure {
    if failure.exit == Exit::Interrupted { failure } else { failure.unfinished() }
}

/// The fields of `now` that were as wanted before anything was done, or were not looked at.
fn of_others(done: &Plan, now: &Change) -> Vec<String> {
    let planned = done.changes.iter().find(|change| change.address == now.address);
    let Some(planned) = planned.filter(|planned| planned.action != plan::Action::Create) else {
        return Vec::new();
    };
    // Tags come late, and those that note what was asked are not told beside what was done.
    let known = |path: &str| {
        path.starts_with("Tags.") || planned.fields.iter().any(|field| field.path == path)
    };
    let fields = now.fields.iter().map(|field| field.path.clone());
    fields.filter(|path| !known(path)).collect()
}

fn half_done(plan: &Plan, error: &CloudError) -> Failure {
    Failure::at(Exit::Partly, attempt(plan, error), error).unfinished()
}

/// Asks the URL whether it is well. Between two tries five seconds pass.
async fn probe(session: &Session, url: &str, cloud: &Reader) -> Result<Health, Failure> {
    session.printer.progress("  asking the URL whether it is well");
    let mut told = None;
    let rest = async |health: &Health| {
        if told != health.why {
            told.clone_from(&health.why);
            let why = health.why.as_deref().unwrap_or_default();
            session.printer.waiting(&format!("not well yet: {why}"));
        }
        cloud.rest(5.0).await;
    };
    session.unless_stopped(async { Ok(probe::persist(url, rest).await) }).await
}

fn judge(health: &Health) -> Result<Exit, Failure> {
    if health.ok {
        return Ok(Exit::Done);
    }
    let why = health.why.as_deref().unwrap_or_default();
    let failure = Failure::new(Exit::Partly, "the URL is not well; all else is done");
    let hint = health.hint.unwrap_or("run it again: it finishes the job");
    Err(failure.because(why).hint(hint))
}
