//! What would api.anthropic.com answer? A fake that speaks the Messages API as Claude Code knows it
//! (platform.claude.com: Messages, Streaming, Errors, Rate limits) and plays scripted failures.

use std::{
    collections::BTreeSet,
    ops::Deref,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Ending, Refusal},
    fake::{Fake, Received, Speak, Wire},
    gzip::Gzip,
    message::{Message, ToolPlay, Voice},
};

pub const ORGANIZATION: &str = "0b5c7e2a-1111-4222-8333-444455556666";
pub const REQUEST_ID: &str = "req_011CTestTestTestTestTest";

const VOICE: Voice = Voice { name: "anthropic", ids: "" };
const MESSAGES: &str = "/v1/messages";

/// The fake; dropping it closes its port.
#[derive(Debug)]
pub struct FakeAnthropic {
    fake: Fake,
    house: Arc<House>,
}

#[derive(Debug, Default)]
struct House {
    denied: Mutex<BTreeSet<String>>,
    plays: Mutex<Vec<ToolPlay>>,
}

impl FakeAnthropic {
    pub fn start() -> Self {
        let house = Arc::new(House::default());
        Self { fake: Fake::start(Arc::clone(&house) as Arc<dyn Speak>), house }
    }

    /// Scripts the next answers to `POST /v1/messages`.
    pub fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.fake.next(MESSAGES, answers);
    }

    /// Scripts the next answers on another path.
    pub fn next_on(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        self.fake.next(path, answers);
    }

    /// Answers every unscripted message like this from now on.
    pub fn always(&self, answer: Answer) {
        self.fake.always(MESSAGES, answer);
    }

    /// Answers this credential with 401 from now on.
    pub fn deny(&self, credential: &str) {
        lock(&self.house.denied).insert(credential.to_owned());
    }

    /// Lets the model call a tool where a request offers it.
    pub fn play(&self, play: ToolPlay) {
        lock(&self.house.plays).push(play);
    }

    /// The calls of the Messages endpoint among them.
    pub fn messages(&self) -> Vec<Received> {
        self.on(MESSAGES)
    }

    /// The requests for one path.
    pub fn on(&self, path: &str) -> Vec<Received> {
        self.requests().into_iter().filter(|request| request.path() == path).collect()
    }
}

impl Deref for FakeAnthropic {
    type Target = Fake;

    fn deref(&self) -> &Fake {
        &self.fake
    }
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Speak for House {
    fn topic(&self, request: &Received) -> String {
        request.path().to_owned()
    }

    fn speak(&self, request: &Received, script: Option<&Answer>) -> Wire {
        let usual = Answer::default();
        let script = script.unwrap_or(&usual);
        let mut wire = if self.is_denied(request) {
            envelope(401, "authentication_error", "invalid x-api-key", None)
        } else if let Some(refusal) = &script.refusal {
            refused(refusal)
        } else {
            self.served(request, script)
        };
        if request.header("accept-encoding").contains("gzip") && wire.status == 200 {
            compress(&mut wire);
        }
        let streams = wire.frames.len() > 1;
        if matches!(script.ending, Ending::Torn(_)) && !streams && !wire.cut {
            let half = wire.frames[0].len() / 2;
            wire.frames[0].truncate(half);
            wire.cut = true;
        }
        let mut headers = vec![
            ("request-id".to_owned(), REQUEST_ID.to_owned()),
            ("anthropic-organization-id".to_owned(), ORGANIZATION.to_owned()),
        ];
        headers.retain(|(name, _)| !wire.headers.iter().any(|(known, _)| known == name));
        wire.headers.extend(headers);
        wire.headers.retain(|(known, _)| !script.headers.iter().any(|(name, _)| known == name));
        wire.headers.extend(script.headers.iter().cloned());
        wire.headers.retain(|(name, _)| !script.without.contains(&name.as_str()));
        wire
    }
}

impl House {
    fn is_denied(&self, request: &Received) -> bool {
        if !request.path().starts_with("/v1/") {
            return false;
        }
        let bearer = request.header("authorization");
        let credentials =
            [request.header("x-api-key"), bearer.strip_prefix("Bearer ").unwrap_or(bearer)];
        let denied = lock(&self.denied);
        credentials.iter().all(|credential| credential.is_empty())
            || credentials.iter().any(|credential| denied.contains(*credential))
    }

    fn served(&self, request: &Received, script: &Answer) -> Wire {
        match (request.method.as_str(), request.path()) {
            ("POST", MESSAGES) => self.message(request, script),
            ("POST", "/v1/messages/count_tokens") => {
                json_wire(200, &json!({"input_tokens": request.body.len() / 4}))
            }
            ("GET", "/v1/models") => json_wire(
                200,
                &json!({
                    "data": [{"type": "model", "id": "claude-opus-5-5",
                              "display_name": "Claude Opus 5.5"}],
                    "has_more": false,
                }),
            ),
            (_, "/api/hello") => json_wire(200, &json!({"message": "hello"})),
            _ => echo(request),
        }
    }

    fn message(&self, request: &Received, script: &Answer) -> Wire {
        let asked = request.json();
        let Some(model) = asked["model"].as_str() else {
            return envelope(400, "invalid_request_error", "model: Field required", None);
        };
        let message = Message::answer(&asked, VOICE, model, &lock(&self.plays));
        let mut wire = if asked["stream"] == true {
            stream_of(message, script)
        } else {
            json_wire(200, &message.whole())
        };
        for (name, value) in [
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "2030-01-01T00:00:00Z"),
        ] {
            wire.headers.push((name.to_owned(), value.to_owned()));
        }
        wire
    }
}

/// A refused request in the API's error envelope.
fn envelope(status: u16, kind: &str, message: &str, code: Option<&str>) -> Wire {
    let mut error = json!({"type": kind, "message": message});
    if let Some(code) = code {
        error["details"] = json!({"error_code": code});
    }
    json_wire(status, &json!({"type": "error", "error": error, "request_id": REQUEST_ID}))
}

fn refused(refusal: &Refusal) -> Wire {
    let Refusal { status, kind, message, code, body } = refusal;
    let mut wire = envelope(*status, kind, message, code.as_deref());
    if let Some(body) = body {
        wire = whole_wire(*status, "text/html", body.clone());
    }
    wire
}

fn json_wire(status: u16, value: &Value) -> Wire {
    whole_wire(status, "application/json", Bytes::from(value.to_string()))
}

fn whole_wire(status: u16, kind: &str, body: Bytes) -> Wire {
    let headers = vec![
        ("content-type".to_owned(), kind.to_owned()),
        ("content-length".to_owned(), body.len().to_string()),
    ];
    Wire { status, headers, frames: vec![body], cut: false }
}

fn echo(request: &Received) -> Wire {
    let kind = request.header("content-type");
    whole_wire(200, if kind.is_empty() { "text/plain" } else { kind }, request.body.clone())
}

fn stream_of(message: Message, script: &Answer) -> Wire {
    let mut events = message.events();
    if script.speechless {
        events.retain(|event| event["index"].is_null());
    }
    // A ping follows the first start of a block.
    events.insert(2.min(events.len() - 1), json!({"type": "ping"}));
    let mut frames: Vec<Bytes> = events.iter().map(sse).collect();
    let mut cut = false;
    match &script.ending {
        Ending::Complete => {}
        Ending::Cut(count) => {
            frames.truncate(*count);
            cut = true;
        }
        Ending::Torn(count) => {
            frames.truncate(count + 1);
            let half = frames[*count].len() / 2;
            frames[*count].truncate(half);
            cut = true;
        }
        Ending::Close(count) | Ending::Exception(count, ..) => frames.truncate(*count),
        Ending::Error(count, kind) => {
            frames.truncate(*count);
            let error = json!({"type": kind, "message": "Overloaded"});
            frames.push(sse(&json!({"type": "error", "error": error})));
        }
    }
    let headers = vec![
        ("content-type".to_owned(), "text/event-stream; charset=utf-8".to_owned()),
        ("cache-control".to_owned(), "no-cache".to_owned()),
    ];
    Wire { status: 200, headers, frames, cut }
}

fn sse(event: &Value) -> Bytes {
    let name = event["type"].as_str().expect("every event has a type");
    Bytes::from(format!("event: {name}\ndata: {event}\n\n"))
}

fn compress(wire: &mut Wire) {
    let mut gzip = Gzip::new();
    let mut frames: Vec<Bytes> =
        wire.frames.iter().map(|frame| Bytes::from(gzip.piece(frame))).collect();
    if !wire.cut {
        frames.push(Bytes::from(gzip.end()));
    }
    wire.frames = frames;
    wire.headers.retain(|(name, _)| name != "content-length");
    wire.headers.push(("content-encoding".to_owned(), "gzip".to_owned()));
}
