//! What an answer has cost is settled before the platform may freeze the process, however the
//! answer ends.

use std::time::Duration;

use serde_json::Value;
use testing::{
    answer::{limited, ok},
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
    let rules = Rules { timeout: Duration::from_secs(4), ..Rules::default() };
    let deployed = capped(&fake, rules);
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
