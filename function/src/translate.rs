//! How is one API said in the words of the other: Anthropic Messages and Bedrock `InvokeModel`?
//!
//! Everything here is a pure function of its arguments: no clock, no network, no randomness. Two
//! turns of one conversation are translated alike, byte for byte, because the prompt cache and the
//! newest models' thinking blocks are bound to an unchanged prefix.

mod betas;
mod content;
mod cuts;
pub mod error;
pub mod json;
mod markers;
pub mod mend;
pub mod model;
mod models;
mod reader;
pub mod request;
pub mod response;
mod sentence;
mod sentences;
pub mod stream;
mod table;

/// Why only Anthropic can serve a request. No sentence quotes the request's content.
#[derive(Debug, thiserror::Error)]
pub enum Untranslatable {
    #[error("the body is not JSON that can be read")]
    Malformed(#[from] serde_json::Error),
    #[error("the body is no Messages request: {0}")]
    Shape(&'static str),
    #[error("`{0}` names what only Anthropic keeps")]
    Kept(&'static str),
    #[error("the tool type `{0}` runs only at Anthropic")]
    Tool(String),
    #[error("the content block `{0}` is understood only by Anthropic")]
    Block(String),
    #[error("a source of type `{0}` would have to be fetched, which Bedrock does not do")]
    Source(&'static str),
    #[error("the model does not take {0} on Bedrock")]
    Missing(&'static str),
    #[error("tools that are found by search, come with examples or need a beta cannot be counted")]
    Uncountable,
    #[error("a tool's name has more than 64 characters, which Bedrock does not take")]
    Name,
    #[error("the body has {0} bytes, and Bedrock takes 25,000,000")]
    TooLarge(usize),
    #[error("nobody waits for it any more")]
    Abandoned,
}

impl Untranslatable {
    fn block(kind: &str) -> Self {
        Self::Block(label(kind))
    }

    fn tool(kind: &str) -> Self {
        Self::Tool(label(kind))
    }
}

/// A name from a body, fit for a sentence and a log: one short word, or nothing of it.
fn label(name: &str) -> String {
    let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if word && name.len() <= 64 { name.to_owned() } else { "?".to_owned() }
}
