//! Long requests one after the other: how many connections do they take?

use std::time::Duration;

use testing::answer::ok;
use testing::client::Call;
use testing::world::Plan;

use super::number;

/// `SOAK_REQUEST_SECONDS=11` is as long as a real answer takes.
#[tokio::test]
async fn twenty_long_requests_one_after_the_other_travel_on_one_connection() {
    let seconds = number("SOAK_REQUEST_SECONDS", 1);
    let world = Plan::default().tls("h2,http/1.1").with("LOG_LEVEL", "error").start();
    world.anthropic.always(ok().pause_after(4, Duration::from_secs(seconds)));
    let mut first_events = Vec::new();
    for _ in 0..20 {
        let reply = world.call(Call::message()).await;
        assert_eq!((reply.text().as_str(), reply.broken), ("anthropic heard: hello", None));
        assert!(reply.took >= Duration::from_secs(seconds), "{:?}", reply.took);
        first_events.extend(reply.pieces.first().map(|(after, _)| *after));
    }
    println!("{seconds} s each; first events after {first_events:?}");
    assert_eq!(world.anthropic.connections(), 1);
}
