//! Who wins a race for the shared table, what others may have scribbled into it, and who takes a
//! drill.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use function::drill::Drill;
use function::failover::cooldown::Cooldown;
use function::failover::identity::Fingerprint;
use function::failover::known::{Known, Proof};
use function::store::RateLimitStore;
use function::store::dynamo::{DynamoStore, item};
use function::translate::mend::Lesson;
use jiff::SignedDuration;
use testing::moto;
use testing::table::{self, DAY, at, credential, opus_of, proven, seen, until};
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_twenty_writers_of_many_instances_the_latest_end_wins() {
    let table = moto::table().await;
    let mut writers = JoinSet::new();
    for n in 0..20 {
        let store = instance(&table).await;
        let end = 60 + (n * 7 + 11) % 20;
        writers.spawn(async move {
            store.remember_limit(&opus_of("a"), &until(end)).await.unwrap();
            store.remember_proof(&credential("a"), &proven(end)).await.unwrap();
        });
    }
    writers.join_all().await;
    let known = seen(&instance(&table).await, "a", 0).await;
    assert_eq!((known.class, known.proof), (Some(until(79)), Some(proven(79))));
    assert_eq!(count(&table).await, 2);
}

#[tokio::test]
async fn a_forgotten_limit_is_not_the_one_that_another_instance_has_just_met() {
    let table = moto::table().await;
    let (one, two) = (instance(&table).await, instance(&table).await);
    one.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
    let newer = Cooldown { recorded_at: at(1), ..until(90) };
    two.remember_limit(&opus_of("a"), &newer).await.unwrap();
    one.forget_limit(&opus_of("a"), at(0)).await.unwrap();
    assert_eq!(seen(&one, "a", 2).await.class, Some(newer));
}

#[tokio::test]
async fn what_others_have_scribbled_is_overwritten() {
    let table = moto::table().await;
    let store = instance(&table).await;
    let number = |number: &str| AttributeValue::N(number.to_owned());
    let text = |text: &str| AttributeValue::S(text.to_owned());
    for far in [number("99999999999"), text("soon"), AttributeValue::Null(true)] {
        for (pk, sk) in [("limit", "opus"), ("proof", "proof")] {
            let client = Client::new(&moto::config(moto::url()).await);
            let put = client
                .put_item()
                .table_name(&table)
                .item("pk", text(&format!("{pk}#{}", credential("a"))))
                .item("sk", text(sk))
                .item("limited_until", text("never"))
                .item("limited_until_epoch", far.clone())
                .item("expires_at", far.clone());
            put.send().await.unwrap();
        }
        assert_eq!(seen(&store, "a", 1).await, Known::default());
        store.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
        store.remember_proof(&credential("a"), &proven(0)).await.unwrap();
        let known = seen(&store, "a", 1).await;
        assert_eq!((known.class, known.proof), (Some(until(60)), Some(proven(0))), "{far:?}");
    }
}

#[tokio::test]
async fn ends_are_compared_to_the_nanosecond() {
    let table = moto::table().await;
    let store = instance(&table).await;
    let end = |nanoseconds| at(60) - SignedDuration::from_nanos(nanoseconds);
    for nanoseconds in [500, 100, 900] {
        let limit = Cooldown { until: end(nanoseconds), ..until(60) };
        store.remember_limit(&opus_of("a"), &limit).await.unwrap();
        let proof = Proof { proven_at: end(nanoseconds), organization: None };
        store.remember_proof(&credential("a"), &proof).await.unwrap();
    }
    let known = seen(&store, "a", 1).await;
    assert_eq!(known.class.unwrap().until, end(100));
    assert_eq!(known.proof.unwrap().proven_at, end(100));
}

#[tokio::test]
async fn lessons_of_many_instances_add_up_for_a_day() {
    let table = moto::table().await;
    let (one, two) = (instance(&table).await, instance(&table).await);
    let lesson = |names: &[&str]| Lesson::of(names.iter().copied());
    let (effort, metadata) = ("output_config.effort", "metadata");
    assert_eq!(two.lesson("claude-opus-5-5", at(0)).await.unwrap(), None);
    one.remember_lesson("claude-opus-5-5", &lesson(&[effort]), at(0)).await.unwrap();
    two.remember_lesson("claude-opus-5-5", &lesson(&[metadata]), at(60)).await.unwrap();
    let both = Some((lesson(&[effort, metadata]), at(DAY + 60)));
    assert_eq!(one.lesson("claude-opus-5-5", at(61)).await.unwrap(), both);
    assert_eq!(one.lesson("claude-sonnet-5-5", at(61)).await.unwrap(), None);
    assert_eq!(one.lesson("claude-opus-5-5", at(DAY + 60)).await.unwrap(), None, "it is over");
    two.remember_lesson("claude-opus-5-5", &lesson(&[metadata]), at(DAY + 60)).await.unwrap();
    let known = one.lesson("claude-opus-5-5", at(DAY + 61)).await.unwrap().unwrap().0;
    assert_eq!(known, lesson(&[metadata]), "what was over is not revived");
}

#[tokio::test]
async fn a_drill_is_taken_once_and_only_while_it_is_open() {
    let table = moto::table().await;
    let client = Client::new(&moto::config(moto::url()).await);
    let drill = |second| Drill { model: "claude-haiku-4-5".to_owned(), expires_at: at(second) };
    let put = async |drill: &Drill| {
        let item = item::drill_item(&digest(), drill);
        client.put_item().table_name(&table).set_item(Some(item)).send().await.unwrap();
    };
    let store = instance(&table).await;
    assert_eq!(store.take_drill(&digest(), at(0)).await.unwrap(), None);
    for closed in [-1, 0, 302] {
        put(&drill(closed)).await;
        assert_eq!(store.take_drill(&digest(), at(0)).await.unwrap(), None, "{closed}");
        assert_eq!(count(&table).await, 1);
    }
    put(&drill(300)).await;
    let mut takers = JoinSet::new();
    for _ in 0..8 {
        let store = instance(&table).await;
        takers.spawn(async move { store.take_drill(&digest(), at(0)).await.unwrap() });
    }
    let taken: Vec<_> = takers.join_all().await.into_iter().flatten().collect();
    assert_eq!((taken, count(&table).await), (vec![drill(300)], 0));
}

/// A store of an instance of its own, with a client of its own.
async fn instance(table: &str) -> DynamoStore {
    table::store(moto::url(), table).await
}

async fn count(table: &str) -> i32 {
    let client = Client::new(&moto::config(moto::url()).await);
    client.scan().table_name(table).send().await.unwrap().count()
}

fn digest() -> Fingerprint {
    Fingerprint::of(&[b"ccp_test"]).unwrap()
}
