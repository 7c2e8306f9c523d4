//! Names of Anthropic's headers, each read once and for all: a look-up by text reads it every time.

use http::HeaderName;

/// Anthropic's id of an answer; nobody in between sends one.
pub static REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
/// Whose credential it was.
pub static ORGANIZATION_ID: HeaderName = HeaderName::from_static("anthropic-organization-id");
/// Carries a credential, as does `Authorization`.
pub static API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What a client wants beyond the version.
pub static BETA: HeaderName = HeaderName::from_static("anthropic-beta");
/// The conversation of Claude Code that a request belongs to.
pub static SESSION_ID: HeaderName = HeaderName::from_static("x-claude-code-session-id");
/// The version of the Messages API.
pub static VERSION: HeaderName = HeaderName::from_static("anthropic-version");
