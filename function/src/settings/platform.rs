//! Is this AWS Lambda, and what does it say of itself?
//!
//! These variables are the platform's, not the operator's: they are in no table, and nobody can
//! spell them wrong.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

/// The Lambda service, as it introduces itself to the process (AWS Lambda Developer Guide, *Using
/// Lambda environment variables*).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Where the Runtime API is: `HOST:PORT`, in some emulators a whole URL.
    pub runtime_api: String,
    /// How many requests one process may answer at a time; at least 1.
    pub concurrency: usize,
    /// The function's name, under which metrics are kept.
    pub function_name: Option<String>,
}

impl Platform {
    /// Reads the environment of this process; `None` where it is a machine like any other.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "with `Settings`, what reads the environment")]
    pub fn from_env() -> Option<Self> {
        Self::from_vars(std::env::vars_os())
    }

    /// Reads `vars` as the environment.
    #[must_use]
    pub fn from_vars(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Option<Self> {
        let (mut runtime_api, mut concurrency, mut function_name) = (None, None, None);
        for (name, value) in vars {
            let Some(value) = value.to_str().map(str::trim).filter(|text| !text.is_empty()) else {
                continue;
            };
            match name.to_str() {
                Some(RUNTIME_API) => runtime_api = Some(value.to_owned()),
                Some("AWS_LAMBDA_MAX_CONCURRENCY") => concurrency = value.parse().ok(),
                Some("AWS_LAMBDA_FUNCTION_NAME") => function_name = Some(value.to_owned()),
                Some(_) | None => {}
            }
        }
        let concurrency = concurrency.unwrap_or(1).clamp(1, MOST_AT_A_TIME);
        Some(Self { runtime_api: runtime_api?, concurrency, function_name })
    }
}

/// What the environment says to the AWS SDK; a blank variable counts as unset, which the SDK does
/// not know of most. Some of the values are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AwsVariables(BTreeMap<String, String>);

impl AwsVariables {
    /// Reads the environment of this process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "with `Settings`, what reads the environment")]
    pub fn from_env() -> Self {
        let text = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok().filter(|name| name.starts_with("AWS_"))?;
            Some((name, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// The value of a variable that says something.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Whether a variable is set to nothing.
    #[must_use]
    pub fn is_blank(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|value| value.trim().is_empty())
    }
}

impl fmt::Debug for AwsVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// The variable that decides.
pub(super) const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// More than this no execution environment is given.
const MOST_AT_A_TIME: usize = 1000;
