//! Somebody else is quicker: while a question stands, and between any two changes.
//!
//! Whatever they change, remove or replace: nothing of theirs is touched, nothing comes back that
//! they have taken away, and the sentence names it. What AWS guards by no revision is read and judged
//! once for each resource, right before its first change.

use std::collections::BTreeMap;
use std::fmt;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_lambda::types::{Architecture, Environment, FunctionCode, PackageType};
use testing::aws::emulator::Emulator::{self, MiniStack, Moto};
#[cfg(unix)]
use testing::aws::terminal;
use testing::aws::world::{Ended, World};

use crate::behind::wait;

/// What somebody else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deed {
    Change,
    Remove,
    Replace,
}

const DEEDS: [Deed; 3] = [Deed::Change, Deed::Remove, Deed::Replace];

/// What they do it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Role,
    Repository,
    Table,
    LogGroup,
    Function,
}

const KINDS: [Kind; 5] =
    [Kind::Role, Kind::Repository, Kind::Table, Kind::LogGroup, Kind::Function];

/// The tags of somebody who does not know us.
const THEIRS: (&str, &str) = ("team", "other");

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;

/// Somebody else, who knows the names of one stack.
#[derive(Clone)]
struct Rival {
    name: String,
    account: &'static str,
    sdk: SdkConfig,
}

impl fmt::Debug for Rival {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Rival {
    fn of(world: &World, emulator: Emulator) -> Self {
        let account = match emulator {
            MiniStack | Emulator::Guarded => "000000000000",
            Moto => "123456789012",
        };
        Self { name: world.name.clone(), account, sdk: world.sdk() }
    }

    fn address(&self, kind: Kind) -> String {
        let name = &self.name;
        match kind {
            Kind::Role => format!("iam-role/{name}-api-role"),
            Kind::Repository => format!("ecr/{name}"),
            Kind::Table => format!("dynamodb/{name}-rate-limits"),
            Kind::LogGroup => format!("log-group//aws/lambda/{name}-api"),
            Kind::Function => format!("lambda/{name}-api"),
        }
    }

    /// What is not there cannot be changed or removed, and they do not mind.
    fn does(&self, deed: Deed, kind: Kind) {
        wait(async {
            match deed {
                Deed::Change => self.change(kind).await,
                Deed::Remove => self.remove(kind).await,
                Deed::Replace => {
                    self.remove(kind).await;
                    self.make(kind).await;
                }
            }
        });
    }

    async fn change(&self, kind: Kind) {
        let name = &self.name;
        match kind {
            Kind::Role => {
                let iam = aws_sdk_iam::Client::new(&self.sdk);
                let put = iam.put_role_policy().role_name(format!("{name}-api-role"));
                let put = put.policy_name("Theirs").policy_document(TRUST_NOTHING);
                drop(put.send().await);
            }
            Kind::Repository => {
                let ecr = aws_sdk_ecr::Client::new(&self.sdk);
                let put = ecr.put_image_tag_mutability().repository_name(name);
                let mutable = aws_sdk_ecr::types::ImageTagMutability::Mutable;
                drop(put.image_tag_mutability(mutable).send().await);
            }
            Kind::Table => {
                let dynamodb = aws_sdk_dynamodb::Client::new(&self.sdk);
                let table = format!("{name}-rate-limits");
                let arn = format!("arn:aws:dynamodb:us-east-1:{}:table/{table}", self.account);
                let tag = aws_sdk_dynamodb::types::Tag::builder().key("cost").value("1");
                let tag = dynamodb.tag_resource().resource_arn(arn).tags(tag.build().unwrap());
                drop(tag.send().await);
            }
            Kind::LogGroup => {
                let logs = aws_sdk_cloudwatchlogs::Client::new(&self.sdk);
                let put = logs.put_retention_policy();
                let put = put.log_group_name(format!("/aws/lambda/{name}-api"));
                drop(put.retention_in_days(400).send().await);
            }
            Kind::Function => {
                let lambda = aws_sdk_lambda::Client::new(&self.sdk);
                let function = format!("{name}-api");
                let get = lambda.get_function_configuration().function_name(&function);
                let Ok(found) = get.send().await else { return };
                let variables = found.environment().and_then(|all| all.variables()).cloned();
                let mut variables = variables.unwrap_or_default();
                variables.remove("PROXY_KEYS");
                let all = Environment::builder().set_variables(Some(variables)).build();
                let update = lambda.update_function_configuration().function_name(&function);
                drop(update.environment(all).send().await);
            }
        }
    }

    async fn remove(&self, kind: Kind) {
        let name = &self.name;
        match kind {
            Kind::Role => {
                let (iam, role) = (aws_sdk_iam::Client::new(&self.sdk), format!("{name}-api-role"));
                let basic = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";
                let detach = iam.detach_role_policy().role_name(&role).policy_arn(basic);
                drop(detach.send().await);
                for policy in ["BedrockAndDynamoDB", "Theirs"] {
                    let delete = iam.delete_role_policy().role_name(&role).policy_name(policy);
                    drop(delete.send().await);
                }
                drop(iam.delete_role().role_name(&role).send().await);
            }
            Kind::Repository => {
                let ecr = aws_sdk_ecr::Client::new(&self.sdk);
                drop(ecr.delete_repository().repository_name(name).force(true).send().await);
            }
            Kind::Table => {
                let dynamodb = aws_sdk_dynamodb::Client::new(&self.sdk);
                let table = format!("{name}-rate-limits");
                drop(dynamodb.delete_table().table_name(table).send().await);
            }
            Kind::LogGroup => {
                let logs = aws_sdk_cloudwatchlogs::Client::new(&self.sdk);
                let group = format!("/aws/lambda/{name}-api");
                drop(logs.delete_log_group().log_group_name(group).send().await);
            }
            Kind::Function => {
                let lambda = aws_sdk_lambda::Client::new(&self.sdk);
                let function = format!("{name}-api");
                drop(lambda.delete_function().function_name(function).send().await);
            }
        }
    }

    async fn make(&self, kind: Kind) {
        let (name, (key, value)) = (&self.name, THEIRS);
        match kind {
            Kind::Role => {
                let iam = aws_sdk_iam::Client::new(&self.sdk);
                let tag = aws_sdk_iam::types::Tag::builder().key(key).value(value);
                let create = iam.create_role().role_name(format!("{name}-api-role"));
                let create = create.assume_role_policy_document(TRUST);
                let create = create.tags(tag.build().unwrap());
                // Ours may just be getting a policy, and then it cannot go yet.
                for _ in 0..50 {
                    if create.clone().send().await.is_ok() {
                        return;
                    }
                    self.remove(kind).await;
                }
                panic!("the role of the stack does not give way");
            }
            Kind::Repository => {
                let ecr = aws_sdk_ecr::Client::new(&self.sdk);
                let tag = aws_sdk_ecr::types::Tag::builder().key(key).value(value);
                let create = ecr.create_repository().repository_name(name);
                create.tags(tag.build().unwrap()).send().await.unwrap();
            }
            Kind::Table => self.make_table().await,
            Kind::LogGroup => {
                let logs = aws_sdk_cloudwatchlogs::Client::new(&self.sdk);
                let create = logs.create_log_group();
                let create = create.log_group_name(format!("/aws/lambda/{name}-api"));
                create.tags(key, value).send().await.unwrap();
            }
            Kind::Function => {
                let lambda = aws_sdk_lambda::Client::new(&self.sdk);
                let image = "000000000000.dkr.ecr.us-east-1.amazonaws.com/other:latest";
                let code = FunctionCode::builder().image_uri(image).build();
                let create = lambda.create_function().function_name(format!("{name}-api"));
                let create = create.role("arn:aws:iam::000000000000:role/known");
                let create = create.architectures(Architecture::Arm64).tags(key, value);
                let create = create.package_type(PackageType::Image).code(code);
                create.send().await.unwrap();
            }
        }
    }

    async fn make_table(&self) {
        let (dynamodb, (key, value)) = (aws_sdk_dynamodb::Client::new(&self.sdk), THEIRS);
        let tag = aws_sdk_dynamodb::types::Tag::builder().key(key).value(value);
        let table = format!("{}-rate-limits", self.name);
        let mut create = dynamodb.create_table().table_name(table).tags(tag.build().unwrap());
        for (key, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
            let attribute = AttributeDefinition::builder().attribute_name(key);
            let attribute = attribute.attribute_type(ScalarAttributeType::S).build().unwrap();
            let key = KeySchemaElement::builder().attribute_name(key).key_type(kind);
            create = create.attribute_definitions(attribute).key_schema(key.build().unwrap());
        }
        create.billing_mode(BillingMode::PayPerRequest).send().await.unwrap();
    }

    /// What there is of theirs, as far as we could have touched it; `None` if it is gone.
    fn theirs(&self, kind: Kind) -> Option<BTreeMap<String, String>> {
        wait(async {
            let name = &self.name;
            match kind {
                Kind::Role => {
                    let (iam, role) =
                        (aws_sdk_iam::Client::new(&self.sdk), format!("{name}-api-role"));
                    let tags = iam.list_role_tags().role_name(&role).send().await.ok()?;
                    let mut all: BTreeMap<_, _> =
                        tags.tags.into_iter().map(|tag| (tag.key, tag.value)).collect();
                    let list = iam.list_role_policies().role_name(&role).send().await.ok()?;
                    all.extend(list.policy_names.into_iter().map(|name| (name, "policy".into())));
                    Some(all)
                }
                Kind::Repository => {
                    let ecr = aws_sdk_ecr::Client::new(&self.sdk);
                    let arn = format!("arn:aws:ecr:us-east-1:{}:repository/{name}", self.account);
                    let tags = ecr.list_tags_for_resource().resource_arn(arn).send().await.ok()?;
                    let tags = tags.tags.into_iter().flatten();
                    Some(tags.map(|tag| (tag.key, tag.value)).collect())
                }
                Kind::Table => {
                    let dynamodb = aws_sdk_dynamodb::Client::new(&self.sdk);
                    let table = format!("{name}-rate-limits");
                    let arn = format!("arn:aws:dynamodb:us-east-1:{}:table/{table}", self.account);
                    let tags = dynamodb.list_tags_of_resource().resource_arn(arn);
                    let tags = tags.send().await.ok()?.tags.into_iter().flatten();
                    Some(tags.map(|tag| (tag.key, tag.value)).collect())
                }
                Kind::LogGroup => {
                    let logs = aws_sdk_cloudwatchlogs::Client::new(&self.sdk);
                    let group = format!("/aws/lambda/{name}-api");
                    let arn = format!("arn:aws:logs:us-east-1:{}:log-group:{group}", self.account);
                    let tags = logs.list_tags_for_resource().resource_arn(arn).send().await.ok()?;
                    Some(tags.tags.unwrap_or_default().into_iter().collect())
                }
                Kind::Function => {
                    let lambda = aws_sdk_lambda::Client::new(&self.sdk);
                    let get = lambda.get_function().function_name(format!("{name}-api"));
                    let found = get.send().await.ok()?;
                    let mut all: BTreeMap<String, String> =
                        found.tags.unwrap_or_default().into_iter().collect();
                    let environment = found.configuration.and_then(|it| it.environment);
                    all.extend(environment.and_then(|it| it.variables).unwrap_or_default());
                    Some(all)
                }
            }
        })
    }
}

/// A policy that allows nothing.
const TRUST_NOTHING: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Deny",
    "Action":"*","Resource":"*"}]}"#;

const KEY: &str =
    "PROXY_KEYS=alice:0000000000000000000000000000000000000000000000000000000000000000";

/// A command during which somebody else is quicker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    Up,
    Update,
    Down,
}

impl Run {
    fn prepare(self, world: &World) {
        if self != Self::Up {
            world.up(&["--env", KEY]).expect(0);
        }
    }

    fn words(self, world: &World) -> Vec<String> {
        let (one, two) = (world.path("one"), world.path("two"));
        let words: &[&str] = match self {
            Self::Up => &["up", "--no-probe", "--binary", &one],
            Self::Update => &[
                "up",
                "--no-probe",
                "--memory",
                "512",
                "--log-retention-days",
                "7",
                "--binary",
                &two,
            ],
            Self::Down => &["down"],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn at_once(self, world: &World) -> Ended {
        let mut words = self.words(world);
        words.push("--yes".to_owned());
        world.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }
}

#[test]
fn between_two_changes_nobody_loses_anything() {
    // Somewhere; the matrix has every place.
    for (turn, (run, calls)) in [(Run::Update, 0), (Run::Down, 3)].into_iter().enumerate() {
        for (number, kind) in KINDS.into_iter().enumerate() {
            let deed = DEEDS[(number + turn) % DEEDS.len()];
            Race { emulator: MiniStack, run, kind, deed }.after(calls);
        }
    }
}

#[cfg(unix)]
#[test]
fn while_a_question_stands_nobody_loses_anything() {
    for (turn, run) in [Run::Update, Run::Down].into_iter().enumerate() {
        for (number, kind) in KINDS.into_iter().enumerate() {
            let deed = DEEDS[(number + turn + 2) % DEEDS.len()];
            Race { emulator: MiniStack, run, kind, deed }.at_the_question();
        }
    }
    // The two that lost something once.
    let (function, table) = (Kind::Function, Kind::Table);
    let revoked = Race { emulator: Moto, run: Run::Update, kind: function, deed: Deed::Change };
    revoked.at_the_question();
    Race { emulator: Moto, run: Run::Down, kind: table, deed: Deed::Replace }.at_the_question();
}

/// What AWS would refuse in the end is refused at the beginning.
#[test]
fn what_holds_a_resource_is_named_before_the_question() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    let (dynamodb, iam) =
        (aws_sdk_dynamodb::Client::new(&world.sdk()), aws_sdk_iam::Client::new(&world.sdk()));
    let table = world.table();
    let protect = |on| dynamodb.update_table().table_name(&table).deletion_protection_enabled(on);
    wait(protect(true).send()).unwrap();
    world.proxy.take_journal();
    let refused = world.run(&["down", "--yes", "--json"]);
    refused.expect(3);
    assert_eq!(refused.json()["error"]["resource"], format!("dynamodb/{table}"));
    assert!(!refused.stderr.contains("run it again"), "{}", refused.stderr);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
    wait(protect(false).send()).unwrap();
    let profile = format!("{}-theirs", world.name);
    wait(iam.create_instance_profile().instance_profile_name(&profile).send()).unwrap();
    let add = iam.add_role_to_instance_profile().instance_profile_name(&profile);
    wait(add.role_name(format!("{}-api-role", world.name)).send()).unwrap();
    world.proxy.take_journal();
    let refused = world.run(&["down", "--yes"]);
    refused.expect(3);
    assert!(refused.error().contains(&profile), "{}", refused.stderr);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[test]
#[ignore = "an hour: scripts/race-matrix runs it"]
fn the_whole_race_matrix() {
    std::thread::scope(|scope| {
        for emulator in [MiniStack, Moto] {
            scope.spawn(move || {
                for run in [Run::Up, Run::Update, Run::Down] {
                    for kind in KINDS {
                        for deed in DEEDS {
                            Race { emulator, run, kind, deed }.everywhere();
                        }
                    }
                }
            });
        }
    });
}

#[derive(Debug, Clone, Copy)]
struct Race {
    emulator: Emulator,
    run: Run,
    kind: Kind,
    deed: Deed,
}

impl Race {
    /// At the question, and after each number of changes until there are no more.
    #[expect(clippy::print_stdout, reason = "the figures say how many places there are")]
    fn everywhere(self) {
        #[cfg(unix)]
        self.at_the_question();
        let places = (0..).take_while(|calls| self.after(*calls)).count();
        let Self { emulator, run, kind, deed } = self;
        println!("{emulator:?} {run:?}: {deed:?} of {kind:?} at {} places", places + 1);
    }

    /// Somebody does it after so many changes; whether there were as many.
    fn after(self, calls: usize) -> bool {
        let world = World::new(self.emulator);
        self.run.prepare(&world);
        let rival = Rival::of(&world, self.emulator);
        let (deed, kind, theirs) = (self.deed, self.kind, rival.clone());
        world.proxy.meddle(calls, move || theirs.does(deed, kind));
        let ended = self.run.at_once(&world);
        if world.proxy.call_off() {
            ended.expect(0);
            return false;
        }
        let text = format!("{self:?} after {calls}:\n{}{}", ended.stdout, ended.stderr);
        self.judge(&world, &rival, ended.code, &text);
        true
    }

    /// Somebody does it while a question stands that is answered by a yes.
    #[cfg(unix)]
    fn at_the_question(self) {
        let world = World::new(self.emulator);
        self.run.prepare(&world);
        let rival = Rival::of(&world, self.emulator);
        let words = self.run.words(&world);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let mut done = false;
        let screen = terminal::run_with(&world, &words, &[], || {
            if !std::mem::replace(&mut done, true) {
                rival.does(self.deed, self.kind);
            }
            "y\n"
        });
        assert!(done, "{self:?}: it did not ask:\n{}", screen.text);
        let text = format!("{self:?} at the question:\n{}", screen.text);
        self.judge(&world, &rival, screen.code, &text);
    }

    fn judge(self, world: &World, rival: &Rival, code: Option<i32>, text: &str) {
        let Self { run, kind, deed, .. } = self;
        let address = rival.address(kind);
        assert!(matches!(code, Some(0 | 1 | 3 | 5)), "{code:?} {text}");
        let theirs = rival.theirs(kind);
        if deed == Deed::Replace {
            let untouched: BTreeMap<_, _> = [(THEIRS.0.to_owned(), THEIRS.1.to_owned())].into();
            assert_eq!(theirs, Some(untouched), "what is theirs was touched: {text}");
            assert!(code == Some(0) || text.contains(&address), "it is not named: {text}");
            return;
        }
        if kind == Kind::Function && deed == Deed::Change && run == Run::Update {
            let theirs = theirs.unwrap();
            assert!(!theirs.contains_key("PROXY_KEYS"), "a revoked key is back: {text}");
        }
        assert!(code == Some(0) || text.contains(&address), "it is not named: {text}");
        // Run again, all is well.
        if run == Run::Down {
            world.run(&["down", "--yes"]).expect(0);
            assert!(world.is_gone(), "{text}\n{:?}", world.states());
        } else {
            self.run.at_once(world).expect(0);
            world.proxy.take_journal();
            self.run.at_once(world).expect(0);
            assert_eq!(world.proxy.take_journal(), [""; 0], "{text}");
        }
    }
}
