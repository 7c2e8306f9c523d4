//! Two instances of the function on one table: what one learns the other obeys, and a table that
//! fails costs nobody an answer.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use function::access::ProxyKey;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    deployed::Deployed,
    runtime::Rules,
    support::{
        answer::{Answer, access_denied, limited, ok, overloaded, refused, window},
        client::{ALICE, BOB, Call},
        dynamo::FakeDynamo,
        moto,
    },
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

#[tokio::test]
async fn a_table_that_fails_costs_nobody_an_answer() {
    let nonsense = || refused(200, "", "").body("<html>not DynamoDB</html>");
    let throttling = || refused(400, "ProvisionedThroughputExceededException", "Too much.");
    let slow = || ok().head_after(Duration::from_secs(30));
    for (name, failure) in [
        ("down", None),
        ("slow", Some(slow())),
        ("throttling", Some(throttling())),
        ("nonsense", Some(nonsense())),
    ] {
        let fake = FakeDynamo::start();
        let url = fake.url();
        let deployed = Deployed::under(Rules::default(), &at(&url, "limits"));
        let _fake = failure.map(|failure| failing(fake, &failure));
        deployed.anthropic.next([limited(120)]);
        for reason in ["rate_limited", "cooldown", "cooldown"] {
            let reply = deployed.call(Call::message()).await;
            assert_eq!((reply.status, reply.reason()), (200, reason), "{name}");
            assert_eq!(reply.text(), "bedrock heard: hello");
        }
        let other = deployed.call(Call::message().by(BOB)).await;
        assert_eq!(other.text(), "anthropic heard: hello", "{name}");
        let log = deployed.log();
        assert_eq!(log.matches("the store does not answer").count(), 1, "{name}: {log}");
        for invocation in deployed.lambda.invocations() {
            assert!(invocation.whole && invocation.trailers.is_empty() && !invocation.timed_out);
        }
    }
}

#[tokio::test]
async fn the_line_of_a_request_is_one_that_cloudwatch_makes_metrics_of() {
    let table = moto::table().await;
    let deployed = instance(&table);
    deployed.anthropic.next([limited(120)]);
    deployed.call(Call::message().at("/u/mallory/v1/messages")).await;
    deployed.call(Call::message().by(BOB).at("/u/mallory/v1/messages")).await;
    let log = deployed.told(r#""upstream":"anthropic""#).await;
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect(line));
    let lines: Vec<_> = lines.filter(|line| line["request.id"].is_string()).collect();
    assert_eq!(lines.len(), 2, "{log}");
    for (line, upstream, fallbacks) in [(&lines[0], "bedrock", 1), (&lines[1], "anthropic", 0)] {
        assert_eq!((&line["upstream"], &line["user"]), (&upstream.into(), &"mallory".into()));
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        assert!(line["_aws"]["Timestamp"].is_i64() && !directives.is_empty());
        let (mut dimensions, mut metrics) = (Vec::new(), Vec::new());
        for directive in directives {
            let names = directive["Dimensions"][0].as_array().unwrap();
            dimensions.extend(names.iter().map(|name| name.as_str().unwrap()));
            for metric in directive["Metrics"].as_array().unwrap() {
                let name = metric["Name"].as_str().unwrap();
                assert!(line[name].is_u64(), "{name} is declared and absent: {line}");
                metrics.push(name);
            }
        }
        dimensions.sort_unstable();
        dimensions.dedup();
        let expected = ["FunctionName", "reason", "upstream"];
        let expected: Vec<_> =
            expected.into_iter().filter(|name| *name != "reason" || fallbacks == 1).collect();
        assert_eq!(dimensions, expected, "no person and no client's word is a dimension");
        for metric in ["Requests", "FirstByte", "Duration", "InputTokens", "OutputTokens"] {
            assert!(metrics.contains(&metric), "{metric}: {line}");
        }
        assert_eq!(metrics.contains(&"Fallbacks"), fallbacks == 1);
        assert_eq!(metrics.contains(&"LimitsRemembered"), fallbacks == 1);
    }
    assert_eq!(lines[0]["reason"], "rate_limited");
    assert!(!log.contains(ALICE) && !log.contains(BOB));
}

#[tokio::test]
async fn a_key_of_the_table_opens_every_instance_and_names_its_owner() {
    let fake = FakeDynamo::start();
    let (alice, stranger) = (ProxyKey::from_random([0xa1; 32]), ProxyKey::from_random([0x0c; 32]));
    let pk = format!("key#{}", alice.digest());
    fake.put(json!({"pk": {"S": pk}, "sk": {"S": "key"}, "user": {"S": "alice"}}));
    let url = fake.url();
    let guarded = [("ACCESS_MODE", "key"), ("ACCESS_OPEN_ANYWHERE", "")];
    let settings = [&at(&url, "limits")[..], &guarded].concat();
    let [one, two] = [(); 2].map(|()| Deployed::under(Rules::default(), &settings));
    let call = |key: &ProxyKey| Call::message().at(&format!("/k/{}/v1/messages", key.reveal()));
    one.anthropic.next([limited(120)]);
    assert_eq!(one.call(call(&alice)).await.reason(), "rate_limited");
    assert_eq!(two.call(call(&alice)).await.reason(), "cooldown");
    let refused = [one.call(call(&stranger)).await, two.call(Call::message()).await];
    assert_eq!(refused.each_ref().map(|reply| reply.status), [401, 401]);
    assert_eq!(refused[0].body, refused[1].body);
    let limit = fake.items().into_iter().find(|item| item["limited_until"].is_object());
    assert_eq!(limit.unwrap()["user"]["S"], "alice");
    let _fake = failing(fake, &ok().head_after(Duration::from_secs(30)));
    assert_eq!(two.call(call(&alice)).await.reason(), "cooldown");
    let reply = one.call(call(&stranger)).await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, "5"));
    assert!(two.anthropic.messages().is_empty() && one.anthropic.messages().len() == 1);
    for instance in [&one, &two] {
        let log = instance.told(r#""user":"alice""#).await;
        assert!(!log.contains("ccp_"), "{log}");
    }
}

/// An instance with upstreams of its own, on the common table.
fn instance(table: &str) -> Deployed {
    Deployed::under(Rules::default(), &on(table))
}

fn on(table: &str) -> [(&str, &str); 4] {
    at(moto::url(), table)
}

/// The settings that put an instance on a table.
fn at<'a>(url: &'a str, table: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("RATE_LIMIT_STORE", "dynamodb"),
        ("RATE_LIMIT_TABLE_NAME", table),
        ("AWS_ENDPOINT_URL_DYNAMODB", url),
        ("RETRY_THRESHOLD_SECONDS", "5"),
    ]
}

/// Both halves of the key of every item in a table.
async fn items(table: &str) -> Vec<(String, String)> {
    let client = Client::new(&moto::config(moto::url()).await);
    let answer = client.scan().table_name(table).send().await.unwrap();
    let text = |item: &HashMap<_, AttributeValue>, name: &str| item[name].as_s().unwrap().clone();
    answer.items().iter().map(|item| (text(item, "pk"), text(item, "sk"))).collect()
}

/// Answers every call like this from now on.
fn failing(fake: FakeDynamo, failure: &Answer) -> FakeDynamo {
    for operation in ["BatchGetItem", "GetItem", "PutItem", "DeleteItem", "UpdateItem"] {
        fake.always(operation, failure);
    }
    fake
}
