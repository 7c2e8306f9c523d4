//! Does whoever asks sit at this machine?
//!
//! A page of a stranger can make a browser ask the loopback, by a name of the stranger's own that
//! leads here: such a request bears that name. A server in front bears this machine's.

use std::net::IpAddr;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue};

/// Whether a request was meant for this machine by name, and nobody says to have handed it on.
#[must_use]
pub(super) fn is_direct(headers: &HeaderMap) -> bool {
    let handed_on = |name: &HeaderName| {
        matches!(name.as_str(), "forwarded" | "via") || name.as_str().starts_with("x-forwarded-")
    };
    let is_here = |host: &HeaderValue| {
        let name = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        name.is_some_and(|name| {
            let name = name.host().trim_start_matches('[').trim_end_matches(']');
            let address = name.parse::<IpAddr>().ok();
            name.eq_ignore_ascii_case("localhost") || address.is_some_and(|ip| ip.is_loopback())
        })
    };
    let mut hosts = headers.get_all(HOST).iter();
    let named_here = headers.contains_key(HOST) && hosts.all(is_here);
    named_here && !headers.keys().any(handed_on)
}
