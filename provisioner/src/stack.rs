//! Everything that we own in an account, declared on one screen.
//!
//! The order of the fields is the order of creation; removal goes backwards. Whoever walks over the
//! stack takes it apart by name, so a resource that is forgotten somewhere does not compile.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::cloud::{CloudError, Reader};
use crate::image::Architecture;
use crate::names::{Account, Foreign, Names, Ownership, Tags};
use crate::plan::{Address, Change, Danger, Plan};
use crate::policies::PolicyError;
use crate::resource::{Resource, State};
use crate::resources::function::{Function, FunctionLive};
use crate::resources::image::{Image, Wanted};
use crate::resources::log_group::LogGroup;
use crate::resources::permission::{Grant, Permission};
use crate::resources::repository::Repository;
use crate::resources::role::Role;
use crate::resources::table::Table;
use crate::resources::url::Url;
use crate::rights;
use crate::settings::{Concurrency, Settings};

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    pub role: Role,
    pub repository: Repository,
    pub image: Image,
    pub table: Table,
    pub log_group: LogGroup,
    pub function: Function,
    pub call_url: Permission,
    pub call_lambda: Permission,
    pub url: Url,
}

/// What was once decided and holds until it is decided otherwise; read from the deployed function.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Remembered {
    pub environment: BTreeMap<String, String>,
    pub architecture: Option<Architecture>,
}

/// Strangers may knock in this mode: so many at once may be answered.
const ORGANIZATION_CONCURRENCY: Concurrency = Concurrency::new(50);

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
        let tags = Tags::new(&settings.name, account);
        let environment = environment(settings, past, &names);
        let organization = environment.get("ACCESS_MODE").is_some_and(|m| m == "organization");
        let basic = "service-role/AWSLambdaBasicExecutionRole";
        Ok(Self {
            role: Role {
                name: names.role.clone(),
                trust: rights::trust(),
                policy_name: "BedrockAndDynamoDB",
                policy: rights::execution(account, &names, &environment)?,
                managed: format!("arn:{}:iam::aws:policy/{basic}", account.partition),
                boundary: settings.boundary.clone(),
                tags: tags.clone(),
            },
            repository: Repository {
                name: names.repository.clone(),
                policy: rights::repository(account, &names)?,
                lifecycle: rights::lifecycle(),
                tags: tags.clone(),
            },
            table: Table { name: names.table, expiry: "expires_at", tags: tags.clone() },
            log_group: LogGroup {
                name: names.log_group,
                retention: settings.retention,
                tags: tags.clone(),
            },
            function: Function {
                name: names.function.clone(),
                repository: names.repository.clone(),
                image: image.digest().cloned(),
                architecture: architecture(settings, past),
                memory: settings.memory,
                timeout: settings.timeout,
                concurrency: settings
                    .concurrency
                    .or(organization.then_some(ORGANIZATION_CONCURRENCY)),
                role: account.iam_arn(&format!("role/{}", names.role)),
                environment,
                tags,
            },
            image: Image { repository: names.repository, wanted: image },
            call_url: Permission { function: names.function.clone(), grant: Grant::CallUrl },
            call_lambda: Permission {
                function: names.function.clone(),
                grant: Grant::CallFunction,
            },
            url: Url { function: names.function },
        })
    }

    /// Reads all of it, at once.
    ///
    /// # Errors
    ///
    /// The first answer that could not be had: what is unknown is not taken for absent.
    pub async fn observe(&self, cloud: &Reader) -> Result<Observed, CloudError> {
        let Self {
            role,
            repository,
            image,
            table,
            log_group,
            function,
            call_url,
            call_lambda,
            url,
        } = self;
        let read = tokio::try_join!(
            read(role, cloud),
            read(repository, cloud),
            read(image, cloud),
            read(table, cloud),
            read(log_group, cloud),
            read(function, cloud),
            read(call_url, cloud),
            read(call_lambda, cloud),
            read(url, cloud),
        )?;
        let (role, repository, image, table, log_group, function, call_url, call_lambda, url) =
            read;
        Ok(Observed {
            role,
            repository,
            image,
            table,
            log_group,
            function,
            call_url,
            call_lambda,
            url,
        })
    }

    /// Compares all of it with what is there.
    #[must_use]
    pub fn plan(&self, there: &Observed) -> Plan {
        let Self {
            role,
            repository,
            image,
            table,
            log_group,
            function,
            call_url,
            call_lambda,
            url,
        } = self;
        // A function that was there had an address that somebody may use.
        let new_url = there.function.is_some() && there.url.is_none();
        let prune = image.prune(&self.surplus(there));
        let changes = [
            role.diff(there.role.as_ref()),
            repository.diff(there.repository.as_ref()),
            image.diff(there.image.as_ref()),
            table.diff(there.table.as_ref()),
            log_group.diff(there.log_group.as_ref()),
            function.diff(there.function.as_ref()),
            call_url.diff(there.call_url.as_ref()),
            call_lambda.diff(there.call_lambda.as_ref()),
            url.diff(there.url.as_ref()).flag(Danger::ChangesUrl, new_url),
        ];
        Plan { changes: changes.into_iter().chain(prune).collect() }
    }

    /// The images that go once the function runs the wanted one.
    #[must_use]
    pub fn surplus(&self, there: &Observed) -> Vec<crate::image::Digest> {
        let deployed = there.function.as_ref().and_then(FunctionLive::digest);
        let live = there.image.as_ref();
        live.map_or_else(Vec::new, |live| self.image.surplus(live, deployed.as_ref()))
    }

    /// Looks at each resource in the order of creation: its address, and what is there of it.
    #[must_use]
    pub fn survey(&self, there: &Observed) -> Vec<Found> {
        let Self {
            role,
            repository,
            image,
            table,
            log_group,
            function,
            call_url,
            call_lambda,
            url,
        } = self;
        let mut found = vec![
            find(role, there.role.as_ref(), None),
            find(repository, there.repository.as_ref(), None),
            find(table, there.table.as_ref(), None),
            find(log_group, there.log_group.as_ref(), None),
            find(function, there.function.as_ref(), None),
        ];
        // What is part of another resource is whose that is.
        let (of_repository, of_function) = (found[1].foreign.clone(), found[4].foreign.clone());
        found.insert(2, find(image, there.image.as_ref(), of_repository));
        found.push(find(call_url, there.call_url.as_ref(), of_function.clone()));
        found.push(find(call_lambda, there.call_lambda.as_ref(), of_function.clone()));
        found.push(find(url, there.url.as_ref(), of_function.clone()));
        // Lambda makes the group for whichever function has the name.
        let untagged = there.log_group.as_ref().is_some_and(|live| live.tags.is_empty());
        if let Some(group) = found.get_mut(4).filter(|_| untagged) {
            group.foreign = of_function;
        }
        found
    }

    /// What whoever uses the stack needs to know of it.
    #[must_use]
    pub fn outputs(&self, there: &Observed) -> Map<String, Value> {
        let name = |there: bool, name: &str| there.then(|| name.to_owned());
        let outputs = json!({
            "url": there.url.as_ref().map(|live| live.url.clone()),
            "function": name(there.function.is_some(), &self.function.name),
            "table": name(there.table.is_some(), &self.table.name),
            "repository": there.repository.as_ref().map(|live| live.uri.clone()),
            "role": name(there.role.is_some(), &self.role.name),
            "log_group": name(there.log_group.is_some(), &self.log_group.name),
            "image": there.function.as_ref().map(|live| live.image.clone()),
        });
        outputs.as_object().cloned().unwrap_or_default()
    }
}

/// Merges what is remembered, what is asked for now, and what only the stack decides.
fn environment(settings: &Settings, past: &Remembered, names: &Names) -> BTreeMap<String, String> {
    let mut environment = past.environment.clone();
    let asked = settings.environment.iter();
    environment.extend(asked.map(|(key, value)| (key.to_owned(), value.to_owned())));
    environment.insert("RATE_LIMIT_STORE".to_owned(), "dynamodb".to_owned());
    environment.insert("RATE_LIMIT_TABLE_NAME".to_owned(), names.table.clone());
    environment
}

/// Which processors: those asked for, else those it runs on, else arm64.
#[must_use]
pub fn architecture(settings: &Settings, past: &Remembered) -> Architecture {
    settings.architecture.or(past.architecture).unwrap_or_default()
}

impl Remembered {
    /// What the deployed function of this name says.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub async fn read(settings: &Settings, cloud: &Reader) -> Result<Self, CloudError> {
        let name = Names::from(&settings.name).function;
        Ok(Function::find(&name, cloud).await?.map_or_else(Self::default, |live| Self::of(&live)))
    }

    /// What `live` says.
    #[must_use]
    pub fn of(live: &FunctionLive) -> Self {
        let architecture = live.architecture.parse().ok();
        Self { environment: live.environment.clone(), architecture }
    }
}

/// What is there of each resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    pub role: Option<<Role as Resource>::Live>,
    pub repository: Option<<Repository as Resource>::Live>,
    pub image: Option<<Image as Resource>::Live>,
    pub table: Option<<Table as Resource>::Live>,
    pub log_group: Option<<LogGroup as Resource>::Live>,
    pub function: Option<FunctionLive>,
    pub call_url: Option<<Permission as Resource>::Live>,
    pub call_lambda: Option<<Permission as Resource>::Live>,
    pub url: Option<<Url as Resource>::Live>,
}

/// What is known of one resource that may or may not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub address: Address,
    /// `None` if it is not there.
    pub state: Option<State>,
    /// Why it is not ours, if it is not.
    pub foreign: Option<Foreign>,
    /// How it differs from what is wanted.
    pub change: Change,
}

fn find<R: Resource>(resource: &R, live: Option<&R::Live>, parent: Option<Foreign>) -> Found {
    let foreign = live.and_then(|live| match resource.ownership(live) {
        Ownership::Ours => parent,
        Ownership::Foreign(foreign) => Some(foreign),
    });
    Found {
        address: resource.address(),
        state: live.map(|live| resource.state(live)),
        foreign,
        change: resource.diff(live),
    }
}

async fn read<R: Resource>(resource: &R, cloud: &Reader) -> Result<Option<R::Live>, CloudError> {
    Box::pin(resource.read(cloud)).await.map_err(|error| error.at(&resource.address()))
}
