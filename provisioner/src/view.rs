//! What does a person read of a stack? Texts made of values; whoever calls prints them.
//!
//! Every text can be read without colour, says in which account and region it is meant, and names
//! commands with the options that lead to the same stack again.

pub mod columns;
pub mod ending;
pub mod money;
pub mod overview;
pub mod printer;
pub mod removal;
pub mod screen;
pub mod state;
pub mod watch;
pub mod wrap;

use std::fmt;

use crate::aws::Account;
use crate::cli::Global;

/// Which stack is meant, and where it is.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    pub global: &'a Global,
    pub account: &'a Account,
}

impl Scope<'_> {
    /// The command that does `what` for this very stack.
    #[must_use]
    pub fn command(&self, what: &str) -> String {
        let Global { region, profile, name, .. } = self.global;
        let name = Some(name.to_string()).filter(|name| name != Global::NAME);
        let options = [("name", name), ("region", region.clone()), ("profile", profile.clone())];
        let options = options
            .into_iter()
            .filter_map(|(option, value)| Some(format!(" --{option} {}", value?)));
        format!("provisioner {what}{}", options.collect::<String>())
    }
}

impl fmt::Display for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Account { id, region, .. } = self.account;
        write!(f, "stack {} in account {id}, region {region}", self.global.name)
    }
}

/// A number of things: `1 image`, `3 images`.
pub(crate) fn number(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
