//! Where does a cache marker go that the client has left to the service?
//!
//! On the last block that may carry one, as automatic caching does it at Anthropic. The marker
//! moves with each turn, which changes nothing that the model sees.

use super::Untranslatable;
use super::json::{Edit, Writer, is_blank, text};
use super::reader::Reader;
use super::table::MARKED_BLOCKS;

/// Puts a cache marker on the last block that may carry one, unless that one has its own.
pub(super) fn marked(
    messages: &str,
    marker: &str,
    reader: &Reader<'_>,
) -> Result<Edit, Untranslatable> {
    let mut items = reader.array(messages)?.unwrap_or_default();
    for at in (0..items.len()).rev() {
        let Some(message) = reader.object(items[at])? else { continue };
        let Some(content) = message.get("content") else { continue };
        let (is_there, edit) = marked_content(content, marker, reader)?;
        if !is_there {
            continue;
        }
        let Edit::Put(content) = edit else { return Ok(Edit::Keep) };
        let message = message.edit::<Untranslatable>(|key, _| {
            Ok(if key == "content" { Edit::Put(content.clone()) } else { Edit::Keep })
        })?;
        let message = message.apply(items[at]).unwrap_or_default();
        items[at] = &message;
        let mut out = Writer::array();
        items.iter().for_each(|item| out.item(item));
        return Ok(Edit::Put(out.finish()));
    }
    Ok(Edit::Keep)
}

/// Whether one of the blocks may carry a marker, and the content with it, if it has none yet.
fn marked_content(
    content: &str,
    marker: &str,
    reader: &Reader<'_>,
) -> Result<(bool, Edit), Untranslatable> {
    let Some(mut blocks) = reader.array(content)? else {
        let is_text = text(content).is_some_and(|text| !text.trim().is_empty());
        let block = || format!(r#"[{{"type":"text","text":{content},"cache_control":{marker}}}]"#);
        return Ok((is_text, if is_text { Edit::Put(block()) } else { Edit::Keep }));
    };
    for at in (0..blocks.len()).rev() {
        let Some(block) = reader.object(blocks[at])? else { continue };
        let kind = block.text("type").unwrap_or_default();
        let silent = || block.text("text").unwrap_or_default().trim().is_empty();
        if !MARKED_BLOCKS.contains(&&*kind) || (kind == "text" && silent()) {
            continue;
        }
        if block.get("cache_control").is_some_and(|own| !is_blank(own)) {
            return Ok((true, Edit::Keep));
        }
        let mut out = Writer::object(blocks[at].len());
        let fields = block.fields().iter().filter(|field| field.key != "cache_control");
        fields.for_each(|field| out.field(field.raw_key, field.value));
        out.field(r#""cache_control""#, marker);
        let block = out.finish();
        blocks[at] = &block;
        let mut out = Writer::array();
        blocks.iter().for_each(|block| out.item(block));
        return Ok((true, Edit::Put(out.finish())));
    }
    Ok((false, Edit::Keep))
}
