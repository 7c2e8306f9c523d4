//! Sessions in the shared table: plain writes, each with a condition that lets it happen once.

use aws_sdk_dynamodb::types::AttributeValue;

use super::super::super::StoreError;
use super::super::super::sessions::Sessions;
use super::super::item::{EXPIRES_AT, Item, LIMITED_UNTIL_EPOCH, attributes, epoch, string};
use super::super::sessions::{TOLD, session, session_key};
use super::{DynamoStore, failed, is_condition_failure};
use crate::failover::Upstream;
use crate::failover::cooldown::Timestamp;
use crate::failover::identity::Fingerprint;
use crate::session::Session;

const SIDE: &str = "side";
const SINCE: &str = "since";

impl Sessions for DynamoStore {
    async fn session(
        &self,
        digest: &Fingerprint,
        now: Timestamp,
    ) -> Result<Option<Session>, StoreError> {
        let get = self.client.get_item().table_name(&self.table).consistent_read(true);
        let found = get.set_key(Some(session_key(digest))).send().await;
        let found = found.map_err(failed("read the session"))?.item;
        Ok(found.as_ref().and_then(|item| session(item, now)))
    }

    async fn change_session(
        &self,
        digest: &Fingerprint,
        session: &Session,
    ) -> Result<(), StoreError> {
        let item = session_item(digest, session);
        let value = |name: &str| item.get(name).cloned().unwrap_or(AttributeValue::Null(true));
        let changed = "attribute_not_exists(#side) OR #side <> :side OR #until < :until OR \
                       #end <= :since";
        let put = self
            .client
            .put_item()
            .table_name(&self.table)
            .condition_expression(changed)
            .expression_attribute_names("#side", SIDE)
            .expression_attribute_names("#until", LIMITED_UNTIL_EPOCH)
            .expression_attribute_names("#end", EXPIRES_AT)
            .expression_attribute_values(":side", value(SIDE))
            .expression_attribute_values(":until", value(LIMITED_UNTIL_EPOCH))
            .expression_attribute_values(":since", epoch(session.since))
            .set_item(Some(item));
        match put.send().await {
            Err(error) if !is_condition_failure(&error) => Err(failed("keep the session")(error)),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn tell(&self, digest: &Fingerprint, since: Timestamp) -> Result<bool, StoreError> {
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(session_key(digest)))
            .update_expression("SET #told = :since")
            .condition_expression(
                "#since = :since AND (attribute_not_exists(#told) OR #told <> :since)",
            )
            .expression_attribute_names("#since", SINCE)
            .expression_attribute_names("#told", TOLD)
            .expression_attribute_values(":since", string(since));
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) if is_condition_failure(&error) => Ok(false),
            Err(error) => Err(failed("take note of what was told")(error)),
        }
    }
}

fn session_item(digest: &Fingerprint, session: &Session) -> Item {
    let until = session.limit.as_ref().map_or(Timestamp::UNIX_EPOCH, |limit| limit.until);
    let refused = session.reason.clone().filter(|_| session.side == Upstream::Anthropic);
    let side = refused.unwrap_or_else(|| session.side.to_string());
    let json = serde_json::to_string(&Session { told: None, ..session.clone() });
    let mut item = session_key(digest);
    item.extend(attributes([
        ("subject", string(&session.subject)),
        (SIDE, string(side)),
        (SINCE, string(session.since)),
        (LIMITED_UNTIL_EPOCH, epoch(until)),
        ("session", string(json.unwrap_or_default())),
        (EXPIRES_AT, epoch(session.ends())),
    ]));
    item.extend(attributes(session.told.map(|told| (TOLD, string(told)))));
    item
}
