//! The drill from end to end where the function runs under AWS's own emulator of Lambda.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::Client;
use bytes::Bytes;
use function::clock;
use function::drill::{Drill, HEADER, Nonce, PATH};
use function::failover::cooldown::Timestamp;
use function::store::dynamo::item;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::world::World;
use testing::client::Call;
use testing::emulated::Rie;
use testing::runtime::event;
use tokio::net::TcpListener;

use crate::drill::items;
use crate::made;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drill_is_answered_once_under_awss_own_emulator() {
    for emulator in [MiniStack, Moto] {
        let (world, stack) = made(emulator);
        let stack: Vec<_> = stack.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let front = Front::start(Rie::start(&stack)).await;
        world.proxy.serve_url_at(&format!("http://{}/", front.address));
        // Before anybody has written a drill, and with what is none.
        for nonce in [format!("ccd_{}", "0".repeat(64)), "ccd_".to_owned(), String::new()] {
            assert_eq!(front.shows(&nonce).await, 404, "{emulator:?}: {nonce}");
        }
        assert_eq!(Call::new("POST", PATH).send(front.address).await.status, 404);
        assert_eq!((front.asked(), items(&world).await), ((0, 0), 0));

        let drill = world.run(&["drill", "--json"]);
        drill.expect(0);
        let report = drill.json();
        assert_eq!((&report["ok"], &report["upstream"]), (&json!(true), &json!("bedrock")));
        assert_eq!((&report["taken"], &report["limit"]["removed"]), (&json!(true), &json!(true)));
        assert_eq!((front.asked(), items(&world).await), ((0, 1), 0));

        // The nonce that the tool has shown, after the tool has cleaned up.
        let used = front.nonce();
        assert!(used.len() > 40 && !format!("{drill:?}").contains(&used));
        assert_eq!(front.shows(&used).await, 404, "{emulator:?}");
        assert_eq!((front.asked(), items(&world).await), ((0, 1), 0));
        // One that only the function can have taken away.
        let nonce = Nonce::from_random([7; 32]);
        write(&world, &nonce).await;
        assert_eq!(front.shows(nonce.reveal()).await, 200, "{emulator:?}");
        assert_eq!((front.asked(), items(&world).await), ((0, 2), 1), "the limit is left");
        assert_eq!(front.shows(nonce.reveal()).await, 404, "{emulator:?}");
        assert_eq!(front.asked(), (0, 2));
    }
}

/// Writes a drill, as an operator's tool does.
async fn write(world: &World, nonce: &Nonce) {
    let expires_at = Timestamp::from_second(clock::now().as_second() + 60).unwrap();
    let drill = Drill { model: "claude-haiku-4-5".to_owned(), expires_at };
    let put = Client::new(&world.sdk()).put_item();
    let put = put.table_name(world.table());
    put.set_item(Some(item::drill_item(&nonce.digest(), &drill))).send().await.unwrap();
}

/// A Function URL in front of the emulator, which has none: it makes events of requests, and
/// answers of what comes back, whole.
struct Front {
    address: SocketAddr,
    rie: Arc<Rie>,
    heads: Arc<Mutex<Vec<Parts>>>,
}

impl Front {
    async fn start(rie: Rie) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (rie, heads) = (Arc::new(rie), Arc::new(Mutex::new(Vec::new())));
        let (emulator, seen) = (Arc::clone(&rie), Arc::clone(&heads));
        tokio::task::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (emulator, seen) = (Arc::clone(&emulator), Arc::clone(&seen));
                let service = service_fn(move |request| {
                    answer(Arc::clone(&emulator), Arc::clone(&seen), request)
                });
                let server = http1::Builder::new().serve_connection(TokioIo::new(socket), service);
                tokio::task::spawn(server);
            }
        });
        Self { address, rie, heads }
    }

    /// Shows a nonce; how that is answered.
    async fn shows(&self, nonce: &str) -> u16 {
        Call::new("POST", PATH).header(HEADER, nonce).send(self.address).await.status
    }

    /// The nonce that was shown last.
    fn nonce(&self) -> String {
        let heads = self.heads.lock().unwrap();
        heads.last().unwrap().headers[HEADER].to_str().unwrap().to_owned()
    }

    /// How often Anthropic and Bedrock were asked.
    fn asked(&self) -> (usize, usize) {
        (self.rie.anthropic.requests().len(), self.rie.bedrock.requests().len())
    }
}

async fn answer(
    rie: Arc<Rie>,
    seen: Arc<Mutex<Vec<Parts>>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let event = event(&head, &body.collect().await?.to_bytes());
    seen.lock().unwrap().push(head);
    let (prelude, body) = rie.invoke(&event).await;
    let status = prelude["statusCode"].as_u64().and_then(|status| status.try_into().ok());
    let mut answer = Response::builder().status(status.unwrap_or(502_u16));
    for (name, value) in prelude["headers"].as_object().into_iter().flatten() {
        answer = answer.header(name, value.as_str().unwrap());
    }
    Ok(answer.body(Full::from(body)).unwrap())
}
