//! What may stand in `system`, `messages` and their blocks?
//!
//! Thinking blocks, tool inputs and texts are never changed; thinking blocks go as a whole, where
//! Bedrock has refused them.

use std::borrow::Cow;
use std::mem;

use super::Untranslatable;
use super::json::{Edit, Object, Writer, edit_all, is_blank};
use super::reader::Reader;
use super::table::{
    ANTHROPIC_BLOCKS, Features, Holds, LONGEST_TOOL_NAME, TOOL_CHANGES, TOOL_SEARCH,
};

/// How deep blocks may stand in blocks. An image in a document in a tool result is at 2.
const DEEPEST: usize = 4;

/// How the line begins by which Claude Code tells Anthropic which version it is.
const ATTRIBUTION: &str = "x-anthropic-billing-header";

/// Opens a turn that says in the user's place what the operator said in the middle.
const OPERATOR: &str =
    r#"{"type":"text","text":"An instruction from the operator, not from the user:"}"#;

/// Edits content for one model, and notes what it meets.
#[derive(Debug)]
pub(super) struct ContentEditor<'r> {
    pub(super) reader: &'r Reader<'r>,
    pub(super) features: Features,
    pub(super) holds: Holds,
    /// How many cache markers there are.
    pub(super) markers: usize,
    /// Thinking blocks are left out.
    pub(super) without_thinking: bool,
    /// Claude Code's attribution line is left out.
    pub(super) without_attribution: bool,
}

/// A turn that has been edited, and what must be known of it when it is followed by a system
/// message.
struct Turn<'a> {
    message: Object<'a>,
    calls_tools: Option<bool>,
}

impl ContentEditor<'_> {
    /// Edits `messages`. Where the model takes no system messages, those before the first turn are
    /// put into `leading` as blocks for `system`, and later ones become turns of the user.
    pub(super) fn messages(
        &mut self,
        json: &str,
        leading: &mut Vec<String>,
    ) -> Result<Edit, Untranslatable> {
        let items = self.reader.array(json)?;
        let items = items.ok_or(Untranslatable::Shape("`messages` is no array"))?;
        if self.features.system_messages {
            return edit_all(&items, |item| {
                let message = self.object(item)?;
                self.message(&message)
            });
        }
        let mut out = Writer::array();
        let mut changed = false;
        let mut held = Vec::new();
        let mut before: Option<Turn<'_>> = None;
        for item in items {
            let message = self.object(item)?;
            if message.text("role").as_deref() == Some("system") {
                changed = true;
                let blocks = self.said(&message)?;
                let Some(turn) = &mut before else {
                    leading.extend(blocks);
                    continue;
                };
                if !blocks.is_empty() && self.calls_tools(turn)? {
                    held.push(operator_turn(&blocks));
                } else if !blocks.is_empty() {
                    out.item(&operator_turn(&blocks));
                }
                continue;
            }
            let edit = self.message(&message)?;
            changed |= edit != Edit::Keep;
            if let Some(message) = edit.apply(item) {
                out.item(&message);
            }
            // A tool's result must follow its call directly: what was said in between comes after.
            let mut turn = Turn { message, calls_tools: None };
            if !held.is_empty() && !self.calls_tools(&mut turn)? {
                held.drain(..).for_each(|turn: String| out.item(&turn));
            }
            before = Some(turn);
        }
        held.iter().for_each(|turn| out.item(turn));
        Ok(if changed { Edit::Put(out.finish()) } else { Edit::Keep })
    }

    /// Edits `system`, and puts `leading` blocks behind it.
    pub(super) fn system(
        &mut self,
        json: &str,
        leading: &[String],
    ) -> Result<Edit, Untranslatable> {
        let edit = match self.reader.array(json)? {
            Some(items) => self.system_blocks(&items)?,
            None => Edit::Keep,
        };
        if leading.is_empty() {
            return Ok(edit);
        }
        let own = edit.apply(json).unwrap_or(Cow::Borrowed("null"));
        let mut out = Writer::array();
        if let Some(items) = self.reader.array(&own)? {
            items.iter().for_each(|item| out.item(item));
        } else if !is_blank(&own) {
            out.item(&text_block(&own));
        }
        leading.iter().for_each(|block| out.item(block));
        Ok(Edit::Put(out.finish()))
    }

    /// Edits the blocks of `system`.
    ///
    /// The attribution line stays where Claude Code itself sends it to Bedrock: first, in a block
    /// of its own. Elsewhere it would be a part of the prompt that differs between versions.
    fn system_blocks(&mut self, items: &[&str]) -> Result<Edit, Untranslatable> {
        let mut first = true;
        let edit = edit_all(items, |item| {
            let kept = mem::take(&mut first) && !self.without_attribution;
            if !kept && self.is_attribution(item)? {
                return Ok(Edit::Drop);
            }
            self.block(item, 0)
        })?;
        Ok(if edit == Edit::Put("[]".to_owned()) { Edit::Drop } else { edit })
    }

    /// Edits a `cache_control`: Bedrock takes no `scope`, old models no `ttl`.
    pub(super) fn cache_control(&mut self, json: &str) -> Result<Edit, Untranslatable> {
        let Some(marker) = self.reader.object(json)? else { return Ok(Edit::Keep) };
        self.markers += 1;
        marker.edit(|key, _| {
            Ok(match key {
                "scope" => Edit::Drop,
                "ttl" => Edit::keep_if(self.features.cache_ttl),
                _ => Edit::Keep,
            })
        })
    }

    /// Notes that the body searches for tools.
    pub(super) fn tool_search(&mut self) -> Result<(), Untranslatable> {
        self.holds.tool_search = true;
        if self.features.tool_search { Ok(()) } else { Err(Untranslatable::Missing("tool search")) }
    }

    fn message(&mut self, message: &Object<'_>) -> Result<Edit, Untranslatable> {
        // A system message may have carried settings alone, and those are dropped.
        let silent = message.get("content").is_none_or(is_blank);
        if silent && message.text("role").as_deref() == Some("system") {
            return Ok(Edit::Drop);
        }
        let edit = message.edit(|key, value| match key {
            "content" => self.blocks(value, 0),
            "output_config" | "clear_at" => Ok(Edit::Drop),
            _ => Ok(Edit::Keep),
        })?;
        // A turn that was nothing but thinking is no turn without it.
        let Edit::Put(edited) = &edit else { return Ok(edit) };
        let emptied = self.without_thinking
            && self.object(edited)?.get("content").is_some_and(|content| content == "[]");
        Ok(if emptied { Edit::Drop } else { edit })
    }

    fn blocks(&mut self, json: &str, depth: usize) -> Result<Edit, Untranslatable> {
        let Some(items) = self.reader.array(json)? else { return Ok(Edit::Keep) };
        if depth > DEEPEST {
            return Err(Untranslatable::Shape("content blocks are nested too deep"));
        }
        edit_all(&items, |item| self.block(item, depth))
    }

    fn block(&mut self, json: &str, depth: usize) -> Result<Edit, Untranslatable> {
        let Some(block) = self.reader.object(json)? else { return Ok(Edit::Keep) };
        self.admit(&block)?;
        if self.is_left_out(&block) {
            return Ok(Edit::Drop);
        }
        block.edit(|key, value| match key {
            "cache_control" => self.cache_control(value),
            "content" => self.blocks(value, depth + 1),
            "source" => self.source(value, depth + 1),
            _ => Ok(Edit::Keep),
        })
    }

    fn is_left_out(&self, block: &Object<'_>) -> bool {
        match block.text("type").as_deref() {
            Some("thinking" | "redacted_thinking") => self.without_thinking,
            Some(_) | None => false,
        }
    }

    /// Refuses the blocks that only Anthropic understands.
    fn admit(&mut self, block: &Object<'_>) -> Result<(), Untranslatable> {
        let kind = block.text("type").unwrap_or_default();
        let name = block.text("name").unwrap_or_default();
        match &*kind {
            "tool_use" => named(&name),
            "tool_reference" | "tool_search_tool_result" => self.tool_search(),
            "server_tool_use" if name.starts_with(TOOL_SEARCH) => self.tool_search(),
            "tool_addition" | "tool_removal" => {
                self.holds.needed.insert(TOOL_CHANGES);
                let known = self.features.system_messages;
                if known { Ok(()) } else { Err(Untranslatable::Missing("tool changes")) }
            }
            kind if ANTHROPIC_BLOCKS.contains(&kind) || kind.ends_with("_tool_result") => {
                Err(Untranslatable::block(kind))
            }
            _ => Ok(()),
        }
    }

    /// Refuses sources that Bedrock would have to fetch.
    fn source(&mut self, json: &str, depth: usize) -> Result<Edit, Untranslatable> {
        let Some(source) = self.reader.object(json)? else { return Ok(Edit::Keep) };
        match source.text("type").as_deref() {
            Some("url") => Err(Untranslatable::Source("url")),
            Some("file") => Err(Untranslatable::Source("file")),
            Some(_) | None => source.edit(|key, value| match key {
                "content" => self.blocks(value, depth),
                _ => Ok(Edit::Keep),
            }),
        }
    }

    fn is_attribution(&self, block: &str) -> Result<bool, Untranslatable> {
        let text = self.reader.object(block)?.and_then(|block| block.text("text"));
        Ok(text.is_some_and(|text| text.starts_with(ATTRIBUTION)))
    }

    /// Whether a turn calls tools; it is read once, however many messages of the system follow it.
    fn calls_tools(&self, turn: &mut Turn<'_>) -> Result<bool, Untranslatable> {
        if let Some(known) = turn.calls_tools {
            return Ok(known);
        }
        let mut calls = false;
        if turn.message.text("role").as_deref() == Some("assistant") {
            let content = turn.message.get("content").unwrap_or("null");
            for item in self.reader.array(content)?.unwrap_or_default() {
                calls |= self.object(item)?.text("type").as_deref() == Some("tool_use");
            }
        }
        turn.calls_tools = Some(calls);
        Ok(calls)
    }

    fn object<'a>(&self, json: &'a str) -> Result<Object<'a>, Untranslatable> {
        let object = self.reader.object(json)?;
        object.ok_or(Untranslatable::Shape("a message or block is no object"))
    }

    /// The text blocks of a system message.
    fn said(&mut self, message: &Object<'_>) -> Result<Vec<String>, Untranslatable> {
        let content = message.get("content").unwrap_or("null");
        let Some(items) = self.reader.array(content)? else {
            return Ok(if is_blank(content) { Vec::new() } else { vec![text_block(content)] });
        };
        let mut blocks = Vec::with_capacity(items.len());
        for item in items {
            if self.object(item)?.text("type").as_deref() != Some("text") {
                return Err(Untranslatable::Missing("system messages that hold more than text"));
            }
            blocks.extend(self.block(item, 0)?.apply(item).map(Into::into));
        }
        Ok(blocks)
    }
}

/// Refuses names of tools that Bedrock does not take, and Anthropic does.
pub(super) fn named(name: &str) -> Result<(), Untranslatable> {
    let longer = name.len() > LONGEST_TOOL_NAME && name.chars().count() > LONGEST_TOOL_NAME;
    if longer { Err(Untranslatable::Name) } else { Ok(()) }
}

/// `text` is the JSON of a string.
fn text_block(text: &str) -> String {
    let mut block = Writer::object(text.len() + 32);
    block.field(r#""type""#, r#""text""#);
    block.field(r#""text""#, text);
    block.finish()
}

fn operator_turn(blocks: &[String]) -> String {
    let mut content = Writer::array();
    content.item(OPERATOR);
    blocks.iter().for_each(|block| content.item(block));
    let mut turn = Writer::object(0);
    turn.field(r#""role""#, r#""user""#);
    turn.field(r#""content""#, &content.finish());
    turn.finish()
}
