//! `doctor`: looks at everything at once and says what is wrong, why, and what to do. Only reads,
//! unless `--fix` or `--spend` says otherwise.

use serde_json::json;

use super::{Cause, Exit, Failure, Session, up};
use crate::aws::Cloud;
use crate::cli::DoctorArgs;
use crate::doctor::bedrock::{self, Route};
use crate::doctor::{Check, account, deployed, money, rights, summary, tools};
use crate::engine::walk;
use crate::resources::image::ImageSpec;
use crate::stack::for_strangers;
use crate::stack::names::Names;
use crate::stack::settings::Settings;

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
    let looking = async { Ok(check(session, &cloud, &settings, args.spend).await) };
    let checks = session.unless_stopped(looking).await?;
    Ok(tell(session, &checks))
}

/// Makes every check, all at once.
async fn check(session: &Session, cloud: &Cloud, settings: &Settings, spend: bool) -> Vec<Check> {
    let names = Names::from(&settings.name);
    let (reader, writer) =
        (cloud.reader(), cloud.writer(session.printer.say(), session.stop.clone()));
    let observed = Box::pin(session.declare(cloud, settings, &ImageSpec::NotCompared)).await;
    let environment = observed.as_ref().map(|(declared, _)| declared.environment.clone());
    let environment = environment.unwrap_or_default();
    let reserved =
        observed.as_ref().ok().and_then(|(_, there)| there.function.as_ref()?.concurrency);
    let strangers = for_strangers(&environment).map(|number| (number.get(), reserved.unwrap_or(0)));
    let pairs = environment.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let route = Route::of(pairs, &cloud.account.region);
    let bought = async { if spend { Some(bedrock::spend(&route, &writer).await) } else { None } };
    let deployed = async {
        match &observed {
            Ok((declared, there)) => {
                let (stack, money) = tokio::join!(
                    deployed::checks(declared, there, (&settings.name, &cloud.account)),
                    money::checks(declared, there, &reader),
                );
                [stack, money].concat()
            }
            Err(failure) => {
                let cure = failure.hint.clone().unwrap_or_else(|| "run it again".to_owned());
                let check = Check::fail("stack", failure.message.clone(), cure);
                vec![match &failure.cause {
                    Some(Cause::Call(error)) => check.without(error),
                    Some(Cause::Message(_)) | None => check,
                }]
            }
        }
    };
    let (credentials, clock, (rights, denied), tools, bedrock, bought, deployed) = tokio::join!(
        account::credentials(cloud),
        account::clock_and_concurrency(&reader, strangers),
        rights::permissions(cloud, &names),
        Box::pin(tools::tools()),
        Box::pin(bedrock::access(&route, &reader)),
        Box::pin(bought),
        Box::pin(deployed),
    );
    let (region, partition) = (account::region(&cloud.account), account::partition(&cloud.account));
    let mut all = vec![credentials, region, partition];
    all.extend(clock);
    all.extend([rights, tools]);
    all.extend(bedrock);
    all.extend(bought);
    all.extend(deployed);
    // What follows from a right that is missing has been said with that right.
    let said = |action: &str| denied.iter().any(|right| right.ends_with(&format!(":{action}")));
    all.retain(|check| !check.denied.is_some_and(said));
    all
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
    let look = async || {
        let (declared, there) =
            Box::pin(session.declare(cloud, settings, &ImageSpec::NotCompared)).await?;
        let plan = deployed::harmless(declared.plan(&there), &declared, &there);
        Ok((plan, (declared, there)))
    };
    let account = &cloud.account;
    let question = format!("Do this in account {}, region {}?", account.id, account.region);
    let (plan, (declared, there)) = session.agree(|_| question.clone(), look).await?;
    let printer = session.printer;
    if plan.is_empty() {
        printer.progress("Nothing that --fix may mend.\n");
        return Ok(());
    }
    let writer = cloud.writer(printer.say(), session.stop.clone());
    let applied = Box::pin(walk::up(&declared.parts(&there), &plan, &writer, false)).await;
    up::conclude(applied, &plan, &writer)
}
