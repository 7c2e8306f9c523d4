//! How long is something waited for, and how often tried again?
//!
//! Time is counted in units of [`super::Pace`]. Every wait says on standard error what it waits
//! for, ends at its limit, and ends at once when the person who runs the command says stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::words::{SHOWN, cut};
use super::{CloudError, Kind, Writer};

/// Whether the person who runs the command has said stop, and whether that can be at once.
#[derive(Debug, Clone)]
pub struct Stop {
    said: watch::Receiver<bool>,
    begun: Arc<AtomicBool>,
}

impl Stop {
    /// Becomes true when `sender` says so.
    #[must_use]
    pub fn new(receiver: watch::Receiver<bool>) -> Self {
        Self { said: receiver, begun: Arc::default() }
    }

    /// Notes that a change is on its way: from now on it is stopped between steps.
    pub fn begin(&self) {
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Whether anything may have been changed, or is about to be.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed)
    }

    /// Whether it has been said.
    #[must_use]
    pub fn said(&self) -> bool {
        *self.said.borrow()
    }

    /// Returns when it is said.
    pub async fn wait(&self) {
        let mut receiver = self.said.clone();
        if receiver.wait_for(|said| *said).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// What one look found.
#[derive(Debug)]
pub enum Wait<T> {
    Done(T),
    /// Not yet; the words say what it looks like now.
    For(String),
}

/// The pauses between all tries of one step, in units.
const BUDGET: f64 = 90.0;

/// All tries of one step with their answers, whatever a unit is: a network that swallows
/// everything answers each of them late.
const DEADLINE: Duration = Duration::from_secs(300);

/// What is not there may not be visible yet: for so many units.
const VISIBLE_WITHIN: f64 = 15.0;

/// The pauses between tries, in units; the last one repeats.
const PAUSES: [f64; 4] = [0.25, 0.5, 1.0, 2.0];

/// For how many units a failure is tried again; `None` if it does not pass.
const fn patience(kind: Kind) -> Option<f64> {
    match kind {
        Kind::Busy | Kind::NotYet | Kind::Throttled | Kind::Unreachable => Some(BUDGET),
        Kind::NotFound => Some(VISIBLE_WITHIN),
        Kind::Exists
        | Kind::Stale
        | Kind::Denied
        | Kind::Credentials
        | Kind::NoRegion
        | Kind::TimedOut
        | Kind::Interrupted
        | Kind::Foreign
        | Kind::Held
        | Kind::Other => None,
    }
}

impl<C> Writer<C> {
    /// Lets time pass, unless it is time to stop.
    pub(super) async fn pause(&self, units: f64) -> Result<(), CloudError> {
        // Two that wait for the same should not ask at the same moment.
        let units = units * (0.75 + 0.5 * fastrand::f64());
        tokio::select! {
            () = self.reader.rest(units) => Ok(()),
            () = self.stop.wait() => Err(CloudError::new(Kind::Interrupted, "interrupted")),
        }
    }

    /// Tries until it works, as long as the failure is one that passes.
    pub async fn persist<T>(
        &self,
        step: impl AsyncFn() -> Result<T, CloudError>,
    ) -> Result<T, CloudError> {
        let (mut spent, mut tries, start) = (0.0, 0, Instant::now());
        loop {
            let error = match step().await {
                Ok(done) => return Ok(done),
                Err(error) => error,
            };
            tries += 1;
            let Some(budget) = patience(error.kind) else { return Err(error) };
            if spent >= budget || start.elapsed() >= DEADLINE {
                let message = format!("gave up after {tries} tries: {}", error.message);
                return Err(CloudError { message, ..error });
            }
            if tries == 1 {
                let CloudError { service, action, message, .. } = &error;
                let message = cut(message, SHOWN);
                self.say.waiting(&format!("{service} {action}: {message}; trying again"));
            }
            let pause = PAUSES[(tries - 1).min(PAUSES.len() - 1)];
            self.pause(pause).await?;
            spent += pause;
        }
    }

    /// Looks until it is done, at most for `units`.
    pub async fn until<T>(
        &self,
        units: f64,
        look: impl AsyncFn() -> Result<Wait<T>, CloudError>,
    ) -> Result<T, CloudError> {
        let (mut spent, mut looks, mut told) = (0.0, 0_usize, String::new());
        loop {
            let now = match look().await? {
                Wait::Done(done) => return Ok(done),
                Wait::For(now) => now,
            };
            if spent >= units {
                let message = format!("{now}, still after {units:.0} s");
                return Err(CloudError::new(Kind::TimedOut, message));
            }
            if now != told {
                self.say.waiting(&now);
                told = now;
            }
            let pause = PAUSES[looks.min(PAUSES.len() - 1)];
            self.pause(pause).await?;
            (spent, looks) = (spent + pause, looks + 1);
        }
    }
}
