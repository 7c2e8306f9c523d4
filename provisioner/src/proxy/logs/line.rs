//! What kind of line is it? The function writes requests and notices, the platform its own.

use function::telemetry::RequestLine;
use serde_json::{Map, Value};

/// One line of the log group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogLine {
    Request(Box<RequestLine>),
    /// Something that an operator may want to know.
    Notice {
        level: Level,
        message: String,
    },
    /// What the platform says of every start and every request.
    Platform {
        message: String,
    },
}

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    Info,
    /// A line in nobody's form.
    Unknown,
}

impl Level {
    /// The word that stands for it in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Unknown => "unknown",
        }
    }

    fn of(word: &str) -> Self {
        match word.to_ascii_uppercase().as_str() {
            "ERROR" | "FATAL" => Self::Error,
            "WARN" => Self::Warn,
            "INFO" | "DEBUG" | "TRACE" => Self::Info,
            _ => Self::Unknown,
        }
    }
}

impl LogLine {
    /// Reads one event of the log group.
    #[must_use]
    pub fn parse(message: &str) -> Self {
        let message = message.trim_end();
        if let Some(request) = RequestLine::parse(message) {
            return Self::Request(Box::new(request));
        }
        let object = serde_json::from_str::<Map<String, Value>>(message);
        match object {
            Ok(object) if object.contains_key("record") => platform(&object, message),
            Ok(object) if object.contains_key("message") => notice(&object),
            Ok(_) | Err(_) => plain(message),
        }
    }

    /// Whose request it was, if it was one and is known.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        match self {
            Self::Request(request) => request.user.as_deref(),
            Self::Notice { .. } | Self::Platform { .. } => None,
        }
    }
}

/// A line of the function that is no request: its sentence, and its other fields behind it.
fn notice(object: &Map<String, Value>) -> LogLine {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut message = text("message").to_owned();
    let known = ["timestamp", "level", "message", "target"];
    let rest = object.iter().filter(|(key, _)| !known.contains(&key.as_str()));
    let rest: Vec<_> = rest.map(|(key, value)| format!("{key}={}", word(value))).collect();
    if !rest.is_empty() {
        message = format!("{message} ({})", rest.join(" "));
    }
    LogLine::Notice { level: Level::of(text("level")), message }
}

fn word(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What AWS Lambda says where its own lines are JSON (AWS, *Lambda Telemetry API schema*).
fn platform(object: &Map<String, Value>, message: &str) -> LogLine {
    let kind = object.get("type").and_then(Value::as_str).unwrap_or_default();
    let record = object.get("record");
    let status = record.and_then(|record| record.get("status")).and_then(Value::as_str);
    match status {
        Some(status) if status != "success" => {
            let why = record.and_then(|record| record.get("errorType")).map(word);
            let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
            let message = format!("the platform says: {kind}: {status}{why}");
            LogLine::Notice { level: Level::Error, message }
        }
        Some(_) | None => LogLine::Platform { message: message.to_owned() },
    }
}

/// How AWS Lambda's own lines begin where they are text (AWS, *Lambda log formats*).
const PLATFORM: [&str; 5] =
    ["START RequestId: ", "END RequestId: ", "REPORT RequestId: ", "INIT_START ", "INIT_REPORT "];

/// What the lines of the platform say when something went wrong.
const WRONG: [&str; 4] =
    ["Status: timeout", "Status: error", " Task timed out after ", "Runtime exited"];

fn plain(text: &str) -> LogLine {
    let message = text.to_owned();
    let wrong = WRONG.iter().any(|words| text.contains(words));
    let platform = PLATFORM.iter().any(|start| text.starts_with(start));
    let said = text.strip_prefix("error: ");
    match (wrong, said) {
        (true, _) => LogLine::Notice { level: Level::Error, message },
        (false, Some(said)) => LogLine::Notice { level: Level::Error, message: said.to_owned() },
        (false, None) if platform => LogLine::Platform { message },
        (false, None) => LogLine::Notice { level: Level::Unknown, message },
    }
}
