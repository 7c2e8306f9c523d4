//! Does anything from outside make a parser panic, lose bytes or grow without bound?
//!
//! Each target runs 2,000 cases, in `scripts/check full` 20,000, and in `scripts/fuzz` a million.
//! `corpus` holds nasty inputs, one a line: they are cut, joined and mixed with pieces that mean
//! something, and whole JSON is grown from random bytes so that the editing is reached behind the
//! parser. Every line is also tried as it is, in each run: an input that has once failed becomes a
//! line. Here are the bodies that are rewritten; `mends` and `history` ask what becomes of what was
//! said, `outside` has what comes before and beside all that.

#![expect(clippy::unwrap_used, reason = "a test stops where its own material is broken")]

mod history;
mod mends;
mod outside;

use std::collections::BTreeMap;

use bytes::Bytes;
use function::translate::mend::{MOST_MENDS, Mends};
use function::translate::model::Model;
use function::translate::request::{Headers, to_bedrock, to_count};
use function::translate::response;
use function::translate::stream::{Event, Stream};
use function::wire::sse::{self, Ending, Splitter, Tail};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::Config;
use serde_json::value::RawValue;

const REQUESTS: &str = include_str!("../corpus/requests.txt");
const CHUNKS: &str = include_str!("../corpus/chunks.txt");
const REFUSALS: &str = include_str!("../corpus/refusals.txt");

const LINES: [&str; 6] = [
    "claude-3-5-haiku-latest",
    "claude-haiku-4-5",
    "claude-sonnet-4-6",
    "claude-opus-4-8",
    "claude-opus-5-5",
    "claude-brand-new-9",
];

#[test]
fn every_line_of_the_corpus_by_itself() {
    for (request, refusal) in REQUESTS.lines().zip(REFUSALS.lines().cycle()) {
        for line in LINES {
            assert_edited(request.as_bytes(), line, &[refusal]);
        }
    }
    assert_streamed(&CHUNKS.lines().collect::<Vec<_>>());
    CHUNKS.lines().for_each(|chunk| assert_streamed(&[chunk]));
}

proptest! {
    #![proptest_config(Config { cases: Config::default().cases.max(2_000), ..Config::default() })]

    #[test]
    fn a_request_that_is_broken(
        request in broken(REQUESTS), line in select(&LINES[..]), refusal in broken(REFUSALS),
    ) {
        assert_edited(&request, line, &[&String::from_utf8_lossy(&refusal)]);
    }

    #[test]
    fn a_request_that_is_grown(
        seed in vec(any::<u8>(), 0..160), line in select(&LINES[..]),
        refusals in vec(select(REFUSALS.lines().collect::<Vec<_>>()), 0..=MOST_MENDS),
    ) {
        let messages = Grower { seed: &seed }.messages();
        let rest = Grower { seed: &seed[seed.len() / 2..] }.fields(0);
        let request = format!(r#"{{"messages":{messages}{}{rest}}}"#, comma(&rest));
        assert_edited(request.as_bytes(), line, &refusals);
    }

    #[test]
    fn a_stream_of_chunks(chunks in vec(broken(CHUNKS), 0..6), whole in any::<Index>()) {
        let mut chunks: Vec<_> =
            chunks.iter().map(|chunk| String::from_utf8_lossy(chunk).into_owned()).collect();
        chunks.push(CHUNKS.lines().nth(whole.index(CHUNKS.lines().count())).unwrap().to_owned());
        assert_streamed(&chunks.iter().map(String::as_str).collect::<Vec<_>>());
        for chunk in &chunks {
            drop(response::message(chunk.as_bytes(), "claude-opus-5-5"));
        }
    }

    #[test]
    fn a_stream_of_bytes(pieces in vec(piece(), 0..24), size in 1_usize..9) {
        assert_split(&pieces.concat(), size);
    }
}

/// Whatever is sent, what comes out is a body that Bedrock can read, and not much longer.
#[track_caller]
fn assert_edited(request: &[u8], line: &str, refusals: &[&str]) {
    let model = Model::resolve(line).unwrap();
    let beta = "advanced-tool-use-2025-11-20,thinking-token-count-2026-05-13,context-1m-2025-08-07";
    let headers = Headers { betas: vec![beta, ",, ,"], version: Some("2026-10-21") };
    let mut mends = Mends::default();
    let mut sent = vec![to_bedrock(request, &headers, &model, &mends)];
    for refusal in refusals {
        let refused = sent.last().and_then(|sent| sent.as_ref().ok()).cloned().unwrap_or_default();
        mends.add(refusal, &refused);
        sent.push(to_bedrock(request, &headers, &model, &mends));
    }
    sent.push(to_count(request, &headers, &model));
    for sent in sent.into_iter().flatten() {
        // Values stay raw: half a surrogate pair goes on as it came, for Bedrock to refuse.
        let body: BTreeMap<String, &RawValue> =
            serde_json::from_slice(&sent).unwrap_or_else(|error| {
                panic!("{error}: {}", String::from_utf8_lossy(&sent));
            });
        for gone in ["model", "stream", "context_management", "betas", "thread"] {
            assert!(!body.contains_key(gone), "{gone}");
        }
        assert!(body["messages"].get().starts_with('[') && body.contains_key("anthropic_version"));
        assert!(sent.len() <= 8 * request.len() + 1024, "{} of {}", sent.len(), request.len());
    }
}

/// Whatever Bedrock sends, the client reads whole events, and not much more than came.
#[track_caller]
fn assert_streamed(chunks: &[&str]) {
    let mut stream = Stream::new("claude \"\n\u{2028}");
    let mut sent = Vec::new();
    for chunk in chunks {
        match stream.event(chunk.as_bytes()) {
            Ok(Event::Opening(event) | Event::Content(event)) => sent.extend_from_slice(&event),
            Ok(Event::Skip | Event::Failed(_)) | Err(_) => {}
        }
    }
    let came: usize = chunks.iter().map(|chunk| chunk.len() + 256).sum();
    assert!(sent.len() <= 2 * came, "{} of {came}", sent.len());
    let mut splitter = Splitter::default();
    splitter.push(sent.into());
    for event in splitter.by_ref() {
        let data = sse::data(&event);
        let event: BTreeMap<String, &RawValue> = serde_json::from_slice(&data).unwrap();
        assert!(event.keys().all(|key| !key.starts_with("amazon-bedrock-")), "{event:?}");
    }
    assert!(splitter.rest().is_empty(), "no event is left unfinished");
}

/// However a stream is cut, the blocks hold its bytes, and the tail forwards them.
#[track_caller]
fn assert_split(bytes: &[u8], size: usize) {
    let (mut splitter, mut tail) = (Splitter::default(), Tail::default());
    let (mut blocks, mut forwarded) = (Vec::new(), Vec::new());
    for chunk in bytes.chunks(size) {
        splitter.push(Bytes::copy_from_slice(chunk));
        for block in splitter.by_ref() {
            sse::name(&block);
            sse::data(&block);
            blocks.extend_from_slice(&block);
        }
        forwarded.extend_from_slice(&tail.push(Bytes::copy_from_slice(chunk)));
        assert_eq!(blocks, forwarded, "both end where an event ends");
    }
    blocks.extend_from_slice(&splitter.rest());
    assert_eq!(blocks, bytes);
    if let Ending::Complete(rest) = tail.finish() {
        forwarded.extend_from_slice(&rest);
        assert_eq!(forwarded, bytes);
    }
}

/// A line of the corpus with pieces of another one, of JSON and of noise in some places.
fn broken(corpus: &'static str) -> impl Strategy<Value = Vec<u8>> {
    mixed(corpus, PIECES)
}

/// A line of the corpus with some of these pieces in some places, or with the end of another line.
fn mixed(corpus: &'static str, pieces: &'static [&'static [u8]]) -> impl Strategy<Value = Vec<u8>> {
    let lines: Vec<&str> = corpus.lines().collect();
    let cut = (any::<Index>(), 0_usize..4, select(pieces));
    let other = (select(lines.clone()), any::<Index>(), any::<bool>());
    (select(lines), vec(cut, 0..4), other).prop_map(|(line, cuts, (other, from, joined))| {
        let mut bytes = line.as_bytes().to_vec();
        for (at, length, piece) in cuts {
            let at = at.index(bytes.len() + 1);
            let end = (at + length).min(bytes.len());
            bytes.splice(at..end, piece.iter().copied());
        }
        if joined {
            bytes.extend_from_slice(&other.as_bytes()[from.index(other.len() + 1)..]);
        }
        bytes
    })
}

/// What means something in JSON.
const PIECES: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\\",
    b"\\u",
    b"null",
    b"1e9",
    b"\n",
    b"\xff",
    b"\xed\xa0\x80",
    b"\"type\":\"system\",",
    b"\"cache_control\":{\"scope\":1},",
    b"\"source\":{\"type\":\"url\"},",
];

/// A piece of a stream of events.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let known = select(vec![
        &b"\n"[..],
        b"\r",
        b"\r\n",
        b"\n\n",
        b"event: message_stop",
        b"event:message_delta",
        b"data: {\"usage\":{\"input_tokens\":1}}",
        b"data",
        b": comment",
        b"\xef\xbb\xbf",
        b"\xff",
    ]);
    prop_oneof![4 => known.prop_map(<[u8]>::to_vec), 1 => vec(any::<u8>(), 0..4)]
}

/// Grows JSON of keys and values that mean something from bytes; each byte is one choice.
struct Grower<'a> {
    seed: &'a [u8],
}

impl Grower<'_> {
    const KEYS: &'static [&'static str] = &[
        "role",
        "content",
        "type",
        "text",
        "source",
        "cache_control",
        "scope",
        "ttl",
        "system",
        "tools",
        "thinking",
        "display",
        "block_binding",
        "budget_tokens",
        "output_config",
        "output_format",
        "format",
        "effort",
        "model",
        "stream",
        "context_management",
        "name",
        "defer_loading",
        "input_examples",
        "custom",
        "metadata",
        "safeguards",
        "thread",
        "betas",
        "container",
        "signature",
        "brand_new",
        "m\\u006fdel",
        "",
    ];
    const WORDS: &'static [&'static str] = &[
        "system",
        "user",
        "assistant",
        "text",
        "thinking",
        "tool_use",
        "tool_result",
        "custom",
        "tool_reference",
        "url",
        "base64",
        "content",
        "adaptive",
        "disabled",
        "updates",
        "xhigh",
        "continue",
        "x-anthropic-billing-header: a",
        "\\ud83d\\ude00",
        "\\n\\\"",
        "",
    ];

    fn choose(&mut self, most: usize) -> usize {
        let Some((first, rest)) = self.seed.split_first() else { return 0 };
        self.seed = rest;
        usize::from(*first) % most
    }

    fn value(&mut self, depth: usize) -> String {
        match self.choose(if depth > 6 { 6 } else { 12 }) {
            0 => "null".to_owned(),
            1 => "7".to_owned(),
            2 => "-1.50e+3".to_owned(),
            3..=5 => self.word(),
            6 | 7 => self.array(depth),
            _ => self.object(depth),
        }
    }

    /// Mostly what stands there in a request.
    fn value_of(&mut self, key: &str, depth: usize) -> String {
        match key {
            _ if depth > 6 || self.choose(8) == 7 => self.value(depth),
            "content" | "system" | "tools" => self.array(depth),
            "cache_control" if self.choose(2) == 0 => r#"{"scope":1}"#.to_owned(),
            "cache_control" | "output_config" | "source" | "thinking" => self.object(depth),
            "effort" | "name" | "role" | "type" => self.word(),
            _ => self.value(depth),
        }
    }

    fn messages(&mut self) -> String {
        let message = |_| format!(r#"{{"role":{},"content":{}}}"#, self.word(), self.array(0));
        format!("[{}]", (0..3).map(message).collect::<Vec<_>>().join(","))
    }

    fn word(&mut self) -> String {
        format!("\"{}\"", Self::WORDS[self.choose(Self::WORDS.len())])
    }

    fn array(&mut self, depth: usize) -> String {
        let items: Vec<_> = (0..self.choose(4)).map(|_| self.value(depth + 1)).collect();
        format!("[{}]", items.join(", "))
    }

    fn object(&mut self, depth: usize) -> String {
        format!("{{{}}}", self.fields(depth + 1))
    }

    fn fields(&mut self, depth: usize) -> String {
        let count = self.choose(6);
        let mut keys: Vec<_> =
            (0..count).map(|_| Self::KEYS[self.choose(Self::KEYS.len())]).collect();
        keys.sort_unstable();
        keys.dedup();
        // The same key in two spellings is the same key.
        if keys.contains(&"model") {
            keys.retain(|key| *key != "m\\u006fdel");
        }
        let field = |key| format!("\"{key}\" :{}", self.value_of(key, depth));
        keys.into_iter().map(field).collect::<Vec<_>>().join(",")
    }
}

fn comma(rest: &str) -> &'static str {
    if rest.is_empty() { "" } else { "," }
}
