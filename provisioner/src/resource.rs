//! What every kind of resource can do.

use std::future::Future;

use crate::cloud::{CloudError, Reader, Writer};
use crate::names::Ownership;
use crate::plan::{Address, Change};

/// Something in the account that the stack owns. The value itself is what is wanted.
pub trait Resource {
    /// What the account says now.
    type Live: Clone;

    fn address(&self) -> Address;

    /// Judges whose `live` is.
    fn ownership(&self, live: &Self::Live) -> Ownership;

    /// Compares what is wanted with what is there; `None` is nothing.
    fn diff(&self, live: Option<&Self::Live>) -> Change;

    /// Whether AWS says that it can be used.
    fn state(&self, _live: &Self::Live) -> State {
        State::Ready
    }

    /// Reads it; `None` if it does not exist.
    fn read(&self, cloud: &Reader) -> impl Future<Output = Result<Option<Self::Live>, CloudError>>;

    /// Makes it what is wanted, starting from `live`. Taken twice, the second time changes nothing.
    fn apply(
        &self,
        live: Option<Self::Live>,
        cloud: &Writer,
    ) -> impl Future<Output = Result<(), CloudError>>;

    /// Removes it, and returns when it is gone. What is not there is removed.
    fn delete(&self, cloud: &Writer) -> impl Future<Output = Result<(), CloudError>>;
}

/// How something that exists is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Ready,
    Changing,
    Failed,
}
