//! The front door on this machine: HTTP/1.1 on a TCP port, drained before it closes.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use super::greeting::{self, Fallback};
use crate::clock;
use crate::limits::Store;
use crate::proxy::{self, Body, Proxy};
use crate::settings::Settings;
use crate::telemetry::{self, Lines};
use crate::upstream::anthropic::Anthropic;
use crate::upstream::aws::Aws;
use crate::upstream::bedrock::Bedrock;

/// A client has this long to send the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Answers that are under way at the end have this long to finish.
const DRAIN_WITHIN: Duration = Duration::from_secs(25);
/// The largest head of a request, in bytes.
const MOST_HEAD_BYTES: usize = 128 << 10;
/// More requests than this are not answered at a time: each may hold a body of 32 MiB.
const MOST_REQUESTS: usize = 1024;
/// When to come back if there are too many.
const BUSY_FOR: Duration = Duration::from_secs(1);
/// Accepting fails when the machine is out of file descriptors; this is how long it may recover.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves on this machine until SIGTERM or Ctrl-C.
///
/// # Errors
///
/// Where the store cannot be opened or the port cannot be had.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    telemetry::init(settings.log_level, Lines::Readable);
    let aws = Aws::load(settings.regions.first().map(String::as_str)).await;
    let store = Store::open(&settings.store, &aws, clock::now())?;
    let listener = bind(settings.listen).await?;
    let address = listener.local_addr().context("cannot tell which port was taken")?;
    let anthropic = Anthropic::new(settings.upstream_url.clone()).context("cannot set up TLS")?;
    let bedrock = Bedrock::new(&settings.regions, &aws);
    let proxy = Arc::new(Proxy::new(settings, anthropic, bedrock, store));
    say(&greeting::listening(address));
    // Looking for AWS credentials may take seconds; nobody waits for it.
    let greet = async {
        proxy.reach_store().await;
        let bedrock = proxy.bedrock();
        let fallback = Fallback {
            regions: bedrock.regions().map(str::to_owned).collect(),
            credentials: bedrock.find_credentials().await,
        };
        say(&greeting::greeting(proxy.settings(), address, &fallback));
    };
    let stop = stop_signal()?;
    tokio::join!(serve(listener, Arc::clone(&proxy), stop), greet);
    Ok(())
}

fn say(text: &str) {
    let _nobody_reads = io::stderr().write_all(text.as_bytes());
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

/// Takes the port.
///
/// # Errors
///
/// A sentence that says what to do, where the port cannot be had.
pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrInUse {
            return anyhow::anyhow!(
                "{address} is in use by another program: stop it, or choose another port with \
                 --listen 127.0.0.1:PORT"
            );
        }
        let error = anyhow::Error::new(error);
        error.context(format!("cannot listen on {address}: choose another with --listen"))
    })
}

/// Answers a request if there is room for it; what it holds, it holds until its body has ended.
pub async fn answer<B>(
    proxy: Arc<Proxy>,
    room: Arc<Semaphore>,
    request: Request<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
{
    let Ok(place) = room.try_acquire_owned() else { return proxy::busy(BUSY_FOR) };
    let hold = move |error| {
        let _until_the_body_is_dropped = &place;
        error
    };
    proxy.answer(request).await.map(|body| body.map_err(hold).boxed_unsync())
}

/// Serves until `stop`, then lets the answers that are under way finish.
pub async fn serve(listener: TcpListener, proxy: Arc<Proxy>, stop: impl Future<Output = ()>) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN).max_buf_size(MOST_HEAD_BYTES);
    let room = Arc::new(Semaphore::new(MOST_REQUESTS));
    let graceful = GracefulShutdown::new();
    let mut stop = std::pin::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((socket, _)) = accepted else {
            tokio::time::sleep(ACCEPT_AGAIN).await;
            continue;
        };
        // Small events must not wait for each other.
        let _unsupported = socket.set_nodelay(true);
        let (proxy, room) = (Arc::clone(&proxy), Arc::clone(&room));
        let service = service_fn(move |request| {
            let (proxy, room) = (Arc::clone(&proxy), Arc::clone(&room));
            async move { Ok::<_, Infallible>(answer(proxy, room, request).await) }
        });
        let connection = server.serve_connection(TokioIo::new(socket), service);
        let connection = graceful.watch(connection);
        #[expect(clippy::disallowed_methods, reason = "a local connection outlives no process")]
        tokio::task::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN_WITHIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("stopped with answers still under way");
    }
}
