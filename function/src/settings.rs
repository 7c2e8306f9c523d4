//! How is the proxy set up? Reads the environment once and turns it into [`Settings`].
//!
//! [`Settings::from_vars`] is a plain function of what it is given, so that every rule can be
//! tested; [`Settings::from_env`] is the only place in the crate that looks at the environment.
//! Every problem is found before the first one is reported. Nothing here may open a file, resolve
//! a name or print, and no value that could hold a secret may appear in a problem.

mod access;
mod budget;
mod options;
mod platform;
mod prices;
mod value;
mod variables;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use etcetera::base_strategy::{BaseStrategy as _, choose_native_strategy};
use http::Uri;
use tracing::level_filters::LevelFilter;

use crate::access::AccessMode;
use crate::money::Prices;
use crate::translate::model::Prefix;

pub use crate::failover::FallbackOn;
pub use budget::{Budget, dollars};
pub use options::{Command, EXIT_USAGE, Form, Options, UsageError, Wanted, help, version};
pub use platform::{AwsVariables, Platform};
pub use variables::{VARIABLES, Variable};

use value::StoreKind;
use variables::Environment;

/// Everything that the operator decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Limits are remembered and obeyed.
    pub tracking: bool,
    /// Bedrock answers when Anthropic does not.
    pub fallback: bool,
    /// Up to here a limit is waited for; a longer one falls back and is remembered.
    pub retry_threshold: Duration,
    /// The longest wait for a short limit.
    pub max_retry_wait: Duration,
    pub store: StoreSettings,
    /// How long a request waits for a read of a shared store. For a write, and for a proxy key that
    /// was not seen lately, it is four times as long.
    pub store_patience: Duration,
    /// `https`, or `http` on a loopback host. The path is a prefix for every request: `/`, or one
    /// without a slash at its end.
    pub upstream_url: Uri,
    pub fallback_on: FallbackOn,
    /// How old the proof may be that Anthropic accepts a credential.
    pub proof_max_age: Duration,
    /// In the order in which they are tried; empty means the region of the AWS SDK's own chain.
    pub regions: Vec<String>,
    /// `None` chooses, per model, the nearest that it has.
    pub profile_prefix: Option<Prefix>,
    /// A client's model name → Bedrock model id, profile id or ARN.
    pub model_map: BTreeMap<String, String>,
    /// What Bedrock costs.
    pub prices: Prices,
    /// How much it may be.
    pub budget: Budget,
    pub access: AccessMode,
    /// The operator may rehearse the fallback.
    pub drill: bool,
    /// A loopback address where access is open, unless `ACCESS_OPEN_ANYWHERE` allows another.
    pub listen: SocketAddr,
    /// Where a local server shows its figures, other than where it listens.
    pub listen_metrics: Option<SocketAddr>,
    pub log_level: LevelFilter,
}

/// Where limits and proofs are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreSettings {
    /// A DynamoDB table of this name, which other instances share.
    Dynamo(String),
    /// A file, which outlives the process.
    Embedded(PathBuf),
    /// Gone when the process ends.
    Memory,
}

/// Everything that is wrong with the settings, one line per problem.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .lines.join("\n"))]
pub struct Problems {
    lines: Vec<String>,
}

impl Settings {
    /// Reads the environment of this process.
    ///
    /// # Errors
    ///
    /// All [`Problems`] at once.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
    pub fn from_env(options: Options) -> Result<Self, Problems> {
        let data_dir = choose_native_strategy().ok().map(|home| home.data_dir());
        Self::from_vars(std::env::vars_os(), options, data_dir)
    }

    /// Reads `vars` as the environment, with `options` from the command line on top.
    ///
    /// `data_dir` is the platform's directory for data, `None` where there is no home.
    ///
    /// # Errors
    ///
    /// All [`Problems`] at once.
    pub fn from_vars(
        vars: impl IntoIterator<Item = (OsString, OsString)>,
        options: Options,
        data_dir: Option<PathBuf>,
    ) -> Result<Self, Problems> {
        let mut env = Environment::new(vars);
        env.refuse_misspellings();
        let store = store(&mut env, data_dir);
        let listen = listen(&mut env, options);
        let access = access::read(&mut env, &store, listen);
        let budget = budget::read(&mut env, &store);
        let settings = Self {
            tracking: env.read("RATE_LIMIT_TRACKING_ENABLED", value::boolean).unwrap_or(true),
            fallback: env.read("BEDROCK_FALLBACK_ENABLED", value::boolean).unwrap_or(true),
            retry_threshold: seconds(&mut env, "RETRY_THRESHOLD_SECONDS", 30, (0, SIX_HOURS)),
            max_retry_wait: seconds(&mut env, "MAX_RETRY_WAIT_SECONDS", 10, (0, 60)),
            store,
            store_patience: env
                .read("RATE_LIMIT_STORE_TIMEOUT_MS", |text| value::milliseconds(text, (50, 60_000)))
                .unwrap_or(Duration::from_millis(250)),
            upstream_url: env
                .read("ANTHROPIC_UPSTREAM_URL", value::upstream_url)
                .unwrap_or_else(|| Uri::from_static("https://api.anthropic.com")),
            fallback_on: env.read("FALLBACK_ON", value::fallback_on).unwrap_or_default(),
            proof_max_age: seconds(&mut env, "BEDROCK_PROOF_MAX_AGE_SECONDS", 900, (1, SIX_HOURS)),
            regions: env.read("BEDROCK_REGIONS", value::regions).unwrap_or_default(),
            profile_prefix: env.read("BEDROCK_PROFILE_PREFIX", value::prefix),
            model_map: env.read("BEDROCK_MODEL_MAP", value::model_map).unwrap_or_default(),
            prices: Prices {
                given: env.read("BEDROCK_PRICES", prices::given).unwrap_or_default(),
                multiplier: env
                    .read("BEDROCK_PRICE_MULTIPLIER", prices::multiplier)
                    .unwrap_or_default(),
            },
            budget,
            access,
            drill: env.read("DRILL_ENABLED", value::boolean).unwrap_or(true),
            listen: listen.1,
            listen_metrics: listen_metrics(&mut env, listen),
            log_level: env.read("LOG_LEVEL", value::log_level).unwrap_or(LevelFilter::INFO),
        };
        let lines = env.into_problems();
        if lines.is_empty() { Ok(settings) } else { Err(Problems { lines }) }
    }
}

/// The longest time that a limit is remembered, in seconds.
const SIX_HOURS: u32 = 6 * 60 * 60;

fn seconds(env: &mut Environment, name: &str, default: u32, bounds: (u32, u32)) -> Duration {
    let seconds = env.read(name, |text| value::seconds(text, bounds));
    Duration::from_secs(seconds.unwrap_or(default).into())
}

/// Chooses the store: on AWS Lambda the shared one; a file only where there is a place for it.
fn store(env: &mut Environment, data_dir: Option<PathBuf>) -> StoreSettings {
    let path = env.read_path("RATE_LIMIT_STORE_PATH");
    let table = env.read("RATE_LIMIT_TABLE_NAME", value::table_name);
    let usual =
        if env.is_set(platform::RUNTIME_API) { StoreKind::Dynamo } else { StoreKind::Embedded };
    match env.read("RATE_LIMIT_STORE", value::store).unwrap_or(usual) {
        StoreKind::Dynamo => {
            StoreSettings::Dynamo(table.unwrap_or_else(|| "claude-proxy-rate-limits".to_owned()))
        }
        StoreKind::Memory => StoreSettings::Memory,
        StoreKind::Embedded => {
            let default = || Some(data_dir?.join("claude-proxy").join("limits.redb"));
            if let Some(path) = path.or_else(default) {
                return StoreSettings::Embedded(path);
            }
            env.problem(
                "RATE_LIMIT_STORE_PATH is not set and there is no home directory to put the file \
                 in: name a file, or write RATE_LIMIT_STORE=memory"
                    .into(),
            );
            StoreSettings::Memory
        }
    }
}

/// Chooses the address to listen on, and names what has chosen it.
fn listen(env: &mut Environment, options: Options) -> (&'static str, SocketAddr) {
    let from_env = env.read("LISTEN_ADDRESS", value::address);
    let (name, address) = match options.listen {
        Some(text) => ("--listen", env.check("--listen", &text, value::address)),
        None => ("LISTEN_ADDRESS", from_env),
    };
    (name, address.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))))
}

/// Chooses the address where figures are shown; `name` has chosen the other one.
fn listen_metrics(
    env: &mut Environment,
    (name, clients): (&str, SocketAddr),
) -> Option<SocketAddr> {
    let address = env.read("LISTEN_METRICS", value::address)?;
    let meet = |a: SocketAddr, b: SocketAddr| a.ip() == b.ip() || a.ip().is_unspecified();
    let same_port = address.port() == clients.port() && address.port() != 0;
    if same_port && (meet(address, clients) || meet(clients, address)) {
        env.problem(format!(
            "LISTEN_METRICS is {address}, where clients are answered ({name}): write an address of \
             its own, such as `127.0.0.1:9464`"
        ));
    }
    Some(address)
}
