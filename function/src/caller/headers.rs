//! Which headers travel on, to Anthropic and back to the client.
//!
//! Everything end-to-end does, known or not, in its order. What belongs to one connection, to this
//! proxy or to the platform below it must never do.

use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, COOKIE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Endpoint, KEY_HEADER, USER_HEADER};
use crate::drill;

/// Marks what is secret among a request's headers, so that printing them shows none of it.
pub fn seal(headers: &mut HeaderMap) {
    for (name, value) in headers {
        let secret = name == AUTHORIZATION
            || name == COOKIE
            || ["x-api-key", "proxy-authorization", KEY_HEADER, drill::HEADER]
                .contains(&name.as_str());
        value.set_sensitive(secret);
    }
}

/// Returns the headers that go to Anthropic with a request.
///
/// Left out: what is hop-by-hop ([RFC 9110, 7.6.1]), `expect` (the body is already here), `host`
/// and `content-length` (the next connection has its own), the proxy's own headers, and what
/// the platform adds: `forwarded`, `x-forwarded-*`, `x-amzn-*`, and `x-amz-*`, which also carries
/// AWS signatures. On the two calls that can fall back `accept-encoding` becomes `identity`: a
/// compressed stream could be neither judged nor ended properly.
///
/// [RFC 9110, 7.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-7.6.1
#[must_use]
pub fn upstream_headers(headers: HeaderMap, endpoint: &Endpoint) -> HeaderMap {
    let mut sent = travelling(headers, |name| {
        matches!(name, "host" | "content-length" | "expect" | "forwarded" | USER_HEADER)
            || ["x-claude-proxy-", "x-forwarded-", "x-amzn-", "x-amz-"]
                .iter()
                .any(|prefix| name.starts_with(prefix))
    });
    match endpoint {
        Endpoint::Messages | Endpoint::CountTokens => {
            sent.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        Endpoint::Other => {}
    }
    sent
}

/// Returns the headers of Anthropic's answer that go to the client.
///
/// Left out: what is hop-by-hop, `x-claude-proxy-*`, in which only this proxy speaks, and a
/// `content-length` beside a `transfer-encoding`, which is not the length ([RFC 9112, 6.3]).
///
/// [RFC 9112, 6.3]: https://www.rfc-editor.org/rfc/rfc9112#section-6.3
#[must_use]
pub fn client_headers(headers: HeaderMap) -> HeaderMap {
    let coded = headers.contains_key(TRANSFER_ENCODING);
    travelling(headers, |name| {
        name.starts_with("x-claude-proxy-") || (coded && name == "content-length")
    })
}

/// Takes out the hop-by-hop headers and those that `stays` names; the others keep their order.
fn travelling(headers: HeaderMap, stays: impl Fn(&str) -> bool) -> HeaderMap {
    let named = named_by_connection(&headers);
    let stays = |name: &HeaderName| {
        is_hop_by_hop(name.as_str()) || stays(name.as_str()) || named.contains(name)
    };
    if !headers.keys().any(stays) {
        return headers;
    }
    let mut sent = HeaderMap::with_capacity(headers.len());
    let mut last = None;
    for (name, value) in headers {
        // Of a header that comes again only the value is told.
        last = name.or(last);
        if let Some(name) = last.as_ref().filter(|name| !stays(name)) {
            sent.append(name, value);
        }
    }
    sent
}

fn is_hop_by_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Returns those of the headers that `Connection` declares to be hop-by-hop too.
fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let options = headers.get_all(CONNECTION).iter();
    options
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|option| HeaderName::from_bytes(option.trim_ascii()).ok())
        .filter(|name| headers.contains_key(name))
        .collect()
}
