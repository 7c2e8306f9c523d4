//! What if DynamoDB fails? A fake of the calls that the proxy makes, which keeps whatever is put
//! into it, judges no condition, and can be told to be slow, to throttle or to answer nonsense.
//!
//! For what conditions do, there is `moto`.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    answer::Answer,
    fake::{Fake, Received, Speak, Wire},
};

/// The fake; dropping it closes its port.
#[derive(Debug)]
pub struct FakeDynamo {
    fake: Fake,
    house: Arc<House>,
}

#[derive(Debug, Default)]
struct House(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    items: Vec<Value>,
    /// Items whose partition key begins like this are left unprocessed.
    unprocessed: Option<&'static str>,
}

impl FakeDynamo {
    pub fn start() -> Self {
        let house = Arc::new(House::default());
        Self { fake: Fake::start(Arc::clone(&house) as Arc<dyn Speak>), house }
    }

    /// Answers every unscripted call of `operation` like this from now on.
    pub fn always(&self, operation: &str, answer: &Answer) {
        self.fake.always(operation, answer.clone());
    }

    /// Leaves unprocessed what has a partition key that begins like this.
    pub fn leave(&self, prefix: &'static str) {
        self.house.shelf().unprocessed = Some(prefix);
    }

    /// Puts an item, in the wire's form.
    pub fn put(&self, item: Value) {
        self.house.shelf().put(item);
    }

    /// Removes the item with this key.
    pub fn remove(&self, key: &Value) {
        self.house.shelf().remove(key);
    }

    pub fn items(&self) -> Vec<Value> {
        self.house.shelf().items.clone()
    }

    /// The bodies of all calls of `operation`.
    pub fn calls(&self, operation: &str) -> Vec<Value> {
        let calls = self.fake.requests();
        calls.iter().filter(|call| name(call) == operation).map(Received::json).collect()
    }
}

impl Deref for FakeDynamo {
    type Target = Fake;

    fn deref(&self) -> &Fake {
        &self.fake
    }
}

impl House {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn find(&self, key: &Value) -> Option<&Value> {
        self.items.iter().find(|item| item["pk"] == key["pk"] && item["sk"] == key["sk"])
    }

    fn put(&mut self, item: Value) {
        self.remove(&item);
        self.items.push(item);
    }

    fn remove(&mut self, key: &Value) {
        self.items.retain(|item| item["pk"] != key["pk"] || item["sk"] != key["sk"]);
    }

    fn read_all(&self, asked: &Value) -> Value {
        let (mut found, mut left) = (json!({}), json!({}));
        let tables = asked["RequestItems"].as_object().into_iter().flatten();
        for (table, wanted) in tables {
            let keys = wanted["Keys"].as_array().cloned().unwrap_or_default();
            let is_left = |key: &&Value| {
                let pk = key["pk"]["S"].as_str().unwrap_or_default();
                self.unprocessed.is_some_and(|prefix| pk.starts_with(prefix))
            };
            let (unread, read): (Vec<_>, Vec<_>) = keys.iter().partition(is_left);
            let items: Vec<_> = read.into_iter().filter_map(|key| self.find(key)).collect();
            found[table] = json!(items);
            if !unread.is_empty() {
                left[table] = json!({"Keys": unread});
            }
        }
        json!({"Responses": found, "UnprocessedKeys": left})
    }
}

/// The operation of a call.
fn name(request: &Received) -> &str {
    request.header("x-amz-target").rsplit('.').next().unwrap_or_default()
}

impl Speak for House {
    fn topic(&self, request: &Received) -> String {
        name(request).to_owned()
    }

    fn speak(&self, request: &Received, script: Option<&Answer>) -> Wire {
        let asked = request.json();
        if let Some(refusal) = script.and_then(|script| script.refusal.as_ref()) {
            let kind = format!("com.amazonaws.dynamodb.v20120810#{}", refusal.kind);
            let said = json!({"__type": kind, "message": refusal.message}).to_string();
            return wire(refusal.status, refusal.body.clone().unwrap_or_else(|| said.into()));
        }
        let mut shelf = self.shelf();
        let answer = match name(request) {
            "BatchGetItem" => shelf.read_all(&asked),
            "GetItem" => match shelf.find(&asked["Key"]) {
                Some(item) => json!({"Item": item}),
                None => json!({}),
            },
            "PutItem" => {
                shelf.put(asked["Item"].clone());
                json!({})
            }
            "DeleteItem" => {
                shelf.remove(&asked["Key"]);
                json!({})
            }
            _ => json!({}),
        };
        wire(200, answer.to_string().into())
    }
}

fn wire(status: u16, body: Bytes) -> Wire {
    let headers = vec![
        ("content-type".to_owned(), "application/x-amz-json-1.0".to_owned()),
        ("content-length".to_owned(), body.len().to_string()),
    ];
    Wire { status, headers, frames: vec![body], cut: false }
}
