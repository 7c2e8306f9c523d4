//! How does each kind of resource stand in a template of AWS CloudFormation?
//!
//! It is the same declaration as `up` works from, in other words: a resource that says nothing here
//! does not compile. Source of types and properties: AWS, *CloudFormation resource type reference*.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::alarm::Alarm;
use super::dashboard::{Dashboard, DashboardSpec};
use super::function::{Function, FunctionSpec};
use super::image::{Image, ImageSpec};
use super::log_group::{LogGroup, LogGroupSpec};
use super::permission::Permission;
use super::policy::Grant;
use super::repository::{self, Repository, RepositorySpec};
use super::role::{Role, RoleSpec};
use super::surplus::{Surplus, SurplusSpec};
use super::table::{self, Table, TableSpec};
use super::url::{self, Url, UrlSpec};
use crate::aws::Clients;
use crate::aws::values::Concurrency;
use crate::engine::{Resource, Tags};

/// The parameter that names the image, by its digest: it is known when it has been pushed.
pub const IMAGE: &str = "ImageUri";

/// One resource of a template.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The type, such as `AWS::IAM::Role`.
    pub kind: &'static str,
    pub properties: Value,
    /// The logical names of what has to be there before it and is not referred to.
    pub after: Vec<&'static str>,
    /// Whether there can be none before there is an image.
    pub needs_image: bool,
    /// Whether it stays when its CloudFormation stack goes: nobody could make it again.
    pub stays: bool,
}

/// What stands in a template, under the name of its field in the list of all resources.
pub trait Templated: Resource<Clients> {
    /// The entry; `None` for what CloudFormation has no type for.
    fn entry(&self, spec: &Self::Spec) -> Option<Entry>;
}

impl Entry {
    const fn of(kind: &'static str, properties: Value) -> Self {
        Self { kind, properties, after: Vec::new(), needs_image: false, stays: false }
    }

    fn of_function(self) -> Self {
        Self { needs_image: true, ..self }
    }
}

/// The logical name of the field `field`: the same in capitals.
#[must_use]
pub fn logical_name(field: &str) -> String {
    let capital = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
    field.split('_').map(capital).collect()
}

fn arn_of(logical_name: &str) -> Value {
    json!({"Fn::GetAtt": [logical_name, "Arn"]})
}

fn list(tags: BTreeMap<String, String>) -> Value {
    tags.into_iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect()
}

fn plain(tags: &Tags) -> Value {
    list(tags.with(&BTreeMap::new()))
}

/// `properties` without those that are not given.
fn given(properties: Value) -> Value {
    let Value::Object(map) = properties else { return properties };
    map.into_iter().filter(|(_, value)| !value.is_null()).collect::<Map<_, _>>().into()
}

impl Templated for Role {
    fn entry(&self, spec: &RoleSpec) -> Option<Entry> {
        let policy =
            |document| json!({"PolicyName": spec.policy_name.as_str(), "PolicyDocument": document});
        let policies: Vec<_> = spec.policy.iter().map(policy).collect();
        let properties = json!({
            "RoleName": self.name,
            "AssumeRolePolicyDocument": spec.trust,
            "ManagedPolicyArns": [spec.managed],
            "Policies": policies,
            "PermissionsBoundary": spec.boundary.as_ref().map(|boundary| &boundary.0),
            "Tags": list(self.tags.with(&spec.marks)),
        });
        Some(Entry::of("AWS::IAM::Role", given(properties)))
    }
}

impl Templated for Repository {
    fn entry(&self, spec: &RepositorySpec) -> Option<Entry> {
        let properties = json!({
            "RepositoryName": self.name,
            "ImageScanningConfiguration": {"ScanOnPush": true},
            "ImageTagMutability": repository::IMMUTABLE,
            "LifecyclePolicy": {"LifecyclePolicyText": spec.lifecycle.to_string()},
            "RepositoryPolicyText": spec.policy,
            // Images can be pushed again; one that is left would hold the stack.
            "EmptyOnDelete": true,
            "Tags": plain(&self.tags),
        });
        Some(Entry::of("AWS::ECR::Repository", properties))
    }
}

impl Templated for Image {
    /// Somebody pushes it: [`IMAGE`].
    fn entry(&self, _spec: &ImageSpec) -> Option<Entry> {
        None
    }
}

impl Templated for Table {
    fn entry(&self, spec: &TableSpec) -> Option<Entry> {
        let attributes =
            table::KEYS.map(|(name, _)| json!({"AttributeName": name, "AttributeType": "S"}));
        let keys = table::KEYS.map(|(name, kind)| json!({"AttributeName": name, "KeyType": kind}));
        let properties = json!({
            "TableName": self.name,
            "AttributeDefinitions": attributes,
            "KeySchema": keys,
            "BillingMode": table::ON_DEMAND,
            "TimeToLiveSpecification": {"AttributeName": spec.expiry.as_str(), "Enabled": true},
            "Tags": plain(&self.tags),
        });
        // The keys of people are in it, and what they have spent.
        Some(Entry { stays: true, ..Entry::of("AWS::DynamoDB::Table", properties) })
    }
}

impl Templated for LogGroup {
    fn entry(&self, spec: &LogGroupSpec) -> Option<Entry> {
        let properties = json!({
            "LogGroupName": self.name,
            "RetentionInDays": spec.retention.get(),
            "Tags": list(self.tags.with(&spec.marks)),
        });
        Some(Entry::of("AWS::Logs::LogGroup", properties))
    }
}

impl Templated for Function {
    fn entry(&self, spec: &FunctionSpec) -> Option<Entry> {
        let properties = json!({
            "FunctionName": self.name,
            "PackageType": "Image",
            "Code": {"ImageUri": {"Ref": IMAGE}},
            "Role": arn_of("Role"),
            "Architectures": [spec.architecture.name()],
            "MemorySize": spec.memory.get(),
            "Timeout": spec.timeout.get(),
            "Environment": {"Variables": spec.environment},
            "ReservedConcurrentExecutions": spec.concurrency.map(Concurrency::get),
            // That which names the id of the role is written by whoever knows it: `up`.
            "Tags": list(self.tags.with(&spec.marks)),
        });
        let entry = Entry::of("AWS::Lambda::Function", given(properties)).of_function();
        Some(Entry { after: vec!["LogGroup", "Repository", "Table"], ..entry })
    }
}

impl Templated for Permission {
    fn entry(&self, (): &()) -> Option<Entry> {
        let function = json!({"Ref": "Function"});
        let properties = match self.grant {
            Grant::CallUrl => json!({
                "FunctionName": function, "Principal": "*", "Action": "lambda:InvokeFunctionUrl",
                "FunctionUrlAuthType": url::NO_AUTH,
            }),
            Grant::CallFunction => json!({
                "FunctionName": function, "Principal": "*", "Action": "lambda:InvokeFunction",
                "InvokedViaFunctionUrl": true,
            }),
        };
        Some(Entry::of("AWS::Lambda::Permission", properties).of_function())
    }
}

impl Templated for Url {
    fn entry(&self, _spec: &UrlSpec) -> Option<Entry> {
        let properties = json!({
            "TargetFunctionArn": arn_of("Function"),
            "AuthType": url::NO_AUTH,
            "InvokeMode": url::STREAM,
        });
        let entry = Entry::of("AWS::Lambda::Url", properties).of_function();
        Some(Entry { after: vec!["CallUrl", "CallLambda"], ..entry })
    }
}

impl Templated for Dashboard {
    fn entry(&self, spec: &DashboardSpec) -> Option<Entry> {
        let body = self.body(spec).to_string();
        let properties = json!({"DashboardName": self.name, "DashboardBody": body});
        Some(Entry::of("AWS::CloudWatch::Dashboard", properties))
    }
}

impl Templated for Alarm {
    fn entry(&self, (): &()) -> Option<Entry> {
        let mut properties = self.fields();
        properties.insert("Tags".to_owned(), plain(&self.tags));
        Some(Entry::of("AWS::CloudWatch::Alarm", properties.into()))
    }
}

impl Templated for Surplus {
    /// Images that nobody needs any more are none of a template's.
    fn entry(&self, _spec: &SurplusSpec) -> Option<Entry> {
        None
    }
}
