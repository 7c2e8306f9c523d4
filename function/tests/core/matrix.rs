//! Does Bedrock take every recorded request for every line, and does the client read every answer
//! as that line's? The strict tables of the fake Bedrock judge; they share nothing with the proxy's.
//!
//! The snapshot shows, for each request, what becomes of it and for which models: `-` left out,
//! `+` put in, `~` changed.

#![expect(clippy::unwrap_used, reason = "a test stops where its own material is broken")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use function::translate::mend::{Lesson, MOST_MENDS, Mends};
use function::translate::model::Model;
use function::translate::request::{Headers, to_bedrock};
use function::translate::response;
use function::translate::stream::{Event, Stream};
use serde_json::{Value, json};
use testing::models;

/// Requests of Claude Code 2.1.330 and of an SDK.
const RECORDED: [&str; 5] = [
    "plain-opus-5-5/request.json",
    "tool-turn-opus-5-5/request.json",
    "image-turn-opus-5-5/request.json",
    "plain-haiku-4-5/request.json",
    "sdk-sonnet-4-5/request.json",
];

const EVERYTHING: &str = "everything.json";

/// Every model that the fake knows, oldest line first, and whether it thinks adaptively.
const MODELS: [(&str, bool); 19] = [
    ("claude-3-5-haiku-20241022", false),
    ("claude-3-7-sonnet-20250219", false),
    ("claude-sonnet-4-20250514", false),
    ("claude-opus-4-1-20250805", false),
    ("claude-sonnet-4-5-20250929", false),
    ("claude-haiku-4-5-20251001", false),
    ("claude-opus-4-5-20251101", false),
    ("claude-opus-4-6", true),
    ("claude-sonnet-4-6", true),
    ("claude-opus-4-7", true),
    ("claude-opus-4-8", true),
    ("claude-opus-5", true),
    ("claude-sonnet-5", true),
    ("claude-fable-5", true),
    ("claude-fable-5-1", true),
    ("claude-fable-5-2", true),
    ("claude-opus-5-5", true),
    ("claude-sonnet-5-5", true),
    ("claude-haiku-5-5", true),
];

#[test]
fn bedrock_takes_every_recorded_request_for_every_model() {
    let mut shown = String::new();
    for case in RECORDED {
        let mut rows: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for model in MODELS {
            let request = Request::read(case).asked_of(model);
            let sent = parsed(&request.sent(model.0, &Mends::default()));
            assert_eq!(models::refusal(fake(model.0), &sent), None, "{case} for {}", model.0);
            let differences = differences(&request.body, &sent);
            rows.entry(differences).or_default().push(model.0);
        }
        show(&mut shown, case, rows);
    }
    assert_snapshot("matrix", &shown);
}

#[test]
fn bedrock_takes_everything_at_once_after_the_mends_that_are_allowed() {
    for model in MODELS {
        let request = Request::read(EVERYTHING).asked_of(model);
        let mut mends = Mends::default();
        for mended in 0..=MOST_MENDS {
            let sent = request.sent(model.0, &mends);
            let Some(refusal) = models::refusal(fake(model.0), &parsed(&sent)) else { break };
            assert!(mended < MOST_MENDS && mends.add(&refusal, &sent), "{}: {refusal}", model.0);
        }
    }
}

#[test]
fn the_next_turn_begins_with_the_same_bytes_also_when_it_has_to_be_mended() {
    for refusal in [
        None,
        Some("output_config.effort: Extra inputs are not permitted"),
        Some("system.1.cache_control.ephemeral.ttl: Extra inputs are not permitted"),
        Some("messages.1.content.0: Invalid `signature` in `thinking` block"),
        Some("role 'system' is not supported on this model"),
        Some("x-anthropic-billing-header is a reserved keyword"),
        Some("invalid beta flag"),
    ] {
        for model in MODELS {
            let second = Request::read("tool-turn-opus-5-5/request.json").asked_of(model);
            let mut first = second.clone();
            first.body["messages"].as_array_mut().unwrap().truncate(2);
            let [first, second] = [first, second].map(|turn| turn.mended(model.0, refusal));
            for field in ["system", "tools", "anthropic_beta", "thinking", "output_config"] {
                assert_eq!(raw(&first, field), raw(&second, field), "{field} {refusal:?}");
            }
            let [first, second] = [first, second].map(|turn| raw(&turn, "messages").unwrap());
            let begun = first.strip_suffix(']').unwrap();
            assert!(second.starts_with(begun), "{} {refusal:?}\n{first}\n{second}", model.0);
        }
    }
}

#[test]
fn what_was_learnt_gives_the_bytes_that_the_mend_gave() {
    let request = Request::read("tool-turn-opus-5-5/request.json");
    for refusal in ["invalid beta flag", "metadata: Extra inputs are not permitted"] {
        let mut mends = Mends::default();
        assert!(mends.add(refusal, &request.sent("claude-opus-5-5", &mends)));
        let mut lesson = Lesson::default();
        lesson.join(&mends.lesson());
        let learnt = Mends::from_lesson(&lesson);
        let sent = |mends| request.sent("claude-opus-5-5", mends);
        assert_eq!(sent(&mends), sent(&learnt), "{refusal}");
    }
}

#[test]
fn thoughts_go_to_bedrock_and_come_back_unchanged_for_every_model() {
    let stream = include_str!("../golden/answers/thinking_tool.jsonl");
    for model in MODELS {
        // There: what Anthropic thought stands in the history, signature and all.
        let request = Request::read("tool-turn-opus-5-5/request.json").asked_of(model);
        let sent = parsed(&request.sent(model.0, &Mends::default()));
        let thoughts = |body: &Value| -> Vec<Value> {
            let turns = body["messages"].as_array().unwrap().clone().into_iter();
            let blocks = turns.flat_map(|turn| turn["content"].as_array().cloned());
            blocks.flatten().filter(|block| block["type"] == "thinking").collect()
        };
        assert_eq!(thoughts(&sent).len(), 1);
        assert_eq!(thoughts(&sent), thoughts(&request.body), "{}", model.0);
        // And back: what Bedrock thought is read as it was written, under the client's own name.
        let mut answer = Stream::new(model.0);
        let mut read = String::new();
        for chunk in stream.lines() {
            match answer.event(chunk.as_bytes()).unwrap() {
                Event::Skip => {}
                Event::Opening(bytes) | Event::Content(bytes) => {
                    read.push_str(std::str::from_utf8(&bytes).unwrap());
                }
                Event::Failed(failure) => panic!("{failure:?}"),
            }
        }
        let expected = include_str!("../golden/answers/thinking_tool.sse")
            .replace(r#""model":"claude-opus-5-5""#, &format!(r#""model":"{}""#, model.0));
        assert_eq!(read, expected);
    }
}

#[test]
fn a_whole_answer_is_read_as_every_models_own() {
    let answer = include_str!("../golden/answers/thinking_tool.json");
    for (model, _) in MODELS {
        let (read, usage) = response::message(answer.as_bytes(), model).unwrap();
        let expected = answer
            .replace("us.anthropic.claude-opus-5-5", model)
            .replace(",\"amazon-bedrock-guardrailAction\":\"NONE\"", "");
        assert_eq!(String::from_utf8(read).unwrap(), expected.trim_end());
        assert_eq!((usage.input, usage.cache_read), (Some(431), Some(7168)));
    }
}

#[test]
fn nothing_lies_in_the_golden_folder_that_no_test_reads() {
    let tests: String = fs::read_dir(root().join("core"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|kind| kind == "rs"))
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    for folder in ["answers", "translate"] {
        for entry in fs::read_dir(root().join("golden").join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            // A snapshot for each line is called `NAME-LINE.snap`.
            let name = name.strip_suffix(".snap").unwrap_or(&name);
            let name = name.split_once("-claude-").map_or(name, |(_, line)| line);
            assert!(tests.contains(name), "no test reads {folder}/{name}");
        }
    }
}

/// A recorded request, its body as values.
#[derive(Clone)]
struct Request {
    betas: Vec<String>,
    version: String,
    body: Value,
}

impl Request {
    fn read(case: &str) -> Self {
        let read = parsed(&fs::read(root().join("golden/translate").join(case)).unwrap());
        let betas = serde_json::from_value(read["anthropic-beta"].clone()).unwrap();
        let version = read["anthropic-version"].as_str().unwrap().to_owned();
        Self { betas, version, body: read["body"].clone() }
    }

    /// Asks another model for the same: a client knows how its model thinks, and does not let it
    /// in the middle of a turn that began without a thought.
    fn asked_of(mut self, (model, adaptive): (&str, bool)) -> Self {
        self.body["model"] = json!(model);
        let thought = self.body["messages"].to_string().contains(r#""type":"thinking""#);
        let calls = self.body["messages"].to_string().contains(r#""type":"tool_use""#);
        if !adaptive && calls && !thought {
            self.body.as_object_mut().unwrap().remove("thinking");
        }
        if let Some(thinking) = self.body.get_mut("thinking") {
            let fields = thinking.as_object_mut().unwrap();
            if adaptive {
                fields.remove("budget_tokens");
                fields["type"] = json!("adaptive");
            } else {
                fields["type"] = json!("enabled");
                fields.insert("budget_tokens".to_owned(), json!(31999));
            }
        }
        self
    }

    fn sent(&self, model: &str, mends: &Mends) -> Vec<u8> {
        let betas = self.betas.iter().map(String::as_str).collect();
        let headers = Headers { betas, version: Some(&self.version) };
        let model = Model::resolve(model).unwrap();
        to_bedrock(self.body.to_string().as_bytes(), &headers, &model, mends).unwrap()
    }

    /// What is sent after this one refusal.
    fn mended(&self, model: &str, refusal: Option<&str>) -> Vec<u8> {
        let mut mends = Mends::default();
        if let Some(refusal) = refusal {
            mends.add(refusal, &self.sent(model, &mends));
        }
        self.sent(model, &mends)
    }
}

/// The model as the fake knows it.
fn fake(model: &str) -> &'static models::Model {
    let id = Model::resolve(model).unwrap().bedrock_id("us-east-1", None);
    let (known, is_profile) = models::find(&id).unwrap();
    assert!(is_profile, "{id} can be invoked");
    known
}

/// What one body has and the other has not, a line each; indices are left out.
fn differences(before: &Value, after: &Value) -> String {
    let mut found = BTreeSet::new();
    compare("", before, after, &mut found);
    found.into_iter().collect::<Vec<_>>().join("\n")
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut BTreeSet<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (key, value) in before {
                let path = format!("{path}.{key}");
                match after.get(key) {
                    Some(now) => compare(&path, value, now, found),
                    None => drop(found.insert(format!("  - {path}"))),
                }
            }
            for (key, value) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                found.insert(format!("  + {path}.{key} {value}"));
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            let pairs = before.iter().zip(after);
            pairs.for_each(|(before, after)| compare(&format!("{path}[]"), before, after, found));
        }
        _ if before == after => {}
        _ => drop(found.insert(format!("  ~ {path} {after}"))),
    }
}

fn show(shown: &mut String, case: &str, rows: BTreeMap<String, Vec<&str>>) {
    let mut rows: Vec<_> = rows.into_iter().collect();
    rows.sort_by_key(|(_, models)| MODELS.iter().position(|(model, _)| *model == models[0]));
    writeln!(shown, "{case}").unwrap();
    for (differences, models) in rows {
        writeln!(shown, " {}\n{differences}", models.join(" ")).unwrap();
    }
}

fn assert_snapshot(name: &str, shown: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../golden/translate");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, shown));
}

/// A top-level field, as it is written.
fn raw(body: &[u8], field: &str) -> Option<String> {
    let body: BTreeMap<String, Box<serde_json::value::RawValue>> =
        serde_json::from_slice(body).unwrap();
    body.get(field).map(|value| value.get().to_owned())
}

fn parsed(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}
