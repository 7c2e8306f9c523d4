//! What does a person read of the function's log, and is every line shown exactly once?

#![expect(clippy::unwrap_used, reason = "helpers fail where a line is not as they made it")]

use std::collections::BTreeSet;

use jiff::Timestamp;
use jiff::tz::{self, TimeZone};
use proptest::prelude::*;
use provisioner::engine::plan::Style;
use provisioner::proxy::logs::{self, Event, LATE, LogLine, LogStyle, Since, Tail};
use serde_json::json;

const REQUEST: &str = r#"{"CacheReadTokens":34000,"Duration":12432,"Fallbacks":1,"FirstByte":812,
    "FunctionName":"claude-proxy-api","InputTokens":1200,"OutputTokens":840,"Requests":1,
    "_aws":{"CloudWatchMetrics":[],"Timestamp":1795428000000},"attempts":2,"call":"messages",
    "cooldown_s":7260,"duration_ms":12432,"level":"INFO","message":"answered by bedrock: rate_limited",
    "model":"claude-opus-5-5","reason":"rate_limited","request.id":"req_proxy_1","status":200,
    "stream":true,"timestamp":"2026-11-23T10:00:00Z","upstream":"bedrock","user":"alice"}"#;

#[test]
fn a_request_is_one_line_that_answers_the_questions_one_has() {
    let refused = r#"{"call":"refused","duration_ms":0,"request.id":"req_proxy_2","status":401,
        "first_byte_ms":0,"attempts":0,"stream":false}"#;
    let counted = r#"{"call":"count_tokens","duration_ms":120,"request.id":"req_proxy_3",
        "status":200,"model":"claude-sonnet-5","upstream":"anthropic","user":"bob",
        "fault":"the client left","attempts":1,"stream":false}"#;
    let lines = [REQUEST, refused, counted].map(text);
    insta::assert_snapshot!(lines.join("\n"), @r#"
    2026-11-23 19:00:00  alice           claude-opus-5-5             bedrock       200   812 ms   12.4 s  35k in (34k cached), 840 out  rate_limited, limited for 2 h 1 min
    2026-11-23 19:00:00  -               (refused)                   proxy         401     0 ms     0 ms
    2026-11-23 19:00:00  bob             claude-sonnet-5             anthropic     200        -   120 ms  (count_tokens)  (the client left)
    "#);
}

#[test]
fn what_is_no_request_is_shown_for_what_it_is() {
    let lines = [
        r#"{"timestamp":"2026-11-23T10:00:00Z","level":"WARN","message":"bedrock cannot serve: throttled","region":"us-east-1","passes":true}"#,
        "error: the proxy cannot start with these settings:",
        "  FALLBACK_ON: what is that?",
        "REPORT RequestId: 1\tDuration: 900000.00 ms\tStatus: timeout",
        "2026-11-23T10:00:00Z 1 Task timed out after 900.00 seconds",
        "RequestId: 1 Error: Runtime exited with error: exit status 1",
        r#"{"time":"2026-11-23T10:00:00Z","type":"platform.report","record":{"status":"error","errorType":"Runtime.Unknown"}}"#,
    ];
    insta::assert_snapshot!(lines.map(text).join("\n"), @r#"
    2026-11-23 19:00:00  warn            bedrock cannot serve: throttled (passes=true region=us-east-1)
    2026-11-23 19:00:00  error           the proxy cannot start with these settings:
    2026-11-23 19:00:00  -                 FALLBACK_ON: what is that?
    2026-11-23 19:00:00  error           REPORT RequestId: 1 Duration: 900000.00 ms Status: timeout
    2026-11-23 19:00:00  error           2026-11-23T10:00:00Z 1 Task timed out after 900.00 seconds
    2026-11-23 19:00:00  error           RequestId: 1 Error: Runtime exited with error: exit status 1
    2026-11-23 19:00:00  error           the platform says: platform.report: error (Runtime.Unknown)
    "#);
}

#[test]
fn what_the_platform_says_of_every_request_is_of_its_own_kind() {
    for line in [
        "START RequestId: 1 Version: $LATEST",
        "END RequestId: 1",
        "REPORT RequestId: 1\tDuration: 12.00 ms\tBilled Duration: 13 ms",
        "INIT_START Runtime Version: provided",
        r#"{"time":"2026-11-23T10:00:00Z","type":"platform.start","record":{"requestId":"1"}}"#,
        r#"{"time":"2026-11-23T10:00:00Z","type":"platform.report","record":{"status":"success"}}"#,
    ] {
        assert!(matches!(LogLine::parse(line), LogLine::Platform { .. }), "{line}");
    }
}

#[test]
fn every_kind_of_line_is_one_object() {
    let object = |line: &str| logs::json(&LogLine::parse(line), at());
    assert_eq!(
        object(REQUEST),
        json!({
            "time": "2026-11-23T10:00:00Z", "kind": "request", "id": "req_proxy_1",
            "call": "messages", "user": "alice", "model": "claude-opus-5-5", "stream": true,
            "upstream": "bedrock", "reason": "rate_limited", "status": 200, "attempts": 2,
            "fault": null, "cooldown_s": 7260, "first_byte_ms": 812, "duration_ms": 12432,
            "tokens": {"input": 1200, "output": 840, "cache_read": 34000, "cache_write": null},
        })
    );
    assert_eq!(
        object("error: no"),
        json!({
            "time": "2026-11-23T10:00:00Z", "kind": "notice", "level": "error",
            "message": "no",
        })
    );
    assert_eq!(object("END RequestId: 1")["kind"], "platform");
}

#[test]
fn no_line_can_command_a_terminal() {
    let nasty = "\u{1b}]0;title\u{7}\u{1b}[2J\r\u{202e}evil\u{9b}31m";
    let request: String = REQUEST.replace("\"alice\"", &json!(nasty).to_string());
    for line in [nasty.to_owned(), format!("error: {nasty}"), request] {
        let shown = text(&line);
        assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'), "{shown:?}");
    }
}

#[test]
fn a_line_without_end_has_one() {
    let shown = text(&"x".repeat(100_000));
    assert!(shown.ends_with('…') && shown.chars().count() < 2_100);
}

#[test]
fn a_beginning_is_a_span_or_a_moment() {
    let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
    let before = |text: &str| text.parse::<Since>().unwrap().before(now).to_string();
    assert_eq!(before("1h"), "2026-11-23T09:00:00Z");
    assert_eq!(before("90s"), "2026-11-23T09:58:30Z");
    assert_eq!(before("2d"), "2026-11-21T10:00:00Z");
    assert_eq!(before("1h30m"), "2026-11-23T08:30:00Z");
    assert_eq!(before("2026-11-23T14:00:00+09:00"), "2026-11-23T05:00:00Z");
    for wrong in ["", "h", "-1h", "0s", "1h ago ago", "yesterday", "11y", "1mo"] {
        assert!(wrong.parse::<Since>().is_err(), "{wrong}");
    }
}

#[test]
fn numbers_and_spans_are_short() {
    let counts = [0, 999, 1_000, 9_999, 34_000, 1_250_000].map(logs::count);
    assert_eq!(counts, ["0", "999", "1.0k", "9.9k", "34k", "1.2M"]);
    let spans = [0, 999, 1_000, 12_432, 99_999, 125_000, 7_260_000].map(logs::milliseconds);
    assert_eq!(spans, ["0 ms", "999 ms", "1.0 s", "12.4 s", "99.9 s", "2 min", "2 h 1 min"]);
}

#[test]
fn a_line_from_the_future_hides_none_that_comes_after_it() {
    let mut tail = Tail::since(0);
    let event = |id: &str, at| Event { id: id.to_owned(), at, message: String::new() };
    assert_eq!(tail.fresh(vec![event("future", 7_200_000)], 1_000).len(), 1);
    assert!(tail.from() <= 1_000);
    assert_eq!(tail.fresh(vec![event("now", 2_000)], 2_000).len(), 1);
}

proptest! {
    /// Lines are written at any time, seen up to a minute later, and read in pages of any size,
    /// between which more lines come.
    #[test]
    fn every_line_is_shown_once(
        written in proptest::collection::vec((0..600_000_i64, 0..LATE), 0..80),
        page in 1..7_usize,
        pause in 1..20_000_i64,
    ) {
        let mut tail = Tail::since(0);
        let mut shown = Vec::new();
        let mut now = 0;
        while now < 600_000 + LATE + pause {
            let from = tail.from();
            let mut after = None;
            loop {
                let mut there: Vec<_> = written.iter().enumerate()
                    .map(|(id, (at, late))| (*at, id, at + late))
                    .filter(|(at, id, seen)| *at >= from && *seen <= now && after < Some((*at, *id)))
                    .map(|(at, id, _)| (at, id))
                    .collect();
                there.sort_unstable();
                there.truncate(page);
                let Some(last) = there.last() else { break };
                after = Some(*last);
                let events = there.iter().map(|(at, id)| Event {
                    id: id.to_string(), at: *at, message: String::new(),
                });
                shown.extend(tail.fresh(events.collect(), now).into_iter().map(|e| e.id));
                now += 7;
            }
            now += pause;
        }
        let once: BTreeSet<_> = shown.iter().cloned().collect();
        prop_assert_eq!(once.len(), shown.len(), "a line was shown twice");
        prop_assert_eq!(once.len(), written.len(), "a line was lost");
    }
}

fn at() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

fn text(line: &str) -> String {
    let zone = TimeZone::fixed(tz::offset(9));
    LogStyle { zone, style: Style::Plain }.text(&LogLine::parse(line), at())
}
