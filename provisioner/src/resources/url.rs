//! The URL that clients are configured with.
//!
//! It stays the same as long as it is not deleted, so it is only ever changed in place. Whoever
//! calls is checked by the function itself; nothing is answered for other origins' scripts.

use aws_sdk_lambda::types::{Cors, FunctionUrlAuthType, InvokeMode};

use crate::aws::{Clients, CloudError, OrAbsent as _, Reader, Writer, call};
use crate::engine::Address;
use crate::engine::Ownership;
use crate::engine::Resource;
use crate::engine::plan::{Change, Danger, Fields};
use crate::engine::words::clean;
use crate::resources::function::Function;

/// The URL of this function: it asks for no signature, and streams answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    pub function: String,
}

/// What is wanted, beside what all URLs of ours are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlSpec {
    /// The statements without which nobody may call it.
    pub permissions: [Address; 2],
    /// Clients may be configured with another one that is gone.
    pub had_another: bool,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UrlLive {
    pub url: String,
    pub auth_type: String,
    pub invoke_mode: String,
    /// Whether AWS answers other origins' scripts in the function's place.
    pub cors: bool,
}

pub(super) const NO_AUTH: &str = "NONE";
pub(super) const STREAM: &str = "RESPONSE_STREAM";

impl Resource<Clients> for Url {
    type Spec = UrlSpec;
    type Live = UrlLive;

    fn address(&self) -> Address {
        Address::new("function-url", &self.function)
    }

    fn ownership(&self, _live: &UrlLive) -> Ownership {
        Ownership::Ours
    }

    fn belongs_to(&self, _live: Option<&UrlLive>) -> Option<Address> {
        Some(Function::address_of(&self.function))
    }

    fn refers_to(&self, spec: &UrlSpec) -> Vec<Address> {
        spec.permissions.to_vec()
    }

    fn diff(&self, spec: &UrlSpec, live: Option<&UrlLive>) -> Change {
        let Some(live) = live else {
            let fields =
                Fields::new().field("AuthType", (), NO_AUTH).field("InvokeMode", (), STREAM);
            let change = Change::create(self.address(), fields).flag(Danger::Exposes, true);
            return change
                .flag(Danger::ChangesUrl, spec.had_another)
                .about("the address for clients");
        };
        let cors = live.cors.then_some("set");
        let fields = Fields::new()
            .field("AuthType", live.auth_type.as_str(), NO_AUTH)
            .field("InvokeMode", live.invoke_mode.as_str(), STREAM)
            .field("Cors", cors, ());
        let opens = live.auth_type != NO_AUTH;
        Change::compare(self.address(), fields).flag(Danger::Exposes, opens)
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<UrlLive>, CloudError> {
        let get = cloud.clients().lambda.get_function_url_config();
        let get = get.function_name(&self.function).send();
        let found = call("Lambda", "GetFunctionUrlConfig", get).await.or_absent()?;
        Ok(found.map(|found| UrlLive {
            url: clean(found.function_url()),
            auth_type: found.auth_type().to_string(),
            // AWS's default where nothing is said.
            invoke_mode: found.invoke_mode().map_or("BUFFERED", InvokeMode::as_str).to_owned(),
            cors: found.cors().is_some_and(|cors| *cors != Cors::builder().build()),
        }))
    }

    async fn apply(
        &self,
        _spec: &UrlSpec,
        live: Option<UrlLive>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let lambda = &cloud.clients().lambda;
        let (auth, mode) = (FunctionUrlAuthType::None, InvokeMode::ResponseStream);
        if live.is_some() {
            let update = async || {
                // What is left out keeps its value; an empty Cors takes it away.
                let update = lambda.update_function_url_config().function_name(&self.function);
                let update = update.auth_type(auth.clone()).invoke_mode(mode.clone());
                let update = update.cors(Cors::builder().build()).send();
                call("Lambda", "UpdateFunctionUrlConfig", update).await
            };
            return cloud.persist(update).await.map(drop);
        }
        let create = async || {
            let create = lambda.create_function_url_config().function_name(&self.function);
            let create = create.auth_type(auth.clone()).invoke_mode(mode.clone()).send();
            call("Lambda", "CreateFunctionUrlConfig", create).await
        };
        cloud.persist(create).await.map(drop)
    }

    async fn delete(&self, _live: UrlLive, cloud: &Writer) -> Result<(), CloudError> {
        let delete = async || {
            let delete = cloud.clients().lambda.delete_function_url_config();
            let delete = delete.function_name(&self.function).send();
            call("Lambda", "DeleteFunctionUrlConfig", delete).await.or_absent()
        };
        cloud.persist(delete).await.map(drop)
    }
}
