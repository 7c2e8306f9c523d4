//! What does each finding mean? The judgements of `doctor`, without anybody to ask.

use std::collections::BTreeSet;

use function::money::MicroDollars;
use function::money::budget::Caps;
use function::settings::Budget;
use function::translate::model::{Model, Prefix};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use provisioner::aws::Account;
use provisioner::aws::Room;
use provisioner::doctor::account::{
    of_clock, of_concurrency, of_credentials, of_reservation, partition, region,
};
use provisioner::doctor::bedrock::{Route, of_profiles, unavailable};
use provisioner::doctor::deployed::{of_health, of_identity};
use provisioner::doctor::money::{of_alarms, of_assumed, of_prices};
use provisioner::doctor::rights::{Principal, context, of_denied, principal};
use provisioner::doctor::{Check, CheckState, summary};
use provisioner::engine::plan::Style;
use provisioner::proxy::probe::Health;
use provisioner::resources::function::FunctionLive;
use serde_json::json;

#[test]
fn what_strangers_may_use_up_is_reserved_only_where_enough_is_left() {
    for (all, free, already, fits) in [
        (1000, 1000, 0, true),
        (1000, 150, 0, true),
        (1000, 149, 0, false),
        (1000, 100, 50, true),
        (10, 10, 0, false),
        (100, 100, 0, false),
    ] {
        let room = Room { all, free };
        assert_eq!(room.takes(50, already), fits, "{room:?} {already}");
        let check = of_reservation(room, (50, already));
        assert_eq!(check.cause.contains("nothing is reserved"), !fits, "{check:?}");
    }
    // None at all can always be reserved: that stops the function.
    assert!(Room { all: 10, free: 10 }.takes(0, 0));
}

#[test]
fn prices_are_a_warning_when_they_are_old_or_assumed() {
    let of = |day: &str| of_prices(day.parse().unwrap()).state;
    let days = [of("2026-11-29"), of("2027-01-13"), of("2027-01-14"), of("2026-01-01")];
    assert_eq!(days, [CheckState::Ok, CheckState::Ok, CheckState::Warn, CheckState::Ok]);
    assert!(of_prices("2027-01-14".parse().unwrap()).cause.ends_with("2026-11-29, 46 days ago"));
    let of = |assumed| of_assumed("2026-11", MicroDollars(assumed)).state;
    assert_eq!([of(0), of(1)], [CheckState::Ok, CheckState::Warn]);
}

#[test]
fn a_cap_on_all_users_without_an_alarm_is_a_warning() {
    let budget = |total| Budget {
        user: Caps { month: Some(MicroDollars(1)), day: None },
        total: Caps { month: total, day: None },
        zone: TimeZone::UTC,
        message: None,
    };
    let of = |total, dashboard| of_alarms(&budget(total), dashboard).map(|check| check.state);
    assert_eq!([of(None, false), of(None, true)], [None, None]);
    let cap = Some(MicroDollars(0));
    assert_eq!([of(cap, false), of(cap, true)], [Some(CheckState::Warn), Some(CheckState::Ok)]);
}

#[test]
fn credentials_that_end_soon_are_a_warning() {
    let of =
        |seconds: Option<i64>| of_credentials("arn", seconds.map(SignedDuration::from_secs)).state;
    assert_eq!(
        [of(None), of(Some(3600)), of(Some(899)), of(Some(-5))],
        [CheckState::Ok, CheckState::Ok, CheckState::Warn, CheckState::Warn]
    );
}

#[test]
fn a_clock_is_judged_by_what_aws_takes() {
    let of = |ahead| of_clock(ahead).state;
    assert_eq!([of(Some(0)), of(Some(-59))], [CheckState::Ok; 2]);
    assert_eq!([of(Some(60)), of(Some(-299)), of(None)], [CheckState::Warn; 3]);
    assert_eq!([of(Some(300)), of(Some(-4000))], [CheckState::Fail; 2]);
    assert_eq!(of_clock(Some(-4000)).cause, "1 h 6 min behind AWS's");
}

#[test]
fn regions_and_partitions_without_what_is_needed_fail() {
    let account = |region: &str, partition: &str| Account {
        id: "123456789012".into(),
        region: region.into(),
        partition: partition.into(),
    };
    assert_eq!(region(&account("us-east-1", "aws")).state, CheckState::Ok);
    assert_eq!(region(&account("il-central-1", "aws")).state, CheckState::Fail);
    assert_eq!(partition(&account("us-east-1", "aws")).state, CheckState::Ok);
    assert_eq!(partition(&account("us-gov-west-1", "aws-us-gov")).state, CheckState::Warn);
    assert_eq!(partition(&account("cn-north-1", "aws-cn")).state, CheckState::Fail);
}

#[test]
fn a_new_account_s_concurrency_is_a_warning() {
    assert_eq!(of_concurrency(1000, Some(900)).state, CheckState::Ok);
    assert_eq!(of_concurrency(10, None).state, CheckState::Warn);
    assert_eq!(of_concurrency(1000, Some(10)).state, CheckState::Warn);
}

#[test]
fn whose_rights_are_simulated_is_read_from_the_caller() {
    let arn = |rest: &str| format!("arn:aws:{rest}");
    let user = arn("iam::123456789012:user/team/alice");
    assert_eq!(principal(&user), Principal::User(user.clone()));
    let session = arn("sts::123456789012:assumed-role/AWSReservedSSO_Admin/alice@x");
    assert_eq!(principal(&session), Principal::Role("AWSReservedSSO_Admin".into()));
    assert_eq!(principal(&arn("iam::123456789012:root")), Principal::Root);
    for strange in ["", "arn", &arn("sts::123456789012:federated-user/x")] {
        assert_eq!(principal(strange), Principal::Unknown);
    }
}

#[test]
fn what_a_condition_asks_for_is_simulated_as_given() {
    let statement = json!({"Condition": {"StringEquals": {"iam:PassedToService": "lambda"}}});
    let expected = [("iam:PassedToService".to_owned(), vec!["lambda".to_owned()])].into();
    assert_eq!(context(&statement), expected);
    assert!(context(&json!({"Action": "x"})).is_empty());
}

#[test]
fn what_is_denied_is_named_and_counted() {
    assert_eq!(of_denied(&BTreeSet::new()).state, CheckState::Ok);
    let denied = (1..=7).map(|number| format!("ecr:Action{number}")).collect();
    let check = of_denied(&denied);
    assert_eq!(check.state, CheckState::Fail);
    assert!(check.cause.ends_with("ecr:Action5 and 2 more"), "{}", check.cause);
}

#[test]
fn profiles_are_those_that_the_function_would_ask_for() {
    let all: Vec<String> =
        Model::newest().map(|model| model.bedrock_id("eu-west-1", None)).collect();
    assert!(all[0].starts_with("eu.anthropic.claude-opus-"), "{all:?}");
    assert_eq!(all.len(), 4);
    let of = |found: &[String]| of_profiles("eu-west-1", None, found);
    assert_eq!(of(&all).state, CheckState::Ok);
    assert_eq!(of(&all[1..]).state, CheckState::Warn);
    assert!(of(&all[1..]).cause.contains(&all[0]));
    assert_eq!(of(&[]).state, CheckState::Fail);
    let other = of_profiles("us-east-1", Some(Prefix::Jp), &all);
    assert_eq!(other.state, CheckState::Fail);
}

#[test]
fn bedrock_is_asked_where_the_settings_say() {
    let environment = [
        ("BEDROCK_REGIONS", "eu-west-1,us-west-2"),
        ("BEDROCK_PROFILE_PREFIX", "global"),
        ("PROXY_KEYS", "secret"),
    ];
    let route = Route::of(environment.into_iter(), "us-east-1");
    assert_eq!(route.regions, ["eu-west-1", "us-west-2"]);
    assert_eq!(route.prefix, Some(Prefix::Global));
    assert_eq!(Route::of(std::iter::empty(), "us-east-1").regions, ["us-east-1"]);
}

#[test]
fn a_model_is_available_if_nothing_stands_against_it() {
    let answer = |agreement: &str| {
        json!({
            "agreementAvailability": {"status": agreement}, "authorizationStatus": "AUTHORIZED",
            "entitlementAvailability": "AVAILABLE", "regionAvailability": "AVAILABLE",
        })
    };
    assert_eq!(unavailable(&answer("AVAILABLE")), None);
    assert_eq!(unavailable(&answer("NOT_AVAILABLE")).unwrap(), "agreement NOT_AVAILABLE");
}

#[test]
fn a_role_that_the_function_was_not_made_with_is_another_role() {
    let of = |made_with: Option<&str>, there: Option<&str>| {
        let tags = made_with.map(|id| ("claude-proxy:role-id".to_owned(), id.to_owned()));
        let role_id = there.map(str::to_owned);
        let tags = tags.into_iter().collect();
        of_identity(&FunctionLive { tags, role_id, ..FunctionLive::default() }).state
    };
    assert_eq!(of(Some("AROA1"), Some("AROA1")), CheckState::Ok);
    assert_eq!(of(Some("AROA1"), Some("AROA2")), CheckState::Fail);
    assert_eq!(of(Some("AROA1"), None), CheckState::Fail);
    assert_eq!(of(None, Some("AROA1")), CheckState::Warn);
}

#[test]
fn a_url_that_is_not_well_says_where_to_look() {
    let ill = |status| Health { status, why: Some("it answers".into()), ..Health::default() };
    let cure = |status| of_health(&ill(status)).cure.unwrap();
    assert!(cure(Some(403)).contains("permissions"));
    assert!(cure(Some(502)).contains("logs"));
    assert!(cure(None).contains("network"));
}

#[test]
fn a_check_is_a_line_and_its_cure() {
    let checks: Vec<Check> =
        vec![of_clock(Some(0)), of_clock(Some(-4000)), of_concurrency(10, None)];
    let text: Vec<_> = checks.iter().map(|check| check.text(Style::Plain)).collect();
    insta::assert_snapshot!(format!("{}\n{}", text.join("\n"), summary(&checks)), @r#"
    ok    clock                   agrees with AWS's
    fail  clock                   1 h 6 min behind AWS's
          → set it by a time server (NTP)
    warn  concurrency             10 requests at once in this account, 10 of them not reserved
          → ask AWS for more: Service Quotas, Lambda, concurrent executions
    1 ok, 1 to look at, 1 failed.
    "#);
    assert_eq!(
        json!(checks[1]),
        json!({
            "name": "clock", "state": "fail", "cause": "1 h 6 min behind AWS's",
            "cure": "set it by a time server (NTP)",
        })
    );
    assert_eq!(json!(checks[0])["cure"], json!(null));
}
