//! `doctor`: looks at everything at once and says what is wrong, why, and what to do. Only reads,
//! unless `--fix` or `--spend` says otherwise.

use futures_util::future::join_all;
use serde_json::json;

use super::{Exit, Failure, Session, up};
use crate::apply;
use crate::cli::DoctorArgs;
use crate::cloud::Cloud;
use crate::doctor::bedrock::{self, Route};
use crate::doctor::{Check, account, deployed, rights, summary, tools};
use crate::names::Names;
use crate::plan;
use crate::resource::Later;
use crate::settings::{Settings, Source};

pub(super) async fn run(session: &mut Session, args: DoctorArgs) -> Result<Exit, Failure> {
    let settings = session.settings(&args.stack)?;
    let connected = session.try_connect().await?;
    let cloud = match connected {
        Ok(cloud) => cloud,
        Err(error) => {
            let checks = vec![account::no_way_in(&error), tools::tools().await];
            return Ok(tell(session, &checks));
        }
    };
    if args.fix {
        fix(session, &cloud, &settings).await?;
    }
    let looking = async { Ok(look(session, &cloud, &settings, args.spend).await) };
    let checks = session.unless_stopped(looking).await?;
    Ok(tell(session, &checks))
}

/// Makes every check, all at once.
async fn look(session: &Session, cloud: &Cloud, settings: &Settings, spend: bool) -> Vec<Check> {
    let names = Names::from(&settings.name);
    let (reader, writer) = (cloud.reader(), cloud.writer(session.printer, session.stop.clone()));
    let observed = Box::pin(session.look(cloud, settings, Source::NotCompared)).await;
    let environment = observed.as_ref().map(|(stack, _)| stack.function.environment.clone());
    let environment = environment.unwrap_or_default();
    let pairs = environment.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let route = Route::of(pairs, &cloud.account.region);
    let one = |check: Check| -> Later<'_, Vec<Check>> { Box::pin(async { Ok(vec![check]) }) };
    let mut all: Vec<Later<'_, Vec<Check>>> = vec![
        Box::pin(async { Ok(vec![account::credentials(cloud).await]) }),
        one(account::region(&cloud.account)),
        one(account::partition(&cloud.account)),
        Box::pin(async { Ok(account::clock_and_concurrency(&reader).await) }),
        Box::pin(async { Ok(vec![rights::permissions(cloud, &names).await]) }),
        Box::pin(async { Ok(vec![tools::tools().await]) }),
        Box::pin(async { Ok(bedrock::access(&route, &reader).await) }),
    ];
    if spend {
        all.push(Box::pin(async { Ok(vec![bedrock::spend(&route, &writer).await]) }));
    }
    match &observed {
        Ok((stack, there)) => {
            all.push(Box::pin(async { Ok(deployed::checks(stack, there, &reader).await) }));
        }
        Err(failure) => {
            let cure = failure.hint.clone().unwrap_or_else(|| "run it again".to_owned());
            all.push(one(Check::fail("stack", failure.message.clone(), cure)));
        }
    }
    join_all(all).await.into_iter().flatten().flatten().collect()
}

fn tell(session: &mut Session, checks: &[Check]) -> Exit {
    let printer = session.printer;
    for check in checks {
        printer.text(check.text(printer.stdout_style()));
    }
    printer.text(format!("\n{}", summary(checks)));
    session.report.insert("checks".to_owned(), json!(checks));
    if deployed::any_failed(checks) { Exit::Preflight } else { Exit::Done }
}

/// Mends what can be mended without harm, by the very code that `up` uses.
async fn fix(session: &Session, cloud: &Cloud, settings: &Settings) -> Result<(), Failure> {
    let (stack, there) = Box::pin(session.look(cloud, settings, Source::NotCompared)).await?;
    let plan = deployed::harmless(stack.plan(&there), &stack, &there);
    let printer = session.printer;
    if plan.is_empty() {
        printer.progress("Nothing that --fix may mend.\n");
        return Ok(());
    }
    printer.progress(plan::text(&plan, printer.stderr_style()).trim_end());
    let account = &cloud.account;
    let question = format!("Do this in account {}, region {}?", account.id, account.region);
    session.consent(&question).await?;
    let writer = cloud.writer(printer, session.stop.clone());
    let applied = Box::pin(apply::up(&stack, &there, &plan, &writer, false)).await;
    up::conclude(applied, &plan, &writer)
}
