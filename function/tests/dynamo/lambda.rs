//! Two instances of the function on one table: what one learns the other obeys.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use futures_util::future::join_all;
use testing::{
    answer::{access_denied, limited, overloaded, refused, window},
    client::{BOB, Call},
    deployed::Deployed,
    moto,
    runtime::Rules,
    table,
};

const HAIKU: &str = "claude-haiku-4-5-20251001";

#[tokio::test]
async fn a_limit_of_one_class_is_obeyed_by_both() {
    let table = moto::table().await;
    let (one, two) = (instance(&table), instance(&table));
    one.anthropic.next([limited(120)]);
    assert_eq!(one.call(Call::message()).await.reason(), "rate_limited");
    for call in [Call::message(), Call::message().whole()] {
        let reply = two.call(call).await;
        assert_eq!((reply.text().as_str(), reply.reason()), ("bedrock heard: hello", "cooldown"));
    }
    assert!(two.anthropic.messages().is_empty(), "it went straight to Bedrock");
    assert_eq!(two.call(Call::message().model(HAIKU)).await.upstream(), "anthropic");
    assert_eq!(two.call(Call::message().by(BOB)).await.upstream(), "anthropic");
    assert_eq!(one.call(Call::message().by(BOB)).await.upstream(), "anthropic");
}

#[tokio::test]
async fn a_limit_of_the_account_is_one_of_every_class_on_both() {
    let table = moto::table().await;
    let (one, two) = (instance(&table), instance(&table));
    one.anthropic.next([window("5h", 3600)]);
    assert_eq!(one.call(Call::message()).await.reason(), "rate_limited");
    for call in [Call::message(), Call::message().model(HAIKU)] {
        assert_eq!(two.call(call).await.reason(), "cooldown");
    }
    assert_eq!(two.call(Call::message().by(BOB)).await.upstream(), "anthropic");
    let all = items(&table).await;
    let limits: Vec<_> = all.iter().filter(|(pk, _)| pk.starts_with("limit#")).collect();
    assert_eq!((limits.len(), limits[0].1.as_str()), (1, "*"));
}

#[tokio::test]
async fn a_limit_of_one_class_and_another_stand_side_by_side() {
    let table = moto::table().await;
    let (one, two) = (instance(&table), instance(&table));
    one.anthropic.next([limited(120)]);
    two.anthropic.next([limited(120)]);
    assert_eq!(one.call(Call::message()).await.reason(), "rate_limited");
    assert_eq!(two.call(Call::message().model(HAIKU)).await.reason(), "rate_limited");
    assert_eq!(one.call(Call::message().model(HAIKU)).await.reason(), "cooldown");
    assert_eq!(two.call(Call::message()).await.reason(), "cooldown");
    let opus = Call::message().model("claude-opus-5-5");
    assert_eq!(one.call(opus).await.upstream(), "anthropic");
}

#[tokio::test]
async fn a_success_that_one_meets_ends_the_limit_for_all() {
    let table = moto::table().await;
    let (one, two) = (instance(&table), instance(&table));
    one.anthropic.next([limited(120)]);
    one.call(Call::message()).await;
    two.bedrock.next([access_denied()]);
    assert_eq!(two.call(Call::message()).await.upstream(), "anthropic", "Bedrock could not");
    assert_eq!(two.bedrock.requests().len(), 1, "it knew of the limit");
    assert!(items(&table).await.iter().all(|(pk, _)| !pk.starts_with("limit#")));
    let three = instance(&table);
    for instance in [&two, &three] {
        assert_eq!(instance.call(Call::message()).await.upstream(), "anthropic");
    }
}

#[tokio::test]
async fn what_is_no_limit_is_not_shared() {
    let table = moto::table().await;
    let (one, two) = (instance(&table), instance(&table));
    // A short limit is waited for, an overload is nobody's, a refusal is the client's own.
    let refusal = || refused(400, "invalid_request_error", "no");
    for (answers, met) in [
        (vec![limited(2)], (200, "anthropic")),
        (vec![overloaded()], (200, "bedrock")),
        (vec![refusal()], (400, "anthropic")),
    ] {
        one.anthropic.next(answers);
        let reply = one.call(Call::message()).await;
        assert_eq!((reply.status, reply.upstream()), met);
        assert_eq!(two.call(Call::message()).await.text(), "anthropic heard: hello");
    }
    assert!(items(&table).await.iter().all(|(pk, _)| !pk.starts_with("limit#")));
}

#[tokio::test]
async fn fifty_who_meet_a_limit_at_once_are_answered_and_leave_one_item() {
    let table = moto::table().await;
    let crowd = || Rules { concurrency: 25, ..Rules::default() };
    let instances = [crowd(), crowd()].map(|rules| Deployed::under(rules, &on(&table)));
    for instance in &instances {
        instance.lambda.is_idle(25).await;
        // Nobody hears of the limit before all have asked.
        instance.anthropic.always(limited(120).head_after(Duration::from_secs(1)));
    }
    let calls = (0..50).map(|n| instances[n % 2].call(Call::message().says(&format!("call {n}"))));
    for (n, reply) in join_all(calls).await.iter().enumerate() {
        assert_eq!((reply.status, &reply.broken), (200, &None));
        assert_eq!(reply.text(), format!("bedrock heard: call {n}"));
    }
    for instance in &instances {
        assert_eq!((instance.lambda.most_running(), instance.lambda.eager()), (25, 0));
        assert_eq!(instance.anthropic.messages().len(), 25);
    }
    let all = items(&table).await;
    let count = |kind: &str| all.iter().filter(|(pk, _)| pk.starts_with(kind)).count();
    assert_eq!((count("limit#"), count("proof#")), (1, 1), "{all:?}");
}

/// An instance with upstreams of its own, on the common table.
fn instance(table: &str) -> Deployed {
    Deployed::under(Rules::default(), &on(table))
}

fn on(table: &str) -> Vec<(&str, &str)> {
    [&table::settings(moto::url(), table)[..], &[("RETRY_THRESHOLD_SECONDS", "5")]].concat()
}

/// Both halves of the key of every item in a table.
async fn items(table: &str) -> Vec<(String, String)> {
    let client = Client::new(&moto::config(moto::url()).await);
    let answer = client.scan().table_name(table).send().await.unwrap();
    let text = |item: &HashMap<_, AttributeValue>, name: &str| item[name].as_s().unwrap().clone();
    answer.items().iter().map(|item| (text(item, "pk"), text(item, "sk"))).collect()
}
