//! How is the account reached? Clients for a [`Reader`], which cannot write, and a [`Writer`].
//!
//! Credentials, region and endpoints come from the AWS SDK's standard chain. Whatever is waited
//! for takes its time from [`Pace`], so that tests need no patience.

mod account;
mod calls;
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

use std::fmt;
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
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use crate::engine::words::quoted;
use crate::engine::{self, Changed, Say};

pub use account::{Account, Room};

use calls::Calls;
use credentials::Once;
use direct::Direct;
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
        let notes = Notes(changed.clone());
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

/// One client for each service.
#[derive(Clone)]
pub struct Clients {
    pub(crate) ecr: aws_sdk_ecr::Client,
    pub(crate) iam: aws_sdk_iam::Client,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
    pub(crate) lambda: aws_sdk_lambda::Client,
    /// For what has no client here.
    pub(crate) direct: Direct,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

/// A client of one service's crate.
macro_rules! client {
    ($service:ident, $config:expr, $calls:expr, $notes:expr) => {{
        let config = $service::config::Builder::from($config).interceptor(Seeing);
        let config = match $calls {
            Some(calls) => config.interceptor(Calls::clone(calls)),
            None => config,
        };
        let config = match $notes {
            Some(notes) => {
                config.interceptor(Notes::clone(notes)).retry_config(RetryConfig::disabled())
            }
            None => config.interceptor(ReadOnly),
        };
        $service::Client::from_conf(config.build())
    }};
}

impl Clients {
    fn new(
        config: &SdkConfig,
        partition: &str,
        calls: Option<&Calls>,
        notes: Option<&Notes>,
    ) -> Self {
        Self {
            ecr: client!(aws_sdk_ecr, config, calls, notes),
            iam: client!(aws_sdk_iam, config, calls, notes),
            dynamodb: client!(aws_sdk_dynamodb, config, calls, notes),
            logs: client!(aws_sdk_cloudwatchlogs, config, calls, notes),
            lambda: client!(aws_sdk_lambda, config, calls, notes),
            direct: Direct::new(config, partition, calls, notes),
        }
    }
}

/// Stops every call that is not a question, before it is sent.
#[derive(Debug)]
struct ReadOnly;

impl Intercept for ReadOnly {
    fn name(&self) -> &'static str {
        "ReadOnly"
    }

    fn read_before_serialization(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("an unknown call", Metadata::name);
        if is_question(operation) {
            return Ok(());
        }
        Err(format!("{operation} is no question, and a reader only asks").into())
    }
}

/// Notes when a change may have been made: a broken connection may have made one, a refusal has
/// not.
#[derive(Debug, Clone)]
struct Notes(Changed);

impl Intercept for Notes {
    fn name(&self) -> &'static str {
        "Notes"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let question = config.load::<Metadata>().is_some_and(|call| is_question(call.name()));
        // A server that failed may have done it before.
        let refused = context.response().is_some_and(|answer| {
            !answer.status().is_success() && !answer.status().is_server_error()
        });
        if !question && !refused {
            self.0.note();
        }
        Ok(())
    }
}

/// Whether a call only asks.
pub(crate) fn is_question(operation: &str) -> bool {
    ["Get", "List", "Describe", "BatchGet", "BatchCheck", "Scan", "Query", "Filter", "Simulate"]
        .iter()
        .any(|start| operation.starts_with(start))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::direct::{Ask, CLOUDWATCH};
    use super::*;

    #[tokio::test]
    async fn a_reader_sends_nothing_but_questions() {
        // Nobody listens there: what is sent fails otherwise.
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url("http://127.0.0.1:1")
            .build();
        let clients = Clients::new(&config, "aws", None, None);
        let refused = clients.lambda.delete_function().function_name("x").send().await;
        let refused = format!("{:?}", refused.unwrap_err());
        assert!(refused.contains("DeleteFunction is no question"), "{refused}");
        let asked = clients.lambda.get_function().function_name("x").send().await;
        let asked = format!("{:?}", asked.unwrap_err());
        assert!(!asked.contains("is no question"), "{asked}");
    }

    #[tokio::test]
    async fn what_is_asked_directly_obeys_the_same_rules() {
        let calls = Arc::new(AtomicUsize::new(0));
        let config = throttling(&calls);
        let asked = |action| Ask::action(CLOUDWATCH, action, &serde_json::json!({}));
        let reader = Clients::new(&config, "aws", None, None).direct;
        let refused = reader.call(asked("PutDashboard")).await.unwrap_err();
        assert!(refused.message.contains("PutDashboard is no question"), "{refused:?}");
        assert_eq!(calls.swap(0, Ordering::Relaxed), 0);
        reader.call(asked("GetDashboard")).await.unwrap_err();
        assert_eq!(calls.swap(0, Ordering::Relaxed), 3, "a question is asked again");
        // A change is, too, but by `persist` alone.
        let notes = Notes(Changed::default());
        let writer = Clients::new(&config, "aws", None, Some(&notes)).direct;
        let throttled = writer.call(asked("PutDashboard")).await.unwrap_err();
        assert_eq!(throttled.kind, Kind::Throttled);
        assert_eq!(calls.swap(0, Ordering::Relaxed), 1);
    }

    /// The settings of an AWS that has too much to do, and counts how often it is asked.
    fn throttling(calls: &Arc<AtomicUsize>) -> SdkConfig {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::clone(calls);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
                calls.fetch_add(1, Ordering::Relaxed);
                let head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 33";
                let body = r#"{"__type":"ThrottlingException"}"#;
                stream.write_all(format!("{head}\r\n\r\n{body}\n").as_bytes()).unwrap();
            }
        });
        let credentials = aws_sdk_lambda::config::Credentials::new("a", "b", None, None, "test");
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let retry = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://{address}"))
            .http_client(http)
            .credentials_provider(aws_sdk_lambda::config::SharedCredentialsProvider::new(
                credentials,
            ))
            .retry_config(retry)
            .build()
    }
}
