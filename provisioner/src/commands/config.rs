//! `config`: the function's settings, one by one.
//!
//! What is set is merged into what is there, checked by the very code that the function starts
//! with, and shown before it is done. Where it touches rights, the role's policy goes first; where
//! it lets strangers knock, what is reserved for them does.

pub(super) mod edit;

use std::collections::{BTreeMap, BTreeSet};

use function::settings::{VARIABLES, Variable};
use serde_json::{Value, json};

use super::deployed::{Deployed, partly};
use super::{Exit, Failure, Session, room, up};
use crate::aws::{Clients, Writer};
use crate::cli::ConfigCommand;
use crate::engine::Resource as _;
use crate::engine::part::{Pair, Part};
use crate::engine::plan::{self, Plan};
use crate::engine::walk;
use crate::engine::words::clean;
use crate::resources::role::Role;
use crate::stack::settings::{Environment, LOCAL, OWNED, refusal};
use crate::stack::{ROLE_POLICY, Stack, for_strangers, rights};
use crate::view::columns::columns;
use crate::view::printer::Printer;
use edit::{Rights, SettingsEdit, Variables, VariablesSpec, problems};

pub(super) async fn run(session: &mut Session, command: ConfigCommand) -> Result<Exit, Failure> {
    match command {
        ConfigCommand::List => list(session).await,
        ConfigCommand::Set { settings } => {
            let edit = Environment::parse(settings.iter().map(String::as_str)).map_err(usage)?;
            let edit = edit.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
            change(session, SettingsEdit { set: edit.collect(), unset: BTreeSet::new() }).await
        }
        ConfigCommand::Unset { names } => {
            let unset: BTreeSet<String> = names.into_iter().collect();
            let owned = unset.iter().filter(|name| OWNED.contains(&name.as_str()));
            let refused: Vec<_> = owned.filter_map(|name| refusal(name)).collect();
            if !refused.is_empty() {
                return Err(usage(refused));
            }
            change(session, SettingsEdit { set: BTreeMap::new(), unset }).await
        }
    }
}

fn usage(problems: Vec<String>) -> Failure {
    Failure::new(Exit::Usage, problems.join("\n"))
        .hint("`config list` shows all settings; the README says what they mean")
}

async fn change(session: &mut Session, edit: SettingsEdit) -> Result<Exit, Failure> {
    // Whether what is no setting is there nevertheless, only AWS can tell.
    let deployed = Deployed::connect(session).await.map_err(|failure| {
        let strange: Vec<String> = edit.strange().filter_map(|name| refusal(name)).collect();
        if strange.is_empty() {
            failure
        } else {
            usage([strange, vec![failure.sentence()]].concat())
        }
    })?;
    let live = deployed.function().await?;
    let merged = edit.merged(&live.environment).map_err(usage)?;
    let policy = if edit.touches_rights() { Some(policy(&deployed, &merged)?) } else { None };
    let reserved = match edit.reserves(&merged, &live) {
        Some(number) if !room::has(number, &deployed.reader).await => {
            session.printer.progress(&format!("note: {}", room::without(number.get())));
            None
        }
        reserved => reserved,
    };
    let Stack { role, function, .. } = deployed.stack.clone();
    let there = match &policy {
        Some(_) => Some(deployed.ours(&role, role.read(&deployed.reader).await)?),
        None => None,
    };
    let (rights, settings) = (Rights(role), Variables(function));
    let own = edit.clone();
    let merge = Box::new(move |live: &BTreeMap<String, String>| own.merged(live));
    let variables = VariablesSpec { merge, reserved, after: vec![rights.address()] };
    let parts: Vec<Box<dyn Part<Clients> + '_>> = vec![
        Box::new(Pair { resource: &rights, spec: policy.as_ref(), live: there.as_ref() }),
        Box::new(Pair { resource: &settings, spec: Some(&variables), live: Some(&live) }),
    ];
    let parts: Vec<_> = parts.into_iter().skip(usize::from(policy.is_none())).collect();
    let plan = Plan { changes: parts.iter().map(|part| part.diff()).collect() };
    session.report = plan.json();
    let printer = session.printer;
    printer.text(plan::text(&plan, printer.stdout_style()).trim_end());
    if plan.is_empty() {
        return Ok(Exit::Done);
    }
    let writer = deployed.writer(session);
    up::conclude(walk::up(&parts, &plan, &writer, false).await, &plan, &writer)?;
    drop(parts);
    if let Some(written) = policy {
        follow(session, &deployed, (&rights.0, written), &writer).await?;
    }
    told(printer, &edit, &merged, live.concurrency);
    Ok(Exit::Done)
}

/// How often somebody else may change what the role may do meanwhile.
const ROUNDS_OF_OTHERS: u32 = 5;

/// Looks again: somebody who has changed other settings meanwhile has written a policy for these,
/// and may have read what was there before ours. Whoever is last writes it for all of them.
async fn follow(
    session: &Session,
    deployed: &Deployed,
    (role, mut written): (&Role, Value),
    writer: &Writer,
) -> Result<(), Failure> {
    for _ in 0..ROUNDS_OF_OTHERS {
        let live = deployed.function().await?;
        let wanted = policy(deployed, &live.environment)?;
        if wanted == written {
            return Ok(());
        }
        session.printer.progress("Somebody else has just changed it: the role follows both.");
        let put = role.write_policy(ROLE_POLICY, &wanted, writer).await;
        put.map_err(|error| partly(error.at(&role.address()), writer))?;
        written = wanted;
    }
    let failure =
        Failure::new(Exit::Partly, "somebody else changes the role's rights all the time");
    Err(failure.hint("run `up`: it makes the role what the settings ask for"))
}

/// Says what came of it, and what is left to do.
fn told(
    printer: Printer,
    edit: &SettingsEdit,
    merged: &BTreeMap<String, String>,
    reserved: Option<i32>,
) {
    let left = problems(merged);
    printer.progress(if left.is_empty() {
        "The function runs with it."
    } else {
        "It is set, but the function cannot start before these are mended as well:"
    });
    left.iter().for_each(|problem| printer.progress(&format!("  {}", clean(problem))));
    if edit.touches("ACCESS_MODE") && for_strangers(merged).is_none() {
        let kept = reserved.map(|number| {
            format!("note: {number} requests at once stay reserved for it, until `up` is run")
        });
        kept.iter().for_each(|note| printer.progress(note));
    }
}

/// The role's one policy, for these variables.
fn policy(deployed: &Deployed, environment: &BTreeMap<String, String>) -> Result<Value, Failure> {
    let (account, names) = (&deployed.cloud.account, &deployed.names);
    rights::execution(account, names, environment).map_err(|error| usage(vec![error.to_string()]))
}

async fn list(session: &mut Session) -> Result<Exit, Failure> {
    let deployed = Deployed::connect(session).await?;
    let live = deployed.function().await?;
    let settings = rows(&live.environment);
    session.report.insert("settings".to_owned(), settings.iter().map(SettingRow::json).collect());
    let mut rows = vec![["SETTING", "VALUE", "OWNER"].map(str::to_owned)];
    rows.extend(settings.iter().map(|row| {
        let value = match (&row.value, &row.default) {
            (Some(value), _) => value.clone(),
            (None, Some(default)) => format!("(default: {default})"),
            (None, None) => String::new(),
        };
        [row.name.clone(), value, row.owner.to_owned()]
    }));
    session.printer.text(columns(&rows).trim_end());
    Ok(Exit::Done)
}

/// One setting, as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SettingRow {
    name: String,
    /// `None` where the default counts.
    value: Option<String>,
    /// `None` where the variable is not the function's own.
    default: Option<String>,
    owner: &'static str,
}

impl SettingRow {
    fn json(&self) -> Value {
        let Self { name, value, default, owner } = self;
        json!({"name": name, "value": value, "default": default, "owner": owner})
    }
}

/// All settings that mean something on Lambda, then what else is in the environment.
fn rows(environment: &BTreeMap<String, String>) -> Vec<SettingRow> {
    let value = |name: &str| environment.get(name).map(|value| plan::shown(name, value));
    let ours = VARIABLES.iter().filter(|variable| !LOCAL.contains(&variable.name));
    let ours = ours.map(|variable| SettingRow {
        name: variable.name.to_owned(),
        value: value(variable.name),
        default: Some(default(variable)),
        owner: if OWNED.contains(&variable.name) { "stack" } else { "operator" },
    });
    let known = |name: &str| VARIABLES.iter().any(|v| v.name == name && !LOCAL.contains(&name));
    let others = environment.keys().filter(|name| !known(name)).map(|name| SettingRow {
        name: name.clone(),
        value: value(name),
        default: None,
        owner: "operator",
    });
    ours.chain(others).collect()
}

/// What counts on Lambda where nothing is set, without the README's marks.
fn default(variable: &Variable) -> String {
    match variable.name {
        "ACCESS_MODE" => "key".to_owned(),
        "RATE_LIMIT_STORE" => "dynamodb".to_owned(),
        _ => variable.default.replace('`', ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_merged_and_checked_as_a_whole() {
        let live = variables(&[("RATE_LIMIT_STORE", "dynamodb"), ("LOG_LEVEL", "warn")]);
        let set = |pairs: &[(&str, &str)]| SettingsEdit {
            set: variables(pairs),
            ..SettingsEdit::default()
        };
        let merged = set(&[("FALLBACK_ON", "rate_limit")]).merged(&live).unwrap();
        let edit = [
            ("FALLBACK_ON", "rate_limit"),
            ("LOG_LEVEL", "warn"),
            ("RATE_LIMIT_STORE", "dynamodb"),
        ];
        assert_eq!(merged, variables(&edit));
        let unset =
            SettingsEdit { unset: ["LOG_LEVEL".to_owned()].into(), ..SettingsEdit::default() };
        assert_eq!(unset.merged(&live).unwrap(), variables(&[("RATE_LIMIT_STORE", "dynamodb")]));
        // One that is good alone, and not with what is there.
        let problems = set(&[("ACCESS_MODE", "organization")]).merged(&live).unwrap_err();
        assert!(problems[0].contains("ALLOWED_ORGANIZATIONS"), "{problems:?}");
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let rows = rows(&variables(&[("PROXY_KEYS", "a:00,b:11")]));
        let row = rows.iter().find(|row| row.name == "PROXY_KEYS").unwrap();
        assert_eq!(row.value.as_deref(), Some("(hidden)"));
    }

    #[test]
    fn every_setting_of_lambda_has_a_line_and_an_owner() {
        let rows = rows(&variables(&[("RATE_LIMIT_STORE", "dynamodb"), ("AWS_X", "y")]));
        assert_eq!(rows.len(), VARIABLES.len() - LOCAL.len() + 1);
        let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
        assert_eq!(row("RATE_LIMIT_STORE").owner, "stack");
        let mode = row("ACCESS_MODE");
        assert_eq!((&mode.value, mode.default.as_deref()), (&None, Some("key")));
        assert_eq!(row("AWS_X").default, None);
    }

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }
}
