//! Heads, targets, keys, hints, events of Lambda and of Bedrock: what a stranger or an upstream can
//! send before anybody has looked at it.

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder, write_message_to};
use aws_smithy_types::base64;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use bytes::{Bytes, BytesMut};
use function::access::{ProxyKey, Shown};
use function::caller::{
    Endpoint, Target, client_headers, fingerprint, seal, told_apart_by, upstream_headers,
};
use function::failover::cooldown::{LONGEST_COOLDOWN, Timestamp};
use function::failover::hint::{LimitedSubject, judge_failure, retry_after_seconds};
use function::failover::identity::{Fingerprint, ModelClass};
use function::failover::{Said, proof};
use function::messages::{ApiError, Asked, Opening};
use function::serve::lambda::event;
use function::wire::usage::Usage;
use http::{HeaderMap, HeaderName, Method, StatusCode, Uri};
use http_body_util::BodyExt;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::Config;
use serde_json::{Value, json};

use super::{CHUNKS, assert_streamed, broken, mixed};

const TARGETS: &str = include_str!("../../corpus/targets.txt");
const HEADERS: &str = include_str!("../../corpus/headers.txt");
const LIMITS: &str = include_str!("../../corpus/limits.txt");
const ERRORS: &str = include_str!("../../corpus/errors.txt");
const EVENTS: &str = include_str!("../../corpus/events.txt");

/// What means something in a target or in a header.
const PIECES: &[&[u8]] = &[
    b"/",
    b"//",
    b"%2F",
    b"%2f..",
    b"..",
    b"%2e",
    b"%",
    b"%25",
    b"?",
    b"&",
    b"=",
    b"#",
    b"+",
    b"\\",
    b"%00",
    b"/u/",
    b"/k/",
    b"claude-code-user=",
    b"path=",
    b"ccp_",
    b", ",
    b"| ",
    b": ",
    b"-",
    b"_",
    b"0",
    b"9999999999",
    b"rejected",
    b"unified-",
    b"5h",
    b"7d_opus",
    b"Bearer ",
    b"\t",
    b"\xc3\xa9",
];
const STATUSES: [u16; 9] = [200, 400, 401, 403, 429, 500, 504, 505, 529];

#[test]
fn every_line_from_outside_by_itself() {
    for target in TARGETS.lines() {
        for headers in HEADERS.lines() {
            assert_targeted(target.as_bytes(), headers.as_bytes());
        }
    }
    HEADERS.lines().for_each(|line| assert_carried(line.as_bytes()));
    for limits in LIMITS.lines() {
        for error in ERRORS.lines() {
            assert_judged(limits.as_bytes(), error.as_bytes(), 429);
        }
    }
    ERRORS.lines().for_each(|line| assert_read(line.as_bytes()));
    EVENTS.lines().for_each(|line| assert_requested(line.as_bytes()));
}

#[test]
fn the_corpus_reaches_what_it_is_for() {
    let targets = TARGETS.lines().filter_map(|line| line.parse::<Uri>().ok());
    let parsed = targets.map(|uri| Target::parse(&Method::POST, &uri, &HeaderMap::new()));
    let (good, bad): (Vec<_>, Vec<_>) = parsed.partition(Result::is_ok);
    assert!(good.len() >= 15 && bad.len() >= 15, "{} and {}", good.len(), bad.len());
    let events = EVENTS.lines().map(|line| event::request(line.as_bytes()).is_ok());
    assert!(events.filter(|good| *good).count() >= 3);
    let class = ModelClass::of("opus").unwrap();
    let body = ERRORS.lines().next().unwrap().as_bytes();
    let hints = LIMITS.lines().filter(|line| {
        let outcome = judge_failure(status(429), &headers(line.as_bytes()), body, &class, now());
        matches!(outcome, Said::Limited(limited) if limited.hint(now()).is_some())
    });
    assert!(hints.count() >= 6);
}

proptest! {
    #![proptest_config(Config { cases: Config::default().cases.max(2_000), ..Config::default() })]

    #[test]
    fn a_target(target in mixed(TARGETS, PIECES), headers in mixed(HEADERS, PIECES)) {
        assert_targeted(&target, &headers);
    }

    #[test]
    fn a_head(headers in mixed(HEADERS, PIECES)) {
        assert_carried(&headers);
    }

    #[test]
    fn a_hint(
        limits in mixed(LIMITS, PIECES), error in broken(ERRORS), code in select(&STATUSES[..]),
    ) {
        assert_judged(&limits, &error, code);
    }

    #[test]
    fn a_small_body(body in broken(ERRORS)) {
        assert_read(&body);
    }

    #[test]
    fn an_event_of_lambda(event in broken(EVENTS)) {
        assert_requested(&event);
    }

    #[test]
    fn a_key(text in "(ccp_)?[A-Za-z0-9_-]{0,70}[ -~]{0,2}") {
        assert_key(&text);
    }

    #[test]
    fn frames_of_bedrock(
        chunks in vec(broken(CHUNKS), 1..4),
        flips in vec((any::<Index>(), any::<u8>()), 0..3),
        cut in any::<Index>(),
        size in 1_usize..300,
    ) {
        assert_decoded(&chunks, &flips, (cut, size));
    }
}

/// Whatever is asked for, it goes to a plain path without labels, or nowhere.
#[track_caller]
fn assert_targeted(target: &[u8], lines: &[u8]) {
    let Ok(uri) = Uri::try_from(target) else { return };
    let headers = headers(lines);
    let shown = told_apart_by(&uri, &headers).concat();
    assert!(shown.len() <= target.len() + lines.len());
    let Ok(found) = Target::parse(&Method::POST, &uri, &headers) else { return };
    let sent = found.path_and_query.clone();
    assert!(sent.as_str().starts_with('/') && sent.as_str().len() <= target.len() + 1, "{sent}");
    for segment in sent.path().split('/').skip(1) {
        let plain = segment.replace("%2e", ".").replace("%2E", ".");
        assert!(plain != "." && plain != "..", "{sent}");
    }
    assert!(!sent.path().contains("//") && !sent.path().contains('\\'), "{sent}");
    assert!(!sent.path().starts_with("/u/") && !sent.path().starts_with("/k/"), "{sent}");
    let query = sent.query().unwrap_or_default();
    assert!(!query.split('&').any(|pair| pair.starts_with("claude-code-user=")), "{sent}");
    // What has no labels any more means the same again.
    let bare: Uri = sent.clone().into();
    let again = Target::parse(&Method::POST, &bare, &HeaderMap::new()).unwrap();
    assert_eq!((again.path_and_query, again.endpoint), (sent, found.endpoint));
    assert_eq!((again.user, again.key), (None, Shown::Nothing));
}

/// Whatever a head holds, nothing of this hop and nothing of ours travels on, and all else does.
#[track_caller]
fn assert_carried(lines: &[u8]) {
    let mut head = headers(lines);
    seal(&mut head);
    let before = fingerprint(&head);
    for endpoint in [Endpoint::Messages, Endpoint::Other] {
        let sent = upstream_headers(head.clone(), &endpoint);
        for name in sent.keys().map(HeaderName::as_str) {
            let stays = ["connection", "keep-alive", "te", "transfer-encoding", "upgrade", "host"];
            assert!(!stays.contains(&name), "{name}");
            let ours = ["x-claude-proxy-", "x-forwarded-", "x-amzn-", "x-amz-"];
            assert!(!ours.iter().any(|prefix| name.starts_with(prefix)), "{name}");
            assert!(name != "x-claude-code-user" && name != "proxy-authorization");
        }
        assert!(sent.len() <= head.len() + 1);
        if !head.contains_key("connection") {
            assert_eq!(fingerprint(&sent), before, "the credential arrives as it is");
        }
    }
    assert!(client_headers(head.clone()).len() <= head.len());
}

/// Whatever a refusal says, no limit lasts longer than six hours or has passed already.
#[track_caller]
fn assert_judged(lines: &[u8], error: &[u8], code: u16) {
    let (headers, class) = (headers(lines), ModelClass::of("claude-opus-5-5").unwrap());
    let hint = retry_after_seconds(&headers, now());
    assert!(hint.is_none() || headers.contains_key("retry-after"));
    let proof = proof::carried_by(status(code), &headers, true, now());
    assert!(proof.is_none() || headers.contains_key("request-id"));
    let outcome = judge_failure(status(code), &headers, error, &class, now());
    let Said::Limited(limited) = outcome else { return };
    assert!(code == 429 && headers.contains_key("request-id"));
    let fingerprint = Fingerprint::of(&[b"sk-ant-api03-test"]).unwrap();
    let whose = LimitedSubject { fingerprint, class: &class, model: "claude-opus-5-5", user: None };
    let ends = [&limited.account, &limited.class].into_iter().flatten().count();
    assert_eq!(limited.hint(now()).is_some(), ends > 0);
    for (_, limit) in limited.cooldowns(&whose, now()) {
        let left = limit.until.duration_since(now());
        assert!(!left.is_negative() && left.unsigned_abs() <= LONGEST_COOLDOWN, "{limit:?}");
        assert!(limit.reason.len() <= 64);
    }
}

#[track_caller]
fn assert_read(body: &[u8]) {
    if let Some(asked) = Asked::read(body) {
        assert!((1..=2048).contains(&asked.model.len()));
    }
    // One that says nothing of its kind is told in words of ours.
    let error = ApiError::read(body).filter(|error| !error.kind.is_empty());
    for name in [None, Some("ping"), Some("error"), Some("content_block_start")] {
        let opening = Opening::of(name, body);
        assert_eq!(matches!(opening, Opening::Failed(_)), name == Some("error"));
        if let (Opening::Failed(failed), Some(error)) = (opening, error.clone()) {
            assert_eq!(failed, error);
        }
    }
    Usage::found_in(body);
}

/// Whatever the platform sends, it is a refusal, or just the request that it describes.
#[track_caller]
fn assert_requested(sent: &[u8]) {
    let Ok(request) = event::request(sent) else { return };
    // What is not looked into may be no text, and this reader is stricter.
    let Ok(said) = serde_json::from_slice::<Value>(sent) else { return };
    let text = |name: &str| said[name].as_str().unwrap_or_default();
    let path = if text("rawPath").is_empty() { "/" } else { text("rawPath") };
    let query = text("rawQueryString");
    let target = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    assert_eq!(request.uri().to_string(), target);
    assert_eq!(request.method().as_str(), said["requestContext"]["http"]["method"]);
    let body = futures_util::FutureExt::now_or_never(request.into_body().collect());
    let body = body.unwrap().unwrap().to_bytes();
    if said["isBase64Encoded"] == true {
        assert_eq!(Ok(body.to_vec()), base64::decode(text("body")).map_err(drop));
    } else {
        assert_eq!(body, text("body").as_bytes());
    }
}

#[track_caller]
fn assert_key(text: &str) {
    let rest = text.strip_prefix("ccp_").unwrap_or_default();
    let word = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let good = word && (43..=64).contains(&rest.len());
    assert_eq!(text.parse::<ProxyKey>().is_ok(), good, "{text}");
    let shown = Shown::of([text.as_bytes()]);
    assert_eq!(matches!(shown, Shown::Key(_)), good);
    assert_eq!(Shown::of([text.as_bytes(), text.as_bytes()]), shown, "the same twice is the same");
    let other = Shown::of([text.as_bytes(), b"ccp_"]);
    assert_eq!(other, Shown::Malformed);
}

/// Whatever comes of Bedrock's frames, what is decoded is translated whole, or not at all.
#[track_caller]
fn assert_decoded(chunks: &[Vec<u8>], flips: &[(Index, u8)], (cut, size): (Index, usize)) {
    let mut sent = Vec::new();
    for chunk in chunks {
        let text = |value: &str| HeaderValue::String(value.to_owned().into());
        let payload = json!({"bytes": base64::encode(chunk), "p": "abc"}).to_string();
        let message = Message::new(Bytes::from(payload))
            .add_header(Header::new(":event-type", text("chunk")))
            .add_header(Header::new(":message-type", text("event")));
        write_message_to(&message, &mut sent).unwrap();
    }
    for (at, mask) in flips {
        let at = at.index(sent.len());
        sent[at] ^= mask;
    }
    sent.truncate(sent.len() - cut.index(sent.len()) / 8);
    let (mut decoder, mut buffer) = (MessageFrameDecoder::new(), BytesMut::new());
    let mut decoded = Vec::new();
    'pieces: for piece in sent.chunks(size) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode_frame(&mut buffer) {
                Ok(DecodedFrame::Complete(message)) => {
                    let payload: Value = serde_json::from_slice(message.payload()).unwrap();
                    let bytes = base64::decode(payload["bytes"].as_str().unwrap()).unwrap();
                    decoded.push(String::from_utf8_lossy(&bytes).into_owned());
                }
                Ok(_) => break,
                Err(_) => break 'pieces,
            }
        }
    }
    assert!(decoded.len() <= chunks.len());
    for (came, was) in decoded.iter().zip(chunks) {
        assert_eq!(*came, String::from_utf8_lossy(was), "a damaged frame is no frame");
    }
    assert_streamed(&decoded.iter().map(String::as_str).collect::<Vec<_>>());
}

/// The head of a line: fields apart by `|`; what is no field is left out.
fn headers(line: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("request-id", "req_1".parse().unwrap());
    for field in line.split(|byte| *byte == b'|') {
        let Some(at) = field.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(field[..at].trim_ascii());
        let value = http::HeaderValue::from_bytes(field[at + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

fn now() -> Timestamp {
    "2026-11-26T09:00:00Z".parse().unwrap()
}
