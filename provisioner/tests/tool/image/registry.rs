//! What does a strict registry say? The distribution protocol as far as a push needs it, on a socket
//! of the loopback: digests are checked, a login is demanded, and connections break on request.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use provisioner::image::Digest;
use provisioner::image::push::Registry;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(crate) const REPOSITORY: &str = "claude-proxy";
pub(crate) const PASSWORD: &str = "dummy-password";

/// `AWS:dummy-password`, as the header has it.
const LOGIN: &str = "Basic QVdTOmR1bW15LXBhc3N3b3Jk";

/// When a connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before the request has had any effect, its body unread.
    Before,
    /// In the middle of the body.
    Within,
    /// After the effect, so that only the answer is lost.
    After,
}

/// What the registry does other than its duty.
#[derive(Debug, Default)]
pub(crate) struct Mood {
    /// The requests that lose their connection, counted from 0.
    pub(crate) cuts: BTreeMap<usize, Cut>,
    /// The status of every answer from this request on, and its body.
    pub(crate) answer: Option<(usize, u16, String)>,
    /// It names this digest whatever it has.
    pub(crate) digest: Option<String>,
    /// Where the body of a blob shall go, instead of to the registry.
    pub(crate) upload_at: Option<String>,
}

#[derive(Debug, Default)]
struct Shelf {
    mood: Mood,
    requests: Vec<String>,
    blobs: BTreeMap<String, Bytes>,
    uploads: BTreeSet<String>,
    manifests: BTreeMap<String, (String, Bytes)>,
}

/// A registry on port 0 of 127.0.0.1; ends with its owner.
#[derive(Debug)]
pub(crate) struct Fake {
    address: String,
    shelf: Arc<Mutex<Shelf>>,
    _server: JoinSet<()>,
}

impl Fake {
    pub(crate) async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shelf = Arc::new(Mutex::new(Shelf { mood, ..Shelf::default() }));
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&shelf)));
        Self { address, shelf, _server: server }
    }

    /// The way in, with the right password.
    pub(crate) fn registry(&self) -> Registry {
        Registry {
            endpoint: format!("http://{}", self.address),
            repository: REPOSITORY.to_owned(),
            user: "AWS".to_owned(),
            password: PASSWORD.to_owned(),
        }
    }

    /// Lists the requests so far, without digests and numbers.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.shelf().requests.clone()
    }

    pub(crate) fn in_mood(&self, mood: Mood) {
        let mut shelf = self.shelf();
        shelf.mood = mood;
        shelf.requests.clear();
    }

    pub(crate) fn forget_blob(&self, digest: &str) {
        self.shelf().blobs.remove(digest);
    }

    pub(crate) fn forget_manifests(&self) {
        self.shelf().manifests.clear();
    }

    /// The manifest under a tag or digest, with its media type.
    pub(crate) fn manifest(&self, name: &str) -> Option<(String, Bytes)> {
        self.shelf().manifests.get(name).cloned()
    }

    pub(crate) fn blob(&self, digest: &str) -> Option<Bytes> {
        self.shelf().blobs.get(digest).cloned()
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        locked(&self.shelf)
    }
}

type Answer = Response<Full<Bytes>>;

fn locked(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shelf: Arc<Mutex<Shelf>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shelf = Arc::clone(&shelf);
        connections.spawn(async move {
            let service = service_fn(|request| answer(request, &shelf));
            // A connection that the test wants broken ends with an error here.
            drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
        });
    }
}

/// Answers one request, or breaks its connection with an error.
async fn answer(request: Request<Incoming>, shelf: &Mutex<Shelf>) -> io::Result<Answer> {
    let (head, mut body) = request.into_parts();
    let number = {
        let mut shelf = locked(shelf);
        shelf.requests.push(format!("{} {}", head.method, topic(head.uri.path())));
        shelf.requests.len() - 1
    };
    let cut = locked(shelf).mood.cuts.get(&number).copied();
    if cut == Some(Cut::Before) {
        return Err(io::Error::other("cut before"));
    }
    let mut content = Vec::new();
    while let Some(frame) = body.frame().await {
        content.extend(frame.map_err(io::Error::other)?.into_data().unwrap_or_default());
        if cut == Some(Cut::Within) {
            return Err(io::Error::other("cut within"));
        }
    }
    let mut shelf = locked(shelf);
    if let Some((from, status, text)) = &shelf.mood.answer
        && number >= *from
    {
        return Ok(reply(*status, &[], text.clone()));
    }
    let query = head.uri.query().unwrap_or_default().to_owned();
    let header = |name: &str| {
        head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
    };
    let asked = Asked {
        method: head.method.clone(),
        path: head.uri.path().to_owned(),
        query,
        login: header("authorization"),
        kind: header("content-type"),
        length: header("content-length"),
        content: content.into(),
    };
    let answer = shelf.answer(&asked);
    if cut == Some(Cut::After) { Err(io::Error::other("cut after")) } else { Ok(answer) }
}

struct Asked {
    method: Method,
    path: String,
    query: String,
    login: String,
    kind: String,
    length: String,
    content: Bytes,
}

impl Shelf {
    fn answer(&mut self, asked: &Asked) -> Answer {
        if asked.login != LOGIN {
            let challenge = [("www-authenticate", "Basic realm=\"fake\"")];
            return reply(401, &challenge, errors("UNAUTHORIZED", "not authorized"));
        }
        let parts = asked.path.trim_start_matches("/v2/").splitn(3, '/').collect::<Vec<_>>();
        match (asked.method.as_str(), &parts[..]) {
            (_, [repository, ..]) if *repository != REPOSITORY => {
                reply(404, &[], errors("NAME_UNKNOWN", "no such repository"))
            }
            ("HEAD", [_, "blobs", digest]) => self.blob(digest),
            ("POST", [_, "blobs", "uploads/"]) => self.begin(),
            ("PUT", [_, "blobs", upload]) => self.finish(upload, asked),
            ("HEAD" | "GET", [_, "manifests", name]) => self.known(name),
            ("PUT", [_, "manifests", name]) => self.tag(name, asked),
            _ => reply(405, &[], errors("UNSUPPORTED", "not here")),
        }
    }

    fn blob(&self, digest: &str) -> Answer {
        match self.blobs.get(digest) {
            Some(_) => reply(200, &[], String::new()),
            None => reply(404, &[], String::new()),
        }
    }

    fn begin(&mut self) -> Answer {
        let id = format!("uploads/{}", self.requests.len());
        let base = self.mood.upload_at.clone().unwrap_or_default();
        let place = format!("{base}/v2/{REPOSITORY}/blobs/{id}?state=a%2Fb");
        self.uploads.insert(id);
        reply(202, &[("location", &place)], String::new())
    }

    fn finish(&mut self, upload: &str, asked: &Asked) -> Answer {
        if !self.uploads.remove(upload) || !asked.query.contains("state=a%2Fb") {
            return reply(404, &[], errors("BLOB_UPLOAD_UNKNOWN", "no such upload"));
        }
        if asked.length != asked.content.len().to_string() {
            return reply(400, &[], errors("SIZE_INVALID", "content-length is missing"));
        }
        let digest = Digest::of(&asked.content);
        let named = format!("digest=sha256%3A{}", digest.digits());
        if !asked.query.split('&').any(|pair| pair == named) {
            return reply(400, &[], errors("DIGEST_INVALID", "other content"));
        }
        let place = format!("/v2/{REPOSITORY}/blobs/{digest}");
        self.blobs.insert(digest.to_string(), asked.content.clone());
        reply(201, &[("location", &place)], String::new())
    }

    fn known(&self, name: &str) -> Answer {
        let Some((kind, content)) = self.manifests.get(name) else {
            return reply(404, &[], errors("MANIFEST_UNKNOWN", "no such manifest"));
        };
        let digest = Digest::of(content).to_string();
        let digest = self.mood.digest.as_ref().unwrap_or(&digest);
        reply(200, &[("docker-content-digest", digest), ("content-type", kind)], String::new())
    }

    /// Takes a manifest whose blobs are there, and like ECR does not say where it is now.
    fn tag(&mut self, name: &str, asked: &Asked) -> Answer {
        let manifest = serde_json::from_slice::<Value>(&asked.content).unwrap_or_default();
        let mut parts = manifest["layers"].as_array().cloned().unwrap_or_default();
        parts.push(manifest["config"].clone());
        let there = |part: &Value| {
            let blob = self.blobs.get(part["digest"].as_str().unwrap_or_default());
            blob.is_some_and(|blob| part["size"] == blob.len())
        };
        if asked.kind != manifest["mediaType"] || !parts.iter().all(there) {
            return reply(400, &[], errors("MANIFEST_INVALID", "parts are missing"));
        }
        let known = (asked.kind.clone(), asked.content.clone());
        self.manifests.insert(Digest::of(&asked.content).to_string(), known.clone());
        self.manifests.insert(name.to_owned(), known);
        reply(201, &[], String::new())
    }
}

fn reply(status: u16, headers: &[(&str, &str)], body: String) -> Answer {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).unwrap()
}

/// An error as the distribution specification words it.
pub(crate) fn errors(code: &str, message: &str) -> String {
    json!({"errors": [{"code": code, "message": message, "detail": null}]}).to_string()
}

/// Says what a path is about, without what differs from run to run.
fn topic(path: &str) -> &'static str {
    if path == "/v2/" {
        "login"
    } else if path.contains("/uploads/") {
        "upload"
    } else if path.contains("/blobs/") {
        "blob"
    } else if path.contains("/manifests/") {
        "manifest"
    } else {
        "other"
    }
}
