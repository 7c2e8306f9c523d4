//! The function on a table: one that fails costs nobody an answer. `tests/dynamo` has two instances
//! of which one obeys what the other learns.

use std::time::Duration;

use function::access::ProxyKey;
use serde_json::{Value, json};
use testing::{
    answer::{Answer, limited, ok, refused},
    client::{ALICE, BOB, Call},
    deployed::Deployed,
    dynamo::FakeDynamo,
    runtime::Rules,
    table,
};

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
        let deployed = Deployed::under(Rules::default(), &within("250", &on(&url)));
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
    let fake = FakeDynamo::start();
    let deployed = Deployed::under(Rules::default(), &on(&fake.url()));
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
    let settings = [&within("2000", &on(&url))[..], &guarded].concat();
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

/// The settings of an instance on a table.
fn on(url: &str) -> Vec<(&str, &str)> {
    [&table::settings(url, "limits")[..], &[("RETRY_THRESHOLD_SECONDS", "5")]].concat()
}

/// The same with so many milliseconds for a table that does not answer.
fn within<'a>(patience: &'a str, settings: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [settings, &[("RATE_LIMIT_STORE_TIMEOUT_MS", patience)]].concat()
}

/// Answers every call like this from now on.
fn failing(fake: FakeDynamo, failure: &Answer) -> FakeDynamo {
    for operation in ["BatchGetItem", "GetItem", "PutItem", "DeleteItem", "UpdateItem"] {
        fake.always(operation, failure);
    }
    fake
}
