//! Is this AWS Lambda, and what does it say of itself?
//!
//! These variables are the platform's, not the operator's: they are in no table, and nobody can
//! spell them wrong.

use std::ffi::OsString;

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

/// The variable that decides.
pub(super) const RUNTIME_API: &str = "AWS_LAMBDA_RUNTIME_API";

/// More than this no execution environment is given.
const MOST_AT_A_TIME: usize = 1000;
