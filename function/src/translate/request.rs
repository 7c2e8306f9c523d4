//! What does Bedrock's `InvokeModel` want to be asked, when a client asked Anthropic this?
//!
//! Whatever would change the meaning of the answer is refused ([`Untranslatable`]), never dropped;
//! what only Anthropic's service needs is dropped; all else is copied byte for byte. Nothing that
//! differs from request to request is ever put in.

use std::fmt;
use std::mem;

use super::betas::betas;
use super::content::{ContentEditor, named};
use super::json::{Edit, Object, Writer, edit_all, is_blank, opens_with, text};
use super::markers::marked;
use super::mend::Mends;
use super::model::Model;
use super::reader::Reader;
use super::table::{FIELDS, Handling, Holds, MOST_BYTES, MOST_MARKERS, TOOL_SEARCH, TOOLS};

pub use super::Untranslatable;

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

/// A request of a client that is to be said in Bedrock's words.
pub struct Request<'a> {
    pub body: &'a [u8],
    pub headers: Headers<'a>,
    pub model: &'a Model,
    /// Is told before each reading of a part of the body how many bytes it takes; false ends the
    /// work, since nobody waits for it any more.
    pub watch: &'a dyn Fn(usize) -> bool,
}

/// Shows no body, which holds a conversation.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Request");
        shown.field("bytes", &self.body.len()).field("model", &self.model).finish_non_exhaustive()
    }
}

impl Request<'_> {
    /// Translates the body of a message, mended where Bedrock has refused it before.
    ///
    /// # Errors
    ///
    /// Fails where Bedrock could not give the same answer as Anthropic.
    pub fn to_bedrock(&self, mends: &Mends) -> Result<Vec<u8>, Untranslatable> {
        let sent = self.translate(mends, Purpose::Message)?;
        if sent.len() > MOST_BYTES { Err(Untranslatable::TooLarge(sent.len())) } else { Ok(sent) }
    }

    /// Translates once more after a refusal; `None` where that would be the same body again, or
    /// none that Bedrock could serve: then the refusal stands.
    pub fn mended(&self, mends: &Mends, refusal: &str) -> Option<(Mends, Vec<u8>)> {
        let sent = self.to_bedrock(mends).ok()?;
        let mut more = mends.clone();
        if !more.add(refusal, &sent) {
            return None;
        }
        let mended = self.to_bedrock(&more).ok()?;
        (mended != sent).then_some((more, mended))
    }

    fn translate(&self, mends: &Mends, purpose: Purpose) -> Result<Vec<u8>, Untranslatable> {
        let reader = Reader::new(self.body, self.watch);
        let body = str::from_utf8(self.body);
        let body = body.map_err(|_| Untranslatable::Shape("it is not UTF-8"))?;
        let body = reader.object(body)?.ok_or(Untranslatable::Shape("it is no object"))?;
        let content = ContentEditor {
            reader: &reader,
            features: mends.applied_to(self.model.features()),
            holds: Holds::default(),
            markers: 0,
            without_thinking: mends.without_thinking_blocks,
            without_attribution: mends.without_attribution,
        };
        let translation = Translation { body: &body, content, mends, purpose, leading: Vec::new() };
        translation.run(&self.headers)
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
    Request { body, headers: headers.clone(), model, watch: &|_| true }.to_bedrock(mends)
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
    let request = Request { body, headers: headers.clone(), model, watch: &|_| true };
    request.translate(&Mends::default(), Purpose::Count)
}

struct Translation<'a> {
    body: &'a Object<'a>,
    content: ContentEditor<'a>,
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
        let mut fields = Vec::new();
        for field in self.body.fields() {
            let edit = match &*field.key {
                "messages" => mem::replace(&mut edited, Edit::Keep),
                key => self.field(key, field.value)?,
            };
            fields.extend(edit.apply(field.value).map(|value| (field, value)));
        }
        let marker = self.marker()?;
        let mut out = Writer::object(messages.len());
        for (field, mut value) in fields {
            if let Some(marker) = marker.as_deref().filter(|_| field.key == "messages")
                && let Edit::Put(marked) = marked(&value, marker, self.content.reader)?
            {
                value = marked.into();
            }
            let mended = self.mends.edit((&field.key, &value), self.content.reader)?;
            if let Some(value) = mended.apply(&value) {
                out.field(field.raw_key, &value);
            }
        }
        self.add(headers, &mut out)?;
        Ok(out.finish().into_bytes())
    }

    /// The marker that a model without automatic caching is given on a block, where there is room.
    fn marker(&mut self) -> Result<Option<String>, Untranslatable> {
        let asked = self.body.get("cache_control").filter(|marker| !is_blank(marker));
        let automatic = self.content.features.automatic_cache || self.purpose == Purpose::Count;
        let Some(asked) = asked.filter(|_| !automatic) else { return Ok(None) };
        let room = self.content.markers < MOST_MARKERS;
        let marker = self.content.cache_control(asked)?.apply(asked).map(Into::into);
        Ok(marker.filter(|marker: &String| room && opens_with(marker, '{')))
    }

    /// Refuses what names a state that only Anthropic keeps.
    fn refuse(&self) -> Result<(), Untranslatable> {
        for (key, handling) in FIELDS {
            let named = self.body.get(key).is_some_and(|value| !is_blank(value));
            if *handling == Handling::Anthropic && named {
                return Err(Untranslatable::Kept(key));
            }
        }
        // A continued thread carries only its newest messages.
        let thread = self.body.get("thread").unwrap_or("null");
        let thread = self.content.reader.object(thread)?;
        match thread.and_then(|thread| thread.text("type")).as_deref() {
            Some("continue") => Err(Untranslatable::Kept("thread")),
            Some(_) | None => Ok(()),
        }
    }

    fn field(&mut self, key: &str, json: &str) -> Result<Edit, Untranslatable> {
        let features = self.content.features;
        match FIELDS.iter().find(|(name, _)| *name == key).map(|(_, handling)| handling) {
            Some(Handling::Everywhere) => {}
            Some(Handling::Message) if self.purpose == Purpose::Message => {}
            Some(Handling::Message | Handling::Anthropic) | None => return Ok(Edit::Drop),
        }
        match key {
            "system" => self.content.system(json, &self.leading),
            "tools" => self.tools(json),
            "tool_choice" => {
                let choice = self.content.reader.object(json)?;
                let name = choice.and_then(|choice| choice.text("name"));
                named(&name.unwrap_or_default()).map(|()| Edit::Keep)
            }
            "thinking" if self.mends.without_thinking => Ok(Edit::Drop),
            "thinking" => self.thinking(json),
            "output_config" => self.output_config(json),
            "output_format" => Ok(Edit::Drop),
            "cache_control" if features.automatic_cache => self.content.cache_control(json),
            "cache_control" => Ok(Edit::Drop),
            // Without them the client asks the user about each call, which is safe.
            "safeguards" => {
                self.content.holds.safeguards = features.auto_mode && !is_blank(json);
                Ok(Edit::keep_if(self.content.holds.safeguards))
            }
            "metadata" => Ok(Edit::keep_if(features.metadata)),
            "temperature" | "top_k" | "top_p" => Ok(Edit::keep_if(features.sampling)),
            _ => Ok(Edit::Keep),
        }
    }

    fn tools(&mut self, json: &str) -> Result<Edit, Untranslatable> {
        if self.purpose == Purpose::Count && is_blank(json) {
            return Ok(Edit::Drop);
        }
        let tools = self.content.reader.array(json)?;
        let tools = tools.ok_or(Untranslatable::Shape("`tools` is no array"))?;
        edit_all(&tools, |tool| self.tool(tool))
    }

    fn tool(&mut self, json: &str) -> Result<Edit, Untranslatable> {
        let tool = self.content.reader.object(json)?;
        let tool = tool.ok_or(Untranslatable::Shape("a tool is no object"))?;
        named(&tool.text("name").unwrap_or_default())?;
        let kind = tool.text("type").unwrap_or("custom".into());
        let known = TOOLS.iter().find(|known| known.is(&kind));
        let known = known.ok_or_else(|| Untranslatable::tool(&kind))?;
        self.content.holds.needed.extend(known.beta);
        if kind.starts_with(TOOL_SEARCH) {
            self.content.tool_search()?;
        }
        let features = self.content.features;
        let message = self.purpose == Purpose::Message;
        tool.edit(|key, value| {
            let (kept, gate) = match key {
                "cache_control" => return self.content.cache_control(value),
                "defer_loading" => {
                    (features.tool_search && value == "true", &mut self.content.holds.tool_search)
                }
                "input_examples" => (features.tool_examples, &mut self.content.holds.examples),
                "eager_input_streaming" => {
                    (features.input_streaming && message, &mut self.content.holds.input_streaming)
                }
                "strict" => return Ok(Edit::keep_if(features.format)),
                "allowed_callers" | "custom" => return Ok(Edit::Drop),
                _ => return Ok(Edit::Keep),
            };
            *gate |= kept;
            Ok(Edit::keep_if(kept))
        })
    }

    fn thinking(&mut self, json: &str) -> Result<Edit, Untranslatable> {
        let Some(thinking) = self.content.reader.object(json)? else { return Ok(Edit::Keep) };
        let features = self.content.features;
        let binding = features.block_binding && self.purpose == Purpose::Message;
        let thinks = thinking.text("type").is_some_and(|kind| kind != "disabled");
        let bound = thinking.get("block_binding").is_none()
            && binding
            && features.preserved_thinking
            && thinks;
        self.content.holds.block_binding |= bound;
        let edit = thinking.edit(|key, value| {
            Ok(match key {
                // Beside `disabled` Bedrock takes nothing.
                "display" | "block_binding" if !thinks => Edit::Drop,
                "display" => Edit::keep_if(match text(value).as_deref() {
                    Some("updates") => features.auto_mode,
                    Some("highlights") => false,
                    Some(_) | None => features.display,
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
        let features = self.content.features;
        let json = if is_blank(json) { "{}" } else { json };
        let config = self.content.reader.object(json)?;
        let config = config.ok_or(Untranslatable::Shape("`output_config` is no object"))?;
        let said = |format: &&str| !is_blank(format);
        let format = config.get("format").filter(said);
        let moved = self.body.get("output_format").filter(|old| format.is_none() && said(old));
        if format.or(moved).is_some() && !features.format {
            return Err(Untranslatable::Missing("structured output"));
        }
        let mut out = Writer::object(json.len());
        for field in config.fields() {
            let edit = match &*field.key {
                "effort"
                    if !features.effort_xhigh && field.value == r#""xhigh""# && features.effort =>
                {
                    Edit::Put(r#""max""#.to_owned())
                }
                "effort" => Edit::keep_if(features.effort),
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
        let features = self.content.features;
        let holds = &self.content.holds;
        match self.purpose {
            Purpose::Message => {
                let betas = betas(&headers.betas, (&features, self.mends), holds)?;
                if !betas.is_empty() {
                    out.field(r#""anthropic_beta""#, &format!("[\"{}\"]", betas.join("\",\"")));
                }
            }
            Purpose::Count if holds.tool_search || holds.examples || !holds.needed.is_empty() => {
                return Err(Untranslatable::Uncountable);
            }
            Purpose::Count => out.field(r#""max_tokens""#, &self.room().to_string()),
        }
        let newer = features.version_2026 && headers.version == Some(VERSION_2026);
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
