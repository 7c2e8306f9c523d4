//! How are services asked whose own crate would weigh more than all that is asked of them?
//!
//! By the machinery of the AWS SDK: its credentials, signatures, retries, timeouts and endpoints,
//! and the same interceptors. Only the requests are written here: JSON in, JSON out.

use std::fmt;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_runtime::auth::SigV4OperationSigningConfig;
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_runtime::retries::classifiers::AwsErrorCodeClassifier;
use aws_smithy_runtime::client::identity::IdentityCache;
use aws_smithy_runtime::client::orchestrator::operation::Operation;
use aws_smithy_runtime::client::retries::classifiers::{
    HttpStatusCodeClassifier, TransientErrorClassifier,
};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::auth::static_resolver::StaticAuthSchemeOptionResolver;
use aws_smithy_runtime_api::client::auth::{
    AuthSchemeOptionResolverParams, SharedAuthScheme, SharedAuthSchemeOptionResolver,
};
use aws_smithy_runtime_api::client::identity::{SharedIdentityCache, SharedIdentityResolver};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse, OrchestratorError};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponentsBuilder;
use aws_smithy_runtime_api::client::runtime_plugin::StaticRuntimePlugin;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::Layer;
use aws_smithy_types::error::ErrorMetadata;
use aws_smithy_types::error::metadata::Builder as ErrorMetadataBuilder;
use aws_types::SigningName;
use aws_types::region::SigningRegion;
use serde_json::Value;

use super::calls::Calls;
use super::endpoint::{self, ServiceEndpoint};
use super::spot::Seeing;
use super::{CloudError, Notes, ReadOnly, call};

/// A service, by the names that AWS has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Service {
    /// In messages, and in `AWS_ENDPOINT_URL_<ID>`.
    id: &'static str,
    /// The first part of its host.
    host: &'static str,
    signed_as: &'static str,
    /// What stands before the operation in `x-amz-target`, where that says what is asked.
    target: Option<&'static str>,
}

// Source: the service models of botocore 1.43.106.
pub(crate) const CLOUDWATCH: Service = Service {
    id: "CloudWatch",
    host: "monitoring",
    signed_as: "monitoring",
    target: Some("GraniteServiceVersion20100801"),
};
pub(crate) const BEDROCK: Service =
    Service { id: "Bedrock", host: "bedrock", signed_as: "bedrock", target: None };
pub(crate) const BEDROCK_RUNTIME: Service =
    Service { id: "Bedrock Runtime", host: "bedrock-runtime", signed_as: "bedrock", target: None };

/// A call to one of these services.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) service: Service,
    pub(crate) action: &'static str,
    pub(crate) region: String,
    method: &'static str,
    path: String,
    body: String,
}

impl Ask {
    /// An operation that is named in a header and has its input in the body.
    pub(crate) fn action(service: Service, action: &'static str, input: &Value) -> Self {
        let (region, path, body) = (String::new(), "/".to_owned(), input.to_string());
        Self { service, action, region, method: "POST", path, body }
    }

    /// A question by its path.
    pub(crate) fn get(service: Service, action: &'static str, path: impl Into<String>) -> Self {
        let (region, path, body) = (String::new(), path.into(), String::new());
        Self { service, action, region, method: "GET", path, body }
    }

    /// Something to do by its path.
    pub(crate) fn post(
        service: Service,
        action: &'static str,
        path: impl Into<String>,
        input: &Value,
    ) -> Self {
        Self { path: path.into(), ..Self::action(service, action, input) }
    }

    /// Somewhere else than where the stack is.
    pub(crate) fn at(self, region: &str) -> Self {
        Self { region: region.to_owned(), ..self }
    }

    fn request(&self) -> Result<HttpRequest, BoxError> {
        let mut request = HttpRequest::new(SdkBody::from(self.body.as_str()));
        request.set_method(self.method)?;
        request.set_uri(self.path.as_str())?;
        let headers = request.headers_mut();
        headers.try_insert("accept", "application/json")?;
        if self.method != "GET" {
            let kind = self.service.target.map_or("application/json", |_| JSON_1_0);
            headers.try_insert("content-type", kind)?;
        }
        if let Some(target) = self.service.target {
            headers.try_insert("x-amz-target", format!("{target}.{}", self.action))?;
        }
        Ok(request)
    }
}

/// Smithy, *AWS JSON 1.0 protocol*.
const JSON_1_0: &str = "application/x-amz-json-1.0";

/// Asks such services.
#[derive(Clone)]
pub(crate) struct Direct {
    config: SdkConfig,
    partition: String,
    identities: SharedIdentityCache,
    calls: Option<Calls>,
    /// `None` lets nothing pass but questions.
    notes: Option<Notes>,
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Direct")
    }
}

impl Direct {
    pub(super) fn new(
        config: &SdkConfig,
        partition: &str,
        calls: Option<&Calls>,
        notes: Option<&Notes>,
    ) -> Self {
        let identities = config.identity_cache();
        let identities = identities.unwrap_or_else(|| IdentityCache::lazy().build());
        let (config, calls, notes) = (config.clone(), calls.cloned(), notes.cloned());
        Self { config, partition: partition.to_owned(), identities, calls, notes }
    }

    /// Makes the call. An empty answer is `{}`.
    pub(crate) async fn call(&self, ask: Ask) -> Result<Value, CloudError> {
        let (service, action) = (ask.service.id, ask.action);
        let operation = self.operation(&ask);
        call(service, action, operation.invoke(ask)).await
    }

    fn operation(&self, ask: &Ask) -> Operation<Ask, Value, ErrorMetadata> {
        let own = self.config.region().map(ToString::to_string).unwrap_or_default();
        let region = if ask.region.is_empty() { own } else { ask.region.clone() };
        // Whoever changes something tries again by itself (`Writer::persist`).
        let retry = match &self.notes {
            Some(_) => RetryConfig::disabled(),
            None => self.config.retry_config().cloned().unwrap_or_else(RetryConfig::standard),
        };
        let timeouts = self.config.timeout_config().cloned();
        let Service { id, host, .. } = ask.service;
        let place = ServiceEndpoint { id, host, region: &region, partition: &self.partition };
        let mut builder = Operation::builder()
            .service_name(ask.service.id)
            .operation_name(ask.action)
            .endpoint_url(&endpoint::of(&self.config, &place))
            .standard_retry(&retry)
            .retry_classifier(AwsErrorCodeClassifier::<ErrorMetadata>::new())
            .retry_classifier(HttpStatusCodeClassifier::default())
            .retry_classifier(TransientErrorClassifier::<ErrorMetadata>::new())
            .timeout_config(timeouts.unwrap_or_else(super::TimeoutConfig::disabled))
            .runtime_plugin(self.signing(ask.service, region.clone()))
            .interceptor(Seeing);
        if let Some(client) = self.config.http_client() {
            builder = builder.http_client(client);
        }
        let builder = match &self.calls {
            Some(calls) => builder.interceptor(calls.clone()),
            None => builder,
        };
        let builder = match &self.notes {
            Some(notes) => builder.interceptor(notes.clone()),
            None => builder.interceptor(ReadOnly),
        };
        builder.serializer(|ask: Ask| ask.request()).deserializer(read).build()
    }

    /// Signs as the SDK's own clients do.
    fn signing(&self, service: Service, region: String) -> StaticRuntimePlugin {
        let mut config = Layer::new("signing");
        config.store_put(AuthSchemeOptionResolverParams::new(()));
        config.store_put(SigningName::from_static(service.signed_as));
        config.store_put(SigningRegion::from(aws_config::Region::new(region)));
        config.store_put(SigV4OperationSigningConfig::default());
        let resolver = StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]);
        let mut components = RuntimeComponentsBuilder::new("signing");
        components
            .set_auth_scheme_option_resolver(Some(SharedAuthSchemeOptionResolver::new(resolver)))
            .push_auth_scheme(SharedAuthScheme::new(SigV4AuthScheme::new()))
            .set_identity_cache(Some(self.identities.clone()));
        if let Some(credentials) = self.config.credentials_provider() {
            let credentials = SharedIdentityResolver::new(credentials);
            components.set_identity_resolver(SCHEME_ID, credentials);
        }
        StaticRuntimePlugin::new().with_config(config.freeze()).with_runtime_components(components)
    }
}

/// Reads an answer, or what AWS says in the place of one.
fn read(answer: &HttpResponse) -> Result<Value, OrchestratorError<ErrorMetadata>> {
    let body = answer.body().bytes().unwrap_or_default();
    if answer.status().is_success() {
        if body.is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        return serde_json::from_slice(body).map_err(OrchestratorError::other);
    }
    let said: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |keys: &[&str]| keys.iter().find_map(|key| said.get(key)?.as_str());
    let header = |name: &str| answer.headers().get(name);
    // `Code;Fault`, `Code:URL` and `namespace#Code` are the same code in other protocols' words.
    let code = header("x-amzn-query-error")
        .or_else(|| header("x-amzn-errortype"))
        .or_else(|| text(&["__type", "code"]))
        .and_then(|code| code.split([';', ':']).next()?.rsplit('#').next());
    let error = ErrorMetadata::builder();
    let error = code.into_iter().fold(error, ErrorMetadataBuilder::code);
    let error =
        text(&["message", "Message"]).into_iter().fold(error, ErrorMetadataBuilder::message);
    Err(OrchestratorError::operation(error.build()))
}
