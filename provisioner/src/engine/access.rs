//! How is the world reached that is changed? A [`Reader`] asks, and a [`Writer`] changes.
//!
//! What they ask is `C`, one client or many, which this room does not know. Whatever is waited for
//! takes its time from [`Pace`], so that tests need no patience.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Address, Say, Stop};

/// How long one unit of waiting takes: a second, except in tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace(pub Duration);

/// Asks, and cannot do anything else.
#[derive(Debug, Clone)]
pub struct Reader<C> {
    clients: C,
    pace: Pace,
}

impl<C> Reader<C> {
    /// Asks `clients`, which let nothing pass but questions.
    #[must_use]
    pub const fn new(clients: C, pace: Pace) -> Self {
        Self { clients, pace }
    }

    /// Whoever is asked.
    pub const fn clients(&self) -> &C {
        &self.clients
    }

    /// Lets time pass.
    pub async fn rest(&self, units: f64) {
        tokio::time::sleep(self.pace.0.mul_f64(units)).await;
    }
}

/// Notes when something may have been changed.
#[derive(Debug, Clone, Default)]
pub struct Changed(Arc<AtomicBool>);

impl Changed {
    /// Something may be different now.
    pub fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Changes things, until it is told to stop.
#[derive(Debug, Clone)]
pub struct Writer<C> {
    clients: C,
    pub(super) reader: Reader<C>,
    changed: Changed,
    pub(super) say: Say,
    pub(super) stop: Stop,
}

impl<C> Writer<C> {
    /// Changes things by `clients`, which note in `changed` that they may have done so.
    #[must_use]
    pub fn new(clients: C, reader: Reader<C>, changed: Changed, (say, stop): (Say, Stop)) -> Self {
        Self { clients, reader, changed, say, stop }
    }

    /// Whoever is told to change something.
    pub const fn clients(&self) -> &C {
        &self.clients
    }

    /// For reading back what was written.
    #[must_use]
    pub const fn reader(&self) -> &Reader<C> {
        &self.reader
    }

    /// Whether anything may be different now.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        self.changed.0.load(Ordering::Relaxed)
    }

    /// For what is changed without these clients.
    pub fn note_change(&self) {
        self.stop.begin();
        self.changed.note();
    }

    /// Whether it is time to stop.
    #[must_use]
    pub const fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Where it is told what happens.
    #[must_use]
    pub const fn say(&self) -> &Say {
        &self.say
    }
}

tokio::task_local! {
    /// The resource for which calls are made just now.
    static SUBJECT: Address;
}

/// Says for which resource the calls of `work` are made.
pub async fn made_for<T>(address: Address, work: impl Future<Output = T>) -> T {
    SUBJECT.scope(address, work).await
}

/// The resource for which calls are made just now, if they are made for one.
pub fn subject() -> Option<String> {
    SUBJECT.try_with(Address::to_string).ok()
}
