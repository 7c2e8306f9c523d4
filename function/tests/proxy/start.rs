//! The program starts, or says in a sentence why not.

use testing::{
    answer::limited,
    client::Call,
    world::{World, run},
};

#[test]
fn a_port_in_use_is_one_sentence() {
    let world = World::start();
    let address = world.address().to_string();
    let (status, said) = run(&[], &["--listen", &address]);
    assert!(!status.success());
    assert!(said.contains(&address) && !said.contains("panicked"), "{said}");
    assert!(said.lines().filter(|line| !line.trim().is_empty()).count() <= 3, "{said}");
}

#[test]
fn a_store_in_use_is_one_sentence() {
    let world = World::start();
    let path = world.setting("RATE_LIMIT_STORE_PATH");
    let store = [("RATE_LIMIT_STORE", "embedded"), ("RATE_LIMIT_STORE_PATH", path)];
    let (status, said) = run(&store, &["--listen", "127.0.0.1:0"]);
    assert!(!status.success());
    assert!(said.contains(path) && said.contains("in use"), "{said}");
    assert!(said.lines().filter(|line| !line.trim().is_empty()).count() <= 3, "{said}");
}

#[tokio::test]
async fn a_log_that_is_no_terminal_has_no_colours() {
    let world = World::start();
    world.call(Call::message()).await;
    assert!(!world.log().contains('\u{1b}'), "{}", world.log());
}

#[test]
fn every_bad_setting_is_named_at_once() {
    let (status, said) = run(
        &[
            ("FALLBACK_ON", "rate_limits"),
            ("RETRY_THRESHOLD_SECONDS", "soon"),
            ("BEDROCK_FALBACK_ENABLED", "true"),
            ("ANTHROPIC_UPSTREAM_URL", "http://api.example.com"),
            ("SOMEBODY_ELSES", "business"),
        ],
        &["--listen", "127.0.0.1:0"],
    );
    assert!(!status.success());
    for name in [
        "FALLBACK_ON",
        "RETRY_THRESHOLD_SECONDS",
        "BEDROCK_FALBACK_ENABLED",
        "BEDROCK_FALLBACK_ENABLED",
        "ANTHROPIC_UPSTREAM_URL",
    ] {
        assert!(said.contains(name), "{name} is not named: {said}");
    }
    assert!(!said.contains("SOMEBODY_ELSES") && !said.contains("panicked"), "{said}");
}

#[tokio::test]
async fn a_system_without_root_certificates_is_no_reason_to_stop() {
    let world = World::with("SSL_CERT_FILE", "/nowhere.pem").start();
    world.anthropic.next([limited(120)]);
    assert_eq!(world.call(Call::message()).await.reason(), "rate_limited", "{}", world.log());
}

#[tokio::test]
async fn an_empty_variable_is_unset() {
    let world = World::with("FALLBACK_ON", "").with("RETRY_THRESHOLD_SECONDS", "").start();
    let reply = world.call(Call::new("GET", "/healthz")).await;
    assert_eq!(reply.status, 200);
}

#[test]
fn an_open_proxy_listens_only_on_the_loopback() {
    let (status, said) = run(&[], &["--listen", "0.0.0.0:0"]);
    assert!(!status.success());
    assert!(said.contains("ACCESS_OPEN_ANYWHERE"), "{said}");
}
