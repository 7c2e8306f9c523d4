//! Whose certificates are trusted: the machine's own roots, so that a company's inspecting proxy is
//! trusted where the machine trusts it (`SSL_CERT_FILE` works too); on a machine without any, as in
//! an empty image, Mozilla's list, which is compiled in.

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use aws_smithy_types::base64;
use rustls::RootCertStore;

/// The roots for a TLS client of our own.
pub(super) fn store() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    roots
}

/// The same roots for the AWS SDK, which takes text.
pub(super) fn context() -> Option<TlsContext> {
    let mut roots = RootCertStore::empty();
    let (native, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let trust = if native > 0 {
        TrustStore::default()
    } else {
        let certificates = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
        TrustStore::empty()
            .with_pem_certificate(certificates.map(|der| pem(der)).collect::<String>())
    };
    TlsContext::builder().with_trust_store(trust).build().ok()
}

/// RFC 7468.
fn pem(der: &[u8]) -> String {
    let text = base64::encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}
