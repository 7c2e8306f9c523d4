//! How does an image describe itself?
//!
//! As Docker's schema 2 (*Image Manifest Version 2, Schema 2*), for one platform and never as an
//! index: that is what `docker push` sends and what Lambda has always taken. The types are written
//! in the order of their fields, so the digest does not depend on how a JSON library sorts. Must do
//! no I/O.

use std::collections::BTreeMap;

use serde::Serialize;

use super::layer::ENTRY_POINT;
use super::{Architecture, BINARY_LABEL, Blob, Digest};

pub(super) const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// The same moment for every image: a time of building would change the digest.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// `nobody` of the layer's `/etc/passwd`. Lambda has a user of its own and does not look.
const USER: &str = "65534:65534";

#[derive(Serialize)]
struct Config<'a> {
    architecture: &'a str,
    os: &'a str,
    created: &'a str,
    config: Run<'a>,
    rootfs: RootFs<'a>,
    history: [History<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Run<'a> {
    user: &'a str,
    entrypoint: [&'a str; 1],
    working_dir: &'a str,
    labels: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct RootFs<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    diff_ids: [&'a str; 1],
}

#[derive(Serialize)]
struct History<'a> {
    created: &'a str,
    created_by: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u8,
    media_type: &'a str,
    config: Descriptor<'a>,
    layers: [Descriptor<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    size: usize,
    digest: &'a str,
}

/// Writes the configuration: what to start, on which platform, over which unpacked layer.
pub(super) fn config(architecture: Architecture, unpacked: &Digest, binary: &Digest) -> Vec<u8> {
    json(&Config {
        architecture: architecture.in_image(),
        os: "linux",
        created: CREATED,
        config: Run {
            user: USER,
            entrypoint: [ENTRY_POINT],
            working_dir: "/",
            labels: BTreeMap::from([(BINARY_LABEL, binary.digits())]),
        },
        rootfs: RootFs { kind: "layers", diff_ids: [unpacked.as_str()] },
        history: [History { created: CREATED, created_by: "claude-proxy provisioner" }],
    })
}

/// Writes the manifest, whose digest is the image's.
pub(super) fn manifest(config: &Blob, layer: &Blob) -> Vec<u8> {
    json(&Manifest {
        schema_version: 2,
        media_type: MANIFEST,
        config: descriptor(CONFIG, config),
        layers: [descriptor(LAYER, layer)],
    })
}

fn descriptor<'a>(media_type: &'a str, blob: &'a Blob) -> Descriptor<'a> {
    Descriptor { media_type, size: blob.content.len(), digest: blob.digest.as_str() }
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers are JSON")
}
