//! One thing is changed behind the tool's back: it is found, alone, and mended.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{BillingMode, ProvisionedThroughput, TimeToLiveSpecification};
use aws_sdk_ecr::types::{ImageScanningConfiguration, ImageTagMutability};
use aws_sdk_lambda::types::{Architecture, Cors, Environment, FunctionUrlAuthType, InvokeMode};
use testing::aws::emulator::Emulator::{self, MiniStack, Moto};
use testing::aws::world::World;

const OF_ROLE: [&str; 8] = [
    "role: trust",
    "role: policy",
    "role: no policy",
    "role: a stranger's policy",
    "role: a stranger's attachment",
    "role: no logs",
    "role: boundary",
    "role: tags",
];
const OF_REPOSITORY: [&str; 7] = [
    "repository: scan",
    "repository: mutability",
    "repository: policy",
    "repository: no policy",
    "repository: lifecycle",
    "repository: tags",
    "image: gone",
];
const OF_STORES: [&str; 8] = [
    "table: expiry",
    "table: billing",
    "table: tags",
    "table: gone",
    "log group: retention",
    "log group: other retention",
    "log group: tags",
    "log group: gone",
];
const OF_FUNCTION: [&str; 10] = [
    "function: memory",
    "function: timeout",
    "function: role",
    "function: store",
    "function: no table",
    "function: processors",
    "function: code",
    "function: concurrency",
    "function: tags",
    "function: id of the role",
];
const OF_ACCESS: [&str; 8] = [
    "first permission: gone",
    "second permission: gone",
    "first permission: narrower",
    "second permission: wider",
    "url: mode",
    "url: signed",
    "url: other origins",
    "url: gone",
];

#[tokio::test]
async fn each_single_drift_of_role_and_repository_is_found_alone_and_mended() {
    check(MiniStack, &[&OF_ROLE[..], &OF_REPOSITORY[..]].concat()).await;
}

#[tokio::test]
async fn each_single_drift_of_table_and_log_group_is_found_alone_and_mended() {
    check(MiniStack, &OF_STORES).await;
}

#[tokio::test]
async fn each_single_drift_of_the_function_is_found_alone_and_mended() {
    check(MiniStack, &[&OF_FUNCTION[..], &OF_ACCESS[..]].concat()).await;
}

/// Moto changes neither mode nor origins of a URL, neither the scan of a repository nor the
/// processors of a function.
#[tokio::test]
async fn moto_sees_each_single_drift_too() {
    let unseen = ["url: mode", "url: other origins", "repository: scan", "function: processors"];
    let all = [&OF_ROLE[..], &OF_REPOSITORY, &OF_STORES, &OF_FUNCTION, &OF_ACCESS].concat();
    let seen: Vec<_> = all.into_iter().filter(|drift| !unseen.contains(drift)).collect();
    check(Moto, &seen).await;
}

async fn check(emulator: Emulator, drifts: &[&'static str]) {
    let world = World::new(emulator);
    world.up(&[]).expect(0);
    let hand = Hand::new(&world);
    let mut wrong = Vec::new();
    for what in drifts {
        let address = hand.change(what).await;
        // Which processors is read back, unless they are named.
        let up = world.up(&["--json", "--architecture", "arm64"]);
        up.expect(0);
        let changes = up.json()["changes"].as_array().unwrap().clone();
        let changed = changes.iter().filter(|change| change["action"] != "keep");
        let changed: Vec<_> = changed.map(|change| change["address"].clone()).collect();
        if changed != [address] {
            wrong.push(format!("{what}: {changed:?}"));
        }
    }
    assert_eq!(wrong, [""; 0], "{emulator:?}");
    world.proxy.take_journal();
    world.up(&[]).expect(0);
    assert_eq!(world.proxy.take_journal(), [""; 0], "{emulator:?}");
}

/// Somebody with a console.
struct Hand {
    name: String,
    iam: aws_sdk_iam::Client,
    ecr: aws_sdk_ecr::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    lambda: aws_sdk_lambda::Client,
}

const TAG: &str = "claude-proxy:stack-id";

impl Hand {
    fn new(world: &World) -> Self {
        let sdk = world.sdk();
        Self {
            name: world.name.clone(),
            iam: aws_sdk_iam::Client::new(&sdk),
            ecr: aws_sdk_ecr::Client::new(&sdk),
            dynamodb: aws_sdk_dynamodb::Client::new(&sdk),
            logs: aws_sdk_cloudwatchlogs::Client::new(&sdk),
            lambda: aws_sdk_lambda::Client::new(&sdk),
        }
    }

    /// Changes one thing; returns the address of what was changed.
    async fn change(&self, what: &str) -> String {
        let name = &self.name;
        let (of, what) = what.split_once(": ").unwrap();
        match of {
            "role" => self.change_role(what).await,
            "repository" | "image" => self.change_repository(what).await,
            "table" => self.change_table(what).await,
            "log group" => self.change_log_group(what).await,
            "function" => self.change_function(what).await,
            "url" => self.change_url(what).await,
            _ => self.change_permission(of, what).await,
        }
        match of {
            "role" => format!("iam-role/{name}-api-role"),
            "repository" => format!("ecr/{name}"),
            "image" => format!("image/{name}"),
            "table" => format!("dynamodb/{name}-rate-limits"),
            "log group" => format!("log-group//aws/lambda/{name}-api"),
            "function" => format!("lambda/{name}-api"),
            "url" => format!("function-url/{name}-api"),
            "first permission" => "permission/FunctionURLAllowPublicAccess".to_owned(),
            _ => "permission/FunctionURLInvokeAllowPublicAccess".to_owned(),
        }
    }

    async fn change_role(&self, what: &str) {
        let (iam, role) = (&self.iam, format!("{}-api-role", self.name));
        let wide = r#"{"Version":"2012-10-17","Statement":
            [{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
        let trust = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
            "Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}"#;
        let basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
        let admin = "arn:aws:iam::aws:policy/AdministratorAccess";
        match what {
            "trust" => {
                let update = iam.update_assume_role_policy().role_name(role);
                update.policy_document(trust).send().await.unwrap();
            }
            "policy" | "a stranger's policy" => {
                let policy = if what == "policy" { "BedrockAndDynamoDB" } else { "Stranger" };
                let put = iam.put_role_policy().role_name(role).policy_name(policy);
                put.policy_document(wide).send().await.unwrap();
            }
            "no policy" => {
                let delete = iam.delete_role_policy().role_name(role);
                delete.policy_name("BedrockAndDynamoDB").send().await.unwrap();
            }
            "a stranger's attachment" => {
                iam.attach_role_policy().role_name(role).policy_arn(admin).send().await.unwrap();
            }
            "no logs" => {
                iam.detach_role_policy().role_name(role).policy_arn(basic).send().await.unwrap();
            }
            "boundary" => {
                let put = iam.put_role_permissions_boundary().role_name(role);
                put.permissions_boundary(admin).send().await.unwrap();
            }
            _ => {
                iam.untag_role().role_name(role).tag_keys(TAG).send().await.unwrap();
            }
        }
    }

    async fn change_repository(&self, what: &str) {
        let (ecr, name) = (&self.ecr, &self.name);
        match what {
            "scan" => {
                let off = ImageScanningConfiguration::builder().scan_on_push(false).build();
                let put = ecr.put_image_scanning_configuration().repository_name(name);
                put.image_scanning_configuration(off).send().await.unwrap();
            }
            "mutability" => {
                let put = ecr.put_image_tag_mutability().repository_name(name);
                put.image_tag_mutability(ImageTagMutability::Mutable).send().await.unwrap();
            }
            "policy" => {
                let open = r#"{"Version":"2012-10-17","Statement":[{"Sid":"All","Effect":"Allow",
                    "Principal":"*","Action":"ecr:*"}]}"#;
                let set = ecr.set_repository_policy().repository_name(name);
                set.policy_text(open).send().await.unwrap();
            }
            "no policy" => {
                ecr.delete_repository_policy().repository_name(name).send().await.unwrap();
            }
            "lifecycle" => {
                ecr.delete_lifecycle_policy().repository_name(name).send().await.unwrap();
            }
            "gone" => {
                let list = ecr.list_images().repository_name(name).send().await.unwrap();
                let delete = ecr.batch_delete_image().repository_name(name);
                delete.set_image_ids(list.image_ids).send().await.unwrap();
            }
            _ => {
                let found = ecr.describe_repositories().repository_names(name).send().await;
                let arn = found.unwrap().repositories()[0].repository_arn().unwrap().to_owned();
                ecr.untag_resource().resource_arn(arn).tag_keys(TAG).send().await.unwrap();
            }
        }
    }

    async fn change_table(&self, what: &str) {
        let (dynamodb, table) = (&self.dynamodb, format!("{}-rate-limits", self.name));
        match what {
            "expiry" => {
                let off = TimeToLiveSpecification::builder().enabled(false);
                let off = off.attribute_name("expires_at").build().unwrap();
                let update = dynamodb.update_time_to_live().table_name(&table);
                update.time_to_live_specification(off).send().await.unwrap();
            }
            "billing" => {
                let units = ProvisionedThroughput::builder();
                let units = units.read_capacity_units(1).write_capacity_units(1).build().unwrap();
                let update = dynamodb.update_table().table_name(&table);
                let update = update.billing_mode(BillingMode::Provisioned);
                update.provisioned_throughput(units).send().await.unwrap();
            }
            "gone" => drop(dynamodb.delete_table().table_name(&table).send().await.unwrap()),
            _ => {
                let found = dynamodb.describe_table().table_name(&table).send().await.unwrap();
                let arn = found.table().unwrap().table_arn().unwrap().to_owned();
                dynamodb.untag_resource().resource_arn(arn).tag_keys(TAG).send().await.unwrap();
            }
        }
    }

    async fn change_log_group(&self, what: &str) {
        let (logs, group) = (&self.logs, format!("/aws/lambda/{}-api", self.name));
        match what {
            "retention" => {
                logs.delete_retention_policy().log_group_name(group).send().await.unwrap();
            }
            "other retention" => {
                let put = logs.put_retention_policy().log_group_name(group);
                put.retention_in_days(7).send().await.unwrap();
            }
            "gone" => drop(logs.delete_log_group().log_group_name(group).send().await.unwrap()),
            _ => {
                let found = logs.describe_log_groups().log_group_name_prefix(group);
                let found = found.send().await.unwrap();
                let arn = found.log_groups()[0].arn().unwrap().trim_end_matches(":*").to_owned();
                logs.untag_resource().resource_arn(arn).tag_keys(TAG).send().await.unwrap();
            }
        }
    }

    async fn change_function(&self, what: &str) {
        let (lambda, name) = (&self.lambda, format!("{}-api", self.name));
        let found = lambda.get_function().function_name(&name).send().await.unwrap();
        let (there, code) = (found.configuration().unwrap(), found.code().unwrap());
        let update = lambda.update_function_configuration().function_name(&name);
        let mut variables: HashMap<_, _> =
            there.environment().unwrap().variables().unwrap().clone();
        let updated = match what {
            "memory" => update.memory_size(1024).send().await.map(drop),
            "timeout" => update.timeout(3).send().await.map(drop),
            "role" => {
                // Moto wants one that is there.
                let trust = r#"{"Version":"2012-10-17","Statement":[]}"#;
                let role = self.iam.create_role().role_name(format!("{name}-other"));
                let role = role.assume_role_policy_document(trust).send().await.unwrap();
                update.role(role.role().unwrap().arn()).send().await.map(drop)
            }
            "store" | "no table" => {
                match what {
                    "store" => drop(variables.insert("RATE_LIMIT_STORE".into(), "memory".into())),
                    _ => drop(variables.remove("RATE_LIMIT_TABLE_NAME")),
                }
                let all = Environment::builder().set_variables(Some(variables)).build();
                update.environment(all).send().await.map(drop)
            }
            _ => Ok(()),
        };
        updated.unwrap();
        let (arn, image) = (there.function_arn().unwrap(), code.image_uri().unwrap());
        let update = lambda.update_function_code().function_name(&name);
        match what {
            "processors" => {
                let update = update.image_uri(image).architectures(Architecture::X8664);
                update.send().await.unwrap();
            }
            "code" => {
                let other =
                    format!("{}@sha256:{}", image.split('@').next().unwrap(), "0".repeat(64));
                update.image_uri(other).architectures(Architecture::Arm64).send().await.unwrap();
            }
            "concurrency" => {
                let put = lambda.put_function_concurrency().function_name(name);
                put.reserved_concurrent_executions(3).send().await.unwrap();
            }
            "tags" => {
                lambda.untag_resource().resource(arn).tag_keys(TAG).send().await.unwrap();
            }
            "id of the role" => {
                let tag = lambda.tag_resource().resource(arn);
                tag.tags("claude-proxy:role-id", "AROAOLD").send().await.unwrap();
            }
            _ => {}
        }
    }

    async fn change_permission(&self, which: &str, what: &str) {
        let (lambda, name) = (&self.lambda, format!("{}-api", self.name));
        let (id, action) = match which {
            "first permission" => ("FunctionURLAllowPublicAccess", "lambda:InvokeFunctionUrl"),
            _ => ("FunctionURLInvokeAllowPublicAccess", "lambda:InvokeFunction"),
        };
        let remove = lambda.remove_permission().function_name(&name).statement_id(id);
        remove.send().await.unwrap();
        let add = lambda.add_permission().function_name(&name).statement_id(id).action(action);
        match what {
            "narrower" => {
                let add = add.function_url_auth_type(FunctionUrlAuthType::AwsIam);
                add.principal("123456789012").send().await.unwrap();
            }
            "wider" => drop(add.principal("*").send().await.unwrap()),
            _ => {}
        }
    }

    async fn change_url(&self, what: &str) {
        let (lambda, name) = (&self.lambda, format!("{}-api", self.name));
        let update = lambda.update_function_url_config().function_name(&name);
        let updated = match what {
            "mode" => update.invoke_mode(InvokeMode::Buffered),
            "signed" => update.auth_type(FunctionUrlAuthType::AwsIam),
            "other origins" => update.cors(Cors::builder().allow_origins("*").build()),
            _ => {
                let delete = lambda.delete_function_url_config().function_name(&name);
                delete.send().await.unwrap();
                return;
            }
        };
        updated.send().await.unwrap();
    }
}
