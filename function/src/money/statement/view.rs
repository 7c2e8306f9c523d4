//! The statements of a month for a person: a table of at most 80 columns.
//!
//! Plain text. What kind a line is of stands beside it, for whoever wants to colour it.

use std::collections::BTreeMap;
use std::fmt;

use super::{Statement, Statements};
use crate::money::MicroDollars;

/// What the lines of the table are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum By {
    #[default]
    User,
    Class,
    Day,
}

impl By {
    /// Reads the word that a person types.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "user" => Some(Self::User),
            "class" => Some(Self::Class),
            "day" => Some(Self::Day),
            _ => None,
        }
    }
}

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Title,
    Head,
    Row,
    Total,
    Note,
}

/// One line of the table, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub kind: Kind,
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The widest column of names.
const NAME: usize = 22;

/// The table of a month.
#[must_use]
pub fn lines(all: &Statements, by: By) -> Vec<Line> {
    let total = all.total();
    let title = format!("Bedrock in {}, days of {}", all.month, all.timezone);
    let mut lines = vec![line(Kind::Title, title)];
    if all.users.is_empty() {
        lines.push(line(Kind::Note, "Nothing was spent.".to_owned()));
        return lines;
    }
    lines.push(line(Kind::Title, String::new()));
    match by {
        By::User => lines.extend(users(all, &total)),
        By::Class => lines.extend(parts("CLASS", &total.by_class, total.cost)),
        By::Day => {
            let committed = MicroDollars(total.cost.0.saturating_add(total.unsettled.0));
            lines.extend(parts("DAY", &total.by_day, committed));
        }
    }
    let notes = notes(&total, by);
    if !notes.is_empty() {
        lines.push(line(Kind::Note, String::new()));
    }
    lines.extend(notes.into_iter().map(|note| line(Kind::Note, note)));
    lines
}

fn users(all: &Statements, total: &Statement) -> Vec<Line> {
    let head = ["USER", "DOLLARS", "OF CAP", "REQUESTS", "TOKENS", "CACHED", "SAVED"];
    let mut rows = vec![(Kind::Head, head.map(str::to_owned))];
    let cells = |name: &str, of: &Statement| {
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        [
            shortened(name),
            of.cost.cents(),
            or_none(of.of_limit().map(|share| format!("{}.{}%", share / 10, share % 10))),
            of.requests.to_string(),
            counted(of.tokens.all()),
            or_none(of.tokens.cache_share().map(|share| format!("{}%", share / 100))),
            time(of.waiting_avoided),
        ]
    };
    rows.extend(all.users.iter().map(|user| (Kind::Row, cells(user.name(), user))));
    if all.users.len() > 1 {
        rows.push((Kind::Total, cells("total", total)));
    }
    aligned(&rows)
}

fn parts(head: &str, parts: &BTreeMap<String, MicroDollars>, total: MicroDollars) -> Vec<Line> {
    let mut rows = vec![(Kind::Head, [head, "DOLLARS"].map(str::to_owned))];
    rows.extend(parts.iter().map(|(name, amount)| (Kind::Row, [shortened(name), amount.cents()])));
    rows.push((Kind::Total, ["total".to_owned(), total.cents()]));
    aligned(&rows)
}

fn notes(total: &Statement, by: By) -> Vec<String> {
    let mut notes = Vec::new();
    if total.waiting_avoided > 0 && by == By::User {
        notes.push("SAVED is the time of limits that nobody had to wait for.".to_owned());
    }
    if total.assumed.0 > 0 {
        let assumed = total.assumed.cents();
        notes.push(format!("${assumed} of it is priced by assumption: a model is too new."));
    }
    if total.unsettled.0 > 0 {
        let (amount, open) = (total.unsettled.cents(), total.open.len());
        let plural = if open == 1 { "" } else { "s" };
        notes.push(format!(
            "${amount} more is unsettled ({open} reservation{plural}): \
             under way, or never heard of."
        ));
    }
    notes
}

fn line(kind: Kind, text: String) -> Line {
    Line { kind, text }
}

/// The first column stands left, the others right.
fn aligned<const N: usize>(rows: &[(Kind, [String; N])]) -> Vec<Line> {
    let width = |column: usize| {
        rows.iter().map(|(_, cells)| cells[column].chars().count()).max().unwrap_or(0)
    };
    let widths: [usize; N] = std::array::from_fn(width);
    let text = |cells: &[String; N]| {
        let mut text = String::new();
        for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let padded =
                if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
            text.push_str(&padded);
        }
        text
    };
    rows.iter().map(|(kind, cells)| line(*kind, text(cells))).collect()
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME {
        return name.to_owned();
    }
    name.chars().take(NAME - 1).chain(['…']).collect()
}

/// A number as a person takes it in: three digits and their size.
fn counted(number: u64) -> String {
    match number {
        0..=9999 => number.to_string(),
        10_000..=9_999_999 => format!("{}k", number / 1000),
        10_000_000.. => format!("{}M", number / 1_000_000),
    }
}

/// A length of time in its two largest units.
fn time(seconds: u64) -> String {
    match seconds {
        0 => "-".to_owned(),
        1..=59 => format!("{seconds}s"),
        60..=3599 => format!("{}m", seconds / 60),
        3600.. => format!("{}h{:02}m", seconds / 3600, seconds % 3600 / 60),
    }
}
