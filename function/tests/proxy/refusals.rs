//! Bedrock cannot serve: the client gets Anthropic's own answer, with an honest hint, and never a
//! word about the operator's account.

use testing::{
    answer::{access_denied, limited, ok, overloaded, refused, throttled, window},
    bedrock::region,
    client::{Call, Reply},
    world::{Plan, World},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

#[tokio::test]
async fn a_failure_that_passes_gives_a_short_hint() {
    for failure in [
        throttled(),
        refused(503, "ServiceUnavailableException", "Bedrock is unable to process your request"),
        refused(500, "InternalServerException", "arn:aws:iam::123456789012:role/x failed"),
        refused(408, "ModelTimeoutException", "timed out"),
    ] {
        for call in [Call::message(), Call::message().whole()] {
            let world = World::start();
            world.anthropic.next([window("5h", 7200).header("retry-after-ms", "7200000")]);
            world.bedrock.always(failure.clone());
            let reply = world.call(call).await;
            assert_is_the_original_429(&reply);
            assert_eq!(reply.header("retry-after-ms"), "", "SDKs obey it first");
            let seconds: u32 = reply.header("retry-after").parse().expect("a number of seconds");
            assert!((1..=30).contains(&seconds), "{failure:?}: {seconds}");
            assert_eq!(reply.headers_like("anthropic-ratelimit-unified"), [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_failure_that_stays_leaves_the_429_untouched() {
    for failure in [
        access_denied(),
        refused(404, "ResourceNotFoundException", "Model use case details have not been submitted"),
        refused(400, "ValidationException", "The provided model identifier is invalid."),
        refused(400, "ValidationException", "data retention mode 'default' is not available"),
        refused(403, "UnrecognizedClientException", "The security token is invalid."),
    ] {
        let world = World::start();
        world.anthropic.next([window("5h", 7200)]);
        world.bedrock.always(failure.clone());
        let reply = world.call(Call::message()).await;
        assert_is_the_original_429(&reply);
        assert_eq!(reply.header("retry-after"), "7200", "{failure:?}");
        assert_eq!(reply.header("anthropic-ratelimit-unified-5h-status"), "rejected");
        assert_eq!(reply.upstream(), "anthropic");
    }
}

#[tokio::test]
async fn the_nearer_end_is_the_hint() {
    let world = World::with("RETRY_THRESHOLD_SECONDS", "2").start();
    world.anthropic.next([limited(12)]);
    world.bedrock.always(throttled());
    let reply = world.call(Call::message()).await;
    let seconds: u32 = reply.header("retry-after").parse().expect("a number of seconds");
    assert!((10..=12).contains(&seconds), "{seconds}");
}

#[tokio::test]
async fn without_aws_credentials_the_client_gets_the_429() {
    let world =
        Plan::default().without("AWS_ACCESS_KEY_ID").without("AWS_SECRET_ACCESS_KEY").start();
    world.anthropic.next([window("5h", 7200)]);
    assert_is_the_original_429(&world.call(Call::message()).await);
}

#[tokio::test]
async fn a_model_that_bedrock_does_not_have_stays_with_anthropic() {
    let world = World::start();
    for model in ["claude-opus-9-9", "gpt-4", "Claude Ω"] {
        world.anthropic.next([window("5h", 7200)]);
        let reply = world.call(Call::message().model(model)).await;
        assert_is_the_original_429(&reply);
    }
}

#[tokio::test]
async fn an_overload_that_bedrock_cannot_mend_reaches_the_client() {
    let world = World::start();
    world.call(Call::message()).await;
    world.anthropic.next([overloaded()]);
    world.bedrock.always(throttled());
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.error().as_str()), (529, "overloaded_error"));
    assert_eq!(reply.header("retry-after"), "", "clients have a wait of their own for this");
    world.anthropic.next([overloaded().header("retry-after", "90")]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.header("retry-after")), (529, "30"));
}

#[tokio::test]
async fn while_a_limit_is_remembered_a_failing_bedrock_means_asking_anthropic() {
    let world = World::start();
    world.anthropic.next([window("5h", 7200), window("5h", 7200)]);
    world.call(Call::message()).await;
    world.bedrock.always(throttled());
    let reply = world.call(Call::message()).await;
    assert_is_the_original_429(&reply);
    assert_eq!(world.anthropic.messages().len(), 2);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.upstream()), (200, "anthropic"));
}

#[tokio::test]
async fn a_400_for_the_content_is_the_clients_own() {
    let text = "prompt is too long: 210000 tokens > 200000 maximum";
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.bedrock.always(refused(400, "ValidationException", text));
    for call in [Call::message(), Call::message(), Call::message().whole()] {
        let reply = world.call(call).await;
        assert_eq!((reply.status, reply.error().as_str()), (400, "invalid_request_error"));
        assert_eq!(reply.json()["error"]["message"], text);
        assert!(reply.json()["request_id"].is_string());
        assert_eq!(reply.upstream(), "bedrock");
    }
    assert_eq!(world.anthropic.messages().len(), 1);
}

#[tokio::test]
async fn the_next_region_is_asked_when_one_throttles() {
    let world = World::with("BEDROCK_REGIONS", "us-east-1,us-west-2").start();
    world.anthropic.next([limited(120)]);
    world.bedrock.next([throttled()]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.header("x-claude-proxy-region")), (200, "us-west-2"));
    let regions: Vec<String> =
        world.bedrock.requests().iter().map(|request| region(request).to_owned()).collect();
    assert_eq!(regions, ["us-east-1", "us-west-2"]);
    world.bedrock.next([ok().exception_after(1, "internalServerException")]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.header("x-claude-proxy-region")), (200, "us-west-2"));
    assert_eq!(reply.text(), "bedrock heard: hello");
}

fn assert_is_the_original_429(reply: &Reply) {
    assert_eq!((reply.status, reply.error().as_str()), (429, "rate_limit_error"));
    let message = "This request would exceed your account's rate limit.";
    assert_eq!(reply.json()["error"]["message"], message);
    assert_eq!(reply.header("request-id"), "req_011CTestTestTestTestTest");
    let all = format!("{:?} {:?}", reply.headers, reply.body);
    assert!(!all.contains("arn:aws") && !all.contains("123456789012"), "{all}");
}

#[tokio::test]
async fn a_second_try_that_gets_no_answer_leaves_the_first_429() {
    let upstream = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let url = format!("http://{}", upstream.local_addr().expect("it is bound"));
    let once = async move {
        let (mut socket, _) = upstream.accept().await.expect("the proxy asks");
        let mut request = [0; 64 * 1024];
        let asked = socket.read(&mut request).await.expect("a request comes");
        assert!(request[..asked].starts_with(b"POST /v1/messages"));
        let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#;
        let answer = format!(
            "HTTP/1.1 429 Too Many Requests\r\nrequest-id: req_1\r\nretry-after: 1\r\nconnection: \
             close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        socket.write_all(answer.as_bytes()).await.expect("the proxy listens");
    };
    let world = World::with("ANTHROPIC_UPSTREAM_URL", &url).start();
    let (reply, ()) = tokio::join!(world.call(Call::message()), once);
    assert_eq!((reply.status, reply.header("request-id")), (429, "req_1"));
    assert!(world.bedrock.requests().is_empty(), "being unreachable is no reason by default");
}

#[tokio::test]
async fn what_a_library_has_to_say_of_a_failure_is_not_logged() {
    let world = World::start();
    let failures = [
        throttled(),
        refused(500, "InternalServerException", "oh"),
        refused(503, "ServiceUnavailableException", "busy"),
        ok().close_after(0),
    ];
    for (n, failure) in failures.into_iter().enumerate() {
        world.anthropic.next([limited(120)]);
        world.bedrock.next([failure]);
        let credential = format!("sk-ant-api03-test-{n}");
        let reply = world.call(Call::message().by(&credential)).await;
        assert_eq!(reply.status, 429, "{:?}", reply.body);
    }
    let log = world.log();
    assert_eq!(log.matches("bedrock cannot serve").count(), 4, "{log}");
    assert!(!log.contains("ERROR") && !log.contains("connector"), "{log}");
}
