//! What is said while something is done? Whoever listens decides where it goes.

use std::fmt;
use std::sync::Arc;

/// Something that is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// What happens.
    Progress(&'a str),
    /// What is waited for.
    Waiting(&'a str),
    /// What only those want to know who asked for more.
    Detail(&'a str),
    /// So many bytes of so many have gone.
    Sent { done: u64, total: u64 },
}

/// Tells whoever listens.
#[derive(Clone)]
pub struct Say(Arc<dyn Fn(Message<'_>) + Send + Sync>);

impl Say {
    /// Tells `listener`.
    #[must_use]
    pub fn new(listener: impl Fn(Message<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    /// Says what happens.
    pub fn progress(&self, text: &str) {
        (self.0)(Message::Progress(text));
    }

    /// Says what is waited for.
    pub fn waiting(&self, text: &str) {
        (self.0)(Message::Waiting(text));
    }

    /// Says what only those want to know who asked for more.
    pub fn detail(&self, text: &str) {
        (self.0)(Message::Detail(text));
    }

    /// Says that `done` bytes of `total` have gone.
    pub fn sent(&self, done: u64, total: u64) {
        (self.0)(Message::Sent { done, total });
    }
}

impl fmt::Debug for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Say")
    }
}
