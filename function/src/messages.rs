//! The Messages API as far as the proxy looks at it; everything else passes through unseen.
//!
//! Nothing here changes a byte: bodies are read in place, and only for the few fields that decide
//! where a request goes.

mod fields;

use std::borrow::Cow;

use serde::Deserialize;

use self::fields::Fields;

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
        let (mut model, mut stream) = (None, None);
        for field in Fields::of(body) {
            let (key, value) = field?;
            // A key that comes twice is read differently by different readers.
            match &*text(key)? {
                "model" if model.is_none() => model = Some(text(value)?),
                "stream" if stream.is_none() => stream = Some(serde_json::from_slice(value).ok()?),
                "model" | "stream" => return None,
                _ => {}
            }
        }
        let (model, stream): (_, Option<bool>) = (model?, stream.flatten());
        let fits = (1..=LONGEST_MODEL).contains(&model.len());
        fits.then(|| Self { model: model.into_owned(), stream: stream.unwrap_or(false) })
    }
}

/// Reads a JSON string.
fn text(json: &[u8]) -> Option<Cow<'_, str>> {
    let plain = json.strip_prefix(b"\"").and_then(|json| json.strip_suffix(b"\""));
    match plain.filter(|text| text.iter().all(|byte| *byte >= b' ' && *byte != b'\\')) {
        Some(plain) => str::from_utf8(plain).ok().map(Cow::Borrowed),
        None => serde_json::from_slice(json).ok().map(Cow::Owned),
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
