//! What do the AWS settings say of whoever runs this? Read as the SDK reads them, so that what is
//! wrong in them is told by its file and line, and not found out by a call that fails.

use aws_runtime::env_config::file::EnvConfigFiles;
use aws_runtime::env_config::section::EnvConfigSections;
use aws_runtime::env_config::source;
use aws_types::os_shim_internal::{Env, Fs};

use super::fault::NONE_FOUND;
use super::{CloudError, Kind};
use crate::engine::words::quoted;

/// The profile that counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Profile {
    /// Empty where nobody named one.
    name: String,
    logs_in: Option<Login>,
}

/// How somebody with this profile logs in, by its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Login {
    /// `sso_session` or `sso_start_url`.
    Sso,
    /// `login_session`, which `aws login` writes.
    Console,
}

/// How many profiles are named to somebody who has misspelt one.
const NAMED: usize = 8;

impl Profile {
    /// Reads the profile `named` on the command line, else that of `AWS_PROFILE`, else the default.
    ///
    /// # Errors
    ///
    /// Where a file cannot be understood, or has no such profile.
    pub(super) async fn read(named: Option<&str>) -> Result<Self, CloudError> {
        let env = Env::real();
        let wrong = |error: &dyn std::fmt::Display| {
            let message =
                format!("the AWS settings cannot be read: {}", quoted(&error.to_string()));
            let cure = "mend that line; `aws configure list` reads the same files";
            CloudError::new(Kind::Credentials, message).cured_by(cure)
        };
        let found = source::load(&env, &Fs::real(), &EnvConfigFiles::default()).await;
        let found = found.map_err(|error| wrong(&error))?;
        let all = EnvConfigSections::parse(found).map_err(|error| wrong(&error))?;
        let variable = env.get("AWS_PROFILE").ok().filter(|name| !name.is_empty());
        let name = named.map(str::to_owned).or(variable).unwrap_or_default();
        let profile = match name.as_str() {
            "" => all.get_profile("default"),
            name => all.get_profile(name),
        };
        if profile.is_none() && !["", "default"].contains(&name.as_str()) {
            return Err(missing(&name, all.profiles()));
        }
        let source = profile.and_then(|profile| profile.get("source_profile"));
        if let Some(source) = source.filter(|source| all.get_profile(source).is_none()) {
            let error = missing(source, all.profiles());
            let message = format!("{}, where {name} takes its credentials from", error.message);
            return Err(CloudError { message, ..error });
        }
        let has = |key: &str| profile.is_some_and(|profile| profile.get(key).is_some());
        let logs_in = match () {
            () if has("login_session") => Some(Login::Console),
            () if has("sso_session") || has("sso_start_url") => Some(Login::Sso),
            () => None,
        };
        Ok(Self { name, logs_in })
    }

    /// Says of a failure which profile it was, and how to log in with that.
    pub(super) fn explain(&self, mut error: CloudError) -> CloudError {
        if !matches!(error.kind, Kind::Credentials | Kind::Denied | Kind::Unreachable) {
            return error;
        }
        error.spot.profile.clone_from(&self.name);
        if error.kind != Kind::Credentials || error.code.is_some() {
            return error;
        }
        let option = match self.name.as_str() {
            "" => String::new(),
            name => format!(" --profile {name}"),
        };
        match self.logs_in {
            Some(Login::Sso) => {
                // One line, with the command in it.
                let message = "the AWS SSO session has expired, or there is none";
                let message = format!("{message}: aws sso login{option}");
                CloudError::new(Kind::Credentials, message).cured_by("")
            }
            Some(Login::Console) => {
                let profile = if self.name.is_empty() { "default" } else { &self.name };
                let message = format!(
                    "the profile {profile} logs in by `aws login`, which keeps credentials where \
                     only the AWS CLI finds them"
                );
                let cure = format!(
                    "hand them over: eval \"$(aws configure export-credentials{option} --format \
                     env)\", and run it without --profile and AWS_PROFILE"
                );
                CloudError { message, ..error }.cured_by(cure)
            }
            None if error.message == NONE_FOUND && !self.name.is_empty() => {
                let message = format!("{NONE_FOUND} for the profile {}", self.name);
                error.spot.profile.clear();
                CloudError { message, ..error }
            }
            None => error,
        }
    }
}

fn missing<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> CloudError {
    let mut others: Vec<String> = all.map(quoted).collect();
    others.sort_unstable();
    let more = if others.len() > NAMED { ", …" } else { "" };
    others.truncate(NAMED);
    let cure = match others.is_empty() {
        true => "no profile is there at all: aws configure sso makes one".to_owned(),
        false => format!("there are: {}{more}", others.join(", ")),
    };
    let message = format!("the AWS settings have no profile {}", quoted(name));
    CloudError::new(Kind::Credentials, message).cured_by(cure)
}
