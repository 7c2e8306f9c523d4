//! What does the text of one variable mean? One function per kind of value.
//!
//! Each gets the text without the space around it, and answers with the value or with the rest of a
//! sentence that began with the variable's name. Nothing here may read anything but its argument.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::Uri;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use tracing::level_filters::LevelFilter;

use super::FallbackOn;
use crate::access::ProxyKeys;
use crate::caller::User;
use crate::failover::identity::Fingerprint;
use crate::translate::model::Prefix;

/// The longest part of a value that is repeated in a problem, in characters.
const SHOWN: usize = 60;

/// The kinds of store that this build has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreKind {
    Dynamo,
    Embedded,
    Memory,
}

/// Reads `true` or `false`, nothing else.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(instead(text, "`true` or `false`")),
    }
}

/// Reads whole seconds within `bounds`, both ends included.
pub(super) fn seconds(text: &str, bounds: (u32, u32)) -> Result<u32, String> {
    whole(text, "seconds", bounds)
}

/// Reads whole milliseconds within `bounds`, both ends included.
pub(super) fn milliseconds(text: &str, bounds: (u32, u32)) -> Result<Duration, String> {
    Ok(Duration::from_millis(whole(text, "milliseconds", bounds)?.into()))
}

fn whole(text: &str, unit: &str, (least, most): (u32, u32)) -> Result<u32, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|number| digits && (least..=most).contains(number))
        .ok_or_else(|| instead(text, &format!("whole {unit}, from {least} to {most}")))
}

pub(super) fn store(text: &str) -> Result<StoreKind, String> {
    match text {
        "embedded" => Ok(StoreKind::Embedded),
        "memory" => Ok(StoreKind::Memory),
        "dynamodb" => Ok(StoreKind::Dynamo),
        _ => Err(instead(text, "`dynamodb`, `embedded` or `memory`")),
    }
}

/// Reads the name of a table, by the rules of DynamoDB (*Naming rules*).
pub(super) fn table_name(text: &str) -> Result<String, String> {
    let fits = (3..=255).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let form = "3 to 255 letters, digits, `_`, `-` or `.`, such as `claude-proxy-rate-limits`";
    if fits { Ok(text.to_owned()) } else { Err(instead(text, form)) }
}

/// The values of `ACCESS_MODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Key,
    Organization,
    Open,
}

pub(super) fn access_mode(text: &str) -> Result<Mode, String> {
    match text {
        "key" => Ok(Mode::Key),
        "organization" => Ok(Mode::Organization),
        "open" => Ok(Mode::Open),
        _ => Err(instead(text, "`key`, `organization` or `open`")),
    }
}

/// Reads a comma list of `name:sha256`; a user may have several keys, a key one user.
///
/// Nothing of the value is repeated in a problem: it may be a key.
pub(super) fn proxy_keys(text: &str) -> Result<ProxyKeys, String> {
    let form = "write a comma list of `name:sha256`, with the SHA-256 of the whole key in 64 \
                lower-case hexadecimal digits";
    let mut keys: Vec<(User, Fingerprint)> = Vec::new();
    for (index, item) in items(text).enumerate() {
        let place = index + 1;
        if item.contains("ccp_") {
            return Err(format!("holds a key itself, at place {place} of its list: {form}"));
        }
        let read = |(name, digest): (&str, &str)| {
            Some((name.parse().ok()?, Fingerprint::from_hex(digest)?))
        };
        let Some((user, digest)) = item.split_once(':').and_then(read) else {
            return Err(format!("has no name and digest at place {place} of its list: {form}"));
        };
        if keys.iter().any(|(_, known)| *known == digest) {
            return Err(format!("has the same key again at place {place} of its list: {form}"));
        }
        keys.push((user, digest));
    }
    Ok(ProxyKeys::new(keys))
}

/// Reads a comma list of the ids that Anthropic gives to organizations.
pub(super) fn organizations(text: &str) -> Result<Vec<String>, String> {
    let is_id = |id: &str| {
        (1..=128).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if items(text).all(is_id) {
        return Ok(items(text).map(str::to_owned).collect());
    }
    let form = "a comma list of ids as in the header `anthropic-organization-id`";
    Err(instead(text, form))
}

/// Reads the address of the Messages API: `https`, or `http` on a loopback host.
///
/// The value is not repeated in a problem: people put credentials into such addresses.
pub(super) fn upstream_url(text: &str) -> Result<Uri, String> {
    let refused =
        |what: &str| Err(format!("{what}: write an address such as `https://api.anthropic.com`"));
    if text.contains(['?', '#', '@']) {
        return refused("must have no user, no query and no fragment");
    }
    let Ok(uri) = text.trim_end_matches('/').parse::<Uri>() else {
        return refused("is not an address");
    };
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return refused("has no `https://` or no host");
    };
    let host = authority.host();
    let port_is_good = authority.as_str() == host || authority.port_u16().is_some_and(|p| p > 0);
    if host.is_empty() || !port_is_good {
        return refused("has no host or no port from 1 to 65535");
    }
    match scheme {
        "https" => Ok(uri),
        "http" if is_loopback(host) => Ok(uri),
        "http" => refused("would send credentials unencrypted, which only loopback hosts may get"),
        _ => refused("does not begin with `https://`"),
    }
}

/// Reads a comma list of reasons; only those that are named count.
pub(super) fn fallback_on(text: &str) -> Result<FallbackOn, String> {
    let choices = "a comma list of `rate_limit`, `overloaded`, `server_error` and `unreachable` \
                   (for none at all, BEDROCK_FALLBACK_ENABLED=false)";
    let mut on = FallbackOn {
        rate_limit: false,
        overloaded: false,
        server_error: false,
        unreachable: false,
    };
    for reason in items(text) {
        match reason {
            "rate_limit" => on.rate_limit = true,
            "overloaded" => on.overloaded = true,
            "server_error" => on.server_error = true,
            "unreachable" => on.unreachable = true,
            _ => return Err(instead(text, choices)),
        }
    }
    Ok(on)
}

/// Reads a comma list of AWS regions, each named once.
pub(super) fn regions(text: &str) -> Result<Vec<String>, String> {
    let mut regions = Vec::new();
    for region in items(text) {
        if !is_region(region) || regions.iter().any(|known| known == region) {
            let form = "a comma list of AWS regions, each once, such as `us-east-1,us-west-2`";
            return Err(instead(text, form));
        }
        regions.push(region.to_owned());
    }
    Ok(regions)
}

pub(super) fn prefix(text: &str) -> Result<Prefix, String> {
    let choices = "`us`, `eu`, `apac`, `jp`, `au`, `us-gov`, `global` or `none`";
    text.parse().map_err(|_| instead(text, choices))
}

/// Reads a JSON object in which every key stands once; `of` says what it is an object of.
pub(super) fn object<'t, T: Deserialize<'t>>(
    text: &'t str,
    of: &str,
    form: &str,
) -> Result<BTreeMap<String, T>, String> {
    let Pairs(pairs) = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("is not an object of {of} (line {line}, column {column}): write {form}")
    })?;
    let mut object = BTreeMap::new();
    for (key, value) in pairs {
        if object.contains_key(&key) {
            return Err(format!("names {} twice: write it once", shown(&key)));
        }
        object.insert(key, value);
    }
    Ok(object)
}

/// The keys and values of an object as they stand.
struct Pairs<T>(Vec<(String, T)>);

impl<'t, T: Deserialize<'t>> Deserialize<'t> for Pairs<T> {
    fn deserialize<D: Deserializer<'t>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<T>(PhantomData<T>);
        impl<'t, T: Deserialize<'t>> Visitor<'t> for Reader<T> {
            type Value = Pairs<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'t>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

/// Reads a JSON object whose names and values are model names.
pub(super) fn model_map(text: &str) -> Result<BTreeMap<String, String>, String> {
    let form = "JSON such as `{\"claude-opus-5-5\":\"eu.anthropic.claude-opus-5-5\"}`";
    let map: BTreeMap<String, String> = object(text, "strings", form)?;
    let is_name = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    match map.iter().find(|(client, bedrock)| !is_name(client) || !is_name(bedrock)) {
        Some((client, _)) => {
            let client = shown(client);
            Err(format!("has an empty name or one with spaces, at {client}: write {form}"))
        }
        None => Ok(map),
    }
}

/// Reads an IP address (or `localhost`) with a port.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    let ip = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    ip.parse().map_err(|_| instead(text, "an IP address and a port, such as `127.0.0.1:8080`"))
}

pub(super) fn log_level(text: &str) -> Result<LevelFilter, String> {
    match text {
        "off" => Ok(LevelFilter::OFF),
        "error" => Ok(LevelFilter::ERROR),
        "warn" => Ok(LevelFilter::WARN),
        "info" => Ok(LevelFilter::INFO),
        "debug" => Ok(LevelFilter::DEBUG),
        "trace" => Ok(LevelFilter::TRACE),
        _ => Err(instead(text, "`error`, `warn`, `info`, `debug`, `trace` or `off`")),
    }
}

pub(super) fn instead(text: &str, form: &str) -> String {
    format!("is {}: write {form}", shown(text))
}

/// Makes a value fit for a message: on one line, quoted, at most [`SHOWN`] characters of it.
pub(super) fn shown(text: &str) -> String {
    let mut head: String = text.chars().take(SHOWN).collect();
    if head.len() < text.len() {
        head.push('…');
    }
    format!("`{}`", head.escape_debug())
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim)
}

fn is_loopback(host: &str) -> bool {
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

/// Tells whether `text` has the shape of a region: `eu-central-1`, `us-gov-west-1`.
fn is_region(text: &str) -> bool {
    let mut parts: Vec<&str> = text.split('-').collect();
    let number = parts.pop().unwrap_or_default();
    let is = |text: &str, kind: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|b| kind(&b));
    parts.len() >= 2
        && text.len() <= 32
        && is(number, u8::is_ascii_digit)
        && parts.iter().all(|part| is(part, u8::is_ascii_lowercase))
}
