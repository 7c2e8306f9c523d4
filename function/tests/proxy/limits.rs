//! Anthropic says 429: Bedrock answers, the limit is remembered for just this credential and class,
//! and what is no limit is never taken for one.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use testing::{
    answer::{Answer, access_denied, limited, moment, ok, overloaded, refused, too_many, window},
    client::{BOB, Call, Reply},
    world::World,
};
use tokio::time::sleep;

#[tokio::test]
async fn a_limit_is_answered_by_bedrock_and_nothing_of_it_is_seen() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "bedrock heard: hello"));
    assert_eq!((reply.upstream(), reply.reason()), ("bedrock", "rate_limited"));
    assert_eq!(reply.header("x-claude-proxy-region"), "us-east-1");
    let model = reply.header("x-claude-proxy-bedrock-model");
    assert_eq!(model, "us.anthropic.claude-sonnet-4-5-20250929-v1:0");
    assert_ends_in(&reply, 120);
    assert!(reply.header("content-type").starts_with("text/event-stream"));
    assert_ne!(reply.header("request-id"), "");
    assert_eq!(reply.headers_like("anthropic-ratelimit"), [""; 0]);
    assert_eq!((reply.header("retry-after"), reply.header("x-should-retry")), ("", ""));
    assert_eq!(reply.events()[0].data["message"]["model"], "claude-sonnet-4-5-20250929");
    assert!(!String::from_utf8_lossy(&reply.body).contains("amazon-bedrock"));
    assert_eq!(reply.broken, None);
}

#[tokio::test]
async fn while_a_limit_is_in_force_anthropic_is_not_called() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.call(Call::message()).await;
    for call in [Call::message(), Call::message().whole()] {
        let reply = world.call(call).await;
        assert_eq!((reply.text().as_str(), reply.reason()), ("bedrock heard: hello", "cooldown"));
        assert_ends_in(&reply, 120);
    }
    assert_eq!(world.anthropic.requests().len(), 1);
}

#[tokio::test]
async fn a_limit_is_remembered_while_bedrock_still_thinks() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.bedrock.always(ok().head_after(Duration::from_secs(3)));
    let next = async {
        sleep(Duration::from_secs(1)).await;
        world.call(Call::message()).await
    };
    let (first, next) = tokio::join!(world.call(Call::message()), next);
    assert_eq!((first.reason(), next.reason()), ("rate_limited", "cooldown"));
    assert_eq!(world.anthropic.requests().len(), 1);
}

#[tokio::test]
async fn after_its_end_a_limit_is_no_limit() {
    let world = World::with("RETRY_THRESHOLD_SECONDS", "1").start();
    world.anthropic.next([limited(2)]);
    assert_eq!(world.call(Call::message()).await.reason(), "rate_limited");
    assert_eq!(world.call(Call::message()).await.reason(), "cooldown");
    // An end is kept in whole seconds, rounded up.
    sleep(Duration::from_millis(3100)).await;
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
}

#[tokio::test]
async fn a_limit_belongs_to_its_credential() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.call(Call::message()).await;
    let bob = world.call(Call::message().by(BOB)).await;
    assert_eq!(bob.upstream(), "anthropic");
    // The same credential in the other header is the same credential.
    let bearer = Call::message()
        .without("x-api-key")
        .header("authorization", "Bearer sk-ant-api03-test-alice");
    assert_eq!(world.call(bearer).await.reason(), "cooldown");
    let both = Call::message().header("authorization", "Bearer sk-ant-oat01-test-other");
    assert_eq!(world.call(both).await.upstream(), "anthropic");
}

#[tokio::test]
async fn a_bucket_of_an_api_key_limits_one_model_family() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.call(Call::message()).await;
    let haiku = world.call(Call::message().model("claude-haiku-4-5-20251001")).await;
    assert_eq!(haiku.upstream(), "anthropic");
    let sonnet = world.call(Call::message().model("claude-sonnet-4-6")).await;
    assert_eq!(sonnet.reason(), "cooldown");
}

#[tokio::test]
async fn the_windows_of_the_account_limit_every_model() {
    for name in ["5h", "7d"] {
        for answer in [window(name, 7200), alone(window(name, 7200))] {
            let world = World::start();
            world.anthropic.next([answer]);
            let reply = world.call(Call::message()).await;
            assert_eq!(reply.reason(), "rate_limited", "{name}");
            assert_ends_in(&reply, 7200);
            let haiku = world.call(Call::message().model("claude-haiku-4-5-20251001")).await;
            assert_eq!(haiku.reason(), "cooldown", "{name}");
            assert_eq!(world.anthropic.requests().len(), 1);
        }
    }
}

#[tokio::test]
async fn a_window_that_nobody_knows_limits_one_model_family() {
    let world = World::start();
    world.anthropic.next([alone(window("9w", 7200))]);
    assert_ends_in(&world.call(Call::message()).await, 7200);
    let haiku = world.call(Call::message().model("claude-haiku-4-5-20251001")).await;
    assert_eq!(haiku.upstream(), "anthropic");
}

#[tokio::test]
async fn the_window_of_a_family_limits_that_family_until_its_own_reset() {
    let world = World::start();
    world.anthropic.next([window("7d_opus", 600).header("retry-after", "20000")]);
    let opus = || Call::message().model("claude-opus-4-5-20251101");
    let reply = world.call(opus()).await;
    assert_eq!(reply.reason(), "rate_limited");
    assert_ends_in(&reply, 600);
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
    assert_eq!(world.call(opus()).await.reason(), "cooldown");
}

#[tokio::test]
async fn a_limit_is_never_remembered_for_more_than_six_hours() {
    let world = World::start();
    world.anthropic.next([window("7d", 86_400)]);
    assert_ends_in(&world.call(Call::message()).await, 6 * 3600);
}

#[tokio::test]
async fn the_latest_of_the_hints_counts() {
    let world = World::start();
    world.anthropic.next([limited(120).header("retry-after", "2")]);
    assert_ends_in(&world.call(Call::message()).await, 120);
    let date = moment(300).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    world.anthropic.next([too_many().header("retry-after", &date)]);
    assert_ends_in(&world.call(Call::message().by(BOB)).await, 300);
}

/// An hour, as others write it in `retry-after`.
const HOUR: [&str; 14] = [
    "3600.5",
    "3600s",
    "3600.0 Seconds",
    "+3600",
    "3600; comment=\"busy\"",
    "1h0m",
    "60 minutes",
    "PT1H",
    "\"3600\"",
    "3.6e3",
    "3600.",
    "3600,",
    ", 3600",
    "  3600\t",
];

#[tokio::test]
async fn an_hour_is_read_however_it_is_written() {
    let date = |form: &str| moment(3600).strftime(form).to_string();
    let dates = ["%a, %d %b %Y %T GMT", "%A, %d-%b-%y %T GMT", "%a %b %e %T %Y"].map(date);
    let moments = [moment(3600).as_second(), moment(3600).as_millisecond()];
    let written = HOUR.into_iter().map(str::to_owned).chain(dates);
    let written = written.chain(moments.map(|moment| moment.to_string()));
    let cases = written.map(|said| (too_many().header("retry-after", &said), 3600, said));
    assert_hints(cases).await;
}

#[tokio::test]
async fn a_hint_is_read_however_it_is_written() {
    let date = |form: &str| moment(3600).strftime(form).to_string();
    let twice = format!("60, {}", date("%a, %d %b %Y %T GMT"));
    let offset = moment(3600).strftime("%FT%T.250+00:00").to_string();
    let millis = moment(3600).as_millisecond().to_string();
    let short = || too_many().header("retry-after", "40");
    let bucket = |remaining: &str, reset: &str| {
        let bucket = short().header("anthropic-ratelimit-requests-remaining", remaining);
        bucket.header("anthropic-ratelimit-requests-reset", reset)
    };
    let cases = [
        ("another unit beside a good one", short().line("retry-after", "60 minutes"), 3600),
        ("a unit that nobody has beside a good one", short().line("retry-after", "2 moons"), 40),
        ("a bucket that is full again in so many seconds", bucket("0", "3600"), 3600),
        ("a bucket that is full again in words", bucket("0", "60m0s"), 3600),
        ("a list", too_many().header("retry-after", "3600, 60"), 3600),
        ("a list with a date", too_many().header("retry-after", &twice), 3600),
        ("two lines", short().line("retry-after", "3600"), 3600),
        ("milliseconds", too_many().header("retry-after-ms", "3600000.0"), 3600),
        ("both, of which one is nonsense", short().line("retry-after-ms", "NaN"), 40),
        ("negative beside a good one", short().line("retry-after", "-7"), 40),
        ("more than any clock holds", too_many().header("retry-after", &"9".repeat(400)), 21_600),
        ("a bucket with nothing left, as a fraction", bucket("0.0", &offset), 3600),
        ("a bucket below nothing, in milliseconds", bucket("-1", &millis), 3600),
        ("a bucket that is not empty", bucket("0.5", &offset), 40),
        (
            "a window in capitals",
            short()
                .header("anthropic-ratelimit-unified-5h-status", " Rejected")
                .header("anthropic-ratelimit-unified-5h-reset", &format!("{millis}.0")),
            3600,
        ),
    ];
    let cases = cases.into_iter().map(|(what, answer, seconds)| (answer, seconds, what.to_owned()));
    assert_hints(cases).await;
}

/// Each of these answers is a limit that ends in so many seconds.
async fn assert_hints(cases: impl Iterator<Item = (Answer, i64, String)>) {
    let world = World::start();
    for (number, (answer, seconds, what)) in cases.enumerate() {
        let answer = answer.header("anthropic-ratelimit-requests-limit", "50");
        world.anthropic.next([answer]);
        let call = Call::message().header("x-api-key", &format!("sk-ant-api03-test-{number}"));
        let reply = world.call(call).await;
        assert_eq!((reply.status, reply.reason()), (200, "rate_limited"), "{what}");
        assert!(ends_in(&reply, seconds), "{what}: {}", reply.header("x-claude-proxy-until"));
    }
}

#[tokio::test]
async fn what_is_no_hint_is_none_and_keeps_nobody_waiting() {
    let world = World::with("MAX_RETRY_WAIT_SECONDS", "60").start();
    for said in [
        "soon",
        "-5",
        "NaN",
        "inf",
        "",
        ",",
        "0x20",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "-PT1H",
        "1h ago",
        "h",
        "1 moon",
        "PT",
        "1e999999h",
    ] {
        let answer = || {
            let answer = too_many().header("anthropic-ratelimit-requests-limit", "50");
            answer.header("retry-after", said).header("retry-after-ms", said)
        };
        world.anthropic.next([answer(), answer()]);
        let reply = world.call(Call::message()).await;
        let until = reply.header("x-claude-proxy-until");
        assert_eq!((reply.reason(), until), ("rate_limited", ""), "{said:?}");
        assert!(reply.took < Duration::from_secs(30), "{said:?}");
    }
}

#[tokio::test]
async fn a_genuine_limit_is_known_by_its_marks_whatever_else_is_in_it() {
    let limit =
        |rest: &str| format!(r#"{{"type":"error","error":{{"type":"rate_limit_error"{rest}}}}}"#);
    let deep = format!(r#","message":"m","details":{}1{}"#, "[".repeat(9000), "]".repeat(9000));
    let cases = [
        ("no message", limit("")),
        ("message null", limit(r#","message":null"#)),
        ("a message of parts", limit(r#","message":[{"type":"text","text":"m"}]"#)),
        ("details that are text", limit(r#","message":"m","details":"none""#)),
        ("details that are a list", limit(r#","message":"m","details":[{"error_code":7}]"#)),
        ("a number for a code", limit(r#","message":"m","details":{"error_code":429}"#)),
        ("details without end", limit(&deep)),
        ("no outer type", r#"{"error":{"type":"rate_limit_error","message":"m"}}"#.to_owned()),
        ("an outer type null", limit("").replace(r#""type":"error""#, r#""type":null"#)),
        ("one shell more", format!(r#"{{"type":"error","error":{}}}"#, limit(""))),
        ("a type null beside a window", r#"{"error":{"type":null,"message":"m"}}"#.to_owned()),
        ("bytes that are no text", limit(r#","message":"%""#)),
        ("a byte order mark", format!("\u{feff}{}\r\n", limit(""))),
    ];
    let world = World::start();
    for (number, (what, body)) in cases.into_iter().enumerate() {
        let mut answer = limited(120).body(&body);
        if let Some(body) = answer.refusal.as_mut().and_then(|refusal| refusal.body.as_mut()) {
            *body = body.iter().map(|byte| if *byte == b'%' { 0xff } else { *byte }).collect();
        }
        world.anthropic.next([answer]);
        let call = Call::message().header("x-api-key", &format!("sk-ant-api03-test-{number}"));
        let reply = world.call(call).await;
        assert_eq!((reply.status, reply.reason()), (200, "rate_limited"), "{what}");
        assert!(ends_in(&reply, 120), "{what}: {}", reply.header("x-claude-proxy-until"));
    }
}

#[tokio::test]
async fn a_short_limit_is_waited_for() {
    let world = World::with("MAX_RETRY_WAIT_SECONDS", "60").start();
    world.anthropic.next([limited(2)]);
    let reply = world.call(Call::message()).await;
    assert_eq!(reply.upstream(), "anthropic");
    assert!((2..30).contains(&reply.took.as_secs()));
    assert_eq!(world.anthropic.messages().len(), 2);
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn a_short_limit_met_twice_is_bedrocks_for_this_request_only() {
    let world = World::with("MAX_RETRY_WAIT_SECONDS", "1").start();
    world.anthropic.next([limited(20), limited(20)]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.reason(), reply.header("x-claude-proxy-until")), ("rate_limited", ""));
    assert!((1..15).contains(&reply.took.as_secs()));
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
    world.anthropic.next([limited(1), limited(120)]);
    assert_ends_in(&world.call(Call::message()).await, 120);
    assert_eq!(world.call(Call::message()).await.reason(), "cooldown");
}

#[tokio::test]
async fn without_a_hint_there_is_one_more_try() {
    let world = World::with("MAX_RETRY_WAIT_SECONDS", "60").start();
    let hintless = || too_many().header("anthropic-ratelimit-requests-limit", "50");
    world.anthropic.next([hintless(), ok(), hintless(), hintless()]);
    let reply = world.call(Call::message()).await;
    assert_eq!(reply.upstream(), "anthropic");
    assert!((1..30).contains(&reply.took.as_secs()));
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.reason(), reply.header("x-claude-proxy-until")), ("rate_limited", ""));
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
    assert_eq!(world.anthropic.messages().len(), 5);
}

#[tokio::test]
async fn without_any_limit_header_a_429_is_a_refusal() {
    let world = World::start();
    world.anthropic.next([too_many().message("Error"), too_many().message("Error")]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.json()["error"]["message"].as_str()), (429, Some("Error")));
    assert_eq!(world.anthropic.messages().len(), 2);
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn a_429_that_is_no_rate_limit_reaches_the_client_untouched() {
    let credits = "anthropic-ratelimit-unified-overage-disabled-reason";
    let capped = |details: &str| {
        let body = r#"{"error":{"type":"rate_limit_error","message":null,"details":DETAILS}}"#;
        limited(120).body(&body.replace("DETAILS", details))
    };
    let own = "You have reached your specified workspace API usage limits. You will regain access \
               on 2026-12-01 at 00:00 UTC.";
    let cases: [(&str, Answer); 16] = [
        ("a cap of one's own", limited(120).message(own)),
        ("nothing left", limited(120).message("Your credit balance is too low.")),
        ("another type", limited(120).kind("billing_error")),
        ("enforced spend cap", limited(120).code("enforced_spend_limit_reached")),
        ("contract spend cap", limited(120).code("contract_spend_limit_reached")),
        ("spend cap without hint", too_many().code("enforced_spend_limit_reached")),
        (
            "out of credits",
            too_many().header(credits, "out_of_credits").header("retry-after", "90"),
        ),
        (
            "long context",
            limited(120).message("Extra usage is required for long context requests."),
        ),
        ("a cap in a list", capped(r#"[{"error_code":"enforced_spend_limit_reached"}]"#)),
        ("a cap as text", capped(r#""contract_spend_limit_reached""#)),
        (
            "long context in parts",
            limited(120).body(
                r#"{"error":{"type":"rate_limit_error","message":
                    {"text":"Usage credits are required for long context requests."}}}"#,
            ),
        ),
        (
            "another type inside",
            limited(120).body(r#"{"error":{"error":{"type":"billing_error"}}}"#),
        ),
        ("no request id", limited(120).without("request-id")),
        ("an empty request id", limited(120).header("request-id", "")),
        ("no JSON", limited(120).body("<html>Too many requests</html>")),
        ("other JSON", limited(120).body("{\"message\":\"Too many requests\"}")),
    ];
    let world = World::start();
    for (name, answer) in cases {
        world.anthropic.always(answer.clone());
        let reply = world.call(Call::message()).await;
        assert_eq!(reply.status, 429, "{name}");
        for (header, value) in &answer.headers {
            assert_eq!(reply.header(header), value, "{name}");
        }
        let refusal = answer.refusal.expect("it is a 429");
        match refusal.body {
            Some(body) => assert_eq!(reply.body, body, "{name}"),
            None => {
                assert_eq!(reply.json()["error"]["message"], refusal.message.as_str(), "{name}");
            }
        }
        assert_eq!(reply.upstream(), "anthropic", "{name}");
    }
    world.anthropic.always(ok());
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn out_of_credits_with_a_rejected_window_is_a_limit() {
    let world = World::start();
    let header = "anthropic-ratelimit-unified-overage-disabled-reason";
    world.anthropic.next([window("5h", 3600).header(header, "out_of_credits")]);
    assert_eq!(world.call(Call::message()).await.reason(), "rate_limited");
}

#[tokio::test]
async fn an_overload_inside_a_429_is_an_overload() {
    let world = World::start();
    world.anthropic.next([limited(120).kind("overloaded_error")]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.reason(), reply.header("x-claude-proxy-until")), ("overloaded", ""));
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
}

#[tokio::test]
async fn without_fallback_the_client_gets_the_429() {
    let world = World::with("BEDROCK_FALLBACK_ENABLED", "false").start();
    for call in [Call::message(), Call::message().whole()] {
        world.anthropic.next([window("5h", 7200)]);
        let reply = world.call(call).await;
        assert_eq!((reply.status, reply.header("retry-after")), (429, "7200"));
        assert_eq!(reply.header("anthropic-ratelimit-unified-status"), "rejected");
    }
    world.anthropic.next([limited(1)]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.upstream()), (200, "anthropic"), "after the short wait");
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn without_tracking_nothing_is_remembered() {
    let world = World::with("RATE_LIMIT_TRACKING_ENABLED", "false").start();
    world.anthropic.next([limited(120), limited(120)]);
    for _ in 0..2 {
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.reason(), reply.header("x-claude-proxy-until")), ("rate_limited", ""));
    }
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
}

#[tokio::test]
async fn a_limit_survives_a_restart() {
    let mut world = World::start();
    world.anthropic.next([limited(120)]);
    world.call(Call::message()).await;
    world.restart();
    assert_eq!(world.call(Call::message()).await.reason(), "cooldown");
    assert_eq!(world.anthropic.requests().len(), 1);
    // Where limits are not obeyed any more, none is told of either.
    world.set("RATE_LIMIT_TRACKING_ENABLED", "false");
    world.restart();
    world.anthropic.next([limited(120)]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.reason(), reply.header("x-claude-proxy-until")), ("rate_limited", ""));
}

#[tokio::test]
async fn a_limit_that_anthropic_has_just_ended_is_told_of_no_more() {
    let world = World::with("BEDROCK_PROOF_MAX_AGE_SECONDS", "1").start();
    world.anthropic.next([limited(120)]);
    assert_ends_in(&world.call(Call::message()).await, 120);
    sleep(Duration::from_millis(1200)).await;
    world.anthropic.next_on("/v1/models", [refused(401, "authentication_error", "no")]);
    world.anthropic.next([ok().error_after(1, "overloaded_error")]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.reason(), reply.header("x-claude-proxy-until")), ("overloaded", ""));
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
}

#[tokio::test]
async fn a_success_of_anthropic_ends_a_remembered_limit() {
    let world = World::start();
    world.anthropic.next([limited(120)]);
    world.call(Call::message()).await;
    world.bedrock.next([access_denied()]);
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.upstream()), (200, "anthropic"), "Bedrock could not");
    let asked = world.bedrock.requests().len();
    assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
    assert_eq!(world.bedrock.requests().len(), asked);
}

#[tokio::test]
async fn many_who_meet_a_limit_at_once_are_all_answered() {
    let world = World::start();
    world.anthropic.always(limited(120));
    let calls = (0..20).map(|_| world.call(Call::message()));
    for reply in join_all(calls).await {
        assert_eq!((reply.status, reply.upstream()), (200, "bedrock"));
        assert_ends_in(&reply, 120);
    }
}

#[tokio::test]
async fn a_limit_in_memory_is_obeyed_as_well() {
    let world = World::with("RATE_LIMIT_STORE", "memory").start();
    world.anthropic.next([limited(120)]);
    world.call(Call::message()).await;
    assert_eq!(world.call(Call::message()).await.reason(), "cooldown");
}

#[tokio::test]
async fn no_hint_from_outside_stops_the_proxy() {
    let world = World::start();
    let hostile = [
        ("retry-after", "99999999999999999999"),
        ("retry-after", "-5"),
        ("retry-after", "1e3"),
        ("retry-after", ""),
        ("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("anthropic-ratelimit-unified-5h-reset", "99999999999999999999"),
        ("anthropic-ratelimit-unified-5h-reset", "-1"),
        ("anthropic-ratelimit-requests-reset", "9999-12-31T23:59:59.999999999+23:59"),
        ("anthropic-ratelimit-requests-remaining", "-0"),
    ];
    let calls = hostile.iter().enumerate().map(|(index, (name, value))| {
        let answer = window("5h", 120).without("retry-after").header(name, value);
        let path = format!("/u/n{index}/v1/messages");
        world.anthropic.next([answer]);
        world.call(Call::message().by(&format!("sk-ant-api03-test-{index}")).at(&path))
    });
    for reply in join_all(calls).await {
        assert!([200, 429].contains(&reply.status), "{}", reply.status);
    }
    assert_eq!(world.call(Call::new("GET", "/healthz")).await.status, 200);
}

#[tokio::test]
async fn a_refusal_whose_body_breaks_is_a_whole_answer_all_the_same() {
    let world = World::start();
    for answer in [limited(120), overloaded()] {
        world.anthropic.next([answer.torn_after(0)]);
        let reply = world.call(Call::message()).await;
        assert!(reply.status == 200 || reply.status >= 429, "{}", reply.status);
        assert_eq!(reply.broken, None, "{:?}", reply.headers);
    }
}

/// The same without the headers that sum the windows up, as it was seen too.
fn alone(answer: Answer) -> Answer {
    answer
        .without("retry-after")
        .without("anthropic-ratelimit-unified-status")
        .without("anthropic-ratelimit-unified-reset")
        .without("anthropic-ratelimit-unified-representative-claim")
}

#[track_caller]
fn assert_ends_in(reply: &Reply, seconds: i64) {
    assert!(ends_in(reply, seconds), "not {seconds} s: {:?}", reply.headers);
}

/// Whether a limit is told of that ends about so many seconds from now.
fn ends_in(reply: &Reply, seconds: i64) -> bool {
    let until = reply.header("x-claude-proxy-until").parse::<Timestamp>();
    let left = until.map(|until| until.duration_since(moment(0)).as_secs());
    left.is_ok_and(|left| (seconds - 10..=seconds + 1).contains(&left))
}
