//! How many requests one process answers at a time.

use std::time::Duration;

use futures_util::future::join_all;
use testing::{
    answer::ok,
    client::Call,
    deployed::{Deployed, Looping, full},
    runtime::Rules,
};
use tokio::time::Instant;

#[tokio::test]
async fn one_process_answers_as_many_at_once_as_the_platform_says() {
    let rules = Rules { concurrency: 4, ..Rules::default() };
    let mut deployed = Deployed::under(rules, &[]);
    deployed.lambda.is_idle(4).await;
    deployed.anthropic.always(ok().gap(Duration::from_millis(150)));
    let begun = Instant::now();
    let alone = deployed.call(Call::message()).await.took;
    let replies = join_all((0..8).map(|_| deployed.call(Call::message()))).await;
    for reply in &replies {
        assert_eq!((reply.text().as_str(), &reply.broken), ("anthropic heard: hello", &None));
    }
    assert_eq!((deployed.lambda.most_running(), deployed.lambda.eager()), (4, 0));
    // Two rounds of four, not eight of one.
    assert!(begun.elapsed() < alone * 8, "{:?} for {alone:?} each", begun.elapsed());
    assert!(deployed.runs());
}

#[tokio::test]
async fn without_the_variable_it_is_one_at_a_time() {
    let deployed = Deployed::start();
    let replies = join_all((0..3).map(|_| deployed.call(Call::message()))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!((deployed.lambda.most_running(), deployed.lambda.eager()), (1, 0));
}

#[tokio::test]
async fn a_panic_in_one_of_many_leaves_the_others_alone() {
    let rules = Rules { concurrency: 3, ..Rules::default() };
    let looping = Looping::with(rules, |request| {
        assert_ne!(request.uri().path(), "/panic", "a planted panic");
        hyper::Response::new(full("well"))
    });
    let url = looping.lambda.url();
    let paths = (0..9).map(|n| if n % 3 == 0 { "/panic" } else { "/" });
    let replies = join_all(paths.map(|path| async move { Call::new("GET", path).send(url).await }));
    let statuses: Vec<_> = replies.await.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [500, 200, 200, 500, 200, 200, 500, 200, 200]);
    looping.lambda.is_idle(3).await;
}
