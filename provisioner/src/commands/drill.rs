//! `drill`: proves that Bedrock answers when Anthropic says 429, before it does.
//!
//! Writes a drill into the table, has the function take it, and looks at what is there before and
//! after. Whatever happens, what was written for the drill is removed again.

use function::clock;
use function::drill::{Drill, GOOD_FOR, Nonce};
use function::failover::cooldown::{Cooldown, Timestamp};
use function::failover::identity::{LimitKey, LimitScope, ModelClass};
use function::money::prices::CHECKED_ON;
use function::money::{Cost, Invoked, Prices};
use function::settings::Settings as FunctionSettings;
use function::store::dynamo::item;
use function::translate::model::Model;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::deployed::{Deployed, partly};
use super::{Exit, Failure, Session, random_bytes};
use crate::aws::{CloudError, Writer};
use crate::cli::DrillArgs;
use crate::proxy::drill::{self, DrillAnswer};
use crate::proxy::items::Items;
use crate::proxy::when;
use crate::view::columns::columns;

pub(super) async fn run(session: &mut Session, args: DrillArgs) -> Result<Exit, Failure> {
    let Some(class) = ModelClass::of(&args.model) else {
        return Err(Failure::new(Exit::Usage, "a model's name is 1 to 64 of A-Z a-z 0-9 . -"));
    };
    let nonce = Nonce::from_random(random_bytes()?);
    let deployed = Deployed::connect(session).await?;
    let items = deployed.items().await?;
    let live = deployed.function().await?;
    let settings = Deployed::settings_of(&live.environment)?;
    refuse_if_off(&settings)?;
    let url = deployed.url().await?;
    let writer = deployed.writer(session);
    let drill = Drill { model: args.model, expires_at: in_whole_seconds(clock::now() + GOOD_FOR) };
    let staged = Staged {
        drill: item::drill_item(&nonce.digest(), &drill),
        limit: LimitKey { fingerprint: nonce.nobody(), scope: LimitScope::Class(class) },
        items,
    };
    let digits = &nonce.digest().to_string()[..12];
    session.printer.progress(&format!("  writing drill#{digits}… (one use, 5 minutes)"));
    let written = staged.items.put(&staged.drill, &writer).await;
    let heard = match written {
        Ok(()) => {
            session.printer.progress(&format!("  showing its nonce to {url}"));
            session.unless_stopped(async { Ok(drill::ask(&url, &nonce).await) }).await
        }
        Err(error) => Err(partly(error, &writer)),
    };
    let found = staged.strike(&writer).await;
    let heard = heard?;
    let found = found.map_err(|error| partly(error, &writer))?;
    let heard = heard.map_err(|why| {
        Failure::new(Exit::Failed, format!("the function did not answer: {why}"))
            .hint("`status` looks at the URL; what was written for the drill is removed")
    })?;
    let priced = (drill.model.as_str(), cost(&settings.prices, &drill.model, &heard));
    session.report = report(priced, &heard, &found);
    judge(&heard, &found)?;
    let (now, zone) = (clock::now(), TimeZone::try_system().unwrap_or(TimeZone::UTC));
    session.printer.text(text(priced.1, &heard, &found, (now, &zone)));
    Ok(Exit::Done)
}

/// What is put up for one drill, by us or by the function.
struct Staged {
    items: Items,
    drill: item::Item,
    limit: LimitKey,
}

/// What was left of it when the function had answered.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Leftovers {
    /// The drill was still there.
    untaken: bool,
    /// The limit that the function has written.
    limit: Option<Cooldown>,
}

impl Staged {
    /// Looks at what is there, and removes it.
    async fn strike(&self, writer: &Writer) -> Result<Leftovers, CloudError> {
        let limit = item::limit_key(&self.limit);
        let reader = writer.reader();
        let left = self.items.get(self.items.key_of(&self.drill), reader).await?;
        let written = self.items.get(limit.clone(), reader).await?;
        if left.is_some() {
            self.items.remove(&self.drill, writer).await?;
        }
        if written.is_some() {
            self.items.remove(&limit, writer).await?;
        }
        let limit = written.as_ref().and_then(item::stored_limit).map(|(_, limit)| limit);
        Ok(Leftovers { untaken: left.is_some(), limit })
    }
}

/// A function that will not take part need not be asked.
fn refuse_if_off(settings: &FunctionSettings) -> Result<(), Failure> {
    if settings.drill {
        return Ok(());
    }
    Err(Failure::new(Exit::Failed, "DRILL_ENABLED is false: the function takes no drill")
        .hint("`config unset DRILL_ENABLED` lets it"))
}

/// The table keeps whole seconds.
fn in_whole_seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap_or(moment)
}

/// Says what is wrong, if anything is.
fn judge(heard: &DrillAnswer, found: &Leftovers) -> Result<(), Failure> {
    let failed = |message: String| Failure::new(Exit::Failed, message);
    let said = heard.error.as_deref().unwrap_or("nothing that can be read");
    match heard.status {
        200 => {}
        403 => {
            let message = "AWS lets nobody reach the function's URL (403)".to_owned();
            return Err(failed(message).hint("`status` shows what is missing, `up` mends it"));
        }
        404 if found.untaken => {
            let message = "the function did not take the drill (404)".to_owned();
            let hint = "it may be older than drills (`up` brings it up to date), or may not use \
                        its table: `logs` says so";
            return Err(failed(message).hint(hint));
        }
        status => {
            let hint = "`logs` has more; where a model is denied, look at the Bedrock console";
            return Err(failed(format!("no answer from Bedrock ({status}): {said}")).hint(hint));
        }
    }
    if heard.label("upstream") != Some("bedrock") || !heard.ended {
        let why = match &heard.error {
            Some(error) => format!("the answer ended with an error: {error}"),
            None => "what answered is not Bedrock, or it did not answer to the end".to_owned(),
        };
        return Err(failed(why).hint("`logs` has more"));
    }
    if found.limit.is_none() && heard.label("until").is_some() {
        let why = "Bedrock answered, but the limit is not in the table".to_owned();
        return Err(failed(why).hint("`logs` says why the function could not write it"));
    }
    Ok(())
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the answer costs by the function's own prices; `None` where it does not say what it has
/// used.
fn cost(prices: &Prices, model: &str, heard: &DrillAnswer) -> Option<Cost> {
    heard.usage.output?;
    let id = heard.label("bedrock-model")?;
    let model = Model::resolve(id).or_else(|| Model::resolve(model))?;
    let region = heard.label("region").unwrap_or_default();
    let invoked = Invoked { model: &model, id, region, hour: false };
    Some(prices.tariff(&invoked, clock::now()).cost(&heard.usage))
}

fn usd(cost: Cost) -> Option<f64> {
    cost.amount.to_string().parse().ok()
}

fn report(
    (model, cost): (&str, Option<Cost>),
    heard: &DrillAnswer,
    found: &Leftovers,
) -> Map<String, Value> {
    let cost = cost.map(|cost| {
        let prices_of = CHECKED_ON.to_string();
        json!({
            "usd": usd(cost), "estimate": true, "assumed": cost.assumed, "prices_of": prices_of,
        })
    });
    let limit = found.limit.as_ref().map(
        |limit| json!({"until": limit.until.to_string(), "reason": limit.reason, "removed": true}),
    );
    let report = json!({
        "ok": judge(heard, found).is_ok(),
        "status": heard.status,
        "upstream": heard.label("upstream"),
        "reason": heard.label("reason"),
        "model": model,
        "bedrock_model": heard.label("bedrock-model"),
        "region": heard.label("region"),
        "first_byte_ms": millis(heard.first_byte),
        "duration_ms": millis(heard.whole),
        "tokens": {"input": heard.usage.input, "output": heard.usage.output},
        "cost": cost,
        "taken": !found.untaken,
        "limit": limit,
    });
    report.as_object().cloned().unwrap_or_default()
}

/// What a person reads when all went well.
fn text(
    cost: Option<Cost>,
    heard: &DrillAnswer,
    found: &Leftovers,
    (now, zone): (Timestamp, &TimeZone),
) -> String {
    let label = |name| heard.label(name).unwrap_or("?");
    let tokens = |count: Option<u64>| count.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let (input, output) = (tokens(heard.usage.input), tokens(heard.usage.output));
    let cost = cost.map_or_else(
        || "what it costs is not known".to_owned(),
        |cost| {
            let prices = if cost.assumed { "prices of its family" } else { "list prices" };
            format!("about {} USD (estimate, {prices} of {CHECKED_ON})", cost.amount)
        },
    );
    let limit = found.limit.as_ref().map_or_else(
        || "not remembered: RATE_LIMIT_TRACKING_ENABLED is false".to_owned(),
        |limit| format!("remembered until {}; removed again", when::ahead(limit.until, now, zone)),
    );
    let (first, whole) = (millis(heard.first_byte), millis(heard.whole));
    let rows = [
        ["answered by", &format!("{} in {}", label("bedrock-model"), label("region"))],
        ["said", &format!("{:?}", heard.text)],
        ["first byte", &format!("after {first} ms, the last after {whole} ms")],
        ["used", &format!("{input} tokens in, {output} out: {cost}")],
        ["limit", &limit],
        ["drill", "taken by the function, gone from the table"],
    ];
    let rows = rows.map(|row| row.map(str::to_owned));
    format!("Bedrock answers when Anthropic says 429.\n\n{}", columns(&rows).trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_fail_has_a_sentence_and_a_next_step() {
        let all_well = Leftovers { untaken: false, limit: None };
        let untaken = Leftovers { untaken: true, limit: None };
        let heard = |status, error: Option<&str>| DrillAnswer {
            status,
            error: error.map(str::to_owned),
            ..DrillAnswer::default()
        };
        for (heard, found, said) in [
            (heard(403, None), &untaken, "AWS lets nobody reach"),
            (heard(404, Some("no such endpoint")), &untaken, "did not take the drill"),
            (heard(503, Some("Bedrock said: denied")), &all_well, "(503): Bedrock said: denied"),
            (heard(502, None), &all_well, "nothing that can be read"),
            (heard(200, Some("overloaded")), &all_well, "ended with an error: overloaded"),
            (heard(200, None), &all_well, "is not Bedrock"),
        ] {
            let failure = judge(&heard, found).unwrap_err();
            assert!(failure.message.contains(said), "{}", failure.message);
            assert!(failure.hint.is_some() && failure.exit == Exit::Failed);
        }
        let labels = vec![("upstream", "bedrock".to_owned())];
        let answered = DrillAnswer { status: 200, ended: true, labels, ..DrillAnswer::default() };
        assert!(judge(&answered, &all_well).is_ok(), "limits may not be remembered at all");
        let mut limited = answered;
        limited.labels.push(("until", "2026-11-26T05:03:00Z".to_owned()));
        let failure = judge(&limited, &all_well).unwrap_err();
        assert!(failure.message.contains("the limit is not in the table"), "{}", failure.message);
    }
}
