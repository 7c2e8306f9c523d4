//! The figures of this process, for whoever scrapes them: `GET /metrics`, on an address of its own.
//!
//! It asks for no key and knows no secret. Nothing here waits for a request of a client, nor makes
//! one wait: few connections, one question on each, short patience.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::ready;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use super::connection::{self, ClientTimeouts, SeldomAnswer};
use crate::proxy::Body;
use crate::telemetry::exposition::Exposition;

/// Where the figures are.
pub(super) const PATH: &str = "/metrics";

/// More connections than this are closed unread.
const MOST_SCRAPES: usize = 16;
/// For the head of a question, and for taking the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Answers that are under way at the end have this long.
const DRAIN_WITHIN: Duration = Duration::from_secs(1);
/// How long the machine may recover where it is out of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Answers until `end` is told or dropped.
pub(super) async fn serve(listener: TcpListener, mut end: oneshot::Receiver<()>) {
    let timeouts = ClientTimeouts { head: PATIENCE, untaken: PATIENCE };
    let stop = watch::Sender::new(());
    let mut scrapes = FuturesUnordered::new();
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut end => break,
            Some(()) = scrapes.next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) if scrapes.len() < MOST_SCRAPES => {
                let answer: SeldomAnswer = Box::new(|request| ready(answer(&request)).boxed());
                scrapes.push(connection::serve(socket, timeouts, false, stop.subscribe(), answer));
            }
            Ok(_) => {}
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
        }
    }
    drop(listener);
    stop.send_replace(());
    let drained = scrapes.for_each(|()| ready(()));
    let _too_slow = tokio::time::timeout(DRAIN_WITHIN, drained).await;
}

/// Answers one question. Nothing of it is repeated.
fn answer<B>(request: &Request<B>) -> Response<Body> {
    let get_or_head = [Method::GET, Method::HEAD].contains(request.method());
    let (status, kind, text) = match request.uri().path() {
        PATH if get_or_head => {
            let wanted = wanted(request.headers());
            (StatusCode::OK, wanted.content_type(), wanted.write())
        }
        PATH => (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET and HEAD\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, PLAIN, format!("here is only {PATH}\n")),
    };
    let mut response = Response::new(Body::from(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

const PLAIN: &str = "text/plain; charset=utf-8";

/// The newer form for whoever names it, as Prometheus does; else the one that everything reads.
fn wanted(headers: &HeaderMap) -> Exposition {
    let newer = headers.get_all(header::ACCEPT).iter().any(|value| {
        let ranges = value.to_str().unwrap_or_default().split(',');
        let mut kinds = ranges.filter_map(|range| range.split(';').next());
        kinds.any(|kind| kind.trim().eq_ignore_ascii_case("application/openmetrics-text"))
    });
    if newer { Exposition::OpenMetrics } else { Exposition::Prometheus }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_form_is_for_who_names_it() {
        let scraper = "application/openmetrics-text;version=1.0.0,\
                       application/openmetrics-text;version=0.0.1;q=0.75,\
                       text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, expected) in [
            (None, Exposition::Prometheus),
            (Some("*/*"), Exposition::Prometheus),
            (Some("text/html,application/xhtml+xml,*/*;q=0.8"), Exposition::Prometheus),
            (Some("text/plain;version=0.0.4;q=0.9, */*;q=0.1"), Exposition::Prometheus),
            (Some("application/openmetrics-texts"), Exposition::Prometheus),
            (Some(scraper), Exposition::OpenMetrics),
            (Some("text/plain, Application/OpenMetrics-Text"), Exposition::OpenMetrics),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            }
            assert_eq!(wanted(&headers), expected, "{accept:?}");
        }
    }
}
