//! What `down` says: what will go and what is in it, and at the end what is proved to be gone.

use std::fmt::Write as _;

use super::{Scope, number};
use crate::engine::Resource as _;
use crate::engine::plan::{Danger, Style};
use crate::engine::words::clean;
use crate::engine::{Address, Foreign};
use crate::stack::{Observed, Stack};

/// What is there and not ours.
#[must_use]
pub fn kept(foreign: &[(Address, Foreign)]) -> String {
    foreign
        .iter()
        .map(|(address, why)| format!("kept: {address} ({})\n", clean(&why.to_string())))
        .collect()
}

/// What will go, last made first, with what is in it.
#[must_use]
pub fn list(ours: &[Address], stack: &Stack, there: &Observed, style: Style) -> String {
    let sign = style.paint("31", "-");
    let width = ours.iter().map(|address| address.to_string().chars().count()).max();
    let width = width.unwrap_or_default();
    let mut text = format!("{}\n", style.paint("1", "Delete"));
    for address in ours.iter().rev() {
        let holds = contents(address, stack, there);
        let line = format!("{:<width$}  {holds}", address.to_string());
        writeln!(text, "  {sign} {}", line.trim_end()).expect("a string takes all");
    }
    text.push('\n');
    let danger = |text: &str| format!("{}\n", style.paint("1;31", format!("! {text}")));
    if ours.contains(&stack.url.address()) {
        text += &danger("clients that are configured with the URL stop working, for good");
    }
    if ours.contains(&stack.table.address()) || ours.contains(&stack.log_group.address()) {
        text += &danger(&Danger::LosesData.to_string());
    }
    text
}

/// What goes with a resource.
fn contents(address: &Address, stack: &Stack, there: &Observed) -> String {
    if *address == stack.url.address() {
        return there.url.as_ref().map(|live| clean(&live.url)).unwrap_or_default();
    }
    if *address == stack.image.address() {
        let images = there.image.as_ref().map_or(0, |live| live.images.len());
        return number(images, "image");
    }
    if *address == stack.table.address() {
        let items = there.table.as_ref().and_then(|live| live.items).unwrap_or_default();
        let items = usize::try_from(items).unwrap_or_default();
        return format!("{} as AWS last counted (it does every six hours)", number(items, "item"));
    }
    if *address == stack.log_group.address() {
        let bytes = there.log_group.as_ref().and_then(|live| live.stored).unwrap_or_default();
        return format!("{} of log lines", size(bytes));
    }
    String::new()
}

fn size(bytes: i64) -> String {
    match bytes {
        ..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// What was looked for again at the end and not found.
#[must_use]
pub fn gone(deleted: &[Address], remaining: &[Address], scope: &Scope<'_>, style: Style) -> String {
    let mut text = String::new();
    for address in deleted.iter().rev() {
        writeln!(text, "  {}  {address}", style.paint("32", "gone")).expect("a string takes all");
    }
    for address in remaining {
        writeln!(text, "  {} {address}", style.paint("31", "still")).expect("a string takes all");
    }
    let left = if remaining.is_empty() {
        format!("Looked again: nothing is left of the {scope}.")
    } else {
        format!("Looked again: {} of {} left.", remaining.len(), deleted.len() + remaining.len())
    };
    format!("{text}\n{left}\n")
}
