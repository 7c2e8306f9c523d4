//! What will it cost? An estimate from AWS's list prices, made of what the stack declares.
//!
//! Prices: AWS, the pages *Lambda Pricing* and *ECR Pricing*, US East (N. Virginia), as of
//! [`AS_OF`]. Nothing asks AWS: prices differ by region and contract, so this is never a bill.

use std::fmt;

use crate::image::Architecture;
use crate::resources::image::ImageSpec;
use crate::stack::Declaration;

/// When the prices were noted.
pub const AS_OF: &str = "November 2026";

/// A second of a gibibyte of memory, in USD.
const ARM64_GIB_SECOND: f64 = 0.000_013_333_4;
const X86_64_GIB_SECOND: f64 = 0.000_016_666_7;

/// A gigabyte of images for a month, in USD.
const ECR_GB_MONTH: f64 = 0.10;

/// The deployed image, and those that are kept before it.
const IMAGES: f64 = 4.0;

/// What the stack is expected to cost, in USD, without Bedrock's tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    /// A month in which nobody asks anything, if the size of the image is known.
    pub idle_month: Option<f64>,
    /// An hour of requests, one after the other.
    pub busy_hour: f64,
}

impl Estimate {
    /// Estimates for what is declared; `None` where no function is.
    #[must_use]
    pub fn of(declared: &Declaration) -> Option<Self> {
        let function = declared.spec.function.as_ref()?;
        let gib = f64::from(function.memory.get()) / 1024.0;
        let second = match function.architecture {
            Architecture::Arm64 => ARM64_GIB_SECOND,
            Architecture::X86_64 => X86_64_GIB_SECOND,
        };
        let idle_month = match declared.spec.image.as_ref()? {
            ImageSpec::Ready(image) => Some(image.size() as f64 / 1e9 * ECR_GB_MONTH * IMAGES),
            ImageSpec::Kept(_) | ImageSpec::NotCompared => None,
        };
        Some(Self { idle_month, busy_hour: gib * second * 3600.0 })
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.idle_month.map_or_else(|| "a few cents".to_owned(), usd);
        write!(f, "{idle} a month while idle, {} for each hour of answering", usd(self.busy_hour))
    }
}

fn usd(amount: f64) -> String {
    if amount < 0.01 { "less than 0.01 USD".to_owned() } else { format!("{amount:.2} USD") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_amounts_are_not_told_as_nothing() {
        let estimate = Estimate { idle_month: Some(0.004), busy_hour: 0.012 };
        insta::assert_snapshot!(estimate, @r#"
        less than 0.01 USD a month while idle, 0.01 USD for each hour of answering
        "#);
        let estimate = Estimate { idle_month: None, busy_hour: 0.48 };
        insta::assert_snapshot!(estimate, @r#"
        a few cents a month while idle, 0.48 USD for each hour of answering
        "#);
    }
}
