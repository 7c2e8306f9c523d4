//! `usage`: what Bedrock has cost in a month, and whom. Only ever reads.

use std::collections::BTreeMap;

use function::clock;
use function::money::MicroDollars;
use function::money::budget::Exception;
use function::money::statement::view::{self, Kind, Line};
use function::money::statement::{Statements, written};
use serde_json::Value;

use super::deployed::Deployed;
use super::{Exit, Failure, Session};
use crate::cli::UsageArgs;
use crate::engine::plan::Style;
use crate::engine::words::clean;
use crate::proxy::exceptions::{self, KeyItem, Today};
use crate::proxy::months::{self, StoredMonth};

pub(super) async fn run(session: &mut Session, args: UsageArgs) -> Result<Exit, Failure> {
    if args.csv && session.printer.is_json() {
        return Err(Failure::new(
            Exit::Usage,
            "--csv and --json are two forms of the same: say one",
        ));
    }
    let deployed = Deployed::connect(session).await?;
    let settings = deployed.settings().await?;
    let items = deployed.items().await?;
    let now = Today { at: clock::now(), zone: settings.budget.zone.clone() };
    let this_month = now.period().month();
    let month = args.month.map_or_else(|| this_month.clone(), |month| month.0);
    let reader = &deployed.reader;
    let read = async {
        let keys = exceptions::keys(&items, reader).await?;
        Ok((keys, months::read(&items, Some(&month), reader).await?))
    };
    let (keys, months) = session.unless_stopped(read).await?;
    // What held in another month nobody has written down.
    let usual = Some(settings.budget.user).filter(|_| month == this_month);
    let own = own_caps(&keys);
    let limit = |subject: &str| {
        let usual = usual?;
        let own = own.get(subject).cloned().unwrap_or_default();
        own.over(usual, now.at, now.period()).month
    };
    let zone = now.zone.iana_name().unwrap_or("UTC");
    let mut all = statements((&month, zone), &months, limit);
    if let Some(user) = &args.user {
        let has_key = keys.iter().any(|key| key.stored.user.as_str() == user);
        all = all.only(user);
        if all.users.is_empty() && !has_key {
            let message = format!("{} has no key and has spent nothing in {month}", clean(user));
            return Err(Failure::new(Exit::Failed, message)
                .hint("`usage` and `user list` show who there is"));
        }
    }
    let read: Value = serde_json::from_str(&written::json(&all)).unwrap_or_default();
    session.report.extend(read.as_object().cloned().unwrap_or_default());
    let printer = session.printer;
    if args.csv {
        drop(printer.line(written::csv(&all).trim_end()));
        return Ok(Exit::Done);
    }
    let style = printer.stdout_style();
    let lines: Vec<String> =
        view::lines(&all, args.by.into()).iter().map(|line| painted(line, style)).collect();
    printer.text(lines.join("\n"));
    if all.users.iter().any(|user| !user.open.is_empty()) {
        printer.progress("`budget settle` settles what nobody has heard of for an hour.");
    }
    Ok(Exit::Done)
}

/// Everybody's months; `limit` says what a subject may spend.
pub(super) fn statements(
    when: (&str, &str),
    months: &[StoredMonth],
    limit: impl Fn(&str) -> Option<MicroDollars>,
) -> Statements {
    let items = months.iter().map(|one| (one.subject.as_str(), &one.item));
    Statements::of(when, items, |subject, _| limit(subject))
}

/// What the oldest key of each user says of its owner.
fn own_caps(keys: &[KeyItem]) -> BTreeMap<&str, Exception> {
    let mut own = BTreeMap::new();
    for key in keys {
        let said = || key.exception().unwrap_or_else(Exception::unreadable);
        own.entry(key.stored.user.as_str()).or_insert_with(said);
    }
    own
}

fn painted(line: &Line, style: Style) -> String {
    let text = clean(&line.text);
    match line.kind {
        Kind::Head | Kind::Total => style.paint("1", text),
        Kind::Note => style.paint("2", text),
        Kind::Title | Kind::Row => text,
    }
}

#[cfg(test)]
mod tests {
    use function::money::budget::Month;

    use super::*;

    #[test]
    fn two_hundred_users_fit_into_80_columns_with_and_without_colour() {
        let month = |spent: i64, user: &str| Month {
            counters: [("m".to_owned(), spent + 1), ("spent".to_owned(), spent)].into(),
            user: Some(user.to_owned()),
            ..Month::default()
        };
        for users in [0, 1, 200] {
            let name = |number: i64| format!("{}{number}", "x".repeat(60));
            let months: Vec<StoredMonth> = (0..users)
                .map(|number| StoredMonth {
                    subject: name(number),
                    month: "2026-11".to_owned(),
                    item: month(number * 99_999_999, &name(number)),
                })
                .collect();
            let all = statements(("2026-11", "UTC"), &months, |_| Some(MicroDollars(50_000_000)));
            let lines = view::lines(&all, view::By::User);
            for line in &lines {
                let plain = painted(line, Style::Plain);
                assert!(plain.chars().count() <= 80 && !plain.contains('\x1b'), "{plain}");
                let colour = painted(line, Style::Colour);
                assert_eq!(colour.contains("\x1b["), colour != plain);
                assert!(colour.contains(&plain), "{colour}");
            }
            assert!(lines.len() > usize::try_from(users).unwrap());
        }
    }
}
