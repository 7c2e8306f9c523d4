//! `up`: makes the account what is wanted, and proves that the URL answers.

use serde_json::Value;

use super::{
    Exit, Failure, Session, heading, refuse_foreign, refuse_missing_image, refuse_settings, source,
};
use crate::aws::{CloudError, Kind, Reader, Writer};
use crate::cli::Up;
use crate::engine::plan::{self, Plan};
use crate::engine::walk::{self, Applied};
use crate::proxy::probe::{self, Health};
use crate::stack::{Observed, Stack};
use crate::view::ending;

pub(super) async fn run(session: &mut Session, args: Up) -> Result<Exit, Failure> {
    let settings = session.settings(&args.stack)?;
    let image = source(&args.image, false, session.printer).await?;
    let cloud = session.connect().await?;
    let (stack, there) = session.look(&cloud, &settings, image).await?;
    let plan = stack.plan(&there);
    session.report = plan.json();
    refuse_foreign(&stack.survey(&there), settings.adopt)?;
    refuse_missing_image(&stack, &there)?;
    refuse_settings(&stack)?;
    let printer = session.printer;
    let there = if plan.is_empty() {
        printer.text("No changes.");
        there
    } else {
        let style = printer.stderr_style();
        printer.progress(&format!("{}\n", heading(&session.scope(&cloud), style)));
        printer.progress(plan::text(&plan, style).trim_end());
        let account = &cloud.account;
        let question = format!("Do this in account {}, region {}?", account.id, account.region);
        session.consent(&question).await?;
        let writer = cloud.writer(printer.say(), session.stop.clone());
        let applied = walk::up(&stack.parts(&there), &plan, &writer, settings.adopt).await;
        conclude(applied, &plan, &writer)?;
        prove(session, &stack, &plan, &cloud.reader()).await?
    };
    session.report.insert("outputs".to_owned(), Value::Object(stack.outputs(&there)));
    let health = match &there.url {
        Some(live) if !args.no_probe => Some(probe(session, &live.url, &cloud.reader()).await?),
        Some(_) | None => None,
    };
    let (scope, style) = (session.scope(&cloud), printer.stdout_style());
    printer.text(ending::text(&stack, &there, health.as_ref(), &scope, style).trim_end());
    health.map_or(Ok(Exit::Done), |health| judge(&health))
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
        Some(error) if changed => Err(partly(plan, &error)),
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
const LOOKS: u32 = 15;

/// Looks again until everything is seen to be as it should be.
async fn prove(
    session: &Session,
    stack: &Stack,
    planned: &Plan,
    cloud: &Reader,
) -> Result<Observed, Failure> {
    let mut looks = 0;
    loop {
        let look = async { stack.observe(cloud).await.map_err(|error| partly(planned, &error)) };
        let there = session.unless_stopped(look).await?;
        let plan = stack.plan(&there);
        let Some(first) = plan.pending().next() else { return Ok(there) };
        looks += 1;
        if looks == LOOKS {
            let failure = Failure::new(
                Exit::Partly,
                format!("{} still differs from what is wanted", first.address),
            );
            let failure = Failure { resource: Some(first.address.clone()), ..failure };
            return Err(failure.unfinished());
        }
        if looks == 1 {
            let wait = format!("{} is not visible everywhere yet", first.address);
            session.printer.waiting(&wait);
        }
        cloud.rest(2.0).await;
    }
}

fn partly(plan: &Plan, error: &CloudError) -> Failure {
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
    Err(Failure { causes: vec![why.to_owned()], ..failure.hint(hint) })
}
