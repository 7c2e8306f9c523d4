//! The rules that every store keeps, whichever it is.

use function::failover::Upstream;
use function::failover::cooldown::Cooldown;
use function::failover::known::{Known, Proof};
use function::session::{Detour, Limit, Session, Spending};
use function::store::sessions::Sessions;
use function::store::{Query, RateLimitStore, Store};
use jiff::SignedDuration;
use std::sync::Arc;
use testing::table::{DAY, account_of, at, class, credential, opus_of, proven, seen, until};
use tokio::task::JoinSet;

/// Hands all rules to the macro that makes tests of them, and what else it is to be told.
macro_rules! every_rule {
    ($keep:ident $($more:tt)*) => {
        $keep! {
            every store: [
            what_is_remembered_is_recalled
            a_credential_never_seen_has_nothing
            the_later_of_two_cooldowns_wins
            the_latest_cooldown_wins_a_race
            a_limit_of_the_class_and_one_of_the_account_are_two
            credentials_and_classes_do_not_mix
            a_limit_that_is_over_is_no_entry
            a_limit_that_is_over_does_not_stop_a_new_one
            only_the_limit_of_that_moment_is_forgotten
            a_forgotten_limit_leaves_the_others
            the_newer_proof_wins
            the_newest_proof_wins_a_race
            what_a_clock_that_was_ahead_has_written_is_replaced
            a_proof_is_no_entry_24_hours_after_it_was_given
            a_forgotten_proof_leaves_the_limits
            an_extended_limit_outlives_its_first_end
            a_session_is_kept_for_24_hours
            the_first_who_meets_a_change_of_a_session_counts
            of_thirty_one_tells_of_a_change
            a_change_is_told_once
            ]
            $($more)*
        }
    };
}
pub(crate) use every_rule;

pub(crate) async fn what_is_remembered_is_recalled(store: Store) {
    let class = Cooldown { user: Some("ada".to_owned()), ..until(60) };
    let account = Cooldown { reason: "7d".to_owned(), ..until(120) };
    let proof = Proof { proven_at: at(0), organization: Some("org-1".to_owned()) };
    store.remember_limit(&opus_of("a"), &class).await.unwrap();
    store.remember_limit(&account_of("a"), &account).await.unwrap();
    store.remember_proof(&credential("a"), &proof).await.unwrap();
    let known = Known {
        class: Some(class),
        account: Some(account),
        proof: Some(proof),
        ..Known::default()
    };
    assert_eq!(seen(&store, "a", 1).await, known);
}

pub(crate) async fn a_credential_never_seen_has_nothing(store: Store) {
    assert_eq!(seen(&store, "a", 1).await, Known::default());
    store.forget_limit(&opus_of("a"), at(0)).await.unwrap();
    store.forget_proof(&credential("a")).await.unwrap();
    assert_eq!(seen(&store, "a", 1).await, Known::default());
}

pub(crate) async fn the_later_of_two_cooldowns_wins(store: Store) {
    for (who, ends) in [("a", [60, 90]), ("b", [90, 60])] {
        for end in ends {
            store.remember_limit(&opus_of(who), &until(end)).await.unwrap();
        }
        assert_eq!(seen(&store, who, 1).await.class, Some(until(90)), "{ends:?}");
    }
}

pub(crate) async fn the_latest_cooldown_wins_a_race(store: Store) {
    let store = Arc::new(store);
    let mut writers = JoinSet::new();
    for n in 0..64 {
        let store = Arc::clone(&store);
        // Neither ascending nor descending; the longest is in the middle.
        let end = 60 + (n * 37 + 20) % 64;
        writers.spawn(async move { store.remember_limit(&opus_of("a"), &until(end)).await });
    }
    assert!(writers.join_all().await.iter().all(Result::is_ok));
    assert_eq!(seen(&*store, "a", 1).await.class, Some(until(123)));
}

pub(crate) async fn a_limit_of_the_class_and_one_of_the_account_are_two(store: Store) {
    store.remember_limit(&account_of("a"), &until(60)).await.unwrap();
    assert_eq!(seen(&store, "a", 1).await.class, None);
    store.remember_limit(&opus_of("a"), &until(90)).await.unwrap();
    let known = seen(&store, "a", 1).await;
    assert_eq!((known.class, known.account), (Some(until(90)), Some(until(60))));
}

pub(crate) async fn credentials_and_classes_do_not_mix(store: Store) {
    store.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
    store.remember_proof(&credential("a"), &proven(0)).await.unwrap();
    assert_eq!(seen(&store, "b", 1).await, Known::default());
    let haiku = store
        .look_up(
            &Query {
                subject: Some((&credential("a"), &class("claude-haiku-4-5"))),
                key: None,
                session: None,
            },
            at(1),
        )
        .await
        .unwrap();
    assert_eq!(haiku, Known { proof: Some(proven(0)), ..Known::default() });
}

pub(crate) async fn a_limit_that_is_over_is_no_entry(store: Store) {
    store.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
    store.remember_limit(&account_of("a"), &until(60)).await.unwrap();
    let just_before = at(60) - SignedDuration::from_nanos(1);
    let known = store
        .look_up(
            &Query { subject: Some((&credential("a"), &class("opus"))), key: None, session: None },
            just_before,
        )
        .await
        .unwrap();
    assert!(known.class.is_some() && known.account.is_some());
    assert_eq!(seen(&store, "a", 60).await, Known::default());
}

pub(crate) async fn a_limit_that_is_over_does_not_stop_a_new_one(store: Store) {
    store.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
    let next = Cooldown { recorded_at: at(100), ..until(130) };
    store.remember_limit(&opus_of("a"), &next).await.unwrap();
    assert_eq!(seen(&store, "a", 101).await.class, Some(next));
}

pub(crate) async fn only_the_limit_of_that_moment_is_forgotten(store: Store) {
    let newer = Cooldown { recorded_at: at(10), ..until(90) };
    store.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
    store.remember_limit(&opus_of("a"), &newer).await.unwrap();
    store.forget_limit(&opus_of("a"), at(0)).await.unwrap();
    assert_eq!(seen(&store, "a", 11).await.class, Some(newer));
    store.forget_limit(&opus_of("a"), at(10)).await.unwrap();
    assert_eq!(seen(&store, "a", 11).await.class, None);
}

pub(crate) async fn a_forgotten_limit_leaves_the_others(store: Store) {
    for key in [opus_of("a"), account_of("a"), opus_of("b")] {
        store.remember_limit(&key, &until(60)).await.unwrap();
    }
    store.remember_proof(&credential("a"), &proven(0)).await.unwrap();
    store.forget_limit(&opus_of("a"), at(0)).await.unwrap();
    let left =
        Known { class: None, account: Some(until(60)), proof: Some(proven(0)), ..Known::default() };
    assert_eq!(seen(&store, "a", 1).await, left);
    assert_eq!(seen(&store, "b", 1).await.class, Some(until(60)));
}

pub(crate) async fn the_newer_proof_wins(store: Store) {
    for (who, moments) in [("a", [10, 20]), ("b", [20, 10])] {
        for moment in moments {
            store.remember_proof(&credential(who), &proven(moment)).await.unwrap();
        }
        assert_eq!(seen(&store, who, 30).await.proof, Some(proven(20)), "{moments:?}");
    }
}

pub(crate) async fn the_newest_proof_wins_a_race(store: Store) {
    let store = Arc::new(store);
    let mut writers = JoinSet::new();
    for n in 0..64 {
        let store = Arc::clone(&store);
        let proof = proven((n * 37 + 20) % 64);
        writers.spawn(async move { store.remember_proof(&credential("a"), &proof).await });
    }
    assert!(writers.join_all().await.iter().all(Result::is_ok));
    assert_eq!(seen(&*store, "a", 64).await.proof, Some(proven(63)));
}

pub(crate) async fn what_a_clock_that_was_ahead_has_written_is_replaced(store: Store) {
    store.remember_proof(&credential("a"), &proven(3600)).await.unwrap();
    store.remember_proof(&credential("a"), &proven(10)).await.unwrap();
    assert_eq!(seen(&store, "a", 11).await.proof, Some(proven(10)));
    let ahead = Cooldown { recorded_at: at(3600), ..until(3700) };
    store.remember_limit(&opus_of("a"), &ahead).await.unwrap();
    assert_eq!(seen(&store, "a", 11).await.class, None, "it was met in the future");
    let right = Cooldown { recorded_at: at(10), ..until(60) };
    store.remember_limit(&opus_of("a"), &right).await.unwrap();
    assert_eq!(seen(&store, "a", 11).await.class, Some(right));
}

pub(crate) async fn a_proof_is_no_entry_24_hours_after_it_was_given(store: Store) {
    store.remember_proof(&credential("a"), &proven(5)).await.unwrap();
    assert_eq!(seen(&store, "a", DAY + 4).await.proof, Some(proven(5)));
    assert_eq!(seen(&store, "a", DAY + 5).await.proof, None);
}

pub(crate) async fn a_forgotten_proof_leaves_the_limits(store: Store) {
    store.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
    for who in ["a", "b"] {
        store.remember_proof(&credential(who), &proven(0)).await.unwrap();
    }
    store.forget_proof(&credential("a")).await.unwrap();
    let left = Known { class: Some(until(60)), ..Known::default() };
    assert_eq!(seen(&store, "a", 1).await, left);
    assert_eq!(seen(&store, "b", 1).await.proof, Some(proven(0)));
}

pub(crate) async fn an_extended_limit_outlives_its_first_end(store: Store) {
    store.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
    store.remember_limit(&opus_of("a"), &until(600)).await.unwrap();
    let later = Cooldown { recorded_at: at(300), ..until(900) };
    store.remember_limit(&opus_of("b"), &later).await.unwrap();
    assert_eq!(seen(&store, "a", 301).await.class, Some(until(600)));
}

pub(crate) async fn a_session_is_kept_for_24_hours(store: Store) {
    assert_eq!(kept(&store, 0).await, None);
    change(&store, &on_bedrock(1)).await;
    assert_eq!(kept(&store, 2).await, Some(on_bedrock(1)));
    assert!(kept(&store, DAY).await.is_some());
    assert_eq!(kept(&store, DAY + 1).await, None);
    change(&store, &on_bedrock(2 * DAY)).await;
    assert_eq!(kept(&store, 2 * DAY).await, Some(on_bedrock(2 * DAY)));
}

pub(crate) async fn the_first_who_meets_a_change_of_a_session_counts(store: Store) {
    change(&store, &on_bedrock(1)).await;
    change(&store, &on_bedrock(3)).await;
    assert_eq!(kept(&store, 4).await, Some(on_bedrock(1)));
    let longer = Limit { until: at(9000), window: "7d".to_owned(), account: true };
    let longer = Session { limit: Some(longer), ..on_bedrock(1) };
    change(&store, &longer).await;
    assert_eq!(kept(&store, 5).await, Some(longer));
    for reason in [None, Some("budget"), None] {
        let reason = reason.map(str::to_owned);
        let back = Session { side: Upstream::Anthropic, reason, limit: None, ..on_bedrock(60) };
        change(&store, &back).await;
        assert_eq!(kept(&store, 61).await, Some(back));
    }
}

pub(crate) async fn of_thirty_one_tells_of_a_change(store: Store) {
    change(&store, &on_bedrock(1)).await;
    let (digest, store) = (credential("a session"), Arc::new(store));
    let mut tellers = JoinSet::new();
    for _ in 0..30 {
        let store = Arc::clone(&store);
        tellers.spawn(async move { store.tell(&digest, at(1)).await.unwrap() });
    }
    let first = tellers.join_all().await;
    assert_eq!(first.into_iter().filter(|first| *first).count(), 1);
    let told = Session { told: Some(at(1)), ..on_bedrock(1) };
    assert_eq!(kept(&store, 3).await, Some(told));
}

pub(crate) async fn a_change_is_told_once(store: Store) {
    assert!(!tell(&store, 1).await, "nothing has changed");
    change(&store, &on_bedrock(1)).await;
    assert!(!tell(&store, 2).await, "it has changed at another moment");
    assert!(tell(&store, 1).await);
    change(&store, &Session { side: Upstream::Anthropic, ..on_bedrock(60) }).await;
    assert!(tell(&store, 60).await, "there is something new");
    assert!(!tell(&store, 60).await);
}

/// What is kept of the one session, read in both ways.
async fn kept(store: &Store, second: i64) -> Option<Session> {
    let digest = credential("a session");
    let query = Query { session: Some(&digest), ..Query::default() };
    let along = store.look_up(&query, at(second)).await.unwrap().session;
    let alone = store.session(&digest, at(second)).await.unwrap();
    assert_eq!(along.as_deref(), alone.as_ref());
    alone
}

async fn change(store: &Store, session: &Session) {
    store.change_session(&credential("a session"), session).await.unwrap();
}

async fn tell(store: &Store, second: i64) -> bool {
    store.tell(&credential("a session"), at(second)).await.unwrap()
}

/// A session that Bedrock answers from this second on.
fn on_bedrock(second: i64) -> Session {
    let limit = Limit { until: at(600), window: "5h".to_owned(), account: true };
    let class = "opus".to_owned();
    let detour = Detour { began: at(-60), ended: at(-30), class, reason: None, window: None };
    Session {
        subject: "ada".to_owned(),
        user: Some("ada".to_owned()),
        fingerprint: credential("a").to_string(),
        side: Upstream::Bedrock,
        reason: Some("rate_limited".to_owned()),
        class: "opus".to_owned(),
        limit: Some(limit),
        since: at(second),
        before: Some(Spending {
            month: "2026-11".to_owned(),
            spent: 830_000,
            ..Spending::default()
        }),
        told: None,
        detours: vec![detour],
    }
}
