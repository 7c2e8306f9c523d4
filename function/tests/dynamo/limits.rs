//! The rules that every store keeps, on a table of moto's.

use function::store::Store;
use testing::{moto, table};

use crate::rules::{self, every_rule};

macro_rules! the_table_keeps {
    (every store: [$($rule:ident)*]) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $rule() {
            rules::$rule(fresh().await).await;
        })*
    };
}

every_rule! { the_table_keeps }

async fn fresh() -> Store {
    Store::Dynamo(table::store(moto::url(), &moto::table().await).await)
}
