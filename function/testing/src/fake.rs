//! What do both fake upstreams share? A socket on the loopback, a log of what arrived there, and
//! the scripts of what to answer next. Runs on a thread of its own and ends with its owner.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::{Request, Response, body::Frame, body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::answer::{Answer, Gate};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    pub version: hyper::Version,
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
    /// When the caller left before the answer had ended.
    pub abandoned: Option<Instant>,
}

impl Received {
    /// The value of a header, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known == name)
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What goes out: a head, then frames, one after the other.
#[derive(Debug)]
pub struct Wire {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub frames: Vec<Bytes>,
    /// The connection breaks after the last frame.
    pub cut: bool,
}

/// Turns a request and the script for it into bytes.
pub trait Speak: Send + Sync + 'static {
    /// The name under which answers for this request are scripted.
    fn topic(&self, request: &Received) -> String;
    fn speak(&self, request: &Received, script: Option<&Answer>) -> Wire;
}

/// Says what to answer to a request before any script is looked at.
pub type Director = Arc<dyn Fn(&Received) -> Option<Answer> + Send + Sync>;

#[derive(Default)]
struct Ledger {
    requests: Vec<Received>,
    scripts: BTreeMap<String, VecDeque<Answer>>,
    standing: BTreeMap<String, Answer>,
    director: Option<Director>,
    connections: usize,
    unread: Option<Gate>,
}

/// The ledger of a fake, shared with the thread that serves it.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Ledger>>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A server on port 0 of 127.0.0.1.
#[derive(Debug)]
pub struct Fake {
    address: SocketAddr,
    shared: Shared,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Fake {
    pub fn start(speaker: Arc<dyn Speak>) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Shared::default();
        let (stop, stopped) = oneshot::channel();
        let served = shared.clone();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be built");
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, speaker, served) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Every request so far, in the order of arrival.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.ledger().requests.clone()
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.shared.ledger().connections
    }

    /// Lets `director` answer first. Of what arrives only the targets are kept then.
    pub fn direct(&self, director: Director) {
        self.shared.ledger().director = Some(director);
    }

    /// Reads no body of a request with the header [`UNREAD`] until the gate is open.
    pub fn unread(&self, gate: &Gate) {
        self.shared.ledger().unread = Some(gate.clone());
    }

    /// Appends to the script of `topic`; after its end the standing answer is given.
    pub fn next(&self, topic: &str, answers: impl IntoIterator<Item = Answer>) {
        self.shared.ledger().scripts.entry(topic.to_owned()).or_default().extend(answers);
    }

    /// Answers every unscripted request of `topic` like this from now on.
    pub fn always(&self, topic: &str, answer: Answer) {
        self.shared.ledger().standing.insert(topic.to_owned(), answer);
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(listener: std::net::TcpListener, speaker: Arc<dyn Speak>, shared: Shared) {
    let listener = TcpListener::from_std(listener).expect("the socket is non-blocking");
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((socket, _)) = accepted {
                    shared.ledger().connections += 1;
                    connections.spawn(connection(socket, Arc::clone(&speaker), shared.clone()));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(socket: TcpStream, speaker: Arc<dyn Speak>, shared: Shared) {
    let service = service_fn(move |request| {
        let (speaker, shared) = (Arc::clone(&speaker), shared.clone());
        async move { Ok::<_, Infallible>(exchange(request, speaker, shared).await) }
    });
    drop(socket.set_nodelay(true));
    let mut opening = [0; 4];
    let second = matches!(socket.peek(&mut opening).await, Ok(4)) && &opening == b"PRI ";
    let socket = TokioIo::new(socket);
    // A caller that leaves ends its connection with an error, which is no news.
    if second {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        drop(builder.serve_connection(socket, service).await);
    } else {
        let mut builder = hyper::server::conn::http1::Builder::new();
        drop(builder.timer(TokioTimer::new()).serve_connection(socket, service).await);
    }
}

type Frames = Result<Frame<Bytes>, io::Error>;

async fn exchange(
    request: Request<Incoming>,
    speaker: Arc<dyn Speak>,
    shared: Shared,
) -> Response<StreamBody<impl Stream<Item = Frames>>> {
    let received = arrived(request, &shared).await;
    let topic = speaker.topic(&received);
    let (script, presence) = {
        let director = shared.ledger().director.clone();
        let directed = director.as_ref().and_then(|director| director(&received));
        let mut ledger = shared.ledger();
        let mut kept = received.clone();
        if director.is_some() {
            (kept.body, kept.headers) = (Bytes::new(), Vec::new());
        }
        ledger.requests.push(kept);
        let scripted = ledger.scripts.get_mut(&topic).and_then(VecDeque::pop_front);
        let script = directed.or(scripted).or_else(|| ledger.standing.get(&topic).cloned());
        let place = ledger.requests.len() - 1;
        (script, Presence { shared: shared.clone(), place, ended: false })
    };
    let wire = speaker.speak(&received, script.as_ref());
    let script = script.unwrap_or_default();
    sleep(script.head_after).await;
    let mut response = Response::builder().status(wire.status);
    for (name, value) in &wire.headers {
        response = response.header(name, value);
    }
    response.body(StreamBody::new(paced(wire, script, presence))).expect("scripted heads are valid")
}

/// A request with this header has its body read when a gate is open.
pub const UNREAD: &str = "x-test-unread";

async fn arrived(request: Request<Incoming>, shared: &Shared) -> Received {
    let (head, body) = request.into_parts();
    let gate = shared.ledger().unread.clone().filter(|_| head.headers.contains_key(UNREAD));
    if let Some(gate) = gate {
        gate.pass().await;
    }
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
        .collect();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    // Over HTTP/2 the scheme and the host come along.
    let target = match head.version {
        hyper::Version::HTTP_2 => head.uri.path_and_query().map_or("", |path| path.as_str()),
        _ => &head.uri.to_string(),
    };
    Received {
        version: head.version,
        method: head.method.to_string(),
        target: target.to_owned(),
        headers,
        body,
        abandoned: None,
    }
}

/// Lives as long as the caller waits for the answer.
struct Presence {
    shared: Shared,
    place: usize,
    ended: bool,
}

impl Drop for Presence {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.ledger().requests[self.place].abandoned = Some(Instant::now());
        }
    }
}

fn paced(wire: Wire, script: Answer, presence: Presence) -> impl Stream<Item = Frames> {
    let cut = wire.cut;
    let frames = match script.crumbs {
        Some(size) => crumbs(&wire.frames.concat(), size),
        None => wire.frames,
    };
    let frames = frames.into_iter().enumerate();
    stream::unfold(
        (frames, script, presence),
        move |(mut frames, script, mut presence)| async move {
            let Some((index, frame)) = frames.next() else {
                presence.ended = true;
                // What was written before gets its chance to leave.
                sleep(if cut { Duration::from_millis(30) } else { script.end_after }).await;
                let broken = Err(io::Error::from(io::ErrorKind::ConnectionReset));
                return cut.then_some((broken, (frames, script, presence)));
            };
            let pause = script.pause.filter(|(after, _)| *after == index).map(|(_, pause)| pause);
            let wait = script.gap + pause.unwrap_or_default();
            if !wait.is_zero() {
                sleep(wait).await;
            }
            if let Some((_, gate)) = script.hold.as_ref().filter(|(after, _)| *after == index) {
                gate.pass().await;
            }
            // A reader that knows the length never asks for more.
            presence.ended = !cut && frames.len() == 0;
            Some((Ok(Frame::data(frame)), (frames, script, presence)))
        },
    )
}

fn crumbs(body: &[u8], size: usize) -> Vec<Bytes> {
    body.chunks(size).map(Bytes::copy_from_slice).collect()
}
