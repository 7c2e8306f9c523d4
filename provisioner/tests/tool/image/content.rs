//! Is the image of a binary always the same, whole, and made only of what Lambda can start?

use std::io::Read as _;

use flate2::read::GzDecoder;
use proptest::prelude::*;
use provisioner::image::{Architecture, Digest, ImageError, MOST_BINARY_BYTES, OciImage};
use serde_json::{Value, json};
use testing::elf::{AARCH64, Program, RISCV, X86_64, program};

#[test]
fn the_layer_holds_the_binary_and_little_else() {
    let binary = program(AARCH64, b"code").bytes();
    let layer = unpacked(&image(&binary));
    let mut archive = tar::Archive::new(&layer[..]);
    let mut found = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let (path, header) = (entry.path().unwrap().display().to_string(), entry.header().clone());
        let owner = (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap());
        assert_eq!(owner, (0, 0, 0), "{path}");
        assert!(header.as_ustar().is_some(), "{path}");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if path == "bootstrap" {
            assert_eq!(content, binary);
        }
        found.push((path, header.mode().unwrap()));
    }
    let expected = [
        ("bootstrap", 0o755),
        ("etc/", 0o755),
        ("etc/group", 0o644),
        ("etc/hosts", 0o644),
        ("etc/nsswitch.conf", 0o644),
        ("etc/passwd", 0o644),
        ("tmp/", 0o1777),
    ];
    assert_eq!(found, expected.map(|(path, mode)| (path.to_owned(), mode)));
}

#[test]
fn the_configuration_starts_the_binary_on_its_platform() {
    for (machine, architecture, name) in
        [(AARCH64, Architecture::Arm64, "arm64"), (X86_64, Architecture::X86_64, "amd64")]
    {
        let binary = program(machine, b"code").bytes();
        let image = OciImage::from_binary(&binary, architecture).unwrap();
        let [_, config] = image.blobs();
        let config = serde_json::from_slice::<Value>(config.content()).unwrap();
        let epoch = "1970-01-01T00:00:00Z";
        let label = Digest::of(&binary);
        let expected = json!({
            "architecture": name,
            "os": "linux",
            "created": epoch,
            "config": {
                "User": "65534:65534",
                "Entrypoint": ["/bootstrap"],
                "WorkingDir": "/",
                "Labels": {"claude-proxy.binary-sha256": label.digits()},
            },
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&unpacked(&image)).as_str()]},
            "history": [{"created": epoch, "created_by": "claude-proxy provisioner"}],
        });
        assert_eq!(config, expected);
    }
}

#[test]
fn the_manifest_names_one_platform_and_its_very_blobs() {
    let image = image(&program(AARCH64, b"code").bytes());
    let [layer, config] = image.blobs();
    let docker = |rest: &str| format!("application/vnd.docker.{rest}");
    let expected = json!({
        "schemaVersion": 2,
        "mediaType": docker("distribution.manifest.v2+json"),
        "config": {
            "mediaType": docker("container.image.v1+json"),
            "size": config.content().len(),
            "digest": Digest::of(config.content()).as_str(),
        },
        "layers": [{
            "mediaType": docker("image.rootfs.diff.tar.gzip"),
            "size": layer.content().len(),
            "digest": Digest::of(layer.content()).as_str(),
        }],
    });
    assert_eq!(serde_json::from_slice::<Value>(image.manifest()).unwrap(), expected);
    assert_eq!(image.media_type(), docker("distribution.manifest.v2+json"));
    assert_eq!(image.digest(), &Digest::of(image.manifest()));
    assert_eq!(image.tag(), &image.digest().as_str()["sha256:".len()..][..12]);
    let total = image.manifest().len() + layer.content().len() + config.content().len();
    assert_eq!(image.size(), total as u64);
}

/// What no build may change: these are the bytes that a layer unpacks to, on every machine.
#[test]
fn the_unpacked_layer_is_the_same_for_everybody() {
    let layer = unpacked(&image(&program(AARCH64, b"code").bytes()));
    let expected = "sha256:eb3903c2f4c8e01286697c22c56121b0813f2dee710465119aa3cb5039d60e6d";
    assert_eq!(Digest::of(&layer).as_str(), expected);
}

#[test]
fn gzip_says_nothing_of_when_and_where() {
    let image = image(&program(AARCH64, b"code").bytes());
    let [layer, _] = image.blobs();
    // Magic, deflate, no flags, no time, best compression, unknown system (RFC 1952, 2.3).
    assert_eq!(layer.content()[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
}

#[test]
fn a_binary_for_another_processor_is_refused() {
    let refused = |machine, wanted| {
        OciImage::from_binary(&program(machine, b"code").bytes(), wanted).unwrap_err().to_string()
    };
    assert_eq!(
        refused(X86_64, Architecture::Arm64),
        "the binary is built for x86_64, but arm64 is wanted"
    );
    assert_eq!(
        refused(AARCH64, Architecture::X86_64),
        "the binary is built for arm64, but x86_64 is wanted"
    );
    assert_eq!(
        refused(RISCV, Architecture::Arm64),
        "the binary is built for another processor (ELF machine 243), but arm64 is wanted"
    );
}

#[test]
fn a_binary_that_needs_a_loader_is_refused() {
    let loader = Some("/lib/ld-linux-aarch64.so.1");
    let binary = Program { loader, ..program(AARCH64, b"code") }.bytes();
    let error = OciImage::from_binary(&binary, Architecture::Arm64).unwrap_err();
    let expected = ImageError::Dynamic { loader: "/lib/ld-linux-aarch64.so.1".to_owned() };
    assert_eq!(error, expected);
    // The test itself is such a program, on the systems that have ELF at all.
    if cfg!(all(target_os = "linux", target_env = "gnu", target_arch = "x86_64")) {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        if own.len() <= MOST_BINARY_BYTES {
            let error = OciImage::from_binary(&own, Architecture::X86_64).unwrap_err();
            assert!(matches!(error, ImageError::Dynamic { .. }), "{error}");
        }
    }
}

#[test]
fn what_is_no_program_is_refused() {
    let check = |binary: &[u8]| OciImage::from_binary(binary, Architecture::Arm64).unwrap_err();
    for text in [&b""[..], b"#!/bin/sh\n", b"\x7fELF\x01", b"\xcf\xfa\xed\xfe\x0c\0\0\x01"] {
        assert_eq!(check(text), ImageError::NotElf);
    }
    let object = Program { kind: 1, ..program(AARCH64, b"code") };
    assert_eq!(check(&object.bytes()), ImageError::NotAProgram);
    let library = Program { kind: 3, entry: 0, ..program(AARCH64, b"code") };
    assert_eq!(check(&library.bytes()), ImageError::NotAProgram);
    let huge = vec![0; MOST_BINARY_BYTES + 1];
    assert_eq!(check(&huge), ImageError::TooLarge { size: MOST_BINARY_BYTES + 1 });
}

#[test]
fn a_binary_that_is_cut_off_anywhere_is_refused() {
    let whole = program(AARCH64, &[7; 100]).bytes();
    for end in 0..whole.len() {
        let cut = OciImage::from_binary(&whole[..end], Architecture::Arm64);
        assert!(cut.is_err(), "{end} of {} bytes", whole.len());
    }
    assert!(OciImage::from_binary(&whole, Architecture::Arm64).is_ok());
}

#[test]
fn a_program_that_may_lie_anywhere_is_taken() {
    let binary = Program { kind: 3, ..program(AARCH64, b"code") }.bytes();
    assert!(OciImage::from_binary(&binary, Architecture::Arm64).is_ok());
}

proptest! {
    #[test]
    fn the_same_binary_gives_the_same_image(code in any::<Vec<u8>>(), shift in 0..8_usize) {
        let binary = program(AARCH64, &code).bytes();
        // Where the bytes lie in memory is of no interest.
        let shifted = [&vec![0; shift][..], &binary].concat();
        prop_assert_eq!(image(&binary), image(&shifted[shift..]));
    }

    #[test]
    fn one_byte_more_gives_another_image(code in any::<Vec<u8>>(), more in any::<u8>()) {
        let (shorter, longer) = (program(AARCH64, &code), [&code[..], &[more]].concat());
        let (one, other) = (image(&shorter.bytes()), image(&program(AARCH64, &longer).bytes()));
        prop_assert_ne!(one.digest(), other.digest());
        prop_assert_ne!(one.tag(), other.tag());
        for (one, other) in one.blobs().into_iter().zip(other.blobs()) {
            prop_assert_ne!(one.digest(), other.digest());
        }
    }

    #[test]
    fn no_file_stops_the_check(
        mut file in any::<Vec<u8>>(),
        changes in proptest::collection::vec((0..200_usize, any::<u8>()), 0..20),
    ) {
        drop(OciImage::from_binary(&file, Architecture::Arm64));
        file = program(AARCH64, &file).bytes();
        for (place, byte) in changes {
            if let Some(there) = file.get_mut(place) {
                *there = byte;
            }
        }
        drop(OciImage::from_binary(&file, Architecture::Arm64));
    }
}

fn image(binary: &[u8]) -> OciImage {
    OciImage::from_binary(binary, Architecture::Arm64).unwrap()
}

fn unpacked(image: &OciImage) -> Vec<u8> {
    let [layer, _] = image.blobs();
    let mut unpacked = Vec::new();
    GzDecoder::new(&layer.content()[..]).read_to_end(&mut unpacked).unwrap();
    unpacked
}
