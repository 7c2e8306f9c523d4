//! `budget settle`: what nobody has heard of for an hour costs what was reserved for it.
//!
//! Asks nobody: it takes nothing from anybody, and done twice it is the same. The sum of the
//! deployment is put right on the way, when nothing is under way.

use std::collections::BTreeSet;

use function::clock;
use function::money::MicroDollars;
use function::money::budget::{COMMITTED, DEPLOYMENT};
use serde_json::{Value, json};

use super::super::deployed::{Deployed, partly};
use super::super::{Exit, Failure, Session};
use crate::aws::{CloudError, Writer};
use crate::proxy::exceptions::Today;
use crate::proxy::items::Items;
use crate::proxy::months::{self, Counters, Dead, StoredMonth};
use crate::view::{money, number};

pub(super) async fn run(session: &mut Session) -> Result<Exit, Failure> {
    let deployed = Deployed::connect(session).await?;
    let settings = deployed.settings().await?;
    let items = deployed.items().await?;
    let writer = deployed.writer(session);
    let now = Today { at: clock::now(), zone: settings.budget.zone.clone() };
    let all = months::read(&items, None, &deployed.reader).await?;
    let (dead, young) = months::dead(&all, now.at);
    let mut settled = Vec::new();
    session.report.insert("settled".to_owned(), json!([]));
    session.report.insert("under_way".to_owned(), young.into());
    for one in &dead {
        if months::settle(one, &items, &writer).await.map_err(|error| partly(error, &writer))? {
            settled.push(one);
            let shown: Vec<Value> = settled.iter().map(|one| shown(one)).collect();
            session.report.insert("settled".to_owned(), shown.into());
        }
    }
    session.printer.text(sentence(&settled));
    if young > 0 {
        let reservations = number(young, "reservation");
        let note = format!("{reservations} of less than an hour: under way, and left alone.");
        session.printer.progress(&note);
    }
    let month = now.period().month();
    let mut touched: BTreeSet<&str> = dead.iter().map(|one| one.month.as_str()).collect();
    touched.insert(&month);
    let capped = !settings.budget.total.are_none();
    for month in touched {
        let balanced = balance(month, capped, &items, &writer).await;
        let balanced = balanced.map_err(|error| partly(error, &writer))?;
        balanced.iter().for_each(|said| session.printer.text(said));
    }
    Ok(Exit::Done)
}

fn shown(dead: &Dead) -> Value {
    let Dead { subject, user, month, entry } = dead;
    json!({
        "user": user, "subject": subject, "month": month,
        "amount_usd": money::usd(Some(entry.amount)), "request": entry.id,
    })
}

fn sentence(settled: &[&Dead]) -> String {
    let sum = settled.iter().fold(0_u64, |sum, one| sum.saturating_add(one.entry.amount.0));
    let sum = MicroDollars(sum).cents();
    match settled.len() {
        0 => "Nothing is left over: there was nothing to settle.".to_owned(),
        1 => format!("Settled the one reservation that was left over: {sum} USD."),
        count => format!("Settled {count} reservations that were left over: {sum} USD."),
    }
}

/// How long nothing may have changed, in units, for the sum to be that of all.
const QUIET: f64 = 2.0;

/// Puts the deployment's own item right, where it has one or a cap; what is to be said of it.
async fn balance(
    month: &str,
    capped: bool,
    items: &Items,
    writer: &Writer,
) -> Result<Option<String>, CloudError> {
    let look = async || months::read(items, Some(month), writer.reader()).await;
    let first = look().await?;
    let before = first.iter().find(|one| one.subject == DEPLOYMENT).map(|own| &own.item.counters);
    let sum = months::sum(&first, month);
    if before.map_or(!capped || sum.is_empty(), |before| says(before, &sum)) {
        return Ok(None);
    }
    // One reservation goes into two items, side by side: between the two the sums differ.
    writer.reader().rest(QUIET).await;
    let second: Vec<StoredMonth> = look().await?;
    if second != first || !months::balance(&second, month, items, writer).await? {
        let said = "The sum of all was left as it is: answers are under way. Run it again later.";
        return Ok(Some(said.to_owned()));
    }
    let committed = |counters: Option<&Counters>| {
        let amount = counters.and_then(|counters| counters.get(COMMITTED)).copied();
        MicroDollars(amount.unwrap_or(0).try_into().unwrap_or(0)).cents()
    };
    let (was, is) = (committed(before), committed(Some(&sum)));
    Ok(Some(format!("The sum of all in {month} is {is} USD now; it said {was}.")))
}

/// Whether these are the same counters; one that is not there is 0.
fn says(before: &Counters, sum: &Counters) -> bool {
    let names: BTreeSet<&String> = before.keys().chain(sum.keys()).collect();
    names.into_iter().all(|name| before.get(name).unwrap_or(&0) == sum.get(name).unwrap_or(&0))
}
