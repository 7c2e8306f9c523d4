//! The steps by which a function becomes what is wanted. Each can be taken twice, and none begins
//! before Lambda has finished the one before.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};

use aws_sdk_lambda::types::{
    Architecture as LambdaArchitecture, Environment, FunctionCode, PackageType,
};

use super::{Function, FunctionLive, FunctionSpec, PREPARE_TIMEOUT, ROLE_ID_TAG};
use crate::aws::values::Concurrency;
use crate::aws::{CloudError, Kind, OrAbsent as _, Wait, Writer, call};
use crate::engine::plan::Fields;
use crate::image::Digest;
use crate::resources::repository::Repository;
use crate::resources::stand_in;

/// How often a function that should be there may not be visible.
const READ_BACKS: u32 = 20;

impl Function {
    async fn image_uri(&self, digest: &Digest, cloud: &Writer) -> Result<String, CloudError> {
        Ok(format!("{}@{digest}", Repository::uri(&self.repository, cloud.reader()).await?))
    }

    /// Makes it, under the role with the id `role_id`.
    pub(super) async fn create(
        &self,
        spec: &FunctionSpec,
        role_id: Option<&str>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let Some(digest) = &spec.image else {
            return Err(CloudError::new(Kind::Other, "there is no image to make it of"));
        };
        let code = FunctionCode::builder().image_uri(self.image_uri(digest, cloud).await?).build();
        let environment = environment(spec.environment.clone());
        // One map for all tries: asked again, it is the same question to the letter.
        let tags: HashMap<_, _> = self.owned_tags(spec, role_id).into_iter().collect();
        cloud
            .persist(async || {
                let create = cloud
                    .clients()
                    .lambda
                    .create_function()
                    .function_name(&self.name)
                    .package_type(PackageType::Image)
                    .code(code.clone())
                    .architectures(LambdaArchitecture::from(spec.architecture.name()))
                    .memory_size(spec.memory.get())
                    .timeout(spec.timeout.get())
                    .role(&spec.role)
                    .environment(environment.clone())
                    .set_tags(Some(tags.clone()));
                call("Lambda", "CreateFunction", create.send()).await
            })
            .await
            .map(drop)
    }

    /// Returns when nothing is being done to the function of this name any more.
    pub(super) async fn settled(name: &str, cloud: &Writer) -> Result<FunctionLive, CloudError> {
        let unseen = Cell::new(0);
        let look = async || {
            Ok(match Self::find(name, cloud.reader()).await? {
                Some(live) if !live.changing() => Wait::Done(live),
                Some(live) => Wait::For(live.what_changes()),
                None if unseen.replace(unseen.get() + 1) < READ_BACKS => {
                    Wait::For("function is not visible yet".to_owned())
                }
                None => return Err(CloudError::new(Kind::NotFound, "it was deleted meanwhile")),
            })
        };
        cloud.until(PREPARE_TIMEOUT, look).await
    }

    /// As [`Self::settled`], and what was done has succeeded.
    pub(super) async fn sound(name: &str, cloud: &Writer) -> Result<FunctionLive, CloudError> {
        let live = Self::settled(name, cloud).await?;
        if live.failed() {
            let why = format!("Lambda could not prepare it: {}", live.state_reason);
            return Err(CloudError::new(Kind::Other, why));
        }
        Ok(live)
    }

    /// Writes down what was asked, before it is done: who finishes the job reads it.
    pub(super) async fn note_wishes(
        &self,
        spec: &FunctionSpec,
        live: FunctionLive,
        cloud: &Writer,
    ) -> Result<FunctionLive, CloudError> {
        let owned = self.owned_tags(spec, None);
        if Fields::new().tags(&live.tags, &owned) == Fields::new() {
            return Ok(live);
        }
        self.tag(&live, owned, cloud).await?;
        // Tags may come with another revision.
        let now = Self::settled(&self.name, cloud).await?;
        match now.revision == live.revision {
            true => Ok(FunctionLive { tags: now.tags, ..live }),
            false => Ok(FunctionLive { role_id: live.role_id, ..now }),
        }
    }

    pub(super) async fn update_code(
        &self,
        spec: &FunctionSpec,
        live: FunctionLive,
        cloud: &Writer,
    ) -> Result<FunctionLive, CloudError> {
        if self.code_fields(spec, &live) == Fields::new() {
            return Ok(live);
        }
        let uri = match &spec.image {
            Some(digest) => self.image_uri(digest, cloud).await?,
            None => live.image.clone(),
        };
        let update = async || {
            let update = cloud.clients().lambda.update_function_code().function_name(&self.name);
            let update = update
                .image_uri(&uri)
                .architectures(LambdaArchitecture::from(spec.architecture.name()))
                .set_revision_id(live.revision.clone());
            call("Lambda", "UpdateFunctionCode", update.send()).await
        };
        cloud.persist(update).await?;
        Self::sound(&self.name, cloud).await
    }

    pub(super) async fn update_configuration(
        &self,
        spec: &FunctionSpec,
        live: FunctionLive,
        cloud: &Writer,
    ) -> Result<FunctionLive, CloudError> {
        if spec.configuration_fields(&live) == Fields::new() {
            return Ok(live);
        }
        self.run_under(spec, &live, &spec.role, cloud).await
    }

    /// Lets the role that there is now decrypt the function's variables, where they were encrypted
    /// for one of the same name that is gone. Only another role and back does that (AWS re:Post,
    /// *`KMSAccessDeniedException` errors from Lambda*). The tag tells how far an interrupted run
    /// has come, and is corrected last.
    pub(super) async fn renew_grant(
        &self,
        spec: &FunctionSpec,
        live: FunctionLive,
        role_id: Option<&str>,
        cloud: &Writer,
    ) -> Result<FunctionLive, CloudError> {
        let known = live.tags.get(ROLE_ID_TAG).cloned();
        let (Some(known), Some(role_id)) = (known, role_id) else { return Ok(live) };
        if known == role_id {
            return Ok(live);
        }
        let half = format!("{role_id} after stand-in");
        let mut live = live;
        if known != half {
            if live.role == spec.role {
                let other = spec.stand_in.make(cloud).await?;
                live = self.run_under(spec, &live, &other, cloud).await?;
            }
            self.tag(&live, self.owned_tags(spec, Some(&half)), cloud).await?;
            // Tags may come with another revision.
            live = Self::settled(&self.name, cloud).await?;
        }
        if live.role != spec.role {
            live = self.run_under(spec, &live, &spec.role, cloud).await?;
        }
        stand_in::remove(&self.role, cloud).await?;
        Ok(live)
    }

    /// Gives it our settings, and a role.
    async fn run_under(
        &self,
        spec: &FunctionSpec,
        live: &FunctionLive,
        role: &str,
        cloud: &Writer,
    ) -> Result<FunctionLive, CloudError> {
        // All variables are replaced: what somebody has set since then must be among them.
        let mut variables = live.environment.clone();
        variables.extend(spec.environment.clone());
        let environment = environment(variables);
        let update = async || {
            let update =
                cloud.clients().lambda.update_function_configuration().function_name(&self.name);
            let update = update
                .memory_size(spec.memory.get())
                .timeout(spec.timeout.get())
                .role(role)
                .environment(environment.clone())
                .set_revision_id(live.revision.clone());
            call("Lambda", "UpdateFunctionConfiguration", update.send()).await
        };
        cloud.persist(update).await?;
        Self::sound(&self.name, cloud).await
    }

    pub(super) async fn tag(
        &self,
        live: &FunctionLive,
        spec: BTreeMap<String, String>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        if spec.iter().all(|(key, value)| live.tags.get(key) == Some(value)) {
            return Ok(());
        }
        let spec: HashMap<_, _> = spec.into_iter().collect();
        let tag = async || {
            let tag = cloud.clients().lambda.tag_resource().resource(&live.arn);
            let tag = tag.set_tags(Some(spec.clone()));
            call("Lambda", "TagResource", tag.send()).await
        };
        cloud.persist(tag).await.map(drop)
    }

    pub(super) async fn reserve(
        &self,
        spec: &FunctionSpec,
        live: &FunctionLive,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        match spec.concurrency {
            number if number.map(Concurrency::get) == live.concurrency => Ok(()),
            Some(number) => Self::guarantee(&self.name, number, cloud).await,
            None => {
                let lambda = &cloud.clients().lambda;
                let delete = async || {
                    let delete = lambda.delete_function_concurrency().function_name(&self.name);
                    call("Lambda", "DeleteFunctionConcurrency", delete.send()).await.or_absent()
                };
                cloud.persist(delete).await.map(drop)
            }
        }
    }

    /// Reserves so many requests at once for the function `name`, and lets it have no more.
    ///
    /// # Errors
    ///
    /// If AWS does not take it, such as where the account has too few.
    pub async fn guarantee(
        name: &str,
        number: Concurrency,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let put = async || {
            let put = cloud.clients().lambda.put_function_concurrency().function_name(name);
            let put = put.reserved_concurrent_executions(number.get()).send();
            call("Lambda", "PutFunctionConcurrency", put).await
        };
        cloud.persist(put).await.map(drop)
    }
}

fn environment(variables: BTreeMap<String, String>) -> Environment {
    Environment::builder().set_variables(Some(variables.into_iter().collect())).build()
}

impl FunctionLive {
    fn what_changes(&self) -> String {
        match (self.state.as_str(), self.state_reason.as_str()) {
            ("Pending", "") => "function is Pending: AWS prepares the image".to_owned(),
            ("Pending", reason) => format!("function is Pending: {reason}"),
            ("Deleting", _) => "function is being deleted".to_owned(),
            (_, _) => "function's update is in progress".to_owned(),
        }
    }
}
