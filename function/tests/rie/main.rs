//! AWS's own Runtime Interface Emulator in the place of ours: the protocol as AWS wrote it.
//!
//! It buffers what is streamed, so it says nothing about pace; several requests at a time it has only
//! for a binary at `/var/task/bootstrap`, and only as root: that one test is run by
//! `scripts/lambda-multi`.

#![cfg(target_os = "linux")]

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use testing::emulated::Rie;
use testing::{
    answer::{hang, limited, ok},
    client::ALICE,
};
use tokio::time::Instant;

#[tokio::test]
async fn a_request_is_answered_under_awss_own_emulator() {
    let rie = Rie::start(&[]);
    let (prelude, body) = rie.invoke(&message()).await;
    assert_eq!((&prelude["statusCode"], body.contains("message_stop")), (&200.into(), true));
    assert_eq!(prelude["headers"]["x-claude-proxy-upstream"], "anthropic");
    rie.anthropic.next([limited(120)]);
    let (prelude, body) = rie.invoke(&message()).await;
    assert_eq!(prelude["headers"]["x-claude-proxy-upstream"], "bedrock");
    assert_eq!((rie.bedrock.requests().len(), body.contains("message_stop")), (1, true));
}

#[tokio::test]
async fn an_event_that_is_no_request_is_a_400_under_awss_own_emulator() {
    let rie = Rie::start(&[]);
    let (prelude, body) = rie.invoke(&json!({"what": "ever"})).await;
    assert_eq!(
        (&prelude["statusCode"], body.contains("invalid_request_error")),
        (&400.into(), true)
    );
}

#[tokio::test]
async fn a_start_that_fails_is_told_by_awss_own_emulator() {
    let rie = Rie::start(&[("FALLBACK_ON", "whatever")]);
    let told = rie.post(&message()).await;
    let told: Value = serde_json::from_str(&told).expect(&told);
    assert_eq!(told["errorType"], "Runtime.InitError", "{told}");
    assert!(told["errorMessage"].as_str().unwrap().contains("FALLBACK_ON"), "{told}");
}

#[tokio::test]
async fn an_answer_comes_before_awss_own_emulator_would_end_the_process() {
    let rie = Rie::start(&[("AWS_LAMBDA_FUNCTION_TIMEOUT", "3")]);
    rie.anthropic.next([hang()]);
    let (prelude, body) = rie.invoke(&message()).await;
    assert_eq!((&prelude["statusCode"], body.contains("timeout_error")), (&504.into(), true));
    let (prelude, _) = rie.invoke(&message()).await;
    assert_eq!(prelude["statusCode"], 200);
}

#[tokio::test]
#[ignore = "mounts over /var, which needs root: scripts/lambda-multi"]
async fn awss_own_emulator_has_several_requests_at_a_time_answered() {
    let rie = Rie::managed(4);
    rie.anthropic.always(ok().gap(Duration::from_millis(200)));
    let alone = Instant::now();
    rie.invoke(&message()).await;
    let (alone, begun) = (alone.elapsed(), Instant::now());
    let event = message();
    let told = join_all((0..3).map(|_| rie.invoke(&event))).await;
    let took = begun.elapsed();
    for (prelude, body) in &told {
        assert_eq!((&prelude["statusCode"], body.contains("message_stop")), (&200.into(), true));
    }
    assert!(alone > Duration::from_secs(1), "{alone:?} is no stream to be told apart");
    assert!(took < alone * 2, "three at a time took {took:?}, one alone {alone:?}");
}

/// A message as a Function URL would hand it over.
fn message() -> Value {
    json!({
        "version": "2.0",
        "rawPath": "/v1/messages",
        "rawQueryString": "beta=true",
        "headers": {
            "content-type": "application/json",
            "anthropic-version": "2023-06-01",
            "x-api-key": ALICE,
            "host": "urlid.lambda-url.us-east-1.on.aws",
        },
        "requestContext": {"http": {"method": "POST", "path": "/v1/messages"}, "stage": "$default"},
        "body": json!({
            "model": "claude-sonnet-4-5-20250929",
            "max_tokens": 1024,
            "stream": true,
            "messages": [{"role": "user", "content": "hello"}],
        }).to_string(),
        "isBase64Encoded": false,
    })
}
