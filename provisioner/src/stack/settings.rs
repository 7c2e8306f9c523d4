//! What was asked for on the command line, checked before any call is made.
//!
//! Values are checked when they are made: one that exists is one that AWS takes. Nothing here reads
//! the environment, a file or an account.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use function::settings::{Options, Settings as FunctionSettings, VARIABLES};

use super::names::{Name, Names};
use super::options::Choice;
use super::policies::PolicyError;
use super::rights;
use crate::aws::Account;
use crate::aws::values::{Boundary, Concurrency, Memory, Retention, Timeout};
use crate::engine::words::quoted;
use crate::image::Architecture;

/// Everything that the person who runs a command decides about the stack. `None` is what counted
/// before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub name: Name,
    pub memory: Option<Choice<Memory>>,
    pub timeout: Option<Choice<Timeout>>,
    pub retention: Option<Choice<Retention>>,
    pub concurrency: Option<Choice<Concurrency>>,
    pub boundary: Option<Choice<Boundary>>,
    pub architecture: Option<Architecture>,
    pub dashboard: Option<bool>,
    pub environment: Environment,
    /// Take over what does not carry our tags.
    pub adopt: bool,
}

impl Settings {
    /// Nothing is asked for.
    #[must_use]
    pub const fn defaults(name: Name) -> Self {
        Self {
            name,
            memory: None,
            timeout: None,
            retention: None,
            concurrency: None,
            boundary: None,
            architecture: None,
            dashboard: None,
            environment: Environment(BTreeMap::new()),
            adopt: false,
        }
    }
}

/// Variables of the function, each with a name that it knows and a value that it takes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

/// What the stack itself decides; nobody else may set it.
pub const OWNED: [&str; 2] = ["RATE_LIMIT_STORE", "RATE_LIMIT_TABLE_NAME"];

/// What has a meaning on a machine only.
pub const LOCAL: [&str; 3] = ["LISTEN_ADDRESS", "LISTEN_METRICS", "RATE_LIMIT_STORE_PATH"];

/// What only the function on Lambda obeys; its own start checks the values.
const ON_LAMBDA: [&str; 3] = ["ACCESS_MODE", "ALLOWED_ORGANIZATIONS", "PROXY_KEYS"];

/// All that Lambda takes, in bytes of names and values as JSON (AWS, *Lambda quotas*).
pub const LARGEST_ENVIRONMENT: usize = 4096;

impl Environment {
    /// Checks `KEY=VALUE` words with the very code that the function starts with.
    ///
    /// # Errors
    ///
    /// One line for each problem, all at once. No line repeats what could be a secret.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut variables = BTreeMap::new();
        for word in words {
            match word.split_once('=') {
                Some((key, value)) if !key.is_empty() => {
                    let before = variables.insert(key.to_owned(), value.to_owned());
                    if before.is_some_and(|before| before != value) {
                        problems.push(format!("{} is said twice, and not the same", quoted(key)));
                    }
                }
                Some(_) | None => problems.push("a setting is written KEY=VALUE".to_owned()),
            }
        }
        let theirs = |key: &str| ![&OWNED[..], &LOCAL, &ON_LAMBDA].concat().contains(&key);
        let checked = variables.iter().filter(|(key, _)| theirs(key));
        let checked = checked.map(|(key, value)| (OsString::from(key), OsString::from(value)));
        // The embedded store wants a place; which one is not our business here.
        if let Err(found) =
            FunctionSettings::from_vars(checked, Options::default(), Some(PathBuf::from("/")))
        {
            problems.extend(found.to_string().lines().map(str::to_owned));
        }
        for key in variables.keys() {
            if let Some(problem) =
                refusal(key).filter(|_| !problems.iter().any(|p| p.starts_with(key)))
            {
                problems.push(problem);
            }
        }
        // What is too much alone is too much with the rest.
        problems.extend(check_size(&variables).err().into_iter().flatten());
        problems.extend(too_long(&variables).map(|error| error.to_string()));
        if problems.is_empty() { Ok(Self(variables)) } else { Err(problems) }
    }

    /// Checks the whole environment as the function on Lambda will, when it starts.
    ///
    /// # Errors
    ///
    /// One line for each problem.
    pub fn check_whole(environment: &BTreeMap<String, String>) -> Result<(), Vec<String>> {
        check_size(environment)?;
        Self::read_whole(environment).map(drop)
    }

    /// Reads the whole environment as the function on Lambda will, when it starts.
    ///
    /// # Errors
    ///
    /// One line for each problem.
    pub fn read_whole(
        environment: &BTreeMap<String, String>,
    ) -> Result<FunctionSettings, Vec<String>> {
        let on_lambda = [("AWS_LAMBDA_RUNTIME_API".into(), "127.0.0.1:9001".into())];
        let all = environment.iter().map(|(key, value)| (key.into(), value.into()));
        FunctionSettings::from_vars(all.chain(on_lambda), Options::default(), None)
            .map_err(|problems| problems.to_string().lines().map(str::to_owned).collect())
    }

    /// What the function is to have whatever is there: these, and what only the stack decides.
    #[must_use]
    pub fn insisted(&self, table: &str) -> BTreeMap<String, String> {
        let mut insisted = self.0.clone();
        insisted.insert("RATE_LIMIT_STORE".to_owned(), "dynamodb".to_owned());
        insisted.insert("RATE_LIMIT_TABLE_NAME".to_owned(), table.to_owned());
        insisted
    }

    /// Sets one of the function's variables to a value that was checked.
    pub fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Whether nothing bounds what Bedrock may cost, as far as the function can read its settings.
#[must_use]
pub fn is_uncapped(environment: &BTreeMap<String, String>) -> bool {
    let settings = Environment::read_whole(environment);
    settings.is_ok_and(|read| read.budget.user.are_none() && read.budget.total.are_none())
}

/// Whether there is a cap on what all users together may spend.
#[must_use]
pub fn is_capped(environment: &BTreeMap<String, String>) -> bool {
    Environment::read_whole(environment).is_ok_and(|read| !read.budget.total.are_none())
}

/// Whether the role's policy would be too long with these, wherever the stack is: in the region of
/// the shortest name, with the shortest name of its own. What is only a little too long is found
/// when the account is known.
fn too_long(variables: &BTreeMap<String, String>) -> Option<PolicyError> {
    let [id, region, partition] = ["0".repeat(12), "us-east-1".to_owned(), "aws".to_owned()];
    let names = Names::from(&"ab".parse::<Name>().ok()?);
    let policy = rights::execution(&Account { id, region, partition }, &names, variables);
    policy.err().filter(|error| matches!(error, PolicyError::TooLong { .. }))
}

/// Lambda counts the variables as the one object that they are on the wire.
fn check_size(environment: &BTreeMap<String, String>) -> Result<(), Vec<String>> {
    let size = serde_json::to_string(environment).map_or(usize::MAX, |text| text.len());
    let most = LARGEST_ENVIRONMENT;
    match size > most {
        true => {
            let problem = format!("all settings have {size} bytes as JSON; Lambda takes {most}");
            Err(vec![problem])
        }
        false => Ok(()),
    }
}

/// Why somebody may not set or unset this variable, if they may not.
#[must_use]
pub fn refusal(key: &str) -> Option<String> {
    if OWNED.contains(&key) {
        return Some(format!("{key} belongs to the stack: it cannot be set"));
    }
    if LOCAL.contains(&key) {
        return Some(format!("{key} means nothing on AWS Lambda"));
    }
    let known = VARIABLES.iter().any(|variable| variable.name == key) || ON_LAMBDA.contains(&key);
    (!known).then(|| format!("{key} is not a setting of the function"))
}
