//! Makes it so: walks a plan, step by step, and stops at the first failure.
//!
//! What can go side by side does: the image is pushed while the role becomes known everywhere.
//! Nothing is rolled back; every step can be taken again, so running the command again finishes the
//! job.

use std::cell::RefCell;
use std::collections::BTreeSet;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::Instant;

use super::part::Part;
use super::plan::{Change, Plan};
use super::{Address, CloudError, Writer, made_for};

/// How it went.
#[derive(Debug, Default)]
pub struct Applied {
    pub done: Vec<Address>,
    pub failed: Option<CloudError>,
    pub left: Vec<Address>,
}

struct Walk<'a, C> {
    plan: &'a Plan,
    cloud: &'a Writer<C>,
    adopt: bool,
    applied: RefCell<Applied>,
    /// Whose turn is over, however it went.
    over: watch::Sender<BTreeSet<Address>>,
}

/// Does all that `plan` says of `parts`.
pub async fn up<C>(
    parts: &[Box<dyn Part<C> + '_>],
    plan: &Plan,
    cloud: &Writer<C>,
    adopt: bool,
) -> Applied {
    let over = watch::Sender::new(BTreeSet::new());
    let walk = Walk { plan, cloud, adopt, applied: RefCell::default(), over };
    join_all(parts.iter().map(|part| walk.step(part.as_ref()))).await;
    walk.applied.into_inner()
}

impl<C> Walk<'_, C> {
    /// Does what the plan says of one resource, after those that have to be there before it.
    async fn step(&self, part: &dyn Part<C>) {
        let mut over = self.over.subscribe();
        let ready =
            |over: &BTreeSet<Address>| part.after().iter().all(|first| over.contains(first));
        drop(over.wait_for(ready).await);
        let address = part.address();
        let of_it = |change: &&Change| change.address == address;
        if let Some(change) = self.plan.pending().find(of_it) {
            let settle = part.settle(self.adopt, self.cloud);
            self.take(change, made_for(address.clone(), settle)).await;
        }
        self.over.send_modify(|over| {
            over.insert(address);
        });
    }

    /// Takes one step, unless one has failed already or it is time to stop.
    async fn take(&self, change: &Change, step: impl Future<Output = Result<(), CloudError>>) {
        let address = &change.address;
        let failed = self.applied.borrow().failed.is_some();
        if failed || self.cloud.stop().said() {
            self.applied.borrow_mut().left.push(address.clone());
            return;
        }
        let say = self.cloud.say();
        let (doing, done) = change.action.words();
        say.progress(&format!("  {doing} {address}"));
        let start = Instant::now();
        match step.await {
            Ok(()) => {
                let seconds = start.elapsed().as_secs_f64();
                say.progress(&format!("  {done} {address} ({seconds:.1} s)"));
                self.applied.borrow_mut().done.push(address.clone());
            }
            Err(error) => {
                let mut applied = self.applied.borrow_mut();
                applied.left.push(address.clone());
                applied.failed.get_or_insert_with(|| error.at(address));
            }
        }
    }
}

/// Deletes one resource, and says so.
///
/// # Errors
///
/// If it may still be there.
pub async fn delete<C>(part: &dyn Part<C>, cloud: &Writer<C>) -> Result<(), CloudError> {
    let (address, say) = (part.address(), cloud.say());
    say.progress(&format!("  deleting {address}"));
    let start = Instant::now();
    let delete = made_for(address.clone(), part.delete(cloud));
    delete.await.map_err(|error| error.at(&address))?;
    let seconds = start.elapsed().as_secs_f64();
    say.progress(&format!("  deleted {address} ({seconds:.1} s)"));
    Ok(())
}
