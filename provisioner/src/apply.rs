//! Makes it so: walks a plan, step by step, and stops at the first failure.
//!
//! What can go side by side does: the image is pushed while the role becomes known everywhere.
//! Nothing is rolled back; every step can be taken again, so running the command again finishes the
//! job.

use std::cell::RefCell;

use tokio::time::Instant;

use crate::cloud::{CloudError, Kind, Writer};
use crate::names::Ownership;
use crate::plan::{Action, Address, Change, Plan};
use crate::resource::Resource;
use crate::stack::{Observed, Stack};

/// How it went.
#[derive(Debug, Default)]
pub struct Applied {
    pub done: Vec<Address>,
    pub failed: Option<CloudError>,
    pub left: Vec<Address>,
}

struct Walk<'a> {
    plan: &'a Plan,
    cloud: &'a Writer,
    adopt: bool,
    applied: RefCell<Applied>,
}

/// Does all that `plan` says.
pub async fn up(
    stack: &Stack,
    there: Observed,
    plan: &Plan,
    cloud: &Writer,
    adopt: bool,
) -> Applied {
    let surplus = stack.surplus(&there);
    let walk = Walk { plan, cloud, adopt, applied: RefCell::default() };
    let Stack { role, repository, image, table, log_group, function, call_url, call_lambda, url } =
        stack;
    let pushed = async {
        walk.step(repository, there.repository).await;
        walk.step(image, there.image).await;
    };
    tokio::join!(
        walk.step(role, there.role),
        pushed,
        walk.step(table, there.table),
        walk.step(log_group, there.log_group),
    );
    walk.step(function, there.function).await;
    // One after the other: two changes to a function's policy at once are refused.
    walk.step(call_url, there.call_url).await;
    walk.step(call_lambda, there.call_lambda).await;
    walk.step(url, there.url).await;
    if let Some(change) = image.prune(&surplus) {
        walk.take(&change, image.remove(&surplus, cloud)).await;
    }
    walk.applied.into_inner()
}

impl Walk<'_> {
    /// Does what the plan says of one resource.
    async fn step<R: Resource>(&self, resource: &R, live: Option<R::Live>) {
        let address = resource.address();
        let of_it = |change: &&Change| {
            change.address == address && !matches!(change.action, Action::Delete(_))
        };
        let Some(change) = self.plan.pending().find(of_it) else { return };
        self.take(change, Box::pin(self.settle(resource, live))).await;
    }

    /// Takes one step, unless one has failed already or it is time to stop.
    async fn take(&self, change: &Change, step: impl Future<Output = Result<(), CloudError>>) {
        let address = &change.address;
        let failed = self.applied.borrow().failed.is_some();
        if failed || self.cloud.stop().said() {
            self.applied.borrow_mut().left.push(address.clone());
            return;
        }
        let printer = self.cloud.printer();
        let (doing, done) = match change.action {
            Action::Create => ("creating", "created"),
            Action::Update => ("updating", "updated"),
            Action::Replace(_) => ("replacing", "replaced"),
            Action::Delete(_) => ("deleting", "deleted"),
            Action::Keep => ("keeping", "kept"),
        };
        printer.progress(&format!("  {doing} {address}"));
        let start = Instant::now();
        match step.await {
            Ok(()) => {
                let seconds = start.elapsed().as_secs_f64();
                printer.progress(&format!("  {done} {address} ({seconds:.1} s)"));
                self.applied.borrow_mut().done.push(address.clone());
            }
            Err(error) => {
                let mut applied = self.applied.borrow_mut();
                applied.left.push(address.clone());
                applied.failed.get_or_insert_with(|| error.at(address));
            }
        }
    }

    /// Applies; where somebody was quicker, looks again and applies what is left. That somebody may
    /// have been this very run, whose answer was lost.
    async fn settle<R: Resource>(
        &self,
        resource: &R,
        live: Option<R::Live>,
    ) -> Result<(), CloudError> {
        let mut live = live;
        let mut rounds = 0;
        loop {
            let error = match resource.apply(live, self.cloud).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            rounds += 1;
            if !matches!(error.kind, Kind::Exists | Kind::Busy) || rounds > ROUNDS {
                return Err(error);
            }
            self.cloud.reader().rest(1.0).await;
            live = resource.read(self.cloud.reader()).await?;
            if let Some(live) = &live {
                if let Ownership::Foreign(why) = resource.ownership(live)
                    && !(self.adopt && why.adoptable())
                {
                    let why = format!("somebody else has just made it: {why}");
                    return Err(CloudError::new(Kind::Foreign, why));
                }
                if resource.diff(Some(live)).action == Action::Keep {
                    return Ok(());
                }
            }
        }
    }
}

/// How often somebody else may be quicker.
const ROUNDS: u32 = 5;

/// Deletes one resource, and says so.
pub async fn delete<R: Resource>(resource: &R, cloud: &Writer) -> Result<(), CloudError> {
    let (address, printer) = (resource.address(), cloud.printer());
    printer.progress(&format!("  deleting {address}"));
    let start = Instant::now();
    Box::pin(resource.delete(cloud)).await.map_err(|error| error.at(&address))?;
    let seconds = start.elapsed().as_secs_f64();
    printer.progress(&format!("  deleted {address} ({seconds:.1} s)"));
    Ok(())
}
