//! What does a build for Lambda need besides Rust?

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use provisioner::image::Architecture;
use testing::installed::{Requirements, installed};

const REQUIREMENTS: &str = "ziglang==0.17.1\ncargo-zigbuild==0.24.1";
const NEED: &str = "these tests cross-compile the function, for which they need rustup";

pub(crate) const BOTH: [Architecture; 2] = [Architecture::Arm64, Architecture::X86_64];

/// Where whoever builds finds programs: zig and cargo-zigbuild before what the machine has.
pub(crate) fn path() -> &'static OsString {
    static PATH: OnceLock<OsString> = OnceLock::new();
    PATH.get_or_init(|| {
        for architecture in BOTH {
            step(Command::new("rustup").args(["target", "add", architecture.triple()]));
        }
        let tools = installed("zig", Requirements::Python(REQUIREMENTS));
        let there = std::env::var_os("PATH").unwrap();
        let folders = [tools.join("bin")].into_iter().chain(std::env::split_paths(&there));
        std::env::join_paths(folders).unwrap()
    })
}

/// A place of these tests below `target/`.
pub(crate) fn home(name: &str) -> PathBuf {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("source").join(name);
    fs::create_dir_all(&home).unwrap();
    home
}

fn step(command: &mut Command) {
    let ended = command.output().unwrap_or_else(|error| panic!("{NEED} ({command:?}: {error})"));
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{NEED} ({command:?} failed: {said})");
}

/// Waits for something that is asked over a network.
pub(crate) fn wait<T>(asked: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(asked)
}
