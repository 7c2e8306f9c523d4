//! How many requests has somebody made, who has answered them, and what has that cost?

use std::sync::atomic::{AtomicU64, Ordering};

use crate::failover::Upstream;
use crate::money::{Cost, MicroDollars};

/// Counts what is over. Grows for as long as the process lives.
#[derive(Debug, Default)]
pub struct Tally {
    requests: AtomicU64,
    by_bedrock: AtomicU64,
    cost: AtomicU64,
}

impl Tally {
    /// Counts one request.
    pub(super) fn add(&self, upstream: Option<Upstream>, cost: Option<Cost>) {
        let by_bedrock = u64::from(upstream == Some(Upstream::Bedrock));
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.by_bedrock.fetch_add(by_bedrock, Ordering::Relaxed);
        self.cost.fetch_add(cost.map_or(0, |cost| cost.amount.0), Ordering::Relaxed);
    }

    /// Requests, those that Bedrock has answered, and what those have cost.
    #[must_use]
    pub fn read(&self) -> (u64, u64, MicroDollars) {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (read(&self.requests), read(&self.by_bedrock), MicroDollars(read(&self.cost)))
    }
}
