//! What was once decided and holds until it is decided otherwise? There is no file: the deployed
//! function says it.

use std::collections::BTreeMap;

use crate::aws::Account;
use crate::aws::{CloudError, Reader, made_for};
use crate::engine::Address;
use crate::engine::Ownership;
use crate::image::Architecture;
use crate::resources::dashboard::Dashboard;
use crate::resources::function::{Function, FunctionLive};
use crate::stack::names::Names;
use crate::stack::settings::Settings;

/// What the deployed function says; nothing, if there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    pub environment: BTreeMap<String, String>,
    pub architecture: Option<Architecture>,
    /// There is a dashboard of ours.
    pub dashboard: bool,
}

impl Remembered {
    /// What the deployed function of this name says. Somebody else's is asked only to take it over.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub async fn read(
        settings: &Settings,
        account: &Account,
        cloud: &Reader,
    ) -> Result<Self, CloudError> {
        let name = Names::from(&settings.name).function;
        let tags = crate::stack::names::tags(&settings.name, account);
        let address = Address::new("lambda", &name);
        let function = made_for(address.clone(), Function::find(&name, cloud));
        let function = async { function.await.map_err(|error| error.at(&address)) };
        let dashboard = Dashboard::is_there(&name, account, &tags, cloud);
        let (function, dashboard) = tokio::try_join!(function, dashboard)?;
        let ours = |live: &FunctionLive| {
            live.is_image && (settings.adopt || tags.judge(&live.tags) == Ownership::Ours)
        };
        let past = function.filter(ours).map_or_else(Self::default, |live| Self::of(&live));
        Ok(Self { dashboard, ..past })
    }

    /// What `live` says.
    #[must_use]
    pub fn of(live: &FunctionLive) -> Self {
        let architecture = live.architecture.parse().ok();
        Self { environment: live.environment.clone(), architecture, dashboard: false }
    }

    /// Whether there is to be a dashboard with its alarms: as asked for, else as it is.
    #[must_use]
    pub fn dashboard(&self, settings: &Settings) -> bool {
        settings.dashboard.unwrap_or(self.dashboard)
    }

    /// Which processors: those asked for, else those it runs on, else arm64.
    #[must_use]
    pub fn architecture(&self, settings: &Settings) -> Architecture {
        settings.architecture.or(self.architecture).unwrap_or_default()
    }

    /// What is remembered, then what is asked for now, then what only the stack decides.
    pub(super) fn environment(
        &self,
        settings: &Settings,
        names: &Names,
    ) -> BTreeMap<String, String> {
        let mut environment = self.environment.clone();
        let asked = settings.environment.iter();
        environment.extend(asked.map(|(key, value)| (key.to_owned(), value.to_owned())));
        environment.insert("RATE_LIMIT_STORE".to_owned(), "dynamodb".to_owned());
        environment.insert("RATE_LIMIT_TABLE_NAME".to_owned(), names.table.clone());
        environment
    }
}
