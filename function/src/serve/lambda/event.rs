//! Which request does an event stand for?
//!
//! Reads the events of a Function URL (payload format 2.0) with the types of `lambda_http`. Its way
//! on to a request is not used: it panics on bad base64 and on odd hosts, and normalises the path.
//! Here path and query stay as they came, and what is no request is a [`Failure`].

use aws_smithy_types::base64;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::Full;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest as Event;

use crate::reply::{ErrorKind, Failure};

/// Turns an event into the request that it describes.
///
/// # Errors
///
/// A [`Failure`] for the client, where the event is none of a Function URL or contradicts itself.
pub fn request(event: &[u8]) -> Result<Request<Full<Bytes>>, Failure> {
    // The cause would repeat parts of the event, which may be a credential.
    let event: Event = serde_json::from_slice(event).map_err(|_| refused(NO_EVENT))?;
    let mut request = Request::new(Full::new(body(event.body, event.is_base64_encoded)?));
    *request.uri_mut() = target(event.raw_path, event.raw_query_string)?;
    *request.method_mut() = event.request_context.http.method;
    *request.headers_mut() = event.headers;
    let cookies = event.cookies.unwrap_or_default();
    if !cookies.is_empty() {
        let all = HeaderValue::try_from(cookies.join("; "));
        let all = all.map_err(|_| refused("The event's cookies are no header."))?;
        request.headers_mut().insert(header::COOKIE, all);
    }
    Ok(request)
}

const NO_EVENT: &str = "The function was invoked with something that is no request of a Function \
                        URL (payload format 2.0). Call its URL, or send such an event.";

fn body(text: Option<String>, is_base64: bool) -> Result<Bytes, Failure> {
    let text = text.unwrap_or_default();
    if !is_base64 {
        return Ok(text.into());
    }
    let decoded = base64::decode(text);
    decoded.map(Bytes::from).map_err(|_| refused("The event's body is not the base64 it claims."))
}

/// Puts path and query together, byte for byte.
fn target(path: Option<String>, query: Option<String>) -> Result<Uri, Failure> {
    let mut target = path.filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
    if let Some(query) = query.filter(|query| !query.is_empty()) {
        target.push('?');
        target.push_str(&query);
    }
    // A parser would cut the target off at a `#`, and then it would be another one.
    let is_whole = target.starts_with('/') && !target.contains('#');
    let parsed = PathAndQuery::try_from(target).ok().filter(|_| is_whole);
    parsed.map(Uri::from).ok_or_else(|| refused("The event's path or query is not one of HTTP."))
}

fn refused(message: &str) -> Failure {
    Failure::new(ErrorKind::InvalidRequest, message)
}
