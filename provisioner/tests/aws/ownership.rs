//! What lacks our tags is never changed or deleted, unless somebody says so; what could never be
//! ours is not even then.

use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{Architecture, FunctionCode, PackageType, Runtime};
use serde_json::json;
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::proxy::Refusal;
use testing::aws::world::World;

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

#[tokio::test]
async fn each_kind_is_refused_and_kept_and_taken_over_when_told_to() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        let foreign = Stranger::new(&world);
        for kind in ["iam-role", "ecr", "dynamodb", "lambda"] {
            let address = foreign.make(kind).await;
            world.proxy.take_journal();
            let refused = world.up(&["--json"]);
            refused.expect(3);
            assert_eq!(refused.json()["error"]["resource"], address, "{emulator:?}");
            world.run(&["plan", "--no-build"]).expect(3);
            let down = world.run(&["down", "--yes", "--json"]);
            down.expect(3);
            assert_eq!(down.json()["kept"].as_array().unwrap()[0], address);
            assert_eq!(world.states()[&address], "foreign");
            assert_eq!(world.proxy.take_journal(), [""; 0], "{address}");
            foreign.remove(kind).await;
        }
        for kind in ["iam-role", "ecr", "dynamodb", "lambda"] {
            foreign.make(kind).await;
        }
        // With all that is in it: the next `down` deletes that.
        let adopting = world.up(&["--adopt"]);
        adopting.expect(0);
        let told = adopting.stderr.matches("somebody else's").count();
        assert!(told >= 4, "{emulator:?}: {}", adopting.stderr);
        assert!(world.plan().is_empty(), "{:?}", world.plan());
        world.run(&["down", "--yes"]).expect(0);
        assert!(world.is_gone());
    }
}

#[tokio::test]
async fn what_could_never_be_ours_is_not_taken_over_either() {
    let world = World::new(MiniStack);
    let foreign = Stranger::new(&world);
    for (kind, why) in [
        ("dynamodb of other keys", "its keys are not the strings pk and sk"),
        ("lambda of code", "it is not made of an image"),
    ] {
        foreign.make(kind).await;
        world.proxy.take_journal();
        let refused = world.up(&["--adopt"]);
        refused.expect(3);
        assert!(refused.error().contains(why), "{}", refused.stderr);
        assert!(refused.error().ends_with("hint: use another --name\n"));
        world.run(&["down", "--yes"]).expect(3);
        assert_eq!(world.proxy.take_journal(), [""; 0]);
        foreign.remove(kind.split(' ').next().unwrap()).await;
    }
}

#[tokio::test]
async fn down_keeps_what_is_foreign_among_what_is_ours() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    let foreign = Stranger::new(&world);
    foreign.disown().await;
    let down = world.run(&["down", "--yes", "--json"]);
    down.expect(0);
    let kept = ["dynamodb/{}-rate-limits", "lambda/{}-api"].map(|a| a.replace("{}", &world.name));
    let said = down.json()["kept"].clone();
    for address in kept {
        assert!(said.as_array().unwrap().contains(&json!(address)), "{said}");
        assert_eq!(world.states()[&address], "foreign");
    }
    assert_eq!(down.json()["remaining"], json!([]));
    // What is left is foreign, and there is nothing of ours beside it.
    world.run(&["down", "--yes"]).expect(3);
}

#[test]
fn tags_that_cannot_be_read_stop_every_command_before_any_change() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    world.proxy.take_journal();
    for name in [
        "iam.ListRoleTags",
        "ecr.ListTagsForResource",
        "dynamodb.ListTagsOfResource",
        "logs.ListTagsForResource",
    ] {
        world.proxy.refuse(name, Refusal::denied());
        for words in [&["down", "--yes"][..], &["plan", "--no-build"]] {
            let ended = world.run(words);
            ended.expect(3);
            assert!(ended.error().contains("its tags cannot be read"), "{name}: {}", ended.stderr);
        }
        world.up(&["--memory", "512", "--adopt"]).expect(3);
        assert_eq!(world.proxy.relent(), 3, "{name}");
        assert_eq!(world.proxy.take_journal(), [""; 0], "{name}");
    }
    // Lambda says it in its answer.
    world.proxy.hide_function_tags();
    world.run(&["down", "--yes"]).expect(3);
    world.up(&["--memory", "512"]).expect(3);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[tokio::test]
async fn the_log_group_that_lambda_made_is_taken_over_without_a_word() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        let foreign = Stranger::new(&world);
        let group = format!("/aws/lambda/{}-api", world.name);
        foreign.logs.create_log_group().log_group_name(&group).send().await.unwrap();
        world.up(&[]).expect(0);
        assert!(world.plan().is_empty());
        // Somebody else's group of that name is another matter.
        let world = World::new(emulator);
        let foreign = Stranger::new(&world);
        let group = format!("/aws/lambda/{}-api", world.name);
        let create = foreign.logs.create_log_group().log_group_name(&group);
        create.tags("team", "other").send().await.unwrap();
        world.up(&[]).expect(3);
        world.run(&["down", "--yes"]).expect(3);
        assert_eq!(world.states()[&format!("log-group/{group}")], "foreign");
    }
}

/// Lambda may have made it for whoever had the name before us.
#[tokio::test]
async fn a_bare_log_group_goes_only_with_something_else_of_the_stack() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        let foreign = Stranger::new(&world);
        let group = format!("/aws/lambda/{}-api", world.name);
        foreign.logs.create_log_group().log_group_name(&group).send().await.unwrap();
        world.proxy.take_journal();
        let down = world.run(&["down", "--yes", "--json"]);
        down.expect(3);
        let address = format!("log-group/{group}");
        assert_eq!(down.json()["kept"], json!([address]), "{emulator:?}");
        assert_eq!(down.json()["error"]["resource"], address);
        assert_eq!(world.proxy.take_journal(), [""; 0]);
        // Beside something that is ours it is ours, whatever else is left of the stack.
        world.up(&[]).expect(0);
        world.proxy.take_journal();
        let arn = foreign.group_arn(&group).await;
        let keys = ["managed-by", "claude-proxy:name", "claude-proxy:stack-id"];
        let untag = foreign.logs.untag_resource().resource_arn(arn);
        let untag = untag.set_tag_keys(Some(keys.map(str::to_owned).to_vec()));
        untag.tag_keys("claude-proxy:log-retention-days").send().await.unwrap();
        let function = format!("{}-api", world.name);
        foreign.lambda.delete_function().function_name(function).send().await.unwrap();
        world.run(&["down", "--yes"]).expect(0);
        assert!(world.is_gone(), "{emulator:?}");
    }
}

#[test]
fn a_log_group_that_comes_back_is_deleted_once_more() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&[]).expect(0);
        world.proxy.resurrect(1);
        let down = world.run(&["down", "--yes", "--json"]);
        down.expect(0);
        assert_eq!(down.json()["remaining"], json!([]));
        assert!(world.is_gone());
        // As long as it comes back, it is not gone, and that is said.
        world.up(&[]).expect(0);
        world.proxy.resurrect(9);
        let down = world.run(&["down", "--yes", "--json"]);
        down.expect(5);
        let group = format!("log-group//aws/lambda/{}-api", world.name);
        assert_eq!(down.json()["remaining"], json!([group]));
        let hint = down.json()["error"]["hint"].to_string();
        assert!(hint.contains("delete-log-group --log-group-name /aws/lambda/"), "{hint}");
        // By now it may be anybody's, where it has lost its tags.
        world.proxy.resurrect(0);
        world.run(&["down", "--yes"]).expect(if emulator == MiniStack { 3 } else { 0 });
    }
}

/// Somebody who uses our names without knowing us.
pub(crate) struct Stranger {
    name: String,
    iam: aws_sdk_iam::Client,
    ecr: aws_sdk_ecr::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    lambda: aws_sdk_lambda::Client,
}

impl Stranger {
    pub(crate) fn new(world: &World) -> Self {
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

    /// Makes something of one of our names; returns its address.
    async fn make(&self, kind: &str) -> String {
        let name = &self.name;
        match kind {
            "iam-role" => {
                let role = format!("{name}-api-role");
                let create = self.iam.create_role().role_name(&role);
                create.assume_role_policy_document(TRUST).send().await.unwrap();
                format!("iam-role/{role}")
            }
            "ecr" => {
                self.ecr.create_repository().repository_name(name).send().await.unwrap();
                format!("ecr/{name}")
            }
            "dynamodb" => self.make_table(&["pk", "sk"]).await,
            "dynamodb of other keys" => self.make_table(&["id"]).await,
            _ => self.make_function(kind == "lambda").await,
        }
    }

    async fn make_table(&self, keys: &[&str]) -> String {
        let table = format!("{}-rate-limits", self.name);
        let mut create = self.dynamodb.create_table().table_name(&table);
        for (key, kind) in keys.iter().zip([KeyType::Hash, KeyType::Range]) {
            let attribute = AttributeDefinition::builder().attribute_name(*key);
            let attribute = attribute.attribute_type(ScalarAttributeType::S).build().unwrap();
            let key = KeySchemaElement::builder().attribute_name(*key).key_type(kind);
            create = create.attribute_definitions(attribute).key_schema(key.build().unwrap());
        }
        create.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
        format!("dynamodb/{table}")
    }

    async fn make_function(&self, of_image: bool) -> String {
        let function = format!("{}-api", self.name);
        let role = self.iam.create_role().role_name(format!("{function}-its-own"));
        let role = role.assume_role_policy_document(TRUST).send().await;
        let role = role.map_or_else(
            |_| "arn:aws:iam::000000000000:role/known".to_owned(),
            |made| made.role().unwrap().arn().to_owned(),
        );
        let create = self.lambda.create_function().function_name(&function).role(role);
        let create = if of_image {
            let image = "000000000000.dkr.ecr.us-east-1.amazonaws.com/other:latest";
            let code = FunctionCode::builder().image_uri(image).build();
            let create = create.architectures(Architecture::Arm64);
            create.package_type(PackageType::Image).code(code)
        } else {
            // An archive without a file.
            let zip = [&b"PK\x05\x06"[..], &[0; 18]].concat();
            let code = FunctionCode::builder().zip_file(Blob::new(zip)).build();
            create.runtime(Runtime::Providedal2023).handler("x").code(code)
        };
        create.send().await.unwrap();
        format!("lambda/{function}")
    }

    async fn remove(&self, kind: &str) {
        let name = &self.name;
        match kind {
            "iam-role" => {
                let role = format!("{name}-api-role");
                self.iam.delete_role().role_name(role).send().await.unwrap();
            }
            "ecr" => {
                self.ecr.delete_repository().repository_name(name).send().await.unwrap();
            }
            "dynamodb" => {
                let table = format!("{name}-rate-limits");
                self.dynamodb.delete_table().table_name(table).send().await.unwrap();
            }
            _ => {
                let function = format!("{name}-api");
                self.lambda.delete_function().function_name(function).send().await.unwrap();
                let role = format!("{name}-api-its-own");
                self.iam.delete_role().role_name(role).send().await.unwrap();
                let group = format!("/aws/lambda/{name}-api");
                drop(self.logs.delete_log_group().log_group_name(group).send().await);
            }
        }
    }

    async fn group_arn(&self, name: &str) -> String {
        let found = self.logs.describe_log_groups().log_group_name_prefix(name).send();
        let arn = found.await.unwrap().log_groups()[0].arn().unwrap().to_owned();
        arn.trim_end_matches(":*").to_owned()
    }

    /// Takes our tags off table and function.
    async fn disown(&self) {
        let keys = ["managed-by", "claude-proxy:name", "claude-proxy:stack-id"].map(str::to_owned);
        let table = format!("{}-rate-limits", self.name);
        let found = self.dynamodb.describe_table().table_name(table).send().await.unwrap();
        let arn = found.table().unwrap().table_arn().unwrap().to_owned();
        let untag = self.dynamodb.untag_resource().resource_arn(arn);
        untag.set_tag_keys(Some(keys.to_vec())).send().await.unwrap();
        let function = format!("{}-api", self.name);
        let found = self.lambda.get_function().function_name(function).send().await.unwrap();
        let arn = found.configuration().unwrap().function_arn().unwrap().to_owned();
        let untag = self.lambda.untag_resource().resource(arn);
        untag.set_tag_keys(Some(keys.to_vec())).send().await.unwrap();
    }
}
