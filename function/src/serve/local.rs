//! The front door on this machine: HTTP/1.1 on a TCP port, drained before it closes.

use std::convert::Infallible;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::greeting::{self, Fallback};
use crate::limits::Store;
use crate::proxy::Proxy;
use crate::settings::Settings;
use crate::upstream::anthropic::Anthropic;
use crate::upstream::aws::Aws;
use crate::upstream::bedrock::Bedrock;
use crate::{clock, telemetry};

/// A client has this long to send the head of a request.
const HEAD_WITHIN: Duration = Duration::from_secs(30);
/// Answers that are under way at the end have this long to finish.
const DRAIN_WITHIN: Duration = Duration::from_secs(25);
/// Accepting fails when the machine is out of file descriptors; this is how long it may recover.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Serves on this machine until SIGTERM or Ctrl-C.
///
/// # Errors
///
/// Where the store cannot be opened or the port cannot be had.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    telemetry::init(settings.log_level);
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

/// Serves until `stop`, then lets the answers that are under way finish.
pub async fn serve(listener: TcpListener, proxy: Arc<Proxy>, stop: impl Future<Output = ()>) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
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
        let proxy = Arc::clone(&proxy);
        let service = service_fn(move |request| {
            let proxy = Arc::clone(&proxy);
            async move { Ok::<_, Infallible>(proxy.answer(request).await) }
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
