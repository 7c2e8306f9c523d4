//! The drill as a decision: which texts are nonces, when one is good, and what is asked then.

use std::time::Duration;

use function::drill::{Drill, GOOD_FOR, MOST_TOKENS, Nonce, is_asked, limited};
use function::failover::cooldown::Timestamp;
use function::failover::hint::{Limited, LimitedSubject};
use function::failover::identity::{Fingerprint, ModelClass};
use function::failover::{AnthropicTry, Attempt, FallbackOn, Policy, Said, Upstream, Verdict};
use http::{HeaderMap, HeaderValue, Method};
use jiff::SignedDuration;
use proptest::prelude::*;
use serde_json::Value;

#[test]
fn only_the_whole_form_is_a_nonce() {
    let nonce = Nonce::from_random([0xd1; 32]);
    let text = nonce.reveal();
    assert_eq!((text.len(), text.parse::<Nonce>()), (68, Ok(nonce.clone())));
    for other in [
        "",
        &text[1..],
        &text[..67],
        &format!("{text}0"),
        &text.to_uppercase(),
        &text.replacen("ccd_", "ccp_", 1),
        &format!(" {text}"),
        &format!("{}g", &text[..67]),
    ] {
        assert!(other.parse::<Nonce>().is_err(), "{other}");
    }
    assert_eq!(format!("{nonce:?}"), "Nonce");
}

#[test]
fn a_request_shows_one_nonce_or_none() {
    let nonce = Nonce::from_random([0xd1; 32]);
    let mut headers = HeaderMap::new();
    assert_eq!(Nonce::shown(&headers), None);
    let value = HeaderValue::from_str(nonce.reveal()).unwrap();
    headers.insert("x-claude-proxy-drill", value.clone());
    assert_eq!(Nonce::shown(&headers), Some(nonce));
    headers.append("x-claude-proxy-drill", value);
    assert_eq!(Nonce::shown(&headers), None);
}

#[test]
fn only_a_post_to_the_very_path_asks_for_a_drill() {
    assert!(is_asked(&Method::POST, "/_proxy/drill"));
    for path in ["/_proxy/drill/", "/_proxy/Drill", "/_proxy//drill", "/k/x/_proxy/drill", "/"] {
        assert!(!is_asked(&Method::POST, path), "{path}");
    }
    assert!(!is_asked(&Method::GET, "/_proxy/drill"));
}

#[test]
fn a_nonce_is_good_for_five_minutes_and_not_a_second_longer() {
    let drill = Drill { model: "claude-haiku-4-5".to_owned(), expires_at: at(300) };
    assert!(drill.is_open(at(0)) && drill.is_open(at(299)));
    assert!(!drill.is_open(at(300)) && !drill.is_open(at(301)));
    // Written while a clock was wrong, or by somebody who wanted more.
    assert!(!drill.is_open(at(-2)), "it would be good for longer than {GOOD_FOR:?}");
}

#[test]
fn a_drill_asks_for_sixteen_tokens_of_the_model_that_the_operator_named() {
    let drill = Drill { model: "a\"b".to_owned(), expires_at: at(300) };
    let request: Value = serde_json::from_slice(&drill.request()).unwrap();
    assert_eq!(
        (request["model"].as_str(), request["max_tokens"].as_u64()),
        (Some("a\"b"), Some(16))
    );
    assert_eq!((MOST_TOKENS, &request["stream"]), (16, &Value::Bool(true)));
}

#[test]
fn the_limit_that_is_played_is_one_that_is_remembered_and_nobodys() {
    let nonce = Nonce::from_random([0xd1; 32]);
    let class = ModelClass::of("claude-haiku-4-5").unwrap();
    for threshold in [0, 30, 21_000].map(Duration::from_secs) {
        let said = limited(&class, threshold, at(0));
        let verdict = policy(threshold).after_anthropic(first(), said.clone(), at(0));
        let Verdict::FailOver { next, remember: Some(limit) } = verdict else {
            panic!("{threshold:?}: {verdict:?}");
        };
        assert_eq!(next.upstream(), Upstream::Bedrock);
        let whose =
            LimitedSubject { fingerprint: nonce.nobody(), class: &class, model: "m", user: None };
        let limits = limit.cooldowns(&whose, at(0));
        assert_eq!((limits.len(), limits[0].1.reason.as_str()), (1, "retry-after"));
        assert!(matches!(said, Said::Limited(Limited { account: None, .. })));
    }
}

proptest! {
    /// A limit is proof, so nobody may be able to show what has the fingerprint of a drill's.
    #[test]
    fn no_credential_has_the_fingerprint_of_a_drill(bytes: [u8; 32]) {
        let nonce = Nonce::from_random(bytes);
        let alone = Fingerprint::of(&[nonce.reveal().as_bytes()]);
        let pair = Fingerprint::of(&[b"drill", nonce.reveal().as_bytes()]);
        prop_assert_ne!(Some(nonce.nobody()), alone);
        prop_assert_ne!(Some(nonce.nobody()), pair);
        prop_assert_ne!(nonce.nobody(), nonce.digest());
        // What it is made of cannot stand in a header.
        let text = format!("drill\0{}", nonce.reveal());
        prop_assert_eq!(Fingerprint::of(&[text.as_bytes()]), Some(nonce.nobody()));
        prop_assert!(HeaderValue::from_str(&text).is_err());
    }
}

fn first() -> AnthropicTry {
    match policy(Duration::ZERO).route(None, at(0)) {
        Attempt::Anthropic(asked) => asked,
        Attempt::Bedrock(_) => panic!("no limit is known"),
    }
}

fn policy(retry_threshold: Duration) -> Policy {
    Policy {
        tracking: true,
        fallback: true,
        fallback_on: FallbackOn::default(),
        retry_threshold,
        max_retry_wait: Duration::from_secs(10),
        regions: 1,
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_secs(1_795_000_000 + seconds)
}
