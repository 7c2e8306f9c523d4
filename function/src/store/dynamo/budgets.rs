//! The months of budgets in the shared table.
//!
//! One conditional `UpdateItem` for a change: plain writes, so that nobody's write fails because of
//! another's, as it would beside a transaction. What names an entry is asked for twice, since its
//! condition tells whether it has happened already; the SDK itself never repeats anything here.

use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::super::budgets::Account;
use super::item::{self, EXPIRES_AT, Item};
use crate::money::budget::{Change, Condition, Month};

/// The set of entries that nobody has settled.
const OPEN: &str = "o";
const USER: &str = "user";

/// Makes an `UpdateItem`, which knows table and key, do what `change` says, for whoever has a
/// client of their own. A condition that does not hold is an exception of the table's.
#[must_use]
pub fn update_of(
    update: UpdateItemFluentBuilder,
    account: &Account<'_>,
    change: &Change,
) -> UpdateItemFluentBuilder {
    Expression::of(account, change).put_into(update)
}

/// A change in DynamoDB's own words.
#[derive(Default)]
struct Expression {
    set: Vec<String>,
    add: Vec<String>,
    delete: Vec<String>,
    only_if: Vec<String>,
    names: Vec<String>,
    values: Vec<AttributeValue>,
}

impl Expression {
    fn of(account: &Account<'_>, change: &Change) -> Self {
        let mut new = Self::default();
        let ends = item::epoch(account.at.kept_until());
        for (name, value) in [(EXPIRES_AT, Some(ends)), (USER, account.user.map(item::string))] {
            if let Some(value) = value {
                let part = format!("{} = {}", new.name(name), new.value(value));
                new.set.push(part);
            }
        }
        for (counter, amount) in &change.add {
            let part = format!("{} {}", new.name(counter), new.value(number(*amount)));
            new.add.push(part);
        }
        if let Some(entry) = &change.open {
            let entries = AttributeValue::Ss(vec![entry.clone()]);
            let part = format!("{} {}", new.name(OPEN), new.value(entries));
            new.add.push(part);
        }
        if !change.close.is_empty() {
            let entries = AttributeValue::Ss(change.close.clone());
            let part = format!("{} {}", new.name(OPEN), new.value(entries));
            new.delete.push(part);
        }
        new.condition(&change.only_if);
        new
    }

    fn condition(&mut self, condition: &Condition) {
        let (entry, not, at_most) = match condition {
            Condition::Always => return,
            Condition::Open(entry) => (Some(entry), "", &[][..]),
            Condition::Room { entry, at_most } => (entry.as_ref(), "NOT ", at_most.as_slice()),
        };
        if let Some(entry) = entry {
            let (open, entry) = (self.name(OPEN), self.value(item::string(entry)));
            self.only_if.push(format!("{not}contains({open}, {entry})"));
        }
        for (counter, most) in at_most {
            let (counter, none) = (self.name(counter), self.value(number(0)));
            let most = self.value(number(*most));
            let fits = format!("{counter} BETWEEN {none} AND {most}");
            let fits = format!("(attribute_not_exists({counter}) OR {fits})");
            self.only_if.push(fits);
        }
    }

    /// The placeholder of an attribute's name.
    fn name(&mut self, name: &str) -> String {
        let known = self.names.iter().position(|known| known == name);
        let index = known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        format!("#n{index}")
    }

    /// The placeholder of a value.
    fn value(&mut self, value: AttributeValue) -> String {
        self.values.push(value);
        format!(":v{}", self.values.len() - 1)
    }

    fn put_into(self, mut update: UpdateItemFluentBuilder) -> UpdateItemFluentBuilder {
        let parts = [("SET", &self.set), ("ADD", &self.add), ("DELETE", &self.delete)];
        let parts = parts.iter().filter(|(_, parts)| !parts.is_empty());
        let parts = parts.map(|(verb, parts)| format!("{verb} {}", parts.join(", ")));
        update = update.update_expression(parts.collect::<Vec<_>>().join(" "));
        if !self.only_if.is_empty() {
            update = update.condition_expression(self.only_if.join(" AND "));
        }
        for (index, name) in self.names.into_iter().enumerate() {
            update = update.expression_attribute_names(format!("#n{index}"), name);
        }
        for (index, value) in self.values.into_iter().enumerate() {
            update = update.expression_attribute_values(format!(":v{index}"), value);
        }
        update
    }
}

fn number(amount: i64) -> AttributeValue {
    AttributeValue::N(amount.to_string())
}

/// Reads an item; what is neither a counter nor known otherwise is left out.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the counters go into a map that is in order")]
pub fn read(item: &Item) -> Month {
    let counter = |(name, value): (&String, &AttributeValue)| {
        let amount = value.as_n().ok()?.parse().ok()?;
        (name != EXPIRES_AT).then(|| (name.clone(), amount))
    };
    let open = item.get(OPEN).and_then(|open| open.as_ss().ok()).into_iter().flatten();
    let user = item.get(USER).and_then(|user| user.as_s().ok()).cloned();
    Month {
        counters: item.iter().filter_map(counter).collect(),
        open: open.cloned().collect(),
        user,
    }
}
