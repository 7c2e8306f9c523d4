//! What stands in the documents once they are filled in?

use provisioner::stack::names::Names;
use provisioner::stack::policies::{self, ExecutionPolicy, PolicyError};
use serde_json::{Value, json};

use super::{names, rendered, stack, stacks};

/// Only these take no resource: the account as a whole is asked.
const OF_THE_ACCOUNT: [&str; 8] = [
    "bedrock:GetFoundationModelAvailability",
    "bedrock:GetUseCaseForModelAccess",
    "bedrock:ListFoundationModelAgreementOffers",
    "bedrock:ListInferenceProfiles",
    "ecr:GetAuthorizationToken",
    "lambda:GetAccountSettings",
    "logs:DescribeLogGroups",
    "sts:GetCallerIdentity",
];

#[test]
fn the_documents_are_those_on_record() {
    for stack in stacks() {
        for (name, document) in rendered(&stack) {
            let snapshot = format!("{}-{name}", stack.account.partition);
            let text = serde_json::to_string_pretty(&document).unwrap();
            insta::with_settings!({ snapshot_path => "../../golden/policies", prepend_module_to_snapshot => false, omit_expression => true }, {
                insta::assert_snapshot!(snapshot, text);
            });
        }
    }
}

#[test]
fn every_action_is_named_in_full() {
    for (name, document) in stacks().iter().flat_map(rendered) {
        for statement in statements(&document) {
            assert_eq!(statement["Effect"], "Allow");
            for forbidden in ["NotAction", "NotResource", "NotPrincipal"] {
                assert!(statement.get(forbidden).is_none(), "{name}: {statement}");
            }
            for action in texts(&statement["Action"]) {
                let (service, operation) = action.split_once(':').unwrap();
                let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
                assert!(plain(service) && plain(operation), "{name}: {action}");
                let everywhere = texts(&statement["Resource"]) == ["*"];
                assert_eq!(everywhere, OF_THE_ACCOUNT.contains(&action), "{name}: {action}");
            }
        }
    }
}

#[test]
fn no_name_is_left_to_fill_in() {
    for (name, document) in stacks().iter().flat_map(rendered) {
        let held = strings(&document);
        assert!(held.iter().all(|text| !text.contains(['{', '}', '$'])), "{name}: {held:?}");
    }
}

#[test]
fn no_document_names_another_partition() {
    for stack in stacks() {
        for (name, document) in rendered(&stack) {
            for text in strings(&document).iter().filter(|text| text.starts_with("arn:")) {
                let named = text.split(':').nth(1);
                assert_eq!(named, Some(stack.account.partition.as_str()), "{name}: {text}");
            }
        }
    }
}

#[test]
fn models_of_other_regions_are_reached_only_through_a_profile() {
    let document = policies::execution(&stacks()[0]).unwrap();
    let foundation = |text: &&str| text.contains(":foundation-model/");
    for statement in statements(&document) {
        let invokes = texts(&statement["Action"]).contains(&"bedrock:InvokeModel");
        if invokes && texts(&statement["Resource"]).iter().any(foundation) {
            let through = texts(&statement["Condition"]["ArnLike"]["bedrock:InferenceProfileArn"]);
            assert!(!through.is_empty(), "{statement}");
            assert!(
                through.iter().all(|arn| arn.contains(":123456789012:inference-profile/")),
                "{statement}"
            );
        }
    }
}

#[test]
fn without_profiles_only_the_own_regions_models_are_reached() {
    let document = policies::execution(&stacks()[2]).unwrap();
    let sids = statements(&document).into_iter().map(|statement| statement["Sid"].clone());
    assert_eq!(
        sids.collect::<Vec<_>>(),
        ["InvokeModelsDirectly", "CountTokens", "RememberLimits"].map(Value::from)
    );
}

#[test]
fn mapped_models_are_granted_one_by_one() {
    let application = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/a1b2c3";
    let provisioned = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/d4e5f6";
    let (profile, model) = ("eu.anthropic.claude-opus-5", "anthropic.claude-sonnet-4-6");
    let models = &[application, provisioned, profile, model][..];
    let policy = ExecutionPolicy { models, ..stack("aws", "us-east-1", &["us-east-1"], &["us"]) };
    let document = policies::execution(&policy).unwrap();
    let resources = |sid: &str| {
        let all = statements(&document);
        let found = all.iter().find(|statement| statement["Sid"] == sid).unwrap();
        json!({ "Resource": found["Resource"], "Condition": found["Condition"] })
    };
    let scope = "arn:aws:bedrock:us-east-1:123456789012";
    let profiles = [
        application.to_owned(),
        format!("{scope}:inference-profile/eu.anthropic.claude-opus-5"),
        format!("{scope}:inference-profile/us.anthropic.claude-*"),
    ];
    assert_eq!(resources("InvokeProfiles"), json!({ "Resource": profiles, "Condition": null }));
    let condition = json!({ "ArnLike": { "bedrock:InferenceProfileArn": profiles } });
    assert_eq!(resources("InvokeModelsThroughProfiles")["Condition"], condition);
    let direct =
        ["arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-6", provisioned];
    let mut direct = direct.to_vec();
    direct.sort_unstable();
    assert_eq!(resources("InvokeModelsDirectly")["Resource"], json!(direct));
}

#[test]
fn no_value_can_widen_a_policy() {
    for value in ["", "*", "a*", "a?", "${aws:username}", "a\"", "a,b", "a b", "{table}", "ä"] {
        let refused = |error: PolicyError| matches!(error, PolicyError::Unusable { .. });
        let good = stacks()[0];
        let policies = [
            ExecutionPolicy { table: value, ..good },
            ExecutionPolicy { bedrock_regions: &[value], ..good },
            ExecutionPolicy { prefixes: &[value], ..good },
            ExecutionPolicy { models: &[value], ..good },
        ];
        for policy in policies {
            assert!(policies::execution(&policy).is_err_and(refused), "{value:?}: {policy:?}");
        }
        let names = Names { log_group: value.to_owned(), ..names() };
        assert!(policies::operator(good.account, &names).is_err_and(refused), "{value:?}");
        assert!(policies::reader(good.account, &names).is_err_and(refused), "{value:?}");
        assert!(policies::repository(good.account, value).is_err_and(refused), "{value:?}");
    }
}

#[test]
fn what_is_no_model_of_bedrock_is_refused() {
    for value in [
        "claude-opus-5",
        "meta.llama4",
        "arn:aws-cn:bedrock:us-east-1::foundation-model/anthropic.claude-opus-5",
        "arn:aws:s3:us-east-1:123456789012:foundation-model/x",
        "arn:aws:bedrock:us-east-1:123456789012:guardrail/x",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/",
        "arn:aws:bedrock",
    ] {
        let policy = ExecutionPolicy { models: &[value], ..stacks()[0] };
        let error = policies::execution(&policy).unwrap_err();
        assert_eq!(error, PolicyError::Model { value: value.to_owned() });
    }
}

/// The role's inline policies together may have 10,240 characters (IAM and STS quotas).
#[test]
fn the_largest_execution_policy_fits_into_a_role() {
    let regions = ["us-east-1", "us-east-2", "us-west-2", "ap-southeast-2", "ca-central-1"];
    let policy = stack("aws", "us-east-1", &regions, &["us", "apac", "au", "global"]);
    let size = policies::execution(&policy).unwrap().to_string().len();
    assert!(size < 10_240, "{size}");
}

#[test]
fn the_reader_may_do_nothing_that_the_operator_may_not() {
    let [.., (_, operator), (_, reader)] = rendered(&stacks()[0]);
    let may = |document: &Value| {
        let grants = |statement: &Value| {
            texts(&statement["Action"]).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        statements(document).iter().flat_map(grants).collect::<Vec<_>>()
    };
    let operator = may(&operator);
    for action in may(&reader) {
        assert!(operator.contains(&action), "{action}");
        let reads = ["BatchGet", "Describe", "Filter", "Get", "List", "Scan"];
        let operation = action.split_once(':').unwrap().1;
        assert!(reads.iter().any(|verb| operation.starts_with(verb)), "{action}");
    }
}

pub(super) fn statements(document: &Value) -> Vec<Value> {
    document["Statement"].as_array().unwrap().clone()
}

/// One text or a list of them.
pub(super) fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map_or_else(
        || value.as_str().into_iter().collect(),
        |values| values.iter().filter_map(Value::as_str).collect(),
    )
}

/// Every text anywhere in a document.
fn strings(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => vec![text.clone()],
        Value::Array(values) => values.iter().flat_map(strings).collect(),
        Value::Object(fields) => fields.values().flat_map(strings).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}
