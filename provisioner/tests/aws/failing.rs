//! Answers that are neither a yes nor a no: a server that fails after or before the effect, and a
//! success that has failures in it.

use std::collections::BTreeSet;

use provisioner::aws::Account;
use provisioner::stack::Stack;
use provisioner::stack::names::Name;
use serde_json::{Value, json};
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::proxy::Refusal;
use testing::aws::world::{Ended, World};

/// The changes that a command makes, each once.
fn changes(prepare: impl Fn(&World), run: impl Fn(&World) -> Ended) -> Vec<String> {
    let world = World::new(MiniStack);
    prepare(&world);
    world.proxy.take_journal();
    run(&world).expect(0);
    let mut journal = world.proxy.take_journal();
    down(&world).expect(0);
    let mut seen = BTreeSet::new();
    // The registry's own protocol has its own tests.
    journal.retain(|call| call.contains('.') && seen.insert(call.clone()));
    journal
}

fn up(world: &World) -> Ended {
    world.up(&["--dashboard", "--reserved-concurrency", "2"])
}

fn other(world: &World) -> Ended {
    let two = world.path("two");
    let words = ["--memory", "512", "--log-retention-days", "7", "--reserved-concurrency", "3"];
    let env = ["--env", "BEDROCK_REGIONS=us-west-2", "--binary", &two];
    world.up(&[&words[..], &env].concat())
}

fn down(world: &World) -> Ended {
    world.run(&["down", "--yes"])
}

/// A way to prepare a stack, and what is run then.
type Course = (fn(&World), fn(&World) -> Ended);

const COURSES: [Course; 3] =
    [(|_| {}, up), (|world| up(world).expect(0), other), (|world| up(world).expect(0), down)];

/// Whether it was done tells only what is there: each run gets further, and says so.
#[test]
fn a_server_that_fails_after_every_change_stops_no_stack() {
    std::thread::scope(|scope| {
        for course in COURSES {
            scope.spawn(move || finishes_all_the_same(course));
        }
    });
}

fn finishes_all_the_same((prepare, run): Course) {
    let names = changes(prepare, run);
    assert!(names.len() > 5, "{names:?}");
    let world = World::new(MiniStack);
    prepare(&world);
    names.iter().for_each(|name| world.proxy.fail_after(name, 500));
    let mut runs = 1;
    let mut ended = run(&world);
    while ended.code != Some(0) {
        ended.expect(5);
        assert!(ended.error().contains("run it again"), "{}", ended.stderr);
        assert!(runs < names.len(), "{}", ended.stderr);
        ended = run(&world);
        runs += 1;
    }
    world.proxy.untwist();
    run(&world).expect(0);
    down(&world).expect(0);
}

#[test]
#[ignore = "minutes: scripts/crash-matrix runs it"]
fn the_whole_matrix_of_servers_that_fail() {
    for (prepare, run) in COURSES {
        let names = changes(prepare, run);
        for name in &names {
            for effect in [true, false] {
                let world = World::new(MiniStack);
                prepare(&world);
                if effect {
                    world.proxy.fail_after(name, 503);
                } else {
                    let failure = Refusal::new(500, "InternalFailure", "something failed");
                    world.proxy.refuse(name, failure);
                }
                let ended = run(&world);
                world.proxy.untwist();
                world.proxy.relent();
                let case = format!("{name}, effect: {effect}: {ended:?}");
                assert!(matches!(ended.code, Some(0 | 5)), "{case}");
                if ended.code == Some(5) {
                    assert!(ended.error().contains("run it again"), "{case}");
                    assert!(ended.error().contains(name.split_once('.').unwrap().1), "{case}");
                }
                run(&world).expect(0);
                down(&world).expect(0);
            }
        }
        println!("{} changes, each failing after and before its effect", names.len());
    }
}

/// `BatchDeleteImage` says in an answer of 200 that it deleted nothing.
#[test]
fn an_image_that_stays_is_named_with_ecr_s_own_code() {
    let stays: fn(&Value) -> Value = |asked| {
        let failure = |id: &Value| {
            json!({
                "imageId": id, "failureCode": "ImageReferencedByManifestList",
                "failureReason": "an index refers to it",
            })
        };
        let ids = asked["imageIds"].as_array().unwrap().iter();
        json!({"imageIds": [], "failures": ids.map(failure).collect::<Vec<_>>()})
    };
    let gone: fn(&Value) -> Value = |asked| {
        let failure = |id: &Value| json!({"imageId": id, "failureCode": "ImageNotFound"});
        let ids = asked["imageIds"].as_array().unwrap().iter();
        json!({"imageIds": [], "failures": ids.map(failure).collect::<Vec<_>>()})
    };
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        for number in 0..4 {
            world.up(&["--binary", &world.path(&format!("image {number}"))]).expect(0);
        }
        world.proxy.instead("ecr.BatchDeleteImage", stays);
        let last = world.path("the last");
        let ended = world.up(&["--binary", &last, "--json"]);
        ended.expect(5);
        let said = ended.json()["error"]["message"].to_string();
        for part in ["surplus/", "ImageReferencedByManifestList", "an index refers to it"] {
            assert!(said.contains(part), "{emulator:?}: {said}");
        }
        let ended = world.run(&["down", "--yes"]);
        assert!(ended.stderr.contains("ImageReferencedByManifestList"), "{}", ended.stderr);
        world.proxy.untwist();
        // Somebody else was quicker: that is what was wanted.
        world.up(&["--binary", &last]).expect(0);
        world.proxy.instead("ecr.BatchDeleteImage", gone);
        world.run(&["down", "--yes"]).expect(0);
    }
}

/// AWS may give a list in another order, with more in it than it was told, or in pages.
#[test]
fn an_answer_in_another_form_is_no_drift() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&["--dashboard"]).expect(0);
        world.proxy.rewrite("cloudwatch.DescribeAlarms", |answer| {
            for alarm in answer["MetricAlarms"].as_array_mut().unwrap() {
                for metric in alarm["Metrics"].as_array_mut().into_iter().flatten() {
                    metric["AccountId"] = json!("000000000000");
                }
                if let Some(metrics) = alarm["Metrics"].as_array_mut() {
                    metrics.reverse();
                }
                alarm["ActionsEnabled"] = json!(true);
                alarm["Threshold"] = json!(alarm["Threshold"].as_f64());
            }
        });
        let name: Name = world.name.parse().unwrap();
        let text = |text: &str| text.to_owned();
        let account = Account { id: text("1"), region: text("us-east-1"), partition: text("aws") };
        let id = if emulator == Moto { "123456789012" } else { "000000000000" };
        let table = Stack::named(&name, &Account { id: text(id), ..account }).table;
        world.proxy.instead("dynamodb.ListTagsOfResource", move |asked| {
            let pairs = table.tags.pairs();
            let tags = pairs.map(|(key, value)| json!({"Key": key, "Value": value}));
            match asked["NextToken"].as_str() {
                None => json!({"Tags": [tags[2]], "NextToken": "more"}),
                Some("more") => json!({"Tags": [tags[0]], "NextToken": "most"}),
                Some(_) => json!({"Tags": [tags[1]]}),
            }
        });
        assert!(world.plan().is_empty(), "{emulator:?}: {:?}", world.plan());
        world.proxy.take_journal();
        world.up(&["--dashboard"]).expect(0);
        assert_eq!(world.proxy.take_journal(), [""; 0], "{emulator:?}");
    }
}

#[test]
fn a_log_group_that_may_not_go_is_named_before_the_question() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&[]).expect(0);
        world.proxy.rewrite("logs.DescribeLogGroups", |answer| {
            for group in answer["logGroups"].as_array_mut().unwrap() {
                group["deletionProtectionEnabled"] = json!(true);
            }
        });
        world.proxy.take_journal();
        let refused = world.run(&["down", "--yes", "--json"]);
        refused.expect(3);
        let group = format!("log-group//aws/lambda/{}-api", world.name);
        assert_eq!(refused.json()["error"]["resource"], group, "{emulator:?}");
        assert!(!refused.stderr.contains("run it again"), "{}", refused.stderr);
        assert_eq!(world.proxy.take_journal(), [""; 0], "{emulator:?}");
        world.proxy.untwist();
        world.run(&["down", "--yes"]).expect(0);
    }
}
