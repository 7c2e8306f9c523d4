//! Who is let in, by `ACCESS_MODE` and what belongs to it?
//!
//! A setting that would have no effect in its mode is a problem: the proxy must not stand open
//! while its operator believes it closed. Neither a key nor a digest may appear in a problem.

use std::net::SocketAddr;

use super::StoreSettings;
use super::platform::RUNTIME_API;
use super::value::{self, Mode};
use super::variables::Environment;
use crate::access::{AccessMode, ProxyKeys};

/// Reads the mode and its settings; `name` has chosen the address to listen on.
pub(super) fn read(
    env: &mut Environment,
    store: &StoreSettings,
    (name, address): (&str, SocketAddr),
) -> AccessMode {
    let keys = env.read("PROXY_KEYS", value::proxy_keys);
    let organizations = env.read("ALLOWED_ORGANIZATIONS", value::organizations);
    let anywhere = env.read("ACCESS_OPEN_ANYWHERE", value::boolean).unwrap_or(false);
    let on_lambda = env.is_set(RUNTIME_API);
    let default = if on_lambda { Mode::Key } else { Mode::Open };
    let written = env.is_set("ACCESS_MODE");
    let mode = env.read("ACCESS_MODE", value::access_mode).or((!written).then_some(default));
    // Nothing is concluded from a mode that is none; that is a problem by itself.
    let Some(mode) = mode else { return AccessMode::Key(ProxyKeys::default()) };
    if mode != Mode::Key && keys.is_some() {
        let why = "only ACCESS_MODE=key asks anybody for a key: set that, or unset it";
        env.refuse("PROXY_KEYS", why);
    }
    if mode != Mode::Organization && organizations.is_some() {
        let why = "only ACCESS_MODE=organization looks at organizations: set that, or unset it";
        env.refuse("ALLOWED_ORGANIZATIONS", why);
    }
    match mode {
        Mode::Key => {
            if !env.is_set("PROXY_KEYS") && !has_keys(store) {
                env.problem(
                    "ACCESS_MODE is `key`, but there are no keys: write them into PROXY_KEYS, as \
                     `name:sha256`"
                        .into(),
                );
            }
            AccessMode::Key(keys.unwrap_or_default())
        }
        Mode::Organization => {
            if !env.is_set("ALLOWED_ORGANIZATIONS") {
                env.problem(
                    "ACCESS_MODE is `organization`, but none is allowed: write the ids of your \
                     organizations at Anthropic into ALLOWED_ORGANIZATIONS"
                        .into(),
                );
            }
            AccessMode::Organization(organizations.unwrap_or_default())
        }
        Mode::Open => {
            let cure = "set ACCESS_MODE=key, or ACCESS_OPEN_ANYWHERE=true as well";
            if on_lambda && !anywhere {
                env.problem(format!(
                    "ACCESS_MODE is `open`, and the whole internet reaches a function on AWS \
                     Lambda: {cure}"
                ));
            } else if !address.ip().to_canonical().is_loopback() && !anywhere {
                env.problem(format!(
                    "{name} is {address}, which other machines can reach, and whoever reaches the \
                     proxy may use it: keep to 127.0.0.1, {cure}"
                ));
            }
            AccessMode::Open
        }
    }
}

/// Whether a store can hold proxy keys.
const fn has_keys(store: &StoreSettings) -> bool {
    match store {
        StoreSettings::Dynamo(_) => true,
        StoreSettings::Embedded(_) | StoreSettings::Memory => false,
    }
}
