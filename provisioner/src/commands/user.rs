//! `user`: who has a key to the proxy.
//!
//! A key is made here, shown once, and nowhere kept: the table has its digest. It must be in no
//! error and in no log.

use std::collections::BTreeMap;
use std::path::Path;

use function::access::{AccessMode, ProxyKey};
use function::caller::User;
use function::clock;
use function::settings::Settings as FunctionSettings;
use function::store::dynamo::item::{self, Item, StoredKey};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::deployed::{Deployed, partly};
use super::{Exit, Failure, Session, random_bytes};
use crate::aws::{CloudError, Reader, Writer};
use crate::cli::{UserAdd, UserCommand};
use crate::proxy::claude_settings::{ClientConfig, file};
use crate::proxy::exceptions::{self, KeyItem};
use crate::proxy::items::Items;
use crate::proxy::when;
use crate::view::columns::columns;
use crate::view::printer::Printer;

pub(super) async fn run(session: &mut Session, command: UserCommand) -> Result<Exit, Failure> {
    match command {
        UserCommand::Add(args) => add(session, args).await,
        UserCommand::List => list(session).await,
        UserCommand::Remove { user } => remove(session, &user).await,
    }
}

async fn add(session: &mut Session, args: UserAdd) -> Result<Exit, Failure> {
    let key = ProxyKey::from_random(random_bytes()?);
    let UserAdd { user, write_settings, plain } = args;
    if write_settings.is_none() && !Printer::leads_somewhere() {
        let message = "nobody would see the key: standard output leads nowhere";
        let hint = "run it where it can be read, or with --write-settings PATH";
        return Err(Failure::new(Exit::Failed, message).hint(hint));
    }
    let deployed = Deployed::connect(session).await?;
    let items = deployed.items().await?;
    let mode = deployed.function().await?.environment.get("ACCESS_MODE").cloned();
    let url = deployed.url().await?;
    let access = ClientConfig { url: &url, key: &key, plain };
    // A key that cannot be handed over is not made.
    if let Some(path) = &write_settings {
        file::check(path, access).map_err(|why| Failure::new(Exit::Failed, why.to_string()))?;
    }
    let writer = deployed.writer(session);
    let stored = Box::pin(keep(session, (&key, &user), &items, &writer)).await?;
    let mut report = json!({
        "user": user.as_str(), "key": key.reveal(), "settings": access.document(),
    });
    let mut other_line = false;
    if let Some(path) = &write_settings {
        match file::write(path, access) {
            Ok(stays) => other_line = stays && !plain,
            Err(why) => {
                let taken_back = items.remove(&stored, &writer).await;
                let failure = Failure::new(Exit::Failed, why.to_string());
                return Err(failure.hint(whose(taken_back.is_ok())));
            }
        }
        // The file has it now: that was the one time.
        report["key"] = Value::Null;
        report["settings"] = Value::Null;
        report["written"] = path.display().to_string().into();
        if other_line {
            report["status_line"] = access.line_command().into();
        }
    }
    if let Some(mode) = mode.filter(|mode| !mode.is_empty() && mode != "key") {
        let note = format!("note: ACCESS_MODE is {mode}, so nobody is asked for a key");
        session.printer.progress(&note);
    }
    let text = match session.printer.is_json() {
        true => report.to_string(),
        false => shown(&user, access, write_settings.as_deref()) + &to_add(access, other_line),
    };
    // Whoever cannot read it has no key.
    match session.printer.line(text) {
        Err(why) if write_settings.is_none() => {
            let taken_back = items.remove(&stored, &writer).await;
            let message = format!("the key could not be shown: {why}");
            Err(Failure::new(Exit::Failed, message).hint(whose(taken_back.is_ok())))
        }
        Ok(()) | Err(_) => Ok(Exit::Done),
    }
}

/// Puts a new key into the table, with what its owner's other keys say: that holds for all of them.
async fn keep(
    session: &Session,
    (key, user): (&ProxyKey, &User),
    items: &Items,
    writer: &Writer,
) -> Result<Item, Failure> {
    let mut stored = item::owner_item(&key.digest(), user, clock::now());
    let first = async { Ok(first_key(user, items, writer.reader()).await?) };
    let first = session.unless_stopped(first).await?;
    stored.extend(first.iter().flat_map(KeyItem::attributes));
    items.put(&stored, writer).await.map_err(|error| {
        let failure = partly(error, writer);
        let left = "should the key be in `user list` nevertheless, nobody has it: `user remove`";
        let hint =
            failure.hint.as_deref().map_or_else(|| left.to_owned(), |h| format!("{h}; {left}"));
        failure.hint(hint)
    })?;
    if let Err(error) = agree(key, user, items, writer).await {
        let taken_back = items.remove(&stored, writer).await;
        let failure = partly(error, writer);
        return Err(Failure { exit: Exit::Failed, ..failure }.hint(whose(taken_back.is_ok())));
    }
    Ok(stored)
}

/// The oldest key of a user, which speaks for all of them.
async fn first_key(
    user: &User,
    items: &Items,
    cloud: &Reader,
) -> Result<Option<KeyItem>, CloudError> {
    let all = exceptions::keys(items, cloud).await?;
    Ok(all.into_iter().find(|key| key.stored.user == *user))
}

/// Looks again: who has changed the user's other keys meanwhile did not see the new one.
async fn agree(
    key: &ProxyKey,
    user: &User,
    items: &Items,
    writer: &Writer,
) -> Result<(), CloudError> {
    let mut theirs = exceptions::keys(items, writer.reader()).await?;
    theirs.retain(|one| one.stored.user == *user);
    let new = theirs.iter().find(|one| one.stored.digest == key.digest());
    let (Some(first), Some(new)) = (theirs.first(), new) else { return Ok(()) };
    exceptions::align(new, first, items, writer).await
}

/// Why what stands with keys holds for nobody, where nobody is asked for one.
pub(super) fn without_keys(settings: &FunctionSettings) -> Option<String> {
    let mode = match settings.access {
        AccessMode::Key(_) => return None,
        AccessMode::Open => "open",
        AccessMode::Organization(_) => "organization",
    };
    let note = format!("note: ACCESS_MODE is {mode}: nobody is asked for a key, so the caps for");
    Some(format!("{note} everybody hold"))
}

/// What became of a key that could not be handed over.
const fn whose(taken_back: bool) -> &'static str {
    match taken_back {
        true => "the key was taken back",
        false => "nobody has the key: `user remove` takes it back",
    }
}

/// What somebody adds who has a status line of their own.
fn to_add(access: ClientConfig<'_>, other_line: bool) -> String {
    if !other_line {
        return String::new();
    }
    let command = access.line_command();
    format!(
        "\n\nThe file has a status line, which stays. Whoever wants to read in it who answers adds \
         this to\nits command, which then hands on its own input:\n\n{command}"
    )
}

/// What the operator hands over, or where it went.
fn shown(user: &User, access: ClientConfig<'_>, path: Option<&Path>) -> String {
    if let Some(path) = path {
        let path = path.display();
        return format!(
            "{user} has a new key. It is in {path}, and nowhere else: Claude Code finds it there."
        );
    }
    let (key, document, curl) = (access.key.reveal(), access.document(), access.curl());
    format!(
        "The key of {user}. It is shown this once:\n\n{key}\n\n\
         For Claude Code, in ~/.claude/settings.json (--write-settings PATH puts it there):\n\n\
         {document:#}\n\nTo try it:\n\n{curl}"
    )
}

/// One user's keys.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) keys: usize,
    /// When the oldest of them was made; `None` where that is not written down.
    created_at: Option<Timestamp>,
}

/// Everybody who has a key, by name.
pub(super) async fn holders(
    items: &Items,
    cloud: &Reader,
) -> Result<BTreeMap<User, Held>, CloudError> {
    let mut users = BTreeMap::<User, Held>::new();
    for StoredKey { user, created_at, .. } in keys(items, cloud).await? {
        let held = users.entry(user).or_default();
        let oldest = match held.keys {
            0 => created_at,
            _ => held.created_at.zip(created_at).map(|(one, other)| one.min(other)),
        };
        *held = Held { keys: held.keys + 1, created_at: oldest };
    }
    Ok(users)
}

async fn keys(items: &Items, cloud: &Reader) -> Result<Vec<StoredKey>, CloudError> {
    let all = items.of_kind(item::KEY, cloud).await?;
    Ok(all.iter().filter_map(item::stored_key).collect())
}

async fn list(session: &mut Session) -> Result<Exit, Failure> {
    let deployed = Deployed::connect(session).await?;
    let items = deployed.items().await?;
    let read = async { Ok(holders(&items, &deployed.reader).await?) };
    let users = session.unless_stopped(read).await?;
    let json = users.iter().map(|(user, held)| {
        let created_at = held.created_at.map(|at| at.to_string());
        json!({"user": user.as_str(), "keys": held.keys, "created_at": created_at})
    });
    session.report.insert("users".to_owned(), json.collect());
    let (now, zone) = (clock::now(), TimeZone::try_system().unwrap_or(TimeZone::UTC));
    let mut rows = vec![["USER", "KEYS", "OLDEST KEY"].map(str::to_owned)];
    rows.extend(users.iter().map(|(user, held)| {
        let made = held.created_at.map_or_else(|| "–".to_owned(), |at| when::local(at, now, &zone));
        [user.to_string(), held.keys.to_string(), made]
    }));
    session.printer.text(match users.is_empty() {
        true => "Nobody has a key. `user add NAME` makes one.".to_owned(),
        false => columns(&rows).trim_end().to_owned(),
    });
    Ok(Exit::Done)
}

/// How often somebody may make another key while theirs are taken back.
const REMOVALS: u32 = 5;

async fn remove(session: &mut Session, user: &User) -> Result<Exit, Failure> {
    let deployed = Deployed::connect(session).await?;
    let items = deployed.items().await?;
    session.report.insert("user".to_owned(), user.as_str().into());
    let writer = deployed.writer(session);
    let mut removed = 0_usize;
    session.report.insert("removed".to_owned(), removed.into());
    // One that somebody makes meanwhile is one of theirs, too.
    for _ in 0..REMOVALS {
        let theirs =
            keys(&items, &deployed.reader).await.map_err(|error| partly(error, &writer))?;
        let theirs: Vec<_> = theirs.into_iter().filter(|key| key.user == *user).collect();
        if theirs.is_empty() {
            break;
        }
        for key in &theirs {
            let at = item::owner_key(&key.digest);
            items.remove(&at, &writer).await.map_err(|error| partly(error, &writer))?;
            removed += 1;
            session.report.insert("removed".to_owned(), removed.into());
        }
    }
    let count = match removed {
        0 => {
            let message = format!("{user} has no key here");
            return Err(Failure::new(Exit::Failed, message).hint("`user list` shows who has one"));
        }
        1 => "the one key".to_owned(),
        number => format!("all {number} keys"),
    };
    session.printer.text(format!("Removed {count} of {user}."));
    session.printer.progress("A warm instance of the function may take a key for 10 s more.");
    Ok(Exit::Done)
}
