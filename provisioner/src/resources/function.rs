//! The function itself: an image, by digest, with its settings.
//!
//! It is never made anew to apply a change, since its URL would go with it. What somebody set in
//! its environment stays, except for what the stack decides.

mod configure;
mod steps;

use std::collections::{BTreeMap, HashMap};

use aws_sdk_lambda::types::{
    Architecture as LambdaArchitecture, LastUpdateStatus, PackageType, State as LambdaState,
};
use serde_json::Value;

use crate::aws::values::{Concurrency, Memory, Timeout};
use crate::aws::{Clients, CloudError, Kind, OrAbsent as _, Reader, Wait, Writer, call};
use crate::engine::Address;
use crate::engine::plan::{Change, Danger, Fields};
use crate::engine::{Foreign, Marks, Ownership, Tags};
use crate::engine::{Resource, State};
use crate::image::{Architecture, Digest};
use crate::resources::policy;
use crate::resources::repository::Repository;
use crate::resources::role::Role;
use crate::resources::stand_in::StandIn;

/// The function of this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// Where its images lie.
    pub repository: String,
    pub role: Role,
    pub tags: Tags,
}

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionSpec {
    /// `None` keeps what is deployed.
    pub image: Option<Digest>,
    pub architecture: Architecture,
    pub memory: Memory,
    pub timeout: Timeout,
    /// `None` reserves nothing.
    pub concurrency: Option<Concurrency>,
    /// The role's ARN.
    pub role: String,
    pub stand_in: StandIn,
    /// The variables that are insisted on; all others stay as they are at the moment of writing.
    pub environment: BTreeMap<String, String>,
    /// What else has to be there before it: what a variable names, where its lines go.
    pub uses: Vec<Address>,
    pub marks: Marks,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FunctionLive {
    pub arn: String,
    /// Host, name and digest, as Lambda has it.
    pub image: String,
    pub is_image: bool,
    pub architecture: String,
    pub memory: i32,
    pub timeout: i32,
    pub concurrency: Option<i32>,
    pub role: String,
    /// The id of the role that has the wanted name now; `None` if there is none.
    pub role_id: Option<String>,
    pub environment: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    /// What strangers have written into its policy, by the id of the statement.
    pub strangers: BTreeMap<String, Value>,
    pub state: String,
    /// Why it is in that state, in Lambda's words.
    pub state_reason: String,
    pub last_update: String,
    /// Guards an update against somebody else's in between.
    pub revision: Option<String>,
}

/// The tag that says for which role, of those that have had its name, the variables are encrypted.
const ROLE_ID_TAG: &str = "claude-proxy:role-id";

/// The id of a role that is still to be made.
const NEW_ROLE: &str = "(that of the new role)";

const FAILED: &str = "Failed";

/// How long Lambda may take to prepare an image, in seconds: big ones have taken 18 minutes.
const PREPARE_TIMEOUT: f64 = 1200.0;

impl FunctionLive {
    /// Whether the role of its name is another one than it was made with, or gone; `None` where it
    /// does not say.
    #[must_use]
    pub fn has_another_role(&self) -> Option<bool> {
        let known = self.tags.get(ROLE_ID_TAG)?;
        Some(self.role_id.as_ref() != Some(known))
    }

    /// The digest that is deployed.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        self.image.rsplit_once('@').and_then(|(_, digest)| digest.parse().ok())
    }

    fn failed(&self) -> bool {
        self.state == FAILED || self.last_update == FAILED
    }

    fn changing(&self) -> bool {
        ["Pending", "Deleting"].contains(&self.state.as_str()) || self.last_update == "InProgress"
    }
}

impl Function {
    /// The address of the function `name`.
    #[must_use]
    pub fn address_of(name: &str) -> Address {
        Address::new("lambda", name)
    }

    fn uri(&self, spec: &FunctionSpec) -> Option<String> {
        spec.image.as_ref().map(|digest| format!("{}@{digest}", self.repository))
    }

    fn is_deployed(&self, spec: &FunctionSpec, live: &FunctionLive) -> bool {
        let Some(digest) = &spec.image else { return true };
        let ours = live.image.rsplit_once('@').is_some_and(|(repository, _)| {
            repository.rsplit_once('/').is_some_and(|(_, name)| name == self.repository)
        });
        ours && live.digest().as_ref() == Some(digest)
    }

    fn code_fields(&self, spec: &FunctionSpec, live: &FunctionLive) -> Fields {
        let state = live.failed().then_some(FAILED);
        let before = live.image.rsplit_once('/').map(|(_, image)| image.to_owned());
        let fields = match self.is_deployed(spec, live) {
            true => Fields::new(),
            false => Fields::new().field("Code.ImageUri", before, self.uri(spec)),
        };
        let architecture = spec.architecture.name();
        fields.field("Architectures", live.architecture.as_str(), architecture).field(
            "State",
            state,
            state.map(|_| "Active"),
        )
    }

    fn new_fields(&self, spec: &FunctionSpec) -> Fields {
        let none = BTreeMap::new();
        Fields::new()
            .field("Code.ImageUri", (), self.uri(spec))
            .field("Architectures", (), spec.architecture.name())
            .field("MemorySize", (), spec.memory.get())
            .field("Timeout", (), spec.timeout.get())
            .field("Role", (), spec.role.as_str())
            .field("ReservedConcurrentExecutions", (), spec.concurrency.map(Concurrency::get))
            .at_least("Environment", &none, spec.variables())
            .at_least("Tags", &none, self.tags.pairs())
    }

    /// Looks for a function of this name.
    ///
    /// # Errors
    ///
    /// If it cannot be read whole, its tags included.
    pub async fn find(name: &str, cloud: &Reader) -> Result<Option<FunctionLive>, CloudError> {
        let get = cloud.clients().lambda.get_function().function_name(name).send();
        let Some(found) = call("Lambda", "GetFunction", get).await.or_absent()? else {
            return Ok(None);
        };
        if let Some(error) = found.tags_error() {
            let why =
                format!("its tags cannot be read, so it may not be ours: {}", error.message());
            let error = CloudError::new(Kind::Foreign, why);
            return Err(CloudError { service: "Lambda", action: "ListTags", ..error });
        }
        let Some(configuration) = &found.configuration else { return Ok(None) };
        let get = |text: Option<&str>| text.unwrap_or_default().to_owned();
        let architecture = configuration.architectures().first().map(LambdaArchitecture::as_str);
        Ok(Some(FunctionLive {
            arn: get(configuration.function_arn()),
            image: get(found.code().and_then(|code| code.image_uri())),
            is_image: configuration.package_type() == Some(&PackageType::Image),
            architecture: get(architecture),
            memory: configuration.memory_size().unwrap_or_default(),
            timeout: configuration.timeout().unwrap_or_default(),
            concurrency: found.concurrency().and_then(|found| found.reserved_concurrent_executions),
            role: get(configuration.role()),
            role_id: None,
            state: get(configuration.state().map(LambdaState::as_str)),
            state_reason: get(configuration
                .state_reason()
                .or(configuration.last_update_status_reason())),
            last_update: get(configuration.last_update_status().map(LastUpdateStatus::as_str)),
            revision: configuration.revision_id.clone(),
            environment: sorted(configuration.environment().and_then(|all| all.variables())),
            tags: sorted(found.tags()),
            strangers: BTreeMap::new(),
        }))
    }

    /// What strangers have written into its policy.
    async fn strangers(&self, cloud: &Reader) -> Result<BTreeMap<String, Value>, CloudError> {
        Ok(policy::strangers(policy::statements(&self.name, cloud).await?))
    }

    /// All tags; without `role_id` those that say which role it works under are left out.
    fn owned_tags(&self, spec: &FunctionSpec, role_id: Option<&str>) -> BTreeMap<String, String> {
        let role = role_id.map(|id| (ROLE_ID_TAG.to_owned(), id.to_owned()));
        self.tags.with(&spec.marks).into_iter().chain(role).collect()
    }
}

impl FunctionSpec {
    fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.environment.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    fn configuration_fields(&self, live: &FunctionLive) -> Fields {
        Fields::new()
            .field("MemorySize", live.memory, self.memory.get())
            .field("Timeout", live.timeout, self.timeout.get())
            .field("Role", live.role.as_str(), self.role.as_str())
            .at_least("Environment", &live.environment, self.variables())
    }

    fn concurrency_field(&self, live: &FunctionLive) -> Fields {
        let spec = self.concurrency.map(Concurrency::get);
        Fields::new().field("ReservedConcurrentExecutions", live.concurrency, spec)
    }
}

impl Resource<Clients> for Function {
    type Spec = FunctionSpec;
    type Live = FunctionLive;

    fn address(&self) -> Address {
        Self::address_of(&self.name)
    }

    fn ownership(&self, live: &FunctionLive) -> Ownership {
        if !live.is_image {
            let why = "it is not made of an image, and a function cannot become one";
            return Ownership::Foreign(Foreign::Unfit(why));
        }
        self.tags.judge(&live.tags)
    }

    fn refers_to(&self, spec: &FunctionSpec) -> Vec<Address> {
        let images = Address::new("image", &self.repository);
        let role = Address::new("iam-role", &self.role.name);
        let mut first = vec![role, Repository::address_of(&self.repository), images];
        first.extend(spec.uses.iter().cloned());
        first
    }

    fn diff(&self, spec: &FunctionSpec, live: Option<&FunctionLive>) -> Change {
        let Some(live) = live else {
            let FunctionSpec { memory, timeout, architecture, .. } = spec;
            let name = architecture.name();
            let about = format!("the proxy: {name}, {memory} MiB, {timeout} s for a request");
            return Change::create(self.address(), self.new_fields(spec)).about(about);
        };
        let role_id = live.role_id.as_deref().unwrap_or(NEW_ROLE);
        let fields = self
            .code_fields(spec, live)
            .and(spec.configuration_fields(live))
            .and(spec.concurrency_field(live))
            .and(strangers(live))
            .at_least("Tags", &live.tags, self.tags.pairs())
            .at_least("Tags", &live.tags, [(ROLE_ID_TAG, role_id)])
            .marks(&live.tags, &spec.marks);
        let change = Change::compare(self.address(), fields);
        let change = change.flag(Danger::Exposes, !live.strangers.is_empty());
        match live {
            live if live.failed() => change.note(live.state_reason.clone()),
            _ if live.has_another_role() == Some(true) => change.note(
                "its role is another one of the same name, which cannot decrypt its variables yet",
            ),
            _ => change,
        }
    }

    fn state(&self, live: &FunctionLive) -> State {
        match live {
            live if live.failed() => State::Failed,
            live if live.changing() => State::Changing,
            // An idle function is as good as a busy one: the next request wakes it.
            _ => State::Ready,
        }
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<FunctionLive>, CloudError> {
        let Some(live) = Self::find(&self.name, cloud).await? else { return Ok(None) };
        let role_id = Role::id(&self.role.name, cloud);
        let (role_id, strangers) = tokio::try_join!(role_id, self.strangers(cloud))?;
        Ok(Some(FunctionLive { role_id, strangers, ..live }))
    }

    async fn apply(
        &self,
        spec: &FunctionSpec,
        live: Option<FunctionLive>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        // The role may be newer than what was read.
        let role_id = Role::id(&self.role.name, cloud.reader()).await?;
        let role_id = role_id.as_deref();
        let live = match live {
            None => {
                self.create(spec, role_id, cloud).await?;
                Self::sound(&self.name, cloud).await?
            }
            Some(live) if live.changing() => Self::settled(&self.name, cloud).await?,
            Some(live) => live,
        };
        for id in live.strangers.keys() {
            policy::remove(&self.name, id, cloud).await?;
        }
        let live = self.note_wishes(spec, live, cloud).await?;
        let live = self.update_code(spec, live, cloud).await?;
        let live = self.renew_grant(spec, live, role_id, cloud).await?;
        let live = self.update_configuration(spec, live, cloud).await?;
        self.tag(&live, self.owned_tags(spec, role_id), cloud).await?;
        self.reserve(spec, &live, cloud).await
    }

    async fn delete(&self, _live: FunctionLive, cloud: &Writer) -> Result<(), CloudError> {
        let delete = async || {
            let delete = cloud.clients().lambda.delete_function().function_name(&self.name).send();
            call("Lambda", "DeleteFunction", delete).await.or_absent()
        };
        cloud.persist(delete).await?;
        let look = async || {
            Ok(match self.read(cloud.reader()).await? {
                None => Wait::Done(()),
                Some(_) => Wait::For("function is being deleted".to_owned()),
            })
        };
        cloud.until(PREPARE_TIMEOUT, look).await
    }
}

/// That what strangers have written goes.
fn strangers(live: &FunctionLive) -> Fields {
    let all = live.strangers.iter();
    all.fold(Fields::new(), |fields, (id, statement)| {
        fields.field(format!("Policy.{id}"), statement.clone(), Value::Null)
    })
}

fn sorted(map: Option<&HashMap<String, String>>) -> BTreeMap<String, String> {
    map.cloned().unwrap_or_default().into_iter().collect()
}
