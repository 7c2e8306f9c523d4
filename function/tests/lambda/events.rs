//! Which request an event becomes.

use serde_json::{Value, json};
use testing::{
    client::{ALICE, Call},
    deployed::Deployed,
};

#[tokio::test]
async fn a_text_body_arrives_byte_for_byte() {
    let deployed = Deployed::start();
    let body = "{ \"model\" : \"claude-sonnet-4-5\",\n\"max_tokens\":1, \"messages\":\
                [{\"role\":\"user\",\"content\":\"caf\u{e9} \\u00e9 \u{1f600}\"}] }";
    let reply = deployed.call(Call::message().body(body)).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    assert!(deployed.anthropic.messages()[0].body == body.as_bytes());
}

#[tokio::test]
async fn a_base64_body_is_decoded() {
    let deployed = Deployed::start();
    let body: Vec<u8> = (0..=255).collect();
    let call = Call::new("POST", "/v1/files").header("content-type", "application/octet-stream");
    let reply = deployed.call(call.body(body.clone())).await;
    assert_eq!(reply.status, 200);
    assert!(deployed.anthropic.requests()[0].body == body);
}

#[tokio::test]
async fn cookies_become_one_header() {
    let deployed = Deployed::start();
    deployed.call(Call::new("GET", "/v1/models").header("cookie", "a=1; b=2")).await;
    assert_eq!(deployed.anthropic.requests()[0].header("cookie"), "a=1; b=2");
}

#[tokio::test]
async fn headers_of_several_values_arrive_as_the_platform_joined_them() {
    let deployed = Deployed::start();
    let call = Call::new("GET", "/v1/models")
        .also("anthropic-beta", "one-2025-01-01")
        .also("anthropic-beta", "two-2025-01-01");
    deployed.call(call).await;
    let arrived = &deployed.anthropic.requests()[0];
    assert_eq!(arrived.header("anthropic-beta"), "one-2025-01-01,two-2025-01-01");
}

#[tokio::test]
async fn nothing_of_the_platform_reaches_anthropic() {
    let deployed = Deployed::start();
    deployed.call(Call::message()).await;
    let arrived = &deployed.anthropic.messages()[0];
    let text = format!("{:?}", arrived.headers);
    for theirs in ["x-forwarded", "x-amzn", "203.0.113.7", "lambda"] {
        assert!(!text.contains(theirs), "{text}");
    }
    assert_eq!(arrived.header("x-api-key"), ALICE);
}

#[tokio::test]
async fn path_and_query_arrive_untouched() {
    let deployed = Deployed::start();
    for target in [
        "/v1/models/a%20b%2Bc?x=%41&y=a+b&z",
        "/v1/files?after_id=%2F..%2F&q='()*!~",
        "/v1/models?",
        "/V1/Models;a=b,c@d:e",
    ] {
        deployed.call(Call::new("GET", target)).await;
        let arrived = deployed.anthropic.requests().pop().unwrap();
        assert_eq!(arrived.target, target.trim_end_matches('?'));
    }
}

#[tokio::test]
async fn paths_that_could_be_read_in_two_ways_are_refused_and_not_tidied() {
    let deployed = Deployed::start();
    for target in ["//v1/messages", "/v1/../v1/messages", "/v1/./messages", "/v1%2Fmessages"] {
        let reply = deployed.call(Call::message().at(target)).await;
        assert_eq!((reply.status, reply.error().as_str()), (400, "invalid_request_error"));
    }
    assert!(deployed.anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_base_url_with_a_query_works_in_all_its_mangled_forms() {
    let deployed = Deployed::start();
    for target in [
        "/u/alice/v1/messages?beta=true",
        "/?claude-code-user=alice%2Fv1%2Fmessages%3Fbeta%3Dtrue",
        "/?claude-code-user=alice/v1/messages?beta=true",
        "/?claude-code-user=alice%2Fv1%2Fmessages?beta=true",
    ] {
        let reply = deployed.call(Call::message().at(target)).await;
        assert_eq!(reply.text(), "anthropic heard: hello", "{target}");
        let arrived = deployed.anthropic.messages().pop().unwrap();
        assert_eq!(arrived.target, "/v1/messages?beta=true", "{target}");
    }
}

#[tokio::test]
async fn every_method_passes() {
    let deployed = Deployed::start();
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"] {
        deployed.call(Call::new(method, "/v1/models")).await;
        assert_eq!(deployed.anthropic.requests().pop().unwrap().method, method);
    }
}

#[tokio::test]
async fn an_event_that_is_no_request_is_answered_with_400() {
    let mut deployed = Deployed::start();
    let good = |change: fn(&mut Value)| {
        let mut event = json!({
            "rawPath": "/v1/models",
            "headers": {"x-api-key": ALICE},
            "requestContext": {"http": {"method": "GET"}},
            "isBase64Encoded": false,
        });
        change(&mut event);
        event
    };
    let odd = [
        json!(null),
        json!([]),
        json!("warm up"),
        json!({}),
        json!({"source": "aws.events", "detail-type": "Scheduled Event"}),
        json!({"requestContext": {"http": {"method": "G E T"}}}),
        good(|event| event["body"] = json!({"not": "text"})),
        good(|event| {
            event["body"] = "%%%".into();
            event["isBase64Encoded"] = true.into();
        }),
        good(|event| event["rawPath"] = "http://example.com/v1/models".into()),
        good(|event| event["rawPath"] = "no slash".into()),
        good(|event| event["rawPath"] = "/a b".into()),
        good(|event| event["rawPath"] = "/v1/models#/../files".into()),
        good(|event| event["rawQueryString"] = "a=\n".into()),
        good(|event| event["headers"]["x-api-key"] = "a\nb: c".into()),
        good(|event| event["headers"]["a b"] = "c".into()),
        good(|event| event["cookies"] = json!(["a=\r\nb: c"])),
    ];
    for event in odd {
        let invocation = deployed.lambda.invoke(event.clone()).await;
        let prelude: Value = serde_json::from_slice(&invocation.chunks[0].1).unwrap();
        assert_eq!(prelude["statusCode"], 400, "{event}");
        let body: Value = serde_json::from_slice(&invocation.chunks[2].1).unwrap();
        assert_eq!(body["error"]["type"], "invalid_request_error", "{event}");
        assert!(!body.to_string().contains(ALICE), "{body}");
    }
    let good = deployed.lambda.invoke(good(|_| {})).await;
    assert!(good.chunks[0].1.starts_with(b"{\"statusCode\":200,"));
    assert!(deployed.runs() && deployed.anthropic.requests().len() == 1);
    assert!(!deployed.log().contains(ALICE) && !deployed.log().contains("panicked"));
}
