//! Stands between the tool and an emulator: keeps a journal, breaks what it is told to break, is as
//! slow as AWS where it is told to, and mends what an emulator is known to get wrong.

// By path, since another test has this file at another place.
#[path = "proxy/call.rs"]
mod call;
#[path = "proxy/mend.rs"]
mod mend;
#[path = "proxy/strict.rs"]
mod strict;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::call::Call;
pub use self::call::Refusal;
use self::strict::Strict;
use super::emulator::Emulator;

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection ends before the call has an effect.
    DropBefore,
    /// The call has its effect, but the answer never comes.
    DropAfter,
    /// The tool is killed before the call has an effect.
    KillBefore,
    /// The call has its effect, and the tool is killed.
    KillAfter,
    /// AWS says that it is too much.
    Throttle,
    /// The person says stop, by this signal, while the call is on its way.
    Signal(&'static str),
}

#[derive(Debug, Default)]
struct State {
    /// The mutating calls, in order.
    journal: Vec<String>,
    /// All calls, in order.
    all: Vec<String>,
    /// Breaks this mutating call, counted from 1 since it was set.
    fault: Option<(usize, Fault)>,
    seen: usize,
    struck: bool,
    /// Counts only what has an effect that lasts.
    lasting: bool,
    /// A variable that somebody else sets just before the next change of the function's.
    race: Option<(String, String)>,
    /// What somebody else does in between.
    meddler: Meddler,
    /// Loses the answer to each mutating call once; which have been lost.
    lose: bool,
    lost: BTreeSet<(String, String, Bytes)>,
    tool: Option<u32>,
    /// Where the function's URL leads, instead of to AWS.
    url: Option<String>,
    /// Refuses the calls of these names, so often.
    refusals: BTreeMap<String, (Refusal, u32)>,
    strict: Option<Strict>,
    /// Whose variables are encrypted for whom.
    books: Strict,
    swallowed: String,
    hide_function_tags: bool,
    /// How often a log group comes back that was deleted.
    resurrections: u32,
    pages: Pages,
    /// What an emulator forgets of alarms, by name.
    alarms: BTreeMap<String, Value>,
    /// Path beginnings, and what is said to them in the emulator's place.
    canned: Vec<(&'static str, u16, Value)>,
    /// What is made of the answers to the calls of these names.
    twists: BTreeMap<String, Twist>,
}

/// What is made of an answer.
#[derive(Clone)]
enum Twist {
    /// The call is not made, and what this makes of its body is said.
    Instead(Arc<dyn Fn(&Value) -> Value + Send + Sync>),
    /// The call is made, and its answer changed.
    Changed(fn(&mut Value)),
    /// The call is made, and a server fails over its answer.
    Lost(u16),
}

impl std::fmt::Debug for Twist {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Twist")
    }
}

/// Somebody who does something once: before the first call after so many mutating ones.
#[derive(Default)]
struct Meddler(Option<(usize, Box<dyn FnOnce() + Send>)>);

impl std::fmt::Debug for Meddler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meddler")
    }
}

/// How log lines are given.
#[derive(Debug, Default)]
struct Pages {
    /// Lines in a page; 0 gives all at once.
    lines: usize,
    throttles: usize,
    left: usize,
}

/// A running proxy; it ends with the test program.
#[derive(Debug, Clone)]
pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub fn start(emulator: Emulator) -> Self {
        let upstream = emulator.address();
        let state = Arc::new(Mutex::new(State::default()));
        let (tell, told) = std::sync::mpsc::channel();
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let own = listener.local_addr().unwrap();
                tell.send(own).unwrap();
                let wire = Wire { emulator, upstream, own, state: shared };
                let tasks = tokio::task::LocalSet::new();
                tasks.run_until(serve(listener, wire)).await;
            });
        });
        Self { address: told.recv().unwrap(), state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Breaks the `nth` mutating call from now on.
    pub fn arm(&self, nth: usize, fault: Fault) {
        let mut state = self.state();
        (state.fault, state.seen, state.struck) = (Some((nth, fault)), 0, false);
    }

    /// Kills the tool after the first mutating call whose effect outlasts it: an upload that was only
    /// begun is begun again.
    pub fn kill_at_first_effect(&self) {
        self.arm(1, Fault::KillAfter);
        self.state().lasting = true;
    }

    /// Has every call's effect once without an answer.
    pub fn lose_every_answer(&self) {
        let mut state = self.state();
        (state.lose, state.struck) = (true, false);
        state.lost.clear();
    }

    /// Breaks nothing more. Says whether anything was broken.
    pub fn disarm(&self) -> bool {
        let mut state = self.state();
        (state.fault, state.lose, state.lasting) = (None, false, false);
        state.struck
    }

    /// Lets somebody else set a variable of the function just before the tool does.
    pub fn race(&self, name: &str, value: &str) {
        self.state().race = Some((name.to_owned(), value.to_owned()));
    }

    /// Lets somebody else do something after so many mutating calls from now on, once.
    pub fn meddle(&self, calls: usize, what: impl FnOnce() + Send + 'static) {
        let mut state = self.state();
        state.seen = 0;
        state.meddler = Meddler(Some((calls, Box::new(what))));
    }

    /// Whether somebody has still to do something; nobody has any more.
    pub fn call_off(&self) -> bool {
        self.state().meddler.0.take().is_some()
    }

    /// Refuses every call of this name, such as `iam.CreateRole`.
    pub fn refuse(&self, name: &str, refusal: Refusal) {
        self.state().refusals.insert(name.to_owned(), (refusal, u32::MAX));
    }

    /// Refuses nothing more. Says how often anything was refused.
    pub fn relent(&self) -> u32 {
        let refusals = std::mem::take(&mut self.state().refusals);
        refusals.into_values().map(|(_, left)| u32::MAX - left).sum()
    }

    /// Never answers calls of this name, nor makes them.
    pub fn swallow(&self, name: &str) {
        self.state().swallowed = name.to_owned();
    }

    /// Has Lambda say that it may not tell the function's tags.
    pub fn hide_function_tags(&self) {
        self.state().hide_function_tags = true;
    }

    /// As slow and strict as AWS, from now on.
    pub fn be_strict(&self) {
        self.state().strict = Some(Strict::default());
    }

    /// The next log groups that are deleted come back.
    pub fn resurrect(&self, times: u32) {
        self.state().resurrections = times;
    }

    /// Whether a function can decrypt its variables.
    pub fn decrypts(&self, function: &str) -> bool {
        self.state().books.decrypts(function)
    }

    /// Makes the function's URL lead somewhere else.
    pub fn serve_url_at(&self, url: &str) {
        self.state().url = Some(url.to_owned());
    }

    /// Starts the tool; no call of it is looked at before it is known whom to kill.
    pub fn launch(&self, tool: &mut Command) -> Child {
        let mut state = self.state();
        let child = tool.spawn().unwrap();
        state.tool = Some(child.id());
        child
    }

    /// Answers whatever path begins like this, in the emulator's place.
    pub fn answer(&self, path: &'static str, status: u16, answer: Value) {
        self.state().canned.insert(0, (path, status, answer));
    }

    /// Makes no call of this name, and answers it with what `say` makes of its body.
    pub fn instead(&self, name: &str, say: impl Fn(&Value) -> Value + Send + Sync + 'static) {
        self.state().twists.insert(name.to_owned(), Twist::Instead(Arc::new(say)));
    }

    /// Changes every answer to calls of this name.
    pub fn rewrite(&self, name: &str, change: fn(&mut Value)) {
        self.state().twists.insert(name.to_owned(), Twist::Changed(change));
    }

    /// Makes calls of this name, and answers every one of them that a server has failed.
    pub fn fail_after(&self, name: &str, status: u16) {
        self.state().twists.insert(name.to_owned(), Twist::Lost(status));
    }

    /// Leaves answers alone again.
    pub fn untwist(&self) {
        self.state().twists.clear();
    }

    /// Asks the emulator's CloudWatch behind the tool's back.
    pub fn cloudwatch(&self, action: &str, ask: &Value) -> Value {
        use std::io::{Read as _, Write as _};
        let body = ask.to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: monitoring.us-east-1.amazonaws.com\r\nconnection: close\r\n\
             content-type: application/x-amz-json-1.0\r\n\
             x-amz-target: GraniteServiceVersion20100801.{action}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/monitoring/\
             aws4_request, SignedHeaders=host, Signature=0\r\ncontent-length: {}\r\n\r\n{body}",
            body.len(),
        );
        let mut stream = std::net::TcpStream::connect(self.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(body).unwrap()
    }

    /// Gives log lines in pages of so many, and calls each page too much so many times first.
    pub fn page_logs(&self, lines: usize, throttles: usize) {
        self.state().pages = Pages { lines, throttles, left: throttles };
    }

    /// The mutating calls since the last time.
    pub fn take_journal(&self) -> Vec<String> {
        std::mem::take(&mut self.state().journal)
    }

    /// All calls since the last time.
    pub fn take_all(&self) -> Vec<String> {
        std::mem::take(&mut self.state().all)
    }
}

async fn serve(listener: TcpListener, wire: Wire) {
    let wire = Arc::new(wire);
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let wire = Arc::clone(&wire);
        tokio::task::spawn_local(async move {
            let service = service_fn(move |request| {
                let wire = Arc::clone(&wire);
                async move { wire.answer(request).await }
            });
            let connection = hyper::server::conn::http1::Builder::new();
            drop(connection.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

const JSON: &str = "application/x-amz-json-1.1";

struct Wire {
    emulator: Emulator,
    upstream: SocketAddr,
    own: SocketAddr,
    state: Arc<Mutex<State>>,
}

type Answered = Result<Response<Full<Bytes>>, std::io::Error>;

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn answer(&self, request: Request<Incoming>) -> Answered {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let call = Call::new(head, body);
        if self.state().swallowed == call.name {
            std::future::pending::<()>().await;
        }
        if call.name == "cloudwatch.PutMetricAlarm" {
            let alarm = call.json();
            let name = alarm["AlarmName"].as_str().unwrap().to_owned();
            self.state().alarms.insert(name, alarm["Metrics"].clone());
        }
        if let Some(canned) = self.canned(&call) {
            return Ok(canned);
        }
        if call.name == "logs.FilterLogEvents" {
            return self.page(call).await;
        }
        self.meddle().await;
        let fault = self.note(&call);
        self.race(&call).await?;
        match fault {
            None => self.forward(&call).await,
            Some(Fault::DropBefore) => Err(broken()),
            Some(Fault::DropAfter) => {
                drop(self.forward(&call).await?);
                Err(broken())
            }
            Some(Fault::KillBefore) => {
                self.signal("KILL");
                Err(broken())
            }
            Some(Fault::KillAfter) => {
                drop(self.forward(&call).await?);
                self.signal("KILL");
                Err(broken())
            }
            Some(Fault::Throttle) => Ok(call.throttled()),
            Some(Fault::Signal(name)) => {
                self.signal(name);
                // The tool has heard it before it hears the answer.
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                self.forward(&call).await
            }
        }
    }

    /// Lets somebody else go first, whose own calls go through here as well.
    async fn meddle(&self) {
        let what = {
            let mut state = self.state();
            let seen = state.seen;
            let now = state.meddler.0.as_ref().is_some_and(|(calls, _)| seen >= *calls);
            let meddler = if now { state.meddler.0.take() } else { None };
            let Some((_, what)) = meddler else { return };
            what
        };
        tokio::task::spawn_blocking(what).await.unwrap();
    }

    /// Writes a call down, and says what is to happen to it.
    fn note(&self, call: &Call) -> Option<Fault> {
        let mut state = self.state();
        state.all.push(call.name.clone());
        if !call.mutates() {
            return None;
        }
        state.journal.push(call.name.clone());
        if state.lasting && call.is_registry() && call.method() == Method::POST {
            return None;
        }
        state.seen += 1;
        let (path, body) = (call.path().to_owned(), call.body.clone());
        if state.lose && state.lost.insert((call.name.clone(), path, body)) {
            state.struck = true;
            return Some(Fault::DropAfter);
        }
        let (nth, fault) = state.fault?;
        if state.seen != nth {
            return None;
        }
        state.struck = true;
        Some(fault)
    }

    fn canned(&self, call: &Call) -> Option<Response<Full<Bytes>>> {
        let state = self.state();
        let (_, status, answer) =
            state.canned.iter().find(|(path, ..)| call.path().starts_with(path))?;
        let body = Full::from(answer.to_string());
        let code = answer["__type"].as_str().unwrap_or_default().to_owned();
        let answer = Response::builder().status(*status).header("x-amzn-errortype", code);
        Some(answer.header("content-type", "application/json").body(body).unwrap())
    }

    /// A page of log lines, by a token that says how many were given before.
    async fn page(&self, mut call: Call) -> Answered {
        let lines = {
            let pages = &mut self.state().pages;
            if pages.left > 0 {
                pages.left -= 1;
                return Ok(call.throttled());
            }
            pages.left = pages.throttles;
            pages.lines
        };
        if lines == 0 {
            return self.forward(&call).await;
        }
        let mut asked = call.json();
        let before = asked.as_object_mut().unwrap().remove("nextToken");
        let before = before.map_or(0, |token| token.as_str().unwrap().parse().unwrap());
        call.body = asked.to_string().into();
        let (head, body) = self.forward(&call).await?.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        if let Some(events) = answer["events"].as_array_mut() {
            let all = events.len();
            *events = events.iter().skip(before).take(lines).cloned().collect();
            if before + lines < all {
                answer["nextToken"] = (before + lines).to_string().into();
            }
        }
        Ok(Response::from_parts(head, Full::from(answer.to_string())))
    }

    /// Somebody else is quicker, if that was asked for.
    async fn race(&self, call: &Call) -> Result<(), std::io::Error> {
        if call.name != "lambda.UpdateFunctionConfiguration" {
            return Ok(());
        }
        let Some((name, value)) = self.state().race.take() else { return Ok(()) };
        let mut head = call.head.clone();
        head.method = Method::GET;
        let (_, found) = self.send(head, Bytes::new()).await?;
        let mut all = serde_json::from_slice::<Value>(&found).unwrap()["Environment"].take();
        all["Variables"][name] = value.into();
        let body = json!({ "Environment": all }).to_string();
        self.send(call.head.clone(), body.into()).await.map(drop)
    }

    fn signal(&self, name: &str) {
        let pid = self.state().tool.unwrap();
        Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    }

    async fn forward(&self, call: &Call) -> Answered {
        if let Some(refusal) = self.refusal(call) {
            return Ok(call.refused(&refusal));
        }
        let twist = self.state().twists.get(&call.name).cloned();
        if let Some(Twist::Instead(say)) = &twist {
            let answer = Full::from(say(&call.json()).to_string());
            return Ok(Response::builder().header("content-type", JSON).body(answer).unwrap());
        }
        if self.emulator == Emulator::Moto && call.is_registry() {
            return self.registry(call).await;
        }
        let (mut head, mut body) = self.send(call.head.clone(), call.body.clone()).await?;
        match twist {
            Some(Twist::Changed(change)) if head.status.is_success() => {
                let mut answer = serde_json::from_slice(&body).unwrap();
                change(&mut answer);
                body = answer.to_string().into();
            }
            Some(Twist::Lost(status)) => {
                let failure = Refusal::new(status, "InternalFailure", "something failed");
                return Ok(call.refused(&failure));
            }
            Some(Twist::Instead(_) | Twist::Changed(_)) | None => {}
        }
        let body = self.settle(call, head.status, body);
        let haunting = self.state().strict.as_mut().and_then(|strict| strict.haunts(call));
        if let Some(table) = haunting {
            return Ok(Response::new(Full::from(table.to_string())));
        }
        if call.name == "logs.DeleteLogGroup" && self.comes_back() {
            self.resurrect(&call.field("logGroupName")).await?;
        }
        head.headers.remove(http::header::CONTENT_LENGTH);
        head.headers.remove(http::header::TRANSFER_ENCODING);
        Ok(Response::from_parts(head, Full::new(body)))
    }

    fn refusal(&self, call: &Call) -> Option<Refusal> {
        let mut state = self.state();
        if let Some((refusal, left)) = state.refusals.get_mut(&call.name)
            && *left > 0
        {
            *left -= 1;
            return Some(refusal.clone());
        }
        state.strict.as_mut().and_then(|strict| strict.refuse(call))
    }

    fn comes_back(&self) -> bool {
        let mut state = self.state();
        let more = state.resurrections.checked_sub(1);
        state.resurrections = more.unwrap_or_default();
        more.is_some()
    }

    /// Makes of the emulator's answer what AWS would have said.
    fn settle(&self, call: &Call, status: StatusCode, body: Bytes) -> Bytes {
        let mut state = self.state();
        state.books.encrypt(call, status, &String::from_utf8_lossy(&body));
        let Ok(mut answer) = serde_json::from_slice(&body) else {
            if let Some(strict) = &mut state.strict {
                strict.note(call, status, &mut Value::Null);
            }
            return body;
        };
        let before = Value::clone(&answer);
        self.mend(call, &mut answer);
        if call.name.ends_with("FunctionUrlConfig")
            && answer["FunctionUrl"].is_string()
            && let Some(url) = &state.url
        {
            answer["FunctionUrl"] = url.clone().into();
        }
        if call.name == "cloudwatch.DescribeAlarms" {
            for alarm in answer["MetricAlarms"].as_array_mut().into_iter().flatten() {
                let name = alarm["AlarmName"].as_str().unwrap_or_default();
                alarm["Metrics"] = state.alarms.get(name).cloned().unwrap_or_default();
            }
        }
        if state.hide_function_tags && call.name == "lambda.GetFunction" {
            answer["Tags"] = Value::Null;
            answer["TagsError"] = json!({"ErrorCode": "AccessDenied", "Message": "no"});
        }
        if let Some(strict) = &mut state.strict {
            strict.note(call, status, &mut answer);
        }
        if answer == before { body } else { answer.to_string().into() }
    }

    async fn send(
        &self,
        head: http::request::Parts,
        body: Bytes,
    ) -> Result<(http::response::Parts, Bytes), std::io::Error> {
        let mut head = head;
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        head.uri = format!("http://{}{path}", self.upstream).parse().unwrap();
        head.headers.remove(http::header::TRANSFER_ENCODING);
        head.headers.insert(http::header::CONTENT_LENGTH, body.len().into());
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let request = Request::from_parts(head, Full::new(body));
        let answer = client.request(request).await.map_err(std::io::Error::other)?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        Ok((head, body))
    }
}

fn broken() -> std::io::Error {
    std::io::Error::other("the connection is broken on purpose")
}
