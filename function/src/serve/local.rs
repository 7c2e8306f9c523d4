//! The front door on this machine: a TCP port, drained before it closes.

use std::io;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::OptionFuture;
use http::{Request, Response};
use hyper::body::Incoming;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::connection::{self, ClientTimeouts, SeldomAnswer};
use super::greeting::{self, Addresses, Fallback};
use super::metrics;
use crate::proxy::{self, Body, Proxy};
use crate::room::{Capacity, Full, Room};
use crate::settings::Settings;
use crate::store::Store;
use crate::telemetry::{self, LogFormat};
use crate::upstream::anthropic::Anthropic;
use crate::upstream::aws::Aws;
use crate::upstream::bedrock::Bedrock;
use crate::{caller, clock};

/// A client has this long to send the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Answers that are under way at the end have this long to finish.
const DRAIN_WITHIN: Duration = Duration::from_secs(25);
/// More connections than this are not served at a time.
const MOST_CONNECTIONS: usize = 4096;
/// So many more are told to come back, and the rest is closed.
const MOST_TURNED_AWAY: usize = 256;
/// Who is only told to come back has this long for the head of a request.
const CROWD_WITHIN: Duration = Duration::from_secs(1);
/// What a client has not taken for so long, it will never take.
const UNTAKEN: Duration = Duration::from_secs(120);
/// How often connections that have grown old are closed. A timer that ends sooner than the one of
/// the next head ([`HEAD_WITHIN`]) also spares the runtime a system call to wake itself.
const TIDY_EVERY: Duration = Duration::from_secs(15);
/// Accepting fails when the machine is out of file descriptors; this is how long it may recover.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves on this machine until SIGTERM or Ctrl-C.
///
/// # Errors
///
/// Where the store cannot be opened or the port cannot be had.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    telemetry::init(settings.log_level, LogFormat::Readable);
    let aws = Aws::load(settings.regions.first().map(String::as_str)).await;
    let store = Store::open(&settings, &aws, clock::now())?;
    let (listener, address) = bind(settings.listen, "--listen 127.0.0.1:PORT").await?;
    let metrics =
        OptionFuture::from(settings.listen_metrics.map(bind_metrics)).await.transpose()?;
    let scraped_at = metrics.as_ref().map(|(_, address)| *address);
    let anthropic = Anthropic::new(settings.upstream_url.clone());
    let bedrock = Bedrock::new(&settings.regions, &aws);
    let proxy = Arc::new(Proxy::new(settings, anthropic, bedrock, store));
    telemetry::say(&greeting::listening(address));
    // Looking for AWS credentials may take seconds; nobody waits for it.
    let greet = async {
        proxy.reach_store().await;
        let bedrock = proxy.bedrock();
        let fallback = Fallback {
            regions: bedrock.regions().map(str::to_owned).collect(),
            credentials: bedrock.find_credentials().await,
            told: proxy.told(None),
        };
        let addresses = Addresses { clients: address, metrics: scraped_at };
        telemetry::say(&greeting::greeting(proxy.settings(), addresses, &fallback));
    };
    let stop = stop_signal()?;
    let limits = Limits::of_this_process();
    // What comes of the last answers can still be scraped.
    let (over, end) = oneshot::channel();
    let answers = async {
        serve(listener, Arc::clone(&proxy), limits, stop).await;
        drop(over);
    };
    let scrapes = metrics.map(|(listener, _)| metrics::serve(listener, end));
    tokio::join!(answers, OptionFuture::from(scrapes), greet);
    Ok(())
}

/// Takes the port of those who scrape; from then on there is something to scrape.
async fn bind_metrics(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let bound = bind(address, "LISTEN_METRICS=127.0.0.1:PORT").await?;
    telemetry::exposition::begin();
    Ok(bound)
}

/// Completes when the process is asked to stop.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot watch for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot watch for Ctrl-C")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping; answers under way may finish");
    })
}

/// Takes the port, and says which it is; `setting` is how to choose another.
async fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            return anyhow::anyhow!(
                "{address} is in use by another program: stop it, or choose another port with \
                 {setting}"
            );
        }
        let error = anyhow::Error::new(error);
        error.context(format!("cannot listen on {address}: choose another with {setting}"))
    })?;
    let address = listener.local_addr().context("cannot tell which port was taken")?;
    Ok((listener, address))
}

/// What one front door takes upon itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many files the process may open, sockets among them.
    pub files: usize,
    /// How long a client may take for the head of a request, and ask nothing on a connection.
    pub head: Duration,
    /// How long a client may leave untaken what was sent to it. Only Linux keeps an eye on that.
    pub untaken: Duration,
    /// How often connections to Anthropic that have grown old are closed.
    pub tidy: Duration,
}

impl Limits {
    /// What this process may do, after asking for all that it may ask for.
    #[must_use]
    pub fn of_this_process() -> Self {
        Self { files: files(), head: HEAD_WITHIN, untaken: UNTAKEN, tidy: TIDY_EVERY }
    }
}

/// Answers a request if there is room for it; what it holds, it holds until its body has ended.
/// Whether the proxy is up can always be asked: being busy is no illness.
pub async fn answer<B>(proxy: Arc<Proxy>, room: Room, request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
{
    if proxy::is_health(&request) {
        return proxy.answer(request, None).await;
    }
    let client = room.client(&caller::told_apart_by(request.uri(), request.headers()));
    match room.enter(client) {
        Ok(permit) => {
            // Without this the connection would end without a word.
            let answer = AssertUnwindSafe(proxy.answer(request, Some(permit))).catch_unwind();
            answer.await.unwrap_or_else(|_| proxy::panicked())
        }
        Err(full) => proxy::turned_away(&request, full),
    }
}

/// Serves until `stop`, then lets the answers that are under way finish.
pub async fn serve(
    listener: TcpListener,
    proxy: Arc<Proxy>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let mut tidy = tokio::time::interval(limits.tidy);
    let server = Server::new(proxy, limits);
    let mut stop = std::pin::pin!(stop);
    let mut settling = None;
    loop {
        let accepted = tokio::select! {
            // In this order: where clients never stop coming, the rest would never have its turn.
            biased;
            () = &mut stop => break,
            _ = tidy.tick() => {
                server.proxy.tidy();
                settling.get_or_insert_with(|| Box::pin(server.proxy.settle()));
                continue;
            }
            Some(()) = OptionFuture::from(settling.as_mut()) => {
                settling = None;
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((socket, _)) => server.take(socket),
            Err(error) if is_of_one(&error) => {}
            Err(_) => tokio::time::sleep(ACCEPT_AGAIN).await,
        }
    }
    drop(listener);
    OptionFuture::from(settling).await;
    let proxy = Arc::clone(&server.proxy);
    server.drain().await;
    proxy.settle().await;
}

/// The proxy, and how many it serves at a time.
struct Server {
    proxy: Arc<Proxy>,
    timeouts: ClientTimeouts,
    room: Room,
    connections: Arc<Semaphore>,
    crowd: Arc<Semaphore>,
    /// Tells all connections that the end has come, and knows when they have ended.
    stop: watch::Sender<()>,
}

impl Server {
    fn new(proxy: Arc<Proxy>, Limits { files, head, untaken, .. }: Limits) -> Self {
        Self {
            proxy,
            timeouts: ClientTimeouts { head, untaken },
            room: Room::new(Capacity::for_files(files)),
            connections: Arc::new(Semaphore::new(most_connections(files))),
            crowd: Arc::new(Semaphore::new(MOST_TURNED_AWAY)),
            stop: watch::Sender::new(()),
        }
    }

    /// Lets the answers that are under way finish.
    async fn drain(self) {
        self.stop.send_replace(());
        if tokio::time::timeout(DRAIN_WITHIN, self.stop.closed()).await.is_err() {
            tracing::warn!("stopped with answers still under way");
        }
    }

    /// Serves a connection if there is room for it, else tells its client to come back.
    fn take(&self, socket: TcpStream) {
        let stop = self.stop.subscribe();
        let timeouts = self.timeouts;
        if let Ok(slot) = Arc::clone(&self.connections).try_acquire_owned() {
            let (proxy, room) = (Arc::clone(&self.proxy), self.room.clone());
            let answer = move |request| answer(Arc::clone(&proxy), room.clone(), request);
            drive(connection::serve(socket, timeouts, true, stop, answer), slot);
        } else if let Ok(slot) = Arc::clone(&self.crowd).try_acquire_owned() {
            let proxy = Arc::clone(&self.proxy);
            let answer: SeldomAnswer =
                Box::new(move |request| turn_away(Arc::clone(&proxy), request).boxed());
            let timeouts = ClientTimeouts { head: CROWD_WITHIN, ..timeouts };
            drive(connection::serve(socket, timeouts, false, stop, answer), slot);
        }
    }
}

/// Tells a client to come back, unless it asks only whether the proxy is up.
async fn turn_away(proxy: Arc<Proxy>, request: Request<Incoming>) -> Response<Body> {
    if proxy::is_health(&request) {
        return proxy.answer(request, None).await;
    }
    proxy::turned_away(&request, Full::All)
}

/// Serves a connection to its end, which gives its slot back.
fn drive(connection: impl Future<Output = ()> + Send + 'static, slot: OwnedSemaphorePermit) {
    #[expect(clippy::disallowed_methods, reason = "a local connection outlives no process")]
    tokio::task::spawn(async move {
        connection.await;
        drop(slot);
    });
}

/// Whether one client's connection has failed before it was accepted, and nothing else.
fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionRefused, ConnectionReset].contains(&error.kind())
}

/// How many files this process may open, after asking for all that it may ask for.
fn files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    if limit.current < limit.maximum {
        let more = Rlimit { current: limit.maximum, ..limit };
        let _stays_as_it_is = setrlimit(Resource::Nofile, more);
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files).unwrap_or(usize::MAX)
}

/// More connections than permits, since most are idle; the rest is for sockets to the upstreams.
fn most_connections(files: usize) -> usize {
    MOST_CONNECTIONS.min(files.saturating_sub(64) / 2).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leaves_before_being_accepted_makes_nobody_wait() {
        for (number, of_one) in [
            (rustix::io::Errno::CONNABORTED, true),
            (rustix::io::Errno::CONNRESET, true),
            (rustix::io::Errno::CONNREFUSED, true),
            (rustix::io::Errno::MFILE, false),
            (rustix::io::Errno::NFILE, false),
            (rustix::io::Errno::NOBUFS, false),
            (rustix::io::Errno::NOMEM, false),
        ] {
            assert_eq!(is_of_one(&number.into()), of_one, "{number}");
        }
    }
}
