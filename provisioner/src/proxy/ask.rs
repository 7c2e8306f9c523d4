//! How is the function's URL asked? By HTTPS, or in the open where an emulator is on this machine.
//!
//! No redirect is followed: what is shown to the function is for the function alone. What comes
//! back is read piece by piece, as it came, and never without an end.

use std::net::IpAddr;

use reqwest::redirect::Policy;
use reqwest::{Client, RequestBuilder, Response, Url};

use crate::engine::network;

/// Prepares a request to `url`, with the method and all else that `request` puts into it.
///
/// # Errors
///
/// In a sentence: `url` is none, or this machine has no certificates to trust.
pub(crate) fn prepare(
    url: &str,
    request: impl FnOnce(&Client, Url) -> RequestBuilder,
) -> Result<RequestBuilder, String> {
    let url: Url = url.parse().map_err(|_| "the URL is not one".to_owned())?;
    // The client takes the process's TLS provider; whoever came first has chosen ring as well.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = Client::builder().redirect(Policy::none());
    let client = if is_this_machine(&url) { client.no_proxy() } else { client };
    let client = client.build().map_err(|_| "no certificates to trust".to_owned())?;
    Ok(request(&client, url))
}

/// Sends, and waits for the head of the answer.
pub(crate) async fn send(request: RequestBuilder) -> Result<Response, String> {
    request.send().await.map_err(|error| why(&error))
}

/// Puts the next piece of the body behind what was `read`; `false` at its end.
///
/// # Errors
///
/// In a sentence: the answer breaks off, or is longer than `most` bytes.
pub(crate) async fn read_on(
    answer: &mut Response,
    read: &mut Vec<u8>,
    most: usize,
) -> Result<bool, String> {
    let piece = answer.chunk().await;
    let piece = piece.map_err(|error| format!("the answer broke off: {}", why(&error)))?;
    read.extend_from_slice(piece.as_deref().unwrap_or_default());
    if read.len() > most {
        return Err("the answer does not end: this is not claude-proxy".to_owned());
    }
    Ok(piece.is_some())
}

fn why(error: &reqwest::Error) -> String {
    network::why(error)
}

/// Nothing on the way to this machine is asked for help.
fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_reached_without_a_proxy() {
        let here = |url: &str| is_this_machine(&url.parse().unwrap());
        for url in ["http://127.0.0.1:8080/", "http://localhost", "http://[::1]:1", "http://127.1"]
        {
            assert!(here(url), "{url}");
        }
        for url in ["https://a.lambda-url.us-east-1.on.aws", "http://localhost.a", "http://[::2]"] {
            assert!(!here(url), "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_said_so() {
        let prepared = |url| prepare(url, |client, url| client.get(url)).map(drop);
        for url in ["", "/healthz", "127.0.0.1:80", "http://", "http://[::1"] {
            assert_eq!(prepared(url), Err("the URL is not one".to_owned()), "{url}");
        }
    }
}
