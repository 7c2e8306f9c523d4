//! One file for each kind of resource. In each, what is wanted and how it differs from what is
//! there is pure; how it is read, made and deleted takes the account.

pub mod alarm;
pub mod dashboard;
pub mod function;
pub mod image;
pub mod log_group;
pub mod permission;
pub mod policy;
pub mod repository;
pub mod role;
pub mod stand_in;
pub mod surplus;
pub mod table;
pub mod template;
pub mod url;

use crate::aws::{CloudError, Kind};

/// Turns a refusal to show tags into what it means: nobody can tell whose the resource is.
fn tags<T>(read: Result<T, CloudError>) -> Result<T, CloudError> {
    read.map_err(|error| match error.kind {
        Kind::Denied => CloudError {
            kind: Kind::Foreign,
            message: format!("its tags cannot be read, so it may not be ours: {}", error.message),
            ..error
        },
        Kind::NotFound
        | Kind::Exists
        | Kind::Busy
        | Kind::Stale
        | Kind::NotYet
        | Kind::Throttled
        | Kind::Unreachable
        | Kind::Credentials
        | Kind::NoRegion
        | Kind::TimedOut
        | Kind::Interrupted
        | Kind::Foreign
        | Kind::Held
        | Kind::Other => error,
    })
}
