//! What does AWS Lambda do around a function? A service with a Function URL in front and the
//! Runtime API behind, which streams, and freezes the process between two invocations.
//!
//! As strict as the real one where that can be known (AWS Lambda Developer Guide: *custom
//! runtimes*, *response streaming*, *Function URLs*). It holds nothing back and corrects nothing.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    io,
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use aws_smithy_types::base64;
use bytes::Bytes;
use futures_util::stream;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    HeaderMap, Request, Response, body::Frame, body::Incoming, server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::{Instant, timeout},
};

type Body = UnsyncBoxBody<Bytes, io::Error>;

/// How the service treats the function.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The function's timeout.
    pub timeout: Duration,
    /// What is told as the deadline instead of the real one, in milliseconds.
    pub deadline_ms: Option<i64>,
    /// How many invocations one process gets at a time.
    pub concurrency: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), deadline_ms: None, concurrency: 1 }
    }
}

/// One invocation, as the Runtime API saw it.
#[derive(Clone, Debug, Default)]
pub struct Invocation {
    /// When the event was handed to the function.
    pub handed: Option<Instant>,
    /// The head of `POST …/response`.
    pub headers: HeaderMap,
    /// Each chunk of its body, and when it came.
    pub chunks: Vec<(Instant, Bytes)>,
    pub trailers: HeaderMap,
    pub ended: bool,
    /// The body ended as HTTP wants it.
    pub whole: bool,
    /// Nothing had come when the time was over.
    pub timed_out: bool,
}

#[derive(Debug, Default)]
struct Ledger {
    invocations: BTreeMap<String, Invocation>,
    callers: BTreeMap<String, mpsc::UnboundedSender<Piece>>,
    init_errors: Vec<(String, Value)>,
    running: usize,
    most_running: usize,
    waiting: usize,
    first_next: Option<Instant>,
    eager: usize,
    process: Option<u32>,
    count: usize,
}

#[derive(Debug)]
enum Piece {
    Head(Value),
    Data(Bytes),
    Failed,
}

/// The service; dropping it closes its ports.
#[derive(Debug)]
pub struct Lambda {
    api: SocketAddr,
    url: SocketAddr,
    house: Arc<House>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Debug)]
struct House {
    rules: Rules,
    ledger: Mutex<Ledger>,
    events: mpsc::UnboundedSender<(String, Value)>,
    queue: tokio::sync::Mutex<mpsc::UnboundedReceiver<(String, Value)>>,
}

impl Lambda {
    pub fn start(rules: Rules) -> Self {
        let listen = || {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
            listener.set_nonblocking(true).expect("a socket can be non-blocking");
            listener
        };
        let (api, url) = (listen(), listen());
        let address = |socket: &std::net::TcpListener| socket.local_addr().expect("it is bound");
        let (api_address, url_address) = (address(&api), address(&url));
        let (events, queue) = mpsc::unbounded_channel();
        let queue = tokio::sync::Mutex::new(queue);
        let house = Arc::new(House { rules, ledger: Mutex::default(), events, queue });
        let (stop, stopped) = oneshot::channel();
        let served = Arc::clone(&house);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be built").block_on(async {
                tokio::select! {
                    () = accept(api, Arc::clone(&served), House::api) => {}
                    () = accept(url, served, House::url) => {}
                    _ = stopped => {}
                }
            });
        });
        let (api, url) = (api_address, url_address);
        Self { api, url, house, stop: Some(stop), thread: Some(thread) }
    }

    /// What `AWS_LAMBDA_RUNTIME_API` says.
    pub fn api(&self) -> String {
        self.api.to_string()
    }

    /// Where the Function URL is.
    pub fn url(&self) -> SocketAddr {
        self.url
    }

    /// Freezes this process between invocations from now on.
    pub fn owns(&self, process: u32) {
        self.house.ledger().process = Some(process);
    }

    /// Invokes the function with any event, and returns what it answered when all of it is there.
    pub async fn invoke(&self, event: Value) -> Invocation {
        let (id, mut pieces) = self.house.invoke(event);
        while pieces.recv().await.is_some() {}
        self.house.ledger().invocations[&id].clone()
    }

    /// All invocations so far.
    pub fn invocations(&self) -> Vec<Invocation> {
        self.house.ledger().invocations.values().cloned().collect()
    }

    /// Type and body of what was posted to `/init/error`.
    pub fn init_errors(&self) -> Vec<(String, Value)> {
        self.house.ledger().init_errors.clone()
    }

    /// How many invocations ran at once at most.
    pub fn most_running(&self) -> usize {
        self.house.ledger().most_running
    }

    /// How often the next event was asked for while an answer was still under way, beyond what
    /// was allowed.
    pub fn eager(&self) -> usize {
        self.house.ledger().eager
    }

    /// When the function first asked for an event.
    pub fn first_next(&self) -> Option<Instant> {
        self.house.ledger().first_next
    }

    /// Waits until so many loops wait for an event.
    pub async fn is_idle(&self, loops: usize) {
        let begun = Instant::now();
        while self.house.ledger().waiting < loops {
            assert!(begun.elapsed() < Duration::from_secs(20), "the function does not ask");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Lambda {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl House {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn invoke(&self, event: Value) -> (String, mpsc::UnboundedReceiver<Piece>) {
        let (sender, pieces) = mpsc::unbounded_channel();
        let mut ledger = self.ledger();
        ledger.count += 1;
        let id = format!("8476a536-e9f4-11e8-9739-{:012}", ledger.count);
        ledger.invocations.insert(id.clone(), Invocation::default());
        ledger.callers.insert(id.clone(), sender);
        self.events.send((id.clone(), event)).expect("the house has the other end");
        (id, pieces)
    }

    /// The Runtime API.
    async fn api(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path().to_owned();
        let path = path.strip_prefix("/2018-06-01/runtime/").unwrap_or_default();
        match (request.method().as_str(), path.split('/').collect::<Vec<_>>().as_slice()) {
            ("GET", ["invocation", "next"]) => self.next().await,
            ("POST", ["invocation", id, "response"]) => self.response(id, request).await,
            ("POST", ["init", "error"]) => {
                let kind = header(request.headers(), "lambda-runtime-function-error-type");
                let body = request.into_body().collect().await.expect("an error comes whole");
                let body = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
                self.ledger().init_errors.push((kind, body));
                status(202)
            }
            _ => status(404),
        }
    }

    async fn next(&self) -> Response<Body> {
        {
            let mut ledger = self.ledger();
            ledger.first_next.get_or_insert_with(Instant::now);
            ledger.waiting += 1;
            if ledger.running >= self.rules.concurrency {
                ledger.eager += 1;
            }
        }
        let (id, event) = {
            let mut queue = self.queue.lock().await;
            match queue.try_recv() {
                Ok(event) => event,
                Err(_) => {
                    self.signal("-STOP");
                    let event = queue.recv().await.expect("the house has the other end");
                    self.signal("-CONT");
                    event
                }
            }
        };
        self.note(&id, |invocation| invocation.handed = Some(Instant::now()));
        let mut ledger = self.ledger();
        ledger.waiting -= 1;
        ledger.running += 1;
        ledger.most_running = ledger.most_running.max(ledger.running);
        let real = || now_ms() + i64::try_from(self.rules.timeout.as_millis()).unwrap_or(i64::MAX);
        let deadline = self.rules.deadline_ms.unwrap_or_else(real);
        Response::builder()
            .header("lambda-runtime-aws-request-id", &id)
            .header("lambda-runtime-invocation-id", format!("invocation-of-{id}"))
            .header("lambda-runtime-deadline-ms", deadline)
            .header("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700")
            .header("content-type", "application/json")
            .body(whole(event.to_string()))
            .expect("the answer is valid")
    }

    /// Stops or continues the process, where only one invocation runs at a time.
    fn signal(&self, signal: &str) {
        let process = self.ledger().process;
        if let Some(process) = process.filter(|_| self.rules.concurrency == 1) {
            // It may have ended by itself.
            let mut kill = Command::new("kill");
            drop(kill.args([signal, &process.to_string()]).stderr(Stdio::null()).status());
        }
    }

    async fn response(&self, id: &str, request: Request<Incoming>) -> Response<Body> {
        let (head, mut body) = request.into_parts();
        let Some(caller) = self.ledger().callers.remove(id) else { return status(400) };
        self.note(id, |invocation| invocation.headers = head.headers);
        let (mut prelude, mut has_begun) = (Vec::new(), false);
        let is_whole = loop {
            let Some(frame) = body.frame().await else { break true };
            let Ok(frame) = frame else { break false };
            match frame.into_data() {
                Ok(data) => {
                    let seen = (Instant::now(), data.clone());
                    self.note(id, |invocation| invocation.chunks.push(seen));
                    // Whoever called may have left.
                    if has_begun {
                        drop(caller.send(Piece::Data(data)));
                        continue;
                    }
                    prelude.extend_from_slice(&data);
                    let Some(end) = prelude.windows(8).position(|eight| eight == [0; 8]) else {
                        continue;
                    };
                    has_begun = true;
                    let head = serde_json::from_slice(&prelude[..end]).unwrap_or_default();
                    drop(caller.send(Piece::Head(head)));
                    let rest = prelude.split_off(end + 8);
                    if !rest.is_empty() {
                        drop(caller.send(Piece::Data(rest.into())));
                    }
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    self.note(id, |invocation| invocation.trailers = trailers);
                }
            }
        };
        let mut failed = !is_whole;
        self.note(id, |invocation| {
            (invocation.ended, invocation.whole) = (true, is_whole);
            failed = failed || !invocation.trailers.is_empty();
        });
        if failed {
            drop(caller.send(Piece::Failed));
        }
        self.ledger().running -= 1;
        status(202)
    }

    fn note(&self, id: &str, change: impl FnOnce(&mut Invocation)) {
        change(self.ledger().invocations.get_mut(id).expect("it was invoked"));
    }

    /// The Function URL.
    async fn url(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
        let event = event(&head, &body.unwrap_or_default());
        if event.to_string().len() > 6 << 20 {
            return status(413);
        }
        let (id, mut pieces) = self.invoke(event);
        let head = timeout(self.rules.timeout, pieces.recv()).await;
        let Ok(head) = head else {
            self.note(&id, |invocation| invocation.timed_out = true);
            return status(504);
        };
        let Some(Piece::Head(head)) = head else { return status(502) };
        let code = head["statusCode"].as_u64().and_then(|code| code.try_into().ok());
        let mut answer = Response::builder().status(code.unwrap_or(502_u16));
        for (name, value) in head["headers"].as_object().into_iter().flatten() {
            // Only text is a header's value: a list is not.
            answer = answer.header(name, value.as_str().unwrap_or("not text"));
        }
        for cookie in head["cookies"].as_array().into_iter().flatten() {
            answer = answer.header("set-cookie", cookie.as_str().unwrap_or("not text"));
        }
        let frames = stream::unfold(pieces, |mut pieces| async move {
            let frame = match pieces.recv().await? {
                Piece::Data(data) => Ok(Frame::data(data)),
                Piece::Head(_) | Piece::Failed => Err(io::ErrorKind::ConnectionReset.into()),
            };
            Some((frame, pieces))
        });
        answer.body(StreamBody::new(frames).boxed_unsync()).unwrap_or_else(|_| status(502))
    }
}

/// The event of a request (AWS Lambda Developer Guide, *Request payload format*).
pub fn event(head: &http::request::Parts, body: &Bytes) -> Value {
    let mut headers = BTreeMap::<&str, String>::new();
    let mut cookies = Vec::new();
    for (name, value) in &head.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        if name == "cookie" {
            cookies.extend(value.split("; ").map(str::to_owned));
            continue;
        }
        let joined = headers.entry(name.as_str()).or_default();
        if !joined.is_empty() {
            joined.push(',');
        }
        joined.push_str(&value);
    }
    let kind = headers.get("content-type").cloned().unwrap_or_default();
    let is_text = ["text/", "application/json", "application/xml", "application/javascript"]
        .iter()
        .any(|text| kind.starts_with(text));
    let text = std::str::from_utf8(body).ok().filter(|_| is_text);
    headers.insert("x-forwarded-for", "203.0.113.7".to_owned());
    headers.insert("x-forwarded-proto", "https".to_owned());
    headers.insert("x-amzn-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700".to_owned());
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": head.uri.path(),
        "rawQueryString": head.uri.query().unwrap_or_default(),
        "headers": headers,
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "urlid",
            "domainName": "urlid.lambda-url.us-east-1.on.aws",
            "domainPrefix": "urlid",
            "http": {
                "method": head.method.as_str(),
                "path": head.uri.path(),
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": headers.get("user-agent"),
            },
            "requestId": "e1506fd5-9e7b-434f-bd42-4f8fa224b599",
            "routeKey": "$default",
            "stage": "$default",
            "time": "23/Nov/2026:07:33:01 +0000",
            "timeEpoch": 1_795_419_181_000_i64,
        },
        "isBase64Encoded": !body.is_empty() && text.is_none(),
    });
    if !cookies.is_empty() {
        event["cookies"] = cookies.into();
    }
    if !body.is_empty() {
        event["body"] = text.map_or_else(|| base64::encode(body), str::to_owned).into();
    }
    event
}

async fn accept<F, A>(listener: std::net::TcpListener, house: Arc<House>, answer: F)
where
    F: Fn(Arc<House>, Request<Incoming>) -> A + Copy + Send + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let listener = TcpListener::from_std(listener).expect("the socket is non-blocking");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((socket, _)) = accepted else { continue };
                drop(socket.set_nodelay(true));
                let house = Arc::clone(&house);
                let service = service_fn(move |request| {
                    let house = Arc::clone(&house);
                    async move { Ok::<_, Infallible>(answer(house, request).await) }
                });
                connections.spawn(async move {
                    let mut server = http1::Builder::new();
                    let server = server.timer(TokioTimer::new());
                    drop(server.serve_connection(TokioIo::new(socket), service).await);
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

fn status(code: u16) -> Response<Body> {
    let body = whole(json!({"message": "AWS says so"}).to_string());
    Response::builder().status(code).body(body).expect("the status is one")
}

fn whole(body: impl Into<Bytes>) -> Body {
    Full::new(body.into()).map_err(|never| match never {}).boxed_unsync()
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

#[expect(clippy::disallowed_methods, reason = "a deadline is told as a moment of the real clock")]
fn now_ms() -> i64 {
    Timestamp::now().as_millisecond()
}
