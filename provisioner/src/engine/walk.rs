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
use super::resource::stranger;
use super::{Address, CloudError, Ownership, Writer, made_for};

/// How it went.
#[derive(Debug, Default)]
pub struct Applied {
    pub done: Vec<Address>,
    pub failed: Option<CloudError>,
    pub left: Vec<Address>,
}

struct Walk<'a, C> {
    parts: &'a [Box<dyn Part<C> + 'a>],
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
    let walk = Walk { parts, plan, cloud, adopt, applied: RefCell::default(), over };
    join_all(parts.iter().map(|part| walk.step(part.as_ref()))).await;
    walk.applied.into_inner()
}

impl<C> Walk<'_, C> {
    /// Does what the plan says of one resource, after those that have to be there before it.
    async fn step(&self, part: &dyn Part<C>) {
        let mut over = self.over.subscribe();
        let first = part.after();
        let known = |address: &Address| self.parts.iter().any(|part| part.address() == *address);
        let ready = |over: &BTreeSet<Address>| {
            first.iter().all(|first| over.contains(first) || !known(first))
        };
        // What waits its turn does not begin any more once somebody has said stop.
        tokio::select! {
            _ = over.wait_for(ready) => {}
            () = self.cloud.stop().wait() => {}
        }
        let address = part.address();
        if let Some(change) = self.plan.pending().find(|change| change.address == address) {
            let settle = async {
                judge_owner(self.parts, part, self.adopt, self.cloud).await?;
                part.settle(self.adopt, self.cloud).await
            };
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
        // Whoever reads this line and says stop means the step.
        self.cloud.stop().begin();
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

/// Refuses to touch `part` where what it belongs to has just become somebody else's.
async fn judge_owner<C>(
    parts: &[Box<dyn Part<C> + '_>],
    part: &dyn Part<C>,
    adopt: bool,
    cloud: &Writer<C>,
) -> Result<(), CloudError> {
    let Some(owner) = part.belongs_to() else { return Ok(()) };
    let Some(owner) = parts.iter().find(|part| part.address() == owner) else { return Ok(()) };
    match owner.judge(cloud.reader()).await.map_err(|error| error.at(&owner.address()))? {
        None | Some(Ownership::Ours) => Ok(()),
        Some(Ownership::Foreign(why)) if adopt && why.adoptable() => Ok(()),
        Some(Ownership::Foreign(why)) => Err(stranger(&why).at(&owner.address())),
    }
}

/// Deletes `part`, one of `parts`, as it is now, and says so.
///
/// # Errors
///
/// If it may still be there, because it is not ours any more or something holds it.
pub async fn delete<C>(
    parts: &[Box<dyn Part<C> + '_>],
    part: &dyn Part<C>,
    cloud: &Writer<C>,
) -> Result<(), CloudError> {
    let (address, say) = (part.address(), cloud.say());
    cloud.stop().begin();
    say.progress(&format!("  deleting {address}"));
    let start = Instant::now();
    let delete = async {
        judge_owner(parts, part, false, cloud).await?;
        part.remove(cloud).await
    };
    made_for(address.clone(), delete).await.map_err(|error| error.at(&address))?;
    let seconds = start.elapsed().as_secs_f64();
    say.progress(&format!("  deleted {address} ({seconds:.1} s)"));
    Ok(())
}
