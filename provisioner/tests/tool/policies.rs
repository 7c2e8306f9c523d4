//! Do the policies grant what is needed and nothing else, in every partition of AWS?
//!
//! Nothing here asks AWS; `tests/linter` asks a linter that we have not written.

#![expect(clippy::unwrap_used, reason = "a policy that cannot be read fails the test")]

mod calls;
mod documents;
mod stacks;

use self::stacks::{names, rendered, stack, stacks};
