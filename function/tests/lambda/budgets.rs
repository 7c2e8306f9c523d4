//! What an answer has cost is settled before the platform may freeze the process, however the
//! answer ends.

use std::time::Duration;

use serde_json::Value;
use testing::{
    answer::{hang, limited, ok},
    client::Call,
    deployed::Deployed,
    dynamo::FakeDynamo,
    runtime::Rules,
    table,
};

#[tokio::test]
async fn an_answer_is_settled_before_its_stream_is_closed() {
    let fake = FakeDynamo::start();
    let deployed = capped(&fake, Rules::default());
    for (index, call) in [Call::message(), Call::message().whole()].into_iter().enumerate() {
        deployed.anthropic.next([limited(120)]);
        let reply = deployed.call(call).await;
        assert_eq!((reply.upstream(), reply.errors().len()), ("bedrock", 0));
        // Whoever has the end of the answer finds it settled.
        assert_eq!(settled(&fake), index + 1);
    }
}

#[tokio::test]
async fn an_answer_that_the_deadline_ends_is_settled_before_it_says_so() {
    let fake = FakeDynamo::start();
    let deployed = capped(&fake, short());
    deployed.anthropic.next([limited(120)]);
    deployed.bedrock.next([ok().pause_after(4, Duration::from_secs(60))]);
    let reply = deployed.call(Call::message()).await;
    assert_eq!((reply.upstream(), reply.errors().len()), ("bedrock", 1));
    assert_eq!(settled(&fake), 1);
    let settlement = updates(&fake).pop().expect("there is one");
    let values = settlement["ExpressionAttributeValues"].to_string();
    // 12 tokens in and 4 out, as far as it had come: 39.6 + 66.
    assert!(values.contains(r#"{"N":"106"}"#), "{values}");
}

#[tokio::test]
async fn a_whole_answer_that_meets_the_deadline_while_it_is_settled_is_whole_and_settled() {
    let fake = FakeDynamo::start();
    let deployed = capped(&fake, short());
    deployed.anthropic.next([limited(120)]);
    // The deadline's own end comes a second earlier.
    fake.next("UpdateItem", [ok(), ok().head_after(Duration::from_millis(3300))]);
    let reply = deployed.call(Call::message().whole()).await;
    assert_eq!((reply.status, reply.upstream(), &reply.broken), (200, "bedrock", &None));
    assert_eq!(reply.text(), "bedrock heard: hello");
    assert!(reply.took > Duration::from_secs(2), "it has met the deadline: {:?}", reply.took);
    assert_eq!(settled(&fake), 1);
    let line = deployed.told("\"call\":\"messages\"").await;
    assert!(!line.contains("deadline"), "{line}");
}

#[tokio::test]
async fn a_whole_answer_that_never_comes_costs_its_reservation_and_the_next_request_nothing() {
    let fake = FakeDynamo::start();
    let deployed = capped(&fake, short());
    deployed.anthropic.next([limited(120)]);
    deployed.bedrock.next([hang()]);
    let reply = deployed.call(Call::message().whole()).await;
    assert_eq!((reply.status, reply.error().as_str()), (504, "timeout_error"));
    assert_eq!((updates(&fake).len(), settled(&fake)), (1, 0), "nobody knows what it has cost");
    let reply = deployed.call(Call::message().whole()).await;
    assert_eq!((reply.status, reply.upstream()), (200, "anthropic"));
    assert_eq!(updates(&fake).len(), 1);
}

#[tokio::test]
async fn what_was_known_of_a_cost_when_the_deadline_came_is_settled_with_its_answer() {
    let fake = FakeDynamo::start();
    let url = fake.url();
    let settings = [
        ("RATE_LIMIT_TRACKING_ENABLED", "false"),
        ("BUDGET_USER_MONTH_USD", "5"),
        ("BEDROCK_REGIONS", "us-east-1,us-west-2"),
    ];
    let settings = [&table::settings(&url, "limits")[..], &settings].concat();
    let deployed = Deployed::under(short(), &settings);
    deployed.anthropic.next([limited(120)]);
    // The first region has begun, and is paid; the second one says nothing.
    deployed.bedrock.next([ok().exception_after(2, "internalServerException"), hang()]);
    let reply = deployed.call(Call::message()).await;
    assert_eq!((reply.status, reply.error().as_str()), (504, "timeout_error"));
    let booked = updates(&fake);
    assert_eq!(booked.len(), 2, "the reservation, and what the first region has cost: {booked:?}");
    let values = booked[1]["ExpressionAttributeValues"].to_string();
    // 12 tokens in, and the one that stands at the beginning: 39.6 + 16.5. The reservation stays.
    assert!(values.contains(r#"{"N":"57"}"#), "{values}");
}

/// Long enough to start in, short enough to wait for.
fn short() -> Rules {
    Rules { timeout: Duration::from_secs(4), ..Rules::default() }
}

fn capped(fake: &FakeDynamo, rules: Rules) -> Deployed {
    let url = fake.url();
    let capped = [("RATE_LIMIT_TRACKING_ENABLED", "false"), ("BUDGET_USER_MONTH_USD", "5")];
    Deployed::under(rules, &[&table::settings(&url, "limits")[..], &capped].concat())
}

fn updates(fake: &FakeDynamo) -> Vec<Value> {
    let mut updates = fake.calls("UpdateItem");
    updates
        .retain(|call| call["Key"]["pk"]["S"].as_str().is_some_and(|pk| pk.starts_with("budget#")));
    updates
}

/// How many entries have been closed.
fn settled(fake: &FakeDynamo) -> usize {
    let closes = |call: &&Value| {
        call["UpdateExpression"].as_str().is_some_and(|expression| expression.contains("DELETE "))
    };
    updates(fake).iter().filter(closes).count()
}
