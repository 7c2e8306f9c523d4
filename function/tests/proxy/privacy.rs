//! Whatever the proxy tells people, it tells nobody anything of somebody else's: no hook's words,
//! no key, no prompt, no figure.

use std::time::Duration;

use function::failover::identity::Fingerprint;
use serde_json::{Value, json};
use testing::{
    answer::overloaded,
    client::{Call, Reply},
    dynamo::FakeDynamo,
    table,
    world::World,
};
use tokio::time::sleep;

const ADA: &str = "ccp_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const BOB: &str = "ccp_1111111111111111111111111111111111111111111111111111111111111111";
const SESSION: &str = "7d0f4c1e-4b1c-4f5e-9a55-0f6f1f0f7a11";
const CREDENTIAL: &str = "sk-ant-oat01-canary";
/// What people read, behind the labels of a path.
const TOLD: [&str; 5] = ["", "overview", "me", "line", "notice"];

/// Nothing of it is anywhere: in no answer, in no line of the log, in no byte of the store.
#[tokio::test]
async fn no_word_of_a_hook_no_key_and_no_prompt_is_anywhere() {
    let mut world = keyed().with("BUDGET_USER_MONTH_USD", "10").start();
    world.anthropic.next([overloaded()]);
    let mut answers = Vec::new();
    for _ in 0..2 {
        let call = Call::message().says("canary-prompt").by(CREDENTIAL);
        world.call(call.header("x-claude-code-session-id", SESSION).header(KEY, ADA)).await;
        for part in TOLD {
            for labels in ["", &format!("/k/{ADA}")] {
                let path = format!("{labels}/_proxy/{part}?session={SESSION}");
                answers.push((path.clone(), world.call(asking(&path, ADA)).await));
            }
        }
    }
    assert!(answers.iter().all(|(_, reply)| reply.status == 200), "{answers:?}");
    let said =
        answers.iter().filter(|(path, reply)| path.contains("notice") && !reply.body.is_empty());
    assert_eq!(said.count(), 2, "there and back");
    let secrets = ["canary", ADA, SESSION, CREDENTIAL];
    for (path, reply) in &answers {
        let whole = format!("{:?} {}", reply.headers, String::from_utf8_lossy(&reply.body));
        assert!(secrets.iter().all(|secret| !whole.contains(secret)), "{path}: {whole}");
    }
    let log = world.log();
    assert!(secrets.iter().all(|secret| !log.contains(secret)), "{log}");
    world.proxy().end();
    let file = std::fs::read(world.setting("RATE_LIMIT_STORE_PATH")).expect("it is there");
    for secret in secrets {
        let found = file.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "{secret} is in the file");
    }
    for received in world.anthropic.requests() {
        assert!(!format!("{} {:?}", received.target, received.headers).contains(ADA));
    }
}

/// Bob names ada's session, and reads what he reads of one that there never was.
#[tokio::test]
async fn with_another_key_there_is_no_figure_of_a_session() {
    let world = keyed().with("BUDGET_USER_MONTH_USD", "10").start();
    world.anthropic.always(overloaded());
    for _ in 0..2 {
        let call = Call::message().header("x-claude-code-session-id", SESSION);
        assert_eq!(world.call(call.header(KEY, ADA)).await.upstream(), "bedrock");
    }
    for part in TOLD {
        let of = |session: &str| asking(&format!("/_proxy/{part}?session={session}"), BOB);
        let (hers, nobodys) = (world.call(of(SESSION)).await, world.call(of("none")).await);
        let told = |reply: &Reply| match serde_json::from_slice::<Value>(&reply.body) {
            Ok(mut json) => {
                json["now"].take();
                json.to_string()
            }
            Err(_) => text(reply),
        };
        assert_eq!((hers.status, told(&hers)), (nobodys.status, told(&nobodys)), "{part}");
        assert!(part.is_empty() || !text(&hers).contains("ada"), "{part}");
    }
    // She is told all of it.
    let mine = world.call(asking(&format!("/_proxy/me?session={SESSION}"), ADA)).await;
    assert_eq!(
        (&mine.json()["side"], &mine.json()["session"]["requests"]),
        (&json!("bedrock"), &json!(2))
    );
}

#[tokio::test]
async fn to_who_was_removed_every_page_is_the_one_401() {
    let fake = FakeDynamo::start();
    let world = table::world(&fake.url(), "limits").with("ACCESS_MODE", "key").start();
    let digest = Fingerprint::of(&[ADA.as_bytes()]).expect("it is a text");
    let key =
        json!({"pk": {"S": format!("key#{digest}")}, "sk": {"S": "key"}, "user": {"S": "ada"}});
    fake.put(key.clone());
    for part in TOLD {
        assert_eq!(world.call(asking(&format!("/_proxy/{part}"), ADA)).await.status, 200, "{part}");
    }
    fake.remove(&key);
    // A key is believed for ten seconds.
    sleep(Duration::from_millis(10_200)).await;
    let stranger = world.call(Call::message().header(KEY, BOB)).await;
    assert_eq!(stranger.status, 401);
    for path in ["/_proxy", "/_proxy/", "/_proxy/overview", "/_proxy/me", "/_proxy/line"] {
        for call in [asking(path, ADA), Call::new("GET", &format!("/k/{ADA}{path}"))] {
            let reply = world.call(call).await;
            assert_eq!((reply.status, text(&reply)), (401, text(&stranger)), "{path}");
        }
    }
    let hook = world.call(asking("/_proxy/notice", ADA)).await;
    assert_eq!((hook.status, text(&hook)), (200, String::new()), "a hook is never loud");
}

/// Of each path what it is, and that it never leaves the proxy.
#[tokio::test]
async fn what_is_below_is_found_by_its_one_name() {
    let world = keyed().start();
    for (method, path, status) in [
        ("GET", "/_proxy/", 200),
        ("HEAD", "/_proxy/", 200),
        ("HEAD", "/_proxy/me", 200),
        ("HEAD", "/_proxy/line", 200),
        ("GET", "/_proxy", 307),
        ("HEAD", "/_proxy", 307),
        ("GET", "/_proxy/me?session=%1b%5b2J", 200),
        ("GET", &format!("/_proxy/me?session={}", "x".repeat(10 << 10)), 200),
        ("GET", "/_proxy/line?session=", 200),
        ("GET", "/_proxy/line?session=a&session=b", 200),
        ("GET", "/_proxy/me/", 404),
        ("GET", "/_proxy/ME", 404),
        ("GET", "/_proxy/%6de", 404),
        ("GET", "/_proxy/index.html", 404),
        ("GET", "/_proxy/notice", 404),
        ("GET", "/_proxy/drill", 404),
        ("GET", "/_proxy/usage", 404),
        ("POST", "/_proxy", 404),
        ("POST", "/_proxy/", 404),
        ("POST", "/_proxy/me", 404),
        ("PUT", "/_proxy/notice", 404),
        ("OPTIONS", "/_proxy/notice", 404),
        ("DELETE", "/_proxy/overview", 404),
        ("GET", "/_proxy//me", 400),
        ("GET", "//_proxy/", 400),
        ("GET", "/_proxy/../_proxy/me", 400),
        ("GET", "/_proxy/%2e%2e/me", 400),
        ("GET", "/_proxy%2Fme", 400),
        ("GET", "/_proxy/me%00", 400),
    ] {
        for labels in ["", "/u/eve", &format!("/k/{ADA}"), &format!("/k/{ADA}/u/eve")] {
            let whole = format!("{labels}{path}");
            // A doubled slash is one only where it begins the path.
            let reply = world.call(asking_by(method, &whole, ADA)).await;
            assert_eq!(reply.status, status, "{method} {whole}");
            let place = reply.header("location");
            assert_eq!(place, if status == 307 { "_proxy/" } else { "" }, "{method} {whole}");
            if method == "HEAD" {
                assert!(reply.body.is_empty(), "{whole}");
            }
        }
    }
    assert_eq!(world.anthropic.requests().len(), 0);
    // What only looks like it is Anthropic's.
    for path in ["/_proxyx", "/v1/_proxy/me", "/%5Fproxy/me", "/_PROXY/me"] {
        world.call(asking(path, ADA)).await;
    }
    let hook = Call::new("POST", "/v1/files/_proxy/notice").header(KEY, ADA).body("{}");
    world.call(hook).await;
    assert_eq!(world.anthropic.requests().len(), 5);
}

/// A browser finds the page without its last slash, and its key is in no answer.
#[tokio::test]
async fn the_page_is_found_without_its_slash() {
    let world = keyed().start();
    let reply = world.call(Call::new("GET", &format!("/k/{ADA}/_proxy?session=x"))).await;
    assert_eq!((reply.status, reply.header("location")), (307, "_proxy/?session=x"));
    assert_eq!(
        (reply.header("cache-control"), reply.header("referrer-policy")),
        ("no-store", "no-referrer")
    );
}

/// The whole proxy is shown to who sits at it: not to a page that had its own name lead here, and
/// not to who comes by way of another server.
#[tokio::test]
async fn the_whole_proxy_is_shown_to_who_asks_this_machine_by_name() {
    let world = World::start();
    world.anthropic.next([overloaded()]);
    world.call(Call::message().header("x-claude-code-session-id", SESSION)).await;
    let ask = |name: &str, value: &str| {
        Call::new("GET", "/_proxy/overview").without("x-api-key").header(name, value)
    };
    for (name, value, all) in [
        ("host", "127.0.0.1:8080", true),
        ("host", "localhost", true),
        ("host", "LOCALHOST:80", true),
        ("host", "[::1]:8080", true),
        ("host", "evil.example", false),
        ("host", "localhost.evil.example", false),
        ("host", "127.0.0.1.evil.example:8080", false),
        ("host", "10.0.0.1:8080", false),
        ("x-forwarded-for", "10.0.0.1", false),
        ("forwarded", "for=10.0.0.1", false),
        ("via", "1.1 proxy", false),
    ] {
        let overview: Value = world.call(ask(name, value)).await.json();
        assert_eq!(overview["everybody"].is_object(), all, "{name}: {value}");
        assert_eq!(overview["detours"].as_array().map(Vec::len), Some(usize::from(all)));
        assert_eq!(overview["me"]["side"] == "bedrock", all, "{name}: {value}");
    }
}

const KEY: &str = "x-claude-proxy-key";

fn keyed() -> testing::world::Plan {
    let digest = |key: &str| Fingerprint::of(&[key.as_bytes()]).expect("it is a text");
    let keys = format!("ada:{},bob:{}", digest(ADA), digest(BOB));
    World::with("ACCESS_MODE", "key").with("PROXY_KEYS", &keys)
}

/// A question as a browser, a script or a hook puts it.
fn asking(path: &str, key: &str) -> Call {
    let is_hook = path.split('?').next().is_some_and(|path| path.ends_with("/notice"));
    asking_by(if is_hook { "POST" } else { "GET" }, path, key)
}

fn asking_by(method: &str, path: &str, key: &str) -> Call {
    let body = json!({
        "session_id": SESSION, "hook_event_name": "Stop", "cwd": "/home/canary",
        "transcript_path": "/home/canary/x.jsonl", "prompt": "canary-hook",
        "last_assistant_message": "canary-answer",
    });
    let call = Call::new(method, path).without("x-api-key").header(KEY, key);
    if method == "POST" { call.body(body.to_string()) } else { call }
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}
