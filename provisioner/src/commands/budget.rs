//! `budget`: what may be spent on Bedrock, by whom, and what is left of it.
//!
//! The caps for everybody are settings of the function; a user's own stand with their keys, so that
//! they hold at the next request, without a deployment.

mod list;
mod settle;

use function::caller::User;
use function::clock;
use function::money::budget::{Caps, Exception};
use function::settings::Settings as FunctionSettings;
use serde_json::json;

use super::deployed::{Deployed, partly};
use super::{Exit, Failure, Session};
use crate::cli::{BudgetCommand, BudgetSet};
use crate::proxy::exceptions::{self, Today, Wish};
use crate::view::money;

pub(super) async fn run(session: &mut Session, command: BudgetCommand) -> Result<Exit, Failure> {
    match command {
        BudgetCommand::List => list::run(session).await,
        BudgetCommand::Set(args) => set(session, args).await,
        BudgetCommand::Clear { user } => clear(session, &user).await,
        BudgetCommand::Settle => settle::run(session).await,
    }
}

async fn set(session: &mut Session, args: BudgetSet) -> Result<Exit, Failure> {
    let BudgetSet { user, caps, extra, until } = args;
    let wish = Wish::of(&caps, extra, until).map_err(|why| Failure::new(Exit::Usage, why))?;
    let deployed = Deployed::connect(session).await?;
    let settings = deployed.settings().await?;
    let now = Today { at: clock::now(), zone: settings.budget.zone.clone() };
    let exception = change(session, &deployed, &user, |before| wish.over(before, &now)).await?;
    tell(session, &settings, (&user, &exception), &now);
    Ok(Exit::Done)
}

async fn clear(session: &mut Session, user: &User) -> Result<Exit, Failure> {
    let deployed = Deployed::connect(session).await?;
    let settings = deployed.settings().await?;
    let now = Today { at: clock::now(), zone: settings.budget.zone.clone() };
    let exception = change(session, &deployed, user, |_| Ok(Exception::default())).await?;
    tell(session, &settings, (user, &exception), &now);
    Ok(Exit::Done)
}

/// Changes what stands with all keys of a user.
async fn change(
    session: &mut Session,
    deployed: &Deployed,
    user: &User,
    wanted: impl Fn(Exception) -> Result<Exception, String>,
) -> Result<Exception, Failure> {
    session.report.insert("user".to_owned(), user.as_str().into());
    let items = deployed.items().await?;
    let writer = deployed.writer(session);
    let changed = exceptions::change(user, wanted, &items, &writer).await;
    let changed = changed.map_err(|error| partly(error, &writer))?;
    let (keys, exception) = changed.map_err(|why| Failure::new(Exit::Usage, why))?;
    session.report.insert("keys".to_owned(), keys.into());
    if keys > 0 {
        return Ok(exception);
    }
    let failure = Failure::new(Exit::Failed, format!("{user} has no key here"));
    let all = exceptions::keys(&items, &deployed.reader).await?;
    Err(failure.hint(match all.is_empty() {
        true => {
            "nobody has: the caps for everybody hold, whoever asks (`config set \
             BUDGET_USER_MONTH_USD=…`)"
        }
        false => "`user list` shows who has one",
    }))
}

/// Says what holds from now on.
fn tell(
    session: &mut Session,
    settings: &FunctionSettings,
    (user, exception): (&User, &Exception),
    now: &Today,
) {
    let usual = settings.budget.user;
    let caps =
        Caps { month: exception.caps.month.or(usual.month), day: exception.caps.day.or(usual.day) };
    let report = [
        ("month_usd", money::usd(caps.month)),
        ("day_usd", money::usd(caps.day)),
        ("extra_usd", money::usd(Some(exception.extra))),
        ("until", json!(exception.until.map(|until| until.to_string()))),
    ];
    session.report.extend(report.map(|(name, value)| (name.to_owned(), value)));
    let printer = session.printer;
    printer.text(money::sentence(user.as_str(), exception, usual, &now.zone));
    if exception.extra.0 > 0 && caps.month.is_none() {
        printer.progress("note: without a cap for the month there is nothing that --extra adds to");
    }
    let mode = super::user::without_keys(settings);
    mode.iter().for_each(|note| printer.progress(note));
    printer.progress("A warm instance of the function may go by what was there for 10 s more.");
}
