//! What do the AWS settings say of whoever runs this? Read as the SDK reads them, so that what is
//! wrong in them is told by its file and its name, and not found out by a call that fails.

mod chain;
mod files;

use aws_runtime::env_config::file::EnvConfigFiles;
use aws_runtime::env_config::section::EnvConfigSections;
use aws_runtime::env_config::source;
use aws_types::os_shim_internal::{Env, Fs};

use self::chain::{Broken, Chain, Source};
use self::files::Unreadable;
use super::fault::NONE_FOUND;
use super::{CloudError, Kind};
use crate::engine::words::quoted;

/// The profile that counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Profile {
    /// Empty where nobody named one.
    name: String,
    chain: Chain,
    /// What of the environment is there by half, in a sentence.
    half: Option<String>,
    /// The variable that says where a machine has its credentials from.
    place: Option<&'static str>,
}

/// How many profiles are named to somebody who has misspelt one.
const NAMED: usize = 8;

/// What is good for nothing without the other.
const PAIRS: [(&str, &str); 4] = [
    ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN"),
    ("AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID"),
];

/// What a machine may have, in the SDK's order.
const PLACES: [&str; 3] = [
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
];

impl Profile {
    /// Reads the profile `named` on the command line, else that of `AWS_PROFILE`, else the default.
    ///
    /// # Errors
    ///
    /// Where a file cannot be understood, has no such profile, or says of it what cannot work.
    pub(super) async fn read(named: Option<&str>) -> Result<Self, CloudError> {
        let env = Env::real();
        files::check(&env).map_err(|Unreadable { why, cure }| unreadable(&why, cure))?;
        let wrong = |error: &dyn std::fmt::Display| {
            let cure = "mend that line; `aws configure list` reads the same files";
            unreadable(&quoted(&error.to_string()), cure)
        };
        let found = source::load(&env, &Fs::real(), &EnvConfigFiles::default()).await;
        let found = found.map_err(|error| wrong(&error))?;
        let all = EnvConfigSections::parse(found).map_err(|error| wrong(&error))?;
        let set = |name: &str| env.get(name).ok().filter(|value| !value.is_empty());
        let name = named.map(str::to_owned).or_else(|| set("AWS_PROFILE")).unwrap_or_default();
        let chosen = if name.is_empty() { "default" } else { &name };
        let there = all.get_profile(chosen).is_some();
        if !there && chosen != "default" {
            return Err(missing(chosen, &all, &env));
        }
        // Keys in the environment come before a profile that is not named on the command line.
        let keys = set("AWS_ACCESS_KEY_ID").and(set("AWS_SECRET_ACCESS_KEY"));
        let counts = there && (named.is_some() || keys.is_none());
        let chain = if counts { chain::of(&all, chosen) } else { Ok(Chain::default()) };
        let chain = chain.map_err(|broken| match broken {
            Broken::Missing(source, by) => {
                let error = missing(&source, &all, &env);
                let message =
                    format!("{}, where {} takes its credentials from", error.message, quoted(&by));
                CloudError { message, ..error }
            }
            Broken::Wrong(name, why) => {
                let message = format!("the profile {} {why}", quoted(&name));
                CloudError::new(Kind::Credentials, message).cured_by(MEND)
            }
        })?;
        let half = PAIRS.iter().find(|(one, other)| set(one).is_some() && set(other).is_none());
        let half = half.map(|(one, other)| format!("{one} is set, but {other} is not"));
        let place = PLACES.into_iter().find(|name| set(name).is_some());
        Ok(Self { name, chain, half, place })
    }

    /// Says of a failure which profile it was, and how to log in with that.
    pub(super) fn explain(&self, mut error: CloudError) -> CloudError {
        if !matches!(error.kind, Kind::Credentials | Kind::Denied | Kind::Unreachable) {
            return error;
        }
        error.spot.profile.clone_from(&self.name);
        if error.kind == Kind::Credentials {
            return self.explain_credentials(error);
        }
        // Where nobody has been asked yet, it was on the way to credentials.
        let on_the_way = error.kind == Kind::Unreachable && error.spot.host.is_empty();
        if on_the_way { self.look(error) } else { error }
    }

    /// Says where a machine has its credentials from.
    fn look(&self, error: CloudError) -> CloudError {
        match self.place.filter(|_| self.chain.source == Source::Elsewhere) {
            Some(variable) => error.cured_by(format!("look at {variable}")),
            None => error,
        }
    }

    fn explain_credentials(&self, error: CloudError) -> CloudError {
        let asked = !error.spot.host.is_empty();
        let option = match self.name.as_str() {
            "" => String::new(),
            name => format!(" --profile {}", quoted(name)),
        };
        let export = format!(
            "hand them over: eval \"$(aws configure export-credentials{option} --format env)\", \
             and run it without --profile and AWS_PROFILE"
        );
        if error.code.is_some() && !asked && self.chain.second_factor {
            let message = format!("{}; the role wants a second factor", error.message);
            return CloudError { message, ..error }.cured_by(export);
        }
        if asked || error.code.is_some() {
            return error;
        }
        if error.cure.is_some() && self.chain.source != Source::Console {
            return self.look(error);
        }
        let profile = quoted(&self.chain.profile);
        match self.chain.source {
            Source::Sso => {
                // One line, with the command in it.
                let message = "the AWS SSO session has expired, or there is none";
                let message = format!("{message}: aws sso login{option}");
                CloudError::new(Kind::Credentials, message).cured_by("")
            }
            Source::Console => {
                let message = format!(
                    "the profile {profile} logs in by `aws login`, which keeps credentials where \
                     only the AWS CLI finds them"
                );
                CloudError { message, ..error }.cured_by(export)
            }
            Source::Process => error.cured_by(format!(
                "run the credential_process of the profile {profile} by hand: it has to print \
                 AWS's JSON"
            )),
            Source::WebIdentity => error
                .cured_by(format!("look at the web_identity_token_file of the profile {profile}")),
            Source::Machine => error.cured_by(format!(
                "the credential_source of the profile {profile} gives none here: name another"
            )),
            Source::Elsewhere | Source::Keys if error.message == NONE_FOUND => self.none(error),
            Source::Elsewhere | Source::Keys => self.look(error),
        }
    }

    /// Nobody has given any.
    fn none(&self, mut error: CloudError) -> CloudError {
        if let Some(half) = &self.half {
            let message = format!("{NONE_FOUND}: {half}");
            return CloudError { message, ..error }.cured_by("set both, or none of them");
        }
        if !self.name.is_empty() {
            error.spot.profile.clear();
            error.message = format!("{NONE_FOUND} for the profile {}", quoted(&self.name));
        }
        error
    }
}

const MEND: &str = "mend it in the AWS settings, or name another --profile";

fn unreadable(why: &str, cure: &str) -> CloudError {
    let message = format!("the AWS settings cannot be read: {why}");
    CloudError::new(Kind::Credentials, message).cured_by(cure)
}

fn missing(name: &str, all: &EnvConfigSections, env: &Env) -> CloudError {
    let mut others: Vec<String> = all.profiles().map(quoted).collect();
    others.sort_unstable();
    let more = if others.len() > NAMED { ", …" } else { "" };
    others.truncate(NAMED);
    let shown = quoted(name);
    let cure = match others.is_empty() {
        _ if files::nameless(env).iter().any(|one| one == name) => {
            format!("write [profile {shown}] in place of [{shown}] into the file of settings")
        }
        true => "no profile is there at all: aws configure sso makes one".to_owned(),
        false => format!("there are: {}{more}", others.join(", ")),
    };
    let message = format!("the AWS settings have no profile {shown}");
    CloudError::new(Kind::Credentials, message).cured_by(cure)
}
