//! Whose fault is a 400 of Bedrock, by its sentence?
//!
//! Only data, in lower case, each group with its source and the day it was read. Whatever is in
//! neither table is Bedrock's own refusal of what Anthropic would have taken: a 400 would cost the
//! client a feature for its session, where Anthropic's own answer costs it time.

use crate::reply::ErrorKind;

/// The operator's faults that Bedrock reports as an invalid request: another region may do better.
///
/// Source: AWS, *Troubleshooting Amazon Bedrock API Error Codes*, *Data retention*, *Supported
/// Regions and models for inference profiles*; read 2026-11-22.
pub(super) const OPERATORS: &[(&str, ErrorKind)] = &[
    ("on-demand throughput", ErrorKind::NotFound),
    ("provided model identifier is invalid", ErrorKind::NotFound),
    ("provided arn is invalid", ErrorKind::NotFound),
    ("data retention mode", ErrorKind::Permission),
    ("is not available for this account", ErrorKind::Permission),
    ("from unsupported countries", ErrorKind::Permission),
    ("operation not allowed", ErrorKind::Permission),
    ("support counting tokens", ErrorKind::NotSupported),
];

/// What Anthropic would say of the same request, too: the parts that a sentence has.
pub(super) const CLIENTS: &[&[&str]] = &[
    // Too long. Anthropic, *Context windows*, *Errors*; Bedrock's own words for the same mean the
    // same model with the same window (AWS, *Anthropic Claude models*); read 2026-11-22.
    &["prompt is too long"],
    &["input is too long"],
    &["exceed context limit"],
    &["which is the maximum allowed number of output tokens"],
    // Images and documents. Anthropic, *Vision*, *PDF support*; anthropics/claude-code#19631,
    // #8947; read 2026-11-29.
    &["could not process image"],
    &["image exceeds 5 mb maximum"],
    &["image exceeds 10 mb maximum"],
    &["image dimensions exceed"],
    &["image cannot be empty"],
    &["image", "does not match the provided media type"],
    &["image was specified using the", "but the image appears to be"],
    &["media_type: input should be"],
    &["invalid base64 data"],
    &["too much media"],
    &["could not process pdf"],
    &["pdf specified was not valid"],
    &["pdf specified is password protected"],
    &["pdf cannot be empty"],
    &["pdf pages may be provided"],
    // Calls and their results. Anthropic, *Tool use*, *Handling tool results*; read 2026-11-29.
    &["tool_use` ids were found without `tool_result`"],
    &["unexpected `tool_use_id`"],
    &["`tool_use` ids must be unique"],
    &["tool_use must have a single result"],
    &["`tool_use` block must have a corresponding `tool_result`"],
    &["blocks can only be in `user` messages"],
    &["blocks can only be in `assistant` messages"],
    &["must define tools"],
    &["tool names must be unique"],
    &["tool_choice", "not found in"],
    // Turns. Anthropic, *Messages API*, *Prefill*; read 2026-11-29.
    &["roles must alternate"],
    &["first message must use"],
    &["at least one message is required"],
    &[".role: input should be"],
    &["unexpected role"],
    &["does not support assistant message prefill"],
    &["conversation must end with a user message"],
    &["final assistant content cannot end with trailing whitespace"],
    // Nothing said. Anthropic, *Messages API*; anthropics/claude-code#49171; read 2026-11-29.
    &["text content blocks must be non-empty"],
    &["text content blocks must contain non-whitespace text"],
    &["messages must have non-empty content"],
    &["cache_control cannot be set for empty text blocks"],
    &["stop sequence must contain non-whitespace"],
    // Missing fields, wrong types and ranges. Anthropic, *Messages API*; read 2026-11-29.
    &["messages", ": field required"],
    &["max_tokens: field required"],
    &["tools.", ": field required"],
    &[": input should be a valid"],
    &[": input should be greater than"],
    &[": input should be less than"],
    &["temperature: range"],
    &["temperature", "top_p", "cannot both be specified"],
    &[": string should have at least"],
    // Names and schemas that Anthropic does not take either; its names may only be longer, and
    // longer ones are never sent. Anthropic, *Tool use*; read 2026-11-29.
    &[".id: string should match pattern"],
    &[".tool_use_id: string should match pattern"],
    &[".name: string should match pattern"],
    &["input_schema: json schema is invalid"],
    &["input_schema.type: input should be 'object'"],
    // Thinking. Anthropic, *Extended thinking*, *Thinking*; read 2026-11-29.
    &["`temperature` may only be set to 1 when thinking"],
    &["`top_p`", "when thinking is enabled"],
    &["`top_k`", "when thinking is enabled"],
    &["must be greater than `thinking.budget_tokens`"],
    &["thinking may not be enabled when tool_choice"],
    &["expected `thinking` or `redacted_thinking`"],
    &["invalid `signature` in `thinking` block"],
    &["thinking", "bound to a different conversation"],
    &["thinking", "cannot be modified"],
    // Cache markers. Anthropic, *Prompt caching*; aws-samples/demo_mcp_on_amazon_bedrock#91; read
    // 2026-11-29.
    &["a maximum of 4 blocks with cache_control"],
    &["cache_control block must not come after"],
    // What may be said. Anthropic, *Errors*; read 2026-11-29.
    &["output blocked by content filtering policy"],
];
