//! One thing is changed behind the tool's back: it is found, alone, and mended.

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::TimeToLiveSpecification;
use aws_sdk_lambda::types::InvokeMode;

use crate::emulator::Emulator::MiniStack;
use crate::world::World;

#[tokio::test]
async fn each_single_drift_is_found_alone_and_mended() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    let (sdk, name) = (world.sdk(), world.name.clone());
    for number in 0..DRIFTS {
        let address = drift(number, &sdk, &name).await;
        let plan = world.plan();
        assert_eq!(plan.keys().collect::<Vec<_>>(), [&address], "drift {number}");
        world.up(&[]).expect(0);
        assert!(world.plan().is_empty(), "drift {number}: {:?}", world.plan());
    }
}

const DRIFTS: usize = 11;

/// Changes one thing; returns the address of what was changed.
async fn drift(number: usize, sdk: &SdkConfig, name: &str) -> String {
    match number {
        0..=4 => of_function(number, sdk, &format!("{name}-api")).await,
        5..=7 => of_role(number, sdk, &format!("{name}-api-role")).await,
        _ => of_stores(number, sdk, name).await,
    }
}

async fn of_function(number: usize, sdk: &SdkConfig, name: &str) -> String {
    let lambda = aws_sdk_lambda::Client::new(sdk);
    match number {
        0 => {
            let update = lambda.update_function_configuration().function_name(name);
            update.memory_size(1024).send().await.unwrap();
        }
        1 => {
            let update = lambda.put_function_concurrency().function_name(name);
            update.reserved_concurrent_executions(3).send().await.unwrap();
        }
        2 => {
            let found = lambda.get_function().function_name(name).send().await.unwrap();
            let arn = found.configuration().unwrap().function_arn().unwrap().to_owned();
            let untag = lambda.untag_resource().resource(arn).tag_keys("claude-proxy:stack-id");
            untag.send().await.unwrap();
        }
        3 => {
            let remove = lambda.remove_permission().function_name(name);
            remove.statement_id("FunctionURLInvokeAllowPublicAccess").send().await.unwrap();
            return "permission/FunctionURLInvokeAllowPublicAccess".to_owned();
        }
        _ => {
            let update = lambda.update_function_url_config().function_name(name);
            update.invoke_mode(InvokeMode::Buffered).send().await.unwrap();
            return format!("function-url/{name}");
        }
    }
    format!("lambda/{name}")
}

async fn of_role(number: usize, sdk: &SdkConfig, name: &str) -> String {
    let iam = aws_sdk_iam::Client::new(sdk);
    let wide = r#"{"Version":"2012-10-17","Statement":
        [{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    let policy = if number == 5 { "BedrockAndDynamoDB" } else { "Stranger" };
    if number == 7 {
        let arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
        iam.detach_role_policy().role_name(name).policy_arn(arn).send().await.unwrap();
    } else {
        let put = iam.put_role_policy().role_name(name).policy_name(policy);
        put.policy_document(wide).send().await.unwrap();
    }
    format!("iam-role/{name}")
}

async fn of_stores(number: usize, sdk: &SdkConfig, name: &str) -> String {
    match number {
        8 => {
            let table = format!("{name}-rate-limits");
            let off = TimeToLiveSpecification::builder().enabled(false);
            let off = off.attribute_name("expires_at").build().unwrap();
            let update = aws_sdk_dynamodb::Client::new(sdk).update_time_to_live();
            let update = update.table_name(&table).time_to_live_specification(off);
            update.send().await.unwrap();
            format!("dynamodb/{table}")
        }
        9 => {
            let group = format!("/aws/lambda/{name}-api");
            let logs = aws_sdk_cloudwatchlogs::Client::new(sdk);
            logs.delete_retention_policy().log_group_name(&group).send().await.unwrap();
            format!("log-group/{group}")
        }
        _ => {
            let ecr = aws_sdk_ecr::Client::new(sdk);
            ecr.delete_lifecycle_policy().repository_name(name).send().await.unwrap();
            format!("ecr/{name}")
        }
    }
}
