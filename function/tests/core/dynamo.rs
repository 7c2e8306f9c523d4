//! The shared table: what its items look like on the wire, what others may have written into it,
//! and what a failing DynamoDB is worth. `tests/dynamo` has who wins a race, on a real one.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

use std::sync::Arc;
use std::time::Duration;

use function::failover::cooldown::Cooldown;
use function::failover::identity::{Fingerprint, ModelClass};
use function::failover::known::{KeyOwner, Known, Owner, Proof, Unread};
use function::money::MicroDollars;
use function::money::Period;
use function::money::budget::{Caps, Change, Entry, Exception};
use function::store::budgets::{Account, Budgets};
use function::store::dynamo::DynamoStore;
use function::store::{Query, RateLimitStore, StoreError};
use function::upstream::aws::Aws;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use testing::{
    answer::{ok, refused},
    dynamo::FakeDynamo,
    moto,
    table::{self, DAY, account_of, at, class, credential, opus_of, proven, until},
};
use tokio::time::Instant;

#[tokio::test]
async fn items_have_the_form_that_is_written_down() {
    let fake = FakeDynamo::start();
    let store = faked(&fake).await;
    let limit = Cooldown { user: Some("ada".to_owned()), ..until(90) };
    store.remember_limit(&account_of("a"), &limit).await.unwrap();
    let proof = Proof { proven_at: at(0), organization: Some("org-1".to_owned()) };
    store.remember_proof(&credential("a"), &proof).await.unwrap();
    store.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
    let fingerprint = credential("a");
    let limit = |sk: &str, seconds: &str, until: &str, epoch: &str| {
        json!({
            "pk": {"S": format!("limit#{fingerprint}")}, "sk": {"S": sk},
            "limited_until": {"S": until}, "limited_until_epoch": {"N": epoch},
            "reason": {"S": "retry-after"}, "retry_after_seconds": {"N": seconds},
            "model": {"S": "claude-opus-4-5"}, "recorded_at": {"S": "2026-03-01T12:00:00Z"},
            "expires_at": {"N": epoch},
        })
    };
    let mut of_ada = limit("*", "90", "2026-03-01T12:01:30Z", "1772366490");
    of_ada["user"] = json!({"S": "ada"});
    let proof = json!({
        "pk": {"S": format!("proof#{fingerprint}")}, "sk": {"S": "proof"},
        "organization": {"S": "org-1"}, "proven_at": {"S": "2026-03-01T12:00:00Z"},
        "expires_at": {"N": "1772452800"},
    });
    let of_opus = limit("opus", "60", "2026-03-01T12:01:00Z", "1772366460");
    assert_eq!(fake.items(), [of_ada, proof, of_opus]);
}

#[tokio::test]
async fn one_call_asks_for_all_four_items_eventually_consistent() {
    let fake = FakeDynamo::start();
    let store = faked(&fake).await;
    store
        .look_up(&everything(&credential("a"), &class("claude-opus-4-5"), &digest()), at(0))
        .await
        .unwrap();
    let calls = fake.calls("BatchGetItem");
    let asked = &calls[0]["RequestItems"]["limits"];
    let key = |pk: String, sk: &str| json!({"pk": {"S": pk}, "sk": {"S": sk}});
    let who = credential("a");
    let keys = [
        key(format!("limit#{who}"), "opus"),
        key(format!("limit#{who}"), "*"),
        key(format!("proof#{who}"), "proof"),
        key(format!("key#{}", digest()), "key"),
    ];
    assert_eq!((calls.len(), &asked["Keys"]), (1, &json!(keys)));
    assert_ne!(asked["ConsistentRead"], true);
}

#[tokio::test]
async fn the_owner_of_a_key_is_read_and_a_nonsense_owner_is_nobody() {
    let fake = FakeDynamo::start();
    let store = faked(&fake).await;
    let key = digest();
    let query = Query { subject: None, key: Some(&key), session: None };
    assert_eq!(store.look_up(&query, at(0)).await.unwrap().key, KeyOwner::Nobody);
    let cases = [
        (json!({"S": "ada"}), KeyOwner::User(Owner::named("ada"))),
        (json!({"S": ""}), KeyOwner::Nobody),
        (json!({"S": "a\nb"}), KeyOwner::Nobody),
        (json!({"N": "1"}), KeyOwner::Nobody),
    ];
    for (user, owner) in cases {
        fake.put(json!({"pk": {"S": format!("key#{key}")}, "sk": {"S": "key"}, "user": user}));
        assert_eq!(store.look_up(&query, at(0)).await.unwrap().key, owner, "{user}");
    }
}

#[tokio::test]
async fn what_an_owner_may_spend_stands_with_the_key_and_nonsense_is_nothing() {
    let fake = FakeDynamo::start();
    let store = faked(&fake).await;
    let key = digest();
    let query = Query { subject: None, key: Some(&key), session: None };
    let amount = |amount: &str| json!({"N": amount});
    let cap = |cap| Some(MicroDollars(cap));
    let written = json!({
        "budget_month": amount("25000000"), "budget_day": amount("5000000"),
        "budget_extra": amount("1"), "budget_extra_period": {"S": "2026-11"},
        "budget_until": {"S": "2026-12-31T00:00:00Z"},
    });
    let read = Exception {
        caps: Caps { month: cap(25_000_000), day: cap(5_000_000) },
        extra: MicroDollars(1),
        extra_month: "2026-11".to_owned(),
        until: "2026-12-31T00:00:00Z".parse().ok(),
    };
    let day = Exception { caps: Caps { month: None, day: cap(0) }, ..Exception::default() };
    let cases = [
        (json!({}), None),
        (written, Some(read)),
        (json!({"budget_day": amount("0")}), Some(day)),
        (json!({"budget_month": amount("-5")}), Some(Exception::unreadable())),
        (json!({"budget_month": {"S": "much"}}), Some(Exception::unreadable())),
        (json!({"budget_day": amount("1.5")}), Some(Exception::unreadable())),
        (json!({"budget_until": {"S": "soon"}}), Some(Exception::unreadable())),
    ];
    for (attributes, exception) in cases {
        let mut item = json!({"pk": {"S": format!("key#{key}")}, "sk": {"S": "key"}});
        item["user"] = json!({"S": "ada"});
        item.as_object_mut().unwrap().extend(attributes.as_object().unwrap().clone());
        fake.put(item);
        let owner = Owner { exception: exception.map(Arc::new), ..Owner::named("ada") };
        let known = store.look_up(&query, at(0)).await.unwrap();
        assert_eq!(known.key, KeyOwner::User(owner), "{attributes}");
    }
}

#[tokio::test]
async fn an_item_that_is_left_unprocessed_is_unread_and_not_absent() {
    let (who, class, key) = (credential("a"), class("claude-opus-4-5"), digest());
    let full = Known {
        class: Some(until(60)),
        account: None,
        proof: Some(proven(0)),
        key: KeyOwner::User(Owner::named("ada")),
        session: None,
        unread: Unread::default(),
    };
    let unread = |limits, proof| Unread { class: limits, account: limits, proof, session: false };
    for (left, known) in [
        ("nothing", full.clone()),
        ("limit#", Known { class: None, unread: unread(true, false), ..full.clone() }),
        ("proof#", Known { proof: None, unread: unread(false, true), ..full.clone() }),
        ("key#", Known { key: KeyOwner::Unread, ..full.clone() }),
    ] {
        let fake = FakeDynamo::start();
        let store = faked(&fake).await;
        store.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
        store.remember_proof(&who, &proven(0)).await.unwrap();
        let (pk, sk) = (format!("key#{key}"), "key");
        fake.put(json!({"pk": {"S": pk}, "sk": {"S": sk}, "user": {"S": "ada"}}));
        fake.leave(left);
        assert_eq!(store.look_up(&everything(&who, &class, &key), at(1)).await.unwrap(), known);
    }
    let fake = FakeDynamo::start();
    fake.leave("");
    let nothing = faked(&fake).await.look_up(&everything(&who, &class, &key), at(1)).await;
    assert!(matches!(nothing, Err(StoreError::Failed { .. })), "{nothing:?}");
}

#[tokio::test]
async fn nonsense_items_are_no_items() {
    let (who, class) = (credential("a"), class("claude-opus-4-5"));
    let limit = [
        ("limited_until", json!({"S": "2026-03-01T12:01:00Z"})),
        ("recorded_at", json!({"S": "2026-03-01T12:00:00Z"})),
        ("reason", json!({"S": "x"})),
        ("retry_after_seconds", json!({"N": "60"})),
        ("model", json!({"S": "x"})),
    ];
    for (name, _) in &limit {
        for nonsense in [
            json!(null),
            json!({"S": "soon"}),
            json!({"S": "x".repeat(4000)}),
            json!({"N": "-1e90"}),
            json!({"BOOL": true}),
            json!({"L": []}),
        ] {
            if (*name == "reason" || *name == "model") && nonsense == json!({"S": "soon"}) {
                continue;
            }
            let fake = FakeDynamo::start();
            let mut item = json!({"pk": {"S": format!("limit#{who}")}, "sk": {"S": "opus"}});
            for (attribute, value) in &limit {
                item[attribute] = value.clone();
            }
            fake.put(item.clone());
            let query = Query { subject: Some((&who, &class)), key: None, session: None };
            let store = faked(&fake).await;
            assert!(store.look_up(&query, at(1)).await.unwrap().class.is_some());
            item[name] = nonsense.clone();
            if nonsense.is_null() {
                item.as_object_mut().unwrap().remove(*name);
            }
            fake.put(item);
            let known = store.look_up(&query, at(1)).await.unwrap();
            assert_eq!(known.class, None, "{name}: {nonsense}");
        }
    }
}

#[tokio::test]
async fn a_failing_service_is_an_error_and_never_more() {
    let nonsense = ["", "{}", "[]", "null", "<html>", "{\"Responses\":{\"other\":[]}}", "{\"Resp"];
    let nonsense = nonsense.map(|body| refused(200, "", "").body(body));
    let failures = [
        refused(400, "ThrottlingException", "Rate of requests exceeds the allowed throughput."),
        refused(400, "ProvisionedThroughputExceededException", "too much"),
        refused(400, "ResourceNotFoundException", "Requested resource not found"),
        refused(500, "InternalServerError", "Internal server error"),
        refused(503, "", "").body("upstream connect error"),
        refused(302, "", "").body(""),
    ];
    for answer in failures.into_iter().chain(nonsense) {
        let fake = FakeDynamo::start();
        let store = faked(&fake).await;
        fake.always("BatchGetItem", &answer);
        let (who, class, key) = (credential("a"), class("claude-opus-4-5"), digest());
        let known = store.look_up(&everything(&who, &class, &key), at(0)).await;
        assert!(known.is_err(), "{known:?} of {answer:?}");
    }
}

#[tokio::test]
async fn an_error_names_neither_account_nor_role() {
    let fake = FakeDynamo::start();
    let text = "User: arn:aws:sts::123456789012:assumed-role/secret-role/x is not authorized to \
                perform: dynamodb:PutItem";
    fake.always("PutItem", &refused(400, "AccessDeniedException", text));
    let refused =
        faked(&fake).await.remember_proof(&credential("a"), &proven(0)).await.unwrap_err();
    let text = format!("{refused}: {}", std::error::Error::source(&refused).unwrap());
    assert!(text.starts_with("cannot remember the proof: AccessDeniedException: User: "), "{text}");
    assert!(text.contains("dynamodb:PutItem"), "{text}");
    assert!(!text.contains("123456789012") && !text.contains("secret-role"), "{text}");
}

#[tokio::test]
async fn a_call_that_is_not_answered_ends_after_four_times_the_patience() {
    let fake = FakeDynamo::start();
    let (patience, begun) = (Duration::from_millis(250), Instant::now());
    let store = DynamoStore::new(&Aws::from(moto::config(&fake.url()).await), "limits", patience);
    fake.always("DeleteItem", &ok().head_after(Duration::from_secs(60)));
    store.forget_proof(&credential("a")).await.unwrap_err();
    let took = begun.elapsed();
    assert!((patience * 4..Duration::from_secs(30)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn a_change_of_a_budget_that_is_not_answered_is_tried_twice_if_it_can_happen_only_once() {
    let fake = FakeDynamo::start();
    fake.always("UpdateItem", &ok().head_after(Duration::from_secs(60)));
    let patience = Duration::from_millis(250);
    let store = DynamoStore::new(&Aws::from(moto::config(&fake.url()).await), "limits", patience);
    let account = Account { subject: "alice", user: None, at: Period::at(at(0), &TimeZone::UTC) };
    let entry = Entry { id: "req_1".to_owned(), amount: MicroDollars(1), since: 0 };
    for (entry, tries) in [(Some(&entry), 2), (None, 1)] {
        let (change, begun) = (Change::top_up(account.at, MicroDollars(1), entry), Instant::now());
        let before = fake.calls("UpdateItem").len();
        store.change(&account, &change).await.unwrap_err();
        let took = begun.elapsed();
        assert!((patience * tries..Duration::from_secs(30)).contains(&took), "{took:?}");
        assert_eq!(fake.calls("UpdateItem").len() - before, tries as usize);
    }
}

#[tokio::test]
async fn a_call_that_fails_at_once_is_made_once_more() {
    let fake = FakeDynamo::start();
    let store = faked(&fake).await;
    let failure = || refused(500, "InternalServerError", "Internal server error");
    fake.next("PutItem", [failure()]);
    store.remember_proof(&credential("a"), &proven(0)).await.unwrap();
    fake.next("PutItem", [failure(), failure()]);
    store.remember_proof(&credential("a"), &proven(1)).await.unwrap_err();
    assert_eq!(fake.calls("PutItem").len(), 4);
}

#[tokio::test]
async fn a_lesson_holds_only_names_of_our_own_table() {
    let fake = FakeDynamo::start();
    let store = faked(&fake).await;
    let until = (at(DAY).as_second()).to_string();
    let put = |refused: Value| {
        let (pk, sk) = (json!({"S": "lesson#claude-opus-5-5"}), json!({"S": "lesson"}));
        fake.put(json!({"pk": pk, "sk": sk, "refused": refused, "expires_at": {"N": until}}));
    };
    put(json!({"SS": ["messages", "metadata", "system", "tools", "max_tokens", "no-such-beta"]}));
    let lesson = store.lesson("claude-opus-5-5", at(0)).await.unwrap().unwrap().0;
    assert_eq!(lesson.names().collect::<Vec<_>>(), ["metadata"]);
    for nonsense in [json!({"SS": ["messages"]}), json!({"S": "metadata"}), json!({"N": "1"})] {
        put(nonsense.clone());
        let lesson = store.lesson("claude-opus-5-5", at(0)).await.unwrap();
        assert_eq!(lesson, None, "{nonsense}");
    }
}

async fn faked(fake: &FakeDynamo) -> DynamoStore {
    table::store(&fake.url(), "limits").await
}

fn digest() -> Fingerprint {
    Fingerprint::of(&[b"ccp_test"]).unwrap()
}

fn everything<'a>(who: &'a Fingerprint, class: &'a ModelClass, key: &'a Fingerprint) -> Query<'a> {
    Query { subject: Some((who, class)), key: Some(key), session: None }
}
