//! What does Bedrock's `InvokeModel` want to be asked, when a client asked Anthropic this?
//!
//! Whatever would change the meaning of the answer is refused ([`Untranslatable`]), never dropped;
//! what only Anthropic's service needs is dropped; all else is copied byte for byte. Nothing that
//! differs from request to request is ever put in.

use std::mem;

use super::content::Content;
use super::json::{Edit, Object, Writer, array, edit_all, is_blank, text};
use super::mend::Mends;
use super::model::Model;
use super::table::{BETAS, CLIENT_TOOLS, FIELDS, Holds, Line, Place, RENAMED, TOOL_SEARCH};

/// The API version of all models on Bedrock (Anthropic, *Versions*).
const VERSION_CLASSIC: &str = "bedrock-2023-05-31";

/// The version that models since 4.7 take on Bedrock too (Anthropic, *Versions*).
const VERSION_2026: &str = "2026-10-21";

/// What of the client's headers matters for the body.
#[derive(Debug, Clone, Default)]
pub struct Headers<'a> {
    /// The values of all `anthropic-beta` headers, as they came.
    pub betas: Vec<&'a str>,
    /// The value of `anthropic-version`.
    pub version: Option<&'a str>,
}

/// What Bedrock is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A message, whole or as a stream: the two take the same body.
    Message,
    /// The number of tokens that a message would cost as input.
    Count,
}

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
    #[error("tools that are found by search or come with examples cannot be counted on Bedrock")]
    Uncountable,
}

impl Untranslatable {
    pub(super) fn block(kind: &str) -> Self {
        Self::Block(label(kind))
    }
}

/// Translates the body of a message, mended where Bedrock has refused it before.
///
/// # Errors
///
/// Fails where Bedrock could not give the same answer as Anthropic.
pub fn to_bedrock(
    body: &[u8],
    headers: &Headers<'_>,
    model: &Model,
    mends: &Mends,
) -> Result<Vec<u8>, Untranslatable> {
    translate(body, headers, (model, mends), Purpose::Message)
}

/// Translates the body of a token count into what `CountTokens` takes as `invokeModel.body`.
///
/// It carries no betas, and a `max_tokens`, which `InvokeModel` insists on.
///
/// # Errors
///
/// Fails where Bedrock could not give the same number as Anthropic.
pub fn to_count(
    body: &[u8],
    headers: &Headers<'_>,
    model: &Model,
) -> Result<Vec<u8>, Untranslatable> {
    translate(body, headers, (model, &Mends::default()), Purpose::Count)
}

fn translate(
    body: &[u8],
    headers: &Headers<'_>,
    (model, mends): (&Model, &Mends),
    purpose: Purpose,
) -> Result<Vec<u8>, Untranslatable> {
    let body = str::from_utf8(body).map_err(|_| Untranslatable::Shape("it is not UTF-8"))?;
    let body = Object::read(body)?.ok_or(Untranslatable::Shape("it is no object"))?;
    let content = Content {
        line: mends.applied_to(model.line()),
        holds: Holds::default(),
        without_thinking: mends.without_thinking_blocks,
        without_attribution: mends.without_attribution,
    };
    Translation { body: &body, content, mends, purpose, leading: Vec::new() }.run(headers)
}

struct Translation<'a> {
    body: &'a Object<'a>,
    content: Content,
    mends: &'a Mends,
    purpose: Purpose,
    /// Blocks for `system` that stood in `messages`.
    leading: Vec<String>,
}

impl Translation<'_> {
    fn run(mut self, headers: &Headers<'_>) -> Result<Vec<u8>, Untranslatable> {
        self.refuse()?;
        let messages = self.body.get("messages");
        let messages = messages.ok_or(Untranslatable::Shape("it has no `messages`"))?;
        let mut edited = self.content.messages(messages, &mut self.leading)?;
        let mut out = Writer::object(messages.len());
        for field in self.body.fields() {
            let edit = match &*field.key {
                "messages" => mem::replace(&mut edited, Edit::Keep),
                key => self.field(key, field.value)?,
            };
            let Some(value) = edit.apply(field.value) else { continue };
            if let Some(value) = self.mends.edit(&field.key, &value)?.apply(&value) {
                out.field(field.raw_key, &value);
            }
        }
        self.add(headers, &mut out)?;
        Ok(out.finish().into_bytes())
    }

    /// Refuses what names a state that only Anthropic keeps.
    fn refuse(&self) -> Result<(), Untranslatable> {
        for (key, place) in FIELDS {
            let named = self.body.get(key).is_some_and(|value| !is_blank(value));
            if *place == Place::Anthropic && named {
                return Err(Untranslatable::Kept(key));
            }
        }
        // A continued thread carries only its newest messages.
        let thread = self.body.get("thread").map(Object::read).transpose()?.flatten();
        match thread.and_then(|thread| thread.text("type")).as_deref() {
            Some("continue") => Err(Untranslatable::Kept("thread")),
            Some(_) | None => Ok(()),
        }
    }

    fn field(&mut self, key: &str, json: &str) -> Result<Edit, Untranslatable> {
        let line = self.content.line;
        match FIELDS.iter().find(|(name, _)| *name == key).map(|(_, place)| place) {
            Some(Place::Everywhere) => {}
            Some(Place::Message) if self.purpose == Purpose::Message => {}
            Some(Place::Message | Place::Anthropic) | None => return Ok(Edit::Drop),
        }
        match key {
            "system" => self.content.system(json, &self.leading),
            "tools" => self.tools(json),
            "thinking" if self.mends.without_thinking => Ok(Edit::Drop),
            "thinking" => self.thinking(json),
            "output_config" => self.output_config(json),
            "output_format" => Ok(Edit::Drop),
            "cache_control" if line.automatic_cache => self.content.cache_control(json),
            "cache_control" => Ok(Edit::Drop),
            // Without them the client asks the user about each call, which is safe.
            "safeguards" => {
                self.content.holds.safeguards = line.auto_mode && !is_blank(json);
                Ok(Edit::keep_if(self.content.holds.safeguards))
            }
            "metadata" => Ok(Edit::keep_if(line.metadata)),
            "temperature" | "top_k" | "top_p" => Ok(Edit::keep_if(line.sampling)),
            _ => Ok(Edit::Keep),
        }
    }

    fn tools(&mut self, json: &str) -> Result<Edit, Untranslatable> {
        if self.purpose == Purpose::Count && is_blank(json) {
            return Ok(Edit::Drop);
        }
        let tools = array(json)?.ok_or(Untranslatable::Shape("`tools` is no array"))?;
        edit_all(&tools, |tool| self.tool(tool))
    }

    fn tool(&mut self, json: &str) -> Result<Edit, Untranslatable> {
        let tool = Object::read(json)?.ok_or(Untranslatable::Shape("a tool is no object"))?;
        let kind = tool.text("type").unwrap_or("custom".into());
        if !CLIENT_TOOLS.iter().any(|known| kind.starts_with(known)) {
            return Err(Untranslatable::Tool(label(&kind)));
        }
        if kind.starts_with(TOOL_SEARCH) {
            self.content.tool_search()?;
        }
        let line = self.content.line;
        let message = self.purpose == Purpose::Message;
        tool.edit(|key, value| {
            let (kept, gate) = match key {
                "cache_control" => return self.content.cache_control(value),
                "defer_loading" => {
                    (line.tool_search && value == "true", &mut self.content.holds.tool_search)
                }
                "input_examples" => (line.tool_examples, &mut self.content.holds.examples),
                "eager_input_streaming" => {
                    (line.input_streaming && message, &mut self.content.holds.input_streaming)
                }
                "strict" => return Ok(Edit::keep_if(line.format)),
                "allowed_callers" | "custom" => return Ok(Edit::Drop),
                _ => return Ok(Edit::Keep),
            };
            *gate |= kept;
            Ok(Edit::keep_if(kept))
        })
    }

    fn thinking(&mut self, json: &str) -> Result<Edit, Untranslatable> {
        let Some(thinking) = Object::read(json)? else { return Ok(Edit::Keep) };
        let line = self.content.line;
        let binding = line.block_binding && self.purpose == Purpose::Message;
        let thinks = thinking.text("type").is_some_and(|kind| kind != "disabled");
        let bound =
            thinking.get("block_binding").is_none() && binding && line.preserved_thinking && thinks;
        self.content.holds.block_binding |= bound;
        let edit = thinking.edit(|key, value| {
            Ok(match key {
                // Beside `disabled` Bedrock takes nothing.
                "display" | "block_binding" if !thinks => Edit::Drop,
                "display" => Edit::keep_if(match text(value).as_deref() {
                    Some("updates") => line.auto_mode,
                    Some("highlights") => false,
                    Some(_) | None => line.display,
                }),
                "block_binding" => {
                    self.content.holds.block_binding |= binding;
                    Edit::keep_if(binding)
                }
                _ => Edit::Keep,
            })
        });
        if bound { dropping_bound(&edit?.apply(json).unwrap_or_default()) } else { edit }
    }

    /// Edits `output_config`; an `output_format` beside it, the old spelling, is put in.
    fn output_config(&self, json: &str) -> Result<Edit, Untranslatable> {
        let line = self.content.line;
        let json = if is_blank(json) { "{}" } else { json };
        let config = Object::read(json)?;
        let config = config.ok_or(Untranslatable::Shape("`output_config` is no object"))?;
        let said = |format: &&str| !is_blank(format);
        let format = config.get("format").filter(said);
        let moved = self.body.get("output_format").filter(|old| format.is_none() && said(old));
        if format.or(moved).is_some() && !line.format {
            return Err(Untranslatable::Missing("structured output"));
        }
        let mut out = Writer::object(json.len());
        for field in config.fields() {
            let edit = match &*field.key {
                "effort" if !line.effort_xhigh && field.value == r#""xhigh""# && line.effort => {
                    Edit::Put(r#""max""#.to_owned())
                }
                "effort" => Edit::keep_if(line.effort),
                "format" => Edit::keep_if(format.is_some()),
                // Like the unknown at the top level.
                _ => Edit::Drop,
            };
            if let Some(value) = edit.apply(field.value) {
                out.field(field.raw_key, &value);
            }
        }
        moved.into_iter().for_each(|format| out.field(r#""format""#, format));
        let out = out.finish();
        Ok(if is_blank(&out) { Edit::Drop } else { Edit::Put(out) })
    }

    /// Adds what the body lacks, always at its end.
    fn add(&mut self, headers: &Headers<'_>, out: &mut Writer) -> Result<(), Untranslatable> {
        if self.body.get("system").is_none()
            && let Edit::Put(system) = self.content.system("null", &self.leading)?
        {
            out.field(r#""system""#, &system);
        }
        if self.body.get("output_config").is_none()
            && let Edit::Put(config) = self.output_config("{}")?
        {
            out.field(r#""output_config""#, &config);
        }
        let line = self.content.line;
        let holds = &self.content.holds;
        match self.purpose {
            Purpose::Message => {
                let betas = betas(headers, (&line, self.mends), holds);
                if !betas.is_empty() {
                    out.field(r#""anthropic_beta""#, &format!("[\"{}\"]", betas.join("\",\"")));
                }
            }
            Purpose::Count if holds.tool_search || holds.examples => {
                return Err(Untranslatable::Uncountable);
            }
            Purpose::Count => out.field(r#""max_tokens""#, &self.room().to_string()),
        }
        let newer = line.version_2026 && headers.version == Some(VERSION_2026);
        let version = if newer { VERSION_2026 } else { VERSION_CLASSIC };
        out.field(r#""anthropic_version""#, &format!("\"{version}\""));
        Ok(())
    }

    /// The smallest `max_tokens` that leaves room for the thinking budget.
    fn room(&self) -> u64 {
        let thinking = self.body.get("thinking").map(Object::read);
        let thinking = thinking.and_then(Result::ok).flatten();
        let budget = thinking.and_then(|thinking| thinking.get("budget_tokens")?.parse().ok());
        budget.unwrap_or(0_u64).saturating_add(1)
    }
}

/// Asks for thinking that is bound to another conversation to be left out, not refused: what
/// was thought at Anthropic does not count at Bedrock.
fn dropping_bound(thinking: &str) -> Result<Edit, Untranslatable> {
    let Some(thinking) = Object::read(thinking)? else { return Ok(Edit::Keep) };
    let mut out = Writer::object(0);
    thinking.fields().iter().for_each(|field| out.field(field.raw_key, field.value));
    out.field(r#""block_binding""#, r#"{"prefix_mismatch_behavior":"drop_block"}"#);
    Ok(Edit::Put(out.finish()))
}

/// The betas for Bedrock, in the order of the table whatever the client's order was.
fn betas(
    headers: &Headers<'_>,
    (line, mends): (&Line, &Mends),
    holds: &Holds,
) -> Vec<&'static str> {
    let renamed =
        |sent| RENAMED.iter().find(|(from, _)| *from == sent).map_or(sent, |(_, name)| *name);
    let sent: Vec<&str> = headers
        .betas
        .iter()
        .flat_map(|value| value.split(','))
        .map(|beta| renamed(beta.trim_ascii()))
        .collect();
    BETAS
        .iter()
        .filter(|beta| (beta.accepted)(line) && mends.allows(beta.name))
        .filter(|beta| (beta.wanted)(sent.contains(&beta.name), holds))
        .map(|beta| beta.name)
        .collect()
}

/// A name from a body, fit for a sentence and a log: one short word, or nothing of it.
fn label(name: &str) -> String {
    let word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if word && name.len() <= 64 { name.to_owned() } else { "?".to_owned() }
}
