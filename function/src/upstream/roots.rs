//! Whose certificates are trusted: the machine's own roots, so that a company's inspecting proxy is
//! trusted where the machine trusts it (`SSL_CERT_FILE` works too); on a machine without any, as in
//! an empty image, Mozilla's list, which is compiled in.
//!
//! Reading them takes milliseconds: some hundred files. It is done once, when TLS is first needed.

use std::sync::LazyLock;

use rustls::RootCertStore;

static ROOTS: LazyLock<RootCertStore> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    let (added, _) =
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if added == 0 {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
});

/// The roots for a TLS client.
pub(super) fn store() -> RootCertStore {
    ROOTS.clone()
}
