//! Is all there that a build for Lambda needs, and if not, which one command installs it?

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;

use tokio::process::Command;

use crate::engine::words::{cut, quoted};
use crate::image::Architecture;

/// What is not there, or does not work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    #[error("{0} is missing, which builds the function")]
    Rust(&'static str),
    #[error("{program} does not work: {said}")]
    Broken { program: &'static str, said: String },
    #[error("{variable} names {program} to be run for rustc, which does not work: {said}")]
    Instead { variable: &'static str, program: String, said: String },
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
    pub fn hint(&self) -> String {
        match self {
            // Whoever failed says it, or nobody knows.
            Self::Broken { program, .. } => {
                format!("run `{program} --version` here: it has to work; nothing was changed")
            }
            Self::Instead { variable, .. } => format!("unset {variable}, or mend it"),
            Self::Rust(_) => "install Rust as https://rustup.rs says".to_owned(),
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
    let found = run(&mut zig).await;
    let found = found.map_err(|error| absent(Missing::Zigbuild, "cargo-zigbuild", &error))?;
    if found.status.success() {
        return Ok(());
    }
    check_instead().await?;
    match has_zig().await {
        true => Err(broken("cargo-zigbuild", &found)),
        false => Err(Missing::Zig),
    }
}

/// As cargo-zigbuild looks for it: as a module of Python, and as a program.
async fn has_zig() -> bool {
    for (program, words) in [("zig", &["version"][..]), ("python3", &["-m", "ziglang", "version"])]
    {
        if run(Command::new(program).args(words)).await.is_ok_and(|ran| ran.status.success()) {
            return true;
        }
    }
    false
}

/// What cargo runs in the place of rustc, or with rustc's words behind it (*The Cargo Book*,
/// "Environment Variables").
const INSTEAD: [(&str, &[&str]); 6] = [
    ("RUSTC_WRAPPER", &["rustc", "-vV"]),
    ("RUSTC_WORKSPACE_WRAPPER", &["rustc", "-vV"]),
    ("CARGO_BUILD_RUSTC_WRAPPER", &["rustc", "-vV"]),
    ("CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER", &["rustc", "-vV"]),
    ("RUSTC", &["-vV"]),
    ("CARGO_BUILD_RUSTC", &["-vV"]),
];

/// Whether what somebody has put in rustc's place works.
///
/// # Errors
///
/// The first that does not.
pub async fn check_instead() -> Result<(), Missing> {
    for (variable, words) in INSTEAD {
        let Some(program) = variable_of(variable) else { continue };
        let said = match run(Command::new(&program).args(words)).await {
            Ok(ran) if ran.status.success() => continue,
            Ok(ran) => own_words(&ran),
            Err(error) => quoted(&error.to_string()),
        };
        let program = quoted(&program.to_string_lossy());
        return Err(Missing::Instead { variable, program, said });
    }
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "cargo's own variables, read as cargo will read them"
)]
fn variable_of(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// What a program of Rust's is that did not even start.
pub(super) fn no_rust(program: &'static str, error: &io::Error) -> Missing {
    absent(Missing::Rust(program), program, error)
}

/// Only what nobody finds is missing.
fn absent(missing: Missing, program: &'static str, error: &io::Error) -> Missing {
    match error.kind() == io::ErrorKind::NotFound {
        true => missing,
        false => Missing::Broken { program, said: quoted(&error.to_string()) },
    }
}

fn broken(program: &'static str, ran: &Output) -> Missing {
    Missing::Broken { program, said: own_words(ran) }
}

/// As much of a program's words is shown, in characters: rustup says in them what to do.
const MAX_EXCERPT: usize = 280;

/// What a program says on its standard error, on one line.
pub(super) fn own_words(ran: &Output) -> String {
    let said = cut(&quoted(&plain(&String::from_utf8_lossy(&ran.stderr))), MAX_EXCERPT);
    if said.is_empty() { format!("it ended without a word ({})", ran.status) } else { said }
}

/// Without colours (SGR, ECMA-48).
pub(super) fn plain(words: &str) -> String {
    let parts = words.split('\u{1b}').enumerate();
    let parts = parts.map(|(at, part)| match part.split_once('m') {
        Some((_, rest)) if at > 0 => rest,
        Some(_) | None => part,
    });
    parts.collect()
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
    let printed = run(rustc.current_dir(folder)).await.map_err(|error| no_rust("rustc", &error))?;
    if !printed.status.success() {
        return Err(broken("rustc", &printed));
    }
    let library = PathBuf::from(String::from_utf8_lossy(&printed.stdout).trim());
    if has_core(&library) { Ok(library) } else { Err(Missing::Target(architecture)) }
}

/// How that Rust names the sources of its library in programs, where it does not have them.
///
/// # Errors
///
/// That there is no Rust, or none that works.
pub async fn library_name(folder: &Path) -> Result<String, Missing> {
    let told = run(Command::new("rustc").arg("-vV").current_dir(folder)).await;
    let told = told.map_err(|error| no_rust("rustc", &error))?;
    if !told.status.success() {
        return Err(broken("rustc", &told));
    }
    let told = String::from_utf8_lossy(&told.stdout);
    let value = |key| told.lines().find_map(|line| line.strip_prefix(key));
    // Who builds Rust without its history has a release instead of a commit.
    let commit = value("commit-hash: ").filter(|commit| *commit != "unknown");
    Ok(format!("/rustc/{}", commit.or_else(|| value("release: ")).unwrap_or_default()))
}

/// # Errors
///
/// That there is no cargo.
pub(super) async fn has_cargo() -> Result<(), Missing> {
    let ran = run(Command::new("cargo").arg("-V")).await;
    ran.map(drop).map_err(|error| no_rust("cargo", &error))
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
