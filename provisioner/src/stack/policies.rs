//! Who may do what? The documents of `policies/`, filled in for one account.
//!
//! The documents are data: a text `{name}` in them stands for a value, and a statement whose list
//! turns out empty is left out. Values are put in after the document is parsed and may hold no
//! character that means something in a policy, so none can widen a right. Must do no I/O.

use std::collections::BTreeMap;

use serde_json::Value;

use super::names::Names;
use crate::aws::Account;

const TRUST: &str = include_str!("../../../policies/trust.json");
const EXECUTION: &str = include_str!("../../../policies/execution.json");
const REPOSITORY: &str = include_str!("../../../policies/repository.json");
const OPERATOR: &str = include_str!("../../../policies/operator.json");
const READER: &str = include_str!("../../../policies/reader.json");

/// All of Anthropic's models on Bedrock, wherever an ARN ends in a model.
const CLAUDE: &str = "anthropic.claude-*";

/// A value that cannot stand in a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("{value:?} cannot be the {what} in a policy")]
    Unusable { what: &'static str, value: String },
    #[error(
        "the model {value:?} is neither an ARN of Bedrock in this partition nor the id of an \
         Anthropic model or profile"
    )]
    Model { value: String },
    #[error(
        "the role's policy would have {size} characters, and IAM takes {POLICY_QUOTA}: \
         BEDROCK_REGIONS or BEDROCK_MODEL_MAP name too much"
    )]
    TooLong { size: usize },
}

/// All inline policies of a role together, in characters without white space (AWS, *IAM and STS
/// quotas*).
pub const POLICY_QUOTA: usize = 10_240;

/// What the function may use while it runs.
#[derive(Debug, Clone, Copy)]
pub struct ExecutionPolicy<'a> {
    pub account: &'a Account,
    pub table: &'a str,
    /// The regions in which Bedrock is asked (`BEDROCK_REGIONS`).
    pub bedrock_regions: &'a [&'a str],
    /// Every profile prefix that may be chosen in these regions (`BEDROCK_PROFILE_PREFIX`, or what
    /// stands in for it); `none` means the models themselves.
    pub prefixes: &'a [&'a str],
    /// The targets of `BEDROCK_MODEL_MAP`: ARNs, profile ids and model ids.
    pub models: &'a [&'a str],
}

/// Who may become the function's role: Lambda.
pub fn trust() -> Value {
    fill(TRUST, &Placeholders::default())
}

/// What the function's role may do: the inline policy `BedrockAndDynamoDB`.
///
/// # Errors
///
/// Where a value would not be what it seems in a policy, or a model cannot be placed.
pub fn execution(policy: &ExecutionPolicy<'_>) -> Result<Value, PolicyError> {
    let mut variables = Placeholders::of(policy.account)?;
    variables.name("table", policy.table)?;
    for region in policy.bedrock_regions {
        plain("region", region)?;
    }
    let arns = Arns::of(policy)?;
    variables.list("profiles", arns.profiles);
    variables.list("global_profiles", arns.global_profiles);
    variables.list("models", arns.models);
    variables.list("counted_models", arns.counted_models);
    Ok(fill(EXECUTION, &variables))
}

/// Who may pull the image: Lambda, for this function.
///
/// # Errors
///
/// Where a value would not be what it seems in a policy.
pub fn repository(account: &Account, function: &str) -> Result<Value, PolicyError> {
    let mut variables = Placeholders::of(account)?;
    variables.name("function", function)?;
    Ok(fill(REPOSITORY, &variables))
}

/// What somebody needs who runs `up` and `down`, and every other command.
///
/// # Errors
///
/// Where a value would not be what it seems in a policy.
pub fn operator(account: &Account, names: &Names) -> Result<Value, PolicyError> {
    Ok(fill(OPERATOR, &Placeholders::of_names(account, names)?))
}

/// What somebody needs who runs `plan` and `status`. It changes nothing.
///
/// # Errors
///
/// Where a value would not be what it seems in a policy.
pub fn reader(account: &Account, names: &Names) -> Result<Value, PolicyError> {
    Ok(fill(READER, &Placeholders::of_names(account, names)?))
}

/// What Bedrock is asked for, as the ARNs of a policy.
#[derive(Default)]
struct Arns {
    profiles: Vec<String>,
    global_profiles: Vec<String>,
    /// What is invoked without a profile.
    models: Vec<String>,
    counted_models: Vec<String>,
}

impl Arns {
    fn of(policy: &ExecutionPolicy<'_>) -> Result<Self, PolicyError> {
        let Account { id: account, partition, region: _ } = policy.account;
        let mut arns = Self::default();
        for region in policy.bedrock_regions {
            let profile = |id: &str| {
                format!("arn:{partition}:bedrock:{region}:{account}:inference-profile/{id}")
            };
            let model =
                |id: &str| format!("arn:{partition}:bedrock:{region}::foundation-model/{id}");
            for prefix in policy.prefixes {
                plain("profile prefix", prefix)?;
                match *prefix {
                    "none" => arns.models.push(model(CLAUDE)),
                    prefix => arns.add_profile(profile(&format!("{prefix}.{CLAUDE}"))),
                }
            }
            for id in policy.models.iter().filter(|id| !id.starts_with("arn:")) {
                plain("model", id)?;
                if id.starts_with("anthropic.") {
                    arns.models.push(model(id));
                } else if id.contains(".anthropic.") {
                    arns.add_profile(profile(id));
                } else {
                    return Err(PolicyError::Model { value: (*id).to_owned() });
                }
            }
            arns.counted_models.push(model(CLAUDE));
        }
        for arn in policy.models.iter().filter(|id| id.starts_with("arn:")) {
            plain("model", arn)?;
            arns.add_arn(arn, partition)?;
        }
        Ok(arns)
    }

    fn add_profile(&mut self, arn: String) {
        if arn.contains(":inference-profile/global.") {
            self.global_profiles.push(arn.clone());
        }
        self.profiles.push(arn);
    }

    /// Adds what the operator has named in full: `arn:PARTITION:bedrock:REGION:ACCOUNT:KIND/ID`.
    fn add_arn(&mut self, arn: &str, partition: &str) -> Result<(), PolicyError> {
        let unusable = || PolicyError::Model { value: arn.to_owned() };
        let parts = arn.splitn(6, ':').collect::<Vec<_>>();
        let ["arn", named, "bedrock", _, _, resource] = parts[..] else {
            return Err(unusable());
        };
        let (kind, id) = resource.split_once('/').ok_or_else(unusable)?;
        if named != partition || id.is_empty() {
            return Err(unusable());
        }
        match kind {
            "inference-profile" | "application-inference-profile" => {
                self.add_profile(arn.to_owned());
            }
            "foundation-model"
            | "provisioned-model"
            | "imported-model"
            | "custom-model-deployment" => self.models.push(arn.to_owned()),
            _ => return Err(unusable()),
        }
        Ok(())
    }
}

/// What the names in a document stand for.
#[derive(Debug, Default)]
struct Placeholders(BTreeMap<&'static str, Value>);

impl Placeholders {
    fn of(account: &Account) -> Result<Self, PolicyError> {
        let mut variables = Self::default();
        variables.name("partition", &account.partition)?;
        variables.name("account", &account.id)?;
        variables.name("region", &account.region)?;
        Ok(variables)
    }

    fn of_names(account: &Account, names: &Names) -> Result<Self, PolicyError> {
        let Names { name: _, repository, function, role, table, log_group } = names;
        let mut variables = Self::of(account)?;
        variables.name("repository", repository)?;
        variables.name("function", function)?;
        variables.name("role", role)?;
        variables.name("table", table)?;
        variables.name("log_group", log_group)?;
        Ok(variables)
    }

    fn name(&mut self, name: &'static str, value: &str) -> Result<(), PolicyError> {
        plain(name, value)?;
        self.0.insert(name, value.into());
        Ok(())
    }

    fn list(&mut self, name: &'static str, mut values: Vec<String>) {
        values.sort();
        values.dedup();
        self.0.insert(name, values.into());
    }
}

/// Refuses what a policy would read as more than a name: wildcards, variables, nothing at all.
fn plain(what: &'static str, value: &str) -> Result<(), PolicyError> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:".contains(&byte);
    if value.is_empty() || !value.bytes().all(known) {
        return Err(PolicyError::Unusable { what, value: value.to_owned() });
    }
    Ok(())
}

fn fill(document: &str, variables: &Placeholders) -> Value {
    let mut document = serde_json::from_str::<Value>(document).expect("the documents are JSON");
    fill_value(&mut document, variables);
    if let Some(statements) = document["Statement"].as_array_mut() {
        statements.retain(|statement| !has_empty_list(statement));
    }
    document
}

fn fill_value(value: &mut Value, variables: &Placeholders) {
    match value {
        Value::String(text) => {
            let whole = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
            if let Some(found) = whole.and_then(|name| variables.0.get(name)) {
                *value = found.clone();
                return;
            }
            for (name, found) in &variables.0 {
                if let Some(found) = found.as_str() {
                    *text = text.replace(&format!("{{{name}}}"), found);
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| fill_value(value, variables)),
        Value::Object(fields) => fields.values_mut().for_each(|value| fill_value(value, variables)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn has_empty_list(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.is_empty() || values.iter().any(has_empty_list),
        Value::Object(fields) => fields.values().any(has_empty_list),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
