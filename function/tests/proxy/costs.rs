//! What Bedrock has charged stands in the line of the request, and in the head of an answer that is
//! whole; what it did not answer costs nothing.

use std::time::Duration;

use testing::{
    answer::{access_denied, limited, ok},
    client::Call,
    world::{Plan, World},
};

/// 12 tokens in at 3.30, 7 out at 16.50: 39.6 + 115.5, rounded up.
const WHOLE: u64 = 156;

fn rescued(plan: Plan) -> World {
    let world = plan.start();
    world.anthropic.always(limited(120));
    world
}

#[tokio::test]
async fn a_whole_answer_of_bedrock_says_what_it_has_cost() {
    let world = rescued(Plan::default());
    let reply = world.call(Call::message().whole()).await;
    assert_eq!((reply.upstream(), reply.header("x-claude-proxy-cost")), ("bedrock", "0.000156"));
    assert_eq!(cost(&world, 1).await, [(WHOLE, false)]);
}

#[tokio::test]
async fn a_stream_has_its_cost_in_its_line_only() {
    let world = rescued(Plan::default());
    let reply = world.call(Call::message()).await;
    assert_eq!((reply.upstream(), reply.header("x-claude-proxy-cost")), ("bedrock", ""));
    assert_eq!(cost(&world, 1).await, [(WHOLE, false)]);
}

#[tokio::test]
async fn what_bedrock_has_not_answered_costs_nothing() {
    let world = World::start();
    let reply = world.call(Call::message().whole()).await;
    assert_eq!((reply.upstream(), reply.header("x-claude-proxy-cost")), ("anthropic", ""));
    world.anthropic.next([limited(120)]);
    world.bedrock.next([access_denied()]);
    assert_eq!(world.call(Call::message()).await.status, 429);
    world.call(Call::count()).await;
    assert_eq!(cost(&world, 3).await, []);
}

#[tokio::test]
async fn a_stream_that_breaks_off_costs_what_had_come() {
    // `bedrock ` and `heard: ` are 15 characters, which are 4 tokens: 39.6 + 66.
    let two_words = 106;
    let breaks = [
        ("cut", ok().cut_after(4)),
        ("exception", ok().exception_after(4, "internalServerException")),
        ("error event", ok().error_after(4, "overloaded_error")),
        ("end", ok().close_after(4)),
    ];
    for (name, answer) in breaks {
        let world = rescued(Plan::default());
        world.bedrock.next([answer]);
        assert_eq!(world.call(Call::message()).await.errors().len(), 1, "{name}");
        assert_eq!(cost(&world, 1).await, [(two_words, false)], "{name}");
    }
    let world = rescued(Plan::default());
    world.bedrock.next([ok().pause_after(4, Duration::from_secs(30))]);
    Call::message().leave_after(world.address(), Duration::from_millis(1500)).await;
    assert_eq!(cost(&world, 1).await, [(two_words, false)], "the client left");
}

#[tokio::test]
async fn what_had_begun_in_a_region_that_failed_is_paid_too() {
    let world = rescued(World::with("BEDROCK_REGIONS", "us-east-1,us-west-2"));
    world.bedrock.next([ok().exception_after(1, "throttlingException")]);
    assert_eq!(world.call(Call::message()).await.header("x-claude-proxy-region"), "us-west-2");
    // The prompt and the one token that had been counted: 39.6 + 16.5.
    assert_eq!(cost(&world, 1).await, [(57 + WHOLE, false)]);
}

#[tokio::test]
async fn the_price_is_that_of_the_very_id_that_is_invoked() {
    let global = rescued(World::with("BEDROCK_PROFILE_PREFIX", "global"));
    assert_eq!(
        global.call(Call::message().whole()).await.header("x-claude-proxy-cost"),
        "0.000141"
    );
    assert_eq!(cost(&global, 1).await, [(141, false)]);
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123";
    let map = format!(r#"{{"claude-opus-5-5":"{arn}","claude-sonnet-9":"{arn}"}}"#);
    let hidden = rescued(World::with("BEDROCK_MODEL_MAP", &map));
    let opus = hidden.call(Call::message().whole().model("claude-opus-5-5")).await;
    assert_eq!(opus.header("x-claude-proxy-cost"), "0.000207", "12 × 4.4 + 7 × 22");
    let new = hidden.call(Call::message().whole().model("claude-sonnet-9")).await;
    assert_eq!(new.header("x-claude-proxy-cost"), "0.000253", "12 × 6.6 + 7 × 24.75");
    assert_eq!(cost(&hidden, 2).await, [(207, false), (253, true)]);
}

#[tokio::test]
async fn the_operators_own_prices_count() {
    let prices = r#"{"claude-sonnet-4-5":{"input":1,"output":0.5}}"#;
    let plan = World::with("BEDROCK_PRICES", prices).with("BEDROCK_PRICE_MULTIPLIER", "0.5");
    let world = rescued(plan);
    let cost = async |model: &str| {
        let reply = world.call(Call::message().whole().model(model)).await;
        reply.header("x-claude-proxy-cost").to_owned()
    };
    assert_eq!(cost("claude-sonnet-4-5-20250929").await, "0.000016", "12 × 1 + 7 × 0.5");
    assert_eq!(cost("claude-opus-5-5").await, "0.000104", "half of 12 × 4.4 + 7 × 22");
}

/// What the lines of so many requests say of costs: the amount, and whether it is assumed.
async fn cost(world: &World, requests: usize) -> Vec<(u64, bool)> {
    let mut log = String::new();
    for _ in 0..100 {
        log = world.log();
        if log.matches("request.id=").count() >= requests {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let field = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("{name}="))?;
        rest.split_whitespace().next().map(str::to_owned)
    };
    let lines = log.lines().filter(|line| line.contains("request.id="));
    let costs = lines.filter_map(|line| {
        let amount = field(line, "cost_microusd")?.parse().expect("an amount is a number");
        Some((amount, field(line, "cost_assumed").as_deref() == Some("true")))
    });
    costs.collect()
}
