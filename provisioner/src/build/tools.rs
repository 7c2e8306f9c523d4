//! Is all there that a build for Lambda needs, and if not, which one command installs it?

use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

use crate::image::Architecture;

/// What is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    #[error("cargo is missing, which builds the function")]
    Rust,
    #[error("cargo-zigbuild is missing, which builds for Lambda's Linux on any machine")]
    Zigbuild,
    #[error("zig is missing, the C compiler and linker that cargo-zigbuild uses")]
    Zig,
    #[error("Rust's standard library for {} is missing", .0.triple())]
    Target(Architecture),
}

/// Brings both; a folder of its own, since many systems' pip refuses to install anywhere else.
const INSTALL: &str = if cfg!(target_os = "macos") {
    "brew install zig cargo-zigbuild"
} else {
    "python3 -m venv ~/.zig && ~/.zig/bin/pip install ziglang cargo-zigbuild && \
     export PATH=\"$HOME/.zig/bin:$PATH\""
};

impl Missing {
    /// The command that installs it.
    #[must_use]
    pub fn hint(self) -> String {
        match self {
            Self::Rust => "install Rust as https://rustup.rs says".to_owned(),
            Self::Zigbuild | Self::Zig => format!("install it: {INSTALL}"),
            Self::Target(architecture) => {
                format!("install it: rustup target add {}", architecture.triple())
            }
        }
    }
}

/// Looks for what every build needs.
///
/// # Errors
///
/// The first that is missing.
pub async fn check() -> Result<(), Missing> {
    // It looks for zig as it will in the build.
    let mut zig = Command::new("cargo-zigbuild");
    zig.args(["zig", "cc", "--", "--version"]);
    let found = run(&mut zig).await.map_err(|_| Missing::Zigbuild)?;
    if found.status.success() { Ok(()) } else { Err(Missing::Zig) }
}

/// Looks for what a build for `architecture` needs besides, with the Rust that `folder` chooses.
/// Returns where the standard library for it is.
///
/// # Errors
///
/// That it is missing.
pub async fn check_target(folder: &Path, architecture: Architecture) -> Result<PathBuf, Missing> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", architecture.triple()]);
    let printed = run(rustc.current_dir(folder)).await.map_err(|_| Missing::Rust)?;
    let library = PathBuf::from(String::from_utf8_lossy(&printed.stdout).trim());
    let there = printed.status.success() && has_core(&library);
    if there { Ok(library) } else { Err(Missing::Target(architecture)) }
}

/// How that Rust names the sources of its library in programs, where it does not have them.
///
/// # Errors
///
/// That there is no Rust.
pub async fn library_name(folder: &Path) -> Result<String, Missing> {
    let told = run(Command::new("rustc").arg("-vV").current_dir(folder)).await;
    let told = told.map_err(|_| Missing::Rust)?;
    let told = String::from_utf8_lossy(&told.stdout);
    let value = |key| told.lines().find_map(|line| line.strip_prefix(key));
    // Who builds Rust without its history has a release instead of a commit.
    let commit = value("commit-hash: ").filter(|commit| *commit != "unknown");
    Ok(format!("/rustc/{}", commit.or_else(|| value("release: ")).unwrap_or_default()))
}

/// Runs a command to its end.
pub(super) async fn run(command: &mut Command) -> io::Result<Output> {
    command.stdin(std::process::Stdio::null()).kill_on_drop(true).output().await
}

fn has_core(library: &Path) -> bool {
    let files = std::fs::read_dir(library).into_iter().flatten().flatten();
    let mut names = files.map(|file| file.file_name());
    names.any(|name| name.to_string_lossy().starts_with("libcore-"))
}
