//! What does the client read when the proxy itself has to refuse or give up?
//!
//! The only place that writes Anthropic's error envelope. It never rewrites an error of Anthropic's
//! own: that one is forwarded as it came. Kinds and statuses follow Anthropic's page "Errors".

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::wire::sse;

/// The kinds of error that an Anthropic client tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    InvalidRequest,
    Authentication,
    Permission,
    NotFound,
    RequestTooLarge,
    RateLimit,
    Api,
    /// What an upstream has answered is no answer.
    BadGateway,
    NotSupported,
    /// Something that the proxy itself depends on does not answer.
    Unavailable,
    Timeout,
    Overloaded,
}

impl ErrorKind {
    /// Returns the `error.type` of the envelope.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Permission => "permission_error",
            Self::NotFound => "not_found_error",
            Self::RequestTooLarge => "request_too_large",
            Self::RateLimit => "rate_limit_error",
            Self::Api | Self::BadGateway | Self::Unavailable => "api_error",
            Self::NotSupported => "not_supported",
            Self::Timeout => "timeout_error",
            Self::Overloaded => "overloaded_error",
        }
    }

    /// Returns the kind that an envelope's `error.type` names; `None` for a name not known here.
    pub fn named(name: &str) -> Option<Self> {
        [
            Self::InvalidRequest,
            Self::Authentication,
            Self::Permission,
            Self::NotFound,
            Self::RequestTooLarge,
            Self::RateLimit,
            Self::Api,
            Self::NotSupported,
            Self::Timeout,
            Self::Overloaded,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == name)
    }

    /// Returns the status that goes with the kind.
    pub fn status(self) -> StatusCode {
        let status = match self {
            Self::InvalidRequest => 400,
            Self::Authentication => 401,
            Self::Permission => 403,
            Self::NotFound => 404,
            Self::RequestTooLarge => 413,
            Self::RateLimit => 429,
            Self::Api => 500,
            Self::NotSupported => 501,
            Self::BadGateway => 502,
            Self::Unavailable => 503,
            Self::Timeout => 504,
            Self::Overloaded => 529,
        };
        StatusCode::from_u16(status).expect("the table holds valid statuses only")
    }

    /// Tells whether the same request can succeed later.
    pub fn is_retryable(self) -> bool {
        match self {
            Self::RateLimit
            | Self::Api
            | Self::BadGateway
            | Self::Unavailable
            | Self::Timeout
            | Self::Overloaded => true,
            Self::InvalidRequest
            | Self::Authentication
            | Self::Permission
            | Self::NotFound
            | Self::RequestTooLarge
            | Self::NotSupported => false,
        }
    }
}

/// A refusal of the proxy's own, before it is written down for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub kind: ErrorKind,
    /// A sentence for the person at the client: what is wrong and what to do.
    pub message: String,
    /// Where false, `x-should-retry: false` keeps clients from asking again in vain.
    pub retryable: bool,
    /// How long the client should wait; told in whole seconds, rounded up.
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// Makes a failure that is retryable if its kind is.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, message, retryable: kind.is_retryable(), retry_after: None }
    }

    /// Writes the failure as a whole HTTP answer.
    pub fn into_response(self, request_id: &str) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.envelope(request_id)));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Ok(value) = HeaderValue::from_str(request_id) {
            headers.insert("request-id", value);
        }
        if !self.retryable {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// Writes the failure as the last event of a stream whose 200 has already gone out.
    pub fn into_event(self, request_id: &str) -> Bytes {
        sse::write("error", &self.envelope(request_id))
    }

    fn envelope(&self, request_id: &str) -> Vec<u8> {
        #[derive(Serialize)]
        struct Envelope<'a> {
            r#type: &'static str,
            error: Inner<'a>,
            request_id: &'a str,
        }
        #[derive(Serialize)]
        struct Inner<'a> {
            r#type: &'static str,
            message: &'a str,
        }
        let error = Inner { r#type: self.kind.as_str(), message: &self.message };
        serde_json::to_vec(&Envelope { r#type: "error", error, request_id })
            .expect("strings can always be written as JSON")
    }
}
