//! Credentials are fetched once, whoever needs them: each time may be a question to a person, such
//! as for the digits of a second factor.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::{
    ProvideCredentials, Result as Provided, SharedCredentialsProvider, future,
};
use tokio::sync::Mutex;

/// Credentials that end sooner are fetched anew.
const REFRESH_BEFORE: Duration = Duration::from_secs(60);

/// Asks another provider, and remembers what that gave.
#[derive(Debug, Clone)]
pub(super) struct Once {
    inner: SharedCredentialsProvider,
    known: Arc<Mutex<Option<Credentials>>>,
}

impl Once {
    /// Puts it into `config`, between all clients and where credentials come from.
    pub(super) fn within(config: SdkConfig) -> SdkConfig {
        let Some(inner) = config.credentials_provider() else { return config };
        let once = Self { inner, known: Arc::default() };
        config.into_builder().credentials_provider(SharedCredentialsProvider::new(once)).build()
    }

    #[expect(clippy::disallowed_methods, reason = "credentials end by the clock of the machine")]
    async fn credentials(&self) -> Provided {
        let mut known = self.known.lock().await;
        let soon = SystemTime::now() + REFRESH_BEFORE;
        let good = |one: &&Credentials| one.expiry().is_none_or(|ends| ends > soon);
        if let Some(known) = known.as_ref().filter(good) {
            return Ok(known.clone());
        }
        let found = self.inner.provide_credentials().await?;
        *known = Some(found.clone());
        Ok(found)
    }
}

impl ProvideCredentials for Once {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}
