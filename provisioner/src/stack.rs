//! Everything that we own in an account, declared on one screen.
//!
//! One line of the list and one value below it for each resource; what it is like stands in its own
//! file. The order is that of creation, removal goes backwards, and `after` says what has to be
//! there first. The walks over all of it are made of the list (`stack/list.rs`), so none can
//! forget a resource.

pub mod cost;
mod list;
mod look;
pub mod names;
pub mod policies;
mod remembered;
pub mod rights;
pub mod settings;

use std::collections::BTreeMap;

use crate::aws::values::{Attribute, Concurrency, PolicyName};
use crate::aws::{Account, Clients, CloudError, Reader};
use crate::engine;
use crate::resources::alarm::{Alarm, Watches};
use crate::resources::dashboard::Dashboard;
use crate::resources::function::Function;
use crate::resources::image::{Image, Wanted};
use crate::resources::log_group::LogGroup;
use crate::resources::permission::{Grant, Permission};
use crate::resources::repository::Repository;
use crate::resources::role::Role;
use crate::resources::stand_in::StandIn;
use crate::resources::surplus::Surplus;
use crate::resources::table::Table;
use crate::resources::url::Url;
use crate::stack::names::Names;
use policies::PolicyError;
use settings::Settings;

pub use crate::engine::part::{Found, Part};
pub use remembered::Remembered;

list::resources! {
    role: Role;
    repository: Repository;
    image: Image after repository;
    table: Table;
    log_group: LogGroup;
    function: Function after role, image, table, log_group;
    call_url: Permission after function;
    call_lambda: Permission after call_url;
    url: Url after call_lambda;
    dashboard: Dashboard after function;
    fallback_alarm: Alarm after dashboard;
    error_alarm: Alarm after dashboard;
    surplus: Surplus after function;
}

/// The one policy that is written into the role.
pub const ROLE_POLICY: PolicyName = PolicyName::new("BedrockAndDynamoDB");
/// Items of the table go after the moment in it.
pub const EXPIRY: Attribute = Attribute::new("expires_at");
/// Strangers may knock in `organization` mode: so many at once may be answered.
const STRANGERS: Concurrency = Concurrency::new(50);

/// What is reserved for the function where strangers may knock, unless somebody says otherwise.
#[must_use]
pub fn for_strangers(environment: &BTreeMap<String, String>) -> Option<Concurrency> {
    let mode = environment.get("ACCESS_MODE").map(String::as_str);
    (mode == Some("organization")).then_some(STRANGERS)
}

impl Stack {
    /// Declares the stack.
    ///
    /// # Errors
    ///
    /// Where a setting cannot be put into a policy as what it seems.
    pub fn new(
        settings: &Settings,
        account: &Account,
        past: &Remembered,
        image: Wanted,
    ) -> Result<Self, PolicyError> {
        let names = Names::from(&settings.name);
        let tags = names::tags(&settings.name, account);
        let environment = past.environment(settings, &names);

        let role = Role {
            trust: rights::trust(),
            policy_name: ROLE_POLICY,
            policy: rights::execution(account, &names, &environment)?,
            managed: account.policy_of_aws("service-role/AWSLambdaBasicExecutionRole"),
            boundary: settings.boundary.clone(),
            name: names.role.clone(),
            tags: tags.clone(),
        };
        let repository = Repository {
            policy: rights::repository(account, &names)?,
            lifecycle: rights::lifecycle(),
            name: names.repository,
            tags: tags.clone(),
        };
        let image = Image { repository: repository.name.clone(), wanted: image };
        let table = Table { name: names.table, expiry: EXPIRY, tags: tags.clone() };
        let log_group = LogGroup {
            function: names.function.clone(),
            retention: settings.retention,
            name: names.log_group,
            tags: tags.clone(),
        };
        let function = Function {
            repository: repository.name.clone(),
            image: image.wanted.digest().cloned(),
            architecture: past.architecture(settings),
            memory: settings.memory,
            timeout: settings.timeout,
            concurrency: settings.concurrency.or(for_strangers(&environment)),
            role: account.iam_arn(&format!("role/{}", names.role)),
            stand_in: StandIn::of(&role),
            environment,
            name: names.function,
            tags,
        };
        let surplus = Surplus::of(&image, &function);
        let allow = |grant| Permission { function: function.name.clone(), grant };
        let [call_url, call_lambda] = [Grant::CallUrl, Grant::CallFunction].map(allow);
        let alarm = |watches| Alarm::of(&function, watches, past.dashboard(settings));
        let [fallback_alarm, error_alarm] = Watches::ALL.map(alarm);
        let dashboard = Dashboard::of(&function, account, past.dashboard(settings));
        Ok(Self {
            role,
            repository,
            image,
            table,
            log_group,
            call_url,
            call_lambda,
            url: Url { function: function.name.clone() },
            dashboard,
            fallback_alarm,
            error_alarm,
            surplus,
            function,
        })
    }
}
