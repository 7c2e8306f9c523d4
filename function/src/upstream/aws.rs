//! What does the machine say about AWS? Region, credentials and the one HTTP client, found once
//! and shared by every AWS service.
//!
//! Nothing here is decided per service: retries and time limits are the business of each client.

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};

use super::{CONNECT_TIMEOUT, sdk};

/// The AWS settings of this machine.
#[derive(Debug)]
pub struct Aws {
    pub(crate) config: SdkConfig,
}

impl Aws {
    /// Reads the settings; no call is made. Where they name no region, it is `other`.
    pub async fn load(other: Option<&str>) -> Self {
        // Not at the instance's own address too: off AWS that takes seconds to fail.
        let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
            .or_else(ProfileFileRegionProvider::new())
            .region()
            .await
            // An empty variable counts as unset.
            .filter(|region| !region.as_ref().is_empty())
            .or_else(|| other.map(|name| Region::new(name.to_owned())));
        let config = aws_config::defaults(BehaviorVersion::latest())
            .http_client(sdk::client())
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).build())
            .region(region)
            .load()
            .await;
        Self { config }
    }

    /// The region of the settings.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.config.region().map(AsRef::as_ref)
    }
}

impl From<SdkConfig> for Aws {
    fn from(config: SdkConfig) -> Self {
        Self { config }
    }
}
