//! What does a person read whose machine or folder cannot build the function? One sentence, one
//! command, and nothing was changed.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use provisioner::image::Architecture;
use tempfile::TempDir;
use testing::aws::emulator::Emulator::MiniStack;
use testing::aws::world::{Ended, World};

use crate::copy::{Copy, deployed, equip, turn};
use crate::tools::path;

#[test]
fn a_folder_without_the_source_is_named() {
    let empty = tempfile::tempdir().unwrap();
    let ended = up(empty.path(), path().as_ref());
    ended.expect(4);
    let folder = empty.path().canonicalize().unwrap();
    let said = format!(
        "error: {} is not in a clone of claude-proxy, so there is no source to build\n\n\
         hint: run it inside the clone, or name a ready binary: --binary PATH\n",
        folder.display()
    );
    assert_eq!(ended.stderr, said);
    // A workspace, but somebody else's.
    let manifest = "[package]\nname = 'other'\nedition = '2024'";
    fs::write(empty.path().join("Cargo.toml"), manifest).unwrap();
    fs::create_dir(empty.path().join("src")).unwrap();
    fs::write(empty.path().join("src/lib.rs"), "").unwrap();
    assert_eq!(up(&empty.path().join("src"), path().as_ref()).stderr, {
        said.replace(" is not", "/src is not")
    });
    fs::write(empty.path().join("Cargo.toml"), "[package").unwrap();
    let ended = up(empty.path(), path().as_ref());
    ended.expect(4);
    assert!(ended.stderr.contains("error: cargo cannot read the workspace of "), "{ended:?}");
}

#[test]
fn each_missing_tool_is_named_with_the_command_that_installs_it() {
    let copy = Copy::at("copy");
    let pip = "hint: install it: python3 -m venv ~/.zig && ~/.zig/bin/pip install ziglang \
               cargo-zigbuild && export PATH=\"$HOME/.zig/bin:$PATH\"\n";
    for (there, said, hint) in [
        (
            &[][..],
            "error: cargo is missing, which builds the function\n\n",
            "hint: install Rust as https://rustup.rs says\n",
        ),
        (
            &["cargo", "rustc"],
            "error: cargo-zigbuild is missing, which builds for Lambda's Linux on any machine\n\n",
            pip,
        ),
        (
            &["cargo", "rustc", "cargo-zigbuild"],
            "error: zig is missing, the C compiler and linker that cargo-zigbuild uses\n\n",
            pip,
        ),
    ] {
        let folder = only(there);
        let ended = up(&copy.folder, folder.path());
        ended.expect(4);
        assert_eq!(ended.stderr, format!("{said}{hint}"), "{there:?}");
    }
}

#[test]
fn a_missing_target_is_named_with_the_command_that_installs_it() {
    let (copy, world) = (Copy::at("copy"), World::new(MiniStack));
    // A Rust that has only its own machine's library.
    let folder = tempfile::tempdir().unwrap();
    let rustc = folder.path().join("rustc");
    let script = format!(
        "#!/bin/sh\ncase $2 in target-libdir) echo /nowhere;; *) exec {} \"$@\";; esac\n",
        find("rustc").display()
    );
    fs::write(&rustc, script).unwrap();
    fs::set_permissions(&rustc, fs::Permissions::from_mode(0o755)).unwrap();
    let folders = [folder.path().to_owned()].into_iter().chain(std::env::split_paths(path()));
    let ended: Ended = copy
        .command(&world, &["up", "--yes"])
        .env("PATH", std::env::join_paths(folders).unwrap())
        .output()
        .unwrap()
        .into();
    ended.expect(4);
    let said = "error: Rust's standard library for aarch64-unknown-linux-musl is missing\n\n\
                hint: install it: rustup target add aarch64-unknown-linux-musl\n";
    assert_eq!(ended.stderr, said);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[test]
fn source_that_does_not_compile_changes_nothing() {
    let copy = deployed(Architecture::Arm64).copy.clone();
    let world = World::new(MiniStack);
    let _turn = turn();
    copy.change("function/src/main.rs", "fn say(", "fn say of(");
    let ended: Ended = copy.command(&world, &["up", "--yes", "--json"]).output().unwrap().into();
    copy.change("function/src/main.rs", "fn say of(", "fn say(");
    ended.expect(4);
    let error = ended.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(error.starts_with("the build failed: could not compile `function`"), "{error}");
    assert!(ended.stderr.contains("fn say of("), "cargo shows the place: {}", ended.stderr);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

#[test]
fn a_full_disk_is_named_and_changes_nothing() {
    let (copy, world) = (Copy::at("copy"), World::new(MiniStack));
    let target = tempfile::tempdir().unwrap();
    let tool = copy.command(&world, &["up", "--yes", "--json"]);
    let mut command = on_a_small_disk(target.path(), "1m", &tool);
    command.env("CARGO_TARGET_DIR", target.path());
    let ended = Ended::from(command.output().unwrap());
    ended.expect(4);
    let error = &ended.json()["error"];
    let said = "the build failed, because the disk is full: it writes to ";
    let said = format!("{said}{}", target.path().canonicalize().unwrap().display());
    assert_eq!(error["message"], said, "{}", ended.stderr);
    let hint = "make room there, or build elsewhere: CARGO_TARGET_DIR names another folder";
    assert_eq!(error["hint"], hint);
    assert_eq!(world.proxy.take_journal(), [""; 0]);
}

/// The same command, for which a folder lies on a disk of its own, of this size.
pub(crate) fn on_a_small_disk(folder: &Path, size: &str, command: &Command) -> Command {
    const MOUNT: &str = r#"mount -t tmpfs -o size="$1" none "$2"; shift 2; exec "$@""#;
    let runners = [&["--mount"][..], &["--map-root-user", "--mount"]];
    let works = |words: &&&[&str]| {
        let mut tried = Command::new("unshare");
        tried.args(**words).args(["mount", "-t", "tmpfs", "none"]).arg(folder);
        tried.output().is_ok_and(|ended| ended.status.success())
    };
    let runner = runners.iter().find(works);
    let runner = runner.expect("a small disk needs root, or user namespaces that may mount");
    let mut small = Command::new("unshare");
    small.args(*runner).args(["sh", "-ec", MOUNT, "sh", size]).arg(folder);
    small.arg(command.get_program()).args(command.get_args()).env_clear();
    small.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    if let Some(folder) = command.get_current_dir() {
        small.current_dir(folder);
    }
    small
}

/// An `up` without any AWS: it must end before it looks for one.
fn up(folder: &Path, path: &Path) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provisioner"));
    equip(command.args(["up", "--yes"]).current_dir(folder).env_clear()).env("PATH", path);
    command.output().unwrap().into()
}

/// A folder of programs that has these and no other.
fn only(programs: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for program in programs {
        symlink(find(program), folder.path().join(program)).unwrap();
    }
    folder
}

fn find(program: &str) -> PathBuf {
    let mut places = std::env::split_paths(path()).map(|folder| folder.join(program));
    places.find(|place| place.exists()).unwrap()
}
