//! Is the URL well? Real answers on a real socket.

#![expect(clippy::unwrap_used, reason = "helpers fail where a server does not run")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use provisioner::proxy::probe::{self, Health, PROBES};

#[tokio::test]
async fn an_answer_in_two_pieces_is_well() {
    let health = probe::ask(&serve(well)).await;
    assert!(health.ok, "{health:?}");
    assert_eq!(health.status, Some(200));
}

#[tokio::test]
async fn a_stream_that_is_held_back_is_not_well() {
    let health = probe::ask(&serve(|_| Answer { apart: 0, ..well(0) })).await;
    assert_eq!(health.status, Some(200));
    assert!(!health.ok && !health.may_pass(), "{health:?}");
    insta::assert_snapshot!(told(&health), @r#"
    it answers, but not as a stream: both pieces came at once
    something on the way holds answers back: is a proxy between here and AWS, or is the URL's InvokeMode not RESPONSE_STREAM (provisioner status)?
    "#);
}

#[tokio::test]
async fn a_refusal_of_aws_is_explained_and_may_pass() {
    let health = probe::ask(&serve(|_| FORBIDDEN)).await;
    assert!(health.may_pass());
    assert_eq!(health.status, Some(403));
    insta::assert_snapshot!(told(&health), @r#"
    AWS refuses the call before the function sees it (403)
    new permissions take up to a few minutes; if it stays so, an organisation's policy (SCP or RCP) or the account's block on public functions forbids it: ask whoever runs the account
    "#);
}

#[tokio::test]
async fn permissions_are_waited_for_while_they_spread() {
    let url = serve(|nth| if nth < 3 { FORBIDDEN } else { well(nth) });
    let mut rests = 0;
    let health = probe::persist(&url, async |_| rests += 1).await;
    assert!(health.ok, "{health:?}");
    assert_eq!(rests, 3);
}

#[tokio::test]
async fn a_refusal_that_stays_has_an_end() {
    let mut rests = 0;
    let health = probe::persist(&serve(|_| FORBIDDEN), async |_| rests += 1).await;
    assert_eq!((health.status, rests), (Some(403), PROBES - 1));
}

#[tokio::test]
async fn what_no_time_mends_is_not_asked_again() {
    let mut rests = 0;
    let login = |_| Answer { body: ["<html>", "log in</html>"], ..well(0) };
    let health = probe::persist(&serve(login), async |_| rests += 1).await;
    assert_eq!(rests, 0);
    insta::assert_snapshot!(told(&health), @r#"
    something else answers at this address (200 OK)
    is a company's proxy between here and AWS?
    "#);
}

#[tokio::test]
async fn a_function_that_breaks_points_to_its_log() {
    let broken = Answer { head: "502 Bad Gateway", body: ["Internal Server ", "Error"], apart: 0 };
    let health = probe::ask(&serve(move |_| broken)).await;
    assert!(health.may_pass());
    insta::assert_snapshot!(told(&health), @r#"
    the function does not answer as it should (502 Bad Gateway)
    its log says why: the group is named above, or by provisioner status
    "#);
}

#[tokio::test]
async fn an_answer_that_does_not_end_is_not_read_to_its_end() {
    let endless =
        serve(|_| Answer { body: [Box::leak("x".repeat(100_000).into()), ""], ..well(0) });
    let health = probe::ask(&endless).await;
    assert_eq!(health.why.unwrap(), "the answer does not end: this is not claude-proxy");
}

#[tokio::test]
async fn nobody_is_followed_elsewhere() {
    let (elsewhere, asked) = (serve(well), Arc::new(AtomicU32::new(0)));
    let head = format!("307 Temporary Redirect\r\nlocation: {elsewhere}healthz");
    let head: &str = Box::leak(head.into());
    let counted = Arc::clone(&asked);
    let url = serve(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Answer { head, body: ["", ""], apart: 0 }
    });
    let health = probe::ask(&url).await;
    assert_eq!((health.ok, health.status, asked.load(Ordering::Relaxed)), (false, Some(307), 1));
}

#[tokio::test]
async fn nobody_there_may_pass() {
    let health = probe::ask("http://127.0.0.1:1").await;
    assert!(health.may_pass(), "{health:?}");
    assert_eq!(health.status, None);
}

fn told(health: &Health) -> String {
    format!("{}\n{}", health.why.as_ref().unwrap(), health.hint.unwrap())
}

#[derive(Clone, Copy)]
struct Answer {
    /// Status and further header lines.
    head: &'static str,
    body: [&'static str; 2],
    /// Between the two pieces, in milliseconds.
    apart: u64,
}

/// As AWS refuses a call to a function's URL.
const FORBIDDEN: Answer = Answer {
    head: "403 Forbidden\r\nx-amzn-errortype: AccessDeniedException",
    body: ["{\"Message\":", "\"Forbidden\"}"],
    apart: 0,
};

fn well(_nth: u32) -> Answer {
    Answer { head: "200 OK", body: ["ok", "\n"], apart: 300 }
}

/// Gives the answers of `answer`, which hears how many there were before.
fn serve(answer: impl Fn(u32) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (answer, nth) = (Arc::new(answer), AtomicU32::new(0));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let read = stream.read(&mut [0; 4096]).unwrap();
            assert!(read > 0);
            let Answer { head, body, apart } = answer(nth.fetch_add(1, Ordering::Relaxed));
            let head = format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n{}", body[0]);
            // Whoever has read enough goes.
            drop(stream.write_all(head.as_bytes()));
            std::thread::sleep(Duration::from_millis(apart));
            drop(stream.write_all(body[1].as_bytes()));
        }
    });
    url
}
