//! What does one pass-through request cost in CPU, through each HTTP client?
//!
//! Each client sends the same 2 KB request to a server on another thread and reads the 1 KB answer,
//! 16 at a time. The rounds alternate; printed is the CPU time of the client's thread for one
//! request, as the scheduler counts it (Linux), and the ratio of the medians.
//! Run: `cargo run --release --manifest-path scripts/client-cost/Cargo.toml`

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};

const ROUNDS: usize = 11;
const REQUESTS: usize = 20_000;
const AT_A_TIME: usize = 16;

fn main() {
    let port = serve();
    let url = format!("http://127.0.0.1:{port}/v1/messages");
    let body = Bytes::from(vec![b'x'; 2048]);
    let (mut by_hyper, mut by_reqwest) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let hyper = cost(|| hyper_round(url.clone(), body.clone()));
        let reqwest = cost(|| reqwest_round(url.clone(), body.clone()));
        // The first round warms up.
        if round > 0 {
            by_hyper.push(hyper);
            by_reqwest.push(reqwest);
        }
    }
    let (hyper, reqwest) = (median(by_hyper), median(by_reqwest));
    println!("hyper-util {hyper:.1} µs, reqwest {reqwest:.1} µs of CPU for one request");
    println!("reqwest / hyper-util = {:.2}", reqwest / hyper);
}

/// Runs one round on a thread of its own and returns its CPU time for one request, in µs.
fn cost<F: Future<Output = ()>>(round: impl FnOnce() -> F + Send) -> f64 {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let before = cpu();
            runtime.expect("a runtime can be made").block_on(round());
            (cpu() - before).as_secs_f64() * 1e6 / REQUESTS as f64
        });
        thread.join().expect("the round does not panic")
    })
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this is Linux");
    let nanos = stat.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("the first field is a number"))
}

async fn hyper_round(url: String, body: Bytes) {
    let client: Client<HttpConnector, Full<Bytes>> =
        Client::builder(TokioExecutor::new()).build_http();
    let one = || async {
        let request = hyper::Request::post(&url).body(Full::new(body.clone()));
        let answer = client.request(request.expect("the request is valid")).await;
        let mut body = answer.expect("the server answers").into_body();
        while let Some(frame) = body.frame().await {
            frame.expect("the answer comes whole");
        }
    };
    many(one).await;
}

async fn reqwest_round(url: String, body: Bytes) {
    let client = reqwest::Client::new();
    let one = || async {
        let answer = client.post(&url).body(body.clone()).send().await;
        let mut answer = answer.expect("the server answers");
        while answer.chunk().await.expect("the answer comes whole").is_some() {}
    };
    many(one).await;
}

async fn many<F: Future<Output = ()>>(one: impl Fn() -> F) {
    let lane = || async {
        for _ in 0..REQUESTS / AT_A_TIME {
            one().await;
        }
    };
    let lanes = (0..AT_A_TIME).map(|_| Box::pin(lane())).collect::<Vec<_>>();
    join_all(lanes).await;
}

async fn join_all<F: Future<Output = ()> + Unpin>(mut futures: Vec<F>) {
    std::future::poll_fn(|cx| {
        futures.retain_mut(|future| std::pin::Pin::new(future).poll(cx).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

/// Starts a server that answers every request with 1 KB.
fn serve() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    listener.set_nonblocking(true).expect("a socket can be asked not to block");
    let port = listener.local_addr().expect("a bound socket has an address").port();
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be made").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is ours");
            while let Ok((socket, _)) = listener.accept().await {
                socket.set_nodelay(true).expect("a socket can be set up");
                let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| async {
                    let _read = request.into_body().collect().await;
                    Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from_static(
                        &[b'x'; 1024],
                    ))))
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(socket), service),
                );
            }
        });
    });
    port
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
