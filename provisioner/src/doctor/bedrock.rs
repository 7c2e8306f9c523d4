//! Would Bedrock answer? Its profiles, the form and the agreement for the models that clients ask
//! for, and, only if somebody says so, one token.

use function::settings::{Options, Settings as FunctionSettings};
use function::translate::model::{Model, Prefix};
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{Check, CheckState};
use crate::aws::direct::{Ask, BEDROCK, BEDROCK_RUNTIME};
use crate::aws::{CloudError, Kind, Reader, Writer};

/// Where and as what Bedrock is asked, as the function's settings say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// In the order of trying.
    pub regions: Vec<String>,
    pub prefix: Option<Prefix>,
}

impl Route {
    /// Reads the function's environment; `region` stands in for what it does not say.
    #[must_use]
    pub fn of<'a>(environment: impl Iterator<Item = (&'a str, &'a str)>, region: &str) -> Self {
        let wanted = ["BEDROCK_REGIONS", "BEDROCK_PROFILE_PREFIX"];
        let variables = environment.filter(|(key, _)| wanted.contains(key));
        let variables = variables.map(|(key, value)| (key.into(), value.into()));
        let settings = FunctionSettings::from_vars(variables, Options::default(), Some("/".into()));
        let (regions, prefix) = settings
            .map_or_else(|_| (Vec::new(), None), |read| (read.regions, read.profile_prefix));
        let regions = if regions.is_empty() { vec![region.to_owned()] } else { regions };
        Self { regions, prefix }
    }
}

/// The profiles of each region, and who may use the models.
pub(crate) async fn access(route: &Route, reader: &Reader) -> Vec<Check> {
    let profiles = route.regions.iter().map(|region| profiles(region, route.prefix, reader));
    let first = route.regions.first().map_or("", String::as_str);
    let (profiles, form, agreement) =
        tokio::join!(join_all(profiles), form(first, reader), agreement(first, reader));
    profiles.into_iter().chain([form, agreement]).collect()
}

async fn profiles(region: &str, prefix: Option<Prefix>, reader: &Reader) -> Check {
    let name = format!("bedrock-profiles {region}");
    let mut found = Vec::new();
    let mut token: Option<String> = None;
    // A bound for a list that never ends.
    for _ in 0..PAGES {
        let more = token.as_ref().map(|token| format!("&nextToken={}", encode(token)));
        let path = format!(
            "/inference-profiles?type=SYSTEM_DEFINED&maxResults=1000{}",
            more.unwrap_or_default()
        );
        let ask = Ask::get(BEDROCK, "ListInferenceProfiles", path).at(region);
        let page = match reader.clients().direct.call(ask).await {
            Ok(page) => page,
            Err(error) => return Check::unknown(name, &error),
        };
        let all = page["inferenceProfileSummaries"].as_array().cloned().unwrap_or_default();
        found.extend(all.iter().filter_map(|one| Some(one["inferenceProfileId"].as_str()?.into())));
        token = page["nextToken"].as_str().map(str::to_owned);
        if token.is_none() {
            break;
        }
    }
    of_profiles(region, prefix, &found)
}

const PAGES: usize = 20;

/// Judges by the ids of the profiles that `region` has.
#[must_use]
pub fn of_profiles(region: &str, prefix: Option<Prefix>, found: &[String]) -> Check {
    let name = format!("bedrock-profiles {region}");
    let wanted: Vec<String> =
        Model::newest().map(|model| model.bedrock_id(region, prefix)).collect();
    let missing = wanted.iter().filter(|id| !found.contains(id) && !id.starts_with("anthropic."));
    let missing: Vec<&str> = missing.map(String::as_str).collect();
    if missing.is_empty() {
        return Check::ok(name, format!("has {}", wanted.join(", ")));
    }
    let cure = "choose another region or profile: config set BEDROCK_REGIONS=…, \
                BEDROCK_PROFILE_PREFIX=…";
    let check = Check::warn(name, format!("lacks {}", missing.join(", ")), cure);
    if missing.len() == wanted.len() { Check { state: CheckState::Fail, ..check } } else { check }
}

/// Anthropic's form for the first use of its models in an account.
async fn form(region: &str, reader: &Reader) -> Check {
    let ask =
        Ask::get(BEDROCK, "GetUseCaseForModelAccess", "/use-case-for-model-access").at(region);
    of_form(reader.clients().direct.call(ask).await)
}

/// Judges by the form, if there is one.
fn of_form(answer: Result<Value, CloudError>) -> Check {
    let name = "bedrock-use-case";
    match answer {
        Ok(_) => Check::ok(name, "Anthropic's form for first-time use was sent"),
        Err(error) if error.kind == Kind::NotFound => Check::fail(
            name,
            "Anthropic's form for first-time use was never sent from this account",
            "fill it in once: AWS console, Bedrock, Model catalog, any Claude model",
        ),
        Err(error) => Check::unknown(name, &error),
    }
}

/// Whether the models may be used: authorisation, entitlement, agreement, region.
async fn agreement(region: &str, reader: &Reader) -> Check {
    let asked = Model::newest().map(|model| async move {
        let base = model.base().to_owned();
        let path = format!("/foundation-model-availability/{}", encode(&base));
        let ask = Ask::get(BEDROCK, "GetFoundationModelAvailability", path).at(region);
        (base, reader.clients().direct.call(ask).await)
    });
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for (model, answer) in join_all(asked).await {
        match answer {
            Ok(answer) => match unavailable(&answer) {
                None => good.push(model),
                Some(why) => bad.push(format!("{model}: {why}")),
            },
            Err(error)
                if matches!(error.kind, Kind::NotFound)
                    || error.code.as_deref() == Some("ValidationException") =>
            {
                bad.push(format!("{model}: {region} does not know it"));
            }
            Err(error) => return Check::unknown("bedrock-access", &error),
        }
    }
    if bad.is_empty() {
        return Check::ok("bedrock-access", format!("may use {}", good.join(", ")));
    }
    let cure = "the first call makes the agreement, with aws-marketplace:Subscribe and \
                ViewSubscriptions: doctor --spend makes one of a token";
    let check = Check::warn("bedrock-access", bad.join("; "), cure);
    if good.is_empty() { Check { state: CheckState::Fail, ..check } } else { check }
}

/// What stands against the use of a model, if anything.
#[must_use]
pub fn unavailable(answer: &Value) -> Option<String> {
    let states = [
        ("authorization", answer["authorizationStatus"].as_str(), "AUTHORIZED"),
        ("entitlement", answer["entitlementAvailability"].as_str(), "AVAILABLE"),
        ("agreement", answer["agreementAvailability"]["status"].as_str(), "AVAILABLE"),
        ("region", answer["regionAvailability"].as_str(), "AVAILABLE"),
    ];
    let bad = states.iter().filter(|(_, state, good)| state.is_some_and(|state| state != *good));
    let bad: Vec<_> =
        bad.map(|(what, state, _)| format!("{what} {}", state.unwrap_or_default())).collect();
    (!bad.is_empty()).then(|| bad.join(", "))
}

/// Asks the smallest model for one token, with the rights of whoever runs this.
pub(crate) async fn spend(route: &Route, writer: &Writer) -> Check {
    let name = "bedrock-call";
    let region = route.regions.first().map_or("", String::as_str);
    let Some(model) = Model::newest().find(|model| model.name().contains("haiku")) else {
        return Check::warn(name, "no small model is known", "ask Bedrock by hand");
    };
    let id = model.bedrock_id(region, route.prefix);
    let body = json!({
        "anthropic_version": "bedrock-2023-05-31", "max_tokens": 1,
        "messages": [{"role": "user", "content": "Hi"}],
    });
    let path = format!("/model/{}/invoke", encode(&id));
    let ask = Ask::post(BEDROCK_RUNTIME, "InvokeModel", path, &body).at(region);
    match writer.clients().direct.call(ask).await {
        Ok(answer) => {
            let used = |key: &str| answer["usage"][key].as_u64().unwrap_or_default();
            let (input, output) = (used("input_tokens"), used("output_tokens"));
            Check::ok(name, format!("{id} answered: {input} tokens in, {output} out"))
        }
        Err(error) => {
            let cure = "bedrock:InvokeModel on this profile and its models, and the agreement; \
                        a new agreement may take 15 minutes";
            Check::fail(name, format!("{id}: {error}"), cure)
        }
    }
}

/// Percent-encoding of one part of a path (RFC 3986).
fn encode(part: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let letter = |byte: u8| {
        if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
    };
    part.bytes().map(letter).collect()
}
