//! How does the source of the function become a program for Lambda?
//!
//! By `cargo zigbuild`, for a musl target and with the profile `lambda`: one static binary, on any
//! developer's machine and without Docker. The source is that of the workspace that the folder lies
//! in, never the one that the tool itself was once built from: what is deployed is what is seen.
//!
//! The same source and tools give the same bytes in any folder and for any user. Writes nothing but
//! what cargo writes into its target folder.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::Instant;

use crate::engine::words::quoted;
use crate::image::{Architecture, MOST_BINARY_BYTES};
use crate::view::printer::{MIB, Printer};

pub mod tools;

/// The package of the function, and its program.
const PACKAGE: &str = "function";

/// What a clone of claude-proxy has: many a workspace has a `function`.
const PACKAGES: [&str; 2] = [PACKAGE, "provisioner"];

/// What of cargo's words is remembered, to tell why a build failed, in bytes.
const REMEMBERED: usize = 16 * 1024;

/// A full disk, in the words of the system (`ENOSPC`).
const NO_SPACE: &str = "No space left on device";

/// A disk with less room than this is full, in bytes: a build needs more for each crate.
const LEAST_ROOM: usize = 8 * 1024 * 1024;

/// Why there is no binary.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(
        "{} is not in a clone of claude-proxy, so there is no source to build",
        folder.display()
    )]
    NoSource { folder: PathBuf },
    #[error("cargo cannot read the workspace of {}: {said}", folder.display())]
    BadWorkspace { folder: PathBuf, said: String, silent: bool },
    #[error("{0}")]
    Tool(#[from] tools::Missing),
    #[error("the build failed, because the disk is full: it writes to {}", target.display())]
    DiskFull { target: PathBuf },
    #[error("the build failed: {said}")]
    Failed { said: String },
    #[error("the binary at {} cannot be read: {why}", path.display())]
    Unreadable { path: PathBuf, why: io::Error },
    #[error(
        "the binary at {} has more than {MOST_BINARY_BYTES} bytes, and cannot be the function",
        path.display()
    )]
    TooLarge { path: PathBuf },
}

impl BuildError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NoSource { .. } => {
                "run it inside the clone, or name a ready binary: --binary PATH".to_owned()
            }
            Self::Tool(missing) => missing.hint(),
            Self::DiskFull { .. } => {
                "make room there, or build elsewhere: CARGO_TARGET_DIR names another folder"
                    .to_owned()
            }
            Self::BadWorkspace { silent: true, .. } => {
                "run `cargo metadata` here: it has to work; nothing was changed".to_owned()
            }
            Self::BadWorkspace { .. } | Self::Failed { .. } => {
                "cargo's own words stand above; nothing was changed".to_owned()
            }
            Self::Unreadable { .. } | Self::TooLarge { .. } => {
                "name another: --binary PATH".to_owned()
            }
        }
    }
}

/// A workspace that has the function, on a machine that can build it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workspace {
    /// A folder in it.
    folder: PathBuf,
    /// Where cargo writes.
    target: PathBuf,
}

impl Workspace {
    /// Finds the workspace that `folder` lies in, and the tools.
    ///
    /// # Errors
    ///
    /// Where there is no such workspace, or a tool is missing.
    pub async fn find(folder: &Path, printer: Printer) -> Result<Self, BuildError> {
        let whole = || folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
        if !whole().ancestors().any(|folder| folder.join("Cargo.toml").is_file()) {
            tools::has_cargo().await?;
            return Err(BuildError::NoSource { folder: whole() });
        }
        let words = ["metadata", "--no-deps", "--format-version", "1"];
        let metadata = tools::run(Command::new("cargo").args(words).current_dir(folder)).await;
        let metadata = metadata.map_err(|error| tools::no_rust("cargo", &error))?;
        if !metadata.status.success() {
            tools::check_instead().await?;
            let words = String::from_utf8_lossy(&metadata.stderr);
            let silent = words.trim().is_empty();
            if !silent {
                printer.progress(words.trim_end());
            }
            let said = last_error(&words).unwrap_or_else(|| tools::own_words(&metadata));
            return Err(BuildError::BadWorkspace { folder: whole(), said, silent });
        }
        let found = serde_json::from_slice::<Value>(&metadata.stdout).unwrap_or_default();
        let packages: Vec<_> = found["packages"].as_array().into_iter().flatten().collect();
        let has = |name: &&str| packages.iter().any(|package| package["name"] == **name);
        let target = found["target_directory"].as_str();
        match target.filter(|_| PACKAGES.iter().all(has)) {
            Some(target) => {
                tools::library_name(folder).await?;
                tools::check().await?;
                Ok(Self { folder: folder.to_owned(), target: target.into() })
            }
            None => Err(BuildError::NoSource { folder: whole() }),
        }
    }

    /// Builds the function.
    ///
    /// # Errors
    ///
    /// Where Rust cannot compile for that architecture yet, or the build fails.
    pub async fn build(
        &self,
        architecture: Architecture,
        printer: Printer,
    ) -> Result<Vec<u8>, BuildError> {
        let library = tools::check_target(&self.folder, architecture).await?;
        let flags = flags(cargo_home(), &library, &tools::library_name(&self.folder).await?);
        let triple = architecture.triple();
        let minutes = "the first time takes minutes";
        printer.progress(&format!("building the function for {triple} ({minutes})"));
        let start = Instant::now();
        let child = command(&self.folder, triple, &flags, printer).spawn();
        let mut child =
            child.map_err(|error| BuildError::Failed { said: quoted(&error.to_string()) })?;
        let (binary, words, ended) = watch(&mut child, printer).await;
        match binary {
            Some(path) if ended => {
                let binary = read(&path)?;
                let (size, seconds) = (binary.len() as f64 / MIB, start.elapsed().as_secs_f64());
                printer.progress(&format!("built the function: {size:.1} MiB ({seconds:.1} s)"));
                Ok(binary)
            }
            Some(_) | None if words.contains(NO_SPACE) || is_full(&self.target) => {
                Err(BuildError::DiskFull { target: self.target.clone() })
            }
            Some(_) | None => {
                let said = last_error(&words).unwrap_or_else(|| SILENT.to_owned());
                Err(BuildError::Failed { said })
            }
        }
    }
}

/// Reads a binary that could be the function's.
///
/// # Errors
///
/// If there is none, or one that is too large.
pub fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    let unreadable = |why| BuildError::Unreadable { path: path.to_owned(), why };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let told = file.metadata().map_err(unreadable)?.len();
    let (mut binary, most) = (Vec::new(), MOST_BINARY_BYTES as u64);
    // A device tells no size, and may have no end.
    if told <= most {
        io::Read::read_to_end(&mut io::Read::take(file, most + 1), &mut binary)
            .map_err(unreadable)?;
    }
    match told.max(binary.len() as u64) {
        size if size > most => Err(BuildError::TooLarge { path: path.to_owned() }),
        _ => Ok(binary),
    }
}

/// Asks the disk itself: a linker may die of it without a word.
fn is_full(target: &Path) -> bool {
    let probe = target.join(".room");
    let written = std::fs::write(&probe, vec![0; LEAST_ROOM]);
    drop(std::fs::remove_file(probe));
    let full = [ErrorKind::StorageFull, ErrorKind::QuotaExceeded];
    written.is_err_and(|error| full.contains(&error.kind()))
}

fn command(folder: &Path, triple: &str, flags: &OsStr, printer: Printer) -> Command {
    let mut command = Command::new("cargo-zigbuild");
    command
        .args(["zigbuild", "--locked", "--profile", "lambda", "--target", triple])
        .args(["--package", PACKAGE, "--bin", PACKAGE])
        .arg("--message-format=json-render-diagnostics")
        .current_dir(folder)
        // It wins over every other source of flags, so that nobody's own change the bytes.
        .env("CARGO_ENCODED_RUSTFLAGS", flags)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    // Cargo writes into a pipe: without these it would not show what it shows on a terminal.
    if printer.shows_progress() {
        let width = printer.width().to_string();
        command.env("CARGO_TERM_PROGRESS_WHEN", "always").env("CARGO_TERM_PROGRESS_WIDTH", width);
    }
    command.env("CARGO_TERM_COLOR", printer.stderr_style().of_cargo());
    command
}

/// Names in panics say where a source lay; a user's home must not be in the binary.
///
/// That is cargo's for crates, and rustup's for Rust's own library: who has its sources (the
/// component `rust-src`, for an editor) gets their place into his programs, others get `named`.
fn flags(cargo_home: Option<PathBuf>, library: &Path, named: &str) -> OsString {
    let home = cargo_home.unwrap_or_else(|| PathBuf::from("/nowhere"));
    // `library` is lib/rustlib/TARGET/lib.
    let sources = library.ancestors().nth(2).unwrap_or(library).join("src/rust");
    let mut flags = OsString::new();
    for (from, to) in [(home, "/cargo"), (sources, named)] {
        if !flags.is_empty() {
            flags.push("\u{1f}");
        }
        flags.push("--remap-path-prefix=");
        flags.push(from);
        flags.push("=");
        flags.push(to);
    }
    flags
}

/// Where cargo keeps the sources of crates (*The Cargo Book*, "Cargo Home").
#[expect(clippy::disallowed_methods, reason = "cargo's own variable, read as cargo will read it")]
fn cargo_home() -> Option<PathBuf> {
    let named = std::env::var_os("CARGO_HOME").filter(|home| !home.is_empty());
    named.map(PathBuf::from).or_else(|| Some(std::env::home_dir()?.join(".cargo")))
}

/// Passes on what cargo says. Returns where the binary is, the last words, and whether all went
/// well.
async fn watch(child: &mut Child, printer: Printer) -> (Option<PathBuf>, String, bool) {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (binary, words) = tokio::join!(artifact(stdout), pass_on(stderr, printer));
    let ended = child.wait().await.is_ok_and(|status| status.success());
    (binary, String::from_utf8_lossy(&words).into_owned(), ended)
}

/// Finds the program among cargo's messages (*The Cargo Book*, "External Tools").
async fn artifact(stdout: Option<ChildStdout>) -> Option<PathBuf> {
    let mut lines = BufReader::new(stdout?).lines();
    let mut found = None;
    while let Ok(Some(line)) = lines.next_line().await {
        let message = serde_json::from_str::<Value>(&line).unwrap_or_default();
        if let Some(path) = message["executable"].as_str() {
            found = Some(PathBuf::from(path));
        }
    }
    found
}

/// Copies cargo's words to our own, as they come, and keeps the end of them.
async fn pass_on(stderr: Option<ChildStderr>, printer: Printer) -> Vec<u8> {
    let (mut words, mut piece) = (Vec::new(), [0; 4096]);
    let Some(mut stderr) = stderr else { return words };
    while let Ok(length @ 1..) = stderr.read(&mut piece).await {
        let piece = piece.get(..length).unwrap_or_default();
        printer.pass_on(piece);
        words.extend(piece);
        words.drain(..words.len().saturating_sub(REMEMBERED));
    }
    words
}

/// What is said of a build that says nothing.
const SILENT: &str = "it ended without a word";

/// The last line that says what is wrong, without its colours.
fn last_error(words: &str) -> Option<String> {
    let plain = tools::plain(words);
    let last = plain.lines().rev().find_map(|line| line.trim().strip_prefix("error: "));
    last.map(quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_error_is_told_without_its_colours() {
        let words =
            "\u{1b}[1m\u{1b}[91merror\u{1b}[0m: one\n\u{1b}[1merror\u{1b}[0m: two\nwarning: x\n";
        assert_eq!(last_error(words).as_deref(), Some("two"));
        assert_eq!(last_error("Compiling m\n"), None);
    }

    #[test]
    fn homes_are_mapped_away() {
        let library = Path::new("/home/alice/.rustup/toolchains/stable/lib/rustlib/TARGET/lib");
        let flags = flags(Some(PathBuf::from("/home/alice/.cargo")), library, "/rustc/1234");
        let expected = "--remap-path-prefix=/home/alice/.cargo=/cargo\u{1f}--remap-path-prefix=\
                        /home/alice/.rustup/toolchains/stable/lib/rustlib/src/rust=/rustc/1234";
        assert_eq!(flags, expected);
    }
}
