//! The streaming protocol, as the Runtime API sees it.

use hyper::Response;
use serde_json::{Value, json};
use testing::{
    answer::limited,
    client::Call,
    deployed::{Deployed, Looping, full},
};

#[tokio::test]
async fn an_answer_is_a_prelude_then_eight_nuls_then_the_body_as_it_came() {
    let deployed = Deployed::start();
    let reply = deployed.call(Call::message()).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "anthropic heard: hello"));
    let invocation = &deployed.lambda.invocations()[0];
    let header = |name: &str| invocation.headers.get(name).and_then(|value| value.to_str().ok());
    assert_eq!(header("lambda-runtime-function-response-mode"), Some("streaming"));
    let integration = "application/vnd.awslambda.http-integration-response";
    assert_eq!(header("content-type"), Some(integration));
    assert_eq!(header("transfer-encoding"), Some("chunked"));
    let declared: Vec<_> = invocation.headers.get_all("trailer").iter().collect();
    assert_eq!(
        declared,
        ["lambda-runtime-function-error-type", "lambda-runtime-function-error-body"]
    );
    let chunks: Vec<_> = invocation.chunks.iter().map(|(_, chunk)| chunk).collect();
    let prelude: Value = serde_json::from_slice(chunks[0]).unwrap();
    assert_eq!(prelude["statusCode"], 200);
    assert_eq!(prelude["headers"]["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(prelude["headers"]["x-claude-proxy-upstream"], "anthropic");
    assert_eq!(&chunks[1][..], [0; 8]);
    assert_eq!(chunks[2..].iter().flat_map(|chunk| chunk.to_vec()).collect::<Vec<_>>(), reply.body);
    assert!(invocation.whole && invocation.trailers.is_empty());
}

#[tokio::test]
async fn the_next_event_is_not_asked_for_before_the_answer_has_ended() {
    let deployed = Deployed::start();
    for _ in 0..3 {
        deployed.call(Call::message()).await;
    }
    deployed.lambda.is_idle(1).await;
    assert_eq!((deployed.lambda.eager(), deployed.lambda.most_running()), (0, 1));
}

#[tokio::test]
async fn what_an_answer_taught_survives_the_freeze_after_it() {
    let deployed = Deployed::start();
    deployed.anthropic.next([limited(120)]);
    for reason in ["rate_limited", "cooldown", "cooldown"] {
        let reply = deployed.call(Call::message()).await;
        assert_eq!((reply.text().as_str(), reply.reason()), ("bedrock heard: hello", reason));
    }
    assert_eq!(deployed.anthropic.messages().len(), 1);
}

#[tokio::test]
async fn the_invocation_id_goes_back_with_the_answer() {
    let deployed = Deployed::start();
    deployed.call(Call::new("GET", "/healthz")).await;
    let id = deployed.lambda.invocations()[0].headers["lambda-runtime-invocation-id"].clone();
    assert!(id.to_str().unwrap().starts_with("invocation-of-"));
}

#[tokio::test]
async fn repeated_headers_are_joined_and_cookies_stand_apart() {
    let looping = Looping::answering(|_| {
        let answer = Response::builder()
            .header("x-many", "1")
            .header("x-many", "2")
            .header("set-cookie", "a=1; Path=/")
            .header("set-cookie", "b=2")
            .header("x-odd", &b"caf\xe9"[..]);
        answer.body(full("body")).unwrap()
    });
    let reply = Call::new("GET", "/").send(looping.lambda.url()).await;
    assert_eq!(reply.header("x-many"), "1, 2");
    let cookies: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1; Path=/", "b=2"]);
    let prelude = &looping.lambda.invocations()[0].chunks[0].1;
    let prelude: Value = serde_json::from_slice(prelude).unwrap();
    let headers = json!({"x-many": "1, 2", "x-odd": "caf\u{fffd}"});
    assert_eq!(prelude["headers"], headers);
}

#[tokio::test]
async fn what_frames_a_body_is_left_to_the_platform() {
    let looping = Looping::answering(|_| {
        let answer = Response::builder().header("content-length", 4).header("connection", "close");
        answer.body(full("body")).unwrap()
    });
    let reply = Call::new("GET", "/").send(looping.lambda.url()).await;
    assert_eq!(reply.body, "body");
    let prelude = &looping.lambda.invocations()[0].chunks[0].1;
    let prelude: Value = serde_json::from_slice(prelude).unwrap();
    assert_eq!(prelude["headers"], json!({}));
}

#[tokio::test]
async fn a_stream_is_never_empty() {
    let statuses = [("GET", 200), ("POST", 204), ("GET", 304), ("HEAD", 200)];
    for (method, status) in statuses {
        let looping =
            Looping::answering(move |_| Response::builder().status(status).body(full("")).unwrap());
        let reply = Call::new(method, "/").send(looping.lambda.url()).await;
        looping.lambda.is_idle(1).await;
        let invocation = &looping.lambda.invocations()[0];
        assert_eq!((reply.status, &invocation.chunks[2].1[..]), (status, &b"\n"[..]));
        assert_eq!(invocation.chunks.len(), 3);
        let has_a_body = (method, status) == ("GET", 200);
        assert_eq!(reply.body, if has_a_body { "\n" } else { "" }, "{method} {status}");
    }
}

#[tokio::test]
async fn a_long_body_comes_whole() {
    let deployed = Deployed::start();
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0] | 0x80).collect();
    let reply = deployed.call(Call::new("POST", "/v1/files").body(body.clone())).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body == body && deployed.anthropic.requests()[0].body == body);
}
