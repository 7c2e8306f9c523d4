//! What Anthropic answers reaches the client as it came, and what the client sends reaches
//! Anthropic as it was sent.

use std::time::Duration;

use testing::{
    answer::{ok, refused},
    client::{Call, Reply},
    fake::Received,
    gzip::unzip,
    world::World,
};

#[tokio::test]
async fn a_message_arrives_byte_for_byte() {
    let world = World::start();
    let body = " {\"model\" : \"claude-sonnet-4-5\",\r\n\t\"x\":1.0e2, \"x\":\"\\u00e9é\", \"n\": \
                123456789012345678901234567890} \n";
    let reply = world.call(Call::message().body(body)).await;
    assert_eq!(reply.status, 200);
    let arrived = one(world.anthropic.messages());
    assert_eq!(arrived.body, body.as_bytes());
    assert_eq!(arrived.target, "/v1/messages?beta=true");
}

#[tokio::test]
async fn any_method_path_and_query_arrive_as_they_came() {
    let world = World::start();
    for (method, target) in [
        ("GET", "/v1/files/file_01?after_id=a%2Fb&x=%zz&&y=+"),
        ("DELETE", "/v1/files/file_01"),
        ("PUT", "/v1/new-thing"),
        ("PATCH", "/v1/new-thing/%C3%A9"),
        ("OPTIONS", "/v1/messages"),
        ("HEAD", "/api/hello"),
        ("GET", "/"),
        ("PROPFIND", "/v2/~odd_!$'()*,;:@-path"),
    ] {
        let reply = world.call(Call::new(method, target).body("as it is \0 \u{fe}")).await;
        assert_eq!(reply.status, 200, "{method} {target}");
        let arrived = world.anthropic.requests().pop().expect("it arrived");
        assert_eq!((arrived.method.as_str(), arrived.target.as_str()), (method, target));
        assert_eq!(arrived.body, "as it is \0 \u{fe}".as_bytes());
    }
}

#[tokio::test]
async fn unknown_headers_of_both_sides_pass() {
    let world = World::start();
    let odd = [
        ("anthropic-new-thing", "yes"),
        ("x-claude-code-session-id", "00000000-0000-4000-8000-000000000001"),
        ("x-claude-code-anything", "1"),
        ("x-stainless-retry-count", "0"),
        ("x-unknown", "a, b;c=\"d\""),
        ("authorization", "Bearer sk-ant-oat01-test"),
        ("user-agent", "claude-cli/2.1.330 (external, cli)"),
        ("cookie", "a=b"),
    ];
    let mut call = Call::message();
    for (name, value) in odd {
        call = call.header(name, value);
    }
    world.anthropic.next([ok()
        .header("anthropic-ratelimit-unified-status", "allowed_warning")
        .header("anthropic-new-answer", "1")
        .header("cf-ray", "x")
        .header("set-cookie", "c=d")]);
    let reply = world.call(call).await;
    let arrived = one(world.anthropic.messages());
    for (name, value) in odd {
        assert_eq!(arrived.header(name), value, "{name}");
    }
    assert_eq!(reply.header("anthropic-ratelimit-unified-status"), "allowed_warning");
    assert_eq!(reply.header("anthropic-ratelimit-requests-remaining"), "3999");
    assert_eq!(reply.header("anthropic-new-answer"), "1");
    assert_eq!(reply.header("request-id"), "req_011CTestTestTestTestTest");
    assert_eq!(reply.header("set-cookie"), "c=d");
    assert_eq!(reply.upstream(), "anthropic");
}

#[tokio::test]
async fn hop_by_hop_headers_end_at_the_proxy() {
    let world = World::start();
    let hops = [
        ("connection", "keep-alive, x-of-this-hop"),
        ("x-of-this-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("proxy-connection", "keep-alive"),
        ("upgrade", "h2c"),
    ];
    let mut call = Call::message();
    for (name, value) in hops {
        call = call.header(name, value);
    }
    world.anthropic.next([ok()
        .header("connection", "keep-alive, x-of-that-hop")
        .header("x-of-that-hop", "1")
        .header("keep-alive", "timeout=9")]);
    let reply = world.call(call).await;
    assert_eq!(reply.status, 200);
    let arrived = one(world.anthropic.messages());
    for (name, value) in hops {
        assert_ne!(arrived.header(name), value, "{name}");
    }
    assert_eq!(reply.header("x-of-that-hop"), "");
    assert_ne!(reply.header("keep-alive"), "timeout=9");
}

#[tokio::test]
async fn what_the_platform_and_the_proxy_added_never_reaches_anthropic() {
    let world = World::start();
    let ours = [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-amzn-trace-id", "Root=1"),
        ("x-claude-proxy-key", "ccp_test"),
        ("x-claude-proxy-upstream", "bedrock"),
        ("x-claude-code-user", "alice"),
    ];
    let mut call = Call::message();
    for (name, value) in ours {
        call = call.header(name, value);
    }
    world.call(call).await;
    let arrived = one(world.anthropic.messages());
    for (name, _) in ours {
        assert!(!arrived.has(name), "{name}");
    }
    assert!(world.anthropic.url().ends_with(arrived.header("host")), "{}", arrived.header("host"));
}

#[tokio::test]
async fn the_messages_calls_ask_for_an_uncompressed_answer() {
    let world = World::start();
    for call in [Call::message(), Call::message().whole(), Call::count()] {
        let reply = world.call(call).await;
        assert_eq!(reply.header("content-encoding"), "");
        assert_eq!(reply.status, 200);
    }
    for arrived in world.anthropic.requests() {
        assert_eq!(arrived.header("accept-encoding"), "identity");
    }
}

#[tokio::test]
async fn other_answers_stay_compressed() {
    let world = World::start();
    let body = "compress me ".repeat(10_000);
    let call = Call::new("POST", "/v1/files").header("accept-encoding", "br;q=0, gzip");
    let reply = world.call(call.body(body.clone())).await;
    assert_eq!(one(world.anthropic.requests()).header("accept-encoding"), "br;q=0, gzip");
    assert_eq!(reply.header("content-encoding"), "gzip");
    assert_eq!(unzip(&reply.body).as_deref(), Some(body.as_bytes()));
}

#[tokio::test]
async fn a_header_that_comes_twice_arrives_twice() {
    let world = World::start();
    let call = Call::message().also("anthropic-beta", "one-1").also("anthropic-beta", "two-2");
    world.call(call).await;
    let arrived = one(world.anthropic.messages());
    let betas: Vec<&str> = arrived
        .headers
        .iter()
        .filter(|(name, _)| name == "anthropic-beta")
        .map(|(_, value)| value.as_str())
        .collect();
    assert_eq!(betas.join(","), "one-1,two-2");
}

#[tokio::test]
async fn an_answer_without_a_body_stays_without() {
    let world = World::start();
    for status in [204, 205, 304] {
        let empty = refused(status, "none", "none").body("").without("content-length");
        world.anthropic.next_on("/v1/files/f", [empty]);
        let reply = world.call(Call::new("DELETE", "/v1/files/f")).await;
        assert_eq!((reply.status, reply.body.len()), (status, 0));
        assert_eq!(reply.header("request-id"), "req_011CTestTestTestTestTest");
    }
    let whole = world.call(Call::new("POST", "/v1/files").body("12345")).await;
    assert_eq!(whole.header("content-length"), "5");
}

#[tokio::test]
async fn a_client_that_waits_for_the_go_ahead_gets_it() {
    let world = World::start();
    let body = "{\"model\":\"claude-opus-5\",\"max_tokens\":1,\"messages\":[]}";
    let request = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: proxy\r\nx-api-key: a\r\nexpect: 100-continue\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = world.raw(request.as_bytes(), Duration::from_secs(5));
    assert!(answer.contains("HTTP/1.1 200 OK"), "{answer}");
    let arrived = one(world.anthropic.messages());
    assert_eq!((arrived.body.as_ref(), arrived.has("expect")), (body.as_bytes(), false));
}

#[tokio::test]
async fn a_connection_serves_one_request_after_the_other() {
    let world = World::start();
    let once = "POST /v1/files HTTP/1.1\r\nhost: proxy\r\ncontent-length: 2\r\n";
    let two = format!("{once}\r\nok{once}connection: close\r\n\r\nok");
    let answer = world.raw(two.as_bytes(), Duration::from_secs(5));
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{answer}");
}

#[tokio::test]
async fn a_redirect_is_the_clients_business() {
    let world = World::start();
    for path in ["/v1/files", "/v1/messages"] {
        let moved = refused(307, "redirect", "moved").header("location", "/v1/elsewhere").body("");
        world.anthropic.next_on(path, [moved]);
        let reply = world.call(Call::new("POST", path).body("{\"model\":\"claude-opus-5\"}")).await;
        assert_eq!((reply.status, reply.header("location")), (307, "/v1/elsewhere"));
    }
    assert_eq!(world.anthropic.requests().len(), 2);
}

#[tokio::test]
async fn errors_of_anthropic_reach_the_client_untouched() {
    let world = World::start();
    for (status, kind) in [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (402, "billing_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (418, "new_error"),
        (500, "api_error"),
        (503, "api_error"),
    ] {
        let refusal = refused(status, kind, "the very words").header("x-should-retry", "odd");
        world.anthropic.next([refusal]);
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.error().as_str()), (status, kind));
        assert_eq!(reply.json()["error"]["message"], "the very words");
        assert_eq!(reply.header("x-should-retry"), "odd");
        assert_eq!(reply.header("request-id"), "req_011CTestTestTestTestTest");
    }
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn a_stream_is_the_very_stream_that_anthropic_wrote() {
    let world = World::start();
    let call = Call::message().without("accept-encoding").says("überall gleich");
    let address = world.anthropic.url().trim_start_matches("http://").parse().expect("an address");
    let direct = call.send(address).await;
    let reply = world.call(call).await;
    assert_eq!(reply.body, direct.body);
    assert_eq!(reply.header("content-type"), direct.header("content-type"));
    assert_eq!(reply.broken, None);
}

#[tokio::test]
async fn events_arrive_while_anthropic_still_writes() {
    let world = World::start();
    world.anthropic.next([ok().gap(Duration::from_millis(150))]);
    let reply = world.call(Call::message().says("one two three")).await;
    assert_eq!(reply.text(), "anthropic heard: one two three");
    let first = reply.pieces.first().expect("there was a body").0;
    assert!(reply.took - first > Duration::from_millis(700), "{:?}", spread(&reply));
    assert!(reply.pieces.len() >= 6, "{:?}", spread(&reply));
}

#[tokio::test]
async fn the_health_endpoint_calls_nobody() {
    let world = World::start();
    let reply = world.call(Call::new("GET", "/healthz").without("x-api-key")).await;
    assert_eq!(reply.status, 200);
    assert!(!reply.body.is_empty());
    let streamed = world.call(Call::new("GET", "/healthz?stream=1").without("x-api-key")).await;
    assert_eq!((streamed.status, streamed.pieces.len()), (200, 2));
    let apart = streamed.pieces[1].0 - streamed.pieces[0].0;
    assert!((250..700).contains(&apart.as_millis()), "{apart:?}");
    assert!(world.anthropic.requests().is_empty());
    assert!(world.bedrock.requests().is_empty());
}

fn one(mut requests: Vec<Received>) -> Received {
    assert_eq!(requests.len(), 1, "one request arrives");
    requests.remove(0)
}

fn spread(reply: &Reply) -> Vec<Duration> {
    reply.pieces.iter().map(|(at, _)| *at).collect()
}
