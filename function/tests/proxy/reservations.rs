//! What becomes of a reservation when something goes wrong: what is not known costs it, what was
//! in vain is given back beside the same answer, and nothing is settled twice or not at all.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use testing::{
    answer::{limited, ok, refused, throttled},
    client::Call,
    dynamo::FakeDynamo,
    fake::Received,
    world::{Plan, World},
};

/// What one of these messages costs.
const WHOLE: &str = "0.000156";

#[tokio::test]
async fn a_multiplier_of_nothing_opens_no_cap_of_nothing() {
    let world = World::with("BEDROCK_PRICE_MULTIPLIER", "0").with("BUDGET_USER_DAY_USD", "0");
    let world = world.start();
    world.anthropic.always(limited(120));
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.status, reply.reason()), (429, "budget"));
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn what_costs_nothing_is_counted_without_dollars() {
    let plan = World::with("BEDROCK_PRICE_MULTIPLIER", "0").with("BUDGET_USER_DAY_USD", "0.01");
    let world = plan.start();
    world.anthropic.always(limited(120));
    for _ in 0..3 {
        assert_eq!(world.call(Call::message()).await.upstream(), "bedrock");
    }
    let told = told(&world).await;
    assert_eq!((&told["cost_usd"], &told["requests"]), (&json!(0), &json!(3)));
}

#[tokio::test]
async fn an_answer_that_is_never_heard_costs_its_reservation() {
    for (name, answer) in [("cut", ok().cut_after(0)), ("ended", ok().close_after(0))] {
        let world = World::with("BUDGET_USER_MONTH_USD", "1").start();
        world.anthropic.always(limited(120));
        world.bedrock.next([answer]);
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.reason()), (429, ""), "{name}");
        let told = told(&world).await;
        assert_eq!((&told["cost_usd"], &told["requests"]), (&json!(0), &json!(0)), "{name}");
        assert!((0.0169..0.0175).contains(&told["unsettled_usd"].as_f64().expect("it is one")));
    }
}

#[tokio::test]
async fn a_success_that_cannot_be_read_costs_its_reservation() {
    let world = World::with("BUDGET_USER_MONTH_USD", "1").start();
    world.anthropic.always(limited(120));
    // It is an object, and no message.
    world.bedrock.next([refused(200, "None", "hello")]);
    let reply = world.call(Call::message().whole()).await;
    assert_eq!((reply.status, reply.header("x-claude-proxy-cost")), (429, ""));
    let told = told(&world).await;
    assert_eq!((&told["cost_usd"], &told["requests"]), (&json!(0), &json!(0)));
    assert!(told["unsettled_usd"].as_f64().is_some_and(|left| left > 0.0169), "{told}");
}

#[tokio::test]
async fn a_second_region_adds_to_what_the_first_may_have_cost() {
    for (first, unsettled) in [(ok().cut_after(0), 0.0169), (throttled(), 0.0)] {
        let plan = World::with("BUDGET_USER_MONTH_USD", "1").with("BUDGET_TOTAL_DAY_USD", "1");
        let world = plan.with("BEDROCK_REGIONS", "us-east-1,us-west-2").start();
        world.anthropic.always(limited(120));
        world.bedrock.next([first]);
        assert_eq!(world.call(Call::message()).await.upstream(), "bedrock");
        let told = told(&world).await;
        assert_eq!(told["cost_usd"].to_string(), WHOLE);
        let left = told["unsettled_usd"].as_f64().expect("it is a number");
        assert!((unsettled..=unsettled + 0.0006).contains(&left), "{told}");
    }
}

#[tokio::test]
async fn what_the_deployment_refuses_is_given_back_to_the_user_beside_the_answer() {
    let fake = FakeDynamo::start();
    let full = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
        "message": "The conditional request failed",
        "Item": {"m": {"N": "5000000"}},
    });
    let answer = refused(400, "ConditionalCheckFailedException", "").body(&full.to_string());
    fake.next("UpdateItem", [ok(), answer]);
    let world = on(&fake).with("BUDGET_USER_MONTH_USD", "5").with("BUDGET_TOTAL_MONTH_USD", "5");
    let world = world.start();
    world.anthropic.always(limited(120));
    let reply = world.call(Call::message()).await;
    let budget = reply.header("x-claude-proxy-budget");
    // The one of the two that was refused came second, or the first one did.
    assert_eq!((reply.status, reply.reason()), (429, "budget"), "{budget}");
    assert!(world.bedrock.requests().is_empty());
    let updates = updates(&fake);
    assert_eq!(updates.len(), 3, "two reservations, and one of them given back: {updates:?}");
    let back = updates[2]["ExpressionAttributeValues"].to_string();
    assert!(back.contains("-1"), "{back}");
}

#[tokio::test]
async fn without_the_users_reservation_the_deployments_is_given_back() {
    let fake = FakeDynamo::start();
    fake.direct(Arc::new(|call: &Received| {
        let of_user = call.json()["Key"]["pk"]["S"]
            .as_str()
            .is_some_and(|pk| pk.starts_with("budget#") && pk != "budget#*");
        of_user.then(|| refused(500, "InternalServerError", "down"))
    }));
    let plan = on(&fake).with("BUDGET_USER_MONTH_USD", "5").with("BUDGET_TOTAL_MONTH_USD", "50");
    let world = plan.start();
    world.anthropic.always(limited(120));
    let plain = World::with("BEDROCK_FALLBACK_ENABLED", "false").start();
    plain.anthropic.always(limited(120));
    let (reply, usual) = tokio::join!(world.call(Call::message()), plain.call(Call::message()));
    assert_eq!((reply.status, reply.reason()), (429, "budget_unavailable"));
    assert_eq!((usual.status, reply.body), (429, usual.body), "byte for byte");
    assert!(world.bedrock.requests().is_empty());
}

#[tokio::test]
async fn nonsense_in_the_table_is_no_room() {
    let says = |kind: &str, item: Value| {
        let said = json!({
            "__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"),
            "message": "no", "Item": item,
        });
        refused(400, kind, "").body(&said.to_string())
    };
    let huge = json!({"m": {"N": "99999999999999999999999999999999999999"}});
    let cases = [
        ("a text", says("ValidationException", Value::Null), "budget_unavailable"),
        ("a huge number", says("ConditionalCheckFailedException", huge), "budget_unavailable"),
        (
            "less than nothing",
            says("ConditionalCheckFailedException", json!({"m": {"N": "-5"}})),
            "budget_unavailable",
        ),
        (
            "more than the cap",
            says("ConditionalCheckFailedException", json!({"m": {"N": "5000001"}})),
            "budget",
        ),
    ];
    for (name, answer, reason) in cases {
        let fake = FakeDynamo::start();
        fake.always("UpdateItem", &answer);
        let world = on(&fake).with("BUDGET_USER_MONTH_USD", "5").start();
        world.anthropic.always(limited(120));
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.status, reply.reason()), (429, reason), "{name}");
        assert!(world.bedrock.requests().is_empty(), "{name}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_its_answer_is_settled_loses_nothing() {
    let fake = FakeDynamo::start();
    let plan = on(&fake).with("BUDGET_USER_MONTH_USD", "5");
    let world = plan.with("RATE_LIMIT_STORE_TIMEOUT_MS", "5000").start();
    world.anthropic.always(limited(120));
    let late = refused(500, "InternalServerError", "slow").head_after(Duration::from_secs(3));
    fake.next("UpdateItem", [ok(), late]);
    // It leaves with the last event, while the settlement is on its way.
    let mut live = Call::message().open(world.address()).await;
    while updates(&fake).len() < 2 {
        let _read = tokio::time::timeout(Duration::from_millis(50), live.next()).await;
    }
    drop(live);
    // The next one sees to it: it has failed, so it is asked for again.
    world.call(Call::message()).await;
    assert_eq!(updates(&fake).len(), 5);
}

#[tokio::test]
async fn a_client_that_leaves_while_its_money_is_reserved_gets_it_back() {
    for caps in [&CAPS[..1], &CAPS] {
        let fake = FakeDynamo::start();
        let plan = caps.iter().fold(on(&fake), |plan, (name, value)| plan.with(name, value));
        let world = plan.with("RATE_LIMIT_STORE_TIMEOUT_MS", "20000").start();
        world.anthropic.next([limited(120)]);
        let slow = ok().head_after(Duration::from_secs(2));
        fake.next("UpdateItem", [slow.clone(), slow]);
        Call::message().leave_after(world.address(), Duration::from_secs(1)).await;
        assert_eq!(updates(&fake).len(), caps.len(), "it is on its way");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(world.log().contains("(the client left)"), "the line waits for nobody");
        // Whoever comes next sees to it, and whoever comes then gives it back.
        for _ in 0..2 {
            assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
        }
        let updates = updates(&fake);
        assert_eq!(updates.len(), 2 * caps.len(), "{updates:?}");
        for back in &updates[caps.len()..] {
            assert!(back["ExpressionAttributeValues"].to_string().contains("\"-1"), "{back}");
        }
        assert!(world.bedrock.requests().is_empty());
    }
}

const CAPS: [(&str, &str); 2] = [("BUDGET_USER_MONTH_USD", "5"), ("BUDGET_TOTAL_DAY_USD", "50")];

/// What `function usage` says of the one user that there is.
async fn told(world: &World) -> Value {
    // A settlement may go on when the client has its answer.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (store, at) = (world.setting("RATE_LIMIT_STORE_PATH"), world.address().to_string());
    let mut command = std::process::Command::new(testing::world::program());
    let command = command.env_clear().env("RATE_LIMIT_STORE_PATH", store);
    let command = command.env("LISTEN_ADDRESS", at).args(["usage", "--json"]);
    let output = command.output().expect("the binary was built");
    let told: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    told["users"][0].clone()
}

fn on(fake: &FakeDynamo) -> Plan {
    World::with("RATE_LIMIT_STORE", "dynamodb")
        .with("RATE_LIMIT_TABLE_NAME", "limits")
        .with("AWS_ENDPOINT_URL_DYNAMODB", &fake.url())
        .with("RATE_LIMIT_TRACKING_ENABLED", "false")
}

fn updates(fake: &FakeDynamo) -> Vec<Value> {
    let mut updates = fake.calls("UpdateItem");
    let of_budgets =
        |call: &Value| call["Key"]["pk"]["S"].as_str().is_some_and(|pk| pk.starts_with("budget#"));
    updates.retain(of_budgets);
    updates
}
