//! What somebody tries who should not: one test per row of the table in docs/threats.md.
//! None of it reaches Bedrock, and nobody learns who exists.

use std::{sync::Arc, thread, time::Duration};

use bytes::Bytes;
use function::access::ProxyKey;
use function::proxy::Proxy;
use function::room::{Capacity, Room};
use function::serve::local;
use function::settings::{Options, Settings};
use function::store::{Store, memory::MemoryStore};
use function::upstream::{anthropic::Anthropic, aws::Aws, bedrock::Bedrock};
use http_body_util::Full;
use hyper::Request;
use testing::{
    answer::{access_denied, limited, ok, refused, too_many, window},
    client::{ALICE, BOB, Call, Reply},
    gzip::Gzip,
    world::World,
};

use super::access::{alices, bobs, keyed, organization};

const KEY: &str = "x-claude-proxy-key";
const MALLORY: &str = "sk-ant-api03-test-mallory";

#[tokio::test]
async fn a_stranger_who_names_a_limited_colleague_learns_nothing_and_spends_nothing() {
    let world = keyed().start();
    world.anthropic.next([limited(600)]);
    world.call(Call::message().header(KEY, &alices()).by(ALICE)).await;
    let mut answers = Vec::new();
    for name in ["alice", "nobody"] {
        for call in [
            Call::message().at(&format!("/u/{name}/v1/messages")),
            Call::message().at(&format!("/v1/messages?claude-code-user={name}")),
            Call::message().at(&format!("/?claude-code-user={name}%2Fv1%2Fmessages")),
            Call::message().header("x-claude-code-user", name),
        ] {
            // Even with her own credential, a name opens nothing.
            answers.push(world.call(call.by(ALICE)).await);
        }
    }
    assert_all_alike(&answers);
    assert_eq!(world.anthropic.requests().len(), 1);
    assert_eq!(world.bedrock.requests().len(), 1);
}

#[tokio::test]
async fn a_stranger_with_a_real_credential_and_a_real_429_is_not_served() {
    let world = keyed().start();
    world.anthropic.always(limited(600));
    assert_eq!(world.call(Call::message().by(MALLORY)).await.status, 401);
    assert!(world.anthropic.requests().is_empty());

    let world = organization("ours").start();
    world.anthropic.always(window("5h", 7200).header("anthropic-organization-id", "theirs"));
    for _ in 0..2 {
        let reply = world.call(Call::message().by(MALLORY)).await;
        assert_eq!((reply.status, reply.header("retry-after")), (429, "7200"));
        assert_eq!(reply.header("anthropic-ratelimit-unified-5h-status"), "rejected");
    }
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn a_limited_user_who_is_removed_is_out() {
    let mut world = keyed().start();
    world.anthropic.next([limited(600)]);
    assert_eq!(world.call(Call::message().header(KEY, &bobs())).await.reason(), "rate_limited");
    let alice = alices().parse::<ProxyKey>().expect("it is a key").digest();
    world.set("PROXY_KEYS", &format!("alice:{alice}"));
    world.restart();
    let removed = world.call(Call::message().header(KEY, &bobs())).await;
    let never = world.call(Call::message().header(KEY, &other())).await;
    assert_all_alike(&[removed, never]);
    assert_eq!(world.bedrock.requests().len(), 1);
}

#[tokio::test]
async fn a_credential_that_is_revoked_while_it_is_limited_is_out() {
    let world = World::with("BEDROCK_PROOF_MAX_AGE_SECONDS", "1").start();
    world.anthropic.next([limited(600)]);
    assert_eq!(world.call(Call::message()).await.reason(), "rate_limited");
    world.anthropic.deny(ALICE);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(world.call(Call::message()).await.status, 401);
    assert_eq!(world.bedrock.requests().len(), 1);
}

#[tokio::test]
async fn a_forged_429_of_a_middlebox_opens_nothing() {
    let world = World::start();
    world.anthropic.deny(MALLORY);
    let page = "<html>Too many requests</html>";
    for (name, forged) in [
        ("no request-id", limited(600).without("request-id")),
        ("no JSON", limited(600).body(page)),
        ("no type", limited(600).kind("too_many_requests")),
        ("nobody's", too_many().header("retry-after", "600").without("anthropic-organization-id")),
    ] {
        world.anthropic.next([forged]);
        // Nothing else is known of the credential, and the free call refuses it.
        world.anthropic.next_on("/v1/models", [refused(401, "authentication_error", "no")]);
        let reply = world.call(Call::message().by(MALLORY)).await;
        assert!([401, 429].contains(&reply.status), "{name}: {}", reply.status);
        assert!(world.bedrock.requests().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_limit_under_a_colleagues_name_does_not_become_theirs() {
    let world = World::start();
    world.anthropic.next([limited(600)]);
    let mallory = Call::message().by(MALLORY).at("/u/alice/v1/messages");
    assert_eq!(world.call(mallory).await.reason(), "rate_limited");
    let alice = world.call(Call::message().by(ALICE).at("/u/alice/v1/messages")).await;
    assert_eq!(alice.upstream(), "anthropic");
}

#[tokio::test]
async fn an_endless_limit_ends_after_six_hours() {
    for endless in ["31536000", "99999999999999999999", "Fri, 31 Dec 9999 23:59:59 GMT"] {
        let world = World::start();
        world.anthropic.next([window("5h", 999_999_999).header("retry-after", endless)]);
        let reply = world.call(Call::message()).await;
        let until: jiff::Timestamp =
            reply.header("x-claude-proxy-until").parse().expect("the limit is remembered");
        let left = until.duration_since(testing::answer::moment(0));
        assert!(left.as_secs() <= 6 * 3600, "{endless}: {left:?}");
    }
}

#[tokio::test]
async fn a_proxy_key_reaches_neither_upstream_nor_log() {
    let world = keyed().start();
    let digest = alices().parse::<ProxyKey>().expect("it is a key").digest().to_string();
    world.anthropic.next([limited(600)]);
    let wrong = other();
    for call in [
        Call::message().header(KEY, &alices()),
        Call::message().at(&format!("/k/{}/v1/messages", alices())),
        Call::message().at(&format!("/k/{wrong}/v1/messages")),
        Call::message().at(&format!("/k/{}/../v1/messages", alices())),
        Call::message().at(&format!("/u/alice/k/{}/v1/messages", alices())),
        Call::message().header(KEY, &wrong),
        Call::message().header(KEY, &wrong[..40]),
        Call::message().header(KEY, &alices()).also(KEY, &wrong),
    ] {
        let reply = world.call(call).await;
        let shown = format!("{:?} {:?}", reply.headers, reply.body);
        assert!(!shown.contains(&alices()[4..]) && !shown.contains(&wrong[4..20]), "{shown}");
    }
    assert!(world.bedrock.requests().len() == 2 && world.anthropic.requests().len() == 1);
    let asked = format!("{:?} {:?}", world.anthropic.requests(), world.bedrock.requests());
    let log = world.log();
    for secret in [&alices()[4..], &wrong[4..20], &digest, ALICE] {
        assert!(!log.contains(secret), "{secret} was logged");
        assert!(secret == ALICE || !asked.contains(secret), "{secret} went to an upstream");
    }
}

#[tokio::test]
async fn nothing_of_the_operators_account_reaches_a_client() {
    let world = World::start();
    world.anthropic.always(limited(600));
    let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/x is not authorized";
    for failure in [
        access_denied(),
        refused(400, "ValidationException", arn),
        refused(500, "InternalServerException", arn),
        ok().exception_after(1, "internalServerException"),
    ] {
        for call in [Call::message(), Call::message().whole(), Call::count()] {
            world.bedrock.always(failure.clone());
            let reply = world.call(call).await;
            let all = format!("{:?} {:?}", reply.headers, reply.body);
            assert!(!all.contains("arn:aws") && !all.contains("123456789012"), "{all}");
        }
    }
}

#[tokio::test]
async fn every_kind_of_bad_key_reads_the_same_401() {
    let world = keyed().start();
    let (alice, bob, wrong) = (alices(), bobs(), other());
    let upper = alice.replace("a1", "A1");
    let mut answers = Vec::new();
    for key in [&wrong, &alice[..60], &upper, "ccp_", "", "alice", "' or 1=1 --", &alice.repeat(99)]
    {
        answers.push(world.call(Call::message().header(KEY, key)).await);
        if !key.contains(' ') {
            answers.push(world.call(Call::message().at(&format!("/k/{key}/v1/messages"))).await);
        }
    }
    // An empty key leaves two slashes, which is a matter of the path.
    answers.retain(|reply| reply.status != 400);
    answers.push(world.call(Call::message()).await);
    answers.push(world.call(Call::message().header(KEY, &alice).also(KEY, &bob)).await);
    answers.push(
        world.call(Call::message().header(KEY, &alice).at(&format!("/k/{bob}/v1/messages"))).await,
    );
    for user in ["alice", "bob", "nobody"] {
        answers.push(world.call(Call::message().header("x-claude-code-user", user)).await);
    }
    for call in [Call::new("GET", "/v1/models"), Call::count(), Call::message().body("{")] {
        answers.push(world.call(call.by(BOB)).await);
    }
    answers.push(world.call(Call::message().body(vec![b'x'; 40 << 20])).await);
    assert!(answers.len() > 15);
    assert_all_alike(&answers);
    assert!(world.anthropic.requests().is_empty());
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn no_target_leads_anywhere_else() {
    let world = keyed().start();
    let key = alices();
    for line in [
        "GET http://evil.example/v1/models HTTP/1.1",
        "GET https://api.anthropic.com@evil.example/v1/models HTTP/1.1",
        "CONNECT evil.example:443 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET //evil.example/v1/models HTTP/1.1",
        "GET /v1/../../etc/passwd HTTP/1.1",
        "GET /v1/%2e%2e/models HTTP/1.1",
        "GET /v1%2fmodels HTTP/1.1",
        "GET /v1\\models HTTP/1.1",
        "GET /v1/models%0d%0ahost:evil.example HTTP/1.1",
        "GET /v1/models\u{7f} HTTP/1.1",
        "GET /v1/mo dels HTTP/1.1",
        "GET @evil.example/v1/models HTTP/1.1",
        "GET evil.example HTTP/1.1",
        "GET /v1/models HTTP/9.9",
    ] {
        let request = format!("{line}\r\nhost: x\r\n{KEY}: {key}\r\nconnection: close\r\n\r\n");
        let answer = world.raw(request.as_bytes(), Duration::from_secs(5));
        assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{line}: {answer}");
    }
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_body_of_two_lengths_is_refused_or_has_one() {
    let world = World::start();
    for (fields, body, arrives) in [
        ("content-length: 3\r\ncontent-length: 5", "abcde", None),
        ("content-length: 3, 5", "abcde", None),
        ("content-length: +3", "abc", None),
        ("content-length: -1", "", None),
        ("content-length: 99999999999999999999", "abc", None),
        ("transfer-encoding: gzip", "abc", None),
        ("transfer-encoding: chunked, gzip", "3\r\nabc\r\n0\r\n\r\n", None),
        ("transfer-encoding : chunked", "3\r\nabc\r\n0\r\n\r\n", None),
        ("transfer-encoding: chunked", "-3\r\nabc\r\n0\r\n\r\n", None),
        ("transfer-encoding: chunked", "fffffffffffffffff\r\nabc\r\n0\r\n\r\n", None),
        ("content-length: 3\r\ncontent-length: 3", "abc", Some("abc")),
        ("content-length: 99\r\ntransfer-encoding: chunked", "3\r\nabc\r\n0\r\n\r\n", Some("abc")),
        ("transfer-encoding: chunked\r\ncontent-length: 99", "3\r\nabc\r\n0\r\n\r\n", Some("abc")),
    ] {
        let before = world.anthropic.requests().len();
        let request = format!(
            "POST /v1/files HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-api-key: a\r\n{fields}\
             \r\n\r\n{body}"
        );
        let answer = world.raw(request.as_bytes(), Duration::from_secs(5));
        let asked = world.anthropic.requests().split_off(before);
        match (asked.as_slice(), arrives) {
            ([], None) => {
                assert!(answer.starts_with("HTTP/1.1 400") || answer.is_empty(), "{answer}");
            }
            ([], Some(_)) => assert!(answer.starts_with("HTTP/1.1 400"), "{fields}: {answer}"),
            ([one], Some(body)) => {
                assert_eq!((&one.body[..], one.header("content-length")), (body.as_bytes(), "3"));
                assert!(!one.has("transfer-encoding"), "{fields}");
            }
            (many, _) => panic!("{fields}: {many:?}"),
        }
    }
}

#[tokio::test]
async fn a_header_cannot_be_smuggled_through() {
    let world = World::start();
    let smuggled = Call::message()
        .header("connection", "close, x-api-key, x-first , X-Second")
        .also("connection", "anthropic-version")
        .header("x-first", "1")
        .header("x-second", "2")
        .header("forwarded", "for=1.2.3.4")
        .header("x-forwarded-for", "1.2.3.4")
        .header("x-amz-security-token", "token")
        .header("x-amzn-trace-id", "trace")
        .header("x-claude-proxy-upstream", "bedrock")
        .header("x-claude-proxy-anything", "x")
        .header("proxy-authorization", "Basic eA==")
        .header("te", "trailers")
        .header("upgrade", "h2c");
    let reply = world.call(smuggled).await;
    assert_eq!(reply.status, 401, "who strips their own credential has none");
    let arrived = &world.anthropic.messages()[0];
    for name in [
        "connection",
        "x-api-key",
        "anthropic-version",
        "x-first",
        "x-second",
        "forwarded",
        "x-forwarded-for",
        "x-amz-security-token",
        "x-amzn-trace-id",
        "x-claude-proxy-upstream",
        "x-claude-proxy-anything",
        "proxy-authorization",
        "te",
        "upgrade",
    ] {
        assert!(!arrived.has(name), "{name}");
    }
    for (fields, name) in [
        ("x-claude-code-user: alice\r\n folded: x", "obs-fold"),
        ("x-claude-code-user: alice\u{0}x", "NUL"),
        ("x claude: x", "space in a name"),
        (": x", "no name"),
    ] {
        let request =
            format!("GET /v1/models HTTP/1.1\r\nhost: x\r\n{fields}\r\nconnection: close\r\n\r\n");
        let answer = world.raw(request.as_bytes(), Duration::from_secs(5));
        assert!(answer.starts_with("HTTP/1.1 400"), "{name}: {answer}");
    }
    assert!(world.anthropic.on("/v1/models").is_empty());
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let world = World::start();
    for head in [
        "x: y\r\n".repeat(200),
        format!("x: {}\r\n", "y".repeat(1 << 20)),
        format!("x: {}", "y".repeat(1 << 20)),
    ] {
        let request = format!("GET /v1/models HTTP/1.1\r\nhost: x\r\n{head}\r\n");
        let answer = world.raw(request.as_bytes(), Duration::from_secs(5));
        assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
    }
    let target = format!("/{}", "a".repeat(70_000));
    let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
    let answer = world.raw(request.as_bytes(), Duration::from_secs(5));
    assert!(answer.starts_with("HTTP/1.1 431") || answer.is_empty(), "{answer}");
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_compressed_body_is_never_unpacked() {
    let world = World::with("LOG_LEVEL", "info").start();
    world.anthropic.next([limited(600)]);
    let mut gzip = Gzip::new();
    let mut packed = gzip.piece(&vec![b' '; 1 << 20]);
    packed.extend(gzip.end());
    let reply =
        world.call(Call::message().header("content-encoding", "gzip").body(packed.clone())).await;
    assert_eq!(reply.status, 429, "it has no model that could be limited");
    assert!(world.anthropic.messages()[0].body == packed, "it passes as it is");
    assert!(world.bedrock.requests().is_empty());
}

#[test]
fn who_sends_nothing_more_is_sent_away() {
    let world = keyed().start();
    let key = alices();
    let (begun_at, stay) = (tokio::time::Instant::now(), Duration::from_secs(40));
    let begun = format!("POST /v1/messages HTTP/1.1\r\nhost: x\r\n{KEY}: {key}\r\n");
    let stranger = "POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{";
    let announced = format!("{begun}content-length: 33554432\r\n\r\n{{");
    thread::scope(|scope| {
        let head = scope.spawn(|| world.raw(begun.as_bytes(), stay));
        let body = scope.spawn(|| world.raw(announced.as_bytes(), stay));
        let stranger = scope.spawn(|| world.raw(stranger.as_bytes(), stay));
        let stranger = stranger.join().expect("the client lives");
        assert!(stranger.starts_with("HTTP/1.1 401"), "{stranger}");
        assert!(begun_at.elapsed() < Duration::from_secs(20), "a stranger has less time");
        let body = body.join().expect("the client lives");
        assert!(
            body.starts_with("HTTP/1.1 400") && body.contains("did not come in time"),
            "{body}"
        );
        let head = head.join().expect("the client lives");
        assert!(head.is_empty() || head.starts_with("HTTP/1.1 408"), "{head}");
    });
    assert!(begun_at.elapsed() < stay, "all three connections were ended by the proxy");
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn more_requests_than_there_is_room_for_are_sent_away_honestly() {
    let world = World::start();
    let proxy = in_process(&world.anthropic.url()).await;
    let room = Room::new(Capacity { requests: 1, bytes: 0 });
    let ask = || {
        let request = Request::get("/v1/models").body(Full::<Bytes>::default());
        local::answer(Arc::clone(&proxy), room.clone(), request.expect("it is a request"))
    };
    let first = ask().await;
    assert_ne!(first.status(), 503);
    let second = ask().await;
    assert_eq!(
        (second.status().as_u16(), &second.headers()["retry-after"]),
        (503, &"1".parse().expect("a number"))
    );
    drop(first);
    assert_ne!(ask().await.status(), 503, "an answer that has ended makes room");
}

async fn in_process(upstream: &str) -> Arc<Proxy> {
    let vars = [("ANTHROPIC_UPSTREAM_URL", upstream), ("RATE_LIMIT_STORE", "memory")];
    let vars = vars.map(|(name, value)| (name.into(), value.into()));
    let settings = Settings::from_vars(vars, Options::default(), None).expect("they are good");
    let anthropic = Anthropic::new(settings.upstream_url.clone());
    let aws = Aws::load(Some("us-east-1")).await;
    let bedrock = Bedrock::new(&["us-east-1".to_owned()], &aws);
    Arc::new(Proxy::new(settings, anthropic, bedrock, Store::Memory(MemoryStore::new())))
}

/// A key of the right shape that is nobody's.
fn other() -> String {
    ProxyKey::from_random([0x0c; 32]).reveal().to_owned()
}

/// All are the one refusal, to the byte; only the clock's header may differ.
#[track_caller]
fn assert_all_alike(answers: &[Reply]) {
    let seen = |reply: &Reply| {
        let mut headers = reply.headers.clone();
        headers.remove("date");
        (reply.status, headers, reply.body.clone())
    };
    let first = &answers[0];
    assert_eq!((first.status, first.error().as_str()), (401, "authentication_error"));
    assert_eq!(first.header("x-should-retry"), "false");
    assert!(first.headers.keys().all(|name| !name.as_str().starts_with("x-claude-proxy-")));
    for (index, answer) in answers.iter().enumerate() {
        assert_eq!(seen(answer), seen(first), "answer {index}");
    }
}
