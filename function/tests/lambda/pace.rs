//! Nothing is held back: events leave one by one, when they are there.

use std::time::Duration;

use testing::{
    answer::{limited, ok},
    client::{Call, Reply},
    deployed::Deployed,
    runtime::Invocation,
};

const GAP: Duration = Duration::from_millis(200);

#[tokio::test]
async fn events_of_anthropic_arrive_at_the_pace_at_which_they_left() {
    let deployed = Deployed::start();
    deployed.anthropic.next([ok().gap(GAP)]);
    assert_paced(&deployed.call(Call::message().says("one two three four")).await);
}

#[tokio::test]
async fn events_of_bedrock_arrive_at_the_pace_at_which_they_left() {
    let deployed = Deployed::start();
    deployed.anthropic.next([limited(120)]);
    deployed.bedrock.next([ok().gap(GAP)]);
    assert_paced(&deployed.call(Call::message().says("one two three four")).await);
}

#[tokio::test]
async fn the_first_half_does_not_wait_for_the_second() {
    let deployed = Deployed::start();
    let reply = deployed.call(Call::new("GET", "/healthz?stream=1")).await;
    assert_eq!((&reply.body[..], reply.pieces.len()), (&b"ok\n"[..], 2));
    let between = reply.pieces[1].0 - reply.pieces[0].0;
    assert!(between > Duration::from_millis(200), "{between:?}");
}

/// Without `TCP_NODELAY` all that follows the first segment waits for the peer's delayed
/// acknowledgement, 40 ms on Linux.
#[tokio::test]
async fn an_answer_that_is_there_does_not_wait_to_be_acknowledged() {
    let deployed = Deployed::start();
    let mut rounds = Vec::new();
    // A busy machine takes as long now and then; the acknowledgement is waited for every time.
    while rounds.len() < 5 {
        for _ in 0..21 {
            deployed.call(Call::message()).await;
        }
        let invocations = deployed.lambda.invocations();
        let last = &invocations[invocations.len() - 21..];
        let took = |one: &Invocation| one.chunks.last().unwrap().0 - one.handed.unwrap();
        let mut took: Vec<_> = last.iter().map(took).collect();
        took.sort();
        if took[took.len() / 2] < Duration::from_millis(20) {
            return;
        }
        rounds.push(took);
    }
    panic!("{rounds:?}");
}

/// Each event came alone, about so long after the one before.
#[track_caller]
fn assert_paced(reply: &Reply) {
    let count = reply.events().len();
    assert!(reply.errors().is_empty() && count > 6);
    let times: Vec<_> = reply.pieces.iter().map(|(at, _)| *at).collect();
    // Up to the commit point a few are held back.
    assert!(times.len() + 3 >= count, "{count} events came in {} pieces", times.len());
    let mut gaps: Vec<_> = times.windows(2).map(|two| two[1] - two[0]).collect();
    gaps.sort();
    // A busy machine is late now and then, and the next one seems early.
    assert!(gaps[gaps.len() / 2] > GAP / 2, "bunched: {gaps:?}");
    assert!(reply.head_after < reply.took / 2, "{:?} of {:?}", reply.head_after, reply.took);
}
