//! Which rights do the function's settings ask for? Reads the settings that touch rights, and fills
//! the documents of [`crate::stack::policies`] in.

use std::collections::BTreeMap;

use function::translate::model::Prefix;
use serde_json::{Value, json};

use crate::aws::Account;
use crate::engine::document;
use crate::stack::names::Names;
use crate::stack::policies::{self, ExecutionPolicy, PolicyError};

/// Lambda may take the role.
#[must_use]
pub fn trust() -> Value {
    document::canonical(policies::trust())
}

/// Lambda may pull the image, for this function only.
///
/// # Errors
///
/// Where a name would not be what it seems in a policy.
pub fn repository(account: &Account, names: &Names) -> Result<Value, PolicyError> {
    policies::repository(account, &names.function).map(document::canonical)
}

/// Untagged leftovers go; what carries a tag is never expired, so the deployed image stays.
#[must_use]
pub fn lifecycle() -> Value {
    document::canonical(json!({"rules": [{
        "rulePriority": 1,
        "description": "leftovers of interrupted pushes",
        "selection": {
            "tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days",
            "countNumber": 7
        },
        "action": {"type": "expire"}
    }]}))
}

/// The function may ask the models that its `environment` names, and use its own table.
///
/// # Errors
///
/// Where a setting would not be what it seems in a policy.
pub fn execution(
    account: &Account,
    names: &Names,
    environment: &BTreeMap<String, String>,
) -> Result<Value, PolicyError> {
    let get = |key: &str| environment.get(key).map(|v| v.trim()).filter(|v| !v.is_empty());
    let own = account.region.as_str();
    let regions: Vec<&str> =
        get("BEDROCK_REGIONS").map_or_else(|| vec![own], |all| list(all).collect());
    let mut prefixes = match get("BEDROCK_PROFILE_PREFIX") {
        Some(prefix) => vec![prefix],
        None => regions.iter().flat_map(|region| near(region)).collect(),
    };
    prefixes.sort_unstable();
    prefixes.dedup();
    let models: BTreeMap<String, String> = get("BEDROCK_MODEL_MAP")
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let models: Vec<&str> = models.values().map(String::as_str).collect();
    let policy = ExecutionPolicy {
        account,
        table: &names.table,
        bedrock_regions: &regions,
        prefixes: &prefixes,
        models: &models,
    };
    let document = document::canonical(policies::execution(&policy)?);
    let size = document.to_string().chars().filter(|letter| !letter.is_whitespace()).count();
    if size > policies::POLICY_QUOTA { Err(PolicyError::TooLong { size }) } else { Ok(document) }
}

/// What the function's role may do, in words.
#[must_use]
pub fn in_words(account: &Account, environment: &BTreeMap<String, String>) -> String {
    let own = account.region.clone();
    let regions = environment.get("BEDROCK_REGIONS").filter(|text| !text.trim().is_empty());
    let regions = regions.map_or(own, |text| list(text).collect::<Vec<_>>().join(", "));
    format!("ask Claude on Bedrock ({regions}), use its table, write its log")
}

fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty())
}

/// The profiles that the function may choose for some model in `region`.
fn near(region: &str) -> impl Iterator<Item = &'static str> + use<> {
    Prefix::near(region).iter().copied().chain([Prefix::Global]).map(Prefix::as_str)
}
