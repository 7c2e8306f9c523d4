//! `status`: what is there, how it is doing, and whether the URL answers. Only ever reads.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Exit, Failure, Session};
use crate::cli::StatusArgs;
use crate::plan::{Action, Style};
use crate::probe::{self, Health};
use crate::resource::State;
use crate::settings::Source;
use crate::stack::Found;

pub(super) async fn run(session: &mut Session, args: StatusArgs) -> Result<Exit, Failure> {
    let settings = session.settings(&args.stack)?;
    let cloud = session.connect().await?;
    let (stack, there) = session.look(&cloud, &settings, Source::NotCompared).await?;
    let survey = stack.survey(&there);
    let resources: Vec<Value> = survey.iter().map(resource).collect();
    session.report.insert("resources".to_owned(), resources.into());
    session.report.insert("outputs".to_owned(), stack.outputs(&there).into());
    let health = match &there.url {
        Some(live) if !args.no_probe => Some(session.unless_stopped(ask(&live.url)).await?),
        Some(_) | None => None,
    };
    let shown = health.as_ref().map_or(Value::Null, Health::json);
    session.report.insert("health".to_owned(), shown);
    let printer = session.printer;
    let mut text: String = survey.iter().map(|found| line(found, printer.stdout_style())).collect();
    if let Some(live) = &there.url {
        let health = health.as_ref().map_or_else(|| "not asked".to_owned(), words);
        write!(text, "\nURL  {}  {health}", live.url).expect("a string takes all");
    }
    if survey.iter().all(|found| found.state.is_none()) {
        text = format!("There is no stack named {}.", session.global.name);
    }
    printer.text(text.trim_end());
    Ok(match health {
        Some(health) if !health.ok => Exit::Partly,
        Some(_) | None => Exit::Done,
    })
}

async fn ask(url: &str) -> Result<Health, Failure> {
    Ok(probe::ask(url).await)
}

fn state(found: &Found) -> &'static str {
    match (&found.foreign, found.state) {
        (_, None) => "absent",
        (Some(_), Some(_)) => "foreign",
        (None, Some(State::Ready)) => "ready",
        (None, Some(State::Changing)) => "changing",
        (None, Some(State::Failed)) => "failed",
    }
}

/// What is not there, or not ours, does not differ.
fn drifted(found: &Found) -> bool {
    found.state.is_some() && found.foreign.is_none() && found.change.action != Action::Keep
}

fn resource(found: &Found) -> Value {
    let drift = if drifted(found) { found.change.fields.as_slice() } else { &[] };
    json!({"address": found.address, "state": state(found), "drift": drift})
}

fn line(found: &Found, style: Style) -> String {
    let state = state(found);
    let colour = match state {
        "ready" => "32",
        "absent" => "2",
        _ => "33",
    };
    let mut line = format!("{} {}\n", style.paint(colour, format!("{state:<8}")), found.address);
    if let Some(why) = &found.foreign {
        writeln!(line, "           {why}").expect("a string takes all");
    }
    if drifted(found) {
        for field in &found.change.fields {
            let drift = style.paint("33", format!("differs: {}", field.path));
            writeln!(line, "           {drift}").expect("a string takes all");
        }
    }
    line
}

fn words(health: &Health) -> String {
    match (health.ok, health.first_byte_ms, &health.why) {
        (true, Some(ms), _) => format!("well (first byte after {ms} ms)"),
        (true, None, _) => "well".to_owned(),
        (false, _, why) => format!("not well: {}", why.as_deref().unwrap_or("no answer")),
    }
}
