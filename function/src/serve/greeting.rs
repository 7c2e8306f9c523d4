//! What the proxy says when it has started: what is on, and what to paste where.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::Value;

use super::metrics;
use crate::access::AccessMode;
use crate::session::client;
use crate::settings::{Settings, StoreSettings};
use crate::upstream::bedrock::Credentials;
use crate::usage::Told;

/// Whether Bedrock could answer, as far as that can be known without asking it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fallback {
    pub regions: Vec<String>,
    pub credentials: Credentials,
    /// What it has cost this month; `None` where this machine does not know.
    pub told: Option<Told>,
}

/// Where the proxy listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addresses {
    pub clients: SocketAddr,
    /// Where its figures are, if anywhere.
    pub metrics: Option<SocketAddr>,
}

/// The first line, once the port is taken.
#[must_use]
pub fn listening(address: SocketAddr) -> String {
    format!("claude-proxy {} listens on http://{address}\n", env!("CARGO_PKG_VERSION"))
}

/// What is on, and how to point Claude Code at it.
#[must_use]
pub fn greeting(settings: &Settings, addresses: Addresses, fallback: &Fallback) -> String {
    let key = match settings.access {
        AccessMode::Key(_) => "/k/KEY",
        AccessMode::Organization(_) | AccessMode::Open => "",
    };
    let base = format!("http://{}{key}", addresses.clients);
    let mut text = String::new();
    let lines = [
        ("upstream", settings.upstream_url.to_string().trim_end_matches('/').to_owned()),
        ("access", access(settings)),
        ("limits", limits(settings)),
        ("fallback", way_out(settings, fallback)),
    ];
    let spent = fallback.told.as_ref().map(|told| ("spent", spent(told)));
    let scraped = addresses.metrics.map(|address| ("metrics", scraped(address)));
    for (name, line) in lines.into_iter().chain(spent).chain(scraped) {
        let _infallible = writeln!(text, "  {name:<9} {line}");
    }
    let _infallible = write!(
        text,
        "\nPoint Claude Code at it, in ~/.claude/settings.json:\n\n  \
         {{ \"env\": {{ \"ANTHROPIC_BASE_URL\": \"{base}\" }} }}\n\n\
         or for one session:\n\n  ANTHROPIC_BASE_URL={base} claude\n\n\
         To be told there who answers, add to these settings:\n\n  {}\n\n\
         and {base}/_proxy/ is a page of it.\n\n\
         Ctrl-C stops it; answers under way may finish.\n",
        told(&base)
    );
    text
}

/// Hooks and status line, each on a line of its own. A key stands in the address.
fn told(base: &str) -> String {
    let hooks: serde_json::Map<String, Value> = client::hooks(base, false)
        .into_iter()
        .map(|(event, group)| (event.to_owned(), Value::Array(vec![group])))
        .collect();
    let (hooks, line) = (Value::Object(hooks), client::status_line(base, false));
    format!("\"hooks\": {hooks},\n  \"statusLine\": {line}")
}

fn access(settings: &Settings) -> String {
    match &settings.access {
        AccessMode::Key(_) => "for whoever has a proxy key; put yours in place of KEY".to_owned(),
        AccessMode::Organization(listed) => {
            let listed = listed.join(", ");
            format!("for everyone who reaches this address; Bedrock only for {listed}")
        }
        AccessMode::Open => "for everyone who reaches this address".to_owned(),
    }
}

fn limits(settings: &Settings) -> String {
    if !settings.tracking {
        return "not remembered (RATE_LIMIT_TRACKING_ENABLED=false)".to_owned();
    }
    match &settings.store {
        StoreSettings::Dynamo(table) => format!("remembered in the DynamoDB table {table}"),
        StoreSettings::Embedded(path) => format!("remembered in {}", path.display()),
        StoreSettings::Memory => "remembered until the proxy stops".to_owned(),
    }
}

fn spent(told: &Told) -> String {
    let (month, total) = (&told.month, told.total());
    let unsettled = match total.unsettled.0 {
        0 => String::new(),
        _ => format!(", and perhaps ${} that nobody has settled", total.unsettled.cents()),
    };
    format!("${} on Bedrock in {month}{unsettled}", total.cost.cents())
}

/// Nobody is asked for a key there, so who can read it is said.
fn scraped(address: SocketAddr) -> String {
    let anybody = match address.ip().to_canonical().is_loopback() {
        true => "",
        false => ", for everyone who reaches this address: no key is asked for",
    };
    format!("http://{address}{}{anybody}", metrics::PATH)
}

fn way_out(settings: &Settings, fallback: &Fallback) -> String {
    let regions = fallback.regions.join(", ");
    match &fallback.credentials {
        _ if !settings.fallback => "off (BEDROCK_FALLBACK_ENABLED=false)".to_owned(),
        _ if regions.is_empty() => "off: no AWS region is known; set AWS_REGION or \
                                    BEDROCK_REGIONS, and a 429 can be answered by Bedrock"
            .to_owned(),
        Credentials::Found => format!("on: Bedrock in {regions}, AWS credentials found"),
        Credentials::Late => format!(
            "on: Bedrock in {regions}, once there are AWS credentials; whoever gives them has not \
             answered yet"
        ),
        Credentials::Missing => format!(
            "off for now: Bedrock in {regions}, but no AWS credentials were found; log in (aws sso \
             login), or set AWS_PROFILE or AWS_BEARER_TOKEN_BEDROCK"
        ),
    }
}
