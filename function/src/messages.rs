//! The Messages API as far as the proxy looks at it; everything else passes through unseen.
//!
//! Nothing here changes a byte: bodies are read in place, and only for the few fields that decide
//! where a request goes.

mod fields;

use std::borrow::Cow;

use self::fields::Fields;

/// What a request asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The model as the client named it.
    pub model: String,
    /// Whether the answer is to be a stream.
    pub stream: bool,
}

/// Names longer than this are no model.
const LONGEST_MODEL: usize = 2048;

impl Asked {
    /// Reads the body of a Messages request; `None` where it has no usable model, which is
    /// Anthropic's to answer.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let (mut model, mut stream) = (None, None);
        for field in Fields::of(body) {
            let (key, value) = field?;
            // A key that comes twice is read differently by different readers.
            match &*text(key)? {
                "model" if model.is_none() => model = Some(text(value)?),
                "stream" if stream.is_none() => stream = Some(serde_json::from_slice(value).ok()?),
                "model" | "stream" => return None,
                _ => {}
            }
        }
        let (model, stream): (_, Option<bool>) = (model?, stream.flatten());
        let fits = (1..=LONGEST_MODEL).contains(&model.len());
        fits.then(|| Self { model: model.into_owned(), stream: stream.unwrap_or(false) })
    }
}

/// The most output that a Messages request allows for; `None` where it does not say.
#[must_use]
pub fn max_tokens(body: &[u8]) -> Option<u64> {
    let mut fields = Fields::of(body).map_while(|field| field);
    let (_, value) = fields.find(|(key, _)| *key == b"\"max_tokens\"")?;
    serde_json::from_slice(value).ok()
}

/// Reads a JSON string.
fn text(json: &[u8]) -> Option<Cow<'_, str>> {
    let plain = json.strip_prefix(b"\"").and_then(|json| json.strip_suffix(b"\""));
    match plain.filter(|text| text.iter().all(|byte| *byte >= b' ' && *byte != b'\\')) {
        Some(plain) => str::from_utf8(plain).ok().map(Cow::Borrowed),
        None => serde_json::from_slice(json).ok().map(Cow::Owned),
    }
}

/// An error of the Messages API: `{"type":"error","error":{"type","message",…}}`.
///
/// Whatever else is in it, or is missing, is no reason not to know it for what it is. Source:
/// Anthropic, *Errors*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// `rate_limit_error`, …; empty where none is named.
    pub kind: String,
    /// Empty where it is no text.
    pub message: String,
    /// All that was said, in small letters: codes and words stand in more places than one.
    pub text: String,
}

/// More shells than this are not looked through for an error.
const MOST_SHELLS: usize = 8;

impl ApiError {
    /// Reads an error body or the data of an `error` event; `None` where it is something else.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let mut shell = body;
        for depth in 0..MOST_SHELLS {
            let [kind, message, inner] = named(shell, ["type", "message", "error"])?;
            let kind = kind.and_then(text).filter(|kind| kind != "error");
            let inner = inner.filter(|inner| inner.starts_with(b"{"));
            let is_error = match (&kind, inner) {
                (Some(kind), _) => depth > 0 || kind.ends_with("_error"),
                (None, inner) => depth > 0 && inner.is_none(),
            };
            if is_error {
                return Some(Self {
                    kind: kind.unwrap_or_default().into_owned(),
                    message: message.and_then(text).unwrap_or_default().into_owned(),
                    text: String::from_utf8_lossy(body).to_ascii_lowercase(),
                });
            }
            shell = inner?;
        }
        None
    }
}

/// The values of an object's fields of these names, the first of each; `None` for no object.
fn named<'a, const N: usize>(json: &'a [u8], names: [&str; N]) -> Option<[Option<&'a [u8]>; N]> {
    let mut values = [None; N];
    for field in Fields::of(json) {
        let (key, value) = field?;
        let key = text(key);
        if let Some(at) = names.iter().position(|name| key.as_deref() == Some(*name)) {
            values[at] = values[at].or(Some(value));
        }
    }
    Some(values)
}

/// What the first events of an Anthropic stream say about its fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opening {
    /// `message_start` or `ping`: nothing is settled yet.
    Held,
    /// Content is on its way.
    Content,
    /// The stream has failed before its first content.
    Failed(ApiError),
}

impl Opening {
    /// Judges one event by its name and data.
    #[must_use]
    pub fn of(name: Option<&str>, data: &[u8]) -> Self {
        match name {
            Some("message_start" | "ping") | None => Self::Held,
            Some("error") => {
                let error = ApiError::read(data).filter(|error| !error.kind.is_empty());
                Self::Failed(error.unwrap_or_else(|| ApiError {
                    kind: "api_error".to_owned(),
                    message: "The stream failed before its first content.".to_owned(),
                    text: String::new(),
                }))
            }
            Some(_) => Self::Content,
        }
    }
}
