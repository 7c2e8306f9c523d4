//! What is there of the stack, whose is it, and what would be done? Plain functions of what was
//! read; only `Stack::observe` (made in `parts`) asks anybody.

use serde_json::{Map, Value, json};

use super::{Found, Observed, Part, Stack};
use crate::aws::Clients;
use crate::engine::Address;
use crate::engine::Resource as _;
use crate::engine::plan::{Danger, Plan};
use crate::engine::{Foreign, Ownership};

impl Stack {
    /// Compares all of it with what is there.
    #[must_use]
    pub fn plan(&self, there: &Observed) -> Plan {
        // A function that was there had an address that somebody may use.
        let new_url = there.function.is_some() && there.url.is_none();
        let parts = self.parts(there).into_iter().filter(|part| part.matters());
        let changes = parts.map(|part| {
            let moves = new_url && part.address() == self.url.address();
            part.diff().flag(Danger::ChangesUrl, moves)
        });
        Plan { changes: changes.collect() }
    }

    /// Looks at each resource in the order of creation: what is there of it, and whose it is.
    #[must_use]
    pub fn survey(&self, there: &Observed) -> Vec<Found> {
        let parts = self.parts(there);
        let found = parts.iter().filter(|part| part.matters()).map(|part| Found {
            address: part.address(),
            state: part.state(),
            foreign: foreign(&parts, part.as_ref()),
            change: part.diff(),
        });
        found.collect()
    }

    /// What whoever uses the stack needs to know of it.
    #[must_use]
    pub fn outputs(&self, there: &Observed) -> Map<String, Value> {
        let name = |there: bool, name: &str| there.then(|| name.to_owned());
        let outputs = json!({
            "url": there.url.as_ref().map(|live| live.url.clone()),
            "function": name(there.function.is_some(), &self.function.name),
            "table": name(there.table.is_some(), &self.table.name),
            "repository": there.repository.as_ref().map(|live| live.uri.clone()),
            "role": name(there.role.is_some(), &self.role.name),
            "log_group": name(there.log_group.is_some(), &self.log_group.name),
            "image": there.function.as_ref().map(|live| live.image.clone()),
        });
        outputs.as_object().cloned().unwrap_or_default()
    }
}

/// Why `part` is not ours, if it is not. What belongs to another resource is whose that is.
fn foreign(parts: &[Box<dyn Part<Clients> + '_>], part: &dyn Part<Clients>) -> Option<Foreign> {
    match part.ownership()? {
        Ownership::Foreign(why) => Some(why),
        Ownership::Ours => {
            let owner: Address = part.belongs_to()?;
            let owner = parts.iter().find(|part| part.address() == owner)?;
            foreign(parts, owner.as_ref())
        }
    }
}
