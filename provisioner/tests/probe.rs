//! Is the URL well? Real answers on a real socket.

#![expect(clippy::unwrap_used, reason = "helpers fail where a server does not run")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use provisioner::probe;

#[tokio::test]
async fn an_answer_in_two_pieces_is_well() {
    let health = probe::ask(&serve("200 OK", Duration::from_millis(300))).await;
    assert!(health.ok, "{health:?}");
    assert_eq!(health.status, Some(200));
}

#[tokio::test]
async fn a_stream_that_is_held_back_is_not_well() {
    let health = probe::ask(&serve("200 OK", Duration::ZERO)).await;
    assert!(!health.ok);
    assert!(health.why.unwrap().contains("not as a stream"));
}

#[tokio::test]
async fn permissions_that_are_not_known_yet_may_pass() {
    let health = probe::ask(&serve("403 Forbidden", Duration::ZERO)).await;
    assert!(health.may_pass());
    assert_eq!(health.status, Some(403));
}

#[tokio::test]
async fn nobody_there_may_pass() {
    let health = probe::ask("http://127.0.0.1:1").await;
    assert!(health.may_pass(), "{health:?}");
    assert_eq!(health.status, None);
}

/// Answers everything in two pieces that are `apart`.
fn serve(status: &'static str, apart: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let read = stream.read(&mut [0; 4096]).unwrap();
            assert!(read > 0);
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n\r\none");
            stream.write_all(head.as_bytes()).unwrap();
            std::thread::sleep(apart);
            stream.write_all(b"two").unwrap();
        }
    });
    url
}
