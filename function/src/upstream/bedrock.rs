//! AWS Bedrock's `InvokeModel` family, one client for each region.
//!
//! Bodies are built by [`crate::translate`]; no header of the client ever comes here. The SDK
//! neither retries nor times a living stream out: both would undo decisions that are taken in
//! [`crate::failover`].

use std::fmt;
use std::time::Duration;

use aws_config::Region;
use aws_sdk_bedrockruntime::config::{ProvideCredentials, SharedCredentialsProvider, Token};
use aws_sdk_bedrockruntime::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_bedrockruntime::primitives::Blob;
use aws_sdk_bedrockruntime::primitives::event_stream::EventReceiver;
use aws_sdk_bedrockruntime::types::error::ResponseStreamError;
use aws_sdk_bedrockruntime::types::{CountTokensInput, InvokeModelTokensRequest, ResponseStream};
use aws_sdk_bedrockruntime::{Client, config};
use aws_smithy_runtime_api::client::auth::AuthSchemeId;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use bytes::Bytes;

use super::HEAD_TIMEOUT;
use super::aws::Aws;
use super::credentials;
use crate::reply::ErrorKind;
use crate::translate::error::{self, BedrockFailure};

/// The variable of an API key of Bedrock.
const BEARER_TOKEN: &str = "AWS_BEARER_TOKEN_BEDROCK";

/// Counting is quick or not worth waiting for.
const COUNT_TIMEOUT: Duration = Duration::from_secs(10);

/// Credentials are looked for in files, in a login and at the instance's own address.
const CREDENTIALS_TIMEOUT: Duration = Duration::from_secs(5);

/// The regions of Bedrock that may be asked, in the operator's order.
#[derive(Debug)]
pub struct Bedrock {
    regions: Vec<(String, Client)>,
    identity: Identity,
}

/// By what the calls are let in.
#[derive(Debug)]
enum Identity {
    /// An API key of Bedrock (`AWS_BEARER_TOKEN_BEDROCK`), which the SDK takes first.
    Token,
    /// Whatever the SDK's own chain finds.
    Chain(SharedCredentialsProvider),
    Nothing,
}

/// Whether the machine has AWS credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credentials {
    Found,
    /// There are none where the SDK looks for them.
    Missing,
    /// They are looked for, and have not come in time.
    Late,
}

impl Bedrock {
    /// Prepares a client for each region; none named means the region of the AWS settings, and
    /// where those name none either, there is nothing to fall back to.
    #[must_use]
    pub fn new(regions: &[String], aws: &Aws) -> Self {
        let mut names = regions.to_vec();
        if names.is_empty() {
            names.extend(aws.region().map(str::to_owned));
        }
        if names.is_empty() {
            return Self { regions: Vec::new(), identity: Identity::Nothing };
        }
        let token = aws.variables.get(BEARER_TOKEN).and_then(credentials::shown);
        let client = |name: String| {
            let mut config = config::Builder::from(&aws.config).region(Region::new(name.clone()));
            if aws.variables.is_blank("AWS_ENDPOINT_URL_BEDROCK_RUNTIME") {
                config.set_endpoint_url(aws.endpoint());
            }
            // The SDK would show it as it is, without letters or with some that nobody can send.
            match token {
                Some(token) => config = config.token_provider(Token::new(token, None)),
                None => {
                    let scheme = AuthSchemeId::new("sigv4");
                    config.set_auth_scheme_preference(Some([scheme].into()));
                }
            }
            (name, Client::from_conf(config.build()))
        };
        let regions = names.into_iter().map(client).collect();
        let chain = || aws.config.credentials_provider().map(Identity::Chain);
        let identity = match token {
            Some(_) => Identity::Token,
            None => chain().unwrap_or(Identity::Nothing),
        };
        Self { regions, identity }
    }

    /// The regions' names, in order.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.regions.iter().map(|(name, _)| name.as_str())
    }

    /// How many regions there are.
    #[must_use]
    pub fn region_count(&self) -> usize {
        self.regions.len()
    }

    /// The name of a region by its place in the order.
    #[must_use]
    pub fn region(&self, index: usize) -> Option<&str> {
        self.regions.get(index).map(|(name, _)| name.as_str())
    }

    /// Looks whether the machine has AWS credentials, without using them.
    pub async fn find_credentials(&self) -> Credentials {
        let provider = match &self.identity {
            Identity::Token => return Credentials::Found,
            Identity::Nothing => return Credentials::Missing,
            Identity::Chain(provider) => provider,
        };
        match tokio::time::timeout(CREDENTIALS_TIMEOUT, provider.provide_credentials()).await {
            Ok(Ok(_)) => Credentials::Found,
            Ok(Err(_)) => Credentials::Missing,
            Err(_) => Credentials::Late,
        }
    }

    /// `InvokeModel`: the whole answer at once.
    ///
    /// # Errors
    ///
    /// What Bedrock's refusal means, without anything of the operator's account in it.
    pub async fn message(&self, region: usize, call: Call) -> Result<Bytes, BedrockFailure> {
        let request = self
            .client(region)?
            .invoke_model()
            .model_id(call.model_id)
            .content_type("application/json")
            .accept("application/json")
            .set_request_metadata(call.metadata)
            .body(Blob::new(call.body));
        let answer = tokio::time::timeout(HEAD_TIMEOUT, request.send()).await;
        let answer = answer.map_err(|_| timed_out())?.map_err(|error| refused(&error))?;
        Ok(answer.body.into_inner().into())
    }

    /// `InvokeModelWithResponseStream`: the answer as it is made.
    ///
    /// # Errors
    ///
    /// As for [`Self::message`].
    pub async fn stream(&self, region: usize, call: Call) -> Result<Events, BedrockFailure> {
        let request = self
            .client(region)?
            .invoke_model_with_response_stream()
            .model_id(call.model_id)
            .content_type("application/json")
            .accept("application/json")
            .set_request_metadata(call.metadata)
            .body(Blob::new(call.body));
        let answer = tokio::time::timeout(HEAD_TIMEOUT, request.send()).await;
        let answer = answer.map_err(|_| timed_out())?.map_err(|error| refused(&error))?;
        Ok(Events(answer.body))
    }

    /// `CountTokens`, for the models that bedrock-runtime can count.
    ///
    /// # Errors
    ///
    /// As for [`Self::message`].
    pub async fn count(&self, region: usize, call: Call) -> Result<u64, BedrockFailure> {
        let body = InvokeModelTokensRequest::builder().body(Blob::new(call.body)).build();
        let input = body.map_err(|_| no_region())?;
        let request = self
            .client(region)?
            .count_tokens()
            .model_id(call.model_id)
            .input(CountTokensInput::InvokeModel(input));
        let answer = tokio::time::timeout(COUNT_TIMEOUT, request.send()).await;
        let answer = answer.map_err(|_| timed_out())?.map_err(|error| refused(&error))?;
        // A number that is missing reads as 0, which no message costs.
        let tokens = u64::try_from(answer.input_tokens).ok().filter(|tokens| *tokens > 0);
        tokens.ok_or_else(|| error::judge(Some(500), None, "Bedrock's count is no number."))
    }

    fn client(&self, region: usize) -> Result<&Client, BedrockFailure> {
        self.regions.get(region).map(|(_, client)| client).ok_or_else(no_region)
    }
}

/// What is sent: a translated body for one model.
#[derive(Clone)]
pub struct Call {
    pub model_id: String,
    /// What AWS writes beside it where the operator logs invocations; a count has none.
    pub metadata: Option<String>,
    pub body: Vec<u8>,
}

/// Shows the size of the body, which holds a conversation.
impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Call");
        shown.field("model_id", &self.model_id).field("bytes", &self.body.len()).finish()
    }
}

/// The events of one stream, each a JSON object. Dropping it cancels the call.
#[derive(Debug)]
pub struct Events(EventReceiver<ResponseStream, ResponseStreamError>);

impl Events {
    /// The next event's JSON; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// An exception of the service inside the stream, or a broken connection.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, BedrockFailure> {
        loop {
            match self.0.recv().await {
                Ok(None) => return Ok(None),
                Ok(Some(ResponseStream::Chunk(part))) => {
                    if let Some(bytes) = part.bytes {
                        return Ok(Some(bytes.into_inner()));
                    }
                }
                // An event that is no chunk holds nothing for the client.
                Ok(Some(_)) => {}
                Err(error) => return Err(broken_off(&error)),
            }
        }
    }
}

fn timed_out() -> BedrockFailure {
    error::judge(Some(408), Some("ModelTimeoutException"), "Bedrock did not answer in time.")
        .unheard()
}

fn no_region() -> BedrockFailure {
    BedrockFailure::Permanent {
        kind: ErrorKind::Api,
        message: "No Bedrock region is configured.".to_owned(),
    }
}

/// The failure of a call before its answer began.
fn refused<E>(error: &SdkError<E, HttpResponse>) -> BedrockFailure
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    if let SdkError::ServiceError(service) = error {
        let (status, meta) = (service.raw().status().as_u16(), service.err());
        return error::judge(Some(status), meta.code(), meta.message().unwrap_or_default());
    }
    if let SdkError::ResponseError(response) = error {
        let status = response.raw().status().as_u16();
        return error::judge(Some(status), None, "Bedrock's answer could not be read.").unheard();
    }
    not_reached(error)
}

/// No answer at all: the network, or no way to sign a request.
fn not_reached<E, R>(error: &SdkError<E, R>) -> BedrockFailure
where
    E: std::error::Error + 'static,
    R: fmt::Debug + 'static,
{
    let by_network = match error {
        SdkError::TimeoutError(_) => true,
        SdkError::DispatchFailure(failure) => failure.is_io() || failure.is_timeout(),
        SdkError::ConstructionFailure(_)
        | SdkError::ResponseError(_)
        | SdkError::ServiceError(_)
        | _ => false,
    };
    if by_network {
        let failure = error::judge(Some(503), None, "Bedrock could not be reached.");
        return if is_of_connecting(error) { failure } else { failure.unheard() };
    }
    tracing::debug!(error = %error::scrub(&DisplayErrorContext(error).to_string()), "no AWS call");
    BedrockFailure::Permanent {
        kind: ErrorKind::Api,
        message: "The AWS call could not be made: are there valid AWS credentials?".to_owned(),
    }
}

/// Whether no connection could be made, so that nothing was sent.
fn is_of_connecting(error: &(dyn std::error::Error + 'static)) -> bool {
    let of_connecting = |error: &(dyn std::error::Error + 'static)| {
        error.downcast_ref::<hyper_util::client::legacy::Error>().map(|error| error.is_connect())
    };
    std::iter::successors(Some(error), |error| error.source())
        .find_map(of_connecting)
        .unwrap_or(false)
}

/// The failure of a stream that had begun.
#[expect(clippy::wildcard_enum_match_arm, reason = "the SDK forbids naming its catch-all variant")]
fn broken_off<R>(error: &SdkError<ResponseStreamError, R>) -> BedrockFailure {
    let SdkError::ServiceError(service) = error else {
        return error::judge(Some(500), None, "Bedrock's stream broke off.").unheard();
    };
    let failure = service.err();
    // The SDK knows the variant of a modelled exception in a stream, but not its code.
    let (status, code) = match failure {
        ResponseStreamError::ThrottlingException(_) => (429, "ThrottlingException"),
        ResponseStreamError::ServiceUnavailableException(_) => (503, "ServiceUnavailableException"),
        ResponseStreamError::InternalServerException(_) => (500, "InternalServerException"),
        ResponseStreamError::ModelStreamErrorException(error) => {
            let original = error.original_status_code().and_then(|code| code.try_into().ok());
            (original.unwrap_or(424), "ModelStreamErrorException")
        }
        ResponseStreamError::ModelTimeoutException(_) => (408, "ModelTimeoutException"),
        ResponseStreamError::ValidationException(_) => (400, "ValidationException"),
        _ => (500, "Unknown"),
    };
    let message = failure.meta().message().or_else(|| failure.message()).unwrap_or_default();
    error::judge(Some(status), Some(code), message)
}
