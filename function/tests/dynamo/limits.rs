//! The rules that every store keeps, on a table of moto's.

use function::store::Store;
use function::store::dynamo::DynamoStore;
use function::upstream::aws::Aws;
use testing::moto;

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
    let aws = Aws::from(moto::config(moto::url()).await);
    Store::Dynamo(DynamoStore::new(&aws, &moto::table().await))
}
