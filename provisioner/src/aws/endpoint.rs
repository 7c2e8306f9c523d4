//! Where is a service? As the AWS settings say of it, or of all services, else at AWS.

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use http::Uri;
use http::uri::Authority;

use super::{CloudError, Kind};
use crate::engine::words::quoted;

/// All services that are asked, by the names of their settings (`AWS_ENDPOINT_URL_<ID>`).
const SERVICES: [&str; 10] = [
    "STS",
    "IAM",
    "ECR",
    "DynamoDB",
    "Lambda",
    "CloudWatch Logs",
    "CloudWatch",
    "Bedrock",
    "Bedrock Runtime",
    "Pricing",
];

/// A service that is asked without a client of its own.
pub(super) struct ServiceEndpoint<'a> {
    pub(super) id: &'static str,
    /// The first part of its host.
    pub(super) host: &'static str,
    pub(super) region: &'a str,
    pub(super) partition: &'a str,
}

/// Where that is.
pub(super) fn of(config: &SdkConfig, place: &ServiceEndpoint<'_>) -> String {
    named(config, place.id).unwrap_or_else(|| {
        let (fips, dual) = (config.use_fips(), config.use_dual_stack());
        at_aws(place, fips.unwrap_or_default(), dual.unwrap_or_default())
    })
}

/// Where the public list of prices is, which China has its own of.
pub(super) fn price_list(config: &SdkConfig, partition: &str) -> String {
    let region = if partition == "aws-cn" { "cn-northwest-1" } else { "us-east-1" };
    let (id, partition) = ("Pricing", if partition == "aws-cn" { partition } else { "aws" });
    let place = ServiceEndpoint { id, host: "pricing", region, partition };
    named(config, id).unwrap_or_else(|| at_aws(&place, false, false))
}

/// AWS's own address.
///
/// Source: partitions.json and the endpoint rules of botocore 1.43.106.
fn at_aws(
    ServiceEndpoint { id: _, host, region, partition }: &ServiceEndpoint<'_>,
    fips: bool,
    dual: bool,
) -> String {
    let (suffix, dual_suffix) = match *partition {
        "aws-cn" => ("amazonaws.com.cn", "api.amazonwebservices.com.cn"),
        "aws-eusc" => ("amazonaws.eu", "api.amazonwebservices.eu"),
        "aws-iso" => ("c2s.ic.gov", "api.aws.ic.gov"),
        "aws-iso-b" => ("sc2s.sgov.gov", "api.aws.scloud"),
        "aws-iso-e" => ("cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
        "aws-iso-f" => ("csp.hci.ic.gov", "api.aws.hci.ic.gov"),
        _ => ("amazonaws.com", "api.aws"),
    };
    let fips = if fips { "-fips" } else { "" };
    let suffix = if dual { dual_suffix } else { suffix };
    format!("https://{host}{fips}.{region}.{suffix}")
}

/// What the settings say, unless they say that they are not to be heeded.
fn named(config: &SdkConfig, id: &'static str) -> Option<String> {
    let key = ServiceConfigKey::builder().service_id(id);
    let key = key.env("AWS_ENDPOINT_URL").profile("endpoint_url").build().ok()?;
    let load = |key| config.service_config()?.load_config(key);
    load(key).or_else(|| config.endpoint_url().map(str::to_owned))
}

/// Whether every address in the settings is one, and may be asked: AWS's libraries ask an address
/// of one's own only where no other kind of AWS's own is wanted.
///
/// # Errors
///
/// The first that is none.
pub(super) fn check(config: &SdkConfig) -> Result<(), CloudError> {
    for id in SERVICES {
        let Some(url) = named(config, id) else { continue };
        let kinds = [
            (config.use_fips(), "AWS_USE_FIPS_ENDPOINT"),
            (config.use_dual_stack(), "AWS_USE_DUALSTACK_ENDPOINT"),
        ];
        if let Some((_, kind)) = kinds.iter().find(|(wanted, _)| *wanted == Some(true)) {
            let message = format!("{kind} and an address of one's own for {id} exclude each other");
            let cure = format!("unset {kind}, or AWS_ENDPOINT_URL and what else names an address");
            return Err(CloudError::new(Kind::Unreachable, message).cured_by(cure));
        }
        if is_address(&url) {
            continue;
        }
        let shown = if url.contains('@') { "(hidden)".to_owned() } else { quoted(&url) };
        let variable = id.to_uppercase().replace(' ', "_");
        let message = format!("the AWS settings have \"{shown}\" for {id}, which is no address");
        let cure = format!(
            "write http:// or https:// and a host, such as http://localhost:4566, into \
             AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_{variable} or the profile's endpoint_url"
        );
        return Err(CloudError::new(Kind::Unreachable, message).cured_by(cure));
    }
    Ok(())
}

fn is_address(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let reachable = |place: &Authority| {
        let (host, whole) = (place.host(), place.as_str());
        let port = whole.rsplit_once(host).map_or("", |(_, behind)| behind);
        !host.is_empty() && (port.is_empty() || place.port_u16().is_some_and(|port| port > 0))
    };
    known && uri.authority().is_some_and(reachable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_scheme_and_a_host() {
        for url in [
            "http://localhost:4566",
            "https://a.b/c",
            "http://[::1]:1",
            "http://[::1]",
            "http://u:p@a",
        ] {
            assert!(is_address(url), "{url}");
        }
        for url in [
            "localhost:4566",
            "localhost",
            "http://",
            "http:",
            "ftp://a",
            "//a",
            "a b",
            "/",
            "http://a:",
            "http://a:0",
            "http://a:99999",
            "http://[::1]:0",
        ] {
            assert!(!is_address(url), "{url}");
        }
    }

    #[test]
    fn fips_and_dual_stack_have_hosts_of_their_own() {
        let at = |partition, region, fips, dual| {
            at_aws(
                &ServiceEndpoint { id: "CloudWatch", host: "monitoring", region, partition },
                fips,
                dual,
            )
        };
        for (place, fips, dual, host) in [
            (("aws", "us-east-1"), false, false, "monitoring.us-east-1.amazonaws.com"),
            (("aws", "us-east-1"), true, false, "monitoring-fips.us-east-1.amazonaws.com"),
            (("aws", "us-east-1"), false, true, "monitoring.us-east-1.api.aws"),
            (("aws", "us-east-1"), true, true, "monitoring-fips.us-east-1.api.aws"),
            (("aws-us-gov", "us-gov-west-1"), false, true, "monitoring.us-gov-west-1.api.aws"),
            (("aws-cn", "cn-north-1"), false, false, "monitoring.cn-north-1.amazonaws.com.cn"),
            (("aws-iso", "us-iso-east-1"), false, false, "monitoring.us-iso-east-1.c2s.ic.gov"),
        ] {
            assert_eq!(at(place.0, place.1, fips, dual), format!("https://{host}"));
        }
    }
}
