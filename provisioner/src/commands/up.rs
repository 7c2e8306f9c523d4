//! `up`: makes the account what is wanted, and proves that the URL answers.

use serde_json::Value;

use super::{
    Exit, Failure, Session, refuse_foreign, refuse_missing_image, refuse_settings, source,
};
use crate::apply::{self, Applied};
use crate::cli::Up;
use crate::cloud::{CloudError, Kind, Reader, Writer};
use crate::plan::{self, Address, Plan};
use crate::probe::{self, Health};
use crate::stack::{Observed, Stack};

pub(super) async fn run(session: &mut Session, args: Up) -> Result<Exit, Failure> {
    let settings = session.settings(&args.stack)?;
    let image = source(&args.image, false)?;
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
        printer.progress(plan::text(&plan, printer.stderr_style()).trim_end());
        let account = &cloud.account;
        let question = format!("Do this in account {}, region {}?", account.id, account.region);
        session.consent(&question).await?;
        let writer = cloud.writer(printer, session.stop.clone());
        let applied = apply::up(&stack, &there, &plan, &writer, settings.adopt).await;
        conclude(applied, &plan, &writer)?;
        stack.observe(&cloud.reader()).await.map_err(|error| partly(&error))?
    };
    session.report.insert("outputs".to_owned(), Value::Object(stack.outputs(&there)));
    let health = match &there.url {
        Some(live) if !args.no_probe => Some(probe(session, &live.url, &cloud.reader()).await?),
        Some(_) | None => None,
    };
    session.printer.text(outputs(&stack, &there));
    health.map_or(Ok(Exit::Done), |health| judge(&health))
}

/// Says what was done and what was not, if not all was.
fn conclude(applied: Applied, plan: &Plan, writer: &Writer) -> Result<(), Failure> {
    let Applied { done, failed, left } = applied;
    if failed.is_none() && left.is_empty() {
        return Ok(());
    }
    let printer = writer.printer();
    let list = |all: &[Address]| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let total = plan.pending().count();
    if !done.is_empty() {
        printer.progress(&format!("done ({} of {total}): {}", done.len(), list(&done)));
    }
    printer.progress(&format!("not done: {}", list(&left)));
    let changed = writer.has_changed();
    match failed.filter(|error| error.kind != Kind::Interrupted) {
        None => {
            Err(Failure::new(Exit::Interrupted, "interrupted")
                .hint("run it again to finish the job"))
        }
        Some(error) if changed => Err(partly(&error)),
        Some(error) => Err(error.into()),
    }
}

fn partly(error: &CloudError) -> Failure {
    let again = "run it again: it finishes the job";
    let hint = match error.hint() {
        None => again.to_owned(),
        Some(hint) if hint.contains("run it again") => hint,
        Some(hint) => format!("{hint}; then {again}"),
    };
    let failure = Failure::new(Exit::Partly, error.to_string()).hint(hint);
    Failure { resource: error.address.as_deref().cloned(), ..failure }
}

/// How often the URL is asked before it counts as ill: permissions take a while to be known.
const ASKED: u32 = 12;

async fn probe(session: &Session, url: &str, cloud: &Reader) -> Result<Health, Failure> {
    let mut health = probe::ask(url).await;
    for tries in 1..ASKED {
        if !health.may_pass() {
            break;
        }
        if tries == 1 {
            let why = health.why.as_deref().unwrap_or_default();
            session.printer.waiting(&format!("the URL is not well yet: {why}"));
        }
        let again = async {
            cloud.rest(5.0).await;
            Ok(probe::ask(url).await)
        };
        health = session.unless_stopped(again).await?;
    }
    Ok(health)
}

fn judge(health: &Health) -> Result<Exit, Failure> {
    if health.ok {
        return Ok(Exit::Done);
    }
    let why = health.why.as_deref().unwrap_or_default();
    let hint = match health.status {
        Some(403) => "an organisation may forbid public functions; a minute later it may work",
        Some(_) => "look at the function's log group",
        None => "look at the network; everything in the account is done",
    };
    Err(Failure::new(Exit::Partly, format!("the URL is not well: {why}")).hint(hint))
}

/// What to do with it now.
fn outputs(stack: &Stack, there: &Observed) -> String {
    let outputs = stack.outputs(there);
    let get = |key: &str| outputs.get(key).and_then(Value::as_str).unwrap_or("(none)");
    let url = get("url").trim_end_matches('/');
    let lines = ["function", "table", "log_group", "repository", "role", "image"]
        .map(|key| format!("  {key:<10}  {}", get(key)));
    format!(
        "\nURL  {url}\n\n{}\n\n\
         For Claude Code, in ~/.claude/settings.json:\n\n  \
         {{ \"env\": {{ \"ANTHROPIC_BASE_URL\": \"{url}\" }} }}",
        lines.join("\n")
    )
}
