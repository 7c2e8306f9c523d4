//! Where is the registry, and may it be reached without encryption?
//!
//! Only on this machine: anywhere else a password would be readable on the way.

use std::net::IpAddr;

use http::Uri;

use super::PushError;

/// The address of a registry, as far as the protocol needs it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Host and port.
    pub(super) authority: String,
    /// Plain HTTP instead of HTTPS.
    pub(super) plain: bool,
}

impl Endpoint {
    pub(super) fn parse(text: &str) -> Result<Self, PushError> {
        let unusable = || PushError::Endpoint { endpoint: text.to_owned() };
        let uri = text.parse::<Uri>().map_err(|_| unusable())?;
        let authority = uri.authority().ok_or_else(unusable)?;
        let bare = matches!(uri.path(), "" | "/") && uri.query().is_none();
        if !bare || authority.as_str().contains('@') {
            return Err(unusable());
        }
        let plain = match uri.scheme_str() {
            Some("https") => false,
            Some("http") => true,
            _ => return Err(unusable()),
        };
        if plain && !is_this_machine(authority.host()) {
            return Err(PushError::PlainHttp { host: authority.host().to_owned() });
        }
        Ok(Self { authority: authority.to_string(), plain })
    }
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_goes_anywhere() {
        let endpoint = Endpoint::parse("https://1.dkr.ecr.cn-north-1.amazonaws.com.cn").unwrap();
        assert_eq!(endpoint.authority, "1.dkr.ecr.cn-north-1.amazonaws.com.cn");
        assert!(!endpoint.plain);
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for here in ["http://127.0.0.1:5000", "http://localhost:80/", "http://[::1]:5000"] {
            assert!(Endpoint::parse(here).unwrap().plain, "{here}");
        }
        for away in ["http://10.0.0.1:5000", "http://localhost.example.com", "http://[::2]"] {
            assert!(matches!(Endpoint::parse(away), Err(PushError::PlainHttp { .. })), "{away}");
        }
    }

    #[test]
    fn anything_else_is_no_registry() {
        for text in ["", "registry", "ftp://a", "https://a/v2", "https://u:p@a", "https://a?b"] {
            assert!(matches!(Endpoint::parse(text), Err(PushError::Endpoint { .. })), "{text}");
        }
    }
}
