//! What may stand in `system`, `messages` and their blocks?
//!
//! Thinking blocks, tool inputs and texts are never changed; thinking blocks go as a whole, where
//! Bedrock has refused them.

use std::borrow::Cow;
use std::mem;

use super::json::{Edit, Object, Writer, array, edit_all, is_blank};
use super::request::Untranslatable;
use super::table::{ANTHROPIC_BLOCKS, Holds, Line, TOOL_SEARCH};

/// How deep blocks may stand in blocks. An image in a document in a tool result is at 2.
const DEEPEST: usize = 4;

/// How the line begins by which Claude Code tells Anthropic which version it is.
const ATTRIBUTION: &str = "x-anthropic-billing-header";

/// Opens a turn that says in the user's place what the operator said in the middle.
const OPERATOR: &str =
    r#"{"type":"text","text":"An instruction from the operator, not from the user:"}"#;

/// Edits content for one line of models, and notes what it meets.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) line: Line,
    pub(super) holds: Holds,
    /// Thinking blocks are left out.
    pub(super) without_thinking: bool,
    /// Claude Code's attribution line is left out.
    pub(super) without_attribution: bool,
}

impl Content {
    /// Edits `messages`. Where the line takes no system messages, those before the first turn are
    /// put into `leading` as blocks for `system`, and later ones become turns of the user.
    pub(super) fn messages(
        &mut self,
        json: &str,
        leading: &mut Vec<String>,
    ) -> Result<Edit, Untranslatable> {
        let items = array(json)?.ok_or(Untranslatable::Shape("`messages` is no array"))?;
        if self.line.system_messages {
            return edit_all(&items, |item| self.message(&object(item)?));
        }
        let mut out = Writer::array();
        let mut changed = false;
        let mut held = Vec::new();
        let mut before: Option<Object<'_>> = None;
        for item in items {
            let message = object(item)?;
            if message.text("role").as_deref() == Some("system") {
                changed = true;
                let blocks = self.said(&message)?;
                match &before {
                    None => leading.extend(blocks),
                    Some(_) if blocks.is_empty() => {}
                    Some(turn) if calls_tools(turn)? => held.push(operator_turn(&blocks)),
                    Some(_) => out.item(&operator_turn(&blocks)),
                }
                continue;
            }
            let edit = self.message(&message)?;
            changed |= edit != Edit::Keep;
            if let Some(message) = edit.apply(item) {
                out.item(&message);
            }
            // A tool's result must follow its call directly: what was said in between comes after.
            held.drain(..).for_each(|turn: String| out.item(&turn));
            before = Some(message);
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
        let edit = match array(json)? {
            Some(items) => self.system_blocks(&items)?,
            None => Edit::Keep,
        };
        if leading.is_empty() {
            return Ok(edit);
        }
        let own = edit.apply(json).unwrap_or(Cow::Borrowed("null"));
        let mut out = Writer::array();
        if let Some(items) = array(&own)? {
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
            if !kept && is_attribution(item)? {
                return Ok(Edit::Drop);
            }
            self.block(item, 0)
        })?;
        Ok(if edit == Edit::Put("[]".to_owned()) { Edit::Drop } else { edit })
    }

    /// Edits a `cache_control`: Bedrock takes no `scope`, old lines no `ttl`.
    pub(super) fn cache_control(&self, json: &str) -> Result<Edit, Untranslatable> {
        let Some(marker) = Object::read(json)? else { return Ok(Edit::Keep) };
        marker.edit(|key, _| {
            Ok(match key {
                "scope" => Edit::Drop,
                "ttl" => Edit::keep_if(self.line.cache_ttl),
                _ => Edit::Keep,
            })
        })
    }

    /// Notes that the body searches for tools.
    pub(super) fn tool_search(&mut self) -> Result<(), Untranslatable> {
        self.holds.tool_search = true;
        if self.line.tool_search { Ok(()) } else { Err(Untranslatable::Missing("tool search")) }
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
            && object(edited)?.get("content").is_some_and(|content| content == "[]");
        Ok(if emptied { Edit::Drop } else { edit })
    }

    fn blocks(&mut self, json: &str, depth: usize) -> Result<Edit, Untranslatable> {
        let Some(items) = array(json)? else { return Ok(Edit::Keep) };
        if depth > DEEPEST {
            return Err(Untranslatable::Shape("content blocks are nested too deep"));
        }
        edit_all(&items, |item| self.block(item, depth))
    }

    fn block(&mut self, json: &str, depth: usize) -> Result<Edit, Untranslatable> {
        let Some(block) = Object::read(json)? else { return Ok(Edit::Keep) };
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
            "tool_reference" | "tool_search_tool_result" => self.tool_search(),
            "server_tool_use" if name.starts_with(TOOL_SEARCH) => self.tool_search(),
            "tool_addition" | "tool_removal" => {
                self.holds.tool_changes = true;
                let known = self.line.system_messages;
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
        let Some(source) = Object::read(json)? else { return Ok(Edit::Keep) };
        match source.text("type").as_deref() {
            Some("url") => Err(Untranslatable::Source("url")),
            Some("file") => Err(Untranslatable::Source("file")),
            Some(_) | None => source.edit(|key, value| match key {
                "content" => self.blocks(value, depth),
                _ => Ok(Edit::Keep),
            }),
        }
    }

    /// The text blocks of a system message.
    fn said(&mut self, message: &Object<'_>) -> Result<Vec<String>, Untranslatable> {
        let content = message.get("content").unwrap_or("null");
        let Some(items) = array(content)? else {
            return Ok(if is_blank(content) { Vec::new() } else { vec![text_block(content)] });
        };
        let mut blocks = Vec::with_capacity(items.len());
        for item in items {
            if object(item)?.text("type").as_deref() != Some("text") {
                return Err(Untranslatable::Missing("system messages that hold more than text"));
            }
            blocks.extend(self.block(item, 0)?.apply(item).map(Into::into));
        }
        Ok(blocks)
    }
}

fn is_attribution(block: &str) -> Result<bool, Untranslatable> {
    let text = Object::read(block)?.and_then(|block| block.text("text"));
    Ok(text.is_some_and(|text| text.starts_with(ATTRIBUTION)))
}

fn object(json: &str) -> Result<Object<'_>, Untranslatable> {
    Object::read(json)?.ok_or(Untranslatable::Shape("a message or block is no object"))
}

fn calls_tools(message: &Object<'_>) -> Result<bool, Untranslatable> {
    if message.text("role").as_deref() != Some("assistant") {
        return Ok(false);
    }
    for item in array(message.get("content").unwrap_or("null"))?.unwrap_or_default() {
        if object(item)?.text("type").as_deref() == Some("tool_use") {
            return Ok(true);
        }
    }
    Ok(false)
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
