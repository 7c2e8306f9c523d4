//! What does Bedrock ask for a million tokens of each model?
//!
//! Only data: on demand, standard tier. A price that has changed keeps its row, so that an answer
//! is priced as it was on its day; a new price is a new row with the day from which it holds.
//!
//! Sources: the price list of AWS Bedrock as two public catalogues have it, `LiteLLM` 1.110.2 and
//! genai-prices 0.2.3, which agree in every figure that both have; Fable 5.2 and Mythos 5.2 stand
//! in the second only. [`CHECKED_ON`] says when they were compared.

use jiff::civil::{Date, date};

/// The day on which the table was last compared with its sources.
pub const CHECKED_ON: Date = date(2026, 11, 29);

/// Where a call may be computed, which is what its price depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Wherever there is room.
    Global,
    /// In one region, or in a group of neighbours.
    Regional,
    /// In AWS `GovCloud`.
    Gov,
}

impl Scope {
    /// As it is written in a list of prices.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Regional => "regional",
            Self::Gov => "gov",
        }
    }
}

/// Micro-dollars for a million tokens of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    pub input: u64,
    pub output: u64,
    pub cache_write_5m: u64,
    /// `None` where there is no such price.
    pub cache_write_1h: Option<u64>,
    pub cache_read: u64,
}

impl Rates {
    fn times(self, percent: u64) -> Self {
        let times = |rate: u64| rate * percent / 100;
        Self {
            input: times(self.input),
            output: times(self.output),
            cache_write_5m: times(self.cache_write_5m),
            cache_write_1h: self.cache_write_1h.map(times),
            cache_read: times(self.cache_read),
        }
    }
}

/// One price of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Anthropic's name without a date.
    pub model: &'static str,
    pub scope: Scope,
    /// From the beginning of this day in UTC; `None` where no earlier price is known.
    pub valid_from: Option<Date>,
    /// The prompt, cached tokens included, has more tokens than this. Such a row prices all of a
    /// request, not only what is above.
    pub prompt_above: u64,
    pub rates: Rates,
}

/// Every price there is, in every scope.
pub fn rows() -> impl Iterator<Item = Row> {
    LISTED.iter().flat_map(|listed| {
        listed.percent.iter().map(|(scope, percent)| Row {
            model: listed.model,
            scope: *scope,
            valid_from: listed.valid_from,
            prompt_above: listed.prompt_above,
            rates: listed.rates.times(*percent),
        })
    })
}

/// A line of the price list, and what the scopes ask of it.
struct Listed {
    model: &'static str,
    percent: &'static [(Scope, u64)],
    valid_from: Option<Date>,
    prompt_above: u64,
    rates: Rates,
}

/// From the 4.5 models on (Sonnet 4.5, September 2025) only the global profile has the list price.
const PREMIUM: &[(Scope, u64)] = &[(Scope::Global, 100), (Scope::Regional, 110), (Scope::Gov, 120)];
const PLAIN: &[(Scope, u64)] = &[(Scope::Global, 100), (Scope::Regional, 100), (Scope::Gov, 120)];

/// Input, output, cache write for 5 minutes, for an hour, and cache read.
const fn listed(model: &'static str, [input, output, write, hour, read]: [u64; 5]) -> Listed {
    let rates = Rates {
        input,
        output,
        cache_write_5m: write,
        cache_write_1h: Some(hour),
        cache_read: read,
    };
    Listed { model, percent: PREMIUM, valid_from: None, prompt_above: 0, rates }
}

/// The same for a model whose cache keeps nothing for an hour, and which costs the same everywhere
/// but in `GovCloud`.
const fn early(model: &'static str, [input, output, write, read]: [u64; 4]) -> Listed {
    let rates =
        Rates { input, output, cache_write_5m: write, cache_write_1h: None, cache_read: read };
    Listed { model, percent: PLAIN, valid_from: None, prompt_above: 0, rates }
}

impl Listed {
    const fn from(self, day: Date) -> Self {
        Self { valid_from: Some(day), ..self }
    }

    const fn above(self, prompt: u64) -> Self {
        Self { prompt_above: prompt, ..self }
    }

    const fn everywhere(self) -> Self {
        Self { percent: PLAIN, ..self }
    }
}

const LISTED: &[Listed] = &[
    early("claude-3-opus", [15_000_000, 75_000_000, 18_750_000, 1_500_000]),
    early("claude-3-sonnet", [3_000_000, 15_000_000, 3_750_000, 300_000]),
    early("claude-3-haiku", [250_000, 1_250_000, 300_000, 30_000]),
    early("claude-3-5-sonnet", [3_000_000, 15_000_000, 3_750_000, 300_000]),
    early("claude-3-5-haiku", [800_000, 4_000_000, 1_000_000, 80_000]),
    early("claude-3-7-sonnet", [3_000_000, 15_000_000, 3_750_000, 300_000]),
    early("claude-opus-4", [15_000_000, 75_000_000, 18_750_000, 1_500_000]),
    early("claude-opus-4-1", [15_000_000, 75_000_000, 18_750_000, 1_500_000]),
    early("claude-sonnet-4", [3_000_000, 15_000_000, 3_750_000, 300_000]),
    early("claude-sonnet-4", [6_000_000, 22_500_000, 7_500_000, 600_000]).above(200_000),
    listed("claude-sonnet-4-5", [3_000_000, 15_000_000, 3_750_000, 6_000_000, 300_000]),
    listed("claude-sonnet-4-5", [6_000_000, 22_500_000, 7_500_000, 12_000_000, 600_000])
        .above(200_000),
    listed("claude-haiku-4-5", [1_000_000, 5_000_000, 1_250_000, 2_000_000, 100_000]),
    listed("claude-opus-4-5", [5_000_000, 25_000_000, 6_250_000, 10_000_000, 500_000]),
    listed("claude-opus-4-6", [5_000_000, 25_000_000, 6_250_000, 10_000_000, 500_000]),
    listed("claude-sonnet-4-6", [3_000_000, 15_000_000, 3_750_000, 6_000_000, 300_000]),
    listed("claude-opus-4-7", [5_000_000, 25_000_000, 6_250_000, 10_000_000, 500_000]),
    listed("claude-opus-4-8", [5_000_000, 25_000_000, 6_250_000, 10_000_000, 500_000]),
    listed("claude-opus-5", [5_000_000, 25_000_000, 6_250_000, 10_000_000, 500_000]),
    listed("claude-sonnet-5", [2_000_000, 10_000_000, 2_500_000, 4_000_000, 200_000]),
    listed("claude-opus-5-5", [4_000_000, 20_000_000, 5_000_000, 8_000_000, 200_000]),
    listed("claude-sonnet-5-5", [2_000_000, 10_000_000, 2_500_000, 4_000_000, 200_000]),
    listed("claude-sonnet-5-5", [2_000_000, 10_000_000, 2_500_000, 4_000_000, 100_000])
        .from(date(2026, 10, 7)),
    listed("claude-haiku-5-5", [100_000, 500_000, 125_000, 200_000, 10_000]),
    listed("claude-haiku-5-5", [500_000, 2_500_000, 625_000, 1_000_000, 50_000]).above(100_000),
    listed("claude-fable-5", [10_000_000, 50_000_000, 12_500_000, 20_000_000, 1_000_000]),
    listed("claude-fable-5-1", [10_000_000, 50_000_000, 12_500_000, 20_000_000, 250_000]),
    listed("claude-fable-5-2", [8_000_000, 40_000_000, 10_000_000, 16_000_000, 200_000]),
    listed("claude-mythos-preview", [27_500_000, 137_500_000, 34_375_000, 55_000_000, 2_750_000])
        .everywhere(),
    listed("claude-mythos-5", [10_000_000, 50_000_000, 12_500_000, 20_000_000, 1_000_000]),
    listed("claude-mythos-5-1", [10_000_000, 50_000_000, 12_500_000, 20_000_000, 250_000]),
    listed("claude-mythos-5-2", [8_000_000, 40_000_000, 10_000_000, 16_000_000, 200_000]),
];
