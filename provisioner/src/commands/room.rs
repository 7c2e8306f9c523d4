//! Can so many requests at once be reserved as are wanted? Arithmetic that AWS would do only once
//! half of the stack is made.

use super::{Exit, Failure};
use crate::aws::values::Concurrency;
use crate::aws::{Reader, Room, call};
use crate::stack::settings::Settings;
use crate::stack::{Declaration, Observed};

/// Goes without a reservation that was not asked for and cannot be had; refuses one that was.
pub(super) async fn fitted(
    mut declared: Declaration,
    there: &Observed,
    asked: &Settings,
    cloud: &Reader,
) -> Result<Declaration, Failure> {
    let Some(function) = &mut declared.spec.function else { return Ok(declared) };
    let live = there.function.as_ref().and_then(|live| live.concurrency);
    let already = live.unwrap_or_default();
    let Some(number) = function.concurrency.map(Concurrency::get) else { return Ok(declared) };
    if number <= already {
        return Ok(declared);
    }
    // Whoever may not ask is told by AWS.
    let Some(room) = read(cloud).await.filter(|room| !room.takes(number, already)) else {
        return Ok(declared);
    };
    let most = room.most(already);
    if asked.concurrency.is_some() {
        let Room { all, free } = room;
        let message = format!(
            "{number} requests at once cannot be reserved: the account has {all}, {free} of them \
             not reserved, and Lambda keeps some of these for all else"
        );
        let hint = format!("--reserved-concurrency {most} or less, or more by Service Quotas");
        let hint = if most > 0 { hint } else { "more by Service Quotas, or none reserved".into() };
        return Err(Failure::new(Exit::Usage, message).hint(hint));
    }
    function.concurrency = live.and_then(|live| live.to_string().parse().ok());
    declared.notes.push(without(number));
    Ok(declared)
}

/// Whether `number` can be reserved for a function that has nothing reserved yet, as far as it is
/// known.
pub(super) async fn has(number: Concurrency, cloud: &Reader) -> bool {
    read(cloud).await.is_none_or(|room| room.takes(number.get(), 0))
}

/// What is said where strangers may knock and nothing is reserved.
pub(super) fn without(number: i32) -> String {
    format!(
        "The account has too few concurrent executions to reserve the {number} that bound what \
         strangers may use up: nothing is reserved. `doctor` says what to do."
    )
}

async fn read(cloud: &Reader) -> Option<Room> {
    let get = cloud.clients().lambda.get_account_settings().send();
    let limit = call("Lambda", "GetAccountSettings", get).await.ok()?.account_limit?;
    let all = limit.concurrent_executions;
    // Nothing is known of an account that answers nothing.
    (all > 0).then(|| Room { all, free: limit.unreserved_concurrent_executions.unwrap_or(all) })
}
