//! `status --watch`: upstreams, limits and users, again and again. Only ever reads.
//!
//! Whatever cannot be read, a table or a log group that is not there included, is said in the view,
//! and the next look tries again.

use std::collections::BTreeMap;
use std::time::Duration;

use function::clock;
use function::money::Period;
use function::session::overview::{self, Everybody, Overview};
use function::settings::Budget;
use function::store::dynamo::sessions;
use jiff::tz::TimeZone;

use super::deployed::Deployed;
use super::{Exit, Failure, Session, user};
use crate::aws::{CloudError, Kind};
use crate::proxy::events::{self, Lines};
use crate::proxy::items::Items;
use crate::proxy::limits::{self, Limit};
use crate::proxy::months;
use crate::proxy::traffic::{PATTERN, Traffic, UserTraffic};
use crate::view::money::Spent;
use crate::view::screen::Screen;
use crate::view::watch::{self, Person, Sight, Trouble, WatchOptions};

pub(super) async fn run(session: &Session, every: u32) -> Result<Exit, Failure> {
    let deployed = Deployed::connect(session).await?;
    let mut watcher = Watcher {
        deployed: &deployed,
        items: None,
        budget: None,
        traffic: Traffic::before(clock::now()),
    };
    let options = WatchOptions { every, zone: TimeZone::try_system().unwrap_or(TimeZone::UTC) };
    let scope = session.scope(&deployed.cloud);
    let mut screen = Screen::new(session.printer);
    loop {
        let sight = tokio::select! {
            sight = watcher.refresh() => sight,
            () = session.stop.wait() => return Ok(Exit::Done),
        };
        let next = deployed.reader.rest(every.into());
        tokio::pin!(next);
        loop {
            let shown = match session.printer.is_json() {
                true => session.printer.line(watch::json(&sight)),
                false => screen.show(watch::lines(&sight, &options, &scope)),
            };
            if shown.is_err() {
                // Nobody reads any more.
                return Ok(Exit::Done);
            }
            tokio::select! {
                () = &mut next => break,
                () = session.stop.wait() => return Ok(Exit::Done),
                () = resized(), if session.printer.redraws() => {}
            }
        }
    }
}

/// Returns when the terminal has another size.
#[cfg(unix)]
async fn resized() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::window_change()) {
        Ok(mut resized) => drop(resized.recv().await),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn resized() {
    std::future::pending().await
}

struct Watcher<'a> {
    deployed: &'a Deployed,
    /// Once the table was seen to be there, and ours.
    items: Option<Items>,
    /// The caps, once they were read.
    budget: Option<Budget>,
    traffic: Traffic,
}

/// How long one look may take. What takes longer is said, and tried again.
const LOOK_TIMEOUT: Duration = Duration::from_secs(30);

/// What the table tells.
struct Told {
    /// How many keys somebody has.
    keys: BTreeMap<String, usize>,
    limits: Vec<Limit>,
    /// `None` where nobody knows by whose clock a day begins.
    money: Option<(Spent, Overview)>,
}

impl Watcher<'_> {
    async fn refresh(&mut self) -> Sight {
        let Self { deployed, items, budget, traffic } = self;
        let (told, read) = tokio::join!(
            in_time("the table", table(deployed, items, budget)),
            in_time("the log", log(deployed, traffic))
        );
        let now = clock::now();
        traffic.forget(now);
        let mut troubles = Vec::new();
        let mut note = |failure: Failure| {
            troubles.push(Trouble { what: failure.sentence(), hint: failure.hint });
        };
        let told = told.map_err(&mut note).ok();
        let told = told.map(|Told { keys, limits, money }| (keys, (limits, money)));
        let (keys, told) = told.unzip();
        let (limits, money) = told.unzip();
        let (spent, overview) = money.flatten().unzip();
        read.unwrap_or_else(note);
        let users = people(keys, traffic.users());
        Sight { at: now, rates: traffic.rates(now), spent, overview, limits, users, troubles }
    }
}

async fn in_time<T>(
    what: &str,
    reading: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::time::timeout(LOOK_TIMEOUT, reading).await.unwrap_or_else(|_| {
        let seconds = LOOK_TIMEOUT.as_secs();
        Err(Failure::new(Exit::Failed, format!("{what} was not read within {seconds} s")))
    })
}

async fn table(
    deployed: &Deployed,
    known: &mut Option<Items>,
    budget: &mut Option<Budget>,
) -> Result<Told, Failure> {
    let items = match known {
        Some(items) => items,
        None => known.insert(deployed.items().await?),
    };
    let holders = user::holders(items, &deployed.reader).await?;
    let keys = holders.into_iter().map(|(user, held)| (user.to_string(), held.keys));
    let limits = limits::in_force(items, clock::now(), &deployed.reader).await?;
    if budget.is_none() {
        *budget = deployed.settings().await.ok().map(|settings| settings.budget);
    }
    let money = match budget {
        Some(budget) => Some(money(items, budget, &limits, deployed).await?),
        None => None,
    };
    Ok(Told { keys: keys.collect(), limits, money })
}

/// What was spent, and what the proxy's page would show.
async fn money(
    items: &Items,
    budget: &Budget,
    limits: &[Limit],
    deployed: &Deployed,
) -> Result<(Spent, Overview), Failure> {
    let (Budget { user: each, total, zone, message: _ }, now) = (budget, clock::now());
    let (at, mut all) = (Period::at(now, zone), Vec::new());
    for month in overview::months(at) {
        all.extend(months::read(items, Some(&month), &deployed.reader).await?);
    }
    let used = months::committed(&all, at);
    let sessions = items.of_kind(sessions::PREFIX, &deployed.reader).await?;
    let sessions: Vec<_> = sessions.iter().filter_map(|item| sessions::stored(item, now)).collect();
    let limits = limits.iter().map(|limit| (limit.key.clone(), limit.cooldown.clone()));
    let everybody = Everybody {
        months: all.into_iter().map(|one| (one.month, one.subject, one.item)).collect(),
        sessions: &sessions,
        limits: limits.collect(),
        total: *total,
        zone,
        counted: None,
    };
    let spent = Spent { month: at.month(), used, total: *total, each: *each };
    Ok((spent, Overview::of(everybody, now)))
}

async fn log(deployed: &Deployed, traffic: &mut Traffic) -> Result<(), Failure> {
    let log_group = &deployed.names.log_group;
    let lines = Lines { log_group, from: traffic.from(), pattern: Some(PATTERN) };
    let events = events::all(&lines, &deployed.reader).await.map_err(absent)?;
    traffic.take(events, clock::now());
    Ok(())
}

fn absent(error: CloudError) -> Failure {
    let absent = error.kind == Kind::NotFound;
    let failure = Failure::from(error);
    if absent { failure.hint("`up` makes it") } else { failure }
}

/// Everybody who has a key or has asked; who asks most comes first.
fn people(
    keys: Option<BTreeMap<String, usize>>,
    mut asked: BTreeMap<Option<String>, UserTraffic>,
) -> Vec<Person> {
    for user in keys.iter().flat_map(BTreeMap::keys) {
        asked.entry(Some(user.clone())).or_default();
    }
    let keys_of = |user: &Option<String>| {
        let keys = keys.as_ref()?;
        Some(user.as_ref().and_then(|user| keys.get(user)).copied().unwrap_or_default())
    };
    let people = asked.into_iter().map(|(user, asked)| {
        let keys = keys_of(&user);
        Person { user, keys, asked }
    });
    let mut people: Vec<Person> = people.collect();
    people.sort_by_key(|person| std::cmp::Reverse(person.asked.requests));
    people
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_key_is_there_and_who_asks_most_comes_first() {
        let asked = |requests| UserTraffic { requests, ..UserTraffic::default() };
        let log = || {
            [(None, asked(1)), (Some("bob".to_owned()), asked(1)), (Some("eve".into()), asked(2))]
        };
        let keys = BTreeMap::from([("alice".to_owned(), 2), ("bob".to_owned(), 1)]);
        let shown = |people: Vec<Person>| -> Vec<_> {
            let one = |person: Person| (person.user, person.keys, person.asked.requests);
            people.into_iter().map(one).collect()
        };
        let name = |name: &str| Some(name.to_owned());
        assert_eq!(
            shown(people(Some(keys), log().into())),
            [
                (name("eve"), Some(0), 2),
                (None, Some(0), 1),
                (name("bob"), Some(1), 1),
                (name("alice"), Some(2), 0)
            ]
        );
        assert_eq!(shown(people(None, log().into()))[0], (name("eve"), None, 2));
    }
}
