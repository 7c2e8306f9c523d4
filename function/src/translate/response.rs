//! What does the client read where Bedrock answered without a stream?
//!
//! Bedrock's body already is a message of the Messages API: only the model's name is put back, and
//! keys of AWS's own are removed. Every other value keeps its bytes.

use std::convert::Infallible;

use super::json::{Edit, Object};

pub use crate::wire::usage::Usage;

/// What Bedrock sent cannot be read; its content is left out, it may be the user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bedrock's {part} is not JSON of the Messages API ({bytes} bytes)")]
pub struct Malformed {
    pub(super) part: &'static str,
    pub(super) bytes: usize,
}

/// Turns the body of an `InvokeModel` answer into the message that the client asked for.
///
/// # Errors
///
/// [`Malformed`] if the body is not a JSON object of type `message`.
pub fn message(body: &[u8], requested_model: &str) -> Result<(Vec<u8>, Usage), Malformed> {
    let malformed = Malformed { part: "answer", bytes: body.len() };
    let json = str::from_utf8(body).map_err(|_| malformed)?;
    let message = Object::read(json).ok().flatten().ok_or(malformed)?;
    if message.text("type").as_deref() != Some("message") {
        return Err(malformed);
    }
    let restored = match restored(&message, &quoted(requested_model)) {
        Edit::Put(json) => json,
        Edit::Keep | Edit::Drop => json.to_owned(),
    };
    Ok((restored.into_bytes(), Usage::found_in(body).unwrap_or_default()))
}

/// Writes the answer to a token count.
pub fn count(input_tokens: u64) -> Vec<u8> {
    format!(r#"{{"input_tokens":{input_tokens}}}"#).into_bytes()
}

/// Writes a string as JSON.
pub(super) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string can always be written as JSON")
}

/// Makes a message look like the requested model's, whose name is given as JSON.
pub(super) fn restored(message: &Object<'_>, model: &str) -> Edit {
    edited(message, |key, _| if key == "model" { Edit::Put(model.to_owned()) } else { Edit::Keep })
}

/// Edits an object and removes what only AWS writes: invocation metrics, guardrail traces.
pub(super) fn edited(object: &Object<'_>, mut edit: impl FnMut(&str, &str) -> Edit) -> Edit {
    let Ok(edit) = object.edit::<Infallible>(|key, value| {
        Ok(if key.starts_with("amazon-bedrock-") { Edit::Drop } else { edit(key, value) })
    });
    edit
}
