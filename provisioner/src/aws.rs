//! How is the account reached? Clients for a [`Reader`], which cannot write, and a [`Writer`].
//!
//! Credentials, region and endpoints come from the AWS SDK's standard chain. Whatever is waited
//! for takes its time from [`Pace`], so that tests need no patience.

mod account;
mod calls;
mod clients;
mod credentials;
pub(crate) mod direct;
mod endpoint;
mod error;
mod fault;
mod hint;
mod kinds;
mod pages;
mod profile;
pub mod regions;
mod spot;
pub mod values;

use std::time::{Duration, SystemTime};

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_sts::config::ProvideCredentials as _;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

use crate::engine::words::quoted;
use crate::engine::{self, Changed, Say};

pub use account::{Account, Room};
pub use clients::Clients;
pub(crate) use clients::is_question;

use calls::Calls;
use clients::{Notes, ReadOnly};
use credentials::Once;
pub(crate) use error::call;
pub(crate) use pages::{MOST_PAGES, endless, pages};
use profile::Profile;
use spot::Seeing;
use values::AccountId;

pub use crate::engine::{CloudError, Kind, Pace, Stop};
pub(crate) use crate::engine::{OrAbsent, Wait};

/// Asks AWS, and cannot do anything else.
pub type Reader = engine::Reader<Clients>;
/// Changes the account.
pub type Writer = engine::Writer<Clients>;

/// Where to look, as far as the command line says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    pub region: Option<String>,
    pub profile: Option<String>,
}

/// The account, and the way to it.
#[derive(Debug, Clone)]
pub struct Cloud {
    config: SdkConfig,
    /// Who asks, as an ARN.
    pub caller: String,
    pub account: Account,
    pace: Pace,
    calls: Option<Calls>,
}

/// How long a connection may take; an answer may take `READ_TIMEOUT`.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// How often a question is asked when AWS is busy or a connection breaks. What changes something is
/// tried again by [`Writer::persist`] alone, which says so.
const ATTEMPTS: u32 = 6;

/// The first question of all tells whether there is a way to AWS; it is not asked as often.
const FIRST_ATTEMPTS: u32 = 3;

impl Cloud {
    /// Finds out who is asking, and where. Every call is told to `calls`, if anybody wants that.
    ///
    /// # Errors
    ///
    /// Without a region, credentials or a way to AWS.
    pub async fn connect(
        place: &ConnectOptions,
        pace: Pace,
        calls: Option<Say>,
    ) -> Result<Self, CloudError> {
        environment()?;
        let profile = Profile::read(place.profile.as_deref()).await?;
        let config = configure(place, pace).await?;
        endpoint::check(&config)?;
        let calls = calls.map(Calls);
        let first =
            RetryConfig::standard().with_max_attempts(FIRST_ATTEMPTS).with_initial_backoff(pace.0);
        let sts = aws_sdk_sts::config::Builder::from(&config).retry_config(first);
        let sts = sts.interceptor(Seeing);
        let sts = calls.iter().fold(sts, |sts, calls| sts.interceptor(calls.clone()));
        let caller = aws_sdk_sts::Client::from_conf(sts.build()).get_caller_identity().send();
        let caller = call("STS", "GetCallerIdentity", caller).await;
        let caller = caller.map_err(|error| profile.explain(nowhere(error)))?;
        let partition = caller.arn().and_then(|arn| arn.split(':').nth(1)).unwrap_or("aws");
        let account = Account {
            id: caller.account().unwrap_or_default().to_owned(),
            region: config.region().map(Region::to_string).unwrap_or_default(),
            partition: partition.to_owned(),
        };
        let caller = caller.arn().unwrap_or_default().to_owned();
        Ok(Self { config, caller, account, pace, calls })
    }

    /// The account `id` in the region of `place`, on whoever's word names it: nobody is asked.
    ///
    /// # Errors
    ///
    /// If no region is set.
    pub async fn unseen(id: &AccountId, place: &ConnectOptions) -> Result<Account, CloudError> {
        Ok(Account::unseen(id, region(place).await?.as_ref()))
    }

    /// When the credentials end, if they do.
    pub(crate) async fn expiry(&self) -> Option<SystemTime> {
        let provider = self.config.credentials_provider()?;
        provider.provide_credentials().await.ok()?.expiry()
    }

    /// Where AWS keeps its public list of prices.
    #[must_use]
    pub fn price_list(&self) -> String {
        endpoint::price_list(&self.config, &self.account.partition)
    }

    /// A way in that refuses to send anything but questions.
    #[must_use]
    pub fn reader(&self) -> Reader {
        let clients =
            Clients::new(&self.config, &self.account.partition, self.calls.as_ref(), None);
        Reader::new(clients, self.pace)
    }

    /// A way in that may change things, until `stop` says otherwise.
    #[must_use]
    pub fn writer(&self, say: Say, stop: Stop) -> Writer {
        let changed = Changed::default();
        let notes = Notes(changed.clone(), stop.clone());
        let clients =
            Clients::new(&self.config, &self.account.partition, self.calls.as_ref(), Some(&notes));
        Writer::new(clients, self.reader(), changed, (say, stop))
    }
}

/// Says of a host that was not reached that its region may not be one.
fn nowhere(error: CloudError) -> CloudError {
    let region = error.spot.region.clone();
    let named = error.kind == Kind::Unreachable && error.spot.host.contains(&region);
    if !named || region.is_empty() || regions::is_known(&region) {
        return error;
    }
    error.cured_by(format!(
        "{region} may be no region: look at --region, AWS_REGION and the AWS settings"
    ))
}

/// The region that is named, or set, without asking anybody.
async fn region(place: &ConnectOptions) -> Result<Region, CloudError> {
    let region = place.region.clone().map(Region::new);
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &place.profile {
        profile = profile.profile_name(name);
    }
    // Not at the instance's own address too: off AWS that takes seconds to fail.
    let region = RegionProviderChain::first_try(region)
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(profile.build());
    let region = region.region().await;
    let region = region.ok_or_else(|| CloudError::new(Kind::NoRegion, "no AWS region is set"))?;
    regions::parse(region.as_ref()).map_err(|why| CloudError::new(Kind::NoRegion, why))?;
    Ok(region)
}

/// Settles where to ask, as whom, and how patiently.
async fn configure(place: &ConnectOptions, pace: Pace) -> Result<SdkConfig, CloudError> {
    let region = region(place).await?;
    trust()?;
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let retry = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS)
        .with_initial_backoff(pace.0)
        .with_max_backoff(pace.0 * 20);
    let timeouts =
        TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).read_timeout(READ_TIMEOUT);
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http.clone())
        .retry_config(retry)
        .timeout_config(timeouts.build())
        .region(region.clone());
    if let Some(name) = &place.profile {
        // Keys in the environment would win otherwise, and with them perhaps another account.
        let provider =
            ProviderConfig::without_region().with_region(Some(region)).with_http_client(http);
        let keys = ProfileFileCredentialsProvider::builder().configure(&provider);
        let keys = keys.profile_name(name).build();
        loader = loader.profile_name(name).credentials_provider(keys);
    }
    Ok(Once::within(Box::pin(loader.load()).await))
}

/// What is no text is as good as not set to the SDK: another account or region would be asked.
#[expect(clippy::disallowed_methods, reason = "all of AWS's are looked at, before any is read")]
fn environment() -> Result<(), CloudError> {
    let wrong = std::env::vars_os().find(|(name, value)| {
        name.to_str().is_some_and(|name| name.starts_with("AWS_")) && value.to_str().is_none()
    });
    wrong.map_or(Ok(()), |(name, _)| {
        let message = format!("the variable {} is no text in UTF-8", name.to_string_lossy());
        Err(CloudError::new(Kind::Credentials, message).cured_by("set it anew, or unset it"))
    })
}

/// Whether this machine trusts anybody: without a certificate no connection could be made.
fn trust() -> Result<(), CloudError> {
    let found = rustls_native_certs::load_native_certs();
    if !found.certs.is_empty() {
        return Ok(());
    }
    let why = found.errors.first().map_or_else(
        || "there is no file of certificates".to_owned(),
        |error| quoted(&error.to_string()),
    );
    let message =
        format!("this machine trusts no certificate authority, so TLS is impossible: {why}");
    let cure = "install the system's certificates (ca-certificates), or mend SSL_CERT_FILE";
    Err(CloudError::new(Kind::Unreachable, message).cured_by(cure))
}
