//! Credentials are fetched once, whoever needs them: each time may be a question to a person, such
//! as for the digits of a second factor. And they are looked at before the SDK writes them into
//! headers as they are: a line end that came along out of a file would be a panic there.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::SdkConfig;
use aws_config::identity::IdentityCache;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{
    ProvideCredentials, Result as Provided, SharedCredentialsProvider, future,
};
use tokio::sync::Mutex;

/// Credentials that end sooner are fetched anew.
const REFRESH_BEFORE: Duration = Duration::from_secs(60);

/// How long credentials may take: a program that gives them may ask a person first.
const PATIENCE: Duration = Duration::from_secs(120);

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
        // Who waits for them does so longer than they may take: then it is told what was late.
        let cache = IdentityCache::lazy().load_timeout(PATIENCE * 2).build();
        let config = config.into_builder().identity_cache(cache);
        config.credentials_provider(SharedCredentialsProvider::new(once)).build()
    }

    #[expect(clippy::disallowed_methods, reason = "credentials end by the clock of the machine")]
    async fn credentials(&self) -> Provided {
        let mut known = self.known.lock().await;
        let soon = SystemTime::now() + REFRESH_BEFORE;
        let good = |one: &&Credentials| one.expiry().is_none_or(|ends| ends > soon);
        if let Some(known) = known.as_ref().filter(good) {
            return Ok(known.clone());
        }
        let found = tokio::time::timeout(PATIENCE, self.inner.provide_credentials()).await;
        let found = found.map_err(|_| CredentialsError::provider_timed_out(PATIENCE))?;
        let found = showable(found?)?;
        *known = Some(found.clone());
        Ok(found)
    }
}

/// The same without the white space around them, if headers can hold them.
fn showable(found: Credentials) -> Provided {
    let shown = |secret: &str| {
        let secret = secret.trim();
        let good = secret.bytes().all(|byte| byte.is_ascii_graphic());
        good.then(|| secret.to_owned()).ok_or_else(|| {
            CredentialsError::invalid_configuration(
                "the credentials hold characters that no AWS credentials have",
            )
        })
    };
    let token = found.session_token().map(shown).transpose()?.filter(|token| !token.is_empty());
    let (id, secret) = (shown(found.access_key_id())?, shown(found.secret_access_key())?);
    Ok(Credentials::new(id, secret, token, found.expiry(), "trimmed"))
}

impl ProvideCredentials for Once {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}
