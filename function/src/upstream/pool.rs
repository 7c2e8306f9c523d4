//! Which connection to Anthropic does a request travel on?
//!
//! One of its own, over HTTP/1.1: nothing else is offered there. What it takes of CPU is a quarter
//! less than with HTTP/2, and no stream waits behind another one. The life of a connection:
//!
//! 1. *Made* when a request finds none that is free; TCP and TLS have [`super::CONNECT_TIMEOUT`].
//!    One is made ahead at the start, and if that takes longer than the start may, the first
//!    request goes on with it.
//! 2. *Taken* by one request, the one that was used last first, after a look at it: one that the
//!    server has closed, or on which it has said something unasked, is not written to.
//! 3. *Used* until the last byte of the answer has come. Minutes of that are not age.
//! 4. *Kept* from that moment on, for as long as the server names (`keep-alive: timeout=`), else
//!    for [`KEPT_FOR`]; not at all after `connection: close`, a broken answer, or one that nobody
//!    read to its end.
//! 5. *Thrown away* when that time is over, by the next request or by [`Pool::tidy`], which runs
//!    every 15 s where nobody freezes the process.
//!
//! If it breaks before anything of a request was written, or under a request that only reads, that
//! one is asked once more, on a new connection. Any other may have been processed: it fails.
//!
//! One whose answer has too many headers for the first reader is read by a second one
//! ([`super::reread`]), and not kept.
//!
//! Nothing runs here by itself. There are never more connections than requests were under way at
//! once, since none is made while one is free.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, Uri, header, uri};
use http_body_util::Full;
use hyper::body::Incoming;
use jiff::Timestamp;

use super::connection::Connection;
use super::connector::Connector;
use super::{BoxError, CONNECT_TIMEOUT};
use crate::clock;
use crate::room::Capacity;

/// How long a connection is kept of which the server does not say how long it keeps it.
///
/// What stands in front of Anthropic closes one after 400 s (Cloudflare, *Connection limits*),
/// and what translates addresses on the way forgets one after 240 s (Azure) to 350 s (AWS). Others
/// close earlier, nginx after 75 s and Amazon's load balancers after 60 s: that is seen before the
/// next request is written.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(230);
/// The same for one on which nothing was ever sent.
const AHEAD_FOR: Duration = Duration::from_secs(10);
/// As many as there may be requests: a crowd finds its connections again.
const MOST_KEPT: usize = Capacity::MAX.requests;

type Connecting = Pin<Box<dyn Future<Output = Result<Box<Connection>, Failed>> + Send>>;

/// The connections to one host.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    base: Uri,
    host: HeaderValue,
    kept_for: Duration,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// Nobody uses these; the one that was used last is the last.
    free: VecDeque<Free>,
    /// The connection that the start has begun to make, and when.
    ahead: Option<(Timestamp, Connecting)>,
}

struct Free {
    connection: Box<Connection>,
    /// The end of its last answer.
    since: Timestamp,
    good_for: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failed {
    Connecting(BoxError),
    Asking(hyper::Error),
}

impl Pool {
    pub(super) fn new(base: Uri, kept_for: Duration) -> Self {
        let host = HeaderValue::from_str(&host(&base));
        let host = host.unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { connector: Connector::new(), base, host, kept_for, idle: Mutex::default() }
    }

    pub(super) const fn base(&self) -> &Uri {
        &self.base
    }

    /// Makes a connection that the next request takes, if it comes soon. May fail; what has not
    /// come about `within` that time, the next request may wait for.
    pub(super) async fn connect_ahead(&self, within: Duration) {
        let begun = clock::now();
        let mut connecting = self.open();
        // A start without it is only slower.
        match tokio::time::timeout(within, &mut connecting).await {
            Ok(Ok(connection)) => {
                let ahead = Free { connection, since: clock::now(), good_for: AHEAD_FOR };
                self.idle().free.push_back(ahead);
            }
            Ok(Err(_)) => {}
            Err(_) => self.idle().ahead = Some((begun, connecting)),
        }
    }

    /// Sends a request and waits for the head of its answer, on a kept connection where there is
    /// one.
    pub(super) async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Response<Incoming>, Box<Connection>), Failed> {
        request.headers_mut().insert(header::HOST, self.host.clone());
        if let Some(mut connection) = self.take() {
            let again = only_reads(request.method()).then(|| request.clone());
            let method = request.method().clone();
            match connection.send(request).await {
                Ok(answer) => return Ok((answer, connection)),
                // So rare that no other request is to carry what it takes.
                Err(refused) if refused.error().is_parse_too_large() => {
                    return Box::pin(connection.reread(method)).await.map_err(Failed::Asking);
                }
                Err(mut refused) => match refused.take_message().or(again) {
                    Some(unanswered) => request = unanswered,
                    None => return Err(Failed::Asking(refused.into_error())),
                },
            }
        }
        let mut connection = self.connect().await?;
        let method = request.method().clone();
        match connection.send(request).await {
            Ok(answer) => Ok((answer, connection)),
            Err(refused) if refused.error().is_parse_too_large() => {
                Box::pin(connection.reread(method)).await.map_err(Failed::Asking)
            }
            Err(refused) => Err(Failed::Asking(refused.into_error())),
        }
    }

    /// Keeps a connection whose answer has come to its end.
    pub(super) fn keep(&self, connection: Box<Connection>) {
        let good_for = connection.kept_for().unwrap_or(self.kept_for);
        let mut idle = self.idle();
        if idle.free.len() >= MOST_KEPT {
            drop(idle.free.pop_front());
        }
        idle.free.push_back(Free { connection, since: clock::now(), good_for });
    }

    /// Throws away what has grown old, or was closed meanwhile.
    pub(super) fn tidy(&self) {
        let now = clock::now();
        self.idle().free.retain_mut(|free| free.is_good(now));
    }

    /// A kept connection that can be used at once.
    fn take(&self) -> Option<Box<Connection>> {
        let now = clock::now();
        let mut idle = self.idle();
        while let Some(mut free) = idle.free.pop_back() {
            if free.is_good(now) {
                return Some(free.connection);
            }
        }
        None
    }

    /// The connection that the start has begun, or a new one.
    async fn connect(&self) -> Result<Box<Connection>, Failed> {
        let ahead = self.idle().ahead.take();
        if let Some((begun, connecting)) = ahead
            && is_within(begun, CONNECT_TIMEOUT, clock::now())
            && let Ok(connection) = connecting.await
        {
            return Ok(connection);
        }
        self.open().await
    }

    fn open(&self) -> Connecting {
        let connecting = self.connector.clone().connect(self.base.clone());
        Box::pin(async move {
            let connection = connecting.await.map_err(Failed::Connecting)?;
            Ok(Box::new(Connection::new(connection).await.map_err(Failed::Asking)?))
        })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Free {
    fn is_good(&mut self, now: Timestamp) -> bool {
        is_within(self.since, self.good_for, now) && self.connection.is_free()
    }
}

impl fmt::Debug for Idle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Idle").field("free", &self.free.len()).finish_non_exhaustive()
    }
}

/// By the wall clock: a process that is frozen does not notice how time passes. A clock that was
/// set back says nothing.
fn is_within(since: Timestamp, within: Duration, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(since)).is_ok_and(|age| age < within)
}

/// Whether asking twice is the same as asking once.
fn only_reads(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD || *method == Method::OPTIONS
}

/// The value of the header `host`: the port only where it is not the scheme's own.
fn host(base: &Uri) -> String {
    let default = if base.scheme() == Some(&uri::Scheme::HTTP) { 80 } else { 443 };
    let name = base.host().unwrap_or_default();
    match base.port_u16().filter(|port| *port != default) {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_back_makes_no_connection_young() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let within = |second| is_within(at(1000), Duration::from_secs(50), at(second));
        assert_eq!([999, 1000, 1049, 1050].map(within), [false, true, true, false]);
    }
}
