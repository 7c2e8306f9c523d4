//! Where do the real clients come from? From npm and pip, once per machine, at the versions that
//! `package.json` and `requirements.txt` beside this file pin.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use serde_json::Value;

use crate::child::run;

const PACKAGES: &str = include_str!("package.json");
const REQUIREMENTS: &str = include_str!("requirements.txt");
const CLAUDE_CODE: &str = "@anthropic-ai/claude-code";

const NEED_NODE: &str =
    "these tests run Claude Code and the TypeScript SDK: install Node.js 18 or newer with npm";
const NEED_PYTHON: &str =
    "these tests run the Python SDK: install python3 with its venv module and pip";

/// The folder whose `node_modules` hold Claude Code and the TypeScript SDK.
pub(crate) fn node() -> &'static Path {
    static NODE: OnceLock<PathBuf> = OnceLock::new();
    NODE.get_or_init(|| installed("node", PACKAGES, install_node))
}

/// The interpreter that has the Python SDK.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| installed("python", REQUIREMENTS, install_python).join("bin/python"))
}

/// The program `claude`.
pub(crate) fn claude() -> PathBuf {
    node().join("node_modules/.bin/claude")
}

/// Installs into a folder of the target directory, unless the very same is there. The marker that
/// says so is written last, so that a broken install is done again.
fn installed(name: &str, manifest: &str, install: fn(&Path)) -> PathBuf {
    let clients = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients");
    fs::create_dir_all(&clients).unwrap();
    let (folder, marker) = (clients.join(name), clients.join(format!("{name}.installed")));
    // Other test programs may want the same at the same time.
    let lock = File::create(clients.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    // A virtual environment cannot be moved: its place belongs to what was installed.
    let whole = format!("{}\n{manifest}", folder.display());
    if fs::read_to_string(&marker).is_ok_and(|known| known == whole) {
        return folder;
    }
    drop(fs::remove_file(&marker));
    drop(fs::remove_dir_all(&folder));
    fs::create_dir(&folder).unwrap();
    install(&folder);
    fs::write(marker, whole).unwrap();
    folder
}

fn install_node(folder: &Path) {
    fs::write(folder.join("package.json"), PACKAGES).unwrap();
    let quiet = ["--no-fund", "--no-audit", "--no-package-lock", "--loglevel=error"];
    let npm = |command: &mut Command| step(command.current_dir(folder), NEED_NODE);
    npm(Command::new("npm").args(["install", "--ignore-scripts"]).args(quiet));
    // The package's one script puts the platform's program in the place of a stub.
    let script = folder.join("node_modules").join(CLAUDE_CODE).join("install.cjs");
    npm(Command::new("node").arg(script));
    let version = npm(Command::new(folder.join("node_modules/.bin/claude")).arg("--version"));
    let packages: Value = serde_json::from_str(PACKAGES).unwrap();
    let pinned = packages["dependencies"][CLAUDE_CODE].as_str().unwrap();
    assert!(version.starts_with(pinned), "installed {version:?} instead of {pinned}");
}

fn install_python(folder: &Path) {
    let requirements = folder.join("requirements.txt");
    let pip = |command: &mut Command| step(command, NEED_PYTHON);
    pip(Command::new("python3").args(["-m", "venv"]).arg(folder));
    fs::write(&requirements, REQUIREMENTS).unwrap();
    pip(Command::new(folder.join("bin/python"))
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"])
        .arg(requirements));
}

/// One step of an install; returns what it printed.
fn step(command: &mut Command, needed: &str) -> String {
    let ended = run(command, Duration::from_secs(600), needed);
    let (stdout, stderr) = (ended.stdout, ended.stderr);
    assert!(ended.status.success(), "{needed} ({command:?} failed:\n{stdout}\n{stderr})");
    stdout
}
