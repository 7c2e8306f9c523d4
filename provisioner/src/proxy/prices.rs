//! What does an answer of Bedrock cost, about?
//!
//! An estimate from list prices of one day: discounts, taxes and the prompt cache are not in it. A
//! model that the table does not have costs nobody knows what.

use function::wire::usage::Usage;

/// When the table was made.
pub const READ: &str = "2026-11-26";

/// Dollars for a million tokens in, and out, by Anthropic's name.
///
/// After Anthropic, *Models & pricing*, which Bedrock's global profiles follow: seen there for
/// Opus 5 and 5.5, Fable 5.1, Sonnet 5.5 and Haiku 5.5; the rest is from second hand.
const PRICES: [(&str, f64, f64); 18] = [
    ("claude-3-haiku", 0.25, 1.25),
    ("claude-3-5-haiku", 0.8, 4.0),
    ("claude-3-7-sonnet", 3.0, 15.0),
    ("claude-sonnet-4", 3.0, 15.0),
    ("claude-opus-4", 15.0, 75.0),
    ("claude-opus-4-1", 15.0, 75.0),
    ("claude-sonnet-4-5", 3.0, 15.0),
    ("claude-haiku-4-5", 1.0, 5.0),
    ("claude-opus-4-5", 5.0, 25.0),
    ("claude-opus-4-6", 5.0, 25.0),
    ("claude-sonnet-4-6", 3.0, 15.0),
    ("claude-opus-4-7", 5.0, 25.0),
    ("claude-opus-4-8", 5.0, 25.0),
    ("claude-opus-5", 5.0, 25.0),
    ("claude-opus-5-5", 4.0, 20.0),
    ("claude-sonnet-5-5", 2.0, 10.0),
    ("claude-haiku-5-5", 0.1, 0.5),
    ("claude-fable-5-1", 10.0, 50.0),
];

/// What a profile of a few regions costs more than a global one, by how the id begins (AWS, *Amazon
/// Bedrock pricing*).
const SURCHARGES: [(&str, f64); 2] = [("global.", 1.0), ("us-gov.", 1.2)];
const REGIONAL: f64 = 1.1;

/// Dollars for an answer of this Bedrock model or profile.
#[must_use]
pub fn dollars(bedrock_model: &str, usage: &Usage) -> Option<f64> {
    let name = name(bedrock_model)?;
    let (_, input, output) = PRICES.iter().find(|(known, ..)| *known == name)?;
    let known = SURCHARGES.iter().find(|(start, _)| bedrock_model.starts_with(start));
    let surcharge = known.map_or(REGIONAL, |(_, surcharge)| *surcharge);
    let tokens = |count: Option<u64>| count.and_then(|count| u32::try_from(count).ok());
    let million = 1_000_000.0;
    let input = f64::from(tokens(usage.input)?) * input;
    let output = f64::from(tokens(usage.output)?) * output;
    Some((input + output) * surcharge / million)
}

/// Anthropic's name in an id of Bedrock, without its date and version.
fn name(bedrock_model: &str) -> Option<&str> {
    let (_, name) = bedrock_model.rsplit_once("anthropic.")?;
    let name = name.split("-v").next().unwrap_or(name);
    let dated = |(_, date): &(&str, &str)| {
        date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit())
    };
    Some(name.rsplit_once('-').filter(dated).map_or(name, |(name, _)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_price_is_that_of_the_very_model_and_profile() {
        let usage = Usage { input: Some(1000), output: Some(100), ..Usage::default() };
        let price = |id: &str| dollars(id, &usage).map(|dollars| format!("{dollars:.6}"));
        let haiku = "anthropic.claude-haiku-4-5-20251001-v1:0";
        assert_eq!(price(&format!("global.{haiku}")).as_deref(), Some("0.001500"));
        assert_eq!(price(&format!("us.{haiku}")).as_deref(), Some("0.001650"));
        assert_eq!(price("us-gov.anthropic.claude-opus-4-8").as_deref(), Some("0.009000"));
        assert_eq!(price("global.anthropic.claude-opus-5-5").as_deref(), Some("0.006000"));
        for unknown in ["global.anthropic.claude-fable-5-2", "arn:aws:bedrock:x:1:y/z", ""] {
            assert_eq!(price(unknown), None, "{unknown}");
        }
        assert_eq!(dollars(haiku, &Usage::default()), None);
    }
}
