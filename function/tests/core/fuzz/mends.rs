//! Whatever Bedrock refuses, does a mend take only what nobody has said?

use std::cell::Cell;

use function::translate::mend::{Lesson, MOST_MENDS, Mends};
use function::translate::model::Model;
use function::translate::request::{Headers, Request};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::Config;
use serde_json::Value;

use super::{LINES, REFUSALS};

/// Where a path may begin, so that it often leads somewhere.
const STARTS: [&str; 9] = [
    "messages.0.content.0",
    "messages.1.content.1.tool_result.content.0",
    "messages.0.content.0.document.source.content.content.0",
    "messages.2",
    "system.0",
    "tools.0",
    "tools.1.custom",
    "thinking.adaptive",
    "#/tools/0",
];
const SEGMENTS: [&str; 32] = [
    "0",
    "1",
    "messages",
    "system",
    "tools",
    "content",
    "text",
    "tool_use",
    "tool_result",
    "image",
    "document",
    "source",
    "base64",
    "cache_control",
    "ephemeral",
    "ttl",
    "input",
    "input_schema",
    "properties",
    "foo",
    "citations",
    "caller",
    "custom",
    "title",
    "name",
    "description",
    "data",
    "type",
    "role",
    "own1",
    "own2",
    "thinking",
];
const REASONS: [&str; 4] = [
    ": Extra inputs are not permitted",
    ": Input should be 'a' or 'b'",
    ": extraneous key [foo] is not permitted",
    ": Field required",
];

proptest! {
    #![proptest_config(Config { cases: Config::default().cases.max(500), ..Config::default() })]

    #[test]
    fn a_refusal_of_any_place(
        seed in vec(any::<u8>(), 0..120), line in select(&LINES[..]),
        refusals in vec(refusal(), 1..=MOST_MENDS),
    ) {
        let mut builder = Builder { seed: &seed, own: 0 };
        let body = builder.body();
        assert_mended(&body, line, &refusals);
    }
}

#[test]
fn every_refusal_of_the_corpus_by_itself() {
    let body = Builder { seed: &[7, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233], own: 0 }.body();
    for refusal in REFUSALS.lines() {
        LINES.iter().for_each(|line| assert_mended(&body, line, &[refusal.to_owned()]));
    }
}

/// Sentences that name one path or several.
fn refusal() -> impl Strategy<Value = String> {
    let segments = vec(select(&SEGMENTS[..]), 0..6);
    let path = (select(&STARTS[..]), segments, select(&REASONS[..]));
    let one = path.prop_map(|(start, segments, reason)| {
        let path =
            [vec![start], segments].concat().join(if start == "#/tools/0" { "/" } else { "." });
        path + reason
    });
    let known = select(REFUSALS.lines().map(str::to_owned).collect::<Vec<_>>());
    vec(prop_oneof![4 => one, 1 => known], 1..4).prop_map(|parts| parts.join("; "))
}

/// What was said is there before and after, the work is bounded, and a lesson reads as it was told.
#[track_caller]
fn assert_mended(body: &str, line: &str, refusals: &[String]) {
    let (model, read) = (Model::resolve(line).unwrap(), Cell::new(0));
    let watch = |bytes| {
        read.set(read.get() + bytes);
        true
    };
    let (body, headers) = (body.as_bytes(), Headers::default());
    let request = Request { body, headers, model: &model, watch: &watch };
    let Ok(mut sent) = request.to_bedrock(&Mends::default()) else { return };
    let said = said(&sent);
    let mut mends = Mends::default();
    for refusal in refusals {
        read.set(0);
        if let Some((more, next)) = request.mended(&mends, refusal) {
            assert_ne!(sent, next, "{refusal}");
            (mends, sent) = (more, next);
        }
        assert!(read.get() <= 2 * 100 * body.len(), "{} of {}", read.get(), body.len());
        assert_eq!(self::said(&sent), said, "{refusal}\n{}", String::from_utf8_lossy(&sent));
        let lesson = mends.lesson();
        assert_eq!(Lesson::of(lesson.names()), lesson);
    }
}

/// The words that a [`Builder`] has put in, in the order of the alphabet.
fn said(sent: &[u8]) -> Vec<String> {
    let sent: Value = serde_json::from_slice(sent).unwrap();
    let sent = sent.to_string();
    let words = sent.split(|c: char| !c.is_ascii_alphanumeric());
    let mut own: Vec<_> = words.filter(|word| word.starts_with("own")).map(str::to_owned).collect();
    own.sort_unstable();
    own
}

/// Builds a request in which whatever somebody has said is a word of its own: `own1`, `own2`, …
pub(super) struct Builder<'a> {
    pub(super) seed: &'a [u8],
    pub(super) own: usize,
}

impl Builder<'_> {
    pub(super) fn choose(&mut self, most: usize) -> usize {
        let Some((first, rest)) = self.seed.split_first() else { return 0 };
        self.seed = rest;
        usize::from(*first) % most
    }

    pub(super) fn say(&mut self) -> String {
        self.own += 1;
        format!("\"own{}\"", self.own)
    }

    fn body(&mut self) -> String {
        let messages = self.list(3, |builder| {
            let role = ["user", "assistant", "system"][builder.choose(3)];
            let blocks = builder.list(3, |builder| builder.block(0));
            let content = if builder.choose(4) == 3 { builder.say() } else { blocks };
            format!(r#"{{"role":"{role}","content":{content}{}}}"#, builder.extras())
        });
        let system = if self.choose(2) == 0 { self.say() } else { self.list(3, |b| b.text()) };
        let tools = self.list(3, |builder| {
            let (name, about, key, value) =
                (builder.say(), builder.say(), builder.say(), builder.say());
            format!(
                r#"{{"name":{name},"description":{about},"input_schema":{{"type":"object",
                "properties":{{{key}:{{"title":{value},"foo":{value}}},"foo":{{}}}}}}{}}}"#,
                builder.extras()
            )
        });
        format!(
            r#"{{"messages":{messages},"system":{system},"tools":{tools},"metadata":{{"foo":1}},
            "thinking":{{"type":"adaptive","foo":1}},"cache_control":{{"type":"ephemeral"}}}}"#
        )
    }

    pub(super) fn list(
        &mut self,
        most: usize,
        mut item: impl FnMut(&mut Self) -> String,
    ) -> String {
        let count = 1 + self.choose(most);
        format!("[{}]", (0..count).map(|_| item(self)).collect::<Vec<_>>().join(","))
    }

    pub(super) fn text(&mut self) -> String {
        let (said, extras) = (self.say(), self.extras());
        format!(r#"{{"type":"text","text":{said}{extras}}}"#)
    }

    fn block(&mut self, depth: usize) -> String {
        let said = self.say();
        let inner = |builder: &mut Self| match depth {
            0 | 1 => builder.list(2, |builder| builder.block(depth + 1)),
            _ => builder.say(),
        };
        match self.choose(7) {
            0 => format!(
                r#"{{"type":"tool_use","id":"t","name":{said},"input":{{{said}:[{said}],
                "foo":{said},"cache_control":{{"ttl":{said}}}}}{}}}"#,
                self.extras()
            ),
            1 => format!(
                r#"{{"type":"tool_result","tool_use_id":"t","content":{}{}}}"#,
                inner(self),
                self.extras()
            ),
            2 => format!(
                r#"{{"type":"image","source":{{"type":"base64","data":{said},"foo":1}}{}}}"#,
                self.extras()
            ),
            3 => format!(
                r#"{{"type":"document","title":{said},"context":{said},
                "citations":{{"enabled":{said}}},"source":{{"type":"content","content":{}}}}}"#,
                inner(self)
            ),
            4 => format!("[[{said}]]"),
            5 => r#"{"type":"thinking","thinking":"t","signature":"s"}"#.to_owned(),
            _ => self.text(),
        }
    }

    /// Fields that are no part of what they stand on.
    fn extras(&mut self) -> &'static str {
        [
            "",
            r#","foo":1"#,
            r#","cache_control":{"type":"ephemeral","ttl":"1h","foo":1}"#,
            r#","caller":{"foo":[1]},"foo":{"foo":1}"#,
        ][self.choose(4)]
    }
}
