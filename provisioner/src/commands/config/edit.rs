//! What `config` changes, as parts that the engine walks over: the role's policy where rights are
//! touched, then the function's variables. All else of both stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::aws::values::Concurrency;
use crate::aws::{Clients, CloudError, Kind, Reader, Writer};
use crate::engine::plan::{Change, Danger, Fields};
use crate::engine::{Address, Ownership, Resource, document};
use crate::resources::function::{Function, FunctionLive};
use crate::resources::role::{Role, RoleLive};
use crate::stack::settings::{Environment, refusal};
use crate::stack::{ROLE_POLICY, for_strangers};

/// What decides which models the role may ask, and where.
const RIGHTS: [&str; 3] = ["BEDROCK_REGIONS", "BEDROCK_PROFILE_PREFIX", "BEDROCK_MODEL_MAP"];

/// What is to be different.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SettingsEdit {
    pub(super) set: BTreeMap<String, String>,
    pub(super) unset: BTreeSet<String>,
}

impl SettingsEdit {
    /// The whole environment, changed; all else stays. What is wrong already and stays so is no
    /// reason not to mend the rest.
    pub(super) fn merged(
        &self,
        live: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Vec<String>> {
        let strange = self.strange().filter(|name| !live.contains_key(*name));
        let strange: Vec<String> = strange.filter_map(|name| refusal(name)).collect();
        if !strange.is_empty() {
            return Err(strange);
        }
        let mut merged = live.clone();
        merged.retain(|name, _| !self.unset.contains(name));
        merged.extend(self.set.clone());
        let known = problems(live);
        let new: Vec<String> =
            problems(&merged).into_iter().filter(|problem| !known.contains(problem)).collect();
        if new.is_empty() { Ok(merged) } else { Err(new) }
    }

    /// What is to be unset, and is no setting.
    pub(super) fn strange(&self) -> impl Iterator<Item = &String> {
        self.unset.iter().filter(|name| refusal(name).is_some())
    }

    pub(super) fn touches(&self, name: &str) -> bool {
        self.set.contains_key(name) || self.unset.contains(name)
    }

    pub(super) fn touches_rights(&self) -> bool {
        RIGHTS.iter().any(|name| self.touches(name))
    }

    /// What is to be reserved for the function, so that strangers find no more than that.
    pub(super) fn reserves(
        &self,
        merged: &BTreeMap<String, String>,
        live: &FunctionLive,
    ) -> Option<Concurrency> {
        let unreserved = self.touches("ACCESS_MODE") && live.concurrency.is_none();
        for_strangers(merged).filter(|_| unreserved)
    }
}

/// What the function would say of these when it starts.
pub(super) fn problems(environment: &BTreeMap<String, String>) -> Vec<String> {
    Environment::check_whole(environment).err().unwrap_or_default()
}

/// What is never removed here.
fn stays() -> CloudError {
    CloudError::new(Kind::Other, "settings are changed here, and nothing is removed")
}

/// The one policy of this role; it is to be the given document.
pub(super) struct Rights(pub(super) Role);

impl Resource<Clients> for Rights {
    type Spec = Value;
    type Live = RoleLive;

    fn address(&self) -> Address {
        self.0.address()
    }

    fn ownership(&self, live: &RoleLive) -> Ownership {
        self.0.ownership(live)
    }

    fn diff(&self, spec: &Value, live: Option<&RoleLive>) -> Change {
        let before = live.and_then(|live| live.policies.get(ROLE_POLICY.as_str()));
        let before = before.cloned().unwrap_or_default();
        let widens = document::widens(&before, spec);
        let fields = Fields::new().field(format!("Policies.{ROLE_POLICY}"), before, spec.clone());
        Change::compare(self.address(), fields).flag(Danger::WidensRights, widens)
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<RoleLive>, CloudError> {
        self.0.read(cloud).await
    }

    async fn apply(
        &self,
        spec: &Value,
        _live: Option<RoleLive>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        self.0.write_policy(ROLE_POLICY, spec, cloud).await
    }

    async fn delete(&self, _live: RoleLive, _cloud: &Writer) -> Result<(), CloudError> {
        Err(stays())
    }
}

/// The variables of this function, and what is reserved for it.
pub(in crate::commands) struct Variables(pub(in crate::commands) Function);

/// What becomes of the variables that are there, or why nothing can.
type Merge =
    Box<dyn Fn(&BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Vec<String>>>;

pub(in crate::commands) struct VariablesSpec {
    pub(in crate::commands) merge: Merge,
    pub(in crate::commands) reserved: Option<Concurrency>,
    /// What goes first.
    pub(in crate::commands) after: Vec<Address>,
}

impl Resource<Clients> for Variables {
    type Spec = VariablesSpec;
    type Live = FunctionLive;

    fn address(&self) -> Address {
        self.0.address()
    }

    fn ownership(&self, live: &FunctionLive) -> Ownership {
        self.0.ownership(live)
    }

    fn refers_to(&self, spec: &VariablesSpec) -> Vec<Address> {
        spec.after.clone()
    }

    /// Before and after of each variable that differs, and what is reserved anew.
    fn diff(&self, spec: &VariablesSpec, live: Option<&FunctionLive>) -> Change {
        let before = live.map(|live| live.environment.clone()).unwrap_or_default();
        let after = (spec.merge)(&before).unwrap_or_else(|_| before.clone());
        let reserved = live.and_then(|live| live.concurrency);
        let fields = match spec.reserved {
            None => Fields::new(),
            Some(number) => {
                Fields::new().field("ReservedConcurrentExecutions", reserved, number.get())
            }
        };
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let fields = names.into_iter().fold(fields, |fields, name| {
            let (was, is) = (before.get(name), after.get(name));
            fields.field(format!("Environment.{name}"), was.cloned(), is.cloned())
        });
        Change::compare(self.address(), fields)
    }

    /// What somebody else has set meanwhile may not go with it.
    fn refuses_change(&self, spec: &VariablesSpec, live: &FunctionLive) -> Option<String> {
        let problems = (spec.merge)(&live.environment).err()?;
        Some(format!("somebody else has just changed it: {}", problems.join("; ")))
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<FunctionLive>, CloudError> {
        self.0.read(cloud).await
    }

    async fn apply(
        &self,
        spec: &VariablesSpec,
        live: Option<FunctionLive>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        if let Some(number) = spec.reserved
            && live.and_then(|live| live.concurrency) != Some(number.get())
        {
            Function::guarantee(&self.0.name, number, cloud).await?;
        }
        self.0.set_variables(|live| (spec.merge)(live).ok(), cloud).await
    }

    async fn delete(&self, _live: FunctionLive, _cloud: &Writer) -> Result<(), CloudError> {
        Err(stays())
    }
}
