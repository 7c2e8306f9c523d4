//! Every call of the table costs time and money: all that a request makes are counted on the wire,
//! whatever it asks, and money adds none where Anthropic answers.

use function::{access::ProxyKey, failover::identity::Fingerprint};
use serde_json::json;
use testing::{
    answer::{Answer, access_denied, limited, ok, overloaded, throttled},
    client::Call,
    dynamo::FakeDynamo,
    table,
    world::World,
};

use super::access::alices;

const USER: (&str, &str) = ("BUDGET_USER_MONTH_USD", "5");
const TOTAL: (&str, &str) = ("BUDGET_TOTAL_DAY_USD", "50");

/// What the operator has set: nothing, a cap for each user, and one for all of them, too.
const CAPS: [&[(&str, &str)]; 3] = [&[], &[USER], &[USER, TOTAL]];

/// What stands with a key: nothing, or what its owner may spend.
const EXCEPTIONS: [Option<&str>; 3] = [None, Some("4000000"), Some("0")];

/// The calls of one request, by what they do: reads of the start, writes of budgets, and all others.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    reads: usize,
    budgets: usize,
    others: usize,
}

#[tokio::test]
async fn what_anthropic_answers_is_one_read_whatever_may_be_spent() {
    let calls = [
        ("a stream", Call::message()),
        ("a message", Call::message().whole()),
        ("a count", Call::count()),
        ("a list", Call::new("GET", "/v1/models")),
        ("another call", Call::new("POST", "/v1/messages/batches").body("{}")),
        ("a body that is none", Call::message().body("{")),
    ];
    for (name, call) in calls {
        let mut seen = Vec::new();
        for caps in CAPS {
            for exception in EXCEPTIONS {
                let counted = counted(caps, exception, &call, [ok()], &[]).await;
                assert_eq!((counted.reads, counted.budgets), (1, 0), "{name} {caps:?}");
                seen.push(counted.others);
            }
        }
        // What a success proves is written once, with a cap and without.
        assert!(seen.iter().all(|others| *others == seen[0] && *others <= 1), "{name}: {seen:?}");
    }
}

#[tokio::test]
async fn a_fallback_reserves_once_and_settles_once_and_once_more_for_everybody() {
    for call in [Call::message(), Call::message().whole()] {
        for refusal in [limited(120), overloaded()] {
            for (caps, exception, budgets) in [
                (CAPS[0], None, 1),
                (CAPS[1], None, 2),
                (CAPS[2], None, 4),
                (&[TOTAL], None, 4),
                // A cap of one's own is one.
                (CAPS[0], Some("4000000"), 2),
                (CAPS[1], Some("4000000"), 2),
                (&[TOTAL], Some("4000000"), 4),
                // Where there can be no room nobody is asked.
                (CAPS[0], Some("0"), 0),
                (CAPS[2], Some("0"), 0),
            ] {
                let counted = counted(caps, exception, &call, [refusal.clone()], &[]).await;
                assert_eq!(counted.budgets, budgets, "{caps:?} {exception:?}");
            }
        }
    }
}

#[tokio::test]
async fn whatever_bedrock_makes_of_it_the_settlement_is_one() {
    let mend = testing::answer::refused(
        400,
        "ValidationException",
        "metadata: Extra inputs are not permitted",
    );
    let cases: [(&str, &[Answer], usize); 5] = [
        ("denied", &[access_denied()], 4),
        ("throttled, then served elsewhere", &[throttled(), ok()], 4),
        ("mended", &[mend], 4),
        ("broken after it has begun", &[ok().cut_after(4)], 4),
        // What is never heard of keeps its reservation, here and there.
        ("broken before", &[ok().cut_after(0), ok().cut_after(0)], 2),
    ];
    for (name, bedrock, budgets) in cases {
        let call = Call::message().with("metadata", json!({"user_id": "x"}));
        let counted = counted(CAPS[2], None, &call, [limited(120)], bedrock).await;
        assert_eq!(counted.budgets, budgets, "{name}");
    }
}

#[tokio::test]
async fn a_count_by_bedrock_reads_once_more_and_costs_nothing() {
    for caps in CAPS {
        let fake = FakeDynamo::start();
        let world = keyed(&fake, caps, None);
        world.anthropic.next_on("/v1/messages/count_tokens", [overloaded()]);
        let call = Call::count().model("claude-haiku-4-5-20251001").with_key();
        let reply = world.call(call).await;
        assert_eq!(reply.upstream(), "bedrock");
        let counted = of(&fake);
        assert_eq!((counted.reads, counted.budgets), (2, 0), "{caps:?}");
    }
}

#[tokio::test]
async fn where_no_key_is_needed_other_calls_than_messages_read_nothing() {
    for caps in CAPS {
        let fake = FakeDynamo::start();
        let plan = table::world(&fake.url(), "limits");
        let world = caps.iter().fold(plan, |plan, (name, value)| plan.with(name, value)).start();
        for (call, reads) in [
            (Call::count(), 0),
            (Call::new("GET", "/v1/models"), 0),
            (Call::new("GET", "/healthz"), 0),
            (Call::message(), 1),
        ] {
            assert_eq!(world.call(call).await.status, 200);
            let counted = of(&fake);
            assert_eq!((counted.reads, counted.budgets), (reads, 0), "{caps:?}");
        }
    }
}

/// The calls that one request makes in a new world.
async fn counted<const N: usize>(
    caps: &[(&str, &str)],
    exception: Option<&str>,
    call: &Call,
    anthropic: [Answer; N],
    bedrock: &[Answer],
) -> Counted {
    let fake = FakeDynamo::start();
    let world = keyed(&fake, caps, exception);
    world.anthropic.next(anthropic);
    world.bedrock.next(bedrock.iter().cloned());
    let reply = world.call(call.clone().with_key()).await;
    assert!(reply.status < 500 || reply.status == 529, "{}", reply.status);
    // What is in a line has been waited for.
    world.last_line();
    of(&fake)
}

fn of(fake: &FakeDynamo) -> Counted {
    let mut counted = Counted::default();
    for call in fake.requests() {
        let asked = call.json();
        let pk = asked["Key"]["pk"]["S"].as_str().unwrap_or_default();
        match call.header("x-amz-target").rsplit('.').next() {
            // The start makes connections ready, and a fallback asks what others have learnt.
            Some("GetItem") if pk.starts_with("lesson#") => {}
            Some("BatchGetItem") => counted.reads += 1,
            Some("UpdateItem") if pk.starts_with("budget#") => counted.budgets += 1,
            _ => counted.others += 1,
        }
    }
    counted
}

fn keyed(fake: &FakeDynamo, caps: &[(&str, &str)], exception: Option<&str>) -> World {
    let pk = format!("key#{}", digest());
    let mut key = json!({
        "pk": {"S": pk}, "sk": {"S": "key"}, "user": {"S": "alice"},
        "created_at": {"S": "2026-11-20T00:00:00Z"},
    });
    if let Some(cap) = exception {
        key["budget_month"] = json!({"N": cap});
    }
    fake.put(key);
    let plan = table::world(&fake.url(), "limits")
        .with("ACCESS_MODE", "key")
        .with("BEDROCK_REGIONS", "us-east-1,us-west-2");
    caps.iter().fold(plan, |plan, (name, value)| plan.with(name, value)).start()
}

fn digest() -> Fingerprint {
    alices().parse::<ProxyKey>().expect("it is a key").digest()
}

trait WithKey {
    fn with_key(self) -> Self;
}

impl WithKey for Call {
    fn with_key(self) -> Self {
        self.header("x-claude-proxy-key", &alices())
    }
}
