//! Where a request goes, as rules: scenarios first, then properties, then the reading of hints.
//!
//! The vocabulary is below the tests.

#![expect(clippy::unwrap_used, reason = "a scenario that cannot be set up is a failed test")]

use std::time::Duration;

use function::failover::cooldown::{Cooldown, Timestamp};
use function::failover::hint::{
    End, Limited, LimitedSubject, judge_event, judge_failure, retry_after_seconds,
};
use function::failover::identity::{Fingerprint, ModelClass};
use function::failover::known::{Known, Proof};
use function::failover::proof::{self, Renewal, Standing};
use function::failover::{Attempt, FallbackOn, Policy, Reason, Said, Served, Upstream, Verdict};
use function::messages::ApiError;
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;

use Upstream::{Anthropic, Bedrock};

// ------------------------------------------------------------------ scenarios: who is asked

#[test]
fn a_request_goes_to_anthropic_first_and_its_answer_is_forwarded() {
    fresh().asks(Anthropic).which_answers().so_it_is_forwarded();
}

#[test]
fn a_limit_above_the_threshold_goes_to_bedrock_and_is_remembered() {
    let scene = fresh().asks(Anthropic).which_is_limited_for(31);
    scene
        .so_bedrock_is_asked(Reason::RateLimited)
        .and_remembered()
        .which_answers()
        .so_it_is_forwarded();
}

#[test]
fn a_limit_up_to_the_threshold_is_waited_for_and_asked_again() {
    let scene = fresh().asks(Anthropic).which_is_limited_for(7);
    scene.so_it_waits(7).asks(Anthropic).which_answers().so_it_is_forwarded();
}

#[test]
fn the_wait_is_never_longer_than_its_cap() {
    fresh().asks(Anthropic).which_is_limited_for(30).so_it_waits(10);
}

#[test]
fn a_second_short_limit_goes_to_bedrock_and_is_not_remembered() {
    let scene = fresh().asks(Anthropic).which_is_limited_for(5).so_it_waits(5);
    scene.which_is_limited_for(20).so_bedrock_is_asked(Reason::RateLimited).and_not_remembered();
}

#[test]
fn a_second_limit_above_the_threshold_is_remembered() {
    let scene = fresh().asks(Anthropic).which_is_limited_for(5).so_it_waits(5);
    scene.which_is_limited_for(300).so_bedrock_is_asked(Reason::RateLimited).and_remembered();
}

#[test]
fn a_limit_without_a_hint_is_asked_again_after_a_second_then_goes_to_bedrock() {
    let scene = fresh().asks(Anthropic).which_is_limited_without_hint(true).so_it_waits(1);
    let scene = scene.which_is_limited_without_hint(true);
    scene.so_bedrock_is_asked(Reason::RateLimited).and_not_remembered();
}

#[test]
fn a_limit_without_a_hint_and_without_limit_headers_is_an_entitlement_refusal() {
    let scene = fresh().asks(Anthropic).which_is_limited_without_hint(false).so_it_waits(1);
    scene.which_is_limited_without_hint(false).so_it_is_forwarded();
}

#[test]
fn a_limit_in_force_goes_straight_to_bedrock() {
    cooling_for(60).asks(Bedrock).which_answers().so_it_is_forwarded();
}

#[test]
fn a_limit_that_is_over_is_no_limit() {
    cooling_for(0).asks(Anthropic);
    cooling_for(-1).asks(Anthropic);
}

#[test]
fn a_limit_that_lasts_longer_than_any_was_written_by_a_wrong_clock() {
    cooling_for(6 * 3600).asks(Bedrock);
    cooling_for(6 * 3600 + 60).asks(Anthropic);
}

#[test]
fn without_tracking_no_limit_is_obeyed_and_none_is_remembered() {
    let policy = Policy { tracking: false, ..policy() };
    with(policy, 60).asks(Anthropic);
    let scene = with(policy, -1).asks(Anthropic).which_is_limited_for(600);
    scene.so_bedrock_is_asked(Reason::RateLimited).and_not_remembered();
}

#[test]
fn without_fallback_a_429_goes_to_the_client_after_the_short_wait() {
    let policy = Policy { fallback: false, ..policy() };
    with(policy, 60).asks(Anthropic).which_is_limited_for(600).so_nobody_answers(false);
    let scene = with(policy, -1).asks(Anthropic).which_is_limited_for(3).so_it_waits(3);
    scene.which_is_limited_for(3).so_nobody_answers(false);
}

#[test]
fn without_a_region_bedrock_is_never_asked() {
    let policy = Policy { regions: 0, ..policy() };
    with(policy, 60).asks(Anthropic).which_is_limited_for(600).so_nobody_answers(false);
}

#[test]
fn each_reason_falls_back_only_where_the_operator_lists_it_and_is_never_remembered() {
    let reasons = [
        (Said::Overloaded, Reason::Overloaded, on(|on| on.overloaded = true)),
        (Said::ServerError, Reason::ServerError, on(|on| on.server_error = true)),
        (Said::Unreachable, Reason::Unreachable, on(|on| on.unreachable = true)),
        (limited_for(600), Reason::RateLimited, on(|on| on.rate_limit = true)),
    ];
    for (outcome, reason, listed) in &reasons {
        let policy = Policy { fallback_on: *listed, ..policy() };
        let scene = with(policy, -1).asks(Anthropic).which_brings(outcome.clone());
        let scene = scene.so_bedrock_is_asked(*reason);
        if *reason != Reason::RateLimited {
            scene.and_not_remembered();
        }
        let policy = Policy { fallback_on: on(|_| {}), ..policy };
        with(policy, -1).asks(Anthropic).which_brings(outcome.clone()).so_nobody_answers(false);
    }
}

#[test]
fn a_limit_in_force_is_not_obeyed_where_rate_limits_are_no_reason() {
    with(Policy { fallback_on: on(|on| on.overloaded = true), ..policy() }, 60).asks(Anthropic);
}

#[test]
fn the_next_region_is_asked_when_one_fails_and_then_anthropics_answer_stands() {
    let scene = fresh().asks(Anthropic).which_is_limited_for(600);
    let scene = scene.so_bedrock_is_asked(Reason::RateLimited).in_region(0).which_fails(false);
    let scene = scene.so_bedrock_is_asked(Reason::RateLimited).in_region(1).which_fails(false);
    scene.so_nobody_answers(false);
}

#[test]
fn a_failure_that_passes_in_any_region_lets_the_client_come_back_soon() {
    let scene = fresh().asks(Anthropic).which_is_limited_for(600);
    let scene = scene.so_bedrock_is_asked(Reason::RateLimited).which_fails(true);
    scene.so_bedrock_is_asked(Reason::RateLimited).which_fails(false).so_nobody_answers(true);
}

#[test]
fn anthropic_is_asked_after_all_where_a_remembered_limit_had_skipped_it() {
    let scene = cooling_for(60).asks(Bedrock).which_fails(true);
    let scene = scene.so_bedrock_is_asked(Reason::Cooldown).which_fails(true);
    scene.so_it_asks(Anthropic).which_answers().so_it_is_forwarded();
}

#[test]
fn a_limit_that_anthropic_repeats_after_bedrock_failed_is_remembered_again() {
    let scene = cooling_for(60).asks(Bedrock).which_fails(true);
    let scene = scene.so_bedrock_is_asked(Reason::Cooldown).which_fails(true);
    let scene = scene.so_it_asks(Anthropic).which_is_limited_for(500);
    scene.so_nobody_answers(true).and_remembered();
}

#[test]
fn an_unproven_credential_is_judged_by_anthropic_which_may_open_bedrock_again() {
    let scene = cooling_for(60).asks(Bedrock).which_makes(Served::Unproven);
    let scene = scene.so_it_asks(Anthropic).which_is_limited_for(600);
    scene.so_bedrock_is_asked(Reason::RateLimited).which_answers().so_it_is_forwarded();
}

#[test]
fn an_unproven_credential_that_anthropic_has_answered_gets_that_answer() {
    let scene = fresh().asks(Anthropic).which_brings(Said::Overloaded);
    let scene = scene.so_bedrock_is_asked(Reason::Overloaded).which_makes(Served::Unproven);
    scene.so_nobody_answers(false);
}

#[test]
fn what_bedrock_cannot_be_told_is_not_tried_in_another_region() {
    let scene = cooling_for(60).asks(Bedrock).which_makes(Served::Untranslatable);
    let scene = scene.so_it_asks(Anthropic).which_is_limited_for(600);
    scene.so_nobody_answers(false);
}

// ------------------------------------------------------------------------------- properties

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn every_sequence_ends_and_no_upstream_is_asked_too_often(
        outcomes in prop::collection::vec((any_said(), any_served()), 16),
        policy in any_policy(),
        cooling in -10_i64..100,
    ) {
        let regions = policy.regions;
        let mut attempt = policy.route(Some(&cooldown(cooling)), now());
        let (mut anthropic, mut bedrock) = (0, vec![0; regions]);
        let mut ended = false;
        for (said, served) in outcomes {
            let verdict = match attempt {
                Attempt::Anthropic(asked) => {
                    anthropic += 1;
                    policy.after_anthropic(asked, said, now())
                }
                // Without proof no region is asked at all.
                Attempt::Bedrock(asked) => {
                    bedrock[asked.region] += i32::from(served != Served::Unproven);
                    policy.after_bedrock(asked, served)
                }
            };
            match verdict {
                Verdict::Reply | Verdict::GiveUp { .. } => { ended = true; break }
                Verdict::Wait { delay, then } => {
                    let longest = policy.max_retry_wait.max(Duration::from_secs(1));
                    prop_assert!(delay <= longest);
                    attempt = then;
                }
                Verdict::FailOver { next, remember } => {
                    prop_assert!(policy.tracking || remember.is_none());
                    attempt = next;
                }
            }
        }
        prop_assert!(ended);
        prop_assert!(anthropic <= 2);
        prop_assert!(bedrock.iter().all(|count| *count <= 1));
        prop_assert!(policy.fallback || bedrock.iter().all(|count| *count == 0));
    }

    #[test]
    fn a_remembered_limit_lies_ahead_and_within_the_cap(seconds in 0_u64..10_000_000) {
        let limited = limited(&[("retry-after", &seconds.to_string())]);
        for (_, cooldown) in limited.cooldowns(&whose(), now()) {
            let left = cooldown.until.duration_since(now()).as_secs();
            prop_assert!(left >= 0);
            prop_assert!(left <= 6 * 60 * 60);
            prop_assert_eq!(left, i64::try_from(seconds).unwrap().min(6 * 60 * 60));
        }
    }

    #[test]
    fn no_header_breaks_the_reading_of_hints(
        pairs in prop::collection::vec(("[a-z0-9_-]{0,16}", "[ -~]{0,12}"), 0..8),
    ) {
        let mut headers = genuine();
        for (name, value) in &pairs {
            let name = format!("anthropic-ratelimit-{name}");
            let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let outcome = judge_failure(status(429), &headers, RATE_LIMIT, &class("opus"), now());
        prop_assert!(matches!(outcome, Said::Limited(_) | Said::Answered));
    }
}

// -------------------------------------------------------------------- hints: how long, and what

#[test]
fn retry_after_is_read_in_both_forms() {
    assert_eq!(hint(&[("retry-after", "120")]), Some(120));
    assert_eq!(hint(&[("retry-after", &http_date(90))]), Some(90));
    assert_eq!(hint(&[("retry-after", "soon")]), None);
    assert_eq!(hint(&[("retry-after", "-5")]), None);
}

#[test]
fn an_answer_that_is_handed_on_says_whole_seconds_and_none_too_few() {
    let seconds = |name: &'static str, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        retry_after_seconds(&headers, now())
    };
    assert_eq!(seconds("retry-after", "0.2"), Some(1));
    assert_eq!(seconds("retry-after", "7"), Some(7));
    assert_eq!(seconds("retry-after-ms", "1500"), Some(2));
    assert_eq!(seconds("retry-after", &http_date(-5)), Some(0));
    assert_eq!(seconds("retry-after", "later"), None);
}

#[test]
fn a_limit_inside_of_a_stream_is_judged_as_one_outside() {
    let judge = |error: &str| {
        let body = format!(r#"{{"type":"error","error":{error}}}"#);
        judge_event(&ApiError::read(body.as_bytes()).unwrap(), &genuine())
    };
    let limit = r#"{"type":"rate_limit_error","message":null}"#;
    assert!(matches!(judge(limit), Said::Limited(_)));
    let cap =
        r#"{"type":"rate_limit_error","details":{"error_code":"enforced_spend_limit_reached"}}"#;
    assert_eq!(judge(cap), Said::Answered);
    assert_eq!(judge(r#"{"type":"overloaded_error"}"#), Said::Overloaded);
    assert_eq!(judge(r#"{"type":"timeout_error"}"#), Said::ServerError);
    assert_eq!(judge(r#"{"type":"invalid_request_error"}"#), Said::Answered);
}

#[test]
fn a_moment_that_has_passed_is_no_hint() {
    assert_eq!(hint(&[("retry-after", &http_date(-60))]), None);
    let window = |reset: &str| {
        hint(&[
            ("anthropic-ratelimit-unified-5h-status", "rejected"),
            ("anthropic-ratelimit-unified-5h-reset", reset),
        ])
    };
    assert_eq!(window(&at(-60).as_second().to_string()), None);
    // Nobody counts from 1970 so early: it is counted from now.
    assert_eq!(window("1000"), Some(1000));
}

#[test]
fn a_bucket_of_an_api_key_limits_the_class_until_its_reset_or_retry_after_if_later() {
    let reset = at(45).to_string();
    let bucket = [
        ("retry-after", "20"),
        ("anthropic-ratelimit-input-tokens-remaining", "0"),
        ("anthropic-ratelimit-input-tokens-reset", reset.as_str()),
    ];
    assert_eq!(limited(&bucket), until_class(45, "input-tokens"));
    let mut later = bucket;
    later[0].1 = "60";
    assert_eq!(limited(&later), until_class(60, "retry-after"));
    // The same moment by another clock: the window's name says more.
    later[0].1 = "52";
    assert_eq!(limited(&later), until_class(52, "input-tokens"));
}

#[test]
fn a_bucket_that_is_not_used_up_says_nothing() {
    let reset = at(45).to_string();
    let bucket = [
        ("anthropic-ratelimit-requests-remaining", "10"),
        ("anthropic-ratelimit-requests-reset", reset.as_str()),
    ];
    assert_eq!(hint(&bucket), None);
}

#[test]
fn the_five_hour_and_the_weekly_window_limit_the_account_until_the_latest_reset() {
    for window in ["5h", "7d"] {
        let status = format!("anthropic-ratelimit-unified-{window}-status");
        let reset = format!("anthropic-ratelimit-unified-{window}-reset");
        let (soon, late) = (unix(100), unix(9000));
        let headers = [
            (status.as_str(), "rejected"),
            (reset.as_str(), late.as_str()),
            ("retry-after", "50"),
            ("anthropic-ratelimit-unified-status", "rejected"),
            ("anthropic-ratelimit-unified-reset", soon.as_str()),
            ("anthropic-ratelimit-unified-representative-claim", "five_hour"),
        ];
        let limited = limited(&headers);
        assert_eq!(limited.account, end(9000, window));
        assert_eq!(limited.class, None);
    }
}

#[test]
fn only_the_aggregate_headers_are_enough_and_the_claim_says_what_is_limited() {
    let reset = unix(500);
    let claims = [
        ("five_hour", true),
        ("seven_day", true),
        ("seven_day_opus", false),
        ("seven_day_overage_included", false),
        ("something_new", false),
    ];
    for (claim, account) in claims {
        let headers = [
            ("anthropic-ratelimit-unified-status", "rejected"),
            ("anthropic-ratelimit-unified-reset", reset.as_str()),
            ("anthropic-ratelimit-unified-representative-claim", claim),
        ];
        let limited = limited(&headers);
        assert_eq!(limited.account.is_some(), account, "{claim}");
        assert_eq!(limited.class.is_some(), !account, "{claim}");
    }
}

#[test]
fn a_window_of_one_family_limits_that_family_until_its_own_reset() {
    let reset = unix(9000);
    let headers = [
        ("retry-after", "124633"),
        ("anthropic-ratelimit-unified-5h-status", "allowed"),
        ("anthropic-ratelimit-unified-7d-status", "allowed_warning"),
        ("anthropic-ratelimit-unified-7d_opus-status", "rejected"),
        ("anthropic-ratelimit-unified-7d_opus-reset", reset.as_str()),
    ];
    assert_eq!(limited(&headers), until_class(9000, "7d_opus"));
    // The same words about another family are no news for this request.
    let mut other = headers;
    other[3].0 = "anthropic-ratelimit-unified-7d_sonnet-status";
    other[4].0 = "anthropic-ratelimit-unified-7d_sonnet-reset";
    assert_eq!(limited(&other), until_class(124_633, "retry-after"));
}

#[test]
fn a_window_of_one_family_without_a_reset_falls_back_to_retry_after() {
    let headers =
        [("retry-after", "77"), ("anthropic-ratelimit-unified-7d_opus-status", "rejected")];
    assert_eq!(limited(&headers), until_class(77, "retry-after"));
}

#[test]
fn an_unknown_window_limits_the_class() {
    let reset = unix(400);
    let headers = [
        ("anthropic-ratelimit-unified-30d-status", "rejected"),
        ("anthropic-ratelimit-unified-30d-reset", reset.as_str()),
    ];
    assert_eq!(limited(&headers), until_class(400, "30d"));
}

#[test]
fn refused_overage_is_no_window() {
    let (reset, month) = (unix(400), unix(1_000_000));
    let headers = [
        ("anthropic-ratelimit-unified-5h-status", "rejected"),
        ("anthropic-ratelimit-unified-5h-reset", reset.as_str()),
        ("anthropic-ratelimit-unified-overage-status", "rejected"),
        ("anthropic-ratelimit-unified-overage-reset", month.as_str()),
    ];
    assert_eq!(limited(&headers).account, end(400, "5h"));
    assert_eq!(limited(&headers).class, None);
}

// ------------------------------------------------------------- which failures are whose business

#[test]
fn a_429_that_is_no_rate_limit_goes_to_the_client() {
    let not_limits: [(&str, &[u8]); 7] = [
        ("another type", br#"{"type":"error","error":{"type":"billing_error","message":"m"}}"#),
        (
            "a spend cap",
            br#"{"type":"error","error":{"type":"rate_limit_error","message":"m",
                "details":{"error_code":"enforced_spend_limit_reached"}}}"#,
        ),
        (
            "a contract's cap",
            br#"{"type":"error","error":{"type":"rate_limit_error","message":"m",
                "details":{"error_code":"contract_spend_limit_reached"}}}"#,
        ),
        (
            "long context",
            br#"{"type":"error","error":{"type":"rate_limit_error",
                "message":"Extra usage is required for long context requests."}}"#,
        ),
        (
            "long context, newer words",
            br#"{"type":"error","error":{"type":"rate_limit_error",
                "message":"Usage credits are required for long context requests."}}"#,
        ),
        ("no JSON", b"<html>too many requests</html>"),
        ("JSON of somebody else", br#"{"message":"Too Many Requests"}"#),
    ];
    for (what, body) in not_limits {
        let mut headers = genuine();
        headers.insert("retry-after", "600".parse().unwrap());
        let outcome = judge_failure(status(429), &headers, body, &class("opus"), now());
        assert_eq!(outcome, Said::Answered, "{what}");
    }
}

#[test]
fn a_429_without_a_request_id_does_not_come_from_anthropic() {
    let mut headers = genuine();
    headers.insert("retry-after", "600".parse().unwrap());
    headers.remove("request-id");
    let outcome = judge_failure(status(429), &headers, RATE_LIMIT, &class("opus"), now());
    assert_eq!(outcome, Said::Answered);
}

#[test]
fn an_account_out_of_credits_is_not_limited_unless_a_window_is_rejected_as_well() {
    let reset = unix(400);
    let mut headers = genuine();
    let disabled = "anthropic-ratelimit-unified-overage-disabled-reason";
    headers.insert(disabled, "out_of_credits".parse().unwrap());
    let outcome = judge_failure(status(429), &headers, RATE_LIMIT, &class("opus"), now());
    assert_eq!(outcome, Said::Answered);
    headers.insert("anthropic-ratelimit-unified-status", "rejected".parse().unwrap());
    headers.insert("anthropic-ratelimit-unified-reset", reset.parse().unwrap());
    let claim = "anthropic-ratelimit-unified-representative-claim";
    headers.insert(claim, "overage".parse().unwrap());
    let outcome = judge_failure(status(429), &headers, RATE_LIMIT, &class("opus"), now());
    assert_eq!(outcome, Said::Answered, "the aggregate repeats that the extra usage is spent");
    headers.insert("anthropic-ratelimit-unified-5h-status", "rejected".parse().unwrap());
    headers.insert("anthropic-ratelimit-unified-5h-reset", reset.parse().unwrap());
    let outcome = judge_failure(status(429), &headers, RATE_LIMIT, &class("opus"), now());
    assert!(matches!(outcome, Said::Limited(limited) if limited.account.is_some()));
}

#[test]
fn statuses_are_sorted_by_what_can_be_done_about_them() {
    let overloaded = br#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#;
    let judge = |code, body| judge_failure(status(code), &genuine(), body, &class("opus"), now());
    assert_eq!(judge(429, overloaded), Said::Overloaded);
    assert_eq!(judge(529, b""), Said::Overloaded);
    for code in 500..=504 {
        assert_eq!(judge(code, b"<html>"), Said::ServerError, "{code}");
    }
    for code in [400, 401, 402, 403, 404, 409, 413, 422, 505, 520] {
        assert_eq!(judge(code, RATE_LIMIT), Said::Answered, "{code}");
    }
}

// -------------------------------------------------------------------------- classes and proof

#[test]
fn models_of_one_family_share_a_class_and_strange_names_have_none() {
    for (model, class) in [
        ("claude-opus-5-5", Some("opus")),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", Some("sonnet")),
        ("claude-HAIKU-4-5[1m]", Some("haiku")),
        ("claude-fable-5-2", Some("fable")),
        ("claude-mythos-5", Some("mythos")),
        ("Claude-Next-1", Some("claude-next-1")),
        ("claude next", None),
        ("", None),
    ] {
        assert_eq!(ModelClass::of(model).as_ref().map(ModelClass::as_str), class, "{model}");
    }
    assert_eq!(ModelClass::of(&"x".repeat(65)), None);
}

#[test]
fn a_fingerprint_depends_on_the_credentials_only() {
    let of = |parts: &[&[u8]]| Fingerprint::of(parts);
    assert_eq!(of(&[]), None);
    assert_eq!(of(&[b"key", b"key"]), of(&[b"key"]));
    assert_eq!(of(&[b"one", b"two"]), of(&[b"two", b"one"]));
    assert_ne!(of(&[b"one", b"two"]), of(&[b"on", b"etwo"]));
    assert_ne!(of(&[b"one", b"two"]), of(&[b"onetwo"]));
    let sha256_of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(of(&[b"abc"]).unwrap().to_string(), sha256_of_abc);
}

#[test]
fn a_proof_is_as_young_as_the_youngest_word_of_anthropic() {
    let standing = |known: &Known| Standing::of(known, None, Duration::from_secs(900), now());
    assert_eq!(standing(&Known::default()), Standing::Unknown);
    assert_eq!(standing(&proven(900)), Standing::Proven);
    assert_eq!(standing(&proven(901)), Standing::Stale { proven_at: at(-901) });
    let limit = Cooldown { recorded_at: at(-5), ..cooldown(60) };
    assert_eq!(standing(&Known { account: Some(limit), ..proven(5000) }), Standing::Proven);
}

#[test]
fn what_was_said_in_the_future_proves_nothing_and_is_replaced() {
    let max_age = Duration::from_secs(900);
    let standing = |known: &Known| Standing::of(known, None, max_age, now());
    let new = Proof { proven_at: now(), organization: None };
    for (ahead, usable) in [(0, true), (1, true), (2, false), (3600, false), (1_000_000, false)] {
        let proof = proven(-ahead);
        let limit = Cooldown { recorded_at: at(ahead), ..cooldown(60) };
        let limited = Known { class: Some(limit.clone()), ..Known::default() };
        let stands = if usable { Standing::Proven } else { Standing::Unknown };
        assert_eq!((standing(&proof), standing(&limited)), (stands, stands), "{ahead}");
        assert_eq!(limit.is_in_force(now()), usable, "{ahead}");
        assert_eq!(proof::is_worth_writing(&proof, &new, max_age, now()), !usable, "{ahead}");
        // What is of the past counts beside it.
        let both = Known { class: Some(limit), ..proven(1000) };
        let aged = Standing::Stale { proven_at: at(-1000) };
        assert_eq!(standing(&both), if usable { stands } else { aged }, "{ahead}");
    }
    let from_ahead = Standing::Stale { proven_at: at(60) };
    assert_eq!(Renewal::of(from_ahead, None, now()), Renewal::Unproven);
}

#[test]
fn a_stale_proof_is_renewed_by_anything_but_a_refusal_for_six_hours() {
    let judge = |age: i64, code: Option<u16>| {
        let standing = Standing::Stale { proven_at: at(-age) };
        Renewal::of(standing, code.map(status), now())
    };
    assert_eq!(judge(1000, Some(200)), Renewal::Proven);
    assert_eq!(judge(1000, Some(429)), Renewal::Kept);
    assert_eq!(judge(1000, None), Renewal::Kept);
    assert_eq!(judge(1000, Some(401)), Renewal::Unproven);
    assert_eq!(judge(1000, Some(403)), Renewal::Unproven);
    assert_eq!(judge(6 * 3600, Some(500)), Renewal::Kept);
    assert_eq!(judge(6 * 3600 + 1, Some(500)), Renewal::Unproven);
}

#[test]
fn an_unknown_credential_is_proven_by_a_success_only() {
    let judge = |code: Option<u16>| Renewal::of(Standing::Unknown, code.map(status), now());
    assert_eq!(judge(Some(200)), Renewal::Proven);
    for code in [Some(401), Some(403), Some(429), Some(500), None] {
        assert_eq!(judge(code), Renewal::Unproven, "{code:?}");
    }
}

#[test]
fn an_answer_is_proof_only_with_anthropics_marks() {
    let carried = |code: u16, names: &[&str], limited: bool| {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.insert(
                http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                "x".parse().unwrap(),
            );
        }
        proof::carried_by(status(code), &headers, limited, now()).is_some()
    };
    assert!(carried(200, &["request-id"], false));
    assert!(!carried(200, &[], false));
    assert!(carried(429, &["request-id", "anthropic-organization-id"], true));
    assert!(carried(429, &["request-id", "anthropic-ratelimit-requests-limit"], true));
    assert!(!carried(429, &["request-id"], true));
    assert!(!carried(429, &["anthropic-organization-id"], true));
    assert!(!carried(429, &["request-id", "anthropic-organization-id"], false));
    assert!(!carried(400, &["request-id", "anthropic-organization-id"], false));
}

#[test]
fn a_proof_is_written_when_the_known_one_is_older_than_half_its_life() {
    let new = |organization: Option<&str>| Proof {
        proven_at: now(),
        organization: organization.map(str::to_owned),
    };
    let worth = |known: &Known, organization| {
        proof::is_worth_writing(known, &new(organization), Duration::from_secs(900), now())
    };
    assert!(worth(&Known::default(), None));
    assert!(!worth(&proven(450), None));
    assert!(worth(&proven(451), None));
    let nameless =
        Known { proof: Some(Proof { proven_at: at(-1), organization: None }), ..proven(1) };
    assert!(!worth(&nameless, None));
    assert!(worth(&nameless, Some("ours")));
}

#[test]
fn where_organizations_are_listed_a_proof_must_name_one_of_them() {
    let listed = ["ours".to_owned(), "also".to_owned()];
    let known = |organization: Option<&str>, age: i64| {
        let organization = organization.map(str::to_owned);
        Known { proof: Some(Proof { proven_at: at(-age), organization }), ..Known::default() }
    };
    let standing =
        |known: &Known| Standing::of(known, Some(&listed[..]), Duration::from_secs(900), now());
    assert_eq!(standing(&known(Some("ours"), 1)), Standing::Proven);
    assert_eq!(standing(&known(Some("ours"), 901)), Standing::Stale { proven_at: at(-901) });
    for foreign in ["OURS", "", "ours,also", "theirs"] {
        assert_eq!(standing(&known(Some(foreign), 1)), Standing::Foreign, "{foreign}");
    }
    assert_eq!(standing(&known(None, 1)), Standing::Unknown);
    let limit = Cooldown { recorded_at: at(-5), ..cooldown(60) };
    let limited = Known { account: Some(limit), ..Known::default() };
    assert_eq!(standing(&limited), Standing::Unknown, "a limit does not say whose it is");
    let limited = Known { proof: known(Some("ours"), 5000).proof, ..limited };
    assert_eq!(standing(&limited), Standing::Proven, "an old proof says whose it is");
}

#[test]
fn a_call_gives_a_right_to_bedrock_only_to_whom_it_may_have() {
    let stale = Standing::Stale { proven_at: at(-1000) };
    for (standing, renewal, stands) in [
        (Standing::Proven, Renewal::Proven, true),
        (stale, Renewal::Kept, true),
        (Standing::Proven, Renewal::Unproven, false),
        (stale, Renewal::Unproven, false),
        (Standing::Foreign, Renewal::Proven, false),
        (Standing::Unknown, Renewal::Proven, false),
        (Standing::Unknown, Renewal::Kept, false),
    ] {
        assert_eq!(standing.stands_after(renewal), stands, "{standing:?} {renewal:?}");
    }
}

#[test]
fn a_new_proof_keeps_the_organization_that_an_older_one_named() {
    let proof = |organization: Option<&str>| Proof {
        proven_at: now(),
        organization: organization.map(str::to_owned),
    };
    let known = Known { proof: Some(proof(Some("ours"))), ..Known::default() };
    assert_eq!(proof::joined(&known, proof(None)), proof(Some("ours")));
    assert_eq!(proof::joined(&known, proof(Some("new"))), proof(Some("new")));
    assert_eq!(proof::joined(&Known::default(), proof(None)), proof(None));
}

// ------------------------------------------------------------------------------- vocabulary

const RATE_LIMIT: &[u8] = br#"{"type":"error","error":{"type":"rate_limit_error","message":"m"}}"#;

/// A request on its way: who is asked now, or what has been decided.
#[derive(Debug)]
struct Scene {
    policy: Policy,
    attempt: Attempt,
    verdict: Option<Verdict>,
}

fn fresh() -> Scene {
    with(policy(), -1)
}

fn cooling_for(seconds: i64) -> Scene {
    with(policy(), seconds)
}

fn with(policy: Policy, cooling: i64) -> Scene {
    let attempt = policy.route(Some(&cooldown(cooling)), now());
    Scene { policy, attempt, verdict: None }
}

impl Scene {
    #[track_caller]
    fn asks(self, upstream: Upstream) -> Self {
        assert_eq!(self.attempt.upstream(), upstream);
        self
    }

    fn which_brings(self, said: Said) -> Self {
        let Attempt::Anthropic(asked) = self.attempt else { panic!("{self:?}") };
        let verdict = self.policy.after_anthropic(asked, said, now());
        Self { verdict: Some(verdict), ..self }
    }

    fn which_makes(self, served: Served) -> Self {
        let Attempt::Bedrock(asked) = self.attempt else { panic!("{self:?}") };
        let verdict = self.policy.after_bedrock(asked, served);
        Self { verdict: Some(verdict), ..self }
    }

    fn which_answers(self) -> Self {
        match self.attempt {
            Attempt::Anthropic(_) => self.which_brings(Said::Answered),
            Attempt::Bedrock(_) => self.which_makes(Served::Answered),
        }
    }

    fn which_is_limited_for(self, seconds: i64) -> Self {
        self.which_brings(limited_for(seconds))
    }

    fn which_is_limited_without_hint(self, has_rate_limit_headers: bool) -> Self {
        let limited = Limited { has_rate_limit_headers, ..Limited::default() };
        self.which_brings(Said::Limited(limited))
    }

    fn which_fails(self, passes: bool) -> Self {
        self.which_makes(Served::Unserved { passes })
    }

    #[track_caller]
    fn so_it_is_forwarded(self) {
        assert_eq!(self.verdict, Some(Verdict::Reply));
    }

    #[track_caller]
    fn so_it_waits(self, seconds: u64) -> Self {
        let Some(Verdict::Wait { delay, then }) = self.verdict else { panic!("{self:?}") };
        assert_eq!(delay, Duration::from_secs(seconds));
        Self { attempt: then, verdict: None, ..self }
    }

    #[track_caller]
    fn so_it_asks(self, upstream: Upstream) -> Self {
        let Some(Verdict::FailOver { next, .. }) = self.verdict else { panic!("{self:?}") };
        assert_eq!(next.upstream(), upstream);
        Self { attempt: next, ..self }
    }

    #[track_caller]
    fn so_bedrock_is_asked(self, reason: Reason) -> Self {
        let scene = self.so_it_asks(Bedrock);
        assert!(matches!(scene.attempt, Attempt::Bedrock(asked) if asked.reason == reason));
        scene
    }

    #[track_caller]
    fn in_region(self, index: usize) -> Self {
        assert!(matches!(self.attempt, Attempt::Bedrock(asked) if asked.region == index));
        self
    }

    #[track_caller]
    fn so_nobody_answers(self, soon: bool) -> Self {
        let passes = matches!(self.verdict, Some(Verdict::GiveUp { passes, .. }) if passes == soon);
        assert!(passes, "{self:?}");
        self
    }

    fn remembered(&self) -> bool {
        match &self.verdict {
            Some(Verdict::FailOver { remember, .. } | Verdict::GiveUp { remember, .. }) => {
                remember.is_some()
            }
            Some(Verdict::Reply | Verdict::Wait { .. }) | None => false,
        }
    }

    #[track_caller]
    fn and_remembered(self) -> Self {
        assert!(self.remembered(), "{self:?}");
        self
    }

    #[track_caller]
    fn and_not_remembered(self) -> Self {
        assert!(!self.remembered(), "{self:?}");
        self
    }
}

/// The contract's defaults, with two regions.
fn policy() -> Policy {
    Policy {
        tracking: true,
        fallback: true,
        fallback_on: FallbackOn::default(),
        retry_threshold: Duration::from_secs(30),
        max_retry_wait: Duration::from_secs(10),
        regions: 2,
    }
}

fn on(change: impl FnOnce(&mut FallbackOn)) -> FallbackOn {
    let mut none = FallbackOn {
        rate_limit: false,
        overloaded: false,
        server_error: false,
        unreachable: false,
    };
    change(&mut none);
    none
}

fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(now().as_second() + seconds).unwrap()
}

fn unix(seconds: i64) -> String {
    at(seconds).as_second().to_string()
}

fn http_date(seconds: i64) -> String {
    at(seconds).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap()
}

fn class(name: &str) -> ModelClass {
    ModelClass::of(name).unwrap()
}

fn cooldown(seconds: i64) -> Cooldown {
    Cooldown {
        until: at(seconds),
        recorded_at: at(-1000),
        reason: "retry-after".to_owned(),
        retry_after_seconds: 1,
        model: "claude-opus-5-5".to_owned(),
        user: None,
    }
}

fn proven(age: i64) -> Known {
    let proof = Proof { proven_at: at(-age), organization: None };
    Known { proof: Some(proof), ..Known::default() }
}

fn limited_for(seconds: i64) -> Said {
    Said::Limited(Limited {
        class: end(seconds, "retry-after"),
        has_rate_limit_headers: true,
        ..Limited::default()
    })
}

fn end(seconds: i64, reason: &str) -> Option<End> {
    Some(End { until: at(seconds), reason: reason.to_owned() })
}

fn until_class(seconds: i64, reason: &str) -> Limited {
    let class = end(seconds, reason);
    Limited { class, has_rate_limit_headers: true, ..Limited::default() }
}

/// What marks an answer as Anthropic's own.
fn genuine() -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("request-id", "req_1".parse().unwrap());
    headers
}

/// What is read from a genuine 429 for an Opus model; a header of limits is always there.
fn limited(pairs: &[(&str, &str)]) -> Limited {
    let mut headers = genuine();
    headers.insert("anthropic-ratelimit-requests-limit", "50".parse().unwrap());
    for (name, value) in pairs {
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.insert(name, value.parse().unwrap());
    }
    let outcome = judge_failure(status(429), &headers, RATE_LIMIT, &class("opus"), now());
    let Said::Limited(limited) = outcome else { panic!("{outcome:?}") };
    limited
}

fn hint(pairs: &[(&str, &str)]) -> Option<u64> {
    limited(pairs).hint(now()).map(|hint| hint.as_secs())
}

fn whose() -> LimitedSubject<'static> {
    use std::sync::LazyLock;
    static CLASS: LazyLock<ModelClass> = LazyLock::new(|| class("opus"));
    LimitedSubject {
        fingerprint: Fingerprint::of(&[b"sk-ant-api03-test"]).unwrap(),
        class: &CLASS,
        model: "claude-opus-5-5",
        user: Some("alice"),
    }
}

fn any_said() -> impl Strategy<Value = Said> {
    prop_oneof![
        Just(Said::Answered),
        (-5_i64..100).prop_map(limited_for),
        any::<bool>().prop_map(|has_rate_limit_headers| {
            Said::Limited(Limited { has_rate_limit_headers, ..Limited::default() })
        }),
        Just(Said::Overloaded),
        Just(Said::ServerError),
        Just(Said::Unreachable),
    ]
}

fn any_served() -> impl Strategy<Value = Served> {
    prop_oneof![
        Just(Served::Answered),
        any::<bool>().prop_map(|passes| Served::Unserved { passes }),
        Just(Served::Untranslatable),
        Just(Served::Unproven),
    ]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    (any::<[bool; 6]>(), 0_usize..4, 0_u64..60, 0_u64..20).prop_map(
        |(
            [tracking, fallback, rate_limit, overloaded, server_error, unreachable],
            regions,
            t,
            w,
        )| {
            Policy {
                tracking,
                fallback,
                fallback_on: FallbackOn { rate_limit, overloaded, server_error, unreachable },
                retry_threshold: Duration::from_secs(t),
                max_retry_wait: Duration::from_secs(w),
                regions,
            }
        },
    )
}
