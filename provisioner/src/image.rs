//! Which container image belongs to a function binary, and is the binary fit for one?
//!
//! Bytes in, bytes and digests out: the same binary always gives the same image, whoever builds it
//! and whenever. Only [`push`] talks to anybody; nothing here runs a container or needs Docker.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

mod elf;
mod layer;
mod manifest;
pub mod push;

/// The largest binary that is taken. The function has a few megabytes, a hundred without
/// optimisation; whatever is larger than this is not it.
pub const MOST_BINARY_BYTES: usize = 256 * 1024 * 1024;

/// The label of the image that names its binary, as the digits of its SHA-256.
pub const BINARY_LABEL: &str = "claude-proxy.binary-sha256";

/// The digits of the digest that make the tag.
const TAG_DIGITS: usize = 12;

/// The processors that Lambda runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Architecture {
    #[default]
    Arm64,
    X86_64,
}

impl Architecture {
    /// Names it as Lambda's API does.
    pub fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86_64",
        }
    }

    /// The Rust target whose programs need nothing else on Lambda.
    pub fn triple(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-musl",
            Self::X86_64 => "x86_64-unknown-linux-musl",
        }
    }

    /// Names it as an image's configuration does (Go's `GOARCH`).
    fn in_image(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "amd64",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A name that is no [`Architecture`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the architecture is either arm64 or x86_64")]
pub struct UnknownArchitecture;

impl FromStr for Architecture {
    type Err = UnknownArchitecture;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "arm64" => Ok(Self::Arm64),
            "x86_64" => Ok(Self::X86_64),
            _ => Err(UnknownArchitecture),
        }
    }
}

/// Why a binary cannot become an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error("the binary has {size} bytes; more than {MOST_BINARY_BYTES} cannot be the function")]
    TooLarge { size: usize },
    #[error("the binary is no 64-bit ELF program for Linux")]
    NotElf,
    #[error("the binary is damaged or cut off: {what}")]
    Damaged { what: &'static str },
    #[error("the binary is an object file or a library, not a program")]
    NotAProgram,
    #[error("the binary is built for {found}, but {wanted} is wanted")]
    WrongArchitecture { wanted: Architecture, found: String },
    #[error(
        "the binary needs the loader {loader}, which the image does not have; \
         build it for a musl target, which links it statically"
    )]
    Dynamic { loader: String },
}

/// The SHA-256 of some content, in the form `sha256:` and 64 digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// Computes the digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(format!("sha256:{}", hex::encode(Sha256::digest(content))))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tag of an image of this digest: its first 12 digits.
    pub fn tag(&self) -> &str {
        let digits = self.digits();
        digits.get(..TAG_DIGITS).unwrap_or(digits)
    }

    /// The digits alone.
    pub fn digits(&self) -> &str {
        self.0.trim_start_matches("sha256:")
    }
}

/// Text that is no [`Digest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a digest is sha256: and 64 digits of 0-9 and a-f")]
pub struct BadDigest;

impl FromStr for Digest {
    type Err = BadDigest;

    fn from_str(text: &str) -> Result<Self, BadDigest> {
        let digits = text.strip_prefix("sha256:").ok_or(BadDigest)?;
        let known = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let whole = digits.len() == 64 && digits.bytes().all(known);
        whole.then(|| Self(text.to_owned())).ok_or(BadDigest)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A part of an image that the registry stores under its digest.
#[derive(Clone, PartialEq, Eq)]
pub struct Blob {
    digest: Digest,
    content: Bytes,
}

impl Blob {
    fn new(content: Vec<u8>) -> Self {
        Self { digest: Digest::of(&content), content: content.into() }
    }

    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    pub fn content(&self) -> &Bytes {
        &self.content
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({} bytes)", self.digest, self.content.len())
    }
}

/// An image for one platform: a layer, its configuration, and the manifest that names both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciImage {
    architecture: Architecture,
    layer: Blob,
    config: Blob,
    manifest: Blob,
}

impl OciImage {
    /// Makes the image of a binary, after a check that Lambda could run it.
    ///
    /// # Errors
    ///
    /// Where the binary is no static Linux program for `architecture`, or too large.
    pub fn from_binary(binary: &[u8], architecture: Architecture) -> Result<Self, ImageError> {
        if binary.len() > MOST_BINARY_BYTES {
            return Err(ImageError::TooLarge { size: binary.len() });
        }
        elf::check(binary, architecture)?;
        let unpacked = layer::pack(binary);
        let layer = Blob::new(layer::compress(&unpacked));
        let config =
            Blob::new(manifest::config(architecture, &Digest::of(&unpacked), &Digest::of(binary)));
        let manifest = Blob::new(manifest::manifest(&config, &layer));
        Ok(Self { architecture, layer, config, manifest })
    }

    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// What identifies the image: the digest of its manifest.
    pub fn digest(&self) -> &Digest {
        self.manifest.digest()
    }

    /// The tag under which it is pushed: the first 12 digits of its digest.
    pub fn tag(&self) -> &str {
        self.digest().tag()
    }

    /// The manifest, to be sent as [`Self::media_type`].
    pub fn manifest(&self) -> &Bytes {
        self.manifest.content()
    }

    /// The media type of the manifest.
    pub fn media_type(&self) -> &'static str {
        manifest::MANIFEST
    }

    /// What the registry must have before it takes the manifest.
    pub fn blobs(&self) -> [&Blob; 2] {
        [&self.layer, &self.config]
    }

    /// What a push sends at most, in bytes.
    pub fn size(&self) -> u64 {
        let parts = [&self.layer, &self.config, &self.manifest];
        parts.iter().map(|part| part.content.len() as u64).sum()
    }
}
