//! Who asks and for what: the forms that requests come in, and the tricks that are refused.

#![expect(
    clippy::unwrap_used,
    clippy::unwrap_in_result,
    reason = "a test that cannot build its input has to fail"
)]

use function::access::Shown;
use function::caller::{
    Endpoint, InvalidTarget, Source, Target, User, client_headers, fingerprint, seal,
    told_apart_by, upstream_headers,
};
use function::failover::identity::Fingerprint;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use proptest::prelude::*;

const KEY: &str = "sk-ant-api03-test";

// Targets

/// Request lines as Claude Code 2.1.330 and the Python and TypeScript SDKs (0.60 to 2.12) sent
/// them, and what they mean. `-` is no user.
const RECORDED: &[(&str, &str, &str, Endpoint)] = &[
    // A base URL without tricks.
    ("POST /v1/messages?beta=true", "-", "/v1/messages?beta=true", Endpoint::Messages),
    ("POST /v1/messages", "-", "/v1/messages", Endpoint::Messages),
    (
        "POST /v1/messages/count_tokens?beta=true",
        "-",
        "/v1/messages/count_tokens?beta=true",
        Endpoint::CountTokens,
    ),
    ("HEAD /api/hello", "-", "/api/hello", Endpoint::Other),
    ("GET /v1/models?limit=1000", "-", "/v1/models?limit=1000", Endpoint::Other),
    // The name in the path.
    ("POST /u/alice/v1/messages?beta=true", "alice", "/v1/messages?beta=true", Endpoint::Messages),
    (
        "POST /u/alice%40example.com/v1/messages?beta=true",
        "alice@example.com",
        "/v1/messages?beta=true",
        Endpoint::Messages,
    ),
    // A default query.
    ("POST /v1/messages?claude-code-user=alice", "alice", "/v1/messages", Endpoint::Messages),
    // A base URL with a query, escaped.
    (
        "POST /?claude-code-user=alice%2Fv1%2Fmessages%3Fbeta%3Dtrue",
        "alice",
        "/v1/messages?beta=true",
        Endpoint::Messages,
    ),
    ("POST /?claude-code-user=alice%2Fv1%2Fmessages", "alice", "/v1/messages", Endpoint::Messages),
    (
        "POST /?claude-code-user=alice%2Fv1%2Fmessages%2Fcount_tokens",
        "alice",
        "/v1/messages/count_tokens",
        Endpoint::CountTokens,
    ),
    ("GET /?claude-code-user=alice%2Fv1%2Fmodels", "alice", "/v1/models", Endpoint::Other),
    // The same, unescaped.
    ("HEAD /?claude-code-user=alice/api/hello", "alice", "/api/hello", Endpoint::Other),
    (
        "GET /?claude-code-user=alice/v1/models?limit=1000",
        "alice",
        "/v1/models?limit=1000",
        Endpoint::Other,
    ),
    ("POST /?claude-code-user=alice/v1/messages", "alice", "/v1/messages", Endpoint::Messages),
    (
        "POST /?claude-code-user=alice/v1/messages?beta=true",
        "alice",
        "/v1/messages?beta=true",
        Endpoint::Messages,
    ),
    (
        "POST /?claude-code-user=alice/v1/messages/count_tokens",
        "alice",
        "/v1/messages/count_tokens",
        Endpoint::CountTokens,
    ),
    ("GET /?claude-code-user=alice/v1/models", "alice", "/v1/models", Endpoint::Other),
    // A parameter that is there to swallow the path.
    (
        "POST /?claude-code-user=alice&path=%2Fv1%2Fmessages%3Fbeta%3Dtrue",
        "alice",
        "/v1/messages?beta=true",
        Endpoint::Messages,
    ),
    // A base URL with an empty fragment: the path is lost altogether.
    ("POST /?claude-code-user=alice", "alice", "/", Endpoint::Other),
    ("POST /v1/v1/messages?beta=true", "-", "/v1/v1/messages?beta=true", Endpoint::Other),
];

/// Forms that follow from the rules, not recorded.
const DERIVED: &[(&str, &str, &str, Endpoint)] = &[
    // The path decides, to the letter, and only for POST.
    ("GET /v1/messages", "-", "/v1/messages", Endpoint::Other),
    ("POST /v1/messages/", "-", "/v1/messages/", Endpoint::Other),
    ("POST /v1/%6dessages", "-", "/v1/%6dessages", Endpoint::Other),
    ("POST /V1/messages", "-", "/V1/messages", Endpoint::Other),
    ("DELETE /v1/files/a%20b@c;d=%3F", "-", "/v1/files/a%20b@c;d=%3F", Endpoint::Other),
    ("GET /.well-known/...", "-", "/.well-known/...", Endpoint::Other),
    ("GET /users/alice/v1", "-", "/users/alice/v1", Endpoint::Other),
    // Queries keep every byte that is not a label.
    ("POST /v1/messages?", "-", "/v1/messages?", Endpoint::Messages),
    (
        "POST /v1/messages?a=%2F..//&&b=%zz",
        "-",
        "/v1/messages?a=%2F..//&&b=%zz",
        Endpoint::Messages,
    ),
    (
        "POST /v1/messages?a=1&claude-code-user=a+b&b=%41",
        "a+b",
        "/v1/messages?a=1&b=%41",
        Endpoint::Messages,
    ),
    ("POST /v1/messages?claude%2Dcode-use%72=alice", "alice", "/v1/messages", Endpoint::Messages),
    (
        "POST /v1/messages?claude-code-user=alice&claude-code-user=/bob",
        "alice",
        "/v1/messages",
        Endpoint::Messages,
    ),
    ("GET /?next=/v1/messages", "-", "/?next=/v1/messages", Endpoint::Other),
    // Path before query.
    (
        "POST /u/alice/v1/messages?claude-code-user=bob!",
        "alice",
        "/v1/messages",
        Endpoint::Messages,
    ),
    ("GET /u/alice", "alice", "/", Endpoint::Other),
    ("GET /u/alice/", "alice", "/", Endpoint::Other),
    ("POST /%75/alice/v1/messages", "alice", "/v1/messages", Endpoint::Messages),
    // Swallowed paths beside other parameters and behind a name in the path.
    (
        "POST /u/alice?claude-code-user=bob%2Fv1%2Fmessages%3Fbeta%3Dtrue",
        "alice",
        "/v1/messages?beta=true",
        Endpoint::Messages,
    ),
    (
        "POST /u/alice/?claude-code-user=bob/v1/messages",
        "alice",
        "/v1/messages",
        Endpoint::Messages,
    ),
    (
        "POST /?team=x&claude-code-user=alice%2fv1%2fmessages%3fbeta%3dtrue&limit=1",
        "alice",
        "/v1/messages?team=x&beta=true&limit=1",
        Endpoint::Messages,
    ),
    (
        "GET /?claude-code-user=alice/v1/models?limit=1000&after_id=a%2Fb",
        "alice",
        "/v1/models?limit=1000&after_id=a%2Fb",
        Endpoint::Other,
    ),
    (
        "POST /?claude-code-user=alice&team=x%2Fv1%2Fmessages%3Fbeta%3Dtrue",
        "alice",
        "/v1/messages?team=x&beta=true",
        Endpoint::Messages,
    ),
    (
        "POST /?claude-code-user=alice&path=/v1/messages?beta=true",
        "alice",
        "/v1/messages?beta=true",
        Endpoint::Messages,
    ),
    (
        "POST /?next=/x&claude-code-user=alice%2Fv1%2Fmessages",
        "alice",
        "/v1/messages?next=/x",
        Endpoint::Messages,
    ),
    // Escaped, all but the slashes.
    (
        "POST /?claude-code-user=alice/v1/messages%3Fbeta%3Dtrue",
        "alice",
        "/v1/messages?beta=true",
        Endpoint::Messages,
    ),
    // One decoding: `+` stays, what is escaped inside stays escaped.
    (
        "GET /?claude-code-user=a+b%40c%2Fv1%2Fx%2520y%3Fq%3D1%252B1%26r%3D%2B",
        "a+b@c",
        "/v1/x%20y?q=1%2B1&r=+",
        Endpoint::Other,
    ),
    // A second name inside does not get through either.
    (
        "POST /?claude-code-user=alice%2Fv1%2Fmessages%3Fclaude-code-user%3Dbob",
        "alice",
        "/v1/messages",
        Endpoint::Messages,
    ),
];

#[test]
fn every_recorded_form_gives_the_well_formed_target() {
    assert_table(RECORDED);
}

#[test]
fn labels_are_taken_off_and_everything_else_stays_to_the_byte() {
    assert_table(DERIVED);
}

#[test]
fn a_target_without_labels_is_not_copied() {
    let uri: Uri = "/v1/messages?beta=true".parse().unwrap();
    let target = Target::parse(&Method::POST, &uri, &HeaderMap::new()).unwrap();
    let original = uri.path_and_query().unwrap().as_str();
    assert!(std::ptr::eq(target.path_and_query.as_str(), original));
}

#[test]
fn a_query_without_a_path_belongs_to_the_root() {
    let mut parts = http::uri::Parts::default();
    parts.path_and_query = Some("?a=1".parse().unwrap());
    let uri = Uri::from_parts(parts).unwrap();
    let target = Target::parse(&Method::GET, &uri, &HeaderMap::new()).unwrap();
    assert_eq!(target.path_and_query.as_str(), "/?a=1");
}

#[test]
fn paths_that_could_be_read_in_two_ways_are_refused() {
    for (path, refused) in [
        ("//", InvalidTarget::EmptySegment),
        ("//evil.example/v1/messages", InvalidTarget::EmptySegment),
        ("/v1//messages", InvalidTarget::EmptySegment),
        ("/v1/messages//", InvalidTarget::EmptySegment),
        ("/.", InvalidTarget::DotSegment),
        ("/..", InvalidTarget::DotSegment),
        ("/v1/../v1/messages", InvalidTarget::DotSegment),
        ("/v1/./messages", InvalidTarget::DotSegment),
        ("/v1/messages/..", InvalidTarget::DotSegment),
        ("/v1/%2e%2E/messages", InvalidTarget::DotSegment),
        ("/v1/.%2e/messages", InvalidTarget::DotSegment),
        ("/v1/%2E/messages", InvalidTarget::DotSegment),
        ("/v1%2Fmessages", InvalidTarget::EscapedSlash),
        ("/v1%2fmessages", InvalidTarget::EscapedSlash),
        ("/v1%5Cmessages", InvalidTarget::EscapedSlash),
        ("/v1%5cmessages", InvalidTarget::EscapedSlash),
        ("/v1\\messages", InvalidTarget::EscapedSlash),
        ("/\\evil.example", InvalidTarget::EscapedSlash),
        ("/v1/messages%00", InvalidTarget::ControlCharacter),
        ("/v1/messages%0d%0aHost:x", InvalidTarget::ControlCharacter),
        ("/v1/%1f", InvalidTarget::ControlCharacter),
        ("/v1/%7F", InvalidTarget::ControlCharacter),
        ("/v1/%", InvalidTarget::BrokenEscape),
        ("/v1/%2", InvalidTarget::BrokenEscape),
        ("/v1/%%32e", InvalidTarget::BrokenEscape),
        ("/v1/%+1", InvalidTarget::BrokenEscape),
    ] {
        assert_refused(path, refused);
        assert_refused(&format!("/u/alice{path}?a=1"), refused);
        assert_refused(&format!("/?claude-code-user=alice{path}"), refused);
        assert_refused(&format!("/?claude-code-user=alice{}", escape(path, "")), refused);
        assert_refused(&format!("/?path={}&claude-code-user=alice", escape(path, "")), refused);
    }
}

#[test]
fn a_target_with_an_authority_is_refused() {
    for uri in [
        "http://evil.example/v1/messages",
        "https://api.anthropic.com@evil.example/v1/messages",
        "http://evil.example",
        "evil.example:443",
        "alice@evil.example:443",
        "*",
    ] {
        assert_refused(uri, InvalidTarget::NotAPath);
    }
}

#[test]
fn a_label_behind_a_label_is_refused() {
    for uri in [
        "/u/alice/u/bob/v1/messages",
        "/u/alice/k/ccp_test/v1/messages",
        "/?claude-code-user=alice%2Fu%2Fbob%2Fv1%2Fmessages",
        "/?claude-code-user=alice/k/ccp_test/v1/messages",
        "/?claude-code-user=alice%2F%2575%2Fbob",
    ] {
        assert_refused(uri, InvalidTarget::LabelLeft);
    }
}

#[test]
fn a_key_is_taken_off_the_head_of_the_path_and_out_of_its_header() {
    let key = format!("ccp_{}", "5".repeat(64));
    let shown = Shown::Key(Fingerprint::of(&[key.as_bytes()]).unwrap());
    let expected = |user: Option<&str>| Target {
        user: user.map(|user| user.parse().unwrap()),
        key: shown,
        path_and_query: "/v1/messages?beta=true".parse().unwrap(),
        endpoint: Endpoint::Messages,
    };
    let sent = map(&[("x-claude-proxy-key", &key)]);
    let none = HeaderMap::new();
    for (target, headers, user) in [
        (format!("/k/{key}/v1/messages?beta=true"), &none, None),
        (format!("/%6B/{key}/v1/messages?beta=true"), &none, None),
        (format!("/k/{key}/u/alice/v1/messages?beta=true"), &none, Some("alice")),
        (format!("/k/{key}/v1/messages?beta=true&claude-code-user=alice"), &none, Some("alice")),
        (
            format!("/k/{key}?claude-code-user=alice%2Fv1%2Fmessages%3Fbeta%3Dtrue"),
            &none,
            Some("alice"),
        ),
        ("/v1/messages?beta=true".to_owned(), &sent, None),
        (format!("/k/{key}/v1/messages?beta=true"), &sent, None),
    ] {
        assert_eq!(parse("POST", &target, headers), Ok(expected(user)), "{target}");
    }
}

#[test]
fn what_is_no_key_or_two_of_them_is_neither() {
    let key = |digit: &str| format!("ccp_{}", digit.repeat(64));
    let parse = |target: &str, headers: &HeaderMap| parse("POST", target, headers).unwrap().key;
    for target in ["/k", "/k/", "/k/alice/v1/messages", "/k/ccp_/v1", "/k/ccp_%35%35/v1"] {
        assert_eq!(parse(target, &HeaderMap::new()), Shown::Malformed, "{target}");
    }
    let target = format!("/k/{}/v1/messages", key("5"));
    for other in [key("6"), String::new(), "ccp_\u{e9}".to_owned()] {
        let value = HeaderValue::from_bytes(other.as_bytes()).unwrap();
        let sent = HeaderMap::from_iter([("x-claude-proxy-key".parse().unwrap(), value)]);
        assert_eq!(parse(&target, &sent), Shown::Malformed, "{other}");
    }
    let twice = map(&[("x-claude-proxy-key", &key("5")), ("x-claude-proxy-key", &key("6"))]);
    assert_eq!(parse("/v1/messages", &twice), Shown::Malformed);
}

#[test]
fn what_is_secret_in_a_head_is_not_shown() {
    let mut headers = map(&[
        ("authorization", "Bearer canary"),
        ("x-api-key", "canary"),
        ("cookie", "canary"),
        ("proxy-authorization", "canary"),
        ("x-claude-proxy-key", "canary"),
        ("anthropic-version", "2023-06-01"),
    ]);
    seal(&mut headers);
    let shown = format!("{headers:?}");
    assert!(!shown.contains("canary") && shown.contains("2023-06-01"), "{shown}");
    let target = parse("GET", "/v1/files?key=canary", &HeaderMap::new());
    assert!(!format!("{target:?}").contains("canary"), "{target:?}");
}

#[test]
fn a_swallowed_target_that_no_client_can_have_meant_is_refused() {
    for uri in [
        "/?claude-code-user=alice%2Fv1%2Fmessages%23top",
        "/?claude-code-user=alice%2Fv1%2Fmes%20sages",
        "/?claude-code-user=alice%2Fv1%3Fa%3D%0a",
        "/?claude-code-user=alice%2Fv1%2F%FF",
    ] {
        assert_refused(uri, InvalidTarget::Swallowed);
    }
}

#[test]
fn nothing_is_recovered_behind_a_path_of_its_own() {
    let uri = "/p?claude-code-user=alice%2Fv1%2Fmessages%3Fbeta%3Dtrue";
    assert_refused(uri, InvalidTarget::User(Source::Query));
}

// Users

#[test]
fn a_user_is_1_to_64_of_a_few_characters() {
    let longest = "a".repeat(64);
    for name in ["a", "Alice.B_c@example.com+x-1", "..", &longest] {
        assert_eq!(name.parse::<User>().unwrap().as_str(), name);
        assert_eq!(name.parse::<User>().unwrap().to_string(), name);
    }
    let too_long = "a".repeat(65);
    for name in ["", &too_long, "a b", "a/b", "a%40b", "é", "a\0", "a\n", "a,b", "a:b"] {
        assert!(name.parse::<User>().is_err(), "{name:?}");
    }
}

#[test]
fn a_name_that_is_none_is_refused_wherever_it_stands() {
    for name in ["", "a%20b", "a%2540b", "a%00", "a!b", "%FF", "a%", &"a".repeat(65)] {
        let query = InvalidTarget::User(Source::Query);
        assert_refused(&format!("/v1/messages?claude-code-user={name}"), query);
        assert_refused(&format!("/?claude-code-user={name}%2Fv1%2Fmessages"), query);
        assert_refused(&format!("/?claude-code-user={name}/v1/messages"), query);
        assert_refused(&format!("/u/alice?claude-code-user={name}/v1/messages"), query);
    }
    assert_refused("/v1/messages?claude-code-user", InvalidTarget::User(Source::Query));
    for path in ["/u", "/u/", "/u/a%20b/v1/messages", "/u/a!b", "/u/%C3%A9/v1/messages"] {
        assert_refused(path, InvalidTarget::User(Source::Path));
    }
    for name in ["", "a b", "a%40b", "é"] {
        let refused = parse("POST", "/v1/messages", &user_header(name)).unwrap_err();
        assert_eq!(refused, InvalidTarget::User(Source::Header), "{name:?}");
    }
}

#[test]
fn the_path_names_the_user_before_the_header_and_the_header_before_the_query() {
    let headers = user_header("header");
    for (target, user) in [
        ("/u/path/v1/messages?claude-code-user=query", "path"),
        ("/v1/messages?claude-code-user=query", "header"),
        ("/?claude-code-user=query%2Fv1%2Fmessages", "header"),
        ("/v1/messages", "header"),
    ] {
        let target = parse("POST", target, &headers).unwrap();
        assert_eq!(target.user.unwrap().as_str(), user);
        assert_eq!(target.path_and_query.as_str(), "/v1/messages");
    }
    let ignored = parse("POST", "/u/path/v1/messages", &user_header("not a name")).unwrap();
    assert_eq!(ignored.user.unwrap().as_str(), "path");
}

#[test]
fn a_refusal_says_where_and_what_to_do_and_repeats_nothing() {
    let refused = parse("POST", "/u/se%20cret/v1", &HeaderMap::new()).unwrap_err().to_string();
    assert_eq!(
        refused,
        "a user name is 1 to 64 of A-Z a-z 0-9 . _ @ + -; the one in the path (/u/NAME) is not: \
         use the base URL https://HOST/u/NAME"
    );
}

// Credentials

#[test]
fn a_fingerprint_is_of_the_credential_alone() {
    let expected = Fingerprint::of(&[KEY.as_bytes()]);
    for headers in [
        &[("x-api-key", KEY)] as &[_],
        &[("authorization", "Bearer sk-ant-api03-test")],
        &[("authorization", "bEARER   sk-ant-api03-test ")],
        &[("authorization", "Bearer\tsk-ant-api03-test")],
        &[("authorization", KEY)],
        &[("x-api-key", KEY), ("authorization", "Bearer sk-ant-api03-test")],
        &[("x-api-key", KEY), ("x-api-key", KEY)],
        &[("x-api-key", KEY), ("authorization", "Bearer ")],
        &[("x-api-key", KEY), ("x-claude-code-user", "alice"), ("x-claude-proxy-key", "ccp_test")],
    ] {
        assert_eq!(fingerprint(&map(headers)), expected, "{headers:?}");
    }
}

#[test]
fn every_different_credential_counts() {
    let both = fingerprint(&map(&[("x-api-key", "b"), ("authorization", "Bearer a")]));
    assert_eq!(both, Fingerprint::of(&[b"a", b"b"]));
    assert_eq!(both, fingerprint(&map(&[("x-api-key", "a"), ("authorization", "Bearer b")])));
    assert_eq!(both, fingerprint(&map(&[("x-api-key", "a"), ("x-api-key", "b")])));
    assert_ne!(both, fingerprint(&map(&[("x-api-key", "a")])));
}

#[test]
fn another_scheme_is_part_of_the_credential() {
    let basic = fingerprint(&map(&[("authorization", "Basic YWxpY2U6")]));
    assert_eq!(basic, Fingerprint::of(&[b"Basic YWxpY2U6"]));
    let glued = fingerprint(&map(&[("authorization", "Bearersk-test")]));
    assert_eq!(glued, Fingerprint::of(&[b"Bearersk-test"]));
}

#[test]
fn empty_headers_are_no_credential() {
    for headers in [
        &[] as &[_],
        &[("x-api-key", "")],
        &[("x-api-key", "  "), ("authorization", "Bearer")],
        &[("authorization", "Bearer  ")],
        &[("x-claude-proxy-key", "ccp_test"), ("cookie", "a=b"), ("proxy-authorization", "a")],
    ] {
        assert_eq!(fingerprint(&map(headers)), None, "{headers:?}");
    }
}

// Headers

/// The headers of a prompt of Claude Code, in wire order, with what its gateway options add.
const PROMPT: &[(&str, &str)] = &[
    ("accept", "application/json"),
    ("content-type", "application/json"),
    ("user-agent", "claude-cli/2.1.330 (external, sdk-cli)"),
    ("x-claude-code-session-id", "00000000-0000-4000-8000-000000000001"),
    ("x-foo", "bar"),
    ("x-stainless-retry-count", "0"),
    ("anthropic-beta", "oauth-2025-04-20,effort-2025-11-24"),
    ("anthropic-beta", "a-second-line"),
    ("anthropic-not-yet-known", "1"),
    ("anthropic-version", "2023-06-01"),
    ("x-api-key", KEY),
    ("authorization", "Bearer sk-ant-oat01-test"),
    ("x-claude-code-request-class", "main"),
    ("x-app", "cli"),
    ("cookie", "a=b"),
];

/// What goes no further than this proxy.
const LEFT_HERE: &[(&str, &str)] = &[
    ("connection", "keep-alive, X-Named"),
    ("connection", "close , \tx-named-too"),
    ("x-named", "1"),
    ("x-named-too", "1"),
    ("keep-alive", "timeout=5"),
    ("proxy-connection", "keep-alive"),
    ("te", "trailers"),
    ("trailer", "x-checksum"),
    ("transfer-encoding", "chunked"),
    ("upgrade", "h2c"),
    ("proxy-authenticate", "Basic"),
    ("proxy-authorization", "Basic dGVzdA=="),
    ("expect", "100-continue"),
    ("host", "proxy.example.com"),
    ("content-length", "48708"),
    ("x-claude-code-user", "alice"),
    ("x-claude-proxy-key", "ccp_test"),
    ("x-claude-proxy-anything", "1"),
    ("x-forwarded-for", "192.0.2.1"),
    ("x-forwarded-proto", "https"),
    ("forwarded", "for=192.0.2.1"),
    ("x-amzn-trace-id", "Root=1-0-0"),
    ("x-amzn-tls-version", "TLSv1.3"),
    ("x-amz-security-token", "test"),
];

#[test]
fn every_end_to_end_header_goes_to_anthropic_in_order() {
    for endpoint in [Endpoint::Messages, Endpoint::CountTokens, Endpoint::Other] {
        let headers = map(&interleaved(PROMPT, LEFT_HERE));
        let mut sent = list(&upstream_headers(headers.clone(), &endpoint));
        if endpoint != Endpoint::Other {
            assert_eq!(sent.pop(), Some(("accept-encoding".into(), "identity".into())));
        }
        assert_eq!(sent, list(&map(PROMPT)));
    }
}

#[test]
fn only_the_two_messages_calls_ask_for_an_uncompressed_answer() {
    let asked = &[
        ("accept", "a"),
        ("accept-encoding", "gzip"),
        ("accept-encoding", "br"),
        ("connection", "accept-encoding"),
        ("x-app", "cli"),
    ];
    let uncompressed = map(&[("accept", "a"), ("x-app", "cli"), ("accept-encoding", "identity")]);
    for endpoint in [Endpoint::Messages, Endpoint::CountTokens] {
        assert_eq!(upstream_headers(map(asked), &endpoint), uncompressed);
        assert_eq!(upstream_headers(map(&asked[..3]), &endpoint)["accept-encoding"], "identity");
        assert_eq!(upstream_headers(map(&asked[..3]), &endpoint).len(), 2);
    }
    let other = map(&asked[..3]);
    assert_eq!(upstream_headers(other.clone(), &Endpoint::Other), other);
}

#[test]
fn an_answer_keeps_every_end_to_end_header() {
    let kept = &[
        ("content-type", "text/event-stream"),
        ("content-encoding", "gzip"),
        ("request-id", "req_test"),
        ("retry-after", "30"),
        ("anthropic-ratelimit-unified-status", "rejected"),
        ("anthropic-organization-id", "test"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("x-amzn-trace-id", "1"),
    ];
    let dropped = &[
        ("connection", "close, x-named"),
        ("x-named", "1"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "timeout=5"),
        ("trailer", "x"),
        ("x-claude-proxy-upstream", "bedrock"),
        ("x-claude-proxy-until", "2030-01-01T00:00:00Z"),
    ];
    assert_eq!(list(&client_headers(map(&interleaved(kept, dropped)))), list(&map(kept)));
}

#[test]
fn of_two_lengths_of_an_answer_the_coding_is_true() {
    let length = ("content-length", "17");
    let both = client_headers(map(&[length, ("transfer-encoding", "chunked")]));
    assert_eq!(list(&both), list(&map(&[])));
    assert_eq!(list(&client_headers(map(&[length]))), list(&map(&[length])));
}

// Properties

#[test]
fn callers_are_told_apart_by_their_key_else_by_their_credentials() {
    let of = |target: &str, headers: &HeaderMap| {
        told_apart_by(&target.parse().unwrap(), headers).map(<[u8]>::to_vec)
    };
    let both = map(&[("x-api-key", "a"), ("authorization", "Bearer b")]);
    assert_eq!(of("/v1/messages", &both), [b"a".to_vec(), b"Bearer b".to_vec()]);
    assert_eq!(of("/v1/messages", &HeaderMap::new()), [b"", b""]);
    let keyed = map(&[("x-api-key", "a"), ("x-claude-proxy-key", "ccp_1")]);
    assert_eq!(of("/v1/messages", &keyed), [b"ccp_1".to_vec(), b"".to_vec()]);
    assert_eq!(of("/k/ccp_1/u/ada/v1/messages", &both), [b"ccp_1".to_vec(), b"".to_vec()]);
    assert_eq!(of("/kk/ccp_1", &both), of("/v1/messages", &both));
}

proptest! {
    #[test]
    fn every_mangled_form_means_the_same_as_the_well_formed_one(
        user in "[A-Za-z0-9_@+-][A-Za-z0-9._@+-]{0,63}",
        path in "(/[A-Za-tv-z0-9_~:@+-]([A-Za-z0-9._~:@+-]|%20|%3F|%25|%C3%A9){0,6}){1,4}/?",
        query in proptest::option::of("([a-z]{1,3}=([a-z0-9+/?:@.]|%2F|%26|%20|%25){0,5}&?){0,3}"),
    ) {
        prop_assume!(!path.starts_with("/k/") && path != "/k");
        let target = match &query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let well_formed = parse("POST", &format!("/u/{user}{target}"), &HeaderMap::new()).unwrap();
        prop_assert_eq!(well_formed.user.as_ref().unwrap().as_str(), &user);
        prop_assert_eq!(well_formed.path_and_query.as_str(), &target);

        let with_header = parse("POST", &target, &user_header(&user)).unwrap();
        prop_assert_eq!(&with_header, &well_formed);

        let name = escape(&user, "");
        let whole = escape(&format!("{user}{target}"), "");
        let mut forms = vec![
            format!("/?claude-code-user={whole}"),
            format!("/?claude-code-user={}", whole.replace("%2F", "%2f").replace("%3F", "%3f")),
            format!("/?claude-code-user={name}&path={}", escape(&target, "")),
            format!("/?claude%2dcode%2duser={name}&path={}", escape(&target, "")),
            format!("/u/{name}/?claude-code-user={whole}"),
            format!("/u/{user}?claude-code-user=somebody.else{}", escape(&target, "")),
        ];
        if query.is_none() {
            forms.push(format!("{target}?claude-code-user={name}"));
        } else {
            // Where there is no query, an escaped question mark could be meant either way.
            forms.push(format!("/?claude-code-user={user}{}", escape(&target, "/")));
            forms.push(target.replacen('?', &format!("?claude-code-user={name}&"), 1));
        }
        if query.is_some() || !target.contains("%3F") {
            forms.push(format!("/?claude-code-user={user}{target}"));
            forms.push(format!("/?claude-code-user={user}&path={target}"));
        }
        for form in forms {
            let target = parse("POST", &form, &HeaderMap::new());
            prop_assert_eq!(target.as_ref(), Ok(&well_formed), "{}", form);
        }
    }

    #[test]
    fn no_target_panics_and_no_label_gets_through(
        parts in proptest::collection::vec(proptest::sample::select(vec![
            "/", "/", "/u/", "/k/", "u", "%75", "alice", "v1/messages", "?", "?", "&", "=", ".",
            "%2F", "%2f", "%3F", "%26", "%25", "%2e", "%", "%00", "%23", "\\", "@", "+", ":", "é",
            "%C3", "claude-code-user=", "claude%2Dcode-user=", "claude-code-user", "path=",
        ]), 0..14),
        arbitrary in "/\\PC{0,40}",
    ) {
        for line in [format!("/{}", parts.concat()), parts.concat(), arbitrary] {
            let Ok(uri) = line.parse::<Uri>() else { continue };
            let target = Target::parse(&Method::POST, &uri, &HeaderMap::new());
            let Ok(target) = target else { continue };
            let path_and_query = target.path_and_query.as_str();
            prop_assert!(path_and_query.starts_with('/'));
            let again = parse("POST", path_and_query, &HeaderMap::new());
            let unlabelled = Target { user: None, key: Shown::Nothing, ..target.clone() };
            prop_assert_eq!(again, Ok(unlabelled), "{}", line);
        }
    }

    #[test]
    fn no_header_panics_and_nothing_of_ours_gets_through(
        fields in proptest::collection::vec((
            "(connection|te|host|x-claude-proxy-[a-z]{1,3}|x-amzn-[a-z]|authorization|x-[a-c])",
            "(bearer|x-[a-c]|[ ,\\t]|[a-z\u{e9}]{0,3}){0,6}",
        ), 0..12),
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in &fields {
            let name: HeaderName = name.parse().unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let _: Option<Fingerprint> = fingerprint(&headers);
        let sent = upstream_headers(headers.clone(), &Endpoint::Messages);
        for name in sent.keys().filter(|name| *name != "accept-encoding") {
            let kept = name == "authorization" || (name.as_str().len() == 3);
            prop_assert!(kept, "{}", name);
            let values = |headers: &HeaderMap| {
                headers.get_all(name).iter().cloned().collect::<Vec<_>>()
            };
            prop_assert_eq!(values(&sent), values(&headers));
        }
        let received = client_headers(headers);
        prop_assert!(received.keys().all(|name| !name.as_str().starts_with("x-claude-proxy-")));
    }
}

// Helpers

fn parse(method: &str, target: &str, headers: &HeaderMap) -> Result<Target, InvalidTarget> {
    Target::parse(&method.parse().unwrap(), &target.parse().unwrap(), headers)
}

#[track_caller]
fn assert_table(table: &[(&str, &str, &str, Endpoint)]) {
    for (line, user, path_and_query, endpoint) in table {
        let (method, target) = line.split_once(' ').unwrap();
        let expected = Target {
            user: (*user != "-").then(|| user.parse().unwrap()),
            key: Shown::Nothing,
            path_and_query: path_and_query.parse().unwrap(),
            endpoint: *endpoint,
        };
        assert_eq!(parse(method, target, &HeaderMap::new()), Ok(expected), "{line}");
    }
}

#[track_caller]
fn assert_refused(target: &str, refused: InvalidTarget) {
    for method in ["POST", "GET", "HEAD"] {
        assert_eq!(parse(method, target, &HeaderMap::new()), Err(refused), "{target}");
    }
}

/// Escapes everything that is not unreserved, as `encodeURIComponent` does, but `also` stays.
fn escape(text: &str, also: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| match char::from(byte) {
            character if plain(byte) || also.contains(character) => character.to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn user_header(name: &str) -> HeaderMap {
    map(&[("x-claude-code-user", name)])
}

fn map(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn list(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// Both lists in one, by turns, each in its own order.
fn interleaved<'a>(
    one: &[(&'a str, &'a str)],
    other: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let longest = one.len().max(other.len());
    (0..longest)
        .flat_map(|index| one.get(index).into_iter().chain(other.get(index)))
        .copied()
        .collect()
}
