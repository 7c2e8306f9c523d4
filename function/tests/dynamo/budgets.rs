//! The rules of money that every store keeps, on a table of moto's.

use std::time::Duration;

use function::store::Store;
use function::store::dynamo::DynamoStore;
use function::upstream::aws::Aws;
use testing::moto;

use crate::budget_rules::{self, every_rule};

macro_rules! the_table_keeps {
    ($($rule:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $rule() {
            budget_rules::$rule(fresh().await).await;
        })*
    };
}

every_rule! { the_table_keeps }

async fn fresh() -> Store {
    let aws = Aws::from(moto::config(moto::url()).await);
    let store = DynamoStore::new(&aws, &moto::table().await);
    Store::Dynamo(store.with_patience(Duration::from_secs(20)))
}
