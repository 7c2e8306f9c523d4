//! What does the machine say about AWS? Region, credentials and the one HTTP client, found once
//! and shared by every AWS service.
//!
//! Nothing here is decided per service: retries and time limits are the business of each client.

use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_types::retry::ReconnectMode;

use super::credentials::Showable;
use super::{CONNECT_TIMEOUT, sdk};
use crate::settings::AwsVariables;

/// The AWS settings of this machine.
#[derive(Debug)]
pub struct Aws {
    pub(crate) config: SdkConfig,
    pub(crate) variables: AwsVariables,
}

impl Aws {
    /// Reads the settings; no call is made. Where they name no region, it is `other`.
    pub async fn load(other: Option<&str>) -> Self {
        let variables = AwsVariables::from_env();
        let usual = variables.is_blank("AWS_PROFILE").then_some("default");
        let mut named = ["AWS_REGION", "AWS_DEFAULT_REGION"].into_iter();
        let named = named.find_map(|name| variables.get(name)).map(str::to_owned);
        let region = match named {
            Some(named) => Some(Region::new(named)),
            // Not at the instance's own address too: off AWS that takes seconds to fail.
            None => {
                let profile = ProfileFileRegionProvider::builder();
                let profile = usual.map_or_else(
                    || profile.build(),
                    |name| ProfileFileRegionProvider::builder().profile_name(name).build(),
                );
                profile.region().await
            }
        };
        let region = region.filter(|region| !region.as_ref().is_empty());
        let region = region.or_else(|| other.map(|name| Region::new(name.to_owned())));
        let mut config = aws_config::defaults(BehaviorVersion::latest());
        if let Some(name) = usual {
            config = config.profile_name(name);
        }
        let config = config
            .http_client(sdk::client())
            .retry_config(keeping_connections(RetryConfig::disabled()))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
            .region(region)
            .load()
            .await;
        let found = config.credentials_provider().map(Showable::new);
        let mut config = config.to_builder();
        config.set_credentials_provider(found.map(SharedCredentialsProvider::new));
        // The SDK takes a blank variable for a value.
        if variables.is_blank("AWS_ENDPOINT_URL") {
            config.set_endpoint_url(None);
        }
        Self { config: config.build(), variables }
    }

    /// Where all services are, if the settings say so.
    pub(crate) fn endpoint(&self) -> Option<String> {
        let url = self.config.endpoint_url().filter(|url| !url.trim().is_empty());
        url.map(str::to_owned)
    }

    /// The region of the settings.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.config.region().map(AsRef::as_ref)
    }
}

/// The SDK does not know our connections: it cannot close one after a failure, only complain in the
/// log that it could not.
pub(crate) fn keeping_connections(retries: RetryConfig) -> RetryConfig {
    retries.with_reconnect_mode(ReconnectMode::ReuseAllConnections)
}

impl From<SdkConfig> for Aws {
    fn from(config: SdkConfig) -> Self {
        Self { config, variables: AwsVariables::default() }
    }
}
