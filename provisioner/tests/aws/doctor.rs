//! `doctor` before there is a stack, beside one that is well, and beside one that is not.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use aws_sdk_dynamodb::types::TimeToLiveSpecification;
use provisioner::aws::Account;
use provisioner::stack::names::Names;
use provisioner::stack::policies;
use serde_json::{Value, json};
use testing::aws::emulator::Emulator::{self, MiniStack, Moto};
use testing::aws::proxy::Refusal;
use testing::aws::world::{Ended, World};

#[test]
fn before_there_is_a_stack_every_check_is_made_and_nothing_is_written() {
    for emulator in [MiniStack, Moto] {
        let world = world(emulator);
        let ended = world.run(&["doctor", "--json"]);
        let checks = checks(&ended);
        for name in ["credentials", "region", "partition", "clock", "stack"] {
            assert_eq!(checks[name]["state"], "ok", "{emulator:?}: {}", checks[name]);
        }
        for name in ["bedrock-profiles us-east-1", "bedrock-use-case", "bedrock-access"] {
            assert_eq!(checks[name]["state"], "ok", "{emulator:?}: {}", checks[name]);
        }
        assert!(checks.contains_key("build-tools"));
        assert!(!checks.contains_key("bedrock-call"), "nobody said --spend");
        // Moto has neither of these, which is no failure.
        let known = emulator == MiniStack;
        let state = checks["concurrency"]["state"].as_str().unwrap();
        assert_eq!(state, if known { "ok" } else { "warn" }, "{}", checks["concurrency"]);
        let state = checks["permissions"]["state"].as_str().unwrap();
        assert_eq!(state, "warn", "{}", checks["permissions"]);
        ended.expect(0);
        assert_eq!(world.proxy.take_journal(), [""; 0]);
    }
}

#[test]
fn a_failing_api_stops_no_other_check_and_ends_with_4() {
    let world = world(MiniStack);
    let denied = json!({"__type": "AccessDeniedException", "message": "not for you"});
    world.proxy.answer("/inference-profiles", 403, denied);
    let none = json!({"__type": "ResourceNotFoundException", "message": "no form"});
    world.proxy.answer("/use-case-for-model-access", 404, none);
    let unavailable = json!({
        "agreementAvailability": {"status": "NOT_AVAILABLE"}, "authorizationStatus": "AUTHORIZED",
        "entitlementAvailability": "AVAILABLE", "regionAvailability": "AVAILABLE",
    });
    world.proxy.answer("/foundation-model-availability/", 200, unavailable);
    let ended = world.run(&["doctor", "--json"]);
    ended.expect(4);
    let checks = checks(&ended);
    assert_eq!(checks["credentials"]["state"], "ok");
    let profiles = &checks["bedrock-profiles us-east-1"];
    assert_eq!(profiles["state"], "warn");
    assert!(profiles["cause"].as_str().unwrap().contains("not for you"), "{profiles}");
    assert_eq!(checks["bedrock-use-case"]["state"], "fail");
    assert!(checks["bedrock-use-case"]["cure"].as_str().unwrap().contains("AWS console"));
    assert!(checks["bedrock-access"]["cure"].as_str().unwrap().contains("--spend"));
    let text = world.run(&["doctor"]);
    text.expect(4);
    assert!(text.stdout.contains("fail  bedrock-use-case"), "{}", text.stdout);
    assert!(text.stdout.lines().last().unwrap().contains("2 failed"), "{}", text.stdout);
}

#[test]
fn one_token_is_bought_only_on_demand() {
    let world = world(MiniStack);
    let answer = json!({"usage": {"input_tokens": 8, "output_tokens": 1}});
    world.proxy.answer("/model/", 200, answer);
    let ended = world.run(&["doctor", "--spend", "--json"]);
    let cause = checks(&ended)["bedrock-call"]["cause"].as_str().unwrap().to_owned();
    assert!(cause.ends_with("answered: 8 tokens in, 1 out"), "{cause}");
    assert!(cause.contains("haiku"), "{cause}");
    let refused = json!({"__type": "AccessDeniedException", "message": "subscribe first"});
    world.proxy.answer("/model/", 403, refused);
    let ended = world.run(&["doctor", "--spend", "--json"]);
    ended.expect(4);
    assert_eq!(checks(&ended)["bedrock-call"]["state"], "fail");
}

#[test]
fn without_a_way_in_it_says_which_way_is_missing() {
    let world = world(MiniStack);
    let run = |key: &str, value: &str| -> Ended {
        let mut command = world.command(&["doctor", "--json"]);
        command.env(key, value).output().unwrap().into()
    };
    let ended = run("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    ended.expect(4);
    assert_eq!(checks(&ended)["network"]["state"], "fail");
    let ended: Ended =
        world.command(&["doctor", "--json"]).env_remove("AWS_REGION").output().unwrap().into();
    ended.expect(4);
    assert_eq!(checks(&ended)["region"]["state"], "fail");
    let mut command = world.command(&["doctor", "--json"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let ended: Ended = command.output().unwrap().into();
    ended.expect(4);
    assert_eq!(checks(&ended)["credentials"]["state"], "fail");
    assert!(checks(&ended).contains_key("build-tools"), "what needs no account is still checked");
}

#[tokio::test]
async fn what_somebody_broke_is_found_and_mended_by_the_code_of_up() {
    for emulator in [MiniStack, Moto] {
        let world = world(emulator);
        world.up(&[]).expect(0);
        let (group, name) = (format!("/aws/lambda/{}-api", world.name), world.name.clone());
        let found = checks(&world.run(&["doctor", "--json"]));
        for name in ["resources", "table-expiry", "log-retention", "role-identity"] {
            assert_eq!(found[name]["state"], "ok", "{emulator:?}: {}", found[name]);
        }
        break_it(&world, &group, &name).await;
        let found = checks(&world.run(&["doctor", "--json"]));
        let permission = "permission FunctionURLInvokeAllowPublicAccess";
        assert_eq!(found[permission]["state"], "fail", "{}", found[permission]);
        assert_eq!(found["table-expiry"]["state"], "fail");
        assert_eq!(found["log-retention"]["state"], "warn");
        // Nobody said yes.
        world.proxy.take_journal();
        world.run(&["doctor", "--fix"]).expect(3);
        assert_eq!(world.proxy.take_journal(), [""; 0]);
        let mended = checks(&world.run(&["doctor", "--fix", "--yes", "--json"]));
        for name in [permission, "table-expiry", "log-retention"] {
            assert_eq!(mended[name]["state"], "ok", "{emulator:?}: {}", mended[name]);
        }
        // What is a matter of taste was left alone, and is left to `up`.
        assert_eq!(world.plan().keys().collect::<Vec<_>>(), [&format!("lambda/{name}-api")]);
        world.proxy.take_journal();
        world.run(&["doctor", "--fix", "--yes"]);
        assert_eq!(world.proxy.take_journal(), [""; 0]);
    }
}

#[tokio::test]
async fn a_stack_of_another_s_is_not_mended() {
    let world = world(MiniStack);
    world.up(&[]).expect(0);
    let (group, name) = (format!("/aws/lambda/{}-api", world.name), world.name.clone());
    break_it(&world, &group, &name).await;
    let lambda = aws_sdk_lambda::Client::new(&world.sdk());
    let function = lambda.get_function().function_name(format!("{name}-api")).send().await;
    let arn = function.unwrap().configuration().unwrap().function_arn().unwrap().to_owned();
    let keys = ["managed-by", "claude-proxy:name", "claude-proxy:stack-id"];
    let untag = lambda.untag_resource().resource(arn);
    untag.set_tag_keys(Some(keys.map(str::to_owned).into())).send().await.unwrap();
    world.proxy.take_journal();
    let ended = world.run(&["doctor", "--fix", "--yes", "--json"]);
    ended.expect(4);
    assert!(!world.proxy.take_journal().iter().any(|call| call.ends_with("Permission")));
    let found = checks(&ended);
    assert_eq!(found[&format!("lambda/{name}-api")]["state"], "fail");
}

#[test]
fn the_url_is_asked() {
    let world = world(Moto);
    world.up(&[]).expect(0);
    let url = serve();
    world.proxy.answer(
        "/2021-10-31/functions/",
        200,
        json!({
            "FunctionUrl": url, "AuthType": "NONE", "InvokeMode": "RESPONSE_STREAM",
            "FunctionArn": "arn", "CreationTime": "2026-11-26T00:00:00Z",
            "LastModifiedTime": "2026-11-26T00:00:00Z",
        }),
    );
    let found = checks(&world.run(&["doctor", "--json"]));
    assert_eq!(found["url"]["state"], "ok", "{}", found["url"]);
}

/// A world in which Bedrock is as it should be.
fn world(emulator: Emulator) -> World {
    let world = World::new(emulator);
    world.entitle();
    world
}

/// Takes away a permission, the table's expiry and the log group's retention; changes the memory.
async fn break_it(world: &World, group: &str, name: &str) {
    let sdk = world.sdk();
    let lambda = aws_sdk_lambda::Client::new(&sdk);
    let function = format!("{name}-api");
    let remove = lambda.remove_permission().function_name(&function);
    remove.statement_id("FunctionURLInvokeAllowPublicAccess").send().await.unwrap();
    let update = lambda.update_function_configuration().function_name(&function);
    update.memory_size(1024).send().await.unwrap();
    let off = TimeToLiveSpecification::builder().enabled(false).attribute_name("expires_at");
    let update = aws_sdk_dynamodb::Client::new(&sdk).update_time_to_live();
    let update = update.table_name(format!("{name}-rate-limits"));
    update.time_to_live_specification(off.build().unwrap()).send().await.unwrap();
    let logs = aws_sdk_cloudwatchlogs::Client::new(&sdk);
    logs.delete_retention_policy().log_group_name(group).send().await.unwrap();
}

fn checks(ended: &Ended) -> BTreeMap<String, Value> {
    let checks = ended.json()["checks"].as_array().unwrap().clone();
    let all: BTreeMap<String, Value> = checks
        .into_iter()
        .map(|check| (check["name"].as_str().unwrap().to_owned(), check))
        .collect();
    for check in all.values() {
        assert!(["ok", "warn", "fail"].contains(&check["state"].as_str().unwrap()), "{check}");
        assert_eq!(check["cure"].is_null(), check["state"] == "ok", "{check}");
        assert!(!check["cause"].as_str().unwrap().is_empty(), "{check}");
    }
    all
}

/// Answers as the function does.
fn serve() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\no").unwrap();
            std::thread::sleep(Duration::from_millis(300));
            stream.write_all(b"k\n").unwrap();
        }
    });
    url
}

#[tokio::test]
async fn rights_are_simulated_and_what_is_denied_is_named() {
    let world = world(MiniStack);
    let (key, secret) = user(&world, |_| true).await;
    let run = |key: &str, secret: &str| -> Value {
        let mut command = world.command(&["doctor", "--json"]);
        command.env("AWS_ACCESS_KEY_ID", key).env("AWS_SECRET_ACCESS_KEY", secret);
        checks(&command.output().unwrap().into())["permissions"].clone()
    };
    assert_eq!(run(&key, &secret)["state"], "ok", "{}", run(&key, &secret));
    let (key, secret) = user(&world, |action| action != "ecr:PutImage").await;
    let check = run(&key, &secret);
    assert_eq!(check["state"], "fail");
    assert_eq!(check["cause"], "denied: ecr:PutImage");
}

#[tokio::test]
async fn a_right_that_is_missing_is_told_once() {
    let world = world(MiniStack);
    for right in ["iam:GetRole", "lambda:GetAccountSettings", "bedrock:ListInferenceProfiles"] {
        let (key, secret) = user(&world, |action| action != right).await;
        world.proxy.refuse(&right.replace(':', "."), Refusal::denied());
        let mut command = world.command(&["doctor", "--json"]);
        command.env("AWS_ACCESS_KEY_ID", key).env("AWS_SECRET_ACCESS_KEY", secret);
        let ended: Ended = command.output().unwrap().into();
        world.proxy.relent();
        ended.expect(4);
        let all = ended.json()["checks"].as_array().unwrap().clone();
        let action = right.split_once(':').unwrap().1;
        let said = all.iter().filter(|check| check.to_string().contains(action));
        let said: Vec<_> = said.map(|check| check["name"].clone()).collect();
        assert_eq!(said, ["permissions"], "{right}: {all:?}");
    }
}

/// Somebody with the operator's policy, as far as `may` says. Returns an access key.
async fn user(world: &World, may: impl Fn(&str) -> bool) -> (String, String) {
    let iam = aws_sdk_iam::Client::new(&world.sdk());
    let sts = aws_sdk_sts::Client::new(&world.sdk()).get_caller_identity().send().await.unwrap();
    let text = |text: &str| text.to_owned();
    let id = text(sts.account().unwrap());
    let account = Account { id, region: text("us-east-1"), partition: text("aws") };
    let names = Names::from(&world.name.parse().unwrap());
    let mut policy = policies::operator(&account, &names).unwrap();
    for statement in policy["Statement"].as_array_mut().unwrap() {
        // The emulator simulates no conditions.
        statement.as_object_mut().unwrap().remove("Condition");
        if let Some(actions) = statement["Action"].as_array_mut() {
            actions.retain(|action| may(action.as_str().unwrap()));
        }
    }
    let number = iam.list_users().send().await.unwrap().users().len();
    let name = format!("{}-{number}", world.name);
    iam.create_user().user_name(&name).send().await.unwrap();
    let put = iam.put_user_policy().user_name(&name).policy_name("operator");
    put.policy_document(policy.to_string()).send().await.unwrap();
    let key = iam.create_access_key().user_name(&name).send().await.unwrap();
    let key = key.access_key().unwrap().clone();
    (key.access_key_id, key.secret_access_key)
}
