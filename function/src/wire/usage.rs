//! What did an answer use? The token counts of the Messages API, read for the log.
//!
//! A count that is missing or unreadable is `None`, never a guess, and never a reason to fail.

use serde::Deserialize;

/// The token counts of one answer, as the Messages API counts them.
///
/// `input` leaves out what was read from or written to the prompt cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub struct Usage {
    #[serde(rename = "input_tokens")]
    pub input: Option<u64>,
    #[serde(rename = "output_tokens")]
    pub output: Option<u64>,
    #[serde(rename = "cache_read_input_tokens")]
    pub cache_read: Option<u64>,
    #[serde(rename = "cache_creation_input_tokens")]
    pub cache_write: Option<u64>,
}

impl Usage {
    /// Reads the counts of a message, a `message_start` or a `message_delta`.
    ///
    /// `None` means that `json` is none of these or cannot be read.
    pub fn found_in(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Message {
            usage: Option<Usage>,
        }
        #[derive(Deserialize)]
        struct Carrier {
            message: Option<Message>,
            usage: Option<Usage>,
        }
        let carrier: Carrier = serde_json::from_slice(json).ok()?;
        carrier.usage.or_else(|| carrier.message?.usage)
    }

    /// Takes over every count that `newer` knows: the counts of a stream are cumulative.
    pub fn update(&mut self, newer: Self) {
        self.input = newer.input.or(self.input);
        self.output = newer.output.or(self.output);
        self.cache_read = newer.cache_read.or(self.cache_read);
        self.cache_write = newer.cache_write.or(self.cache_write);
    }
}
