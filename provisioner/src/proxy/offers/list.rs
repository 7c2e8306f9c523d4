//! The public list of prices: one file for each region.
//!
//! Source: AWS, *Price List Bulk API*; what is in the file of Bedrock's models was noted on
//! 2026-11-29.

use std::collections::BTreeMap;

use function::money::prices::rows;
use serde::Deserialize;

use super::{Offers, PricedTokens, rate};

/// Where it stands below the service's address.
pub(super) fn path(region: &str) -> String {
    format!("/offers/v1.0/aws/AmazonBedrockFoundationModels/current/{region}/index.json")
}

#[derive(Deserialize)]
struct PriceList {
    products: BTreeMap<String, Product>,
    terms: Terms,
}

#[derive(Deserialize)]
struct Product {
    #[serde(default)]
    attributes: Attributes,
}

#[derive(Default, Deserialize)]
struct Attributes {
    #[serde(default)]
    servicename: String,
    #[serde(default)]
    usagetype: String,
}

#[derive(Deserialize)]
struct Terms {
    #[serde(default, rename = "OnDemand")]
    on_demand: BTreeMap<String, BTreeMap<String, Term>>,
}

#[derive(Deserialize)]
struct Term {
    #[serde(default, rename = "priceDimensions")]
    dimensions: BTreeMap<String, Dimension>,
}

#[derive(Deserialize)]
struct Dimension {
    #[serde(default)]
    unit: String,
    #[serde(default)]
    description: String,
    #[serde(default, rename = "pricePerUnit")]
    price: BTreeMap<String, String>,
}

/// Reads the file; `None` where it is none.
pub(super) fn read(file: &[u8]) -> Option<Offers> {
    let file: PriceList = serde_json::from_slice(file).ok()?;
    let mut offers = Offers::new();
    for (sku, product) in &file.products {
        let Attributes { servicename, usagetype } = &product.attributes;
        let (Some(model), Some((_, tokens))) = (model(servicename), PricedTokens::read(usagetype))
        else {
            continue;
        };
        let terms = file.terms.on_demand.get(sku).into_iter().flat_map(BTreeMap::values);
        for dimension in terms.flat_map(|term| term.dimensions.values()) {
            let unit = format!("{} {}", dimension.unit, dimension.description);
            let price = dimension.price.get("USD");
            if let Some(rate) = price.and_then(|price| rate(price, &unit)) {
                offers.entry((model.clone(), tokens)).or_default().insert(rate);
            }
        }
    }
    Some(offers)
}

/// What the table calls a model that the list has under a name for people; a name that is too new
/// for the table is made in the same way.
fn model(service: &str) -> Option<String> {
    let name = service.strip_suffix(" (Amazon Bedrock Edition)").unwrap_or(service);
    let name = name.to_lowercase().replace([' ', '.'], "-");
    let known = |name: &str| rows().any(|row| row.model == name);
    let revision = name.rsplit_once("-v").filter(|(name, _)| known(name));
    let name = revision.map_or(name.as_str(), |(name, _)| name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_name = name.starts_with("claude-") && name.len() <= 64 && name.bytes().all(plain);
    is_name.then(|| name.to_owned())
}

/// What a region is called in the dimensions of a rate card, where that is known.
///
/// Source: the usage types of AWS's bills.
pub(super) fn code(region: &str) -> Option<&'static str> {
    CODES.iter().find(|(name, _)| *name == region).map(|(_, code)| *code)
}

const CODES: [(&str, &str); 33] = [
    ("af-south-1", "AFS1"),
    ("ap-east-1", "APE1"),
    ("ap-northeast-1", "APN1"),
    ("ap-northeast-2", "APN2"),
    ("ap-northeast-3", "APN3"),
    ("ap-south-1", "APS3"),
    ("ap-south-2", "APS5"),
    ("ap-southeast-1", "APS1"),
    ("ap-southeast-2", "APS2"),
    ("ap-southeast-3", "APS4"),
    ("ap-southeast-4", "APS6"),
    ("ap-southeast-5", "APS7"),
    ("ap-southeast-7", "APS9"),
    ("ca-central-1", "CAN1"),
    ("ca-west-1", "CAN2"),
    ("eu-central-1", "EUC1"),
    ("eu-central-2", "EUC2"),
    ("eu-north-1", "EUN1"),
    ("eu-south-1", "EUS1"),
    ("eu-south-2", "EUS2"),
    ("eu-west-1", "EUW1"),
    ("eu-west-2", "EUW2"),
    ("eu-west-3", "EUW3"),
    ("il-central-1", "ILC1"),
    ("me-central-1", "MEC1"),
    ("me-south-1", "MES1"),
    ("mx-central-1", "MXC1"),
    ("sa-east-1", "SAE1"),
    ("us-east-1", "USE1"),
    ("us-east-2", "USE2"),
    ("us-gov-east-1", "UGE1"),
    ("us-gov-west-1", "UGW1"),
    ("us-west-2", "USW2"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_known_by_its_name_for_people() {
        for (service, name) in [
            ("Claude Sonnet 4.6 (Amazon Bedrock Edition)", Some("claude-sonnet-4-6")),
            ("Claude 3.5 Sonnet v2 (Amazon Bedrock Edition)", Some("claude-3-5-sonnet")),
            ("Claude Opus 9.9 (Amazon Bedrock Edition)", Some("claude-opus-9-9")),
            ("Nova Pro", None),
            ("Claude (evil) \u{1b}[2J", None),
            ("", None),
        ] {
            assert_eq!(model(service).as_deref(), name, "{service}");
        }
    }

    #[test]
    fn a_file_is_read_or_it_is_none() {
        let file = br#"{"publicationDate": "2026-11-20T00:00:00Z", "products": {"A": {"attributes":
            {"servicename": "Claude Opus 5.5 (Amazon Bedrock Edition)",
             "usagetype": "USE1-MP:USE1_input_tokens_standard-Units"}}, "B": {}},
            "terms": {"OnDemand": {"A": {"A.T": {"priceDimensions": {"A.T.D": {"unit": "1M tokens",
             "pricePerUnit": {"USD": "4.4000000000"}}}}}}}}"#;
        let offers = read(file).unwrap();
        assert_eq!(offers.values().next().unwrap().first(), Some(&4_400_000));
        for broken in [&b""[..], b"{}", b"[]", b"{\"products\": 1}", b"<html>"] {
            assert!(read(broken).is_none());
        }
        assert!(read(br#"{"products": {}, "terms": {}}"#).unwrap().is_empty());
    }
}
