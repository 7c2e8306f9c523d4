//! The Messages API as far as the proxy looks at it; everything else passes through unseen.
//!
//! Nothing here changes a byte: bodies are read in place, and only for the few fields that decide
//! where a request goes.

use std::borrow::Cow;

use serde::Deserialize;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// The model as the client named it.
    pub model: String,
    /// Whether the answer is to be a stream.
    pub stream: bool,
}

/// Names longer than this are no model.
const LONGEST_MODEL: usize = 2048;

impl Asked {
    /// Reads the body of a Messages request; `None` where it has no usable model, which is
    /// Anthropic's to answer.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            model: Cow<'a, str>,
            #[serde(default)]
            stream: Option<bool>,
        }
        let body: Body<'_> = serde_json::from_slice(body).ok()?;
        (1..=LONGEST_MODEL)
            .contains(&body.model.len())
            .then(|| Self { model: body.model.into_owned(), stream: body.stream.unwrap_or(false) })
    }
}

/// An error of the Messages API: `{"type":"error","error":{"type","message",…}}`.
///
/// Source: Anthropic, *Errors*; `details.error_code` came with the spend limits of 2026.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    pub kind: String,
    pub message: String,
    pub code: Option<String>,
}

impl ApiError {
    /// Reads an error body or the data of an `error` event; `None` where it is something else.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Envelope {
            r#type: String,
            error: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            r#type: String,
            #[serde(default)]
            message: String,
            #[serde(default)]
            details: Option<Details>,
        }
        #[derive(Deserialize)]
        struct Details {
            #[serde(default)]
            error_code: Option<String>,
        }
        let envelope: Envelope = serde_json::from_slice(body).ok()?;
        (envelope.r#type == "error").then(|| Self {
            kind: envelope.error.r#type,
            message: envelope.error.message,
            code: envelope.error.details.and_then(|details| details.error_code),
        })
    }
}

/// What the first events of an Anthropic stream say about its fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// `message_start` or `ping`: nothing is settled yet.
    Held,
    /// Content is on its way.
    Content,
    /// The stream has failed before its first content.
    Failed(ApiError),
}

impl Opening {
    /// Judges one event by its name and data.
    #[must_use]
    pub fn of(name: Option<&str>, data: &[u8]) -> Self {
        match name {
            Some("message_start" | "ping") | None => Self::Held,
            Some("error") => Self::Failed(ApiError::read(data).unwrap_or_else(|| ApiError {
                kind: "api_error".to_owned(),
                message: "The stream failed before its first content.".to_owned(),
                code: None,
            })),
            Some(_) => Self::Content,
        }
    }
}
