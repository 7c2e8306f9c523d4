//! What was asked, and how did it go? One line on standard error for each answer, with `--verbose`.
//!
//! A line has the service, the action, the resource, the status, AWS's request id and the time.
//! Nothing that is sent or answered is in it beyond that, so no secret can be.

use std::time::Duration;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use tokio::time::Instant;

use crate::engine::{Say, subject};

/// Tells of every call.
#[derive(Debug, Clone)]
pub(super) struct Calls(pub(super) Say);

#[derive(Debug)]
struct Sent(Instant);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

impl Intercept for Calls {
    fn name(&self) -> &'static str {
        "Calls"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        config.interceptor_state().store_put(Sent(Instant::now()));
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // What was never sent is no call.
        let Some(Sent(sent)) = config.load::<Sent>() else { return Ok(()) };
        let (service, action) =
            config.load::<Metadata>().map_or(("?", "?"), |call| (call.service(), call.name()));
        let answer = context.response();
        let header = |name| answer.and_then(|answer| answer.headers().get(name));
        let id = ["x-amzn-requestid", "x-amz-request-id", "x-amzn-request-id"];
        let call = Call {
            service,
            action,
            status: answer.map(|answer| answer.status().as_u16()),
            id: id.into_iter().find_map(header),
            took: sent.elapsed(),
        };
        let resource = subject();
        self.0.detail(&call.line(resource.as_deref()));
        Ok(())
    }
}

struct Call<'a> {
    service: &'a str,
    action: &'a str,
    /// `None` if there was no answer.
    status: Option<u16>,
    id: Option<&'a str>,
    took: Duration,
}

impl Call<'_> {
    fn line(&self, resource: Option<&str>) -> String {
        let Self { service, action, status, id, took } = self;
        let (resource, id) = (resource.unwrap_or("-"), id.unwrap_or("-"));
        let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        let ms = took.as_millis();
        format!("aws: {service} {action} {resource} {status} {id} {ms} ms")
    }
}
