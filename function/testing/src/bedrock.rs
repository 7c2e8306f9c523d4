//! What would Bedrock answer? A fake of `InvokeModel`, its streaming form and `CountTokens`, as
//! strict as the service (see `models`), with real event-stream frames and scripted faults.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::{
    base64,
    event_stream::{Header, HeaderValue, Message as FrameMessage},
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    answer::{Answer, Ending},
    fake::{Fake, Received, Speak, Wire},
    message::{Message, ToolPlay, Voice},
    models,
    tokens::PromptCache,
};

const VOICE: Voice = Voice { name: "bedrock", ids: "bdrk_" };

/// The fake; dropping it closes its port.
#[derive(Debug)]
pub struct FakeBedrock {
    fake: Fake,
    house: Arc<House>,
}

#[derive(Debug, Default)]
struct House {
    plays: Mutex<Vec<ToolPlay>>,
    prompts: OnceLock<PromptCache>,
}

impl FakeBedrock {
    pub fn start() -> Self {
        let house = Arc::new(House::default());
        Self { fake: Fake::start(Arc::clone(&house) as Arc<dyn Speak>), house }
    }

    /// Scripts the next answers to both forms of `InvokeModel`.
    pub fn next(&self, answers: impl IntoIterator<Item = Answer>) {
        self.fake.next("invoke", answers);
    }

    /// Scripts the next answers to `CountTokens`.
    pub fn next_count(&self, answers: impl IntoIterator<Item = Answer>) {
        self.fake.next("count-tokens", answers);
    }

    /// Answers every unscripted `InvokeModel` like this from now on.
    pub fn always(&self, answer: Answer) {
        self.fake.always("invoke", answer);
    }

    /// From now on tokens are counted, also those that are cached; before, each answer uses the same.
    pub fn counts(&self) {
        self.house.prompts.get_or_init(PromptCache::default);
    }

    /// Lets the model call a tool where a request offers it.
    pub fn play(&self, play: ToolPlay) {
        self.house.plays.lock().unwrap_or_else(PoisonError::into_inner).push(play);
    }
}

impl Deref for FakeBedrock {
    type Target = Fake;

    fn deref(&self) -> &Fake {
        &self.fake
    }
}

/// The region that a request was signed for.
pub fn region(request: &Received) -> &str {
    request.header("authorization").split('/').nth(2).unwrap_or_default()
}

impl Speak for House {
    fn topic(&self, request: &Received) -> String {
        let name = call(request).map_or("", |(_, name)| name);
        name.trim_end_matches("-with-response-stream").to_owned()
    }

    fn speak(&self, request: &Received, script: Option<&Answer>) -> Wire {
        let usual = Answer::default();
        let script = script.unwrap_or(&usual);
        let mut wire = self.judge(request, script).unwrap_or_else(|(status, kind, message)| {
            let mut wire = json_wire(status, &json!({"message": message}));
            wire.headers.push(("x-amzn-errortype".to_owned(), kind));
            wire
        });
        let id = "5f1b2c3d-0000-4000-8000-00000000abcd".to_owned();
        wire.headers.push(("x-amzn-requestid".to_owned(), id));
        wire.headers.extend(script.headers.iter().cloned());
        wire
    }
}

type Refused = (u16, String, String);

impl House {
    fn judge(&self, request: &Received, script: &Answer) -> Result<Wire, Refused> {
        let refuse =
            |status, kind: &str, text: &str| Err((status, kind.to_owned(), text.to_owned()));
        let invalid = |text: &str| (400, "ValidationException".to_owned(), text.to_owned());
        // Signed, or with an API key of Bedrock (*Amazon Bedrock API keys*).
        let shown = request.header("authorization");
        let token = shown.strip_prefix("Bearer ").is_some_and(|token| !token.is_empty());
        if !token && !shown.starts_with("AWS4-HMAC-SHA256 ") {
            return refuse(
                403,
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            );
        }
        if let Some(refusal) = &script.refusal {
            return refuse(refusal.status, &refusal.kind, &refusal.message);
        }
        let Some((id, operation)) = call(request) else {
            return refuse(404, "UnknownOperationException", "");
        };
        let Some((model, profile)) = models::find(&id) else {
            return Err(invalid("The provided model identifier is invalid."));
        };
        if operation == "count-tokens" {
            return count(request, model, profile);
        }
        if !profile {
            return Err(invalid(&format!(
                "Invocation of model ID {id} with on-demand throughput isn\u{2019}t supported. \
                 Retry your request with the ID or ARN of an inference profile that contains this \
                 model."
            )));
        }
        let body = request.json();
        if let Some(text) = models::refusal(model, &body).or_else(|| models::marked(&body)) {
            return Err(invalid(&text));
        }
        let plays = self.plays.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut message = Message::answer(&body, VOICE, model.id, &plays).of_tokens(script.tokens);
        if let Some(prompts) = self.prompts.get() {
            let usage = prompts.usage(model.id, &body, message.content());
            message = message.used(usage);
        }
        Ok(match operation {
            "invoke" => json_wire(200, &message.whole()),
            _ => stream_of(message, script),
        })
    }
}

/// The model's id and the operation's name of `/model/{id}/{operation}`.
fn call(request: &Received) -> Option<(String, &'static str)> {
    let (id, operation) = request.path().strip_prefix("/model/")?.rsplit_once('/')?;
    let operation = ["invoke", "invoke-with-response-stream", "count-tokens"]
        .into_iter()
        .find(|known| *known == operation)?;
    Some((id.replace("%3A", ":").replace("%2F", "/"), operation))
}

fn count(request: &Received, model: &models::Model, profile: bool) -> Result<Wire, Refused> {
    let invalid = |text: &str| (400, "ValidationException".to_owned(), text.to_owned());
    if profile || !model.counted {
        return Err(invalid("The provided model doesn't support counting tokens."));
    }
    let asked = request.json();
    let inner = asked["input"]["invokeModel"]["body"].as_str().unwrap_or_default();
    let body: Value = base64::decode(inner)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .ok_or_else(|| invalid("input: invokeModel.body is not a JSON object"))?;
    match models::refusal(model, &body) {
        Some(text) => Err(invalid(&text)),
        None => Ok(json_wire(200, &json!({"inputTokens": inner.len() / 4}))),
    }
}

fn json_wire(status: u16, value: &Value) -> Wire {
    let body = Bytes::from(value.to_string());
    let headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        ("content-length".to_owned(), body.len().to_string()),
    ];
    Wire { status, headers, frames: vec![body], cut: false }
}

fn stream_of(message: Message, script: &Answer) -> Wire {
    let usage = message.usage().clone();
    let mut events = message.events();
    if script.speechless {
        events.retain(|event| event["index"].is_null());
    }
    if let Some(stop) = events.last_mut() {
        stop["amazon-bedrock-invocationMetrics"] = json!({
            "inputTokenCount": usage["input_tokens"], "outputTokenCount": usage["output_tokens"],
            "invocationLatency": 800, "firstByteLatency": 300,
        });
    }
    let mut frames: Vec<Bytes> = events.iter().map(chunk).collect();
    let mut cut = false;
    if let Some((after, chunks)) = script.mumbles {
        frames.splice(after..after, vec![chunk(&json!({"p": "nothing"})); chunks]);
    }
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
        Ending::Close(count) => frames.truncate(*count),
        Ending::Error(count, kind) => {
            frames.truncate(*count);
            let error = json!({"type": kind, "message": "Overloaded"});
            frames.push(chunk(&json!({"type": "error", "error": error})));
        }
        Ending::Exception(count, name, message) => {
            frames.truncate(*count);
            let text = json!({"message": message});
            frames.push(frame("exception", ":exception-type", name, &text));
        }
    }
    let headers = vec![
        ("content-type".to_owned(), "application/vnd.amazon.eventstream".to_owned()),
        ("x-amzn-bedrock-content-type".to_owned(), "application/json".to_owned()),
    ];
    Wire { status: 200, headers, frames, cut }
}

/// One Anthropic event in one frame; `p` is the padding that hides its length.
fn chunk(event: &Value) -> Bytes {
    let payload = json!({"bytes": base64::encode(event.to_string()), "p": "abcdefghijk"});
    frame("event", ":event-type", "chunk", &payload)
}

fn frame(kind: &'static str, label: &'static str, name: &str, payload: &Value) -> Bytes {
    let text = |value: &str| HeaderValue::String(value.to_owned().into());
    let message = FrameMessage::new(Bytes::from(payload.to_string()))
        .add_header(Header::new(label, text(name)))
        .add_header(Header::new(":content-type", text("application/json")))
        .add_header(Header::new(":message-type", text(kind)));
    let mut out = Vec::new();
    write_message_to(&message, &mut out).expect("small frames can be written");
    Bytes::from(out)
}
