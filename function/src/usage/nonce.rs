//! Whose is the file that a proxy holds?
//!
//! Whoever can write beside it may read what it says: a nonce is left in a file of the same folder,
//! for nobody else to read, and shown to the proxy, which looks for it there. It is gone when the
//! question is answered. So the loopback alone, which all programs of a machine share and a proxy
//! in front may open to others, says nothing.

use std::fs::OpenOptions;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context;
use http::HeaderMap;
use rustls::crypto::ring::default_provider;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

/// The header in which the nonce is shown.
pub const HEADER: &str = "x-claude-proxy-usage";

/// Bytes of a nonce, which is written as twice as many hexadecimal digits.
const BYTES: usize = 32;

/// A nonce that lies beside the file, as long as this lives.
#[derive(Debug)]
pub struct LeftNonce {
    nonce: String,
    at: PathBuf,
}

impl LeftNonce {
    /// Leaves a nonce beside a store.
    ///
    /// # Errors
    ///
    /// Where nothing can be written there.
    pub fn leave(store: &Path) -> anyhow::Result<Self> {
        let mut bytes = [0; BYTES];
        let random = default_provider().secure_random.fill(&mut bytes);
        random.ok().context("the machine has no random numbers")?;
        let nonce = hex::encode(bytes);
        let at = place(store, &nonce);
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let unwritten = || format!("cannot write beside {}", store.display());
        let mut file = options.open(&at).with_context(unwritten)?;
        let left = Self { nonce, at };
        file.write_all(left.nonce.as_bytes()).with_context(unwritten)?;
        Ok(left)
    }

    /// The nonce itself, for the one request that shows it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.nonce
    }
}

impl Drop for LeftNonce {
    fn drop(&mut self) {
        let _it_is_good_for_nothing_more = std::fs::remove_file(&self.at);
    }
}

/// Whether a request shows a nonce that lies beside the store. Blocks, for one small file.
#[must_use]
pub fn is_shown(headers: &HeaderMap, store: &Path) -> bool {
    let shown = headers.get(HEADER).and_then(|value| value.to_str().ok());
    let is_nonce = |text: &&str| text.len() == 2 * BYTES && text.bytes().all(is_digit);
    let Some(shown) = shown.filter(is_nonce) else { return false };
    let Ok(file) = std::fs::File::open(place(store, shown)) else { return false };
    let mut lies = Vec::new();
    let read = file.take(4 * BYTES as u64).read_to_end(&mut lies);
    read.is_ok() && bool::from(lies.ct_eq(shown.as_bytes()))
}

const fn is_digit(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// Where the nonce lies: under a name that does not tell it.
fn place(store: &Path, nonce: &str) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".asked-");
    name.push(&hex::encode(Sha256::digest(nonce))[..16]);
    name.into()
}
