//! The optional part of the stack: a dashboard, two alarms, and two more where there is a cap.

use std::collections::BTreeSet;

use provisioner::aws::Account;
use provisioner::resources::dashboard::DashboardSpec;
use provisioner::stack::Stack;
use provisioner::stack::names::Name;
use serde_json::{Value, json};
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::proxy::Refusal;
use testing::aws::world::{Ended, World};

use crate::logs::real_lines;

#[test]
fn it_comes_stays_and_goes_as_the_flags_say() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&[]).expect(0);
        assert!(!world.states().keys().any(|address| address.starts_with("dashboard/")));
        let with = world.up(&["--dashboard", "--json"]);
        with.expect(0);
        let created = |action: &str| -> BTreeSet<String> {
            let changes = with.json()["changes"].as_array().unwrap().clone();
            let those = changes.iter().filter(|change| change["action"] == action);
            those.map(|change| change["address"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(created("create"), parts(&world), "{emulator:?}");
        assert_eq!(world.states().values().filter(|state| *state == "ready").count(), 12);
        world.proxy.take_journal();
        // Without the flag it stays as it is.
        world.up(&[]).expect(0);
        assert_eq!(world.proxy.take_journal(), [""; 0], "{emulator:?}");
        let plan = world.run(&["plan", "--no-build", "--no-dashboard", "--exit-code"]);
        plan.expect(2);
        assert!(plan.stdout.contains("3 to delete"), "{}", plan.stdout);
        world.up(&["--no-dashboard"]).expect(0);
        assert_eq!(world.states().len(), 9, "{:?}", world.states());
        world.proxy.take_journal();
        world.up(&[]).expect(0);
        assert_eq!(world.proxy.take_journal(), [""; 0], "{emulator:?}");
    }
}

/// An alarm on a cap where there is none would never ring.
#[test]
fn a_cap_on_all_users_has_two_alarms_more() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&["--dashboard"]).expect(0);
        world.run(&["config", "set", "BUDGET_TOTAL_MONTH_USD=100"]).expect(0);
        let doctor = |world: &World| {
            let checks =
                world.run(&["doctor", "--json"]).json()["checks"].as_array().unwrap().clone();
            checks.into_iter().find(|check| check["name"] == "budget-alarms").unwrap()["state"]
                .clone()
        };
        assert_eq!(doctor(&world), "warn");
        let new = world.plan();
        let alarms =
            ["budget-100", "budget-80"].map(|what| format!("alarm/{}-api-{what}", world.name));
        let dashboard = format!("dashboard/{}-api-us-east-1", world.name);
        let wanted: Vec<&String> = alarms.iter().chain([&dashboard]).collect();
        assert_eq!(new.keys().collect::<Vec<_>>(), wanted, "{emulator:?}");
        world.up(&[]).expect(0);
        assert!(world.plan().is_empty(), "{emulator:?}");
        assert_eq!(doctor(&world), "ok");
        let alarm = format!("{}-api-budget-80", world.name);
        let live = world.proxy.cloudwatch("DescribeAlarms", &json!({"AlarmNames": [alarm]}));
        let live = &live["MetricAlarms"][0];
        let metric = &live["Metrics"][0]["MetricStat"];
        assert_eq!((&live["Threshold"], &metric["Stat"]), (&json!(80.0), &json!("Maximum")));
        assert_eq!(metric["Metric"]["MetricName"], "TotalBudgetUsed");
        world.run(&["config", "unset", "BUDGET_TOTAL_MONTH_USD"]).expect(0);
        world.up(&[]).expect(0);
        assert_eq!(
            world.states().keys().filter(|address| address.starts_with("alarm/")).count(),
            2
        );
        world.run(&["down", "--yes"]).expect(0);
        assert!(world.is_gone());
    }
}

#[test]
fn down_takes_it_away_too() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&["--dashboard"]).expect(0);
        let down = world.run(&["down", "--yes", "--json"]);
        down.expect(0);
        assert_eq!(down.json()["deleted"].as_array().unwrap().len(), 12);
        assert!(world.is_gone());
    }
}

#[test]
fn each_drift_of_it_is_found_and_mended_and_a_stranger_s_action_stays() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&["--dashboard"]).expect(0);
        let alarm = format!("{}-api-bedrock-errors", world.name);
        let mut mine = world.proxy.cloudwatch("DescribeAlarms", &json!({"AlarmNames": [alarm]}));
        let mine = mine["MetricAlarms"][0].take();
        let action = "arn:aws:sns:us-east-1:123456789012:pager";
        world.proxy.cloudwatch(
            "PutMetricAlarm",
            &json!({
                "AlarmName": alarm, "Threshold": 500.0, "EvaluationPeriods": 1,
                "DatapointsToAlarm": 1, "ComparisonOperator": "GreaterThanThreshold",
                "TreatMissingData": "notBreaching", "Metrics": mine["Metrics"],
                "AlarmDescription": mine["AlarmDescription"], "AlarmActions": [action],
            }),
        );
        assert_eq!(world.plan().keys().collect::<Vec<_>>(), [&format!("alarm/{alarm}")]);
        world.up(&[]).expect(0);
        assert!(world.plan().is_empty(), "{emulator:?}");
        let after = world.proxy.cloudwatch("DescribeAlarms", &json!({"AlarmNames": [alarm]}));
        assert_eq!(after["MetricAlarms"][0]["AlarmActions"], json!([action]));
        assert_eq!(after["MetricAlarms"][0]["Threshold"], 5.0);
    }
}

#[test]
fn what_is_not_ours_is_neither_changed_nor_deleted() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        let name = format!("{}-api-us-east-1", world.name);
        let body = json!({"widgets": []}).to_string();
        let theirs = json!({"DashboardName": name, "DashboardBody": body});
        world.proxy.cloudwatch("PutDashboard", &theirs);
        // Who does not want one does not care.
        world.up(&[]).expect(0);
        let refused = world.up(&["--dashboard", "--json"]);
        refused.expect(3);
        assert_eq!(refused.json()["error"]["resource"], format!("dashboard/{name}"));
        world.up(&["--dashboard", "--adopt"]).expect(0);
        world.proxy.cloudwatch("PutDashboard", &theirs);
        world.run(&["down", "--yes"]).expect(0);
        let kept = world.proxy.cloudwatch("GetDashboard", &json!({"DashboardName": name}));
        assert_eq!(kept["DashboardBody"], body);
    }
}

/// Most stacks have none: whoever may not look, or cannot, goes without, and is told so.
#[test]
fn whoever_cannot_see_a_dashboard_neither_misses_nor_touches_it() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&["--dashboard"]).expect(0);
        let run = |words: &[&str]| world.run(words);
        let away = |words: &[&str]| {
            let mut command = world.command(words);
            command.env("AWS_ENDPOINT_URL_CLOUDWATCH", "http://127.0.0.1:1");
            world.finish(command)
        };
        let binary = world.path("one");
        let plan = ["plan", "--binary", &binary, "--exit-code"];
        for name in ["cloudwatch.GetDashboard", "cloudwatch.DescribeAlarms", "nothing"] {
            let run: &dyn Fn(&[&str]) -> Ended = if name == "nothing" { &away } else { &run };
            world.proxy.refuse(name, Refusal::denied());
            world.proxy.take_journal();
            let planned = run(&plan);
            planned.expect(0);
            assert!(planned.stdout.contains("note: the dashboard and"), "{}", planned.stdout);
            run(&["up", "--binary", &binary, "--no-probe", "--yes"]).expect(0);
            run(&["up", "--binary", &binary, "--no-probe", "--yes", "--memory", "512"]).expect(0);
            run(&["up", "--binary", &binary, "--no-probe", "--yes", "--memory", "default"])
                .expect(0);
            let status = run(&["status", "--no-probe"]);
            status.expect(0);
            assert!(status.stderr.contains("note: the dashboard and"), "{}", status.stderr);
            assert!(!world.proxy.take_journal().iter().any(|call| call.starts_with("cloudwatch")));
            // Who asks for it has to be told, and what is removed has to be seen gone.
            for flag in ["--dashboard", "--no-dashboard"] {
                let asked = run(&["up", "--binary", &binary, "--no-probe", "--yes", flag]);
                asked.expect(4);
                assert!(asked.error().contains("CloudWatch"), "{}", asked.stderr);
            }
            run(&["down", "--yes"]).expect(4);
            assert_eq!(world.proxy.take_journal(), [""; 0], "{emulator:?} {name}");
            world.proxy.relent();
        }
        assert_eq!(world.states().values().filter(|state| *state == "ready").count(), 12);
        assert!(world.plan().is_empty());
    }
}

#[test]
fn every_metric_that_is_shown_is_one_that_the_function_writes() {
    let mut written = BTreeSet::new();
    for line in real_lines() {
        let line: Value = serde_json::from_str(&line).unwrap();
        for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
            let dimensions = directive["Dimensions"][0].to_string();
            for metric in directive["Metrics"].as_array().unwrap() {
                let (space, name) = (&directive["Namespace"], &metric["Name"]);
                written.insert(format!("{space} {name} {dimensions}"));
            }
        }
    }
    let stack = stack();
    let mut shown = BTreeSet::new();
    for widget in stack.dashboard.body(&DashboardSpec::default())["widgets"].as_array().unwrap() {
        for line in widget["properties"]["metrics"].as_array().into_iter().flatten() {
            let words = line.as_array().unwrap();
            // What is computed of others names no metric of its own.
            if words[0].is_object() {
                continue;
            }
            let dimensions = words[2..words.len() - 1].iter().step_by(2).cloned();
            let dimensions = Value::from(dimensions.collect::<Vec<_>>());
            shown.insert(format!("{} {} {dimensions}", words[0], words[1]));
        }
    }
    let budget = [&stack.near_cap_alarm, &stack.used_up_alarm];
    for alarm in [&stack.fallback_alarm, &stack.error_alarm].into_iter().chain(budget) {
        for metric in alarm.fields()["Metrics"].as_array().unwrap() {
            let of = &metric["MetricStat"]["Metric"];
            if of.is_object() {
                let dimension = json!([of["Dimensions"][0]["Name"]]);
                shown.insert(format!("{} {} {dimension}", of["Namespace"], of["MetricName"]));
            }
        }
    }
    assert!(shown.len() >= 8, "{shown:?}");
    assert!(shown.is_subset(&written), "{:?}", shown.difference(&written).collect::<Vec<_>>());
}

#[test]
fn widgets_stand_on_the_grid_and_not_on_each_other() {
    let body = stack().dashboard.body(&DashboardSpec::default());
    let mut taken = BTreeSet::new();
    for widget in body["widgets"].as_array().unwrap() {
        let number = |key: &str| widget[key].as_u64().unwrap();
        assert!(number("x") + number("width") <= 24, "{widget}");
        for x in number("x")..number("x") + number("width") {
            for y in number("y")..number("y") + number("height") {
                assert!(taken.insert((x, y)), "two widgets at {x}, {y}");
            }
        }
    }
}

fn stack() -> Stack {
    let name: Name = "claude-proxy".parse().unwrap();
    let text = |text: &str| text.to_owned();
    let (id, region, partition) = (text("123456789012"), text("us-east-1"), text("aws"));
    Stack::named(&name, &Account { id, region, partition })
}

fn parts(world: &World) -> BTreeSet<String> {
    let name = &world.name;
    let alarms = ["bedrock-errors", "fallbacks"].map(|what| format!("alarm/{name}-api-{what}"));
    alarms.into_iter().chain([format!("dashboard/{name}-api-us-east-1")]).collect()
}
