//! A build that cannot be made says why in the words of whoever knows, before AWS is asked anything.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::TempDir;

use crate::fake::Fake;
use crate::run::{Ended, command, finish};

const METADATA: &str = "echo '{\"packages\":[{\"name\":\"function\"},{\"name\":\"provisioner\"}],\"target_directory\":\"/nowhere\"}'";
const FOREIGN: &str = "echo '{\"packages\":[{\"name\":\"function\"},{\"name\":\"api\"}],\"target_directory\":\"/nowhere\"}'";
const RUSTUP: &str = "echo \"error: rustup could not choose a version of cargo to run, because one wasn't specified explicitly, and no default is configured.\" >&2; echo \"help: run 'rustup default stable' to download the latest stable release of Rust and set it as your default toolchain.\" >&2; exit 1";
const FAILS: &str = "echo 'Error: nothing works here' >&2; exit 1";
const FINE: &str = "exit 0";

/// The program in a workspace, on a machine that has these programs and no other.
fn told(programs: &[(&str, &str)], variables: &[(&str, &str)]) -> Ended {
    let (fake, folder) = (Fake::start(|_| None), workspace());
    for (name, script) in programs {
        put(folder.path(), name, script);
    }
    let mut command = command(&["plan"], &fake.url());
    command.current_dir(folder.path()).env("PATH", folder.path());
    let ended = finish(command.envs(variables.iter().copied()));
    ended.is_fit(&format!("{programs:?} {variables:?}"));
    assert_eq!(ended.code, 4, "{ended:?}");
    assert_eq!(fake.actions(), [""; 0]);
    ended
}

fn workspace() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("Cargo.toml"), "[workspace]\n").unwrap();
    folder
}

fn put(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn rustup_says_in_its_own_words_that_there_is_no_toolchain() {
    for programs in [
        &[("cargo", RUSTUP)][..],
        &[("cargo", METADATA), ("cargo-zigbuild", FINE), ("rustc", RUSTUP)],
    ] {
        let ended = told(programs, &[]);
        let said = ended.stderr.split_once("rustup could not choose a version");
        assert!(said.is_some(), "{}", ended.stderr);
        assert!(ended.stderr.contains("rustup default stable"), "{}", ended.stderr);
    }
}

#[test]
fn what_stands_in_rustc_s_place_is_named() {
    let programs = [("cargo", METADATA), ("cargo-zigbuild", FAILS), ("rustc", FINE), ("zig", FINE)];
    for variable in
        ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER", "RUSTC"]
    {
        for cargo in [METADATA, FAILS] {
            let programs = [&programs[1..], &[("cargo", cargo)]].concat();
            let error = told(&programs, &[(variable, "/nowhere/x")]).error();
            assert!(error.contains(&format!("{variable} names /nowhere/x")), "{error}");
            assert!(!error.contains("zig is missing"), "{error}");
        }
        // What is set to nothing names nothing.
        let error = told(&programs, &[(variable, "")]).error();
        assert!(
            error.contains("cargo-zigbuild does not work: Error: nothing works here"),
            "{error}"
        );
    }
}

#[test]
fn zig_is_missing_only_where_it_is() {
    let without = told(&[("cargo", METADATA), ("rustc", FINE), ("cargo-zigbuild", FAILS)], &[]);
    assert!(without.error().contains("zig is missing"), "{without:?}");
    let tools = [("cargo", METADATA), ("rustc", FINE), ("cargo-zigbuild", FAILS), ("zig", FINE)];
    let with = told(&tools, &[]);
    assert!(!with.error().contains("zig is missing"), "{with:?}");
}

#[test]
fn somebody_else_s_workspace_is_not_built() {
    let ended = told(&[("cargo", FOREIGN), ("cargo-zigbuild", FINE), ("rustc", FINE)], &[]);
    assert!(ended.error().contains("is not in a clone of claude-proxy"), "{ended:?}");
}

/// What is there and does not start is not missing, and what is missing is named.
#[test]
fn each_program_that_fails_is_named_as_what_it_is() {
    let (all, killed) = (("cargo", METADATA), "kill -9 $$");
    for (programs, said, hint) in [
        (&[][..], "cargo is missing", "rustup.rs"),
        (&[all], "rustc is missing", "rustup.rs"),
        (&[all, ("rustc", FINE)], "cargo-zigbuild is missing", "ziglang"),
        (&[("cargo", killed)], "without a word (signal: 9", "run `cargo metadata` here"),
        (&[("cargo", "exit 1")], "without a word (exit status: 1)", "run `cargo metadata` here"),
        (&[("cargo", "echo no luck >&2; exit 1")], "no luck", "stand above"),
        (&[all, ("rustc", killed)], "rustc does not work", "rustc --version"),
    ] {
        let ended = told(programs, &[]);
        assert!(ended.error().contains(said), "{programs:?}: {ended:?}");
        assert!(ended.error().contains(hint), "{programs:?}: {ended:?}");
    }
    let ended = told(&[("cargo", "printf '\\033]0;x\\007\\033[2J no luck' >&2; exit 1")], &[]);
    assert!(!ended.stderr.contains(['\u{1b}', '\u{7}']), "{ended:?}");
}

#[test]
fn cargo_s_own_words_stand_above() {
    let broken = "echo 'error: failed to parse manifest' >&2; echo '  the place' >&2; exit 101";
    let ended = told(&[("cargo", broken)], &[]);
    let (above, below) = ended.stderr.split_once("error: cargo cannot read").unwrap();
    assert!(above.contains("the place"), "{ended:?}");
    assert!(below.contains("failed to parse manifest"), "{ended:?}");
    assert!(below.contains("stand above"), "{ended:?}");
}
