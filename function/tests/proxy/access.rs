//! Who may use the proxy: what each of the three modes lets through, and to whom.

use std::time::Duration;

use function::access::ProxyKey;
use testing::{
    answer::{Answer, limited, ok, overloaded, refused},
    anthropic::ORGANIZATION,
    client::{ALICE, BOB, Call},
    world::{Plan, World},
};

const KEY: &str = "x-claude-proxy-key";
const MODELS: &str = "/v1/models";
const WHOSE: &str = "anthropic-organization-id";

#[tokio::test]
async fn a_key_lets_its_owner_in_from_the_header_and_from_the_path() {
    let world = keyed().start();
    let key = alices();
    for (call, arrives) in [
        (Call::message().header(KEY, &key), "/v1/messages?beta=true"),
        (Call::message().at(&format!("/k/{key}/v1/messages?beta=true")), "/v1/messages?beta=true"),
        (Call::message().at(&format!("/k/{key}/u/mallory/v1/messages")), "/v1/messages"),
        (Call::count().header(KEY, &key), "/v1/messages/count_tokens?beta=true"),
        (Call::new("GET", "/v1/models").header(KEY, &key), "/v1/models"),
        (Call::new("HEAD", &format!("/k/{key}/api/hello")), "/api/hello"),
    ] {
        let reply = world.call(call.header("x-claude-code-user", "mallory")).await;
        assert_eq!(reply.status, 200, "{arrives}");
        let arrived = world.anthropic.requests().pop().expect("it arrived");
        assert_eq!(arrived.target, arrives);
        assert!(!arrived.has(KEY) && !arrived.has("x-claude-code-user"));
    }
    let log = world.log();
    assert!(!log.contains("mallory") && log.contains("user=\"alice\""), "{log}");
}

#[tokio::test]
async fn the_start_says_where_the_key_belongs() {
    let world = keyed().start();
    world.call(Call::message().header(KEY, &alices())).await;
    let base = format!("\"ANTHROPIC_BASE_URL\": \"http://{}/k/KEY\"", world.address());
    assert!(world.log().contains(&base), "{}", world.log());
}

#[tokio::test]
async fn with_a_key_a_limit_falls_back_as_ever() {
    let world = keyed().start();
    world.anthropic.next([limited(120)]);
    assert_eq!(world.call(Call::message().header(KEY, &alices())).await.reason(), "rate_limited");
    // The credential is limited, whoever brings it.
    assert_eq!(world.call(Call::message().header(KEY, &bobs())).await.reason(), "cooldown");
}

#[tokio::test]
async fn without_a_key_only_the_health_of_the_proxy_is_told() {
    let world = keyed().start();
    assert_eq!(world.call(Call::new("GET", "/healthz")).await.status, 200);
    for target in ["/", "/v1/messages", "/v1/models", "/_proxy/", "/u/alice/healthz"] {
        for method in ["GET", "POST", "HEAD", "OPTIONS"] {
            assert_eq!(
                world.call(Call::new(method, target)).await.status,
                401,
                "{method} {target}"
            );
        }
    }
    assert!(world.anthropic.requests().is_empty());
}

#[tokio::test]
async fn a_key_is_taken_off_where_none_is_asked_for() {
    let world = World::start();
    let target = format!("/k/{}/v1/messages", alices());
    assert_eq!(world.call(Call::message().at(&target).header(KEY, "any")).await.status, 200);
    let arrived = &world.anthropic.messages()[0];
    assert!(!arrived.has(KEY) && arrived.target == "/v1/messages");
}

#[tokio::test]
async fn a_listed_organization_uses_bedrock() {
    let world = organization(ORGANIZATION).start();
    world.anthropic.next([limited(120)]);
    assert_eq!(world.call(Call::message()).await.reason(), "rate_limited");
    assert_eq!(world.call(Call::message()).await.reason(), "cooldown");
    world.anthropic.next([overloaded(), overloaded()]);
    let bob = world.call(Call::message().by(BOB)).await;
    assert_eq!(bob.reason(), "overloaded", "the free call has named the organization");
    assert_eq!(world.anthropic.on(MODELS).len(), 1);
    assert!(is_stored(&world, ORGANIZATION));
}

#[tokio::test]
async fn another_organization_passes_through_and_no_further() {
    let world = organization("another").start();
    assert_eq!(world.call(Call::message()).await.status, 200);
    assert_eq!(world.call(Call::new("GET", "/v1/files")).await.status, 200);
    world.anthropic.next([limited(120), limited(120), overloaded(), overloaded()]);
    for status in [429, 429, 529, 529] {
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.upstream()), (status, "anthropic"));
    }
    world.anthropic.next_on("/v1/messages/count_tokens", [limited(120)]);
    assert_eq!(world.call(Call::count()).await.status, 501);
    assert!(world.bedrock.requests().is_empty());
    let asked = world.anthropic.on(MODELS).len();
    assert_eq!(asked, 1, "a 529 names nobody; what the free call has said is kept");
    assert!(!is_stored(&world, ORGANIZATION), "a stranger leaves nothing behind");
}

#[tokio::test]
async fn a_limit_that_names_no_organization_needs_another_word() {
    let nameless = |answer: Answer| answer.without(WHOSE);
    for (name, models, served) in [
        ("named", ok(), true),
        ("another", ok().header(WHOSE, "another"), false),
        ("nameless", nameless(ok()), false),
        ("refused", refused(401, "authentication_error", "no"), false),
        ("broken", nameless(refused(500, "api_error", "no")), false),
    ] {
        let world = organization(ORGANIZATION).start();
        world.anthropic.always(nameless(limited(120)));
        world.anthropic.next_on(MODELS, [models]);
        let reply = world.call(Call::message()).await;
        assert_eq!(reply.upstream(), if served { "bedrock" } else { "anthropic" }, "{name}");
        assert_eq!(world.bedrock.requests().len(), usize::from(served), "{name}");
    }
}

#[tokio::test]
async fn what_named_the_organization_once_is_remembered() {
    let mut world = organization(ORGANIZATION).with("BEDROCK_PROOF_MAX_AGE_SECONDS", "1").start();
    world.call(Call::message()).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.anthropic.next([limited(120).without(WHOSE)]);
    assert_eq!(world.call(Call::message()).await.reason(), "rate_limited");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    world.restart();
    world.anthropic.next_on(MODELS, [ok().without(WHOSE)]);
    assert_eq!(world.call(Call::message()).await.reason(), "cooldown");
    assert_eq!(world.anthropic.on(MODELS).len(), 1);
}

#[tokio::test]
async fn a_refused_credential_is_asked_about_once_a_minute() {
    let world = organization(ORGANIZATION).start();
    world.anthropic.deny(BOB);
    let first = world.call(Call::message().by(BOB)).await;
    assert_eq!((first.status, first.upstream()), (401, "anthropic"));
    for call in [Call::message(), Call::message().whole(), Call::count()] {
        let again = world.call(call.by(BOB)).await;
        assert_eq!((again.status, &again.body), (401, &first.body));
        assert_eq!(again.header("request-id"), first.header("request-id"));
    }
    assert_eq!(world.anthropic.requests().len(), 1);
    // Another credential is another question, and so is a path that is passed through.
    assert_eq!(world.call(Call::message().by(ALICE)).await.status, 200);
    assert_eq!(world.call(Call::new("GET", MODELS).by(BOB)).await.status, 401);
    assert_eq!(world.anthropic.requests().len(), 3);
}

#[tokio::test]
async fn a_refusal_of_the_count_is_kept_too() {
    let world = organization(ORGANIZATION).start();
    world.anthropic.deny(BOB);
    let first = world.call(Call::count().by(BOB)).await;
    for call in [Call::count(), Call::message()] {
        let again = world.call(call.by(BOB)).await;
        assert_eq!((again.status, &again.body), (401, &first.body));
    }
    assert_eq!(world.anthropic.requests().len(), 1);
}

#[tokio::test]
async fn the_same_credential_in_another_manner_is_another_question() {
    let world = organization(ORGANIZATION).start();
    let token = "sk-ant-oat01-test";
    let as_key = || Call::message().by(token);
    let as_token =
        || Call::message().without("x-api-key").header("authorization", "Bearer sk-ant-oat01-test");
    let named = || as_token().header("anthropic-beta", "claude-code-20250219, oauth-2025-04-20");
    let refusal = || refused(401, "authentication_error", "OAuth is not supported");
    world.anthropic.next([refusal(), refusal()]);
    for call in [as_key(), as_token(), as_key(), as_token()] {
        assert_eq!(world.call(call).await.status, 401);
    }
    assert_eq!(world.anthropic.messages().len(), 2);
    assert_eq!(world.call(named()).await.status, 200, "it is a good one");
    let other_betas = as_token().header("anthropic-beta", "claude-code-20250219");
    assert_eq!(world.call(other_betas).await.status, 401, "which says nothing about it");
    assert_eq!(world.anthropic.messages().len(), 3);
}

#[tokio::test]
async fn where_nobody_else_comes_every_credential_is_asked_about() {
    let world = World::start();
    world.anthropic.deny(BOB);
    for asked in 1..3 {
        assert_eq!(world.call(Call::message().by(BOB)).await.status, 401);
        assert_eq!(world.anthropic.messages().len(), asked);
    }
}

#[tokio::test]
async fn a_401_without_anthropics_mark_is_not_kept() {
    let world = organization(ORGANIZATION).start();
    let middlebox = refused(401, "authentication_error", "log in to the guest network");
    world.anthropic.next([middlebox.without("request-id")]);
    assert_eq!(world.call(Call::message()).await.status, 401);
    assert_eq!(world.call(Call::message()).await.status, 200);
}

/// A world in which Alice and Bob have a key each.
pub(crate) fn keyed() -> Plan {
    let digest = |key: &str| key.parse::<ProxyKey>().expect("it is a key").digest();
    let keys = format!("alice:{},bob:{}", digest(&alices()), digest(&bobs()));
    World::with("ACCESS_MODE", "key").with("PROXY_KEYS", &keys)
}

pub(crate) fn alices() -> String {
    ProxyKey::from_random([0xa1; 32]).reveal().to_owned()
}

pub(crate) fn bobs() -> String {
    ProxyKey::from_random([0xb0; 32]).reveal().to_owned()
}

/// Whether the store's file holds a text.
fn is_stored(world: &World, text: &str) -> bool {
    let file = std::fs::read(world.setting("RATE_LIMIT_STORE_PATH")).expect("the store is a file");
    file.windows(text.len()).any(|window| window == text.as_bytes())
}

/// A world in which one organization may use Bedrock.
pub(crate) fn organization(id: &str) -> Plan {
    World::with("ACCESS_MODE", "organization").with("ALLOWED_ORGANIZATIONS", id)
}
