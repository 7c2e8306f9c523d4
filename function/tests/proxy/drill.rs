//! The drill costs nothing without a nonce. `tests/dynamo` has what a nonce opens, and how often.

use function::drill::Nonce;
use testing::{client::Call, dynamo::FakeDynamo, table};

#[tokio::test]
async fn a_text_that_is_no_nonce_costs_no_read_and_one_that_may_be_costs_no_write() {
    let fake = FakeDynamo::start();
    let world = table::world(&fake.url(), "limits").with("ACCESS_MODE", "key").start();
    // The connections that are made at the start.
    let reads =
        || fake.calls("GetItem").iter().filter(|get| get.to_string().contains("drill#")).count();
    for text in ["", "ccd_", "ccd_zz", nonce(1).digest().to_string().as_str()] {
        let call = Call::new("POST", "/_proxy/drill").header("x-claude-proxy-drill", text);
        assert_eq!(world.call(call).await.status, 404);
    }
    assert_eq!(reads(), 0);
    assert_eq!(world.call(show(&nonce(1))).await.status, 404);
    assert_eq!(
        (reads(), fake.calls("DeleteItem").len(), fake.calls("BatchGetItem").len()),
        (1, 0, 0)
    );
}

fn nonce(number: u8) -> Nonce {
    Nonce::from_random([number; 32])
}

fn show(nonce: &Nonce) -> Call {
    Call::new("POST", "/_proxy/drill")
        .without("x-api-key")
        .header("x-claude-proxy-drill", nonce.reveal())
}
