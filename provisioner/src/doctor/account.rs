//! Who asks, where, and by which clock; and how much of Lambda the account may use.

use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;
use function::clock;
use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};

use super::Check;
use crate::aws::{Account, Room};
use crate::aws::{Cloud, CloudError, Kind, Reader, call};
use crate::proxy::logs::span;

/// Why there is no way in.
pub(crate) fn no_way_in(error: &CloudError) -> Check {
    let name = if error.kind == Kind::NoRegion {
        "region"
    } else if error.kind == Kind::Unreachable {
        "network"
    } else {
        "credentials"
    };
    let cure = error.hint();
    Check::fail(name, error.to_string(), cure.unwrap_or_else(|| "look at the AWS settings".into()))
}

/// Credentials that end sooner than an `up` may take, in seconds.
const SHORTEST_SESSION: i64 = 15 * 60;

pub(crate) async fn credentials(cloud: &Cloud) -> Check {
    let ends = cloud.expiry().await.and_then(|ends| Timestamp::try_from(ends).ok());
    of_credentials(&cloud.caller, ends.map(|ends| ends.duration_since(clock::now())))
}

/// Judges credentials that are good for `left`; `None` is for ever.
#[must_use]
pub fn of_credentials(caller: &str, left: Option<SignedDuration>) -> Check {
    let seconds = left.map(|left| left.as_secs());
    match seconds {
        None => Check::ok("credentials", format!("{caller}, without an end")),
        Some(seconds) if seconds < SHORTEST_SESSION => {
            let left = span(seconds.max(0).unsigned_abs());
            let cause = format!("{caller}, for {left} more");
            Check::warn("credentials", cause, "renew them first: aws sso login, or as you got them")
        }
        Some(seconds) => {
            Check::ok("credentials", format!("{caller}, for {}", span(seconds.unsigned_abs())))
        }
    }
}

/// Regions without function URLs.
///
/// Source: AWS, *Lambda function URLs*, read 2026-11-22.
const WITHOUT_URLS: [&str; 8] = [
    "ap-south-2",
    "ap-southeast-4",
    "ap-southeast-5",
    "ca-west-1",
    "eu-south-2",
    "eu-central-2",
    "il-central-1",
    "me-central-1",
];

/// Whether the region can have what the stack is made of.
#[must_use]
pub fn region(account: &Account) -> Check {
    let region = &account.region;
    if WITHOUT_URLS.contains(&region.as_str()) {
        let cause = format!("{region} has no function URLs, as AWS's documentation says");
        return Check::fail("region", cause, "use another: --region us-east-1 (eu-central-1, …)");
    }
    Check::ok("region", format!("{region} has function URLs, which stream"))
}

/// Whether the partition has Bedrock with Claude.
#[must_use]
pub fn partition(account: &Account) -> Check {
    match account.partition.as_str() {
        "aws" => Check::ok("partition", "aws"),
        "aws-cn" => Check::fail("partition", "there is no Claude on Bedrock in aws-cn", {
            "use an account outside China, or run the proxy elsewhere"
        }),
        other => Check::warn(
            "partition",
            format!("{other} has fewer models, and function URLs were never tried there"),
            "try it: up, and then doctor again",
        ),
    }
}

/// The account's clock and its concurrency: one question.
pub(crate) async fn clock_and_concurrency(
    reader: &Reader,
    wanted: Option<(i32, i32)>,
) -> Vec<Check> {
    let seen = Arc::new(Mutex::new(None));
    let asking = reader.clients().lambda.get_account_settings().customize();
    let asking = asking.interceptor(ClockSkew(Arc::clone(&seen))).send();
    let settings = call("Lambda", "GetAccountSettings", asking).await;
    let skew = *seen.lock().unwrap_or_else(PoisonError::into_inner);
    let limits = settings.map(|settings| settings.account_limit);
    let concurrency = match limits {
        Ok(limit) => {
            let all = limit.as_ref().map(|limit| limit.concurrent_executions);
            let free = limit.and_then(|limit| limit.unreserved_concurrent_executions);
            let all = all.unwrap_or_default();
            match wanted {
                Some(wanted) => of_reservation(Room { all, free: free.unwrap_or(all) }, wanted),
                None => of_concurrency(all, free),
            }
        }
        Err(error) => Check::unknown("concurrency", &error),
    };
    vec![of_clock(skew), concurrency]
}

/// Judges by how far this clock is ahead of AWS's, in seconds. AWS refuses signatures that are
/// five minutes off.
#[must_use]
pub fn of_clock(ahead: Option<i64>) -> Check {
    let cure = "set it by a time server (NTP)";
    match ahead {
        None => Check::warn("clock", "not checked: the answer carried no date", cure),
        Some(ahead) if ahead.abs() < 60 => Check::ok("clock", "agrees with AWS's"),
        Some(ahead) => {
            let side = if ahead > 0 { "ahead of" } else { "behind" };
            let cause = format!("{} {side} AWS's", span(ahead.unsigned_abs()));
            let check = Check::warn("clock", cause, cure);
            if ahead.abs() < 300 {
                check
            } else {
                Check { state: super::CheckState::Fail, ..check }
            }
        }
    }
}

/// Judges the account's concurrent executions. Each open stream takes one.
#[must_use]
pub fn of_concurrency(all: i32, free: Option<i32>) -> Check {
    let free = free.unwrap_or(all);
    let cause = format!("{all} requests at once in this account, {free} of them not reserved");
    if free <= 10 {
        let cure = "ask AWS for more: Service Quotas, Lambda, concurrent executions";
        return Check::warn("concurrency", cause, cure);
    }
    Check::ok("concurrency", cause)
}

/// Judges whether so many can be reserved for a function that has so many already: where strangers
/// may knock, they find no more than that.
#[must_use]
pub fn of_reservation(room: Room, (number, already): (i32, i32)) -> Check {
    let check = of_concurrency(room.all, Some(room.free));
    if room.takes(number, already) {
        return check;
    }
    let cause = format!(
        "{}: too few to reserve the {number} that bound what strangers may use up, so nothing is \
         reserved",
        check.cause
    );
    let cure = "ask AWS for more (Service Quotas, Lambda, concurrent executions), then `up`";
    Check::warn("concurrency", cause, cure)
}

/// Hears how far this clock is ahead of the one that answers.
#[derive(Debug, Clone)]
struct ClockSkew(Arc<Mutex<Option<i64>>>);

impl Intercept for ClockSkew {
    fn name(&self) -> &'static str {
        "ClockSkew"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let date = context.response().and_then(|answer| answer.headers().get("date"));
        let date = date.and_then(|date| rfc2822::parse(date).ok());
        if let Some(date) = date {
            let ahead = clock::now().as_second() - date.timestamp().as_second();
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
        }
        Ok(())
    }
}
