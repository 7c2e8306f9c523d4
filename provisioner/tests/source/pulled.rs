//! Does somebody else's client get out of a strict registry what was pushed, and does it run?

use std::fs;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use flate2::read::GzDecoder;
use provisioner::image::push::{self, PushError, Registry};
use provisioner::image::{Architecture, Digest, OciImage};
use serde_json::Value;
use tempfile::TempDir;
use testing::elf::{AARCH64, program};

use crate::copy::deployed;
use crate::debian;
use crate::missing::on_a_small_disk;
use crate::registry::{Strict, login};
use crate::running::{answers_as_a_container, answers_on_lambda};
use crate::tools::{BOTH, wait};

#[test]
fn what_skopeo_pulls_is_what_was_pushed_and_it_answers() {
    let strict = Strict::start();
    for architecture in BOTH {
        let deployed = deployed(architecture);
        let image = OciImage::from_binary(&deployed.binary, architecture).unwrap();
        assert_eq!(image.digest(), &deployed.digest, "{architecture}");
        assert_eq!(push(&image, &strict.login()).unwrap(), *image.digest());
        let pulled = Pulled::from(strict.address, "claude-proxy", image.tag());
        assert_eq!(Digest::of(&pulled.manifest), *image.digest());
        let root = pulled.unpack();
        assert!(fs::read(root.join("bootstrap")).unwrap() == deployed.binary, "{architecture}");
        answers_as_a_container(&root, architecture);
        answers_on_lambda(&root, architecture);
    }
}

#[test]
fn what_skopeo_pulls_from_the_emulator_is_what_up_deployed() {
    let deployed = deployed(Architecture::Arm64);
    let (address, name) = (deployed.world.proxy.address, &deployed.world.name);
    let pulled = Pulled::from(address, name, deployed.digest.tag());
    assert_eq!(Digest::of(&pulled.manifest), deployed.digest);
    let root = pulled.unpack();
    assert!(fs::read(root.join("bootstrap")).unwrap() == deployed.binary);
}

#[test]
fn a_connection_cut_after_any_number_of_bytes_converges_in_a_strict_registry() {
    let strict = Strict::start();
    let code = |cut: usize| program(AARCH64, &noise(300_000, cut as u64)).bytes();
    let size = OciImage::from_binary(&code(0), Architecture::Arm64).unwrap().size() as usize;
    let mut struck = 0;
    for cut in (0..20).map(|part| part * (size + 4000) / 20) {
        let image = OciImage::from_binary(&code(cut), Architecture::Arm64).unwrap();
        let cutter = Cutter::before(strict.address, cut);
        let pushed = push(&image, &login(cutter.address, "claude-proxy"));
        assert_eq!(pushed.as_ref(), Ok(image.digest()), "cut after {cut} bytes");
        struck += cutter.struck.load(Ordering::Relaxed);
        let pulled = Pulled::from(strict.address, "claude-proxy", image.tag());
        assert_eq!(Digest::of(&pulled.manifest), *image.digest(), "cut after {cut} bytes");
    }
    assert_eq!(struck, 20, "each of the pushes lost a connection");
}

#[test]
fn a_registry_whose_disk_is_full_is_named_and_has_no_image() {
    let strict = Strict::under(|store, command| on_a_small_disk(store, "200k", &command));
    let binary = program(AARCH64, &noise(600_000, 0)).bytes();
    let image = OciImage::from_binary(&binary, Architecture::Arm64).unwrap();
    let error = push(&image, &strict.login()).unwrap_err();
    assert!(matches!(error, PushError::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("could not be used, in several attempts"), "{error}");
    let (folder, mut skopeo) = (tempfile::tempdir().unwrap(), debian::program("skopeo"));
    let pull = copy(&mut skopeo, strict.address, "claude-proxy", image.tag(), folder.path());
    assert!(!pull.status().unwrap().success(), "nothing half-pushed is there");
}

/// Bytes that no compression makes fewer (*Xorshift RNGs*, Marsaglia).
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ seed;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn push(image: &OciImage, registry: &Registry) -> Result<Digest, PushError> {
    wait(push::push(image, registry, |_, _| ())).map(|pushed| pushed.digest)
}

/// An image as skopeo writes it into a folder: the manifest, and blobs under their digits.
struct Pulled {
    folder: TempDir,
    manifest: Vec<u8>,
}

impl Pulled {
    fn from(address: SocketAddr, repository: &str, tag: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut skopeo = debian::program("skopeo");
        let ended = copy(&mut skopeo, address, repository, tag, folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "skopeo says: {said}");
        let manifest = fs::read(folder.path().join("image/manifest.json")).unwrap();
        Self { folder, manifest }
    }

    /// Unpacks the one layer.
    fn unpack(&self) -> PathBuf {
        let manifest: Value = serde_json::from_slice(&self.manifest).unwrap();
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
        let digest: Digest = manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
        let blob = fs::File::open(self.folder.path().join("image").join(digest.digits())).unwrap();
        let root = self.folder.path().join("root");
        tar::Archive::new(GzDecoder::new(blob)).unpack(&root).unwrap();
        root
    }
}

fn copy<'a>(
    skopeo: &'a mut std::process::Command,
    address: SocketAddr,
    repository: &str,
    tag: &str,
    folder: &Path,
) -> &'a mut std::process::Command {
    let login = format!("AWS:{}", crate::registry::PASSWORD);
    skopeo
        .args(["--insecure-policy", "--tmpdir"])
        .arg(folder)
        .args(["copy", "--quiet", "--src-tls-verify=false", "--src-creds", &login])
        .arg(format!("docker://{address}/{repository}:{tag}"))
        .arg(format!("dir:{}/image", folder.display()))
}

/// Stands before a registry, and breaks the one connection over which so many bytes have come.
struct Cutter {
    address: SocketAddr,
    struck: Arc<AtomicUsize>,
}

impl Cutter {
    fn before(registry: SocketAddr, bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let struck = Arc::new(AtomicUsize::new(0));
        let (left, told) = (Arc::new(AtomicUsize::new(bytes + 1)), Arc::clone(&struck));
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, left, told) = (client.unwrap(), Arc::clone(&left), Arc::clone(&told));
                thread::spawn(move || pass(client, registry, &left, &told));
            }
        });
        Self { address, struck }
    }
}

fn pass(client: TcpStream, registry: SocketAddr, left: &AtomicUsize, struck: &AtomicUsize) {
    let server = TcpStream::connect(registry).unwrap();
    let (mut back, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let answers = thread::spawn(move || std::io::copy(&mut back, &mut to));
    let (mut from, mut server) = (client, server);
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = std::io::Read::read(&mut from, &mut piece) {
        // 0 is when it has struck.
        let before = left.load(Ordering::Relaxed);
        let passed = if before == 0 { length } else { length.min(before - 1) };
        let broken = server.write_all(&piece[..passed]).is_err();
        if before != 0 && length >= before {
            left.store(0, Ordering::Relaxed);
            struck.fetch_add(1, Ordering::Relaxed);
            break;
        }
        if before != 0 {
            left.store(before - length, Ordering::Relaxed);
        }
        if broken {
            break;
        }
    }
    drop((from.shutdown(Shutdown::Both), server.shutdown(Shutdown::Both)));
    drop(answers.join());
}
