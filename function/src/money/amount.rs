//! An amount of money, exact to the micro-dollar.

use std::fmt;

/// Decimals of a dollar that are kept.
const DECIMALS: usize = 6;
/// How many of the unit are one dollar, or one whole.
pub(super) const MILLION: u64 = 1_000_000;

/// Millionths of a US dollar. Written as dollars with six decimals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct MicroDollars(pub u64);

impl MicroDollars {
    /// Dollars with two decimals, rounded up.
    #[must_use]
    pub fn cents(self) -> String {
        let cents = self.0.div_ceil(MILLION / 100);
        format!("{}.{:02}", cents / 100, cents % 100)
    }

    /// Dollars as a JSON number: with at most six decimals, and exact.
    #[must_use]
    pub fn number(self) -> String {
        let text = self.to_string();
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl fmt::Display for MicroDollars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / MILLION, self.0 % MILLION)
    }
}

/// Reads a decimal such as `12`, `0.1375` or `.5` as a whole number of millionths.
///
/// `None` where it is anything else: a sign, an exponent, more than six decimals, or too large.
#[must_use]
pub fn millionths(text: &str) -> Option<u64> {
    let (whole, part) = match text.split_once('.') {
        Some(("", part)) => ("0", part),
        Some(parts) => parts,
        None => (text, "0"),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > DECIMALS {
        return None;
    }
    let part: u64 = format!("{part:0<DECIMALS$}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(MILLION)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_is_read_exactly_or_not_at_all() {
        let cases = [
            ("0", Some(0)),
            ("4", Some(4_000_000)),
            ("0.2", Some(200_000)),
            (".5", Some(500_000)),
            ("34.375", Some(34_375_000)),
            ("0.000001", Some(1)),
            ("18446744073709.551615", Some(u64::MAX)),
            ("18446744073709.551616", None),
            ("99999999999999999999", None),
            ("0.0000001", None),
            ("", None),
            (".", None),
            ("1.", None),
            ("-1", None),
            ("+1", None),
            ("1e3", None),
            ("NaN", None),
            ("1_000", None),
            ("1.-5", None),
            ("١", None),
        ];
        for (text, read) in cases {
            assert_eq!(millionths(text), read, "{text}");
        }
    }

    #[test]
    fn an_amount_is_written_with_six_decimals() {
        for (amount, text) in [(0, "0.000000"), (12_345, "0.012345"), (25_000_001, "25.000001")] {
            assert_eq!(MicroDollars(amount).to_string(), text);
        }
        for (amount, text) in [(0, "0.00"), (1, "0.01"), (10_020_000, "10.02")] {
            assert_eq!(MicroDollars(amount).cents(), text);
        }
        for (amount, text) in [(0, "0"), (12_340, "0.01234"), (20_000_000, "20"), (1, "0.000001")] {
            assert_eq!(MicroDollars(amount).number(), text);
        }
    }
}
