//! What does a client see? A small HTTP/1.1 client, one connection per call, that notes when each
//! piece arrived. It follows nothing, decompresses nothing and retries nothing; every wait ends.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, body::Incoming};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, timeout},
};

/// The longest that a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(45);

/// A slow reader takes its time for so many pieces.
const SLOW_PIECES: usize = 40;

/// The credential that calls carry unless they say otherwise.
pub const ALICE: &str = "sk-ant-api03-test-alice";
pub const BOB: &str = "sk-ant-api03-test-bob";

/// A request to make.
#[derive(Clone, Debug)]
pub struct Call {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Bytes,
    message: Value,
}

impl Call {
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("x-api-key".to_owned(), ALICE.to_owned())],
            body: Bytes::new(),
            message: Value::Null,
        }
    }

    /// A streamed message of the Sonnet 4.5 line, as Claude Code sends one.
    pub fn message() -> Self {
        let mut call = Self::new("POST", "/v1/messages?beta=true")
            .header("content-type", "application/json")
            .header("anthropic-version", "2023-06-01")
            .header("accept-encoding", "gzip, deflate, br, zstd");
        call.message = json!({
            "model": "claude-sonnet-4-5-20250929",
            "max_tokens": 1024,
            "stream": true,
            "messages": [{"role": "user", "content": "hello"}],
        });
        call
    }

    /// The same request for counting.
    pub fn count() -> Self {
        Self::message().at("/v1/messages/count_tokens?beta=true").no("max_tokens").no("stream")
    }

    pub fn at(mut self, target: &str) -> Self {
        target.clone_into(&mut self.target);
        self
    }

    /// Adds a header; a known one is replaced.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a header beside others of its name.
    pub fn also(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    pub fn by(self, credential: &str) -> Self {
        self.header("x-api-key", credential)
    }

    /// Sets one field of the message.
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.message[field] = value.into();
        self
    }

    pub fn no(mut self, field: &str) -> Self {
        self.message.as_object_mut().expect("the call is a message").remove(field);
        self
    }

    pub fn model(self, model: &str) -> Self {
        self.with("model", model)
    }

    pub fn says(self, text: &str) -> Self {
        self.with("messages", json!([{"role": "user", "content": text}]))
    }

    /// Asks for one JSON object instead of a stream.
    pub fn whole(self) -> Self {
        self.with("stream", false)
    }

    /// Sends these very bytes.
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self.message = Value::Null;
        self
    }

    fn request(&self, host: SocketAddr) -> Request<Full<Bytes>> {
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(&self.target)
            .header("host", host.to_string());
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let body = if self.message.is_null() {
            self.body.clone()
        } else {
            Bytes::from(self.message.to_string())
        };
        request.body(Full::new(body)).expect("test calls are valid requests")
    }

    /// Sends the call and waits for the head of the answer.
    pub async fn open(&self, address: SocketAddr) -> Live {
        self.try_open(address).await.expect("the proxy answers")
    }

    /// The same where the connection may break before there is a head.
    pub async fn try_open(&self, address: SocketAddr) -> Result<Live, hyper::Error> {
        let begun = Instant::now();
        let (sender, mut tasks) = connect(address).await;
        let mut sender = sender;
        let answer = timeout(PATIENCE, sender.send_request(self.request(address))).await;
        let (head, body) = answer.expect("a head comes in time")?.into_parts();
        tasks.spawn(async move {
            // Holding the sender keeps the connection open.
            let _sender = sender;
            std::future::pending::<()>().await;
        });
        Ok(Live {
            status: head.status.as_u16(),
            headers: head.headers,
            head_after: begun.elapsed(),
            begun,
            body,
            _tasks: tasks,
        })
    }

    /// Sends the call and leaves after `stay`, whatever has come by then.
    pub async fn leave_after(&self, address: SocketAddr, stay: Duration) {
        let call = async {
            let mut live = self.open(address).await;
            while live.next().await.is_some() {}
        };
        drop(timeout(stay, call).await);
    }

    /// Sends the call and reads the answer to its end.
    pub async fn send(&self, address: SocketAddr) -> Reply {
        self.open(address).await.finish().await
    }
}

async fn connect(
    address: SocketAddr,
) -> (hyper::client::conn::http1::SendRequest<Full<Bytes>>, JoinSet<()>) {
    let socket = TcpStream::connect(address).await.expect("the proxy listens");
    let mut builder = hyper::client::conn::http1::Builder::new();
    let spoken = builder.max_headers(1024).handshake(TokioIo::new(socket)).await;
    let (sender, connection) = spoken.expect("HTTP/1.1 is spoken");
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { drop(connection.await) });
    (sender, tasks)
}

/// An answer whose body is still to come; dropping it closes the connection.
#[derive(Debug)]
pub struct Live {
    pub status: u16,
    headers: HeaderMap,
    head_after: Duration,
    begun: Instant,
    body: Incoming,
    _tasks: JoinSet<()>,
}

impl Live {
    /// The next piece of the body, or how it broke.
    pub async fn next(&mut self) -> Option<Result<Bytes, String>> {
        loop {
            let frame =
                timeout(PATIENCE, self.body.frame()).await.expect("the body goes on in time");
            match frame? {
                Ok(frame) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Some(Ok(bytes));
                    }
                }
                Err(error) => return Some(Err(error.to_string())),
            }
        }
    }

    pub async fn finish(self) -> Reply {
        self.finish_slowly(Duration::ZERO).await
    }

    /// Reads on to the end, with a pause after each of the first pieces.
    pub async fn finish_slowly(mut self, pause: Duration) -> Reply {
        let (mut pieces, mut broken) = (Vec::new(), None);
        while let Some(piece) = self.next().await {
            if !pause.is_zero() && pieces.len() < SLOW_PIECES {
                tokio::time::sleep(pause).await;
            }
            match piece {
                Ok(bytes) => pieces.push((self.begun.elapsed(), bytes)),
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            }
        }
        let body = pieces.iter().map(|(_, bytes)| &bytes[..]).collect::<Vec<_>>().concat().into();
        Reply {
            status: self.status,
            headers: self.headers,
            head_after: self.head_after,
            took: self.begun.elapsed(),
            pieces,
            body,
            broken,
        }
    }
}

/// An answer that has ended. Times count from the moment the call was made.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub head_after: Duration,
    pub took: Duration,
    pub pieces: Vec<(Duration, Bytes)>,
    pub body: Bytes,
    /// Why the body broke off, if it did.
    pub broken: Option<String>,
}

/// One server-sent event; a comment has the name `:`.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: Value,
}

impl Reply {
    /// The value of a header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII header"))
    }

    /// The names of all headers that begin like this.
    pub fn headers_like(&self, prefix: &str) -> Vec<&str> {
        self.headers
            .keys()
            .map(hyper::header::HeaderName::as_str)
            .filter(|name| name.starts_with(prefix))
            .collect()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| {
            panic!(
                "{} is not JSON ({error}): {:?}",
                self.status,
                String::from_utf8_lossy(&self.body)
            )
        })
    }

    pub fn upstream(&self) -> &str {
        self.header("x-claude-proxy-upstream")
    }

    pub fn reason(&self) -> &str {
        self.header("x-claude-proxy-reason")
    }

    pub fn events(&self) -> Vec<Event> {
        let text = String::from_utf8(self.body.to_vec()).expect("a stream is UTF-8");
        text.split_terminator("\n\n").map(event).collect()
    }

    pub fn names(&self) -> Vec<String> {
        self.events().into_iter().map(|event| event.name).collect()
    }

    /// The events called `error`.
    pub fn errors(&self) -> Vec<Value> {
        let events = self.events().into_iter();
        events.filter(|event| event.name == "error").map(|event| event.data).collect()
    }

    /// What the model said, in either form of answer.
    pub fn text(&self) -> String {
        if self.header("content-type").starts_with("text/event-stream") {
            let events = self.events();
            return events
                .iter()
                .filter_map(|event| event.data["delta"]["text"].as_str())
                .collect();
        }
        let content = self.json()["content"].clone();
        let blocks = content.as_array().into_iter().flatten();
        blocks.filter_map(|block| block["text"].as_str()).collect()
    }

    /// `error.type` of the envelope.
    pub fn error(&self) -> String {
        self.json()["error"]["type"].as_str().unwrap_or_default().to_owned()
    }
}

fn event(block: &str) -> Event {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    let name = field("event: ").or(field(":").map(|_| ":")).unwrap_or_default();
    let data = field("data: ").map(|data| serde_json::from_str(data).expect("data is JSON"));
    Event { name: name.to_owned(), data: data.unwrap_or_default() }
}
