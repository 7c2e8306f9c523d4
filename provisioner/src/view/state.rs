//! What `status` says: every resource, how it differs from what is wanted, and whether the URL is
//! well.

use std::fmt::Write as _;

use super::Scope;
use crate::engine::plan::{self, Action, Style};
use crate::engine::words::clean;
use crate::engine::{Foreign, State};
use crate::proxy::probe::Health;
use crate::stack::Found;
use crate::stack::names::region_of;

/// The contract's word for how a resource is.
#[must_use]
pub fn state(found: &Found) -> &'static str {
    match (&found.foreign, found.state) {
        (_, None) => "absent",
        (Some(_), Some(_)) => "foreign",
        (None, Some(State::Ready)) => "ready",
        (None, Some(State::Changing)) => "changing",
        (None, Some(State::Failed)) => "failed",
    }
}

/// Whether it differs; what is not there, or not ours, does not.
#[must_use]
pub fn drifted(found: &Found) -> bool {
    found.state.is_some() && found.foreign.is_none() && found.change.action != Action::Keep
}

/// The whole text. `url` is where clients go, with what it said if it was asked.
#[must_use]
pub fn text(
    survey: &[Found],
    url: Option<(&str, Option<&Health>)>,
    scope: &Scope<'_>,
    style: Style,
) -> String {
    if survey.iter().all(|found| found.state.is_none()) {
        return format!("There is no {scope}.\n");
    }
    let mut text = format!("{}\n\n", style.paint("1", capital(&scope.to_string())));
    text.extend(survey.iter().map(|found| block(found, style)));
    writeln!(text, "\n{}", summary(survey, scope)).expect("a string takes all");
    if let Some((url, health)) = url {
        let health = health.map_or_else(|| "not asked".to_owned(), |health| mark(health, style));
        writeln!(text, "\n{}  {url}  {health}", style.paint("1", "URL"))
            .expect("a string takes all");
    }
    text
}

fn block(found: &Found, style: Style) -> String {
    let state = state(found);
    let drifted = drifted(found);
    let colour = match state {
        "ready" if !drifted => "32",
        "absent" => "2",
        "failed" => "31",
        _ => "33",
    };
    let differs =
        if drifted { style.paint("33", "  differs (there → wanted)") } else { String::new() };
    let state = style.paint(colour, format!("{state:<8}"));
    let mut block = format!("  {state}  {}{differs}\n", found.address);
    if let Some(why) = &found.foreign {
        writeln!(block, "            {}", clean(&why.to_string())).expect("a string takes all");
    }
    if drifted {
        block += &plan::details(&found.change, style);
    }
    block
}

/// What all of it comes to, and what mends it.
fn summary(survey: &[Found], scope: &Scope<'_>) -> String {
    let count = |is: &dyn Fn(&Found) -> bool| survey.iter().filter(|found| is(found)).count();
    let all = survey.len();
    let parts = [
        (count(&|found| found.state.is_none()), "missing"),
        (count(&|found| state(found) == "foreign"), "not ours"),
        (count(&|found| state(found) == "failed"), "failed"),
        (count(&|found| state(found) == "changing"), "still changing"),
        (count(&drifted), "not as wanted"),
    ];
    let parts: Vec<_> = parts
        .into_iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, what)| format!("{number} {what}"))
        .collect();
    if parts.is_empty() {
        return format!("All {all} are there and as wanted. (The image is not compared.)");
    }
    let elsewhere = survey.iter().find_map(|found| match &found.foreign {
        Some(Foreign::OtherStack(id)) => Some(region_of(id, &scope.global.name, scope.account)),
        Some(Foreign::Untagged | Foreign::OtherName(_) | Foreign::Unfit(_)) | None => None,
    });
    if let Some(region) = elsewhere {
        let (all, parts) = (all.to_string(), parts.join(", "));
        let name = region.map_or_else(|| "that of the stack".to_owned(), str::to_owned);
        return format!(
            "Of {all}: {parts}. The stack of this name is in another region: --region {name}"
        );
    }
    let mend = scope.command("up");
    format!(
        "Of {all}: {}. To mend it, with the options that the stack was made with:\n  {mend}",
        parts.join(", ")
    )
}

fn mark(health: &Health, style: Style) -> String {
    style.paint(if health.ok { "32" } else { "31" }, words(health))
}

/// How the URL is, in words.
#[must_use]
pub fn words(health: &Health) -> String {
    match (health.ok, health.first_byte_ms, &health.why) {
        (true, Some(ms), _) => format!("well, streams, first byte after {ms} ms"),
        (true, None, _) => "well, streams".to_owned(),
        (false, _, why) => format!("not well: {}", clean(why.as_deref().unwrap_or("no answer"))),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
