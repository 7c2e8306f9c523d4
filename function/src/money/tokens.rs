//! Tokens by what they cost.

/// Tokens by what they cost, as Bedrock has counted them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// The prompt, without what was read from the cache or written to it.
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
}

impl Tokens {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.prompt().saturating_add(self.output)
    }

    /// Those that Bedrock has read, in whichever way.
    #[must_use]
    pub fn prompt(&self) -> u64 {
        let writes = self.cache_write_5m.saturating_add(self.cache_write_1h);
        self.input.saturating_add(self.cache_read).saturating_add(writes)
    }

    /// Which part of all prompts came from the cache, in ten-thousandths, rounded down; `None`
    /// where there was no prompt.
    #[must_use]
    pub fn cache_share(&self) -> Option<u64> {
        let share = u128::from(self.cache_read) * 10_000;
        share.checked_div(u128::from(self.prompt())).and_then(|share| share.try_into().ok())
    }

    /// The tokens of two answers.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_write_5m: self.cache_write_5m.saturating_add(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.saturating_add(other.cache_write_1h),
        }
    }
}
