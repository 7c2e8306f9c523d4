//! What does a failure of Bedrock mean, and what of it may a client read?
//!
//! Decides by exception name, then by status; the sentence counts only where Bedrock reports an
//! operator's fault as the client's 400. Names and statuses are those of the Bedrock Runtime API
//! reference. No text leaves here with an ARN, an account number or the name of a role or user.

use std::borrow::Cow;

use crate::reply::ErrorKind;

/// The longest message that is passed on, in bytes.
pub const MAX_MESSAGE: usize = 4096;

/// What a failure of Bedrock means; every message is scrubbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BedrockFailure {
    /// The request itself is wrong: the client reads Bedrock's sentence, and may mend by it.
    Client { message: String },
    /// It passes with time: another region may answer now, this one later.
    Transient { kind: ErrorKind, message: String },
    /// It stays until the operator has changed something.
    Permanent { kind: ErrorKind, message: String },
}

impl BedrockFailure {
    /// Returns the kind of error that a client should see.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Client { .. } => ErrorKind::InvalidRequest,
            Self::Transient { kind, .. } | Self::Permanent { kind, .. } => *kind,
        }
    }

    /// Returns the scrubbed message.
    pub fn message(&self) -> &str {
        match self {
            Self::Client { message }
            | Self::Transient { message, .. }
            | Self::Permanent { message, .. } => message,
        }
    }
}

enum Meaning {
    Client,
    Transient(ErrorKind),
    Permanent(ErrorKind),
}

use Meaning::{Client, Permanent, Transient};

impl Meaning {
    fn with(self, message: String) -> BedrockFailure {
        match self {
            Client => BedrockFailure::Client { message },
            Transient(kind) => BedrockFailure::Transient { kind, message },
            Permanent(kind) => BedrockFailure::Permanent { kind, message },
        }
    }
}

/// Judges an error of a Bedrock operation, or an exception inside its stream.
///
/// `code` is the exception's name in any of its spellings. Where a model's own error carries an
/// original status, `status` is that one. Neither of them stands for a broken connection.
pub fn judge(status: Option<u16>, code: Option<&str>, message: &str) -> BedrockFailure {
    let meaning = match code.and_then(by_name).unwrap_or_else(|| by_status(status)) {
        Client => by_sentence(message).unwrap_or(Client),
        meaning @ (Transient(_) | Permanent(_)) => meaning,
    };
    meaning.with(sentence(message))
}

/// Judges an `error` event of the Messages API that came as a chunk of a Bedrock stream.
pub(super) fn of_event(kind: &str, message: &str) -> BedrockFailure {
    let kind = ErrorKind::named(kind).unwrap_or(ErrorKind::Api);
    let meaning = if kind == ErrorKind::InvalidRequest {
        by_sentence(message).unwrap_or(Client)
    } else if kind.is_retryable() {
        Transient(kind)
    } else {
        Permanent(kind)
    };
    meaning.with(sentence(message))
}

/// `None` leaves it to the status: the name is unknown, or the model's error has its own status.
fn by_name(code: &str) -> Option<Meaning> {
    let name = code.split(':').next().unwrap_or_default();
    let name = name.rsplit('#').next().unwrap_or_default().to_ascii_lowercase();
    Some(match name.strip_suffix("exception").unwrap_or(&name) {
        "validation" => Client,
        "throttling" | "toomanyrequests" | "servicequotaexceeded" => {
            Transient(ErrorKind::RateLimit)
        }
        "modelnotready" | "serviceunavailable" => Transient(ErrorKind::Overloaded),
        "modeltimeout" => Transient(ErrorKind::Timeout),
        "internalserver" | "internalfailure" => Transient(ErrorKind::Api),
        "accessdenied" => Permanent(ErrorKind::Permission),
        "resourcenotfound" => Permanent(ErrorKind::NotFound),
        "unrecognizedclient"
        | "expiredtoken"
        | "invalidsignature"
        | "signaturedoesnotmatch"
        | "requesttimetooskewed"
        | "requestexpired"
        | "tokenrefreshrequired"
        | "incompletesignature"
        | "invalidclienttokenid"
        | "missingauthenticationtoken"
        | "credentialsprovidererror"
        | "notauthorized" => Permanent(ErrorKind::Authentication),
        _ => return None,
    })
}

fn by_status(status: Option<u16>) -> Meaning {
    match status {
        Some(400) => Client,
        Some(401) => Permanent(ErrorKind::Authentication),
        Some(403) => Permanent(ErrorKind::Permission),
        Some(404) => Permanent(ErrorKind::NotFound),
        // Anthropic takes larger bodies than Bedrock: not the client's fault.
        Some(413) => Permanent(ErrorKind::RequestTooLarge),
        Some(429) => Transient(ErrorKind::RateLimit),
        Some(501) => Permanent(ErrorKind::NotSupported),
        Some(503 | 529) => Transient(ErrorKind::Overloaded),
        Some(408 | 504) => Transient(ErrorKind::Timeout),
        Some(424) => Transient(ErrorKind::Api),
        Some(405..=499) => Permanent(ErrorKind::Api),
        Some(_) | None => Transient(ErrorKind::Api),
    }
}

/// Recognises the operator's faults that Bedrock reports as an invalid request.
fn by_sentence(message: &str) -> Option<Meaning> {
    let message = message.to_ascii_lowercase();
    [
        ("with on-demand throughput isn", ErrorKind::NotFound),
        ("provided model identifier is invalid", ErrorKind::NotFound),
        ("provided arn is invalid", ErrorKind::NotFound),
        ("data retention mode", ErrorKind::Permission),
        ("is not available for this account", ErrorKind::Permission),
        ("from unsupported countries", ErrorKind::Permission),
        ("operation not allowed", ErrorKind::Permission),
        ("support counting tokens", ErrorKind::NotSupported),
    ]
    .into_iter()
    .find(|(part, _)| message.contains(part))
    .map(|(_, kind)| Permanent(kind))
}

/// Reduces a message to what a client of Anthropic knows how to read.
fn sentence(message: &str) -> String {
    let message = message.trim();
    let message =
        message.strip_prefix("The model returned the following errors: ").unwrap_or(message);
    if message.is_empty() { "Bedrock gave no reason.".to_owned() } else { scrub(message) }
}

/// Removes ARNs, account numbers, key ids and the names of roles and users; at most
/// [`MAX_MESSAGE`] bytes remain.
pub fn scrub(message: &str) -> String {
    let mut clean = String::with_capacity(message.len());
    for piece in message.split_inclusive(is_separator) {
        let word = piece.trim_end_matches(is_separator);
        clean.push_str(&scrubbed(word));
        clean.push_str(&piece[word.len()..]);
    }
    if clean.len() > MAX_MESSAGE {
        clean.truncate(clean.floor_char_boundary(MAX_MESSAGE - '…'.len_utf8()));
        clean.push('…');
    }
    clean
}

/// Separates words. A comma does not: role names may hold one.
fn is_separator(character: char) -> bool {
    character.is_whitespace() || "\"'`()[]{}<>".contains(character)
}

fn scrubbed(word: &str) -> Cow<'_, str> {
    let end = word.trim_end_matches(['.', ',', ';', ':']).len();
    let (name, point) = word.split_at(end);
    if let Some(start) = name.find("arn:") {
        return Cow::Owned(format!("{}[arn]{point}", without_accounts(&name[..start])));
    }
    for kind in ["assumed-role/", "role/", "user/", "group/"] {
        if name.starts_with(kind) && name.len() > kind.len() {
            return Cow::Owned(format!("{kind}[name]{point}"));
        }
    }
    let is_key_id = ["AKIA", "ASIA", "AIDA", "AROA"].iter().any(|kind| name.starts_with(kind));
    if is_key_id && name.len() >= 16 {
        return Cow::Owned(format!("[id]{point}"));
    }
    without_accounts(word)
}

/// Replaces every run of exactly twelve digits.
fn without_accounts(word: &str) -> Cow<'_, str> {
    if !word.as_bytes().windows(12).any(|digits| digits.iter().all(u8::is_ascii_digit)) {
        return Cow::Borrowed(word);
    }
    let mut clean = String::with_capacity(word.len());
    let mut rest = word;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        clean.push_str(&rest[..text]);
        rest = &rest[text..];
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        clean.push_str(if digits == 12 { "[account]" } else { &rest[..digits] });
        rest = &rest[digits..];
    }
    Cow::Owned(clean)
}
