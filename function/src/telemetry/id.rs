//! What is a request called, in its line and in errors of our own?

/// `req_proxy_` and 96 random bits.
#[derive(Debug)]
pub(super) struct Id([u8; Self::PREFIX.len() + 24]);

impl Id {
    const PREFIX: &[u8] = b"req_proxy_";

    pub(super) fn random() -> Self {
        let mut id = [0; _];
        let (prefix, digits) = id.split_at_mut(Self::PREFIX.len());
        prefix.copy_from_slice(Self::PREFIX);
        let mut bits = [0; 12];
        fastrand::fill(&mut bits);
        hex::encode_to_slice(bits, digits).expect("there are two digits for each byte");
        Self(id)
    }

    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}
