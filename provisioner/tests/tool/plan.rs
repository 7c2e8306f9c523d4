//! Two worlds, nothing there and all there, and what a plan says when one thing differs.

#![expect(clippy::unwrap_used, reason = "helpers fail where a world is not as they made it")]

use std::collections::BTreeMap;

use provisioner::aws::Account;
use provisioner::aws::values::{Concurrency, Memory, Retention};
use provisioner::engine::Marks;
use provisioner::engine::plan::{self, Plan, Style};
use provisioner::image::Digest;
use provisioner::resources::function::FunctionLive;
use provisioner::resources::image::{ImageLive, ImageSpec, Stored};
use provisioner::resources::log_group::LogGroupLive;
use provisioner::resources::permission::PermissionLive;
use provisioner::resources::policy::Grant;
use provisioner::resources::repository::RepositoryLive;
use provisioner::resources::role::RoleLive;
use provisioner::resources::table::TableLive;
use provisioner::resources::url::UrlLive;
use provisioner::stack::names::Name;
use provisioner::stack::options::Choice;
use provisioner::stack::settings::{Environment, Settings};
use provisioner::stack::{Declaration, Observed, declare};
use serde_json::json;

#[test]
fn nothing_there_means_that_all_is_created_in_order() {
    let plan = declared(&settings()).plan(&Observed::default());
    let changes: Vec<_> =
        plan.changes.iter().map(|c| format!("{} {}", c.action.as_str(), c.address)).collect();
    insta::assert_snapshot!(changes.join("\n"), @r#"
    create iam-role/claude-proxy-api-role
    create ecr/claude-proxy
    keep image/claude-proxy
    create dynamodb/claude-proxy-rate-limits
    create log-group//aws/lambda/claude-proxy-api
    create lambda/claude-proxy-api
    create permission/FunctionURLAllowPublicAccess
    create permission/FunctionURLInvokeAllowPublicAccess
    create function-url/claude-proxy-api
    "#);
}

#[test]
fn all_there_means_no_changes() {
    assert_eq!(said(|_| ()), "No changes.\n");
}

#[test]
fn a_setting_that_somebody_set_stays() {
    let set = |there: &mut Observed| {
        function(there).environment.insert("LOG_LEVEL".into(), "debug".into());
    };
    assert_eq!(said(set), "No changes.\n");
}

#[test]
fn what_the_stack_decides_is_enforced() {
    let said = said(|there| {
        function(there).environment.insert("RATE_LIMIT_STORE".into(), "memory".into());
    });
    insta::assert_snapshot!(said, @r#"
    Update
      ~ lambda/claude-proxy-api
          Environment.RATE_LIMIT_STORE  memory → dynamodb

    Plan: 1 to update, 8 unchanged.
    "#);
}

#[test]
fn a_stranger_s_policy_is_shown_and_taken_off() {
    let said = said(|there| {
        let all = json!({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}});
        there.role.as_mut().unwrap().policies.insert("Stranger".into(), all);
    });
    insta::assert_snapshot!(said, @r#"
    Update
      ~ iam-role/claude-proxy-api-role
          Policies.Stranger
            - allow *
            -   on *

    Plan: 1 to update, 8 unchanged.
    "#);
}

#[test]
fn a_setting_that_touches_rights_changes_the_role_and_says_so() {
    let mut settings = settings();
    settings.environment = Environment::parse(["BEDROCK_REGIONS=us-east-1,us-west-2"]).unwrap();
    let plan = declared_over(&settings, &deployed()).plan(&deployed());
    insta::assert_snapshot!(plan::text(&plan, Style::Plain), @r#"
    Update
      ~ iam-role/claude-proxy-api-role  ! widens rights
          Policies.BedrockAndDynamoDB
            ~ CountTokens: allow
            +   on arn:aws:bedrock:us-west-2::foundation-model/anthropic.claude-*
            ~ InvokeModelsThroughProfiles: allow
            +   if bedrock:InferenceProfileArn is like arn:aws:bedrock:us-west-2:123456789012:inference-profile/global.anthropic.claude-*
            +   if bedrock:InferenceProfileArn is like arn:aws:bedrock:us-west-2:123456789012:inference-profile/us.anthropic.claude-*
            ~ InvokeModelsThroughGlobalProfiles: allow
            +   if bedrock:InferenceProfileArn is like arn:aws:bedrock:us-west-2:123456789012:inference-profile/global.anthropic.claude-*
            ~ InvokeProfiles: allow
            +   on arn:aws:bedrock:us-west-2:123456789012:inference-profile/global.anthropic.claude-*
            +   on arn:aws:bedrock:us-west-2:123456789012:inference-profile/us.anthropic.claude-*
              (1 statement as before)
      ~ lambda/claude-proxy-api
          Environment.BEDROCK_REGIONS  (none) → us-east-1,us-west-2

    ! widens what the function may do in this account:
        iam-role/claude-proxy-api-role

    Plan: 2 to update, 7 unchanged.
    "#);
}

#[test]
fn a_role_that_was_made_anew_concerns_the_function() {
    insta::assert_snapshot!(said(|there| function(there).role_id = Some("AROANEW".into())), @r#"
    Update
      ~ lambda/claude-proxy-api
          its role is another one of the same name, which cannot decrypt its variables yet
          Tags.claude-proxy:role-id  AROAROLE → AROANEW

    Plan: 1 to update, 8 unchanged.
    "#);
}

#[test]
fn a_function_that_runs_under_no_role_gets_the_new_one() {
    let mut there = Observed { role: None, ..deployed() };
    function(&mut there).role_id = None;
    let plan = declared_over(&settings(), &there).plan(&there);
    let changes = plan.pending().map(|c| format!("{} {}", c.action.as_str(), c.address));
    insta::assert_snapshot!(changes.collect::<Vec<_>>().join("\n"), @r#"
    create iam-role/claude-proxy-api-role
    update lambda/claude-proxy-api
    "#);
}

#[test]
fn a_policy_in_other_words_is_the_same_policy() {
    let said = said(|there| {
        let policies = &mut there.role.as_mut().unwrap().policies;
        let policy = policies.get("BedrockAndDynamoDB").unwrap().to_string();
        let encoded = policy.replace('{', "%7B").replace('"', "%22").replace(':', "%3a");
        let read = provisioner::engine::document::parse_encoded(&encoded);
        policies.insert("BedrockAndDynamoDB".into(), read);
    });
    assert_eq!(said, "No changes.\n");
}

#[test]
fn a_statement_of_lambda_s_own_in_the_repository_is_no_drift() {
    let said = said(|there| {
        let policy = &mut there.repository.as_mut().unwrap().policy;
        let ours = policy["Statement"].clone();
        policy["Statement"] = json!([ours, {"Sid": "LambdaECRImageRetrievalPolicy"}]);
    });
    assert_eq!(said, "No changes.\n");
}

#[test]
fn a_new_url_for_a_function_that_had_one_is_flagged() {
    insta::assert_snapshot!(said(|there| there.url = None), @r#"
    Create
      + function-url/claude-proxy-api  ! public  ! new URL

    ! opens the function to the internet; its own access check decides:
        function-url/claude-proxy-api: the address for clients
    ! changes the URL that clients are configured with:
        function-url/claude-proxy-api: the address for clients

    Plan: 1 to create, 8 unchanged.
    "#);
}

#[test]
fn what_a_stranger_wrote_into_the_function_s_policy_is_shown_and_taken_off() {
    let open = |there: &mut Observed| {
        let wide = json!({"Effect": "Allow", "Principal": "*", "Action": "lambda:InvokeFunction"});
        function(there).strangers.insert("Theirs".into(), wide);
    };
    insta::assert_snapshot!(said(open), @r#"
    Update
      ~ lambda/claude-proxy-api  ! public
          Policy.Theirs
            - allow lambda:InvokeFunction
            -   by everyone

    ! opens the function to the internet; its own access check decides:
        lambda/claude-proxy-api

    Plan: 1 to update, 8 unchanged.
    "#);
}

/// What carries no tag expires, and would take the function with it.
#[test]
fn an_image_that_is_deployed_without_our_tag_gets_it() {
    let said = said(|there| there.image.as_mut().unwrap().images[0].tags.clear());
    assert!(said.contains(&format!("imageTag  (none) → {}", digest().tag())), "{said}");
}

#[test]
fn a_statement_that_is_wider_is_replaced() {
    let wide = |there: &mut Observed| {
        there.call_lambda.as_mut().unwrap().statement["Condition"] = json!(null);
    };
    insta::assert_snapshot!(said(wide), @r#"
    Replace
      ± permission/FunctionURLInvokeAllowPublicAccess  ! public
          Statement
            - allow lambda:InvokeFunction
            -   by everyone
            + allow lambda:InvokeFunction
            +   by everyone
            +   if lambda:InvokedViaFunctionUrl is true

    ! opens the function to the internet; its own access check decides:
        permission/FunctionURLInvokeAllowPublicAccess

    Plan: 1 to replace, 8 unchanged.
    "#);
}

#[test]
fn three_images_before_the_deployed_one_are_kept() {
    let said = said(|there| {
        let images = &mut there.image.as_mut().unwrap().images;
        images.extend((1..=5).map(|age| stored(&format!("older {age}"), -age)));
        // Somebody else's: without our tag.
        images[5].tags = vec!["latest".into()];
    });
    insta::assert_snapshot!(said, @r#"
    Delete
      - surplus/claude-proxy
          imageDigest  sha256:405a3611a0d2 → (none)

    Plan: 1 to delete, 9 unchanged.
    "#);
}

/// It is no longer deployed when it goes: the function runs the wanted one by then.
#[test]
fn an_old_image_that_is_still_deployed_goes_after_the_function_has_another() {
    let said = said(|there| {
        let images = &mut there.image.as_mut().unwrap().images;
        images.extend((1..=4).map(|age| stored(&format!("older {age}"), -age)));
        let oldest = images[4].digest.clone();
        let image = &mut function(there).image;
        *image = format!("{}@{oldest}", image.split('@').next().unwrap());
    });
    let deleted: Vec<&str> = said.lines().filter(|line| line.ends_with("→ (none)")).collect();
    let digest = Digest::of(b"older 4");
    assert_eq!(deleted, [format!("      imageDigest  sha256:{} → (none)", digest.tag())], "{said}");
}

#[test]
fn strangers_may_knock_so_organization_mode_reserves_concurrency() {
    let mut settings = settings();
    settings.environment = Environment::parse(["ACCESS_MODE=organization"]).unwrap();
    let function = declared(&settings).spec.function.unwrap();
    assert_eq!(function.concurrency, Some(Concurrency::new(50)));
}

#[test]
fn an_option_that_is_not_given_stays_as_it_was_asked() {
    let mut asked = settings();
    asked.memory = Some(Choice::Given(Memory::new(512)));
    asked.retention = Some(Choice::Given(Retention::days(7)));
    asked.boundary = Some(Choice::Given("arn:aws:iam::123456789012:policy/b".parse().unwrap()));
    asked.concurrency = Some(Choice::Given(Concurrency::new(5)));
    let there = live(&declared(&asked));
    let plain = declared_over(&settings(), &there);
    assert_eq!(text(&plain.plan(&there)), "No changes.\n");
    let mut back = settings();
    back.memory = Some(Choice::Default);
    insta::assert_snapshot!(text(&declared_over(&back, &there).plan(&there)), @r#"
    Update
      ~ lambda/claude-proxy-api
          MemorySize  512 → 256

    Plan: 1 to update, 8 unchanged.
    "#);
}

#[test]
fn what_was_changed_behind_an_option_is_drift() {
    insta::assert_snapshot!(said(|there| function(there).memory = 1024), @r#"
    Update
      ~ lambda/claude-proxy-api
          MemorySize  1024 → 256

    Plan: 1 to update, 8 unchanged.
    "#);
}

#[test]
fn what_a_stack_without_such_tags_runs_with_counts_as_asked() {
    let mut there = deployed();
    let options = ["memory", "timeout", "reserved-concurrency"];
    let live = function(&mut there);
    (live.memory, live.timeout, live.concurrency) = (1024, 60, Some(7));
    live.tags.retain(|key, _| options.iter().all(|name| !key.ends_with(name)));
    let spec = declared_over(&settings(), &there).spec.function.unwrap();
    assert_eq!((spec.memory.get(), spec.timeout.get()), (1024, 60));
    assert_eq!(spec.concurrency, Some(Concurrency::new(7)));
    let plan = declared_over(&settings(), &there).plan(&there);
    let fields: Vec<_> = plan.pending().flat_map(|change| change.fields.clone()).collect();
    assert!(fields.len() == 3 && fields.iter().all(|field| field.path.starts_with("Tags.")));
}

/// Whatever the tags say, also half-way through taking it off.
#[test]
fn a_plain_up_never_takes_a_boundary_off() {
    for tag in [None, Some("default"), Some("arn:aws:iam::123456789012:policy/other"), Some("?")] {
        let mut there = deployed();
        let role = there.role.as_mut().unwrap();
        role.boundary = Some("arn:aws:iam::123456789012:policy/b".into());
        let key = "claude-proxy:permissions-boundary".to_owned();
        match tag {
            Some(tag) => role.tags.insert(key, tag.to_owned()),
            None => role.tags.remove(&key),
        };
        let spec = declared_over(&settings(), &there).spec.role.unwrap();
        assert!(spec.boundary.is_some(), "{tag:?}");
    }
}

#[test]
fn nothing_is_insisted_on_that_was_merely_seen() {
    let mut there = deployed();
    function(&mut there).environment.insert("PROXY_KEYS".into(), "alice:00".into());
    let declared = declared_over(&settings(), &there);
    assert!(declared.environment.contains_key("PROXY_KEYS"));
    assert!(!declared.spec.function.unwrap().environment.contains_key("PROXY_KEYS"));
}

#[test]
fn a_table_with_other_keys_is_never_ours() {
    let mut there = deployed();
    there.table.as_mut().unwrap().keys.pop();
    let survey = declared_over(&settings(), &there).survey(&there);
    let foreign: Vec<_> =
        survey.into_iter().filter_map(|found| Some((found.address, found.foreign?))).collect();
    assert_eq!(foreign.len(), 1);
    assert!(!foreign[0].1.adoptable());
}

#[test]
fn what_belongs_to_a_foreign_function_is_foreign_too() {
    let mut there = deployed();
    function(&mut there).tags.clear();
    there.log_group.as_mut().unwrap().tags.clear();
    let survey = declared_over(&settings(), &there).survey(&there);
    let foreign = survey.iter().filter(|found| found.foreign.is_some());
    let foreign: Vec<_> = foreign.map(|found| found.address.to_string()).collect();
    insta::assert_snapshot!(foreign.join("\n"), @r#"
    log-group//aws/lambda/claude-proxy-api
    lambda/claude-proxy-api
    permission/FunctionURLAllowPublicAccess
    permission/FunctionURLInvokeAllowPublicAccess
    function-url/claude-proxy-api
    "#);
}

#[test]
fn the_account_s_other_stacks_are_told_apart() {
    let mut there = deployed();
    let tags = &mut there.role.as_mut().unwrap().tags;
    tags.insert("claude-proxy:stack-id".into(), "0123456789ab".into());
    let survey = declared_over(&settings(), &there).survey(&there);
    let why = survey[0].foreign.clone().unwrap();
    assert!(!why.adoptable());
    insta::assert_snapshot!(why, @r#"it belongs to the stack of this name in another region or account"#);
}

#[test]
fn wrong_settings_are_told_all_at_once_and_never_repeat_a_value() {
    let words = [
        "LOG_LEVL=secret",
        "RATE_LIMIT_STORE=secret",
        "LISTEN_ADDRESS=x",
        "LISTEN_METRICS=x",
        "WHAT=secret",
    ];
    let problems = Environment::parse(words).unwrap_err().join("\n");
    assert!(!problems.contains("secret"), "{problems}");
    insta::assert_snapshot!(problems, @r#"
    LOG_LEVL is not a setting: did you mean LOG_LEVEL? (rename it, or unset it if it is not meant for claude-proxy)
    LISTEN_ADDRESS means nothing on AWS Lambda
    LISTEN_METRICS means nothing on AWS Lambda
    RATE_LIMIT_STORE belongs to the stack: it cannot be set
    WHAT is not a setting of the function
    "#);
}

#[test]
fn whatever_has_to_be_there_first_stands_earlier_in_the_list() {
    let mut settings = settings();
    settings.dashboard = Some(true);
    let (declared, nothing) = (declared(&settings), Observed::default());
    let mut earlier = Vec::new();
    for part in declared.parts(&nothing) {
        let first = part.after().iter().all(|first| earlier.contains(first));
        assert!(first, "{} waits for what comes later", part.address());
        earlier.push(part.address());
    }
}

fn settings() -> Settings {
    Settings::defaults("claude-proxy".parse::<Name>().unwrap())
}

fn account() -> Account {
    let text = |text: &str| text.to_owned();
    Account { id: text("123456789012"), region: text("us-east-1"), partition: text("aws") }
}

fn digest() -> Digest {
    Digest::of(b"the image")
}

fn declared(settings: &Settings) -> Declaration {
    declared_over(settings, &Observed::default())
}

/// A stranger's function says nothing of how ours is to be.
#[test]
fn only_our_own_function_s_processors_are_remembered() {
    let mut there = deployed();
    let function = there.function.as_mut().unwrap();
    function.architecture = "x86_64".to_owned();
    let intel = |there: &Observed| {
        declared_over(&settings(), there).spec.function.unwrap().architecture.name() == "x86_64"
    };
    assert!(intel(&there));
    there.function.as_mut().unwrap().tags.clear();
    assert!(!intel(&there));
}

fn declared_over(settings: &Settings, there: &Observed) -> Declaration {
    declare(settings, &account(), there, ImageSpec::Kept(digest()))
}

/// What a plan says of the default stack, all of it there, once `drift` has changed something.
fn said(drift: impl FnOnce(&mut Observed)) -> String {
    let mut there = deployed();
    drift(&mut there);
    text(&declared_over(&settings(), &there).plan(&there))
}

fn text(plan: &Plan) -> String {
    plan::text(plan, Style::Plain)
}

fn function(there: &mut Observed) -> &mut FunctionLive {
    there.function.as_mut().unwrap()
}

fn deployed() -> Observed {
    live(&declared(&settings()))
}

fn stored(name: &str, pushed: i64) -> Stored {
    let digest = Digest::of(name.as_bytes());
    Stored { tags: vec![digest.tag().to_owned()], digest, pushed }
}

/// An account in which all that is declared is there.
fn live(declared: &Declaration) -> Observed {
    let function = live_function(declared);
    let (stack, spec) = (&declared.stack, declared.spec.clone());
    let (role, logs) = (spec.role.unwrap(), spec.log_group.unwrap());
    let repository = spec.repository.unwrap();
    let tags = stack.role.tags.with(&Marks::new());
    Observed {
        role: Some(RoleLive {
            trust: role.trust,
            policies: [("BedrockAndDynamoDB".to_owned(), role.policy.unwrap())].into(),
            attached: [role.managed].into(),
            boundary: role.boundary.map(|boundary| boundary.0),
            tags: stack.role.tags.with(&role.marks),
        }),
        repository: Some(RepositoryLive {
            arn: "arn".to_owned(),
            uri: URI.to_owned(),
            scan: true,
            mutability: "IMMUTABLE".to_owned(),
            policy: repository.policy,
            lifecycle: repository.lifecycle,
            tags: tags.clone(),
        }),
        image: Some(ImageLive { images: vec![stored("the image", 0)] }),
        table: Some(table(tags)),
        log_group: Some(LogGroupLive {
            arn: "arn".to_owned(),
            retention: Some(logs.retention.get()),
            stored: None,
            protected: false,
            tags: stack.log_group.tags.with(&logs.marks),
        }),
        function: Some(function),
        call_url: Some(permission(Grant::CallUrl)),
        call_lambda: Some(permission(Grant::CallFunction)),
        url: Some(UrlLive {
            url: "https://x.lambda-url.us-east-1.on.aws/".to_owned(),
            auth_type: "NONE".to_owned(),
            invoke_mode: "RESPONSE_STREAM".to_owned(),
            cors: false,
        }),
        dashboard: None,
        fallback_alarm: None,
        error_alarm: None,
        near_cap_alarm: None,
        used_up_alarm: None,
        surplus: None,
        unknown: None,
    }
}

const URI: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com/claude-proxy";

fn live_function(declared: &Declaration) -> FunctionLive {
    let function = declared.spec.function.clone().unwrap();
    FunctionLive {
        arn: "arn".to_owned(),
        image: format!("{URI}@{}", digest()),
        is_image: true,
        architecture: "arm64".to_owned(),
        memory: function.memory.get(),
        timeout: function.timeout.get(),
        concurrency: function.concurrency.map(Concurrency::get),
        role: function.role,
        role_id: Some("AROAROLE".to_owned()),
        environment: function.environment,
        tags: with_role_id(declared.stack.function.tags.with(&function.marks)),
        strangers: BTreeMap::new(),
        state: "Active".to_owned(),
        state_reason: String::new(),
        last_update: "Successful".to_owned(),
        revision: None,
    }
}

/// The tags of a function that knows its role.
fn with_role_id(tags: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let role = ("claude-proxy:role-id".to_owned(), "AROAROLE".to_owned());
    tags.into_iter().chain([role]).collect()
}

fn table(tags: BTreeMap<String, String>) -> TableLive {
    let key = |name: &str, kind: &str| (name.to_owned(), kind.to_owned(), "S".to_owned());
    TableLive {
        arn: "arn".to_owned(),
        keys: vec![key("pk", "HASH"), key("sk", "RANGE")],
        billing: "PAY_PER_REQUEST".to_owned(),
        expiry: Some("expires_at".to_owned()),
        protected: false,
        items: None,
        status: "ACTIVE".to_owned(),
        tags,
    }
}

fn permission(grant: Grant) -> PermissionLive {
    PermissionLive { id: grant.id().as_str().to_owned(), statement: grant.statement() }
}
