//! How does a fake upstream look from outside? A door with TLS in front of its port, with a
//! certificate made for this one door. What comes through is passed on as it is, in either version
//! of HTTP.

use std::{io, net::SocketAddr, sync::Arc, thread};

use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

/// An open door; dropping it closes it.
#[derive(Debug)]
pub struct Door {
    pub port: u16,
    /// The certificate, which nobody trusts yet, in PEM.
    pub certificate: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Door {
    /// Opens a door at `localhost` that leads to `inside` and speaks only `protocol` (ALPN), or
    /// what a comma list of them says.
    pub fn open(inside: SocketAddr, protocol: &str) -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])
            .expect("a certificate can be made");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|config| {
                config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key)
            })
            .expect("the certificate is valid");
        config.alpn_protocols = protocol.split(',').map(|name| name.as_bytes().to_vec()).collect();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback has free ports");
        listener.set_nonblocking(true).expect("a socket can be non-blocking");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be built");
            runtime.block_on(async {
                tokio::select! {
                    () = accept(listener, inside, Arc::new(config)) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { port, certificate: made.cert.pem(), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

async fn accept(listener: std::net::TcpListener, inside: SocketAddr, config: Arc<ServerConfig>) {
    let listener = TcpListener::from_std(listener).expect("the socket is non-blocking");
    let mut bridges = JoinSet::new();
    loop {
        tokio::select! {
            Ok((outer, _)) = listener.accept() => {
                let config = Arc::clone(&config);
                bridges.spawn(async move { drop(bridge(outer, inside, config).await) });
            }
            Some(_) = bridges.join_next() => {}
        }
    }
}

/// Carries bytes between the two sockets until one of them ends.
async fn bridge(outer: TcpStream, inside: SocketAddr, config: Arc<ServerConfig>) -> io::Result<()> {
    let mut inner = TcpStream::connect(inside).await?;
    inner.set_nodelay(true)?;
    outer.set_nodelay(true)?;
    let mut outer = TlsAcceptor::from(config).accept(outer).await?;
    tokio::io::copy_bidirectional(&mut outer, &mut inner).await.map(drop)
}
