//! `status`: what is there, how it is doing, and whether the URL answers. Only ever reads.

use function::clock;
use function::money::Period;
use function::settings::Budget;
use serde_json::{Value, json};

use super::{Exit, Failure, Session, watch};
use crate::aws::Cloud;
use crate::cli::StatusArgs;
use crate::engine::{Ownership, Resource as _};
use crate::proxy::items::Items;
use crate::proxy::months;
use crate::proxy::probe::{self, Health};
use crate::stack::settings::Environment;
use crate::stack::{Declaration, Found, Observed};
use crate::view::money::Spent;
use crate::view::state;

pub(super) async fn run(session: &mut Session, args: StatusArgs) -> Result<Exit, Failure> {
    if args.watch {
        return Box::pin(watch::run(session, args.interval)).await;
    }
    let settings = session.settings(&args.stack)?;
    let cloud = session.connect().await?;
    let (declared, there) = session.declare_at_once(&cloud, &settings).await?;
    if let Some(trouble) = &declared.trouble {
        let why = format!("its settings are wrong, so rights are not compared: {trouble}");
        session.printer.progress(&why);
    }
    if !declared.notes.is_empty() {
        session.printer.progress(declared.noted().trim());
    }
    let survey = declared.survey(&there);
    let resources: Vec<Value> = survey.iter().map(resource).collect();
    session.report.insert("resources".to_owned(), resources.into());
    session.report.insert("outputs".to_owned(), declared.stack.outputs(&there).into());
    let health = match &there.url {
        Some(live) if !args.no_probe => Some(session.unless_stopped(ask(&live.url)).await?),
        Some(_) | None => None,
    };
    let shown = health.as_ref().map_or(Value::Null, Health::json);
    session.report.insert("health".to_owned(), shown);
    let (scope, style) = (session.scope(&cloud), session.printer.stdout_style());
    let url = there.url.as_ref().map(|live| (live.url.trim_end_matches('/'), health.as_ref()));
    session.printer.text(state::text(&survey, url, &scope, style).trim_end());
    let spent = Box::pin(spent(session, &cloud, &declared, &there)).await?;
    // Where nothing is capped and nothing was spent there is nothing to read.
    let told = spent.as_ref().filter(|spent| !spent.is_nothing()).map(Spent::json);
    session.report.extend(told.map(|money| ("money".to_owned(), money)));
    if let Some(spent) = spent {
        session.printer.text(format!("\n{}  {spent}", style.paint("1", "Bedrock")));
    }
    match health.filter(|health| !health.ok) {
        None => Ok(Exit::Done),
        Some(ill) => {
            let failure = Failure::new(Exit::Partly, "the URL is not well");
            let failure = failure.because(ill.why.unwrap_or_else(|| "no answer".to_owned()));
            Err(Failure { hint: ill.hint.map(str::to_owned), ..failure })
        }
    }
}

/// What was spent on Bedrock; `None` where there is nothing to read it from, or it cannot be read,
/// which is said.
async fn spent(
    session: &Session,
    cloud: &Cloud,
    declared: &Declaration,
    there: &Observed,
) -> Result<Option<Spent>, Failure> {
    let table = &declared.stack.table;
    let ours = there.table.as_ref().is_some_and(|live| table.ownership(live) == Ownership::Ours);
    if !ours || there.function.is_none() {
        return Ok(None);
    }
    let Ok(settings) = Environment::read_whole(&declared.environment) else { return Ok(None) };
    let Budget { user: each, total, zone, message: _ } = settings.budget;
    let at = Period::at(clock::now(), &zone);
    let items = Items::of(table.name.clone());
    let read = async { Ok(months::read_committed(&items, at, &cloud.reader()).await) };
    match session.unless_stopped(read).await? {
        Ok(used) => Ok(Some(Spent { month: at.month(), used, total, each })),
        Err(error) => {
            session.printer.progress(&format!("note: what was spent is not known: {error:.160}"));
            Ok(None)
        }
    }
}

async fn ask(url: &str) -> Result<Health, Failure> {
    Ok(probe::ask(url).await)
}

fn resource(found: &Found) -> Value {
    let drift = if state::drifted(found) { found.change.fields.as_slice() } else { &[] };
    json!({"address": found.address, "state": state::state(found), "drift": drift})
}
