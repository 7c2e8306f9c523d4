//! Does what Bedrock answers, or refuses, read to the client as if Anthropic had?

use std::time::Duration;

use function::reply::{ErrorKind, Failure};
use function::translate::error::{BedrockFailure, MAX_MESSAGE, judge, scrub};
use function::translate::response::{Usage, count, message};
use function::translate::stream::{Event, Stream};
use function::wire::sse;
use http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use ErrorKind::{
    Api, Authentication, InvalidRequest, NotFound, NotSupported, Overloaded, Permission, RateLimit,
    RequestTooLarge, Timeout,
};

// Streams

#[test]
fn a_text_stream_reads_like_anthropics() {
    let (sent, stream) =
        golden("claude-sonnet-4-5", include_str!("../golden/answers/text.jsonl"), [2, 6]);
    assert_eq!(sent, include_str!("../golden/answers/text.sse"));
    assert!(stream.finished());
    let usage = Usage {
        input: Some(12),
        output: Some(18),
        cache_read: Some(4096),
        cache_write: Some(2048),
        cache_write_5m: Some(2048),
        cache_write_1h: Some(0),
    };
    assert_eq!(stream.usage(), usage);
}

#[test]
fn a_stream_of_thinking_and_a_tool_reads_like_anthropics() {
    let chunks = include_str!("../golden/answers/thinking_tool.jsonl");
    let (sent, stream) = golden("claude-opus-5-5", chunks, [2, 8]);
    assert_eq!(sent, include_str!("../golden/answers/thinking_tool.sse"));
    assert_eq!(stream.usage().cache_read, Some(7168));
}

#[test]
fn an_error_in_a_chunk_ends_the_stream_in_anthropics_envelope() {
    let chunks = include_str!("../golden/answers/overloaded.jsonl");
    let (sent, stream) = golden("claude-fable-5-1", chunks, [2, 1]);
    assert_eq!(sent, include_str!("../golden/answers/overloaded.sse"));
    assert!(!stream.finished());
}

#[test]
fn nothing_before_the_first_delta_commits() {
    let mut stream = Stream::new("m");
    for chunk in [
        r#"{"type":"message_start","message":{"model":"x"}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_start","index":0}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"from_the_future"}"#,
    ] {
        assert!(matches!(stream.event(chunk.as_bytes()), Ok(Event::Opening(_))), "{chunk}");
    }
    let error = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    let failure = BedrockFailure::Transient { kind: Overloaded, message: "Overloaded".to_owned() };
    assert_eq!(stream.event(error.as_bytes()), Ok(Event::Failed(failure)));
    for chunk in [r#"{"type":"content_block_delta"}"#, r#"{"type":"ping"}"#] {
        assert!(matches!(stream.event(chunk.as_bytes()), Ok(Event::Content(_))), "{chunk}");
    }
}

#[test]
fn an_empty_answer_commits_too() {
    for chunk in [r#"{"type":"message_delta","delta":{}}"#, r#"{"type":"message_stop"}"#] {
        let event = Stream::new("m").event(chunk.as_bytes());
        assert!(matches!(event, Ok(Event::Content(_))), "{event:?}");
    }
}

#[test]
fn what_need_not_change_keeps_its_bytes() {
    for json in [
        r#"{"type":"content_block_delta", "n" : 1.50e+03,"big":123456789012345678,"s":"\u00e9\/"}"#,
        concat!(
            r#"{"type":"message_delta","usage":{ "cache_read_input_tokens":1,"#,
            r#""cache_creation_input_tokens":2}}"#,
        ),
        r#"{"type":"from_the_future","amazon":1,"nested":{"amazon-bedrock-trace":{}}}"#,
    ] {
        let kind =
            serde_json::from_str::<Value>(json).unwrap()["type"].as_str().unwrap().to_owned();
        let expected = format!("event: {kind}\ndata: {json}\n\n");
        assert_eq!(text(Stream::new("m").event(json.as_bytes()).unwrap()), expected);
    }
    let start = r#"{"type":"message_start","message":{"a":1.0,"model":"x","b":"\u00e9"},"c":2.50}"#;
    let expected =
        r#"{"type":"message_start","message":{"a":1.0,"model":"m","b":"\u00e9"},"c":2.50}"#;
    let sent = text(Stream::new("m").event(start.as_bytes()).unwrap());
    assert_eq!(sent, format!("event: message_start\ndata: {expected}\n\n"));
}

#[test]
fn json_of_several_lines_becomes_one_line() {
    let chunk = "{\n  \"type\": \"ping\",\r\n  \"text\": \"a\\nb\"\n}";
    let sent = text(Stream::new("m").event(chunk.as_bytes()).unwrap());
    assert_eq!(sent, "event: ping\ndata: {   \"type\": \"ping\",    \"text\": \"a\\nb\" }\n\n");
}

#[test]
fn a_chunk_without_a_type_is_nothing_and_one_that_is_not_json_is_malformed() {
    for chunk in ["{}", r#"{"type":7}"#, r#"{"p":"abc"}"#, "null", "[1]", "\"text\""] {
        assert_eq!(Stream::new("m").event(chunk.as_bytes()), Ok(Event::Skip), "{chunk}");
    }
    for chunk in ["", "nonsense", r#"{"type":"ping""#, r#"{"type":"ping"}{}"#] {
        let malformed = Stream::new("m").event(chunk.as_bytes()).unwrap_err();
        assert!(!malformed.to_string().contains("ping"), "{malformed}");
    }
    assert!(Stream::new("m").event(b"{\"type\":\"content_block_delta\",\"x\":\"\xff\"}").is_err());
    let deep = format!(r#"{{"type":"ping","deep":{}"#, "[".repeat(100_000));
    assert!(Stream::new("m").event(deep.as_bytes()).is_err());
}

#[test]
fn an_awkward_key_or_type_cannot_slip_through() {
    let chunk = r#"{"type":"a\nevent: error\n\n","amazon\u002dbedrock-trace":1}"#;
    let sent = text(Stream::new("m").event(chunk.as_bytes()).unwrap());
    assert_eq!(sent, "event: a event: error  \ndata: {\"type\":\"a\\nevent: error\\n\\n\"}\n\n");
    let start = r#"{"type":"message_start","message":{"mode\u006c":"us.anthropic.x"}}"#;
    let sent = text(Stream::new("na\"me").event(start.as_bytes()).unwrap());
    assert!(sent.contains(r#""na\"me""#) && !sent.contains("us.anthropic"), "{sent}");
}

#[test]
fn cache_counts_that_are_there_win() {
    let mut stream = Stream::new("m");
    let start = json!({"type": "message_start", "message":
        {"usage": {"cache_read_input_tokens": 1, "cache_creation_input_tokens": 2}}});
    let delta = json!({"type": "message_delta", "usage":
        {"cache_read_input_tokens": 9, "cache_creation_input_tokens": null}});
    stream.event(start.to_string().as_bytes()).unwrap();
    let sent = text(stream.event(delta.to_string().as_bytes()).unwrap());
    let sent: Value = serde_json::from_slice(&sse::data(sent.as_bytes())).unwrap();
    let usage = json!({"cache_read_input_tokens": 9, "cache_creation_input_tokens": 2});
    assert_eq!(sent["usage"], usage);
}

#[test]
fn cache_counts_that_nobody_knows_are_not_invented() {
    let mut stream = Stream::new("m");
    let delta = br#"{"type":"message_delta","usage":{"output_tokens":3}}"#;
    assert_eq!(stream.event(delta), Ok(Event::Skip));
    let sent = text(stream.event(br#"{"type":"message_stop"}"#).unwrap());
    let expected = "event: message_delta\n\
        data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":3}}\n\n\
        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    assert_eq!(sent, expected);
    let sent = text(stream.event(br#"{"type":"ping"}"#).unwrap());
    assert_eq!(sent, "event: ping\ndata: {\"type\":\"ping\"}\n\n");
}

// Whole answers

#[test]
fn a_message_carries_the_requested_model_and_no_key_of_awss_own() {
    let unchanged = concat!(
        r#""id":"msg_bdrk_1","type":"message","content":[{"type":"text","text":"\u00e9"}],"#,
        r#""usage":{"input_tokens":3,"output_tokens":4,"cache_read_input_tokens":0}"#,
    );
    let extra = r#""amazon-bedrock-guardrailAction":"NONE""#;
    let body = format!(r#"{{"model":"us.anthropic.claude-sonnet-5",{unchanged},{extra}}}"#);
    let (sent, usage) = message(body.as_bytes(), "claude-sonnet-5").unwrap();
    let expected = format!(r#"{{"model":"claude-sonnet-5",{unchanged}}}"#);
    assert_eq!(String::from_utf8(sent).unwrap(), expected);
    let counted =
        Usage { input: Some(3), output: Some(4), cache_read: Some(0), ..Usage::default() };
    assert_eq!(usage, counted);
}

#[test]
fn what_is_no_message_is_malformed() {
    for body in ["", "<html>", "{}", "[]", r#"{"type":"error","error":{}}"#, r#"{"message":"no"}"#]
    {
        assert!(message(body.as_bytes(), "m").is_err(), "{body}");
    }
}

#[test]
fn a_token_count_is_one_number() {
    assert_eq!(count(u64::MAX), br#"{"input_tokens":18446744073709551615}"#);
}

// Failures of Bedrock

#[test]
fn every_known_sentence_has_its_meaning() {
    for (code, status, meaning, sentences) in SENTENCES {
        for sentence in sentences {
            let failure = judge(Some(status), Some(code), sentence);
            assert_eq!(meaning_of(&failure), meaning, "{sentence}");
            let expected = if sentence.is_empty() { "Bedrock gave no reason." } else { sentence };
            assert_eq!(failure.message(), expected);
        }
    }
}

#[test]
fn every_exception_has_its_meaning_in_any_spelling() {
    for (code, meaning) in [
        ("ThrottlingException", Passing(RateLimit)),
        ("throttlingException", Passing(RateLimit)),
        (
            "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/",
            Passing(RateLimit),
        ),
        ("com.amazon.coral.service#ThrottlingException", Passing(RateLimit)),
        ("ServiceQuotaExceededException", Passing(RateLimit)),
        ("ModelNotReadyException", Passing(Overloaded)),
        ("serviceUnavailableException", Passing(Overloaded)),
        ("internalServerException", Passing(Api)),
        ("modelTimeoutException", Passing(Timeout)),
        ("modelStreamErrorException", Passing(Api)),
        ("ModelErrorException", Passing(Api)),
        ("SomethingNewException", Passing(Api)),
        ("validationException", BedrocksAlone),
        ("AccessDeniedException", Lasting(Permission)),
        ("ResourceNotFoundException", Lasting(NotFound)),
        ("UnrecognizedClientException", Lasting(Authentication)),
        ("ExpiredTokenException", Lasting(Authentication)),
        ("ExpiredToken", Lasting(Authentication)),
        ("InvalidSignatureException", Lasting(Authentication)),
        ("RequestTimeTooSkewed", Lasting(Authentication)),
        ("TokenRefreshRequired", Lasting(Authentication)),
        ("CredentialsProviderError", Lasting(Authentication)),
    ] {
        assert_eq!(meaning_of(&judge(None, Some(code), "m")), meaning, "{code}");
    }
}

#[test]
fn a_status_alone_has_its_meaning() {
    for (status, meaning) in [
        (400, BedrocksAlone),
        (401, Lasting(Authentication)),
        (403, Lasting(Permission)),
        (404, Lasting(NotFound)),
        (408, Passing(Timeout)),
        (413, Lasting(RequestTooLarge)),
        (418, Lasting(Api)),
        (424, Passing(Api)),
        (429, Passing(RateLimit)),
        (500, Passing(Api)),
        (501, Lasting(NotSupported)),
        (502, Passing(Api)),
        (503, Passing(Overloaded)),
        (504, Passing(Timeout)),
        (529, Passing(Overloaded)),
    ] {
        assert_eq!(meaning_of(&judge(Some(status), None, "m")), meaning, "{status}");
    }
    assert_eq!(meaning_of(&judge(None, None, "connection reset")), Passing(Api));
    assert_eq!(judge(None, None, " ").message(), "Bedrock gave no reason.");
}

#[test]
fn a_models_own_error_is_judged_by_its_original_status() {
    let judged = |status| meaning_of(&judge(Some(status), Some("ModelStreamErrorException"), "m"));
    assert_eq!(judged(424), Passing(Api));
    assert_eq!(judged(529), Passing(Overloaded));
    assert_eq!(judged(429), Passing(RateLimit));
}

#[test]
fn an_error_event_in_a_chunk_is_judged_by_its_type() {
    for (kind, meaning) in [
        ("overloaded_error", Passing(Overloaded)),
        ("rate_limit_error", Passing(RateLimit)),
        ("api_error", Passing(Api)),
        ("timeout_error", Passing(Timeout)),
        ("from_the_future", Passing(Api)),
        ("invalid_request_error", BedrocksAlone),
        ("permission_error", Lasting(Permission)),
    ] {
        let chunk = json!({"type": "error", "error": {"type": kind, "message": "m"}});
        let event = Stream::new("m").event(chunk.to_string().as_bytes()).unwrap();
        let Event::Failed(failure) = event else { panic!("{event:?}") };
        assert_eq!(meaning_of(&failure), meaning, "{kind}");
    }
    for chunk in [r#"{"type":"error"}"#, r#"{"type":"error","error":"no"}"#] {
        let event = Stream::new("m").event(chunk.as_bytes()).unwrap();
        let Event::Failed(failure) = event else { panic!("{event:?}") };
        assert_eq!(meaning_of(&failure), Passing(Api));
    }
}

#[test]
fn the_sentence_is_the_models_own() {
    let message =
        "The model returned the following errors: prompt is too long: 2 tokens > 1 maximum";
    let failure = judge(Some(400), Some("ValidationException"), message);
    assert_eq!(failure.message(), "prompt is too long: 2 tokens > 1 maximum");
}

#[test]
fn nothing_of_the_account_is_told() {
    for (message, clean) in [
        (
            "User: \
             arn:aws:sts::123456789012:assumed-role/claude-proxy-api-role/claude-proxy-api \
             is not authorized to perform: bedrock:InvokeModel on resource: \
             arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-5 \
             because no identity-based policy allows the bedrock:InvokeModel action",
            "User: [arn] is not authorized to perform: bedrock:InvokeModel on resource: \
             [arn] because no identity-based policy allows the bedrock:InvokeModel action",
        ),
        (
            "The resource \
             'arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/anthropic.claude-sonnet-5' \
             (account 123456789012) is denied.",
            "The resource '[arn]' (account [account]) is denied.",
        ),
        (
            "Role assumed-role/a,b=c@d/session, user/alice.",
            "Role assumed-role/[name], user/[name].",
        ),
        ("Key AKIAIOSFODNN7EXAMPLE of AROAEXAMPLEROLEID123:alice", "Key [id] of [id]"),
        ("profile=arn:aws:iam::123456789012:role/x, 123456789012.", "profile=[arn], [account]."),
        ("account:123456789012/x and 1234567890123", "account:[account]/x and 1234567890123"),
        ("max_tokens: 128000 > 64000, role 'system'", "max_tokens: 128000 > 64000, role 'system'"),
    ] {
        assert_eq!(scrub(message), clean);
        assert_eq!(judge(Some(403), Some("AccessDeniedException"), message).message(), clean);
    }
}

#[test]
fn what_the_user_may_have_said_is_not_quoted_and_no_terminal_is_spoken_to() {
    let said = "my secret ".repeat(7);
    for (message, clean) in [
        (format!("got '{said}' there"), "got '…' there".to_owned()),
        (format!("got \"{said}\", not `{said}`."), "got \"…\", not `…`.".to_owned()),
        (format!("got \u{201c}{said}\u{201d}"), "got \u{201c}…\u{201d}".to_owned()),
        (format!("cut off in '{said}"), "cut off in '…".to_owned()),
        ("the model's 'tools', isn't it".to_owned(), "the model's 'tools', isn't it".to_owned()),
        (format!("isn't quoted: {said}s, is it"), format!("isn't quoted: {said}s, is it")),
        ("a\u{1b}[31mred\nline\u{7}".to_owned(), "a [31mred line ".to_owned()),
        ("'a\u{1b}[0m'".to_owned(), "'a [0m'".to_owned()),
        (format!("'{}'", "é".repeat(64)), format!("'{}'", "é".repeat(64))),
        (format!("'{}'", "é".repeat(65)), "'…'".to_owned()),
    ] {
        assert_eq!(scrub(&message), clean);
    }
}

#[test]
fn a_message_is_bounded() {
    let long = scrub(&"é".repeat(MAX_MESSAGE));
    assert!(long.len() <= MAX_MESSAGE && long.ends_with('…'), "{}", long.len());
    assert_eq!(scrub(&"e".repeat(MAX_MESSAGE)), "e".repeat(MAX_MESSAGE));
}

// Our own failures

#[test]
fn a_failure_has_anthropics_envelope_and_status() {
    for (kind, name, status, retryable) in [
        (InvalidRequest, "invalid_request_error", 400, false),
        (Authentication, "authentication_error", 401, false),
        (Permission, "permission_error", 403, false),
        (NotFound, "not_found_error", 404, false),
        (RequestTooLarge, "request_too_large", 413, false),
        (RateLimit, "rate_limit_error", 429, true),
        (Api, "api_error", 500, true),
        (NotSupported, "not_supported", 501, false),
        (ErrorKind::Unavailable, "api_error", 503, true),
        (Timeout, "timeout_error", 504, true),
        (Overloaded, "overloaded_error", 529, true),
    ] {
        let response = Failure::new(kind, "say \"what\"\nto do").into_response("req_1");
        assert_eq!(response.status(), StatusCode::from_u16(status).unwrap());
        let headers = response.headers();
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(headers["request-id"], "req_1");
        let advice = headers.get("x-should-retry").map(|value| value.to_str().unwrap());
        assert_eq!(advice, (!retryable).then_some("false"));
        assert!(!headers.contains_key("retry-after"));
        let envelope = json!({"type": "error", "request_id": "req_1",
            "error": {"type": name, "message": "say \"what\"\nto do"}});
        assert_eq!(serde_json::from_slice::<Value>(response.body()).unwrap(), envelope);
    }
}

#[test]
fn a_wait_is_told_in_whole_seconds_never_too_short() {
    for (wait, told) in [(0, "0"), (1, "1"), (1000, "1"), (1001, "2"), (30_000, "30")] {
        let mut failure = Failure::new(RateLimit, "later");
        failure.retry_after = Some(Duration::from_millis(wait));
        assert_eq!(failure.into_response("r").headers()["retry-after"], told);
    }
}

#[test]
fn a_request_id_that_is_no_header_is_left_out_of_the_head() {
    let response = Failure::new(Api, "m").into_response("a\r\nset-cookie: b");
    assert!(!response.headers().contains_key("request-id"));
    assert_eq!(response.headers().len(), 1);
}

proptest! {
    #[test]
    fn any_message_makes_one_event(message in any::<String>(), id in any::<String>()) {
        let event = Failure::new(Overloaded, message.clone()).into_event(&id);
        prop_assert_eq!(event.iter().filter(|byte| **byte == b'\n').count(), 3);
        prop_assert_eq!(sse::name(&event), Some("error"));
        let envelope: Value = serde_json::from_slice(&sse::data(&event)).unwrap();
        prop_assert_eq!(envelope["error"]["message"].as_str(), Some(message.as_str()));
        prop_assert_eq!(envelope["request_id"].as_str(), Some(id.as_str()));
    }

    #[test]
    fn no_arn_survives(near in any::<String>(), account in "[0-9]{12}") {
        let clean = scrub(&format!("{near} arn:aws:iam::{account}:role/secret {near}"));
        prop_assert!(!clean.contains("secret") && !clean.contains(&account), "{}", clean);
    }

    #[test]
    fn no_quotation_and_no_control_character_survives(
        near in "[a-z `'\"\u{201c}]{0,12}", quote in prop::sample::select(vec!['\'', '"', '`']),
        said in "[a-z \u{1b}]{65,90}",
    ) {
        let clean = scrub(&format!("{quote}{said}{quote} {near}"));
        prop_assert!(!clean.contains(said.trim()) && !clean.contains('\u{1b}'), "{}", clean);
    }

    #[test]
    fn no_chunk_makes_a_stream_panic(chunks in proptest::collection::vec(chunk(), 0..6)) {
        let mut stream = Stream::new("m");
        for chunk in chunks {
            if let Ok(Event::Opening(bytes) | Event::Content(bytes)) = stream.event(&chunk) {
                prop_assert!(bytes.starts_with(b"event: ") && bytes.ends_with(b"\n\n"));
                prop_assert!(!sse::data(&bytes).windows(15).any(|key| key == b"\"amazon-bedrock"));
            }
            drop(message(&chunk, "m"));
        }
    }
}

/// Chunks near to the real ones, and noise.
fn chunk() -> impl Strategy<Value = Vec<u8>> {
    let types = [
        "message_start",
        "message_delta",
        "message_stop",
        "content_block_delta",
        "error",
        "message",
    ];
    let values = [
        "{}",
        "null",
        "7",
        "[]",
        r#"{"usage":{}}"#,
        r#"{"usage":{"output_tokens":1}}"#,
        r#"{"type":"x"}"#,
    ];
    let keys = ["message", "usage", "error", "delta", "amazon-bedrock-invocationMetrics", "type"];
    let member =
        (proptest::sample::select(keys.to_vec()), proptest::sample::select(values.to_vec()));
    let near = (proptest::sample::select(types.to_vec()), proptest::collection::vec(member, 0..4))
        .prop_map(|(kind, members)| {
            let mut json = format!(r#"{{"type":"{kind}""#);
            for (key, value) in members {
                json += &[",\"", key, "\":", value].concat();
            }
            (json + "}").into_bytes()
        });
    prop_oneof![near, proptest::collection::vec(any::<u8>(), 0..30)]
}

/// What the client is sent for a recorded stream, and how many events of it could be taken back
/// and how many could not.
fn golden(model: &str, chunks: &str, counts: [usize; 2]) -> (String, Stream) {
    let mut stream = Stream::new(model);
    let (mut opening, mut content, mut sent) = (0, 0, String::new());
    for chunk in chunks.lines() {
        match stream.event(chunk.as_bytes()).expect("a recorded chunk is JSON") {
            Event::Skip => {}
            event @ Event::Opening(_) => {
                assert_eq!(content, 0, "{event:?} after the commit point");
                opening += 1;
                sent += &text(event);
            }
            event @ Event::Content(_) => {
                content += 1;
                sent += &text(event);
            }
            Event::Failed(failure) => {
                let event = Failure::new(failure.kind(), failure.message()).into_event("req_test");
                sent += str::from_utf8(&event).expect("an event is text");
            }
        }
    }
    assert_eq!([opening, content], counts);
    (sent, stream)
}

fn text(event: Event) -> String {
    match event {
        Event::Opening(bytes) | Event::Content(bytes) => {
            String::from_utf8(bytes.into()).expect("an event is text")
        }
        Event::Skip | Event::Failed(_) => panic!("{event:?} has no bytes"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Meaning {
    Clients,
    BedrocksAlone,
    Passing(ErrorKind),
    Lasting(ErrorKind),
}

use Meaning::{BedrocksAlone, Clients, Lasting, Passing};

fn meaning_of(failure: &BedrockFailure) -> Meaning {
    match failure {
        BedrockFailure::Client { .. } => Clients,
        BedrockFailure::Refused { .. } => BedrocksAlone,
        BedrockFailure::Transient { kind, .. } | BedrockFailure::Unheard { kind, .. } => {
            Passing(*kind)
        }
        BedrockFailure::Permanent { kind, .. } => Lasting(*kind),
    }
}

/// Sentences as Bedrock writes them, under their exception, status and meaning.
const SENTENCES: [(&str, u16, Meaning, &[&str]); 12] = [
    (
        "ThrottlingException",
        429,
        Passing(RateLimit),
        &[
            "Too many tokens, please wait before trying again.",
            "Too many tokens per day, please wait before trying again.",
            "Too many requests, please wait before trying again.",
        ],
    ),
    (
        "ServiceUnavailableException",
        503,
        Passing(Overloaded),
        &["Bedrock is unable to process your request."],
    ),
    (
        "ValidationException",
        400,
        Clients,
        &[
            "prompt is too long: 210000 tokens > 200000 maximum",
            "Input is too long for requested model.",
            "Input is too long.",
            "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000",
            "max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens",
            "messages.2.content.0.image.source.base64.data: Could not process image",
            "messages.0.content.2.image.source.base64: image exceeds 5 MB maximum: 15908784 bytes > \
             5242880 bytes",
            "messages.52.content.1.tool_result.content.1.image.source.base64: image cannot be empty",
            "messages.0.content.0.image.source.base64.media_type: Input should be 'image/jpeg', \
             'image/png', 'image/gif' or 'image/webp'",
            "messages.0.content.0.image.source.base64.data: At least one of the image dimensions \
             exceed max allowed size: 8000 pixels",
            "messages.0.content.0.pdf.source.base64.data: The PDF specified was not valid.",
            "messages.2: `tool_use` ids were found without `tool_result` blocks immediately after: \
             toolu_1. Each `tool_use` block must have a corresponding `tool_result` block in the \
             next message.",
            "messages.0.content.1: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1. \
             Each `tool_result` block must have a corresponding `tool_use` block in the previous \
             message.",
            "messages: `tool_use` ids must be unique",
            "tools: Tool names must be unique.",
            "messages: roles must alternate between \"user\" and \"assistant\", but found multiple \
             \"user\" roles in a row",
            "messages: first message must use the \"user\" role",
            "messages.0.role: Input should be 'user' or 'assistant'",
            "messages: at least one message is required",
            "messages: text content blocks must be non-empty",
            "messages: text content blocks must contain non-whitespace text",
            "messages.1: all messages must have non-empty content except for the optional final \
             assistant message",
            "messages: final assistant content cannot end with trailing whitespace",
            "This model does not support assistant message prefill. The conversation must end with \
             a user message.",
            "temperature: Input should be less than or equal to 1",
            "temperature: range: 0..1",
            "temperature and top_p cannot both be specified for this model",
            "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
            "`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.",
            "`top_k` must be unset when thinking is enabled.",
            "stop_sequences.0: String should have at least 1 character",
            "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
            "messages.2.content.0.tool_result.tool_use_id: String should match pattern \
             '^[a-zA-Z0-9_-]+$'",
            "tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,64}$'",
            "tools.3.custom.input_schema: JSON schema is invalid. It must match JSON Schema draft \
             2020-12 (https://json-schema.org/draft/2020-12).",
            "tools.0.custom.input_schema.type: Input should be 'object'",
            "messages.0.content.1.image.source.base64.data: The image was specified using the \
             image/jpeg media type, but the image appears to be a image/png image",
            "max_tokens: Input should be greater than or equal to 1",
            "max_tokens: Field required",
            "messages.0.content: Field required",
            "tools.0.custom.input_schema: Field required",
            "messages.0.content: Input should be a valid list",
            "`max_tokens` must be greater than `thinking.budget_tokens`.",
            "`temperature` may only be set to 1 when thinking is enabled.",
            "Thinking may not be enabled when tool_choice forces tool use.",
            "messages.1.content.0: Invalid `signature` in `thinking` block",
            "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `text`.",
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
            "messages.0.content.0.text: cache_control cannot be set for empty text blocks",
            "Output blocked by content filtering policy",
        ],
    ),
    (
        "ValidationException",
        400,
        BedrocksAlone,
        &[
            "1 validation error detected: Value at 'body' failed to satisfy constraint: Member must \
             have length less than or equal to 25000000",
            "tools.0.custom.name: String should have at most 64 characters",
            "You invoked an unsupported model or your request did not allow prompt caching. See the \
             documentation for more information.",
            "Access to this model is not available for channel program accounts. Reach out to your \
             AWS Solution Provider or AWS Distributor for more information.",
            "context_management: Extra inputs are not permitted",
            "tools.0.custom.input_schema.properties.extra: Extra inputs are not permitted",
            "invalid beta flag",
            "Unexpected value(s) `a-2026-01-01` for the `anthropic-beta` header",
            "Malformed input request: #: extraneous key [speed] is not permitted",
            "Malformed input request: 2 schema violations found, please reformat your input and try \
             again.",
            "tool type 'web_search_20250305' is not supported for this model",
            "tools.0: Input tag 'memory_20250818' found using 'type' does not match any of the \
             expected tags: 'bash_20250124', 'custom'",
            "x-anthropic-billing-header is a reserved keyword and may not be used in the \
             system prompt.",
            "thinking.type: adaptive is not supported on this model",
            "The provided request is not valid",
            "a sentence that nobody has seen before",
            "",
        ],
    ),
    (
        "InvalidAction",
        400,
        BedrocksAlone,
        &[
            "The action or operation requested is invalid. Verify that the action is typed correctly.",
        ],
    ),
    (
        "ValidationException",
        400,
        Lasting(NotFound),
        &[
            "The provided model identifier is invalid.",
            "Invocation of model ID anthropic.claude-sonnet-5 with on-demand throughput isn't \
             supported. Retry your request with the ID or ARN of an inference profile that \
             contains this model.",
            "Invocation of model ID anthropic.claude-sonnet-5 with on-demand throughput isn’t \
             supported.",
            "The requested model doesn't support on-demand throughput.",
        ],
    ),
    (
        "ValidationException",
        400,
        Lasting(Permission),
        &[
            "data retention mode 'default' is not available for this model",
            "anthropic.claude-mythos-preview is not available for this account",
        ],
    ),
    (
        "ValidationException",
        400,
        Lasting(NotSupported),
        &["The provided model doesn't support counting tokens"],
    ),
    (
        "AccessDeniedException",
        403,
        Lasting(Permission),
        &[
            "You don't have access to the model with the specified model ID.",
            "anthropic.claude-mythos-preview is not available for this account",
            "Model access is denied due to IAM user or service role is not authorized to perform \
             the required AWS Marketplace actions. Your AWS Marketplace subscription for this \
             model cannot be completed at this time.",
        ],
    ),
    (
        "ResourceNotFoundException",
        404,
        Lasting(NotFound),
        &[
            "Model use case details have not been submitted for this account. Fill out the \
             Anthropic use case details form before using the model. Try again in 15 minutes.",
            "Access denied. This Model is marked by provider as Legacy and you have not been \
             actively using the model in the last 15 days.",
        ],
    ),
    (
        "UnrecognizedClientException",
        403,
        Lasting(Authentication),
        &["The security token included in the request is invalid."],
    ),
    (
        "InvalidSignatureException",
        403,
        Lasting(Authentication),
        &["Signature expired: 20261122T000000Z is now earlier than 20261122T001000Z"],
    ),
];

/// A service in between may answer with whatever it likes.
#[test]
fn of_an_endless_message_only_the_beginning_is_read() {
    let said = |words: &str| judge(Some(400), Some("ValidationException"), words);
    let late = format!("{} prompt is too long", "é".repeat(64 << 10));
    assert!(matches!(said(&late), BedrockFailure::Refused { .. }));
    let early = format!("prompt is too long {}", "é".repeat(64 << 10));
    assert!(matches!(said(&early), BedrockFailure::Client { .. }));
    assert!(said(&early).message().len() <= MAX_MESSAGE);
}
