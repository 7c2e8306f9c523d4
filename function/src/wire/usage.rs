//! What did an answer use? The token counts of the Messages API, read for the log and the price.
//!
//! A count that is missing or unreadable is `None`, never a guess, and never a reason to fail.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The token counts of one answer, as the Messages API counts them.
///
/// `input` leaves out what was read from or written to the prompt cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: Option<u64>,
    pub output: Option<u64>,
    pub cache_read: Option<u64>,
    /// All that was written, however long it lasts.
    pub cache_write: Option<u64>,
    /// The part of it that lasts five minutes.
    pub cache_write_5m: Option<u64>,
    /// The part of it that lasts an hour.
    pub cache_write_1h: Option<u64>,
}

#[derive(Deserialize)]
struct UsageFields<'a> {
    #[serde(borrow)]
    input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_read_input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_creation_input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_creation: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Writes<'a> {
    #[serde(borrow)]
    ephemeral_5m_input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    ephemeral_1h_input_tokens: Option<&'a RawValue>,
}

fn count(value: Option<&RawValue>) -> Option<u64> {
    value?.get().parse().ok()
}

impl From<UsageFields<'_>> for Usage {
    fn from(counts: UsageFields<'_>) -> Self {
        let split = counts.cache_creation.map(RawValue::get);
        let split: Writes<'_> =
            split.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        Self {
            input: count(counts.input_tokens),
            output: count(counts.output_tokens),
            cache_read: count(counts.cache_read_input_tokens),
            cache_write: count(counts.cache_creation_input_tokens),
            cache_write_5m: count(split.ephemeral_5m_input_tokens),
            cache_write_1h: count(split.ephemeral_1h_input_tokens),
        }
    }
}

impl Usage {
    /// Reads the counts of a message, a `message_start` or a `message_delta`.
    ///
    /// `None` means that `json` is none of these or cannot be read.
    pub fn found_in(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(borrow)]
            usage: Option<UsageFields<'a>>,
        }
        #[derive(Deserialize)]
        struct Carrier<'a> {
            #[serde(borrow)]
            message: Option<Message<'a>>,
            #[serde(borrow)]
            usage: Option<UsageFields<'a>>,
        }
        let carrier: Carrier<'_> = serde_json::from_slice(json).ok()?;
        carrier.usage.or_else(|| carrier.message?.usage).map(Self::from)
    }

    /// Takes over every count of which `other` knows more.
    ///
    /// The counts of a stream are cumulative, and some are told at its beginning only or at its end
    /// only: the larger is the true one, and their sum never is.
    pub fn update(&mut self, other: Self) {
        self.input = self.input.max(other.input);
        self.output = self.output.max(other.output);
        self.cache_read = self.cache_read.max(other.cache_read);
        self.cache_write = self.cache_write.max(other.cache_write);
        self.cache_write_5m = self.cache_write_5m.max(other.cache_write_5m);
        self.cache_write_1h = self.cache_write_1h.max(other.cache_write_1h);
    }

    /// The tokens that were written to the cache for five minutes, and for an hour.
    ///
    /// What the answer does not say of them lasts as long as the request has asked for, an `hour`
    /// where any part of it has.
    #[must_use]
    pub fn cache_writes(&self, hour: bool) -> (u64, u64) {
        let known = [self.cache_write_5m, self.cache_write_1h].map(Option::unwrap_or_default);
        let [short, long] = known;
        let told = short.saturating_add(long);
        let rest = self.cache_write.unwrap_or(0).saturating_sub(told);
        if hour { (short, long.saturating_add(rest)) } else { (short.saturating_add(rest), long) }
    }
}
