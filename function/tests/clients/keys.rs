//! Does Claude Code get past a guarded proxy? Its key in each place where a user can put one.

use function::access::ProxyKey;
use testing::{
    answer::limited,
    claude::{Claude, KEY, lines},
    world::World,
};

#[test]
fn a_key_in_a_custom_header_opens_both_upstreams() {
    let header = format!("x-claude-proxy-key: {}", key());
    assert_served(|world| Claude::of(world).with("ANTHROPIC_CUSTOM_HEADERS", &header));
}

#[test]
fn a_key_in_the_base_url_opens_both_upstreams() {
    assert_served(|world| Claude::at(world, &format!("/k/{}", key())));
}

#[test]
fn a_name_behind_the_key_changes_nothing_of_whose_key_it_is() {
    assert_served(|world| Claude::at(world, &format!("/k/{}/u/mallory", key())));
}

#[test]
fn without_a_key_claude_code_says_what_is_missing() {
    let world = guarded();
    let strange = format!("/k/{}", ProxyKey::from_random([0x0c; 32]).reveal());
    for claude in [Claude::of(&world), Claude::at(&world, &strange)] {
        let session = claude.asks("say hello");
        assert!(!session.succeeded && session.output.contains("401"), "{}", session.output);
        assert!(session.output.contains("x-claude-proxy-key"), "{}", session.output);
    }
    assert!(world.anthropic.requests().is_empty() && world.bedrock.requests().is_empty());
}

/// Both upstreams answer, under the name of the key's owner, and neither sees the key.
fn assert_served(alice: impl Fn(&World) -> Claude) {
    let world = guarded();
    let claude = alice(&world);
    let first = claude.asks("one");
    assert!(first.succeeded, "{}", first.output);
    assert_eq!(first.text(), "anthropic heard: one");
    world.anthropic.next([limited(120)]);
    for prompt in ["two", "three"] {
        let session = claude.asks(prompt);
        assert!(session.succeeded, "{}", session.output);
        assert_eq!(session.text(), format!("bedrock heard: {prompt}"));
    }
    for line in lines(&world, 3) {
        assert!(line.contains(" user=\"alice\" ") && line.contains(" status=200 "), "{line}");
    }
    let messages = world.anthropic.messages();
    assert_eq!(messages.len(), 2);
    for request in &messages {
        assert_eq!((request.path(), request.header("x-api-key")), ("/v1/messages", KEY));
    }
    for request in [world.anthropic.requests(), world.bedrock.requests()].concat() {
        let whole = format!("{}{:?}{:?}", request.target, request.headers, request.body);
        for word in ["ccp_", "mallory", "x-claude-proxy"] {
            assert!(!whole.contains(word), "{word} reached an upstream: {whole}");
        }
    }
    let log = world.log();
    assert!(!log.contains("ccp_") && !log.contains("mallory"), "{log}");
}

/// A proxy that lets in Alice alone.
fn guarded() -> World {
    let digest = ProxyKey::from_random([0xa1; 32]).digest();
    World::with("ACCESS_MODE", "key").with("PROXY_KEYS", &format!("alice:{digest}")).start()
}

fn key() -> String {
    ProxyKey::from_random([0xa1; 32]).reveal().to_owned()
}
