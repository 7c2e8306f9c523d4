//! What AWS refuses is told with service, action, resource, request id, AWS's own sentence and the
//! next step, and the exit code says whether anything was changed.

use std::collections::BTreeSet;

use testing::aws::emulator::Emulator::MiniStack;
use testing::aws::proxy::Refusal;
use testing::aws::world::{Ended, World};

#[test]
fn every_call_of_up_that_is_denied_is_explained() {
    let complete = World::new(MiniStack);
    complete.up(&[]).expect(0);
    let (mut seen, mut names) = (BTreeSet::new(), complete.proxy.take_all());
    names.retain(|name| name.contains('.') && seen.insert(name.clone()));
    let world = World::new(MiniStack);
    // Each run does what the one before was denied, and ends one call further.
    for name in names {
        world.proxy.refuse(&name, Refusal::denied());
        world.proxy.take_journal();
        let ended = world.up(&["--json"]);
        let tags = ["ListTags", "ListRoleTags"].iter().any(|action| name.contains(action));
        let changed = world.proxy.take_journal().iter().any(|call| *call != name);
        // Some calls are made only when something is there.
        if world.proxy.relent() == 0 {
            ended.expect(0);
            continue;
        }
        if name.starts_with("cloudwatch.") {
            // Nobody has asked for a dashboard.
            ended.expect(0);
            continue;
        }
        ended.expect(if changed {
            5
        } else if tags {
            3
        } else {
            4
        });
        explained(&name, &ended);
    }
    world.up(&[]).expect(0);
}

#[test]
fn every_call_of_down_that_is_denied_is_explained_and_the_rest_goes() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    let complete = World::new(MiniStack);
    complete.up(&[]).expect(0);
    complete.proxy.take_journal();
    complete.run(&["down", "--yes"]).expect(0);
    let calls = complete.proxy.take_journal();
    assert!(calls.len() > 9, "{calls:?}");
    for (nth, name) in calls.iter().enumerate() {
        world.proxy.refuse(name, Refusal::denied());
        world.proxy.take_journal();
        let ended = world.run(&["down", "--yes", "--json"]);
        let changed = world.proxy.take_journal().iter().any(|call| call != name);
        if world.proxy.relent() == 0 {
            ended.expect(0);
            continue;
        }
        if ended.code == Some(0) {
            // It went with what it belonged to.
            continue;
        }
        assert_eq!(ended.code, Some(if changed { 5 } else { 4 }), "{nth} {name}: {ended:?}");
        assert!(!ended.json()["remaining"].as_array().unwrap().is_empty());
        explained(name, &ended);
    }
    world.run(&["down", "--yes"]).expect(0);
    assert!(world.is_gone());
}

#[track_caller]
fn explained(name: &str, ended: &Ended) {
    let (service, action) = name.split_once('.').unwrap();
    let service = match service {
        "sts" => "STS",
        "iam" => "IAM",
        "ecr" => "ECR",
        "dynamodb" => "DynamoDB",
        "cloudwatch" => "CloudWatch",
        "logs" => "CloudWatch Logs",
        _ => "Lambda",
    };
    let said = ended.json()["error"].clone();
    let message = said["message"].as_str().unwrap();
    let hint = said["hint"].as_str().unwrap_or_default();
    let sentence = "User: arn:aws:iam::1:user/u is not authorized to perform this action";
    for part in [&format!("{service} {action}: "), sentence, &format!("request {})", Refusal::ID)] {
        assert!(message.contains(part), "{name}: {message}");
    }
    if action != "GetCallerIdentity" {
        let resource = said["resource"].as_str().unwrap();
        assert!(message.starts_with(&format!("{resource} ")), "{name}: {message}");
    }
    assert!(hint.contains("policies/"), "{name}: {hint}");
}

#[test]
fn what_an_account_does_not_allow_is_explained() {
    let boundary = "User: x is not authorized to perform: iam:CreateRole on resource: y because no \
                    permissions boundary allows the iam:CreateRole action";
    let organisation = "User: x is not authorized to perform: lambda:CreateFunction on resource: y \
                        with an explicit deny in a service control policy";
    let floor = "Specified ReservedConcurrentExecutions for function decreases account's \
                 UnreservedConcurrentExecution below its minimum value of [100].";
    let denied = |sentence| Refusal::new(403, "AccessDeniedException", sentence);
    let refused = |code, sentence| Refusal::new(400, code, sentence);
    for (name, refusal, hint) in [
        ("iam.CreateRole", denied(boundary), "permissions boundary is in the way: ask whoever set"),
        ("iam.CreateRole", denied("no"), "add --permissions-boundary ARN"),
        ("lambda.CreateFunction", denied(organisation), "ask whoever runs the organisation"),
        (
            "lambda.AddPermission",
            refused("PublicPolicyException", "public"),
            "this account forbids functions that everyone may call",
        ),
        (
            "lambda.PutFunctionConcurrency",
            refused("InvalidParameterValueException", floor),
            "the account has too few concurrent executions",
        ),
        ("lambda.CreateFunctionUrlConfig", denied("no"), "lambda:CreateFunctionUrlConfig"),
        (
            "ecr.CreateRepository",
            refused("LimitExceededException", "too many repositories"),
            "a quota of the account is used up",
        ),
    ] {
        let world = World::new(MiniStack);
        world.proxy.refuse(name, refusal.clone());
        let ended = world.up(&["--reserved-concurrency", "7"]);
        ended.expect(5);
        assert!(ended.error().contains(&refusal.message), "{name}: {}", ended.stderr);
        assert!(ended.error().contains(hint), "{name}: {}", ended.stderr);
    }
}

#[test]
fn credentials_that_are_no_longer_good_are_told_before_anything_else() {
    let world = World::new(MiniStack);
    for (code, sentence, hint) in [
        ("ExpiredTokenException", "The security token is expired", "hint: give credentials: "),
        (
            "SignatureDoesNotMatch",
            "Signature expired: 1 is earlier",
            "hint: set this machine's clock",
        ),
    ] {
        world.proxy.refuse("sts.GetCallerIdentity", Refusal::new(403, code, sentence));
        let ended = world.up(&[]);
        ended.expect(4);
        assert!(ended.error().contains(sentence) && ended.error().contains(hint), "{ended:?}");
    }
}

#[test]
fn without_a_way_to_aws_it_stops_at_once_and_says_so() {
    let world = World::new(MiniStack);
    let mut command = world.command(&["plan", "--no-build"]);
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let ended = world.finish(command);
    ended.expect(4);
    assert!(
        ended.error().contains("hint: look at the network and at AWS_ENDPOINT_URL"),
        "{ended:?}"
    );
}

#[test]
fn an_expired_session_is_one_line_with_the_command_to_log_in() {
    let world = World::new(MiniStack);
    let home = world.folder();
    let config = "[sso-session work]\nsso_region = us-east-1\nsso_start_url = https://x.example\n\
                  [profile team]\nsso_session = work\nsso_account_id = 123456789012\n\
                  sso_role_name = dev\nregion = us-east-1\n";
    std::fs::write(home.join("config"), config).unwrap();
    let mut command = world.command(&["plan", "--no-build", "--profile", "team"]);
    command.env("AWS_CONFIG_FILE", home.join("config")).env("HOME", home);
    let ended = world.finish(command);
    ended.expect(4);
    assert_eq!(
        ended.stderr,
        "error: the AWS SSO session has expired, or there is none: \
         aws sso login --profile team\n"
    );
}

#[test]
fn a_profile_that_is_named_wins_over_keys_in_the_environment() {
    let world = World::new(MiniStack);
    let home = world.folder();
    std::fs::write(home.join("config"), "[profile bare]\nregion = us-east-1\n").unwrap();
    for profile in ["bare", "missing"] {
        let mut command = world.command(&["plan", "--no-build", "--profile", profile]);
        command.env("AWS_CONFIG_FILE", home.join("config"));
        let ended = world.finish(command);
        ended.expect(4);
        assert_eq!(world.proxy.take_all(), [""; 0]);
        assert!(ended.error().contains(profile), "{}", ended.stderr);
    }
}

#[test]
fn verbose_tells_of_every_call_and_of_no_secret() {
    let world = World::new(MiniStack);
    let mut command = world.command(&["plan", "--no-build", "--json", "-v"]);
    command
        .env("AWS_SECRET_ACCESS_KEY", "canary-of-a-key")
        .env("AWS_SESSION_TOKEN", "canary-of-a-token");
    let ended = world.finish(command);
    ended.expect(0);
    ended.json();
    let calls: Vec<_> = ended.stderr.lines().filter(|line| line.contains("aws: ")).collect();
    assert_eq!(calls.len(), world.proxy.take_all().len(), "{}", ended.stderr);
    let role = format!("aws: IAM GetRole iam-role/{}-api-role 404 ", world.name);
    assert!(calls.iter().any(|line| line.trim_start().starts_with(&role)), "{}", ended.stderr);
    assert!(calls.iter().all(|line| line.ends_with(" ms")), "{}", ended.stderr);
    let up = world.up(&["-v", "--env", "PROXY_KEYS=", "--env", "ALLOWED_ORGANIZATIONS=canary-org"]);
    for secret in ["canary", "test", "AWS4-HMAC", "Basic ", "Authorization"] {
        assert!(!ended.stderr.contains(secret), "{secret}");
        if secret != "test" && secret != "canary" {
            assert!(!up.stderr.contains(secret), "{secret}: {}", up.stderr);
        }
    }
    // Without it nothing of all this is said.
    assert!(!world.run(&["plan", "--no-build"]).stderr.contains("aws: "));
}
