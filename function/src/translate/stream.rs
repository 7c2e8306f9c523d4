//! What does the client of a stream read for each chunk that Bedrock sends?
//!
//! One chunk is one whole event of the Messages API as JSON. It becomes a server-sent event with
//! the requested model's name put back and AWS's own keys removed; event types not known here pass
//! through. Nothing is ever sent or waited for here: the caller holds back, commits and closes.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::error::{self, BedrockFailure};
use super::json::{Edit, Object, Writer};
use super::response::{Malformed, Usage, edited, quoted, restored};
use crate::wire::sse;

/// Turns the chunks of one Bedrock stream into the events of one Anthropic stream.
#[derive(Debug)]
pub struct Stream {
    /// The requested model's name as JSON.
    model: String,
    committed: bool,
    finished: bool,
    /// The stream has said how much it has written.
    output_told: bool,
    usage: Usage,
    /// How many characters of content have come.
    characters: u64,
    /// A `message_delta` whose cache counts only the next event can tell.
    delta: Option<String>,
}

/// What one chunk means to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Nothing to send: a chunk without a type, or one that goes out with the next.
    Skip,
    /// Bytes of events before the first delta: another upstream may still take over.
    Opening(Bytes),
    /// Bytes of the first delta or of what follows it: sending them commits.
    Content(Bytes),
    /// The model's answer broke off; nothing more is to come.
    Failed(BedrockFailure),
}

impl Stream {
    /// Starts a stream whose client asked for `requested_model`.
    pub fn new(requested_model: &str) -> Self {
        Self {
            model: quoted(requested_model),
            committed: false,
            finished: false,
            output_told: false,
            usage: Usage::default(),
            characters: 0,
            delta: None,
        }
    }

    /// Translates the next chunk.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if the chunk is not JSON; the stream cannot go on then.
    pub fn event(&mut self, chunk: &[u8]) -> Result<Event, Malformed> {
        let Some((json, event)) = read(chunk)? else { return Ok(Event::Skip) };
        let Some(kind) = event.text("type") else { return Ok(Event::Skip) };
        match &*kind {
            "error" => return Ok(Event::Failed(failure(&event))),
            "message_start" | "message_delta" => {
                let usage = Usage::found_in(chunk).unwrap_or_default();
                // What a stream says of its output at the beginning only holds a place.
                self.output_told |= kind == "message_delta" && usage.output.is_some();
                self.usage.update(usage);
            }
            "content_block_delta" => self.characters += characters(&event),
            "message_stop" => {
                let metrics = metrics(&event);
                self.output_told |= metrics.output.is_some();
                self.usage.update(metrics);
                self.finished = true;
            }
            _ => {}
        }
        self.committed |=
            matches!(&*kind, "content_block_delta" | "message_delta" | "message_stop");
        let before = self.delta.take().map(|delta| self.completed(&delta).0);
        let json = edited(&event, |key, value| match (&*kind, key) {
            ("message_start", "message") => self.start(value),
            _ => Edit::Keep,
        })
        .apply(json)
        .unwrap_or_default();
        if kind != "message_delta" {
            return Ok(self.send(before, sse::write(&kind, json.as_bytes())));
        }
        let (delta, complete) = self.completed(&json);
        if complete {
            return Ok(self.send(before, delta));
        }
        self.delta = Some(json.into_owned());
        Ok(before.map_or(Event::Skip, Event::Content))
    }

    fn send(&self, before: Option<Bytes>, event: Bytes) -> Event {
        let bytes = match before {
            Some(before) => [before, event].concat().into(),
            None => event,
        };
        if self.committed { Event::Content(bytes) } else { Event::Opening(bytes) }
    }

    fn start(&self, message: &str) -> Edit {
        match Object::read(message) {
            Ok(Some(message)) => restored(&message, &self.model),
            Ok(None) | Err(_) => Edit::Keep,
        }
    }

    /// Writes a `message_delta` with the cache counts it lacks; false if some are still unknown.
    ///
    /// Some regions tell them only in `message_start`, or only in the metrics of `message_stop`.
    fn completed(&self, delta: &str) -> (Bytes, bool) {
        let mut complete = true;
        let edit = match Object::read(delta) {
            Ok(Some(event)) => edited(&event, |key, value| match Object::read(value) {
                Ok(Some(usage)) if key == "usage" => {
                    let (counts, all) = self.with_cache_counts(&usage);
                    complete = all;
                    counts
                }
                Ok(_) | Err(_) => Edit::Keep,
            }),
            Ok(None) | Err(_) => Edit::Keep,
        };
        let json = edit.apply(delta).unwrap_or_default();
        (sse::write("message_delta", json.as_bytes()), complete)
    }

    /// Adds the cache counts that `usage` lacks; false if one of them is still unknown.
    fn with_cache_counts(&self, usage: &Object<'_>) -> (Edit, bool) {
        let missing: Vec<_> = [
            ("cache_creation_input_tokens", self.usage.cache_write),
            ("cache_read_input_tokens", self.usage.cache_read),
        ]
        .into_iter()
        .filter(|(name, _)| usage.get(name).is_none_or(|count| count == "null"))
        .collect();
        if missing.is_empty() {
            return (Edit::Keep, true);
        }
        let mut counts = Writer::object(0);
        for field in usage.fields() {
            if missing.iter().all(|(name, _)| field.key != *name) {
                counts.field(field.raw_key, field.value);
            }
        }
        let mut all = true;
        for (name, count) in missing {
            match count {
                Some(count) => counts.field(&quoted(name), &count.to_string()),
                None => all = false,
            }
        }
        (Edit::Put(counts.finish()), all)
    }

    /// Tells whether `message_stop` has come; a stream that ends before it was cut.
    pub fn finished(&self) -> bool {
        self.finished
    }

    /// Returns the token counts seen so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Returns the token counts that AWS will charge for.
    ///
    /// A stream that breaks off, or ends without a word of it, has not said how much it has
    /// written: then it is at least a token for every four characters that have come.
    pub fn billed(&self) -> Usage {
        let mut billed = self.usage;
        if !(self.finished && self.output_told) {
            billed.output = billed.output.max(Some(self.characters.div_ceil(4)));
        }
        billed
    }
}

/// Reads a chunk; `None` where it is JSON, but no object.
fn read(chunk: &[u8]) -> Result<Option<(&str, Object<'_>)>, Malformed> {
    let malformed = Malformed { part: "chunk", bytes: chunk.len() };
    let json = str::from_utf8(chunk).map_err(|_| malformed)?;
    if let Some(event) = Object::read(json).map_err(|_| malformed)? {
        return Ok(Some((json, event)));
    }
    serde_json::from_str::<&RawValue>(json).map(|_| None).map_err(|_| malformed)
}

fn failure(event: &Object<'_>) -> BedrockFailure {
    let inner = event.get("error").and_then(|inner| Object::read(inner).ok().flatten());
    let part = |name| inner.as_ref().and_then(|inner| inner.text(name)).unwrap_or_default();
    error::of_event(&part("type"), &part("message"))
}

/// How many characters a delta brings.
fn characters(event: &Object<'_>) -> u64 {
    let delta = event.get("delta").and_then(|delta| Object::read(delta).ok().flatten());
    let texts = delta.iter().flat_map(|delta| {
        ["text", "thinking", "partial_json"].into_iter().filter_map(|name| delta.text(name))
    });
    texts.map(|text| text.chars().count() as u64).sum()
}

/// The token counts that AWS adds to `message_stop`.
fn metrics(event: &Object<'_>) -> Usage {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metrics {
        input_token_count: Option<u64>,
        output_token_count: Option<u64>,
        cache_read_input_token_count: Option<u64>,
        cache_write_input_token_count: Option<u64>,
    }
    let json = event.get("amazon-bedrock-invocationMetrics").unwrap_or("{}");
    let metrics: Metrics = serde_json::from_str(json).unwrap_or_default();
    Usage {
        input: metrics.input_token_count,
        output: metrics.output_token_count,
        cache_read: metrics.cache_read_input_token_count,
        cache_write: metrics.cache_write_input_token_count,
        ..Usage::default()
    }
}
