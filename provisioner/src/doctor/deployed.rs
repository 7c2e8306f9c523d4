//! Is what was deployed still as it has to be? And what of it can be mended without harm?

use super::{Check, CheckState};
use crate::aws::Account;
use crate::engine::State as Standing;
use crate::engine::plan::{Action, Change, Plan};
use crate::proxy::probe::{self, Health};
use crate::resources::function::FunctionLive;
use crate::stack::names::Name;
use crate::stack::{Declaration, EXPIRY, Found, Observed, Stack, cure_of};

/// Runs every check of a stack that is there.
pub(crate) async fn checks(
    declared: &Declaration,
    there: &Observed,
    place: (&Name, &Account),
) -> Vec<Check> {
    let survey = declared.survey(there);
    if survey.iter().all(|found| found.state.is_none()) {
        return vec![Check::ok("stack", "there is none yet: `up` makes it")];
    }
    let url = async {
        match &there.url {
            Some(live) => Some(of_health(&probe::ask(&live.url).await)),
            None => None,
        }
    };
    let mut checks = of_resources(&survey, place);
    checks.extend(of_settings(&declared.stack, there));
    checks.extend(there.function.as_ref().map(of_identity));
    checks.extend(url.await);
    checks
}

/// Whether each resource is there, ours and fit for use.
#[must_use]
pub fn of_resources(survey: &[Found], place: (&Name, &Account)) -> Vec<Check> {
    let mut bad = Vec::new();
    for Found { address, state, foreign, .. } in survey {
        let name = address.to_string();
        match (state, foreign) {
            (_, Some(why)) => {
                bad.push(Check::fail(name, why.to_string(), cure_of(&[why], true, place)));
            }
            (None, None) => bad.push(Check::fail(name, "is not there", "`up` makes it")),
            (Some(Standing::Failed), None) => {
                bad.push(Check::fail(
                    name,
                    "AWS says that it failed",
                    "`up` makes it anew where it can",
                ));
            }
            (Some(Standing::Changing), None) => {
                bad.push(Check::warn(name, "is being changed", "run it again in a minute"));
            }
            (Some(Standing::Ready), None) => {}
        }
    }
    if bad.is_empty() {
        bad.push(Check::ok("resources", format!("all {} are there", survey.len())));
    }
    bad
}

const FIX: &str = "doctor --fix, or up";

/// The settings without which it works, but not for long, or not safely.
#[must_use]
pub fn of_settings(stack: &Stack, there: &Observed) -> Vec<Check> {
    let mut checks = Vec::new();
    for (permission, live) in
        [(&stack.call_url, &there.call_url), (&stack.call_lambda, &there.call_lambda)]
    {
        let name = format!("permission {}", permission.grant.id());
        checks.push(match live {
            Some(live) if live.statement == permission.grant.statement() => {
                Check::ok(name, "as it has to be")
            }
            Some(_) => Check::fail(name, "says something else than the URL needs", FIX),
            None => Check::fail(name, "is missing, so the URL answers 403", FIX),
        });
    }
    if let Some(table) = &there.table {
        let name = "table-expiry";
        checks.push(match &table.expiry {
            Some(by) if *by == EXPIRY.to_string() => {
                Check::ok(name, format!("items expire by {by}"))
            }
            Some(by) => Check::fail(name, format!("items expire by {by}"), "`up` says what to do"),
            None => Check::fail(name, "items never expire: the table grows for ever", FIX),
        });
    }
    if let Some(group) = &there.log_group {
        let name = "log-retention";
        checks.push(match group.retention {
            Some(days) => Check::ok(name, format!("lines are kept for {days} days")),
            None => Check::warn(name, "lines are kept, and paid for, for ever", FIX),
        });
    }
    checks
}

/// Whether the role is still the one that the function was given: one that was made anew under its
/// name cannot decrypt the function's settings.
#[must_use]
pub fn of_identity(live: &FunctionLive) -> Check {
    let name = "role-identity";
    match live.has_another_role() {
        Some(false) => Check::ok(name, "the role is the one it was made with"),
        Some(true) => Check::fail(
            name,
            "the role is not the one it was made with, and cannot read its settings",
            "`up`",
        ),
        None => Check::warn(name, "the function does not say for which role it was made", "`up`"),
    }
}

/// Judges what the URL answered.
#[must_use]
pub fn of_health(health: &Health) -> Check {
    if health.ok {
        let ms = health.first_byte_ms.unwrap_or_default();
        return Check::ok("url", format!("answers and streams, first byte after {ms} ms"));
    }
    let why = health.why.clone().unwrap_or_else(|| "no answer".to_owned());
    let cure = match health.status {
        Some(403) => "the permissions above; or the organisation forbids public functions",
        Some(_) => "`logs` shows what the function says",
        None => "look at the network between here and the URL",
    };
    Check::fail("url", why, cure)
}

/// The part of `plan` that costs nobody anything and takes nothing away: permissions, expiry,
/// and an end to log lines that never end. Nothing, where anything of the stack is not ours.
#[must_use]
pub fn harmless(plan: Plan, declared: &Declaration, there: &Observed) -> Plan {
    use crate::engine::Resource as _;
    let stack = &declared.stack;
    // A part that is missing has no owner, but what it would be a part of has.
    if declared.survey(there).iter().any(|found| found.foreign.is_some()) {
        return Plan { changes: Vec::new() };
    }
    let endless = there.log_group.as_ref().is_some_and(|group| group.retention.is_none());
    let function = there.function.is_some();
    let fit = |change: &Change| {
        let of = |address| change.address == address;
        let permission = of(stack.call_url.address()) || of(stack.call_lambda.address());
        let expiry = of(stack.table.address()) && change.action == Action::Update;
        let retention = of(stack.log_group.address()) && endless;
        (permission && function) || (expiry && change.touches("TimeToLiveDescription")) || retention
    };
    let changes = plan.changes.into_iter().filter(|change| fit(change)).collect();
    Plan { changes }
}

/// Whether anything failed.
#[must_use]
pub fn any_failed(checks: &[Check]) -> bool {
    checks.iter().any(|check| check.state == CheckState::Fail)
}
