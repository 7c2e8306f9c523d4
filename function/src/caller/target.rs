//! Where a request wants to go, and the label that came along in its target.
//!
//! A base URL with a query (`https://HOST?claude-code-user=alice`) makes clients append their path
//! to the query instead of the path. Such a target is first turned back into the well-formed one,
//! then read like any other. Nothing else is ever repaired: a path that could be read in two ways
//! is refused, and one that passes is forwarded byte for byte.

use std::borrow::Cow;
use std::fmt;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri};

use super::{InvalidUser, KEY_NAME, USER_HEADER, USER_NAME, User};
use crate::access::Shown;

/// The query parameter in which a client may name its user.
const PARAMETER: &str = "claude-code-user";

/// Where a request wants to go, after the proxy key and the labels of the person were taken off.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    /// The user whom `/u/NAME/`, else the header, else the query names.
    pub user: Option<User>,
    /// The proxy key in `/k/KEY/` and in the header.
    pub key: Shown,
    /// What goes to Anthropic: as it came, without `/k/KEY`, `/u/NAME` and `claude-code-user`.
    pub path_and_query: PathAndQuery,
    pub endpoint: Endpoint,
}

/// Shows the path only: people put secrets into queries.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Target");
        shown.field("user", &self.user).field("path", &self.path_and_query.path());
        shown.field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// What is asked for, as far as it matters to failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /v1/messages`, with any query.
    Messages,
    /// `POST /v1/messages/count_tokens`, with any query.
    CountTokens,
    /// Everything else: passed through, never falls back.
    Other,
}

/// Why a target is answered with 400 and sent nowhere. Nothing of it is repeated in the sentence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTarget {
    #[error(
        "the request target must be a path such as /v1/messages, without scheme, host or user: \
         check the base URL and any proxy in between"
    )]
    NotAPath,
    #[error("the path has an empty segment (`//`): remove the doubled slash from the base URL")]
    EmptySegment,
    #[error("the path has a `.` or `..` segment, plain or as %2E: send the path it stands for")]
    DotSegment,
    #[error("the path has a backslash, or a slash escaped as %2F or %5C: send plain slashes only")]
    EscapedSlash,
    #[error("the path has an escaped control character (%00 to %1F, %7F): remove it")]
    ControlCharacter,
    #[error("the path has a `%` without two hexadecimal digits: write a percent sign as %25")]
    BrokenEscape,
    #[error("{InvalidUser}; the one in {0} is not: use the base URL https://HOST/u/NAME")]
    User(Source),
    #[error(
        "the path still begins with /u/ or /k/ after its labels were taken off: give each once, \
         at its very beginning, /k/KEY before /u/NAME"
    )]
    LabelLeft,
    #[error(
        "the query of the base URL has swallowed the path, and it cannot be recovered: use the \
         base URL https://HOST/u/NAME instead of https://HOST?claude-code-user=NAME"
    )]
    Swallowed,
}

/// Where a user's name can stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Path,
    Header,
    Query,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str("the path (/u/NAME)"),
            Self::Header => write!(f, "the header {USER_HEADER}"),
            Self::Query => write!(f, "the query ({PARAMETER}=NAME)"),
        }
    }
}

impl Target {
    /// Reads the target of a request, in origin form.
    ///
    /// The first of path, header and query that names a user counts; the others are not looked at.
    ///
    /// # Errors
    ///
    /// [`InvalidTarget`], if the path breaks a rule or the name that counts is none.
    pub fn parse(method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Self, InvalidTarget> {
        if uri.scheme().is_some() || uri.authority().is_some() {
            return Err(InvalidTarget::NotAPath);
        }
        let original = uri.path_and_query().ok_or(InvalidTarget::NotAPath)?;
        check_path(original.path())?;
        let (key, path) = take_label(original.path(), "k");
        let (name, path) = take_label(path, "u");
        let recovered = match original.query() {
            Some(query) if path == "/" => unmangle(query)?,
            Some(_) | None => None,
        };
        let (path, query) = match &recovered {
            Some(target) => split_query(target),
            None => (path, original.query()),
        };
        if ["u", "k"].iter().any(|label| spells(split_segment(path).0, label)) {
            return Err(InvalidTarget::LabelLeft);
        }
        let label = query.and_then(|query| query.split('&').find_map(label));
        let user = find_user(name, headers, label)?;
        let sent = headers.get_all(&KEY_NAME).iter().map(HeaderValue::as_bytes);
        let shown = Shown::of(key.map(str::as_bytes).into_iter().chain(sent));
        let untouched = key.is_none()
            && name.is_none()
            && label.is_none()
            && original.as_str().starts_with('/');
        let path_and_query =
            if untouched { original.clone() } else { without_labels(path, query)? };
        Ok(Self { user, key: shown, endpoint: Endpoint::of(method, path), path_and_query })
    }
}

impl Endpoint {
    fn of(method: &Method, path: &str) -> Self {
        match path {
            "/v1/messages" if method == Method::POST => Self::Messages,
            "/v1/messages/count_tokens" if method == Method::POST => Self::CountTokens,
            _ => Self::Other,
        }
    }
}

/// Refuses a path that another server might read differently than this one.
fn check_path(path: &str) -> Result<(), InvalidTarget> {
    let mut segments = path.strip_prefix('/').ok_or(InvalidTarget::NotAPath)?.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            return Err(InvalidTarget::EmptySegment);
        }
        check_segment(segment)?;
    }
    Ok(())
}

fn check_segment(segment: &str) -> Result<(), InvalidTarget> {
    // As almost all are: nothing to decode.
    if segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
        return Ok(());
    }
    let mut dots = 0;
    let mut only_dots = true;
    for (byte, width) in decoded(segment) {
        match byte {
            b'%' if width == 1 => return Err(InvalidTarget::BrokenEscape),
            b'/' | b'\\' => return Err(InvalidTarget::EscapedSlash),
            0x00..=0x1f | 0x7f => return Err(InvalidTarget::ControlCharacter),
            b'.' => dots += 1,
            _ => only_dots = false,
        }
    }
    if only_dots && (1..=2).contains(&dots) { Err(InvalidTarget::DotSegment) } else { Ok(()) }
}

/// Takes `/u/NAME` or `/k/KEY` off the head of a path: the label as it is written, and the rest, at
/// least `/`.
fn take_label<'a>(path: &'a str, mark: &str) -> (Option<&'a str>, &'a str) {
    let (head, rest) = split_segment(path);
    if !spells(head, mark) {
        return (None, path);
    }
    let (label, rest) = split_segment(rest);
    (Some(label), if rest.is_empty() { "/" } else { rest })
}

/// Splits the first segment, without its slash, from what follows.
fn split_segment(path: &str) -> (&str, &str) {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.split_at(path.find('/').unwrap_or(path.len()))
}

fn split_query(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

/// The value of a query parameter, if it is the one that names the user.
fn label(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    spells(name, PARAMETER).then_some(value)
}

/// The user whom the first of the three sources names.
fn find_user(
    path: Option<&str>,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<Option<User>, InvalidTarget> {
    if let Some(name) = path {
        return user(name, Source::Path).map(Some);
    }
    if let Some(value) = headers.get(&USER_NAME) {
        let user = value.to_str().ok().and_then(|name| name.parse().ok());
        return user.map(Some).ok_or(InvalidTarget::User(Source::Header));
    }
    query.map(|name| user(name, Source::Query)).transpose()
}

fn user(escaped: &str, source: Source) -> Result<User, InvalidTarget> {
    let name = String::from_utf8(decoded(escaped).map(|(byte, _)| byte).collect()).ok();
    name.and_then(|name| name.try_into().ok()).ok_or(InvalidTarget::User(source))
}

/// Turns a query that has swallowed the path back into the well-formed target.
///
/// Clients append their path to the last parameter of the base URL: to the user's name, to
/// `path=`, which is there for just that and vanishes, or to any other. Parameters around it stay
/// where they are. `None`: no user is named, or nothing was swallowed.
fn unmangle(query: &str) -> Result<Option<String>, InvalidTarget> {
    let mut parameters: Vec<&str> = query.split('&').collect();
    if parameters.iter().all(|parameter| label(parameter).is_none()) {
        return Ok(None);
    }
    let swallowed = |anywhere: bool| {
        let mut candidates = parameters.iter().enumerate();
        candidates.find_map(|(index, parameter)| {
            let at = swallowed_at(parameter)?;
            (anywhere || label(parameter).is_some()).then_some((index, at))
        })
    };
    let Some((index, at)) = swallowed(false).or_else(|| swallowed(true)) else {
        return Ok(None);
    };
    let (kept, target) = parameters[index].split_at(at);
    label(kept).map(|name| user(name, Source::Query)).transpose()?;
    let target = unescape(target)?;
    let (path, own) = split_query(&target);
    check_path(path)?;
    let kept = Some(kept).filter(|kept| *kept != "path=");
    parameters.splice(index..=index, kept.into_iter().chain(own));
    Ok(Some(format!("{path}?{}", parameters.join("&"))))
}

/// Where in a parameter the first slash of its value is, plain or escaped.
fn swallowed_at(parameter: &str) -> Option<usize> {
    let mut at = parameter.find('=')? + 1;
    for (byte, width) in decoded(&parameter[at..]) {
        if byte == b'/' {
            return Some(at);
        }
        at += width;
    }
    None
}

/// Decodes a swallowed target once, if its client has escaped it.
///
/// Its first character tells; some clients escape all but slashes, so an escaped question mark
/// where there is no plain one tells as well.
fn unescape(target: &str) -> Result<Cow<'_, str>, InvalidTarget> {
    let escapes = |wanted| decoded(target).any(|(byte, width)| byte == wanted && width == 3);
    if target.starts_with('/') && (target.contains('?') || !escapes(b'?')) {
        return Ok(Cow::Borrowed(target));
    }
    let bytes = decoded(target).map(|(byte, _)| byte).collect();
    let target = String::from_utf8(bytes).map_err(|_| InvalidTarget::Swallowed)?;
    // Whatever parses this later would cut it off there.
    if target.contains('#') { Err(InvalidTarget::Swallowed) } else { Ok(Cow::Owned(target)) }
}

/// Puts a target together again without the parameter that names the user.
fn without_labels(path: &str, query: Option<&str>) -> Result<PathAndQuery, InvalidTarget> {
    let mut target = String::with_capacity(path.len() + 1 + query.map_or(0, str::len));
    target.push_str(path);
    let parameters = query.into_iter().flat_map(|query| query.split('&'));
    for (index, parameter) in parameters.filter(|found| label(found).is_none()).enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(parameter);
    }
    target.try_into().map_err(|_| InvalidTarget::Swallowed)
}

/// Whether `escaped`, decoded once, is `plain`.
fn spells(escaped: &str, plain: &str) -> bool {
    // Decoding makes nothing longer.
    escaped.len() >= plain.len() && decoded(escaped).map(|(byte, _)| byte).eq(plain.bytes())
}

/// Decodes percent-escapes once: each byte, and over how many bytes it was written.
///
/// `+` stays `+`, and a `%` that begins no escape stands for itself.
fn decoded(escaped: &str) -> impl Iterator<Item = (u8, usize)> {
    let mut rest = escaped.as_bytes();
    std::iter::from_fn(move || {
        let (byte, width) = match *rest {
            [b'%', high, low, ..] => hex_pair(high, low).map_or((b'%', 1), |byte| (byte, 3)),
            [byte, ..] => (byte, 1),
            [] => return None,
        };
        rest = &rest[width..];
        Some((byte, width))
    })
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}
