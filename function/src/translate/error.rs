//! What does a failure of Bedrock mean, and what of it may a client read?
//!
//! Decides by exception name, then by status, and of a 400 by its sentence: the client's own it is
//! only where Anthropic would say the same of the same request. Names and statuses are those of the
//! Bedrock Runtime API reference. No text leaves here with an ARN, an account number or the name of
//! a role or user.

use std::borrow::Cow;

use super::sentences::{CLIENTS, OPERATORS};
use crate::reply::ErrorKind;

/// The longest message that is passed on, in bytes.
pub const MAX_MESSAGE: usize = 4096;

/// What is read of a message, in bytes: scrubbing may shorten it.
const MOST_READ: usize = 4 * MAX_MESSAGE;

/// The longest quotation that is passed on, in characters.
const LONGEST_QUOTATION: usize = 64;

/// What a failure of Bedrock means; every message is scrubbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BedrockFailure {
    /// The request itself is wrong, for Anthropic too: the client reads the sentence, and may mend
    /// by it.
    Client { message: String },
    /// The request is one that Anthropic takes and Bedrock does not, in whatever region.
    Refused { message: String },
    /// It passes with time: another region may answer now, this one later.
    Transient { kind: ErrorKind, message: String },
    /// Nobody knows what became of it: the answer never came, or broke off. It may have been made,
    /// and be paid for. Otherwise it is as one that passes.
    Unheard { kind: ErrorKind, message: String },
    /// It stays until the operator has changed something.
    Permanent { kind: ErrorKind, message: String },
}

impl BedrockFailure {
    /// Returns the kind of error that a client should see.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Client { .. } => ErrorKind::InvalidRequest,
            Self::Refused { .. } => ErrorKind::Api,
            Self::Transient { kind, .. }
            | Self::Unheard { kind, .. }
            | Self::Permanent { kind, .. } => *kind,
        }
    }

    /// Returns the scrubbed message.
    pub fn message(&self) -> &str {
        match self {
            Self::Client { message }
            | Self::Refused { message }
            | Self::Transient { message, .. }
            | Self::Unheard { message, .. }
            | Self::Permanent { message, .. } => message,
        }
    }

    /// The same failure where it is not known whether Bedrock has answered.
    #[must_use]
    pub fn unheard(self) -> Self {
        Self::Unheard { kind: self.kind(), message: self.message().to_owned() }
    }

    /// Whether it is the request as it was sent that Bedrock does not take, so that another one may
    /// be taken.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Client { .. } | Self::Refused { .. } => true,
            Self::Transient { .. } | Self::Unheard { .. } | Self::Permanent { .. } => false,
        }
    }
}

enum Meaning {
    Client,
    Refused,
    Transient(ErrorKind),
    Permanent(ErrorKind),
}

use Meaning::{Client, Permanent, Refused, Transient};

impl Meaning {
    fn with(self, message: String) -> BedrockFailure {
        match self {
            Client => BedrockFailure::Client { message },
            Refused => BedrockFailure::Refused { message },
            Transient(kind) => BedrockFailure::Transient { kind, message },
            Permanent(kind) => BedrockFailure::Permanent { kind, message },
        }
    }
}

/// Judges an error of a Bedrock operation, or an exception inside its stream.
///
/// `code` is the exception's name in any of its spellings. Where a model's own error carries an
/// original status, `status` is that one. Neither of them stands for a broken connection. Of a
/// message only the beginning is read, however long it is.
pub fn judge(status: Option<u16>, code: Option<&str>, message: &str) -> BedrockFailure {
    let message = &message[..message.floor_char_boundary(MOST_READ)];
    let meaning = match code.and_then(by_name).unwrap_or_else(|| by_status(status)) {
        Refused | Client => by_sentence(message),
        meaning @ (Transient(_) | Permanent(_)) => meaning,
    };
    meaning.with(sentence(message))
}

/// Judges an `error` event of the Messages API that came as a chunk of a Bedrock stream.
pub(super) fn of_event(kind: &str, message: &str) -> BedrockFailure {
    let message = &message[..message.floor_char_boundary(MOST_READ)];
    let kind = ErrorKind::named(kind).unwrap_or(ErrorKind::Api);
    let meaning = if kind == ErrorKind::InvalidRequest {
        by_sentence(message)
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
        "validation" => Refused,
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
        Some(400) => Refused,
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

/// Whose fault an invalid request is.
fn by_sentence(message: &str) -> Meaning {
    let message = message.to_ascii_lowercase();
    let fault = OPERATORS.iter().find(|(part, _)| message.contains(part));
    let is_clients = || CLIENTS.iter().any(|parts| parts.iter().all(|part| message.contains(part)));
    match fault {
        Some((_, kind)) => Permanent(*kind),
        None if is_clients() => Client,
        None => Refused,
    }
}

/// Reduces a message to what a client of Anthropic knows how to read.
fn sentence(message: &str) -> String {
    let message = message.trim();
    let message =
        message.strip_prefix("The model returned the following errors: ").unwrap_or(message);
    if message.is_empty() { "Bedrock gave no reason.".to_owned() } else { scrub(message) }
}

/// Removes ARNs, account numbers, key ids and the names of roles and users, long quotations, which
/// may be the user's words, and control characters; at most [`MAX_MESSAGE`] bytes remain.
pub fn scrub(message: &str) -> String {
    let mut clean = String::with_capacity(message.len());
    for piece in message.split_inclusive(is_separator) {
        let word = piece.trim_end_matches(is_separator);
        clean.push_str(&scrubbed(word));
        clean.push_str(&piece[word.len()..]);
    }
    let mut clean = without_quotations(&clean);
    if clean.len() > MAX_MESSAGE {
        clean.truncate(clean.floor_char_boundary(MAX_MESSAGE - '…'.len_utf8()));
        clean.push('…');
    }
    clean
}

/// Leaves of every quotation longer than [`LONGEST_QUOTATION`] only the quotes, and of every
/// control character a space. One that does not end goes to the end of the message.
fn without_quotations(message: &str) -> String {
    let mut clean = String::with_capacity(message.len());
    let (mut rest, mut before) = (message, ' ');
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        clean.push(if first.is_control() { ' ' } else { first });
        let close = match first {
            '\'' | '"' | '`' => first,
            '\u{201c}' => '\u{201d}',
            '\u{2018}' => '\u{2019}',
            _ => ' ',
        };
        // An apostrophe stands in a word, a quote before one.
        if close != ' ' && !before.is_alphanumeric() {
            let end = end_of_quotation(rest, close);
            let (quoted, after) = rest.split_at(end);
            if quoted.chars().nth(LONGEST_QUOTATION).is_some() {
                clean.push('…');
            } else {
                clean.extend(quoted.chars().map(|c| if c.is_control() { ' ' } else { c }));
            }
            rest = after;
            if let Some(closing) = rest.chars().next() {
                clean.push(closing);
                rest = &rest[closing.len_utf8()..];
            }
            before = close;
        } else {
            before = first;
        }
    }
    clean
}

/// Where the closing quote stands: not in the middle of a word.
fn end_of_quotation(text: &str, close: char) -> usize {
    let ends = |at: usize| {
        let next = text[at + close.len_utf8()..].chars().next();
        next.is_none_or(|next| !next.is_alphanumeric())
    };
    text.match_indices(close).map(|(at, _)| at).find(|at| ends(*at)).unwrap_or(text.len())
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
