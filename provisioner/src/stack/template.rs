//! The stack as a template of AWS CloudFormation, from the same declaration as `up` works from.
//!
//! It says the account and the region that it is for, since names and rights in it are theirs. What
//! could not be known before there is an image stands under a condition: without the parameter
//! everything else is made, so that the image has a place to be pushed to.

use serde_json::{Map, Value, json};

use super::Declaration;
use crate::aws::Account;
use crate::engine::plan::is_secret;
use crate::resources::template::{Entry, IMAGE, logical_name};

/// The condition that there is an image.
const HAS_IMAGE: &str = "HasImage";

/// Where one is looked up, outputs have the names of `up`'s.
const OUTPUTS: [(&str, &str, &str); 6] = [
    ("Url", "Url", "FunctionUrl"),
    ("Function", "Function", REF),
    ("Table", "Table", REF),
    ("Repository", "Repository", "RepositoryUri"),
    ("Role", "Role", REF),
    ("LogGroup", "LogGroup", REF),
];

/// The value of a resource, in place of one of its attributes.
const REF: &str = "";

/// What a template is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wanted {
    /// Everything stays when its CloudFormation stack goes: somebody else takes care of it then.
    pub retain: bool,
}

impl Declaration {
    /// The template, for this account.
    #[must_use]
    pub fn template(&self, account: &Account, wanted: Wanted) -> Value {
        let mut parameters = Map::new();
        parameters.insert(IMAGE.to_owned(), image());
        let mut resources = Map::new();
        for (name, mut entry) in self.stack.entries(&self.spec) {
            hide_secrets(&mut entry, &mut parameters);
            resources.insert(name, resource(entry, wanted));
        }
        let Account { id, region, partition } = account;
        let name = &self.stack.repository.name;
        json!({
            "AWSTemplateFormatVersion": "2010-09-09",
            "Description": format!("claude-proxy \"{name}\", for account {id} in {region}"),
            "Metadata": {"claude-proxy": {
                "version": crate::VERSION, "source": "provisioner template",
                "name": name, "account": id, "region": region, "partition": partition,
            }},
            "Parameters": parameters,
            "Conditions": {HAS_IMAGE: {"Fn::Not": [{"Fn::Equals": [{"Ref": IMAGE}, ""]}]}},
            "Resources": resources,
            "Outputs": outputs(),
        })
    }
}

fn image() -> Value {
    json!({
        "Type": "String", "Default": "",
        "Description": "The image that the function runs, by its digest, from a repository of this \
                        account and region. Without one everything else is made, the repository \
                        for the image among it.",
    })
}

fn resource(entry: Entry, wanted: Wanted) -> Value {
    let fate = if entry.stays || wanted.retain { "Retain" } else { "Delete" };
    let mut resource = json!({
        "Type": entry.kind, "Properties": entry.properties,
        "DeletionPolicy": fate, "UpdateReplacePolicy": fate,
    });
    if entry.needs_image {
        resource["Condition"] = HAS_IMAGE.into();
    }
    if !entry.after.is_empty() {
        resource["DependsOn"] = entry.after.into();
    }
    resource
}

/// A template is read by many: what a variable hides is asked of whoever deploys it.
fn hide_secrets(entry: &mut Entry, parameters: &mut Map<String, Value>) {
    let Some(variables) = entry.properties.pointer_mut("/Environment/Variables") else { return };
    for (key, value) in variables.as_object_mut().into_iter().flatten() {
        if is_secret(key, value.as_str().unwrap_or_default()) {
            let parameter = logical_name(&key.to_ascii_lowercase());
            let about = format!("The setting {key} of the function.");
            *value = json!({"Ref": parameter});
            let asked = json!({"Type": "String", "NoEcho": true, "Description": about});
            parameters.insert(parameter, asked);
        }
    }
}

fn outputs() -> Value {
    let output = |(name, of, attribute): (&str, &str, &str)| {
        let value = match attribute {
            REF => json!({"Ref": of}),
            attribute => json!({"Fn::GetAtt": [of, attribute]}),
        };
        let output = match of {
            "Url" | "Function" => json!({"Value": value, "Condition": HAS_IMAGE}),
            _ => json!({"Value": value}),
        };
        (name.to_owned(), output)
    };
    let image = json!({"Value": {"Ref": IMAGE}, "Condition": HAS_IMAGE});
    let all = OUTPUTS.map(output).into_iter().chain([("Image".to_owned(), image)]);
    Value::Object(all.collect())
}
