//! The page for a browser: what is said in its head, and what it shows whom.

use function::failover::identity::Fingerprint;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testing::{
    answer::overloaded,
    client::{BOB, Call},
    world::World,
};

const KEY: &str = "ccp_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[tokio::test]
async fn the_page_brings_all_of_it_along_and_may_run_nothing_else() {
    let world = World::start();
    let reply = world.call(Call::new("GET", "/_proxy/").without("x-api-key")).await;
    assert_eq!(reply.status, 200);
    let page = String::from_utf8(reply.body.to_vec()).expect("it is text");
    let policy = reply.header("content-security-policy");
    for (tag, rule) in [("script", "script-src"), ("style", "style-src")] {
        assert_eq!(page.matches(&format!("<{tag}")).count(), 1, "{tag}");
        let inside = page.split_once(&format!("<{tag}>")).expect("it has one").1;
        let inside = inside.split_once(&format!("</{tag}>")).expect("it ends").0;
        let hash = base64(&Sha256::digest(inside));
        assert!(policy.contains(&format!("{rule} 'sha256-{hash}';")), "{policy}");
    }
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(reply.header(name), value);
    }
    // The name of SVG is no address.
    let page = page.replace("http://www.w3.org/2000/svg", "");
    for outside in
        ["http:", "https:", "//cdn", "@import", "url(", " style=", "onclick", "innerHTML"]
    {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn in_open_mode_on_this_machine_it_shows_the_whole_proxy() {
    let world = World::with("BUDGET_TOTAL_DAY_USD", "5").start();
    world.anthropic.next([overloaded(), overloaded()]);
    let mut dollars = 0.0;
    for (who, session) in [("a", "one"), (BOB, "two"), ("a", "one")] {
        let call = Call::message().whole().by(who).header("x-claude-code-session-id", session);
        let reply = world.call(call).await;
        dollars += reply.header("x-claude-proxy-cost").parse::<f64>().unwrap_or(0.0);
    }
    let all = overview(&world, "/_proxy/overview", None).await;
    assert_eq!(
        [&all["everybody"]["requests"], &all["everybody"]["by_bedrock"]],
        [&json!(3), &json!(2)]
    );
    assert_eq!(all["everybody"]["users"].as_array().map(Vec::len), Some(2));
    assert_eq!(all["me"]["side"], "bedrock", "somebody's session is");
    assert_eq!(
        [&all["caps"][0]["period"], &all["caps"][0]["limit_usd"]],
        [&json!("day"), &json!(5)]
    );
    let days = all["days"].as_array().expect("there are days");
    assert_eq!(days.len(), 31);
    let today = &days[30];
    for spent in [
        &today["usd"],
        &today["by_class"]["sonnet"],
        &all["caps"][0]["used_usd"],
        &all["me"]["month_usd"],
    ] {
        assert!((spent.as_f64().expect("a number") - dollars).abs() < 5e-7, "{spent} {dollars}");
    }
    assert!(days[..30].iter().all(|day| day["usd"] == json!(0)));
    let detours = all["detours"].as_array().expect("there are detours");
    let open = detours.iter().filter(|detour| detour["ended"].is_null());
    assert_eq!((detours.len(), open.count()), (2, 1), "{detours:?}");
}

#[tokio::test]
async fn behind_a_key_it_shows_its_owner_alone() {
    let bobs = KEY.replace('0', "1");
    let digest = |key: &str| Fingerprint::of(&[key.as_bytes()]).expect("it is a text");
    let keys = format!("ada:{},bob:{}", digest(KEY), digest(&bobs));
    let world = World::with("ACCESS_MODE", "key").with("PROXY_KEYS", &keys).start();
    world.anthropic.always(overloaded());
    let call = Call::message().header("x-claude-code-session-id", "one");
    world.call(call.header("x-claude-proxy-key", KEY)).await;
    let ada = overview(&world, "/_proxy/overview", Some(KEY)).await;
    assert_eq!(
        [&ada["user"], &ada["me"]["side"], &ada["everybody"]],
        [&json!("ada"), &json!("bedrock"), &Value::Null]
    );
    assert_eq!(ada["detours"].as_array().map(Vec::len), Some(1));
    let bob = overview(&world, &format!("/k/{bobs}/_proxy/overview?session=one"), None).await;
    assert_eq!([&bob["user"], &bob["me"]["side"]], [&json!("bob"), &json!("anthropic")]);
    assert_eq!((&bob["detours"], &bob["days"][30]["usd"]), (&json!([]), &json!(0)));
    let page = world.call(Call::new("GET", &format!("/k/{KEY}/_proxy/"))).await;
    assert_eq!(page.status, 200);
    let log = world.log();
    assert!(!log.contains(KEY) && !log.contains(&bobs), "{log}");
}

async fn overview(world: &World, path: &str, key: Option<&str>) -> Value {
    let mut call = Call::new("GET", path).without("x-api-key");
    if let Some(key) = key {
        call = call.header("x-claude-proxy-key", key);
    }
    let reply = world.call(call).await;
    assert_eq!((reply.status, reply.header("cache-control")), (200, "no-store"), "{path}");
    reply.json()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from(three[0]) << 16 | u32::from(three[1]) << 8 | u32::from(three[2]);
        for place in 0..4 {
            let six = bits >> (18 - 6 * place) & 63;
            text.push(if place <= chunk.len() { char::from(LETTERS[six as usize]) } else { '=' });
        }
    }
    text
}
