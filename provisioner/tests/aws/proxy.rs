//! Stands between the tool and an emulator: keeps a journal, breaks what it is told to break, and
//! mends what an emulator is known to get wrong.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::emulator::Emulator;

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
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
}

#[derive(Debug, Default)]
struct State {
    /// The mutating calls, in order.
    journal: Vec<String>,
    /// Breaks this mutating call, counted from 1 since it was set.
    fault: Option<(usize, Fault)>,
    seen: usize,
    struck: bool,
    /// A variable that somebody else sets just before the next change of the function's.
    race: Option<(String, String)>,
    tool: Option<u32>,
    /// Where the function's URL leads, instead of to AWS.
    url: Option<String>,
    pages: Pages,
    /// What an emulator forgets of alarms, by name.
    alarms: std::collections::BTreeMap<String, Value>,
    /// Path beginnings, and what is said to them in the emulator's place.
    canned: Vec<(&'static str, u16, Value)>,
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
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Proxy {
    pub(crate) fn start(emulator: Emulator) -> Self {
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

    /// Breaks the `nth` mutating call from now on.
    pub(crate) fn arm(&self, nth: usize, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        (state.fault, state.seen, state.struck) = (Some((nth, fault)), 0, false);
    }

    /// Breaks nothing more. Says whether anything was broken.
    pub(crate) fn disarm(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        state.fault = None;
        state.struck
    }

    /// Lets somebody else set a variable of the function just before the tool does.
    pub(crate) fn race(&self, name: &str, value: &str) {
        self.state.lock().unwrap().race = Some((name.to_owned(), value.to_owned()));
    }

    /// Makes the function's URL lead somewhere else.
    pub(crate) fn serve_url_at(&self, url: &str) {
        self.state.lock().unwrap().url = Some(url.to_owned());
    }

    /// Says whom to kill.
    pub(crate) fn tool(&self, pid: u32) {
        self.state.lock().unwrap().tool = Some(pid);
    }

    /// Answers whatever path begins like this, in the emulator's place.
    pub(crate) fn answer(&self, path: &'static str, status: u16, answer: Value) {
        self.state.lock().unwrap().canned.insert(0, (path, status, answer));
    }

    /// Asks the emulator's CloudWatch behind the tool's back.
    pub(crate) fn cloudwatch(&self, action: &str, ask: &Value) -> Value {
        use std::io::{Read as _, Write as _};
        let body = ask.to_string();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: monitoring.us-east-1.amazonaws.com\r\nconnection: close\r\n\
             content-type: application/x-amz-json-1.0\r\n\
             x-amz-target: GraniteServiceVersion20100801.{action}\r\n\
             authorization: {}\r\ncontent-length: {}\r\n\r\n{body}",
            SIGNED.replace("/ecr/", "/monitoring/"),
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
    pub(crate) fn page_logs(&self, lines: usize, throttles: usize) {
        self.state.lock().unwrap().pages = Pages { lines, throttles, left: throttles };
    }

    /// The mutating calls since the last time.
    pub(crate) fn take_journal(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().journal)
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

struct Wire {
    emulator: Emulator,
    upstream: SocketAddr,
    own: SocketAddr,
    state: Arc<Mutex<State>>,
}

/// A call as the tool made it.
struct Call {
    method: Method,
    path: String,
    action: String,
    head: http::request::Parts,
    body: Bytes,
}

type Answered = Result<Response<Full<Bytes>>, std::io::Error>;

impl Wire {
    async fn answer(&self, request: Request<Incoming>) -> Answered {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
        let action = action(&head, &body);
        let (method, path) = (head.method.clone(), head.uri.path().to_owned());
        let call = Call { method, path, action, head, body };
        if call.action == "PutMetricAlarm" {
            let alarm: Value = serde_json::from_slice(&call.body).unwrap();
            let name = alarm["AlarmName"].as_str().unwrap().to_owned();
            self.state.lock().unwrap().alarms.insert(name, alarm["Metrics"].clone());
        }
        if let Some(canned) = self.canned(&call) {
            return Ok(canned);
        }
        if call.action == "FilterLogEvents" {
            return self.page(call).await;
        }
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
                self.kill();
                Err(broken())
            }
            Some(Fault::KillAfter) => {
                drop(self.forward(&call).await?);
                self.kill();
                Err(broken())
            }
            Some(Fault::Throttle) => Ok(throttled(&call)),
        }
    }

    /// Writes a mutating call down, and says what is to happen to it.
    fn note(&self, call: &Call) -> Option<Fault> {
        if !call.mutates() {
            return None;
        }
        let mut state = self.state.lock().unwrap();
        state.journal.push(call.action.clone());
        state.seen += 1;
        let (nth, fault) = state.fault?;
        if state.seen != nth {
            return None;
        }
        state.struck = true;
        Some(fault)
    }

    fn canned(&self, call: &Call) -> Option<Response<Full<Bytes>>> {
        let state = self.state.lock().unwrap();
        let (_, status, answer) =
            state.canned.iter().find(|(path, ..)| call.path.starts_with(path))?;
        let body = Full::from(answer.to_string());
        let code = answer["__type"].as_str().unwrap_or_default().to_owned();
        let answer = Response::builder().status(*status).header("x-amzn-errortype", code);
        Some(answer.header("content-type", "application/json").body(body).unwrap())
    }

    /// A page of log lines, by a token that says how many were given before.
    async fn page(&self, mut call: Call) -> Answered {
        let lines = {
            let mut state = self.state.lock().unwrap();
            let pages = &mut state.pages;
            if pages.left > 0 {
                pages.left -= 1;
                return Ok(throttled(&call));
            }
            pages.left = pages.throttles;
            pages.lines
        };
        if lines == 0 {
            return self.forward(&call).await;
        }
        let mut asked: Value = serde_json::from_slice(&call.body).unwrap();
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
        if call.method != Method::PUT || !call.path.ends_with("/configuration") {
            return Ok(());
        }
        let Some((name, value)) = self.state.lock().unwrap().race.take() else { return Ok(()) };
        let mut head = call.head.clone();
        head.method = Method::GET;
        let found = self.send(head, Bytes::new()).await?.into_body().0;
        let mut all = serde_json::from_slice::<Value>(&found).unwrap()["Environment"].take();
        all["Variables"][name] = value.into();
        let body = json!({ "Environment": all }).to_string();
        self.send(call.head.clone(), body.into()).await.map(drop)
    }

    fn kill(&self) {
        let pid = self.state.lock().unwrap().tool.unwrap();
        Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    }

    async fn forward(&self, call: &Call) -> Answered {
        if self.emulator == Emulator::Moto && call.path.starts_with("/v2/") {
            return self.registry(call).await;
        }
        let answer = self.send(call.head.clone(), call.body.clone()).await?;
        let (mut head, body) = answer.into_parts();
        let body = self.mend(call, body.into_inner());
        head.headers.remove(http::header::CONTENT_LENGTH);
        head.headers.remove(http::header::TRANSFER_ENCODING);
        Ok(Response::from_parts(head, Full::new(body)))
    }

    async fn send(
        &self,
        head: http::request::Parts,
        body: Bytes,
    ) -> Result<Response<Whole>, std::io::Error> {
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
        Ok(Response::from_parts(head, Whole(body)))
    }

    /// Answers as AWS would where the emulator does not.
    fn mend(&self, call: &Call, body: Bytes) -> Bytes {
        let Ok(mut answer) = serde_json::from_slice::<Value>(&body) else { return body };
        if call.action == "DescribeAlarms" {
            let state = self.state.lock().unwrap();
            for alarm in answer["MetricAlarms"].as_array_mut().into_iter().flatten() {
                let name = alarm["AlarmName"].as_str().unwrap_or_default();
                alarm["Metrics"] = state.alarms.get(name).cloned().unwrap_or_default();
            }
            return answer.to_string().into();
        }
        if call.action == "GetAuthorizationToken" {
            // Both name a host of AWS.
            answer["authorizationData"][0]["proxyEndpoint"] = json!(format!("http://{}", self.own));
        } else if call.method == Method::GET && call.path.ends_with("/policy") {
            let policy = answer["Policy"].as_str().unwrap_or_default();
            let Ok(mut policy) = serde_json::from_str::<Value>(policy) else { return body };
            for statement in policy["Statement"].as_array_mut().into_iter().flatten() {
                conditions(statement);
            }
            answer["Policy"] = policy.to_string().into();
        } else if call.path.ends_with("/url") && answer["FunctionUrl"].is_string() {
            let Some(url) = self.state.lock().unwrap().url.clone() else { return body };
            answer["FunctionUrl"] = url.into();
        } else {
            return body;
        }
        answer.to_string().into()
    }

    /// What moto lacks: a registry's protocol. A manifest that is put becomes an image of its ECR.
    async fn registry(&self, call: &Call) -> Answered {
        let empty = |status| Response::builder().status(status);
        let location = format!("http://{}{}", self.own, call.path.trim_end_matches('/'));
        let mut body = String::new();
        let answer = match (&call.method, call.path.contains("/manifests/")) {
            (&Method::PUT, true) => {
                let mut parts = call.path.trim_start_matches("/v2/").split("/manifests/");
                let (repository, tag) = (parts.next().unwrap(), parts.next().unwrap());
                let put = json!({
                    "repositoryName": repository, "imageTag": tag,
                    "imageDigest": provisioner::image::Digest::of(&call.body).as_str(),
                    "imageManifest": String::from_utf8_lossy(&call.body),
                });
                self.ecr("PutImage", &put).await?;
                empty(201).header("location", location)
            }
            (_, true) => {
                let mut parts = call.path.trim_start_matches("/v2/").split("/manifests/");
                let (repository, tag) = (parts.next().unwrap(), parts.next().unwrap());
                let ids = json!({"repositoryName": repository, "imageIds": [{"imageTag": tag}]});
                let found = self.ecr("BatchGetImage", &ids).await?;
                let manifest = found["images"][0]["imageManifest"].as_str().unwrap_or_default();
                body = manifest.to_owned();
                match found["images"][0]["imageId"]["imageDigest"].as_str() {
                    Some(digest) => empty(200)
                        .header("docker-content-digest", digest)
                        .header("content-type", "application/vnd.oci.image.manifest.v1+json"),
                    None => empty(404),
                }
            }
            (&Method::POST, false) => empty(202).header("location", format!("{location}/1")),
            (&Method::PUT | &Method::PATCH, false) => empty(201).header("location", location),
            (_, false) if call.path == "/v2/" => empty(200),
            (_, false) => empty(404),
        };
        Ok(answer.body(Full::from(body)).unwrap())
    }

    async fn ecr(&self, action: &str, call: &Value) -> Result<Value, std::io::Error> {
        let target = format!("AmazonEC2ContainerRegistry_V20150921.{action}");
        let request = Request::post("/")
            .header("host", "api.ecr.us-east-1.amazonaws.com")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", target)
            .header("authorization", SIGNED)
            .body(())
            .unwrap();
        let body = call.to_string().into();
        let answer = self.send(request.into_parts().0, body).await?;
        Ok(serde_json::from_slice(&answer.into_body().0).unwrap_or_default())
    }
}

/// Moto reads the service and the region out of it, and checks nothing.
const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/ecr/aws4_request, \
                      SignedHeaders=host, Signature=0";

struct Whole(Bytes);

impl Whole {
    fn into_inner(self) -> Bytes {
        self.0
    }
}

/// Moto keeps a statement's conditions under the names of the request.
fn conditions(statement: &mut Value) {
    let Some(fields) = statement.as_object_mut() else { return };
    if let Some(auth) = fields.remove("FunctionUrlAuthType") {
        fields.insert(
            "Condition".into(),
            json!({"StringEquals": {"lambda:FunctionUrlAuthType": auth}}),
        );
    }
    if fields.remove("InvokedViaFunctionUrl").is_some() {
        fields
            .insert("Condition".into(), json!({"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}));
    }
}

impl Call {
    fn mutates(&self) -> bool {
        if self.path.starts_with("/v2/") || self.action.contains(' ') {
            return ![Method::GET, Method::HEAD].contains(&self.method);
        }
        let questions = [
            "Get",
            "List",
            "Describe",
            "BatchGet",
            "BatchCheck",
            "Scan",
            "Query",
            "Filter",
            "Simulate",
        ];
        !questions.iter().any(|start| self.action.starts_with(start))
    }
}

/// The operation's name; for REST, method and path.
fn action(head: &http::request::Parts, body: &Bytes) -> String {
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    if let Some((_, action)) = target.and_then(|target| target.split_once('.')) {
        return action.to_owned();
    }
    let form = String::from_utf8_lossy(body);
    let action = form.split('&').find_map(|pair| pair.strip_prefix("Action="));
    action.map_or_else(|| format!("{} {}", head.method, head.uri.path()), str::to_owned)
}

fn broken() -> std::io::Error {
    std::io::Error::other("the connection is broken on purpose")
}

fn throttled(call: &Call) -> Response<Full<Bytes>> {
    let json = |kind: &str| json!({"__type": kind, "message": "Rate exceeded"}).to_string();
    let (status, kind, body) = if call.head.headers.contains_key("x-amz-target") {
        (StatusCode::BAD_REQUEST, "", json("ThrottlingException"))
    } else if call.path.starts_with("/v2/") {
        (StatusCode::TOO_MANY_REQUESTS, "", json!({"errors": []}).to_string())
    } else if call.action.contains(' ') {
        let kind = "TooManyRequestsException";
        (StatusCode::TOO_MANY_REQUESTS, kind, json(kind))
    } else {
        let xml = "<ErrorResponse><Error><Type>Sender</Type><Code>Throttling</Code>\
                   <Message>Rate exceeded</Message></Error><RequestId>1</RequestId></ErrorResponse>";
        (StatusCode::BAD_REQUEST, "", xml.to_owned())
    };
    let answer = Response::builder().status(status);
    let answer = if kind.is_empty() { answer } else { answer.header("x-amzn-errortype", kind) };
    answer.body(Full::from(body)).unwrap()
}
