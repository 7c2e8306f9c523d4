//! Bedrock is spent only on a credential that Anthropic itself has accepted, and lately.

use std::time::Duration;

use testing::{
    answer::{access_denied, hang, limited, ok, overloaded, refused, too_many},
    client::{ALICE, BOB, Call},
    world::World,
};
use tokio::time::sleep;

const MODELS: &str = "/v1/models";

#[tokio::test]
async fn naming_a_limited_colleague_gives_a_stranger_nothing() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.call(Call::message().at("/u/alice/v1/messages")).await;
    world.anthropic.deny("sk-ant-api03-test-bogus");
    for target in ["/u/alice/v1/messages", "/v1/messages?claude-code-user=alice"] {
        let stranger = Call::message().at(target).by("sk-ant-api03-test-bogus");
        let reply = world.call(stranger.header("x-claude-code-user", "alice")).await;
        assert_eq!((reply.status, reply.error().as_str()), (401, "authentication_error"));
    }
    assert_eq!(world.bedrock.requests().len(), 1);
}

#[tokio::test]
async fn a_credential_never_seen_is_proved_by_a_free_call() {
    let world = World::start();
    world.anthropic.next([overloaded(), overloaded()]);
    let call = Call::message().header("anthropic-beta", "oauth-2025-04-20");
    assert_eq!(world.call(call).await.reason(), "overloaded");
    let proofs = world.anthropic.on(MODELS);
    assert_eq!((proofs.len(), proofs[0].method.as_str()), (1, "GET"));
    assert_eq!(proofs[0].header("x-api-key"), ALICE);
    assert_eq!(proofs[0].header("anthropic-version"), "2023-06-01");
    assert_eq!(proofs[0].header("anthropic-beta"), "oauth-2025-04-20");
    assert_eq!(world.call(Call::message()).await.reason(), "overloaded");
    assert_eq!(world.anthropic.on(MODELS).len(), 1, "a fresh proof is not renewed");
}

#[tokio::test]
async fn a_credential_that_was_answered_needs_no_other_proof() {
    let world = World::start();
    world.call(Call::message()).await;
    world.anthropic.next([overloaded()]);
    assert_eq!(world.call(Call::message()).await.reason(), "overloaded");
    assert!(world.anthropic.on(MODELS).is_empty());
}

#[tokio::test]
async fn only_a_200_proves_a_credential_never_seen() {
    for (name, answer) in [
        ("401", refused(401, "authentication_error", "invalid x-api-key")),
        ("403", refused(403, "permission_error", "no")),
        ("429", limited(60)),
        ("500", refused(500, "api_error", "Internal server error")),
        ("silence", hang()),
    ] {
        let world = World::start();
        world.anthropic.next([overloaded()]);
        world.anthropic.next_on(MODELS, [answer]);
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.error().as_str()), (529, "overloaded_error"), "{name}");
        assert!(reply.took < Duration::from_secs(30), "{name}: {:?}", reply.took);
        assert!(world.bedrock.requests().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_limit_from_nobody_in_particular_proves_nothing() {
    let world = World::start();
    let anonymous = limited(120)
        .without("anthropic-organization-id")
        .without("anthropic-ratelimit-requests-limit")
        .without("anthropic-ratelimit-requests-remaining")
        .without("anthropic-ratelimit-requests-reset");
    world.anthropic.next_on(MODELS, [refused(401, "authentication_error", "invalid x-api-key")]);
    world.anthropic.next([anonymous]);
    let reply = world.call(Call::message()).await;
    assert_eq!(reply.status, 429);
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn an_old_proof_is_renewed_before_bedrock_is_asked() {
    let world = aging().await;
    let reply = world.call(Call::message()).await;
    assert_eq!(reply.reason(), "cooldown");
    assert_eq!(world.anthropic.on(MODELS).len(), 1);
    assert_eq!(world.anthropic.messages().len(), 1);
}

#[tokio::test]
async fn an_upstream_that_cannot_say_renews_a_proof() {
    let world = aging().await;
    world.anthropic.next_on(MODELS, [refused(500, "api_error", "Internal server error")]);
    assert_eq!(world.call(Call::message()).await.reason(), "cooldown");
    assert_eq!(world.anthropic.messages().len(), 1);
}

#[tokio::test]
async fn a_credential_that_anthropic_no_longer_takes_gets_its_401() {
    let world = aging().await;
    world.anthropic.deny(ALICE);
    for _ in 0..2 {
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.error().as_str()), (401, "authentication_error"));
        assert_eq!(reply.upstream(), "anthropic");
    }
    assert_eq!(world.bedrock.requests().len(), 1, "only the one from before");
}

#[tokio::test]
async fn after_a_401_of_the_free_call_the_request_itself_decides() {
    let refusal = || refused(401, "authentication_error", "invalid x-api-key");
    let world = aging().await;
    world.anthropic.next_on(MODELS, [refusal()]);
    world.anthropic.next([limited(120)]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.upstream()), (200, "bedrock"), "a genuine 429 is new proof");

    let world = aging().await;
    world.anthropic.next_on(MODELS, [refusal()]);
    world.anthropic.next([ok()]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.upstream()), (200, "anthropic"));
}

#[tokio::test]
async fn a_refusal_without_anthropics_mark_revokes_nothing() {
    for status in [401, 403] {
        let world = World::start();
        world.anthropic.next([limited(120)]);
        world.call(Call::message()).await;
        for (name, marked) in [("a middlebox", false), ("Anthropic", true)] {
            let refusal = refused(status, "permission_error", "no");
            let refusal = if marked { refusal } else { refusal.without("request-id") };
            world.bedrock.next([access_denied()]);
            world.anthropic.next([refusal]);
            assert_eq!(world.call(Call::message()).await.status, status, "{name}");
            let reply = world.call(Call::message()).await;
            let reason = if marked { "" } else { "cooldown" };
            assert_eq!((reply.status, reply.reason()), (200, reason), "{name} {status}");
        }
    }
}

#[tokio::test]
async fn a_limit_without_a_mark_of_the_account_is_not_remembered() {
    let world = World::start();
    let unmarked = too_many().header("retry-after", "120").without("anthropic-organization-id");
    world.anthropic.next([unmarked]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.reason(), reply.header("x-claude-proxy-until")), ("rate_limited", ""));
    assert_eq!(world.anthropic.on(MODELS).len(), 1, "the free call has vouched for it");
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
}

#[tokio::test]
async fn the_free_call_carries_the_credential_and_anthropics_headers_and_nothing_else() {
    let world = World::start();
    world.anthropic.next([overloaded()]);
    let call = Call::message()
        .without("x-api-key")
        .header("authorization", "Bearer sk-ant-oat01-test")
        .header("anthropic-beta", "oauth-2025-04-20")
        .header("anthropic-new-thing", "1")
        .header("cookie", "a=b")
        .header("user-agent", "claude-cli/2.1.330 (external, cli)")
        .header("x-app", "cli")
        .header("x-claude-code-user", "alice");
    assert_eq!(world.call(call).await.reason(), "overloaded");
    let proofs = world.anthropic.on(MODELS);
    let mut names: Vec<_> = proofs[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let sent = ["anthropic-beta", "anthropic-new-thing", "anthropic-version", "authorization"];
    assert_eq!(names, [&sent[..], &["host"]].concat());
    assert_eq!(proofs[0].header("authorization"), "Bearer sk-ant-oat01-test");
    assert_eq!((proofs[0].target.as_str(), proofs[0].body.len()), ("/v1/models?limit=1", 0));
}

#[tokio::test]
async fn one_free_call_at_a_time_serves_all_who_wait() {
    let world = aging().await;
    world.anthropic.next_on(MODELS, [ok().head_after(Duration::from_millis(300))]);
    let calls = (0..8).map(|_| world.call(Call::message()));
    for reply in futures_util::future::join_all(calls).await {
        assert_eq!(reply.reason(), "cooldown");
    }
    assert_eq!(world.anthropic.on(MODELS).len(), 1);
}

#[tokio::test]
async fn a_stranger_meets_no_limit_of_others() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.call(Call::message()).await;
    let bob = world.call(Call::message().by(BOB)).await;
    assert_eq!(bob.upstream(), "anthropic");
    let nobody = world.call(Call::message().without("x-api-key")).await;
    assert_eq!(nobody.status, 401);
    assert_eq!(world.bedrock.requests().len(), 1);
}

/// Alice is limited for two minutes, and her proof is older than allowed.
async fn aging() -> World {
    let world = World::with("BEDROCK_PROOF_MAX_AGE_SECONDS", "1").start();
    world.anthropic.next([limited(120)]);
    assert_eq!(world.call(Call::message()).await.reason(), "rate_limited");
    sleep(Duration::from_millis(1500)).await;
    world
}
