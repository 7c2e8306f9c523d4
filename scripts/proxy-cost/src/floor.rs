//! The floor: what hyper alone costs, a server and its pooled client with nothing in between.
//!
//! It reads a request whole, as whoever may have to send it twice must, and passes the answer on as
//! it comes. It checks nothing, knows nobody, remembers nothing and never looks into a body.

use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::sync::Arc;

use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri, Version, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// What stands as the first word of the command line where this program is to be the floor.
pub const COMMAND: &str = "floor";

type Upstream = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Serves until it is killed. The words: its port, the upstream's URL, a file with whom to trust.
pub async fn serve(words: &[String]) -> Result<(), Box<dyn Error>> {
    let [port, url, trusted] = words else { return Err("usage: floor PORT URL FILE".into()) };
    let listener = TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    let (client, base): (_, Uri) = (client(&fs::read(trusted)?)?, url.parse()?);
    let place = Arc::new((client, base));
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let place = Arc::clone(&place);
        tokio::task::spawn_local(async move {
            let answer = service_fn(move |request| pass(Arc::clone(&place), request));
            let served = http1::Builder::new().serve_connection(TokioIo::new(socket), answer);
            let _whoever_left = served.await;
        });
    }
}

fn client(trusted: &[u8]) -> Result<Upstream, Box<dyn Error>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(trusted) {
        roots.add(certificate?)?;
    }
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let connector = connector.enable_http1().wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new()).build(connector))
}

async fn pass(
    place: Arc<(Upstream, Uri)>,
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Infallible> {
    let answer = asked(&place, request).await;
    Ok(answer.unwrap_or_else(|_| {
        let nothing = Full::default().map_err(|never| match never {}).boxed();
        let mut answer = Response::new(nothing);
        *answer.status_mut() = StatusCode::BAD_GATEWAY;
        answer
    }))
}

async fn asked(
    (client, base): &(Upstream, Uri),
    request: Request<Incoming>,
) -> Result<Response<BoxBody<Bytes, hyper::Error>>, Box<dyn Error>> {
    let (mut head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut uri = base.clone().into_parts();
    uri.path_and_query = head.uri.path_and_query().cloned();
    head.uri = Uri::from_parts(uri)?;
    head.headers.remove(header::HOST);
    head.version = Version::HTTP_11;
    let answer = client.request(Request::from_parts(head, Full::new(body))).await?;
    Ok(answer.map(BodyExt::boxed))
}
