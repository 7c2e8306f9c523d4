//! `prices`: are answers booked at what AWS asks for them?
//!
//! A price that has changed changes nothing by itself: a cap would silently mean something else.
//! Only `--write` and a yes put what AWS asks into the function's settings.

use std::collections::{BTreeMap, BTreeSet};

use function::clock;
use function::money::prices::{CHECKED_ON, Row, Scope, rows};
use function::money::{MicroDollars, Multiplier, price};
use function::settings::Settings as FunctionSettings;
use function::translate::model::Model;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::config::edit::{Variables, VariablesSpec};
use super::deployed::Deployed;
use super::{Exit, Failure, Session, up};
use crate::aws::{Clients, Kind};
use crate::cli::PricesArgs;
use crate::engine::part::{Pair, Part};
use crate::engine::plan::Plan;
use crate::engine::walk;
use crate::engine::words::cut;
use crate::proxy::offers::{self, Difference, Offers, TokenKind};
use crate::stack::settings::Environment;
use crate::view::columns::columns;
use crate::view::{money, number};

/// Where the function has what it pays.
const SETTING: &str = "BEDROCK_PRICES";

/// A model that the table does not know may have any name, in characters.
const LONGEST_SHOWN: usize = 22;

/// A price that differs by more than this factor is of another unit, or a mistake.
const FACTOR: u64 = 10;

pub(super) async fn run(session: &mut Session, args: PricesArgs) -> Result<Exit, Failure> {
    let deployed = Deployed::connect(session).await?;
    let live = deployed.function().await?;
    let settings = Deployed::settings_of(&live.environment)?;
    let region = deployed.cloud.account.region.clone();
    let today = clock::now().to_zoned(TimeZone::UTC).date();
    let rows_now = offers::in_force(today);
    session.report.insert("checked_on".to_owned(), CHECKED_ON.to_string().into());
    session.report.insert("prices".to_owned(), rows().map(|row| shown(&row)).collect());
    session.report.insert("differences".to_owned(), json!([]));
    let asked = ask(session, &deployed, &rows_now).await?;
    let regional = scope_of(&region);
    let (compared, judged) = judge(&asked.offers, &rows_now, &settings, &region);
    let told = judged.iter().map(|(one, why)| difference(one, *why, asked.source));
    session.report.insert("differences".to_owned(), told.collect());
    session.report.insert("compared".to_owned(), compared.into());
    session.report.insert("source".to_owned(), asked.source.into());
    let printer = session.printer;
    printer.text(text(&rows_now, regional, &settings, &region));
    printer.text(verdict(&judged, compared, asked.source));
    if settings.prices.multiplier != Multiplier::default() {
        printer.progress(
            "note: BEDROCK_PRICE_MULTIPLIER is set; prices are compared as they are without it",
        );
    }
    if args.write {
        let judge =
            |settings: &FunctionSettings| judge(&asked.offers, &rows_now, settings, &region).1;
        return Box::pin(write(session, &deployed, judge)).await;
    }
    Ok(Exit::Done)
}

/// Why a difference cannot be stored, if it cannot.
type Judged = Vec<(Difference, Option<&'static str>)>;

/// Compares what AWS asks with what is booked; how many rates, and what differs.
fn judge(
    offers: &Offers,
    rows: &[Row],
    settings: &FunctionSettings,
    region: &str,
) -> (usize, Judged) {
    let given = |model: &str, kind: TokenKind| given(settings, model, kind);
    let (compared, all) = offers::compare(offers, rows, scope_of(region), given);
    let judged = all.into_iter().map(|one| {
        let why = unfit(&one, rows, settings, region);
        (one, why)
    });
    (compared, judged.collect())
}

/// How a model is asked without a profile.
fn scope_of(region: &str) -> Scope {
    if region.starts_with("us-gov-") { Scope::Gov } else { Scope::Regional }
}

/// What AWS asks, and who said so.
struct Asked {
    offers: Offers,
    source: &'static str,
}

/// Asks for the account's own offers, and looks into the public list for what they leave out.
async fn ask(session: &Session, deployed: &Deployed, rows: &[Row]) -> Result<Asked, Failure> {
    let names: BTreeSet<&str> = rows.iter().map(|row| row.model).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let (region, reader) = (deployed.cloud.account.region.as_str(), &deployed.reader);
    let printer = session.printer;
    let own = async { Ok(offers::account(&names, region, reader).await) };
    let (mut offers, without) = match session.unless_stopped(own).await? {
        Ok(found) => found,
        Err(error) if matches!(error.kind, Kind::Denied | Kind::Unreachable) => {
            printer
                .progress(&format!("note: the account's own offers are not known: {error:.160}"));
            (Offers::new(), names)
        }
        Err(error) => return Err(error.into()),
    };
    if without.is_empty() {
        return Ok(Asked { offers, source: "agreement" });
    }
    let source = if offers.is_empty() { "public" } else { "agreement, public" };
    let address = deployed.cloud.price_list();
    let public = async { Ok(offers::public(&address, region).await) };
    match session.unless_stopped(public).await? {
        Ok(public) => {
            let known: BTreeSet<String> = offers.keys().map(|(model, _)| model.clone()).collect();
            let new = public.into_iter().filter(|((model, _), _)| !known.contains(model));
            offers.extend(new);
            Ok(Asked { offers, source })
        }
        Err(why) if offers.is_empty() => {
            let message = "what AWS asks could not be found out";
            Err(Failure::new(Exit::Failed, message)
                .because(format!("the public list of prices: {why}"))
                .hint("bedrock:ListFoundationModelAgreementOffers, or a way to AWS's price list"))
        }
        Err(why) => {
            printer.progress(&format!("note: the public list of prices could not be had: {why}"));
            Ok(Asked { offers, source: "agreement" })
        }
    }
}

/// What the operator has said to pay.
fn given(settings: &FunctionSettings, model: &str, kind: TokenKind) -> Option<u64> {
    let given = settings.prices.given.get(model)?;
    match kind {
        TokenKind::Input => given.input,
        TokenKind::Output => given.output,
        TokenKind::CacheWrite5m => given.cache_write_5m,
        TokenKind::CacheWrite1h => given.cache_write_1h,
        TokenKind::CacheRead => given.cache_read,
    }
}

/// The scopes in which a model is asked.
fn scopes(model: &str, settings: &FunctionSettings, own: &str) -> Vec<Scope> {
    let Some(model) = Model::resolve(model) else { return Vec::new() };
    let own = vec![own.to_owned()];
    let regions = if settings.regions.is_empty() { &own } else { &settings.regions };
    let of =
        |region: &String| Scope::of(&model.bedrock_id(region, settings.profile_prefix), region);
    let mut scopes: Vec<Scope> = regions.iter().map(of).collect();
    scopes.dedup();
    scopes
}

/// Why what AWS asks cannot be stored, if it cannot: a setting has one price for all scopes and
/// lengths of prompt.
fn unfit(
    one: &Difference,
    rows: &[Row],
    settings: &FunctionSettings,
    region: &str,
) -> Option<&'static str> {
    let tiers = |row: &&Row| row.model == one.model && row.prompt_above > 0;
    let far = |booked: u64| {
        one.offered > booked.saturating_mul(FACTOR) || one.offered.saturating_mul(FACTOR) < booked
    };
    if scopes(&one.model, settings, region) != [one.scope] {
        Some("not the scope in which it is asked")
    } else if rows.iter().any(|row| tiers(&row)) || one.prompt_above.is_some_and(|above| above > 0)
    {
        Some("long prompts have a price of their own")
    } else if one.booked.is_some_and(far) {
        Some("too far from what is booked to be believed")
    } else {
        None
    }
}

fn shown(row: &Row) -> Value {
    let usd = |rate: Option<u64>| money::usd(rate.map(MicroDollars));
    let mut object = json!({
        "model": row.model, "scope": row.scope.as_str(),
        "valid_from": row.valid_from.map(|day| day.to_string()),
        "prompt_above": row.prompt_above,
    });
    for kind in TokenKind::ALL {
        object[kind.as_str()] = usd(kind.of(row));
    }
    object
}

fn difference(one: &Difference, unfit: Option<&str>, source: &str) -> Value {
    let usd = |rate: Option<u64>| money::usd(rate.map(MicroDollars));
    json!({
        "model": one.model, "scope": one.scope.as_str(), "prompt_above": one.prompt_above,
        "rate": one.kind.as_str(), "booked": usd(one.booked), "offered": usd(Some(one.offered)),
        "source": source, "not_stored_because": unfit,
    })
}

/// Dollars, as short as they are exact.
fn dollars(rate: Option<u64>) -> String {
    rate.map_or_else(|| "–".to_owned(), |rate| MicroDollars(rate).number())
}

/// The prices that hold today, in the scope in which each model is asked.
fn text(rows: &[Row], regional: Scope, settings: &FunctionSettings, region: &str) -> String {
    let head = ["MODEL", "SCOPE", "PROMPT", "INPUT", "OUTPUT", "WRITE", "1H", "READ"];
    let mut table = vec![head.map(str::to_owned)];
    let used = |row: &&Row| {
        let scopes = scopes(row.model, settings, region);
        if scopes.is_empty() { row.scope == regional } else { scopes.contains(&row.scope) }
    };
    table.extend(rows.iter().filter(used).map(|row| {
        let prompt = match row.prompt_above {
            0 => String::new(),
            above => format!(">{}k", above / 1000),
        };
        let [input, output, write, hour, read] = TokenKind::ALL.map(|kind| {
            let own = given(settings, row.model, kind);
            let mark = if own.is_some() { "*" } else { "" };
            format!("{}{mark}", dollars(own.or_else(|| kind.of(row))))
        });
        let model = row.model.to_owned();
        [model, row.scope.as_str().to_owned(), prompt, input, output, write, hour, read]
    }));
    let own = if settings.prices.given.is_empty() { "" } else { "\n* as BEDROCK_PRICES says" };
    format!(
        "Dollars for a million tokens, as of {CHECKED_ON}\n\n{}{own}",
        columns(&table).trim_end()
    )
}

/// What the comparison has come to.
fn verdict(judged: &[(Difference, Option<&str>)], compared: usize, source: &str) -> String {
    if judged.is_empty() {
        let rates = number(compared, "rate");
        return format!("\nNo difference in {rates} that AWS names ({source}).");
    }
    let mut table =
        vec![["DIFFERENT", "SCOPE", "RATE", "BOOKED", "AWS ASKS", ""].map(str::to_owned)];
    table.extend(judged.iter().map(|(one, why)| {
        let long = one.prompt_above.filter(|above| *above > 0);
        let long = long.map(|above| format!(" >{}k", above / 1000)).unwrap_or_default();
        let why = match why {
            Some("not the scope in which it is asked") => "not asked",
            Some("long prompts have a price of their own") => "by length",
            Some(_) => "too far off",
            None => "",
        };
        [
            cut(&one.model, LONGEST_SHOWN),
            one.scope.as_str().to_owned(),
            format!("{}{long}", one.kind.as_str()),
            dollars(one.booked),
            dollars(Some(one.offered)),
            why.to_owned(),
        ]
    }));
    format!("\nOf {} that AWS names ({source}):\n\n{}", number(compared, "rate"), columns(&table))
}

/// Stores what AWS asks, after a yes, where that is what is booked by then.
async fn write(
    session: &mut Session,
    deployed: &Deployed,
    judge: impl Fn(&FunctionSettings) -> Judged,
) -> Result<Exit, Failure> {
    session.report.insert("written".to_owned(), 0.into());
    let variables = Variables(deployed.stack.function.clone());
    let look = async || {
        let live = deployed.function().await?;
        let settings = Deployed::settings_of(&live.environment)?;
        let fit = judge(&settings).into_iter().filter(|(_, unfit)| unfit.is_none());
        let fit: Vec<Difference> = fit.map(|(one, _)| one).collect();
        if !fit.is_empty() && settings.prices.multiplier != Multiplier::default() {
            let message = "BEDROCK_PRICE_MULTIPLIER is set, and counts for nothing that is stored";
            let hint = "unset it, or put your own prices into BEDROCK_PRICES by `config set`";
            return Err(Failure::new(Exit::Refused, message).hint(hint));
        }
        merged(&live.environment, &fit).map_err(|why| Failure::new(Exit::Failed, why))?;
        let own = fit.clone();
        let merge = Box::new(move |live: &BTreeMap<String, String>| {
            merged(live, &own).map_err(|why| vec![why])
        });
        let spec = VariablesSpec { merge, reserved: None, after: Vec::new() };
        let pair = Pair { resource: &variables, spec: Some(&spec), live: Some(&live) };
        let changes = if fit.is_empty() { Vec::new() } else { vec![pair.diff()] };
        let plan = Plan { changes };
        Ok((plan, (spec, live, fit.len())))
    };
    let question = |(_, _, rates): &(_, _, usize)| format!("Store {}?", number(*rates, "rate"));
    let (plan, (spec, live, rates)) = session.agree(question, look).await?;
    let printer = session.printer;
    if plan.is_empty() {
        printer.text("Nothing to store.");
        return Ok(Exit::Done);
    }
    let pair = Pair { resource: &variables, spec: Some(&spec), live: Some(&live) };
    let parts: Vec<Box<dyn Part<Clients> + '_>> = vec![Box::new(pair)];
    let writer = deployed.writer(session);
    up::conclude(walk::up(&parts, &plan, &writer, false).await, &plan, &writer)?;
    session.report.insert("written".to_owned(), rates.into());
    printer.text(format!("Stored {}: the function books by it.", number(rates, "rate")));
    Ok(Exit::Done)
}

/// The variables with these rates in them; what is there of others stays.
fn merged(
    live: &BTreeMap<String, String>,
    fit: &[Difference],
) -> Result<BTreeMap<String, String>, String> {
    let text = live.get(SETTING).map_or("", |text| text.trim());
    let text = if text.is_empty() { "{}" } else { text };
    let mut prices: Map<String, Value> = serde_json::from_str(text)
        .map_err(|_| format!("{SETTING} is not JSON: `config unset {SETTING}` first"))?;
    for one in fit {
        let same = |key: &&String| {
            Model::resolve(key).is_some_and(|model| price::name(&model) == one.model)
        };
        let key = prices.keys().find(same).cloned().unwrap_or_else(|| one.model.clone());
        let rates = prices.entry(key).or_insert_with(|| json!({}));
        rates[one.kind.as_str()] = money::usd(Some(MicroDollars(one.offered)));
    }
    let mut merged = live.clone();
    merged.insert(SETTING.to_owned(), Value::Object(prices).to_string());
    Environment::check_whole(&merged).map_err(|problems| problems.join("; "))?;
    Ok(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_joins_what_is_there_under_whatever_name() {
        let one = |model: &str, kind, offered| Difference {
            model: model.to_owned(),
            scope: Scope::Regional,
            prompt_above: Some(0),
            kind,
            booked: Some(4_400_000),
            offered,
        };
        let opus = one("claude-opus-5-5", TokenKind::Input, 4_000_000);
        let fable = one("claude-fable-5-2", TokenKind::CacheRead, 137_500);
        let there = r#"{"us.anthropic.claude-opus-5-5": {"input": 9, "output": 20.5}}"#;
        let live = BTreeMap::from([
            (SETTING.to_owned(), there.to_owned()),
            ("LOG_LEVEL".to_owned(), "warn".to_owned()),
        ]);
        let stored = merged(&live, &[opus.clone(), fable.clone()]).unwrap();
        let prices: Value = serde_json::from_str(&stored[SETTING]).unwrap();
        let wanted = json!({
            "us.anthropic.claude-opus-5-5": {"input": 4, "output": 20.5},
            "claude-fable-5-2": {"cache_read": 0.1375},
        });
        assert_eq!((&prices, stored["LOG_LEVEL"].as_str()), (&wanted, "warn"));
        assert_eq!(
            merged(&stored, &[opus.clone(), fable]).unwrap(),
            stored,
            "done twice it is the same"
        );
        let broken = BTreeMap::from([(SETTING.to_owned(), "{".to_owned())]);
        assert!(merged(&broken, &[opus]).is_err());
    }
}
