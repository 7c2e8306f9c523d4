//! Where does a profile say that its credentials come from? As the SDK goes through it, so that
//! what is wrong is told before anybody is asked, by the names that stand in the files.

use aws_runtime::env_config::section::{EnvConfigSections, Profile};

use crate::engine::words::quoted;

/// Where credentials come from in the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Source {
    /// No profile says anything: the environment, or the machine.
    #[default]
    Elsewhere,
    Keys,
    /// `sso_session` or `sso_start_url`.
    Sso,
    /// `login_session`, which `aws login` writes.
    Console,
    /// `credential_process`.
    Process,
    /// `web_identity_token_file`.
    WebIdentity,
    /// `credential_source`.
    Machine,
}

/// What a profile says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) source: Source,
    /// The profile that says so.
    pub(super) profile: String,
    /// A role on the way wants a second factor.
    pub(super) second_factor: bool,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// There is no profile of this name; the one that takes its credentials from it.
    Missing(String, String),
    /// Of the profile with this name.
    Wrong(String, String),
}

/// What `credential_source` may be (AWS, *SDKs and Tools: assume role*).
const MACHINE: [&str; 3] = ["Environment", "Ec2InstanceMetadata", "EcsContainer"];

/// Goes through the profile `name`, which is there, to where its credentials come from.
///
/// # Errors
///
/// What is wrong on the way.
pub(super) fn of(all: &EnvConfigSections, name: &str) -> Result<Chain, Broken> {
    let (mut visited, mut next, mut second_factor) = (Vec::<String>::new(), name.to_owned(), false);
    loop {
        let Some(profile) = all.get_profile(&next) else {
            return Err(Broken::Missing(next, visited.pop().unwrap_or_default()));
        };
        let wrong = |why: String| Broken::Wrong(next.clone(), why);
        if visited.contains(&next) {
            let all = visited.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
            let why = format!("takes its credentials from itself, by way of {all}");
            return Err(wrong(why));
        }
        let has = |key: &str| profile.get(key).is_some();
        let gives_keys = !visited.is_empty() && keys(profile) == Ok(true);
        second_factor |= !gives_keys && has("mfa_serial");
        let chain = |source| Chain { source, profile: next.clone(), second_factor };
        if gives_keys {
            return Ok(chain(Source::Keys));
        }
        let takes_role = has("role_arn") && !has("web_identity_token_file");
        let other = match (profile.get("source_profile"), profile.get("credential_source")) {
            _ if !takes_role => None,
            (Some(_), Some(_)) => {
                let why = "has both source_profile and credential_source: one of them has to go";
                return Err(wrong(why.to_owned()));
            }
            (None, None) => {
                let why = "has role_arn, but neither source_profile nor credential_source";
                return Err(wrong(why.to_owned()));
            }
            (source, None) => source.filter(|source| *source != next),
            (None, Some(_)) => None,
        };
        let Some(other) = other.map(str::to_owned) else {
            let source = base(all, profile).map_err(wrong)?;
            return match visited.last().filter(|_| source == Source::Elsewhere) {
                Some(by) => {
                    let by = quoted(by);
                    Err(wrong(format!("has no credentials, and {by} takes its own from there")))
                }
                None => Ok(chain(source)),
            };
        };
        visited.push(std::mem::replace(&mut next, other));
    }
}

/// Where a profile that takes no role has its credentials from.
fn base(all: &EnvConfigSections, profile: &Profile) -> Result<Source, String> {
    if let Some(source) = profile.get("credential_source") {
        let (known, source) = (MACHINE.contains(&source), quoted(source));
        let why = format!("has credential_source = {source}; there are {}", MACHINE.join(", "));
        return if known { Ok(Source::Machine) } else { Err(why) };
    }
    let has = |key: &str| profile.get(key).is_some();
    if has("web_identity_token_file") {
        let why = || "has web_identity_token_file, but no role_arn".to_owned();
        return has("role_arn").then_some(Source::WebIdentity).ok_or_else(why);
    }
    if SSO.iter().any(|key| has(key)) {
        return sso(all, profile).map(|()| Source::Sso);
    }
    if has("login_session") {
        return Ok(Source::Console);
    }
    if has("credential_process") {
        return Ok(Source::Process);
    }
    keys(profile).map(|has| if has { Source::Keys } else { Source::Elsewhere })
}

/// Whether there are keys.
fn keys(profile: &Profile) -> Result<bool, String> {
    let [id, secret, token] = ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"]
        .map(|key| profile.get(key));
    match (id, secret) {
        (Some(_), Some(_)) => Ok(true),
        (Some(_), None) => Err("has aws_access_key_id, but no aws_secret_access_key".to_owned()),
        (None, Some(_)) => Err("has aws_secret_access_key, but no aws_access_key_id".to_owned()),
        (None, None) if token.is_some() => Err("has aws_session_token, but no keys".to_owned()),
        (None, None) => Ok(false),
    }
}

const SSO: [&str; 5] =
    ["sso_session", "sso_start_url", "sso_region", "sso_account_id", "sso_role_name"];

/// Whether all is there that a login by SSO needs, each at its place.
fn sso(all: &EnvConfigSections, profile: &Profile) -> Result<(), String> {
    let has = |key: &str| profile.get(key).is_some();
    match profile.get("sso_session") {
        None => {
            let missing = ["sso_start_url", "sso_region"].into_iter().find(|key| !has(key));
            missing.map_or(Ok(()), |key| Err(format!("has no {key}, and no sso_session")))?;
        }
        Some(session) => {
            if let Some(key) = ["sso_start_url", "sso_region"].into_iter().find(|key| has(key)) {
                return Err(format!("has {key} beside sso_session: it belongs into the session"));
            }
            let shown = quoted(session);
            let session = all.sso_session(session);
            let session = session.ok_or_else(|| {
                format!("names the sso_session {shown}, and there is no [sso-session {shown}]")
            })?;
            let missing =
                ["sso_start_url", "sso_region"].into_iter().find(|key| session.get(key).is_none());
            missing.map_or(Ok(()), |key| {
                Err(format!("names the sso_session {shown}, which has no {key}"))
            })?;
        }
    }
    let missing = ["sso_account_id", "sso_role_name"].into_iter().find(|key| !has(key));
    missing.map_or(Ok(()), |key| Err(format!("logs in by SSO, but has no {key}")))
}
