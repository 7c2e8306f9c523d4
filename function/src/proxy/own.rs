//! The proxy's own endpoints, side by side. Below `/_proxy/` nothing else answers.

mod caller;
pub(super) mod drill;
mod me;
mod notice;
mod page;
mod usage;

use std::time::Duration;

use async_stream::stream;
use bytes::Bytes;
use futures_util::StreamExt;
use http::request::Parts;
use http::{HeaderValue, Request, Response, header};
use http_body::Frame;

use super::admit::busy;
use super::body::Body;
use crate::reply::{ErrorKind, Failure};
use crate::room::Full;

/// Where to ask whether the proxy is up.
pub(super) const HEALTH: &str = "/healthz";

/// Whether somebody asks only if the proxy is up, which takes no room.
#[must_use]
pub fn is_health<B>(request: &Request<B>) -> bool {
    request.uri().path() == HEALTH
}

/// Whether a path is the proxy's own, and never Anthropic's.
pub(super) fn is_below(path: &str) -> bool {
    path.strip_prefix("/_proxy").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether a hook of a client asks, which is to be answered whatever happens.
pub(super) fn is_notice(head: &Parts) -> bool {
    notice::is_asked(&head.method, head.uri.path())
}

/// What a request reads for which there is no room: a hook reads nothing at all.
#[must_use]
pub fn turned_away<B>(request: &Request<B>, full: Full) -> Response<Body> {
    if notice::is_asked(request.method(), request.uri().path()) {
        return notice::silence();
    }
    busy(full)
}

/// Says that the proxy is up; with `?stream=1` in two chunks, so that streaming can be proved.
pub(super) fn healthz(query: Option<&str>) -> Response<Body> {
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    let in_two = query.is_some_and(|query| query.split('&').any(|pair| pair == "stream=1"));
    let body = if in_two {
        let halves = stream! {
            yield Bytes::from_static(b"ok");
            tokio::time::sleep(Duration::from_millis(300)).await;
            yield Bytes::from_static(b"\n");
        };
        Body::made(halves.map(|half| Ok(Frame::data(half))))
    } else {
        Body::from(Bytes::from_static(b"ok\n"))
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

/// Below `/_proxy/` there is nothing for whoever asks.
pub(super) fn nothing_here() -> Failure {
    let message = "The proxy has no such endpoint of its own; /healthz is one.";
    Failure::new(ErrorKind::NotFound, message)
}
