//! Everything that we own in an account, declared on one screen.
//!
//! What finds a resource follows from the stack's name alone ([`Stack::named`]); what it is to be
//! like is declared once it is known what is there ([`declare`]), so that nothing is insisted on
//! that was merely seen. A value names others by their value, and the order follows from that. The
//! walks over all of it are made of the list (`stack/list.rs`), so none can forget a resource.

pub mod cost;
mod list;
mod look;
pub mod names;
pub mod options;
pub mod policies;
pub mod rights;
pub mod settings;
pub mod template;

use std::collections::BTreeMap;

use crate::aws::values::{Attribute, Concurrency, PolicyName};
use crate::aws::{Account, Clients, CloudError, Reader};
use crate::engine::{self, Ownership, Resource as _};
use crate::resources::alarm::{Alarm, Watches};
use crate::resources::dashboard::{Dashboard, DashboardSpec};
use crate::resources::function::{Function, FunctionLive, FunctionSpec};
use crate::resources::image::{Image, ImageSpec};
use crate::resources::log_group::{LogGroup, LogGroupSpec};
use crate::resources::permission::Permission;
use crate::resources::policy::Grant;
use crate::resources::repository::{Repository, RepositorySpec};
use crate::resources::role::{Role, RoleSpec};
use crate::resources::stand_in::StandIn;
use crate::resources::surplus::{Surplus, SurplusSpec};
use crate::resources::table::{Table, TableSpec};
use crate::resources::template::{Entry, Templated, logical_name};
use crate::resources::url::{Url, UrlSpec};
use names::Names;
use options::{MEMORY, Options, RETENTION, TIMEOUT};
use policies::PolicyError;
use settings::Settings;

pub use crate::engine::part::{Found, Part};
pub use look::cure_of;

list::resources! {
    role: Role;
    repository: Repository;
    image: Image;
    table: Table;
    log_group: LogGroup;
    function: Function;
    call_url: Permission;
    call_lambda: Permission;
    url: Url;
    dashboard: Dashboard;
    fallback_alarm: Alarm;
    error_alarm: Alarm;
    near_cap_alarm: Alarm;
    used_up_alarm: Alarm;
    surplus: Surplus;
}

/// The one policy that is written into the role.
pub const ROLE_POLICY: PolicyName = PolicyName::new("BedrockAndDynamoDB");
/// Items of the table go after the moment in it.
pub const EXPIRY: Attribute = Attribute::new("expires_at");
const UNCOMPARED: &str = "the dashboard and the alarms, if there are any, stay as they are";
/// Strangers may knock in `organization` mode: so many at once may be answered.
const STRANGERS: Concurrency = Concurrency::new(50);

/// What is reserved for the function where strangers may knock, unless somebody says otherwise.
#[must_use]
pub fn for_strangers(environment: &BTreeMap<String, String>) -> Option<Concurrency> {
    let mode = environment.get("ACCESS_MODE").map(String::as_str);
    (mode == Some("organization")).then_some(STRANGERS)
}

/// A stack, and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    pub stack: Stack,
    pub spec: StackSpec,
    /// What the function will run with: what is insisted on, over what is there.
    pub environment: BTreeMap<String, String>,
    /// Why the settings cannot be put into a policy: then the role's stays as it is.
    pub trouble: Option<PolicyError>,
    /// What the plan and the ending have to say besides.
    pub notes: Vec<String>,
}

impl Stack {
    /// What finds everything of the stack `name`.
    #[must_use]
    pub fn named(name: &names::Name, account: &Account) -> Self {
        let (names, tags) = (Names::from(name), names::tags(name, account));
        let role = Role { name: names.role, tags: tags.clone() };
        let function = Function {
            repository: names.repository.clone(),
            role: role.clone(),
            name: names.function.clone(),
            tags: tags.clone(),
        };
        let allow = |grant| Permission { function: names.function.clone(), grant };
        let [fallback_alarm, error_alarm, near_cap_alarm, used_up_alarm] =
            Watches::ALL.map(|watch| Alarm::of(&function, watch));
        Self {
            repository: Repository { name: names.repository.clone(), tags: tags.clone() },
            image: Image { repository: names.repository.clone() },
            table: Table { name: names.table, tags: tags.clone() },
            log_group: LogGroup { name: names.log_group, function: names.function.clone(), tags },
            call_url: allow(Grant::CallUrl),
            call_lambda: allow(Grant::CallFunction),
            url: Url { function: names.function.clone() },
            dashboard: Dashboard::of(&function, account),
            surplus: Surplus { repository: names.repository, function: names.function },
            fallback_alarm,
            error_alarm,
            near_cap_alarm,
            used_up_alarm,
            role,
            function,
        }
    }

    /// That nothing is wanted of it.
    #[must_use]
    pub fn unwanted(self) -> Declaration {
        let (spec, environment) = (StackSpec::default(), BTreeMap::new());
        Declaration { stack: self, spec, environment, trouble: None, notes: Vec::new() }
    }
}

/// Declares what is wanted of the stack, where this is `there`.
#[must_use]
pub fn declare(
    asked: &Settings,
    account: &Account,
    there: &Observed,
    image: ImageSpec,
) -> Declaration {
    let stack = Stack::named(&asked.name, account);
    let insisted = asked.environment.insisted(&stack.table.name);
    let environment = over(there, &insisted);
    let usual = for_strangers(&environment);
    let options = Options::of(asked, &stack, there, usual);
    let names = Names::from(&asked.name);
    let policy = rights::execution(account, &names, &environment);
    let (policy, trouble) = policy.map_or_else(|why| (None, Some(why)), |it| (Some(it), None));
    let role = RoleSpec {
        trust: rights::trust(),
        policy_name: ROLE_POLICY,
        policy,
        managed: account.policy_of_aws("service-role/AWSLambdaBasicExecutionRole"),
        boundary: options.boundary.given(),
        marks: options.of_role(),
        about: rights::in_words(account, &environment),
    };
    let repository = rights::repository(account, &names).ok();
    let repository =
        repository.map(|policy| RepositorySpec { policy, lifecycle: rights::lifecycle() });
    let function = FunctionSpec {
        image: image.digest().cloned(),
        architecture: architecture(asked, &stack, there),
        memory: options.memory.given().unwrap_or(MEMORY),
        timeout: options.timeout.given().unwrap_or(TIMEOUT),
        concurrency: options.concurrency.given().or(usual),
        role: account.iam_arn(&format!("role/{}", stack.role.name)),
        stand_in: StandIn::of(&stack.role, &role),
        environment: insisted,
        uses: vec![stack.table.address(), stack.log_group.address()],
        marks: options.of_function(),
    };
    let url = UrlSpec {
        permissions: [stack.call_url.address(), stack.call_lambda.address()],
        had_another: there.call_lambda.is_some() && there.url.is_none(),
    };
    let watched = asked.dashboard.unwrap_or_else(|| has_dashboard(&stack, there)).then_some(());
    let of_cap = watched.filter(|()| settings::is_capped(&environment));
    let spec = StackSpec {
        role: Some(role),
        repository,
        surplus: surplus(&image, there),
        image: Some(image),
        table: Some(TableSpec { expiry: EXPIRY }),
        log_group: Some(LogGroupSpec {
            retention: options.retention.given().unwrap_or(RETENTION),
            marks: options.of_log_group(),
        }),
        function: Some(function),
        call_url: Some(()),
        call_lambda: Some(()),
        url: Some(url),
        dashboard: watched.map(|()| shown(&stack, account, of_cap.is_some())),
        fallback_alarm: watched,
        error_alarm: watched,
        near_cap_alarm: of_cap,
        used_up_alarm: of_cap,
    };
    let notes = there.unknown.iter().map(|why| format!("{UNCOMPARED}: {why}")).collect();
    Declaration { stack, spec, environment, trouble, notes }
}

/// What a dashboard shows: two alarms more where there is a cap on all users.
fn shown(stack: &Stack, account: &Account, capped: bool) -> DashboardSpec {
    let Stack { fallback_alarm, error_alarm, near_cap_alarm, used_up_alarm, .. } = stack;
    let alarms = [fallback_alarm, error_alarm].into_iter();
    let alarms = alarms.chain([near_cap_alarm, used_up_alarm].into_iter().filter(|_| capped));
    let arn = |alarm: &Alarm| account.arn("cloudwatch", &format!("alarm:{}", alarm.name()));
    DashboardSpec { alarms: alarms.map(arn).collect() }
}

/// What the function runs with once `insisted` is written over what is there.
fn over(there: &Observed, insisted: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = there.function.as_ref().map(|live| live.environment.clone()).unwrap_or_default();
    all.extend(insisted.clone());
    all
}

/// Which processors: those asked for, else those that ours runs on, else arm64.
#[must_use]
pub fn architecture(
    asked: &Settings,
    stack: &Stack,
    there: &Observed,
) -> crate::image::Architecture {
    let ours = |live: &&FunctionLive| stack.function.ownership(live) == Ownership::Ours;
    let deployed = there.function.as_ref().filter(ours);
    let deployed = deployed.and_then(|live| live.architecture.parse().ok());
    asked.architecture.or(deployed).unwrap_or_default()
}

fn has_dashboard(stack: &Stack, there: &Observed) -> bool {
    let live = there.dashboard.as_ref();
    live.is_some_and(|live| stack.dashboard.ownership(live) == Ownership::Ours)
}

fn surplus(image: &ImageSpec, there: &Observed) -> Option<SurplusSpec> {
    SurplusSpec::beyond(image.digest()?, there.image.as_ref()?)
}
