//! What is there of the stack, whose is it, and what would be done? Plain functions of what was
//! read; only `Stack::observe` (made in `list`) asks anybody.

use serde_json::{Map, Value, json};

use super::names::{Name, region_of};
use super::{Declaration, Found, Observed, Part, Stack};
use crate::aws::{Account, Clients, CloudError};
use crate::engine::plan::Plan;
use crate::engine::{Address, Foreign, part};

/// What to do about what is not ours. `adopts` says whether the command can take anything over.
#[must_use]
pub fn cure_of(foreign: &[&Foreign], adopts: bool, place: (&Name, &Account)) -> String {
    let region = foreign.iter().find_map(|why| match why {
        Foreign::OtherStack(id) => Some(region_of(id, place.0, place.1)),
        Foreign::Untagged | Foreign::OtherName(_) | Foreign::Unfit(_) => None,
    });
    match region {
        Some(Some(region)) => {
            format!("--region {region} is where that stack is; another --name makes one here")
        }
        Some(None) => {
            "name the region of that stack (--region), or use another --name for one here".into()
        }
        None if adopts && foreign.iter().all(|why| why.adoptable()) => {
            "use another --name, or take it over: `up --adopt`".into()
        }
        None => "use another --name".into(),
    }
}

impl Declaration {
    /// Each resource in the order of creation.
    #[must_use]
    pub fn parts<'a>(&'a self, there: &'a Observed) -> Vec<Box<dyn Part<Clients> + 'a>> {
        self.stack.parts(&self.spec, there)
    }

    /// Compares all of it with what is there.
    #[must_use]
    pub fn plan(&self, there: &Observed) -> Plan {
        let parts = self.parts(there).into_iter().filter(|part| part.matters());
        Plan { changes: parts.map(|part| part.diff()).collect() }
    }

    /// What there is to say besides.
    #[must_use]
    pub fn noted(&self) -> String {
        self.notes.iter().map(|note| format!("\nnote: {note}\n")).collect()
    }

    /// Whether the function is to answer nobody: so many requests at once are reserved for it, and
    /// no more.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        let function = self.spec.function.as_ref();
        function.and_then(|function| function.concurrency).is_some_and(|number| number.get() == 0)
    }

    /// What is there and not ours, and why.
    #[must_use]
    pub fn foreign(&self, there: &Observed) -> Vec<(Address, Foreign)> {
        let parts = self.parts(there);
        let foreign = parts
            .iter()
            .filter_map(|part| Some((part.address(), part::foreign(&parts, part.as_ref())?)));
        foreign.collect()
    }

    /// Looks at each resource in the order of creation: what is there of it, and whose it is.
    #[must_use]
    pub fn survey(&self, there: &Observed) -> Vec<Found> {
        part::survey(&self.parts(there))
    }
}

impl Observed {
    /// For whoever cannot do without what is optional.
    ///
    /// # Errors
    ///
    /// Why it is not known.
    pub fn whole(self) -> Result<Self, CloudError> {
        match self.unknown {
            Some(why) => Err(why),
            None => Ok(self),
        }
    }
}

impl Stack {
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
