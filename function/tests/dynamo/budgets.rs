//! The rules of money that every store keeps, on tables of moto's and of `MiniStack`'s, and ten
//! thousand orders of events in the file.

use function::store::Store;
use function::store::embedded::EmbeddedStore;
use testing::aws::emulator::Emulator;
use testing::{moto, table};

use crate::budget_rules::{self, every_rule};

macro_rules! the_tables_keep {
    ($($rule:ident)*) => {
        mod on_moto {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                let url = super::moto::url();
                super::budget_rules::$rule(super::fresh(url).await).await;
            })*
        }
        mod on_ministack {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                let url = format!("http://{}", super::Emulator::MiniStack.address());
                super::budget_rules::$rule(super::fresh(&url).await).await;
            })*
        }
    };
}

every_rule! { the_tables_keep }

async fn fresh(url: &str) -> Store {
    Store::Dynamo(table::store(url, &moto::table_at(url).await).await)
}

/// In memory where there is such a place: what a disk takes for a write is not the question.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_orders_of_events_add_up_in_the_file() {
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let now = "2026-11-29T12:00:00Z".parse().unwrap();
    let store = EmbeddedStore::open(&folder.path().join("limits.redb"), now).unwrap();
    budget_rules::orders_add_up(&Store::Embedded(store), 10_000).await;
}
