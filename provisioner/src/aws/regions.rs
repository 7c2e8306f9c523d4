//! Which regions are there, and what may one be called?

use crate::engine::words::quoted;

/// Those that there are.
///
/// Source: partitions.json of botocore 1.43.106.
pub const REGIONS: [&str; 40] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
    "us-iso-east-1",
];

/// Reads the name of a region, which becomes a part of the names of hosts.
///
/// # Errors
///
/// In a sentence, if there can be none of this name.
pub fn parse(text: &str) -> Result<String, String> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (1..=63).contains(&text.len())
        && text.bytes().all(letters)
        && !text.starts_with('-')
        && !text.ends_with('-');
    let why = || format!("\"{}\" is no name of a region, such as us-east-1", quoted(text));
    good.then(|| text.to_owned()).ok_or_else(why)
}

/// Whether there is a region of this name, as far as is known here.
#[must_use]
pub fn is_known(name: &str) -> bool {
    REGIONS.contains(&name)
}
