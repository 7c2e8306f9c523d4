//! Why Bedrock may not be asked for a request, told to its client and to whoever reads a sentence.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::money::Period;
use crate::money::budget::UsedUp;
use crate::settings::Budget;

static REASON: HeaderName = HeaderName::from_static("x-claude-proxy-reason");
static BUDGET: HeaderName = HeaderName::from_static("x-claude-proxy-budget");
static MESSAGE: HeaderName = HeaderName::from_static("x-claude-proxy-budget-message");

/// A text as a header may hold it: one that is not all ASCII with percent signs, byte by byte.
fn in_ascii(text: &str) -> String {
    if text.is_ascii() {
        return text.to_owned();
    }
    let letter = |byte: u8| match byte {
        b'%' | 0x80.. => format!("%{byte:02X}"),
        ascii => char::from(ascii).to_string(),
    };
    text.bytes().map(letter).collect()
}

/// Why Bedrock may not be asked.
#[derive(Clone, Debug)]
pub(in crate::proxy) enum Refusal {
    UsedUp { what: String, message: Option<Arc<str>> },
    Unavailable,
}

impl Refusal {
    pub(super) fn of(used_up: Option<UsedUp>, at: Period, settings: &Budget) -> Self {
        let Some(used_up) = used_up else { return Self::Unavailable };
        let used = used_up.used.map(|used| format!("used={}; ", used.cents()));
        let period = if used_up.is_month { "month" } else { "day" };
        let resets = used_up.resets(at, &settings.zone);
        let (used, limit) = (used.unwrap_or_default(), used_up.limit.cents());
        let what = format!("{used}limit={limit}; period={period}; resets={resets}");
        Self::UsedUp { what, message: settings.message.clone() }
    }

    /// Tells the client of an answer that Bedrock would have replaced.
    pub(in crate::proxy) fn tell(&self, headers: &mut HeaderMap) {
        let (reason, budget, message) = match self {
            Self::UsedUp { what, message } => {
                ("budget", HeaderValue::from_str(what).ok(), message.as_deref().map(in_ascii))
            }
            Self::Unavailable => ("budget_unavailable", None, None),
        };
        headers.insert(&REASON, HeaderValue::from_static(reason));
        headers.extend(budget.map(|budget| (BUDGET.clone(), budget)));
        let message = message.and_then(|message| HeaderValue::from_str(&message).ok());
        headers.extend(message.map(|message| (MESSAGE.clone(), message)));
    }

    /// The same for whoever reads a sentence.
    pub(in crate::proxy) fn sentence(&self) -> String {
        match self {
            Self::UsedUp { what, message: None } => format!("The budget is used up: {what}."),
            Self::UsedUp { what, message: Some(message) } => {
                format!("The budget is used up: {what}. {message}")
            }
            Self::Unavailable => "The budget cannot be read or written.".to_owned(),
        }
    }

    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::UsedUp { .. } => "used_up",
            Self::Unavailable => "unavailable",
        }
    }
}
