//! Where does one server-sent event end and the next begin, and what does it say?
//!
//! Follows the section "Server-sent events" of the WHATWG HTML standard, with one exception: a lone
//! CR does not end a line here (no Messages API server writes one). Raw bytes are handed on, never
//! rewritten; what is not understood passes through.
//!
//! A *block* is everything up to and including a blank line. It is usually one event, but may be
//! comments only, or nothing but the blank line: then it has neither name nor data.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};

use super::usage::Usage;

/// The longest unfinished event that is held back, in bytes.
pub const MAX_EVENT: usize = 1 << 20;

/// The event that keeps a silent stream alive; the SDKs ignore it, idle timers do not.
pub const PING: &[u8] = b"event: ping\ndata: {\"type\": \"ping\"}\n\n";

/// What the line under the scan holds so far, carried over chunk boundaries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum LineState {
    #[default]
    Empty,
    Cr,
    Text,
}

impl LineState {
    /// Returns the index behind the first blank line in `bytes`.
    ///
    /// `None` means that all of `bytes` was scanned. Each byte may be shown to the scan only once.
    fn blank(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', bytes) {
            let blank =
                matches!((*self, &bytes[start..end]), (Self::Empty, b"" | b"\r") | (Self::Cr, b""));
            *self = Self::Empty;
            start = end + 1;
            if blank {
                return Some(start);
            }
        }
        *self = match (*self, &bytes[start..]) {
            (before, b"") => before,
            (Self::Empty, b"\r") => Self::Cr,
            (Self::Empty | Self::Cr | Self::Text, _) => Self::Text,
        };
        None
    }
}

/// Cuts a byte stream into blocks, at any chunk boundary.
///
/// After each [`push`](Self::push) take blocks until there is none; what a chunk holds whole is a
/// slice of it, not a copy. An unfinished event of more than [`MAX_EVENT`] bytes makes the splitter
/// *overlong*: it gives no more blocks, and the caller must stop pushing and take
/// [`rest`](Self::rest), to forward it unread or to give up.
#[derive(Debug, Default)]
pub struct Splitter {
    /// Not yet scanned.
    chunk: Bytes,
    /// Scanned, and holding no blank line.
    begun: BytesMut,
    line: LineState,
}

impl Splitter {
    /// Adds the next bytes of the stream.
    pub fn push(&mut self, chunk: Bytes) {
        if self.chunk.is_empty() {
            self.chunk = chunk;
        } else {
            let mut joined = BytesMut::from(std::mem::take(&mut self.chunk));
            joined.extend_from_slice(&chunk);
            self.chunk = joined.freeze();
        }
    }

    /// Tells whether an unfinished event has outgrown [`MAX_EVENT`].
    pub fn is_overlong(&self) -> bool {
        self.begun.len() > MAX_EVENT
    }

    /// Returns all bytes that have not been given out as blocks.
    pub fn rest(mut self) -> Bytes {
        if self.begun.is_empty() {
            return self.chunk;
        }
        self.begun.extend_from_slice(&self.chunk);
        self.begun.freeze()
    }
}

impl Iterator for Splitter {
    type Item = Bytes;

    /// Returns the next complete block; `None` until more bytes are pushed.
    fn next(&mut self) -> Option<Bytes> {
        if self.is_overlong() {
            return None;
        }
        let Some(end) = self.line.blank(&self.chunk) else {
            self.begun.extend_from_slice(&self.chunk);
            self.chunk.clear();
            return None;
        };
        let block = self.chunk.split_to(end);
        if self.begun.is_empty() {
            return Some(block);
        }
        self.begun.extend_from_slice(&block);
        Some(std::mem::take(&mut self.begun).freeze())
    }
}

/// Returns the name of a block's event; `None` if it has none or it is not UTF-8.
pub fn name(block: &[u8]) -> Option<&str> {
    fields(block, b"event").last().and_then(|value| std::str::from_utf8(value).ok())
}

/// Tells whether a `content-type` is that of a stream of events.
pub fn is_event_stream(content_type: &[u8]) -> bool {
    let start = content_type.get(..17);
    start.is_some_and(|start| start.eq_ignore_ascii_case(b"text/event-stream"))
}

/// Returns the data of a block's event, its lines joined by LF; empty if it has none.
pub fn data(block: &[u8]) -> Cow<'_, [u8]> {
    let mut lines = fields(block, b"data");
    let first = lines.next().unwrap_or_default();
    lines.fold(Cow::Borrowed(first), |mut joined, line| {
        joined.to_mut().push(b'\n');
        joined.to_mut().extend_from_slice(line);
        joined
    })
}

/// The values of all lines of `block` whose field is `field`.
fn fields<'a>(block: &'a [u8], field: &'static [u8]) -> impl Iterator<Item = &'a [u8]> {
    lines(block.strip_prefix("\u{feff}".as_bytes()).unwrap_or(block)).filter_map(move |line| {
        let value = line.strip_prefix(field)?;
        match value.strip_prefix(b":") {
            Some(value) => Some(value.strip_prefix(b" ").unwrap_or(value)),
            None => value.is_empty().then_some(value),
        }
    })
}

fn lines(mut block: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        if block.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', block).unwrap_or(block.len());
        let line = &block[..end];
        block = block.get(end + 1..).unwrap_or_default();
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    })
}

/// Writes one event with a JSON payload.
///
/// Line ends become spaces: JSON has them only between tokens, and a name must not have any.
pub fn write(name: &str, json: &[u8]) -> Bytes {
    let mut event = BytesMut::with_capacity(name.len() + json.len() + 16);
    event.extend_from_slice(b"event: ");
    one_line(&mut event, name.as_bytes());
    event.extend_from_slice(b"\ndata: ");
    one_line(&mut event, json);
    event.extend_from_slice(b"\n\n");
    event.freeze()
}

/// Writes a comment, which every client ignores; line ends in `text` become spaces.
pub fn comment(text: &str) -> Bytes {
    let mut comment = BytesMut::with_capacity(text.len() + 4);
    comment.extend_from_slice(b": ");
    one_line(&mut comment, text.as_bytes());
    comment.extend_from_slice(b"\n\n");
    comment.freeze()
}

fn one_line(out: &mut BytesMut, text: &[u8]) {
    let start = out.len();
    out.extend_from_slice(text);
    let written = &mut out[start..];
    while let Some(end) = memchr::memchr2(b'\n', b'\r', written) {
        written[end] = b' ';
    }
}

/// Forwards an Anthropic stream after the commit point, whole events at a time.
///
/// What goes out always ends where an event ends, so that a ping or an error may follow, except
/// inside an event of more than [`MAX_EVENT`] bytes, which is forwarded in pieces. A chunk that
/// begins and ends at event boundaries is forwarded without a copy.
#[derive(Debug, Default)]
pub struct Tail {
    /// The beginning of an event whose end has not come yet.
    held: BytesMut,
    /// The beginning of this event has already gone out.
    torn: bool,
    ended: bool,
    failed: bool,
    line: LineState,
    usage: Usage,
}

/// How a stream stood when its bytes ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// Its last event was there; these bytes, mostly none, are still to be forwarded.
    Complete(Bytes),
    /// Neither `message_stop` nor `error` was seen; an unfinished event has been dropped.
    Cut,
}

impl Tail {
    /// Takes the next bytes of the stream and returns those that may go out now.
    pub fn push(&mut self, mut chunk: Bytes) -> Bytes {
        let Some(first) = self.line.blank(&chunk) else {
            return self.hold(chunk);
        };
        let mut head = std::mem::take(&mut self.held);
        if std::mem::take(&mut self.torn) {
            // Its beginning is gone, and a piece of a line must not be read as a line.
        } else if head.is_empty() {
            self.look(&chunk[..first]);
        } else {
            head.extend_from_slice(&chunk[..first]);
            self.look(&head);
        }
        let mut end = first;
        while let Some(length) = self.line.blank(&chunk[end..]) {
            self.look(&chunk[end..end + length]);
            end += length;
        }
        if end < chunk.len() {
            self.held.extend_from_slice(&chunk.split_off(end));
        }
        if head.is_empty() {
            return chunk;
        }
        head.extend_from_slice(&chunk[first..]);
        head.freeze()
    }

    fn hold(&mut self, chunk: Bytes) -> Bytes {
        if self.torn {
            return chunk;
        }
        self.held.extend_from_slice(&chunk);
        if self.held.len() <= MAX_EVENT {
            return Bytes::new();
        }
        self.torn = true;
        std::mem::take(&mut self.held).freeze()
    }

    fn look(&mut self, block: &[u8]) {
        match name(block) {
            Some("message_stop") => self.ended = true,
            Some("error") => (self.ended, self.failed) = (true, true),
            Some("message_start" | "message_delta") => {
                self.usage.update(Usage::found_in(&data(block)).unwrap_or_default());
            }
            Some(_) | None => {}
        }
    }

    /// Tells whether another event may be inserted here; false only inside an overlong one.
    pub fn is_between_events(&self) -> bool {
        !self.torn
    }

    /// Returns the token counts seen so far.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Tells whether an `error` event has been seen.
    pub const fn has_failed(&self) -> bool {
        self.failed
    }

    /// Judges the stream at the end of its bytes.
    pub fn finish(self) -> Ending {
        if self.ended { Ending::Complete(self.held.freeze()) } else { Ending::Cut }
    }
}
