//! What does AWS ask for a million tokens of Claude? As the account's own offers say it, or the
//! public list.
//!
//! Pure. Offers call a kind of tokens in one of two grammars, and what is meant is matched part by
//! part: `CacheWrite1hInputTokenCount` ends in `InputTokenCount`, and costs eight times as much.
//! What is priced otherwise (batches, priority, reserved throughput) is left out.

mod download;
mod list;

use std::collections::{BTreeMap, BTreeSet};

use function::money::prices::{Row, Scope, rows};
use jiff::civil::Date;
use serde_json::Value;

pub use download::{account, public};

/// A kind of tokens that has a rate of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenKind {
    Input,
    Output,
    CacheWrite5m,
    CacheWrite1h,
    CacheRead,
}

impl TokenKind {
    pub const ALL: [Self; 5] =
        [Self::Input, Self::Output, Self::CacheWrite5m, Self::CacheWrite1h, Self::CacheRead];

    /// As `BEDROCK_PRICES` names it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::CacheRead => "cache_read",
        }
    }

    /// This rate of a row, in micro-dollars for a million tokens.
    #[must_use]
    pub const fn of(self, row: &Row) -> Option<u64> {
        match self {
            Self::Input => Some(row.rates.input),
            Self::Output => Some(row.rates.output),
            Self::CacheWrite5m => Some(row.rates.cache_write_5m),
            Self::CacheWrite1h => row.rates.cache_write_1h,
            Self::CacheRead => Some(row.rates.cache_read),
        }
    }
}

/// Which tokens a line of an offer prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PricedTokens {
    pub kind: TokenKind,
    /// Of the global profile.
    pub global: bool,
    /// Of prompts that are longer than the usual price holds for.
    pub long: bool,
}

impl PricedTokens {
    /// Reads a usage type (`USE1-MP:USE1_InputTokenCount_Global-Units`) or a dimension of a rate
    /// card (`USW2_input_tokens_standard`), and the region that it begins with.
    #[must_use]
    pub fn read(text: &str) -> Option<(&str, Self)> {
        let text = text.rsplit_once(':').map_or(text, |(_, text)| text);
        let text = text.strip_suffix("-Units").unwrap_or(text);
        let is_region = |word: &str| {
            let upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
            !word.is_empty() && word.bytes().all(upper)
        };
        let (region, text) = match text.split_once('_') {
            Some((region, rest)) if is_region(region) => (region, rest),
            _ => ("", text),
        };
        let (kind, rest) = NAMES.iter().find_map(|(name, kind)| {
            let rest = text.strip_prefix(name)?;
            (rest.is_empty() || rest.starts_with('_')).then_some((*kind, rest))
        })?;
        let mut tokens = Self { kind, global: false, long: false };
        // The one mark of two words.
        for mark in rest.replace("_long_ctx", "_LCtx").split('_').skip(1) {
            match mark {
                "Global" | "global" => tokens.global = true,
                "LCtx" => tokens.long = true,
                "standard" => {}
                _ => return None,
            }
        }
        Some((region, tokens))
    }
}

/// What kinds are called, the longer name first where one begins with another.
const NAMES: [(&str, TokenKind); 10] = [
    ("InputTokenCount", TokenKind::Input),
    ("OutputTokenCount", TokenKind::Output),
    ("CacheReadInputTokenCount", TokenKind::CacheRead),
    ("CacheWriteInputTokenCount", TokenKind::CacheWrite5m),
    ("CacheWrite1hInputTokenCount", TokenKind::CacheWrite1h),
    ("input_tokens", TokenKind::Input),
    ("output_tokens", TokenKind::Output),
    ("cache_read_tokens", TokenKind::CacheRead),
    ("cache_write_tokens_1h", TokenKind::CacheWrite1h),
    ("cache_write_tokens", TokenKind::CacheWrite5m),
];

/// Reads a price in micro-dollars for a million tokens. `unit` is whatever an offer says beside
/// it; where that says nothing else, it is a million tokens.
#[must_use]
pub fn rate(price: &str, unit: &str) -> Option<u64> {
    const NANOS: u64 = 1_000_000_000;
    let (whole, part) = price.split_once('.').unwrap_or((price, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let part = part.trim_end_matches('0');
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 9 {
        return None;
    }
    let nanos: u64 = format!("{part:0<9}").parse().ok()?;
    let nanos = whole.parse::<u64>().ok()?.checked_mul(NANOS)?.checked_add(nanos)?;
    let unit = unit.to_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| unit.contains(word));
    if says(&["1m", "million", "1,000,000", "1000000"])
        || !says(&["1k", "thousand", "1,000", "1000"])
    {
        return (nanos % 1000 == 0).then_some(nanos / 1000);
    }
    Some(nanos)
}

/// What offers ask: by model and tokens, all prices that they name. More than one is none that can
/// be relied on.
pub type Offers = BTreeMap<(String, PricedTokens), BTreeSet<u64>>;

/// Reads the rate cards of all offers for one model, as far as they are about `region`.
pub fn read_cards(model: &str, answer: &Value, region: &str, offers: &mut Offers) {
    let all = answer["offers"].as_array().into_iter().flatten();
    let cards = all
        .filter_map(|offer| offer["termDetails"]["usageBasedPricingTerm"]["rateCard"].as_array());
    let code = list::code(region);
    for line in cards.flatten() {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        let Some((of, tokens)) = PricedTokens::read(text("dimension")) else { continue };
        if !of.is_empty() && code.is_some_and(|code| of != code) {
            continue;
        }
        let unit = format!("{} {}", text("unit"), text("description"));
        if let Some(rate) = rate(text("price"), &unit) {
            offers.entry((model.to_owned(), tokens)).or_default().insert(rate);
        }
    }
}

/// A rate that is booked otherwise than AWS asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    pub model: String,
    pub scope: Scope,
    /// `None` of a model that the table does not know.
    pub prompt_above: Option<u64>,
    pub kind: TokenKind,
    /// `None` where there is no such rate.
    pub booked: Option<u64>,
    pub offered: u64,
}

/// The rows that hold on a day: of each model, scope and length of prompt the newest.
#[must_use]
pub fn in_force(day: Date) -> Vec<Row> {
    let mut held: Vec<Row> =
        rows().filter(|row| row.valid_from.is_none_or(|from| from <= day)).collect();
    let place = |row: &Row| (row.model, row.scope.as_str(), row.prompt_above);
    held.sort_by(|a, b| (place(a), b.valid_from).cmp(&(place(b), a.valid_from)));
    held.dedup_by_key(|row| place(row));
    held
}

/// Compares the offers with what is booked: the rows in force, or what `given` says instead of them
/// for a model. How many rates could be compared comes first.
#[must_use]
pub fn compare(
    offers: &Offers,
    rows: &[Row],
    regional: Scope,
    given: impl Fn(&str, TokenKind) -> Option<u64>,
) -> (usize, Vec<Difference>) {
    let (mut compared, mut differences) = (0, Vec::new());
    for ((model, tokens), rates) in offers {
        let Some(offered) = rates.first().copied().filter(|_| rates.len() == 1) else { continue };
        let scope = if tokens.global { Scope::Global } else { regional };
        let theirs = || rows.iter().filter(|row| row.model == model && row.scope == scope);
        let base = theirs().find(|row| row.prompt_above == 0);
        let row =
            if tokens.long { theirs().find(|row| row.prompt_above > 0).or(base) } else { base };
        let booked = given(model, tokens.kind).or_else(|| tokens.kind.of(row?));
        compared += 1;
        if booked != Some(offered) {
            let prompt_above = row.map(|row| row.prompt_above);
            let (model, kind) = (model.clone(), tokens.kind);
            differences.push(Difference { model, scope, prompt_above, kind, booked, offered });
        }
    }
    (compared, differences)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_kind_of_tokens_is_matched_whole_and_never_by_its_end() {
        for (text, read) in [
            ("USE1-MP:USE1_InputTokenCount-Units", "USE1 input"),
            ("USE1-MP:USE1_OutputTokenCount_Global-Units", "USE1 output global"),
            ("USE1-MP:USE1_CacheReadInputTokenCount-Units", "USE1 cache_read"),
            ("EUC1-MP:EUC1_CacheWriteInputTokenCount-Units", "EUC1 cache_write_5m"),
            ("USW2_CacheWrite1hInputTokenCount_Global", "USW2 cache_write_1h global"),
            ("USE1-MP:USE1_InputTokenCount_LCtx-Units", "USE1 input long"),
            ("USE1-MP:USE1_InputTokenCount_LCtx_Global-Units", "USE1 input global long"),
            ("USE1-MP:USE1_input_tokens_standard-Units", "USE1 input"),
            ("USE1-MP:USE1_input_tokens_global_standard-Units", "USE1 input global"),
            ("USE1-MP:USE1_cache_write_tokens_1h_standard-Units", "USE1 cache_write_1h"),
            ("USE1_cache_write_tokens_global_standard", "USE1 cache_write_5m global"),
            ("USE1_output_tokens_long_ctx_global_standard", "USE1 output global long"),
            ("output_tokens", " output"),
        ] {
            let told = PricedTokens::read(text).map(|(region, tokens)| {
                let global = if tokens.global { " global" } else { "" };
                let long = if tokens.long { " long" } else { "" };
                format!("{region} {}{global}{long}", tokens.kind.as_str())
            });
            assert_eq!(told.as_deref(), Some(read), "{text}");
        }
    }

    #[test]
    fn what_is_priced_otherwise_is_left_out() {
        for other in [
            "",
            "_",
            "USE1-MP:USE1_InputTokenCount_Batch-Units",
            "USE1-MP:USE1_InputTokenCount_Global_Batch-Units",
            "USE1-MP:USE1_InputTokenCount_LatencyOptimized-Units",
            "USE1-MP:USE1_input_tokens_global_batch-Units",
            "USE1_input_tokens_flex",
            "USE1_input_tokens_priority",
            "USE1_cache_write_tokens_30m_standard",
            "USE1-MP:USE1_Reserved_1Month_InputTPM_Geo-Units",
            "USE1_ProvisionedThroughput",
            "USE1_SomeInputTokenCount",
            "USE1_InputTokenCounts",
            "USE1_search_units",
        ] {
            assert_eq!(PricedTokens::read(other), None, "{other}");
        }
    }

    #[test]
    fn a_price_is_read_exactly_and_by_its_unit() {
        for (price, unit, micros) in [
            ("3.0000000000", "1M tokens", Some(3_000_000)),
            ("0.1375", "Units Million Input PricedTokens", Some(137_500)),
            ("0.003", "1K tokens", Some(3_000_000)),
            ("0.0000055", "per 1,000 tokens", Some(5_500)),
            ("5", "Units", Some(5_000_000)),
            ("5", "", Some(5_000_000)),
            ("0.0000001", "1M tokens", None),
            ("0.00000000001", "1K tokens", None),
            ("-1", "", None),
            ("1e3", "", None),
            ("NaN", "", None),
            ("", "", None),
            (".", "", None),
            ("99999999999999999999", "", None),
        ] {
            assert_eq!(rate(price, unit), micros, "{price} {unit}");
        }
    }

    #[test]
    fn a_rate_card_is_of_one_region_and_two_offers_that_differ_are_none() {
        let line = |dimension: &str, price: &str| {
            let unit = "1M tokens";
            json!({"dimension": dimension, "price": price, "unit": unit})
        };
        let offer = |lines: Vec<Value>| {
            let card = json!({"rateCard": lines});
            json!({"termDetails": {"usageBasedPricingTerm": card}})
        };
        let answer = json!({"offers": [
            offer(vec![
                line("USE1_InputTokenCount", "3.3"), line("EUC1_InputTokenCount", "9"),
                line("USE1_OutputTokenCount", "16.5"), line("USE1_InputTokenCount_Batch", "1"),
                line("USE1_CacheReadInputTokenCount", "x"), json!(7),
            ]),
            offer(vec![line("USE1_OutputTokenCount", "12")]), json!({}),
        ]});
        let mut offers = Offers::new();
        read_cards("claude-sonnet-4-6", &answer, "us-east-1", &mut offers);
        let rows = in_force(date());
        let (compared, found) = compare(&offers, &rows, Scope::Regional, |_, _| None);
        assert_eq!((compared, found), (1, Vec::new()));
        read_cards("claude-sonnet-4-6", &json!({"offers": null}), "us-east-1", &mut offers);
        assert_eq!(offers.len(), 2);
    }

    #[test]
    fn what_differs_is_said_with_both_figures_and_what_is_given_counts() {
        let tokens = |kind, global, long| PricedTokens { kind, global, long };
        let mut offers = Offers::new();
        let mut offer = |model: &str, tokens, rate| {
            offers.insert((model.to_owned(), tokens), [rate].into());
        };
        offer("claude-sonnet-5-5", tokens(TokenKind::CacheRead, true, false), 200_000);
        offer("claude-sonnet-5-5", tokens(TokenKind::Input, false, false), 2_200_000);
        offer("claude-haiku-5-5", tokens(TokenKind::Output, true, true), 2_500_000);
        offer("claude-opus-5-5", tokens(TokenKind::Input, true, true), 8_000_000);
        offer("claude-opus-9", tokens(TokenKind::Input, true, false), 1_000_000);
        let rows = in_force(date());
        let (compared, found) = compare(&offers, &rows, Scope::Regional, |_, _| None);
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.model.as_str(), one.prompt_above, one.booked, one.offered))
            .collect();
        assert_eq!(compared, 5);
        assert_eq!(
            told,
            [
                ("claude-opus-5-5", Some(0), Some(4_000_000), 8_000_000),
                ("claude-opus-9", None, None, 1_000_000),
                ("claude-sonnet-5-5", Some(0), Some(100_000), 200_000),
            ]
        );
        let given = |model: &str, kind: TokenKind| {
            (model == "claude-sonnet-5-5" && kind == TokenKind::CacheRead).then_some(200_000)
        };
        assert_eq!(compare(&offers, &rows, Scope::Regional, given).1.len(), 2);
    }

    #[test]
    fn a_price_holds_from_its_day_on() {
        let read = |day: Date| {
            let rows = in_force(day);
            let mut rows = rows.iter().filter(|row| row.model == "claude-sonnet-5-5");
            rows.find(|row| row.scope == Scope::Global).unwrap().rates.cache_read
        };
        assert_eq!(read(jiff::civil::date(2026, 10, 6)), 200_000);
        assert_eq!(read(jiff::civil::date(2026, 10, 7)), 100_000);
    }

    fn date() -> Date {
        jiff::civil::date(2026, 11, 29)
    }
}
