//! `budget list`: who has spent how much of what.

use std::collections::BTreeMap;

use function::clock;
use function::money::MicroDollars;
use function::money::budget::{Caps, DEPLOYMENT, Exception};
use function::money::statement::Statement;
use serde_json::{Value, json};

use super::super::deployed::Deployed;
use super::super::{Exit, Failure, Session, user};
use crate::proxy::exceptions::{self, KeyItem, Today};
use crate::proxy::months::{self, StoredMonth};
use crate::view::columns::columns;
use crate::view::money;

pub(super) async fn run(session: &mut Session) -> Result<Exit, Failure> {
    let deployed = Deployed::connect(session).await?;
    let settings = deployed.settings().await?;
    let items = deployed.items().await?;
    let now = Today { at: clock::now(), zone: settings.budget.zone.clone() };
    let month = now.period().month();
    let reader = &deployed.reader;
    let read = async {
        let keys = exceptions::keys(&items, reader).await?;
        Ok((keys, months::read(&items, Some(&month), reader).await?))
    };
    let (keys, months) = session.unless_stopped(read).await?;
    let (usual, total) = (settings.budget.user, settings.budget.total);
    let shares = shares(&keys, &months, usual, &now);
    let used = months::committed(&months, now.period());
    let defaults = json!({"month_usd": money::usd(usual.month), "day_usd": money::usd(usual.day)});
    let all = json!({
        "month_usd": money::usd(total.month), "day_usd": money::usd(total.day),
        "used_month_usd": money::usd(Some(used[0])), "used_day_usd": money::usd(Some(used[1])),
    });
    session.report.insert("defaults".into(), defaults);
    session.report.insert("total".into(), all);
    session.report.insert("budgets".into(), shares.iter().map(Share::json).collect());
    let everybody = Share { name: "all".to_owned(), caps: total, used, exception: None };
    let printer = session.printer;
    printer.text(text(&shares, &everybody, usual, &now));
    if keys.is_empty() {
        printer.progress("Nobody has a key: the caps for everybody hold, whoever asks.");
    }
    user::without_keys(&settings).iter().for_each(|note| printer.progress(note));
    Ok(Exit::Done)
}

/// What one user may spend, and has.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Share {
    name: String,
    /// What holds now, what is granted for this month included.
    caps: Caps,
    /// In the month and today.
    used: [MicroDollars; 2],
    /// What was said of this user and holds; `None` where nothing was.
    exception: Option<Exception>,
}

impl Share {
    fn json(&self) -> Value {
        let exception = self.exception.clone().unwrap_or_default();
        let month = self.caps.month.map(|cap| cap.0.saturating_sub(exception.extra.0));
        json!({
            "user": self.name,
            "month_usd": money::usd(month.map(MicroDollars)),
            "day_usd": money::usd(self.caps.day),
            "extra_usd": money::usd(Some(exception.extra)),
            "until": exception.until.map(|until| until.to_string()),
            "used_month_usd": money::usd(Some(self.used[0])),
            "used_day_usd": money::usd(Some(self.used[1])),
            "exception": self.exception.is_some(),
        })
    }
}

/// Everybody who has a key or has spent something; who has spent most comes first.
fn shares(keys: &[KeyItem], months: &[StoredMonth], usual: Caps, now: &Today) -> Vec<Share> {
    let at = now.period();
    let mut all = BTreeMap::<String, Share>::new();
    let none =
        |name: String| Share { name, caps: usual, used: Default::default(), exception: None };
    for key in keys {
        let name = key.stored.user.to_string();
        // The oldest key speaks for all; what cannot be read lets nobody spend anything.
        all.entry(name.clone()).or_insert_with(|| {
            let said = key.exception().unwrap_or_else(Exception::unreadable);
            let caps = said.over(usual, now.at, at);
            Share { caps, exception: exceptions::in_force(said, now), ..none(name) }
        });
    }
    for StoredMonth { subject, item, month } in
        months.iter().filter(|one| one.subject != DEPLOYMENT)
    {
        let name = Statement::of(subject, month, item, None).name().to_owned();
        let share = all.entry(subject.clone()).or_insert_with(|| none(name));
        share.used = item.committed(at);
    }
    let mut all: Vec<Share> = all.into_values().collect();
    all.sort_by(|a, b| (b.used[0], &a.name).cmp(&(a.used[0], &b.name)));
    all
}

/// What a person reads, at 80 columns.
fn text(shares: &[Share], everybody: &Share, usual: Caps, now: &Today) -> String {
    let cap = |cap: Option<MicroDollars>| cap.map_or_else(|| "–".to_owned(), MicroDollars::cents);
    let mut rows = vec![["USER", "MONTH", "OF", "TODAY", "OF", "OWN CAP"].map(str::to_owned)];
    rows.extend(shares.iter().chain([everybody]).map(|share| {
        let [month, day] = share.used.map(MicroDollars::cents);
        let own = share.exception.as_ref().map(|own| {
            let extra = Some(own.extra).filter(|extra| extra.0 > 0);
            let extra = extra.map(|extra| format!("+{}", extra.cents()));
            let until = own.until.map(|until| format!("to {}", money::last_day(until, &now.zone)));
            let words: Vec<String> = extra.into_iter().chain(until).collect();
            if words.is_empty() { "yes".to_owned() } else { words.join(" ") }
        });
        let (name, own) = (money::short(&share.name), own.unwrap_or_default());
        [name, month, cap(share.caps.month), day, cap(share.caps.day), own]
    }));
    let each = money::caps(usual).unwrap_or_else(|| "no cap".to_owned());
    let (month, zone) = (now.period().month(), now.zone.iana_name().unwrap_or("UTC"));
    let table = columns(&rows);
    format!(
        "Dollars of Bedrock in {month}, days of {zone}\n\n{table}\n\
         Whoever has no cap of their own: {each}."
    )
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn a_person_reads_who_has_what_left_at_80_columns() {
        let usd = |dollars: u64| MicroDollars(dollars * 1_000_000);
        let usual = Caps { month: Some(usd(50)), day: None };
        let now = Today { at: "2026-11-29T12:00:00Z".parse().unwrap(), zone: TimeZone::UTC };
        let exception = Exception {
            caps: Caps { month: Some(usd(25)), day: Some(usd(5)) },
            extra: usd(5),
            extra_month: "2026-11".to_owned(),
            until: "2027-01-01T00:00:00Z".parse().ok(),
        };
        let caps = exception.over(usual, now.at, now.period());
        let share = |name: String, caps, used| Share { name, caps, used, exception: None };
        let used = [MicroDollars(10_020_000), MicroDollars(1)];
        let mut alice = share("alice".to_owned(), caps, used);
        alice.exception = Some(exception);
        let long = share("x".repeat(64), usual, [usd(0), usd(0)]);
        let all = share("all".to_owned(), Caps::default(), used);
        assert_eq!(
            (&alice.json()["month_usd"], &alice.json()["extra_usd"]),
            (&25.into(), &5.into())
        );
        let text = text(&[alice, long], &all, usual, &now);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        insta::assert_snapshot!(text, @r"
        Dollars of Bedrock in 2026-11, days of UTC

        USER                  MONTH  OF     TODAY  OF    OWN CAP
        alice                 10.02  30.00  0.01   5.00  +5.00 to 2026-12-31
        xxxxxxxxxxxxxxxxxxx…  0.00   50.00  0.00   –
        all                   10.02  –      0.01   –

        Whoever has no cap of their own: 50.00 USD a month.
        ");
    }
}
