//! May these credentials be shown at all?
//!
//! The SDK writes them into headers as they are, and panics where that cannot be: a line end that
//! came along out of a file is enough. So they are looked at where they are found.

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{
    ProvideCredentials, Result, SharedCredentialsProvider, future,
};

/// Credentials that can be shown, from wherever `inner` finds them.
#[derive(Debug)]
pub(super) struct Showable {
    inner: SharedCredentialsProvider,
}

impl Showable {
    pub(super) const fn new(inner: SharedCredentialsProvider) -> Self {
        Self { inner }
    }
}

impl ProvideCredentials for Showable {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async { showable(self.inner.provide_credentials().await?) })
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.inner.fallback_on_interrupt().and_then(|found| showable(found).ok())
    }
}

/// The same without the white space around them.
fn showable(found: Credentials) -> Result {
    let [id, secret] = [found.access_key_id(), found.secret_access_key()].map(shown);
    let token = found.session_token().map(shown).filter(|token| *token != Some(""));
    let (Some(id), Some(secret), Some(token)) =
        (id, secret, token.map_or(Some(None), |t| t.map(Some)))
    else {
        return Err(CredentialsError::invalid_configuration(
            "the credentials hold characters that no AWS credentials have",
        ));
    };
    let is_same = (id, secret, token)
        == (found.access_key_id(), found.secret_access_key(), found.session_token());
    if is_same {
        return Ok(found);
    }
    let token = token.map(str::to_owned);
    Ok(Credentials::new(id, secret, token, found.expiry(), "trimmed"))
}

/// A secret as it can stand in a header; `None` where it cannot.
pub(super) fn shown(secret: &str) -> Option<&str> {
    let secret = secret.trim();
    secret.bytes().all(|byte| byte.is_ascii_graphic()).then_some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_credentials_goes_and_what_no_header_can_hold_is_refused() {
        let good = |id: &str, secret: &str, token: Option<&str>| {
            let found = Credentials::new(id, secret, token.map(str::to_owned), None, "test");
            let found = showable(found).ok()?;
            let token = found.session_token().map(str::to_owned);
            Some((found.access_key_id().to_owned(), found.secret_access_key().to_owned(), token))
        };
        let same = |token: Option<&str>| Some(("a".into(), "s/+=".into(), token.map(Into::into)));
        assert_eq!(good("a", "s/+=", None), same(None));
        assert_eq!(good("a\n", " s/+=\r\n", Some("\tt")), same(Some("t")));
        assert_eq!(good("a", "s/+=", Some(" ")), same(None));
        for [id, secret, token] in [["a\nb", "s", "t"], ["a", "s s", "t"], ["a", "s", "t\u{fc}"]] {
            assert_eq!(good(id, secret, Some(token)), None);
        }
    }
}
