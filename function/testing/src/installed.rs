//! Where does what others have written come from? From its package registry, once per machine, at
//! the versions that a list pins.
//!
//! Several tests, and several programs, may want the same at the same moment: one installs, the others
//! wait. An install that ends half way, even by a kill, leaves nothing that is taken for whole.

use std::{
    fs::{self, File},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::child::run;

/// The longest time that one step of an install may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What to install, at which versions, and whose it is.
#[derive(Debug, Clone, Copy)]
pub enum Requirements {
    /// The text of a `requirements.txt`, for a virtual environment.
    Python(&'static str),
    /// The text of a `package.json`.
    Node(&'static str),
    /// Packages of Debian or Ubuntu, one a line, unpacked without being installed; nobody needs to be
    /// root. Where a line has several names, the first that there is.
    Debian(&'static str),
}

/// The folder that has all of `requirements`: a virtual environment, one with `node_modules`, or the
/// root of a file system. `name` says what for.
///
/// # Panics
///
/// If it cannot be installed, with what the machine lacks.
pub fn installed(name: &str, requirements: Requirements) -> PathBuf {
    let home = target().join("tmp/installed").join(name);
    fs::create_dir_all(&home).unwrap();
    let lock = File::create(home.join("lock")).unwrap();
    lock.lock().unwrap();
    // A virtual environment cannot be moved. So each attempt has a place of its own, where a program
    // that outlives a killed test disturbs nobody, and what appears at once is the link to it.
    let link = home.join(requirements.digest());
    if let Some(whole) = fs::canonicalize(&link).ok().filter(|at| at.starts_with(&home)) {
        return whole;
    }
    for left in fs::read_dir(&home).unwrap().map(|entry| entry.unwrap().path()) {
        if left.is_dir() && !left.is_symlink() {
            drop(fs::remove_dir_all(left));
        } else if !left.ends_with("lock") {
            drop(fs::remove_file(left));
        }
    }
    let place = tempfile::Builder::new().prefix("at-").tempdir_in(&home).unwrap().keep();
    requirements.install(&place);
    let new = home.join("new");
    symlink(&place, &new).unwrap();
    fs::rename(new, link).unwrap();
    place
}

/// Cargo's target directory: this program lies two folders below it.
///
/// # Panics
///
/// If this program was moved elsewhere.
#[must_use]
pub fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(3).unwrap().to_owned()
}

/// A program of this workspace: Cargo puts it beside the folder of the tests and examples.
///
/// # Panics
///
/// If this program was moved elsewhere.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.ancestors().nth(2).unwrap().join(name)
}

impl Requirements {
    fn install(self, place: &Path) {
        match self {
            Self::Python(list) => install_python(place, list),
            Self::Node(packages) => install_node(place, packages),
            Self::Debian(packages) => install_debian(place, packages),
        }
    }

    /// Tells lists apart; a change of how they are installed counts as one of the list.
    fn digest(self) -> String {
        let (Self::Python(list) | Self::Node(list) | Self::Debian(list)) = self;
        hex::encode(&Sha256::digest(format!("1 {self:?} {list}"))[..8])
    }
}

fn install_python(place: &Path, list: &str) {
    const NEED: &str = "this test needs python3 with its venv module and pip";
    let requirements = place.join("requirements.txt");
    fs::write(&requirements, list).unwrap();
    step(Command::new("python3").args(["-m", "venv"]).arg(place), NEED);
    // The lists are complete; what they leave out is not wanted.
    let mut pip = Command::new(place.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"]);
    step(pip.arg(requirements), NEED);
}

fn install_node(place: &Path, packages: &str) {
    const NEED: &str = "this test needs Node.js 20 or newer with npm";
    fs::write(place.join("package.json"), packages).unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--ignore-scripts", "--no-fund", "--no-audit", "--no-package-lock"]);
    step(npm.arg("--loglevel=error").current_dir(place), NEED);
    // Claude Code's one script puts the platform's program in the place of a stub.
    let packages: Value = serde_json::from_str(packages).unwrap();
    for package in packages["dependencies"].as_object().unwrap().keys() {
        let script = place.join("node_modules").join(package).join("install.cjs");
        if script.exists() {
            step(Command::new("node").arg(script).current_dir(place), NEED);
        }
    }
}

/// Downloads and unpacks in the current folder. A fresh machine has no lists of packages, so lists
/// of our own are fetched if it is asked in vain.
const UNPACK: &str = r#"
set -eu
fresh=
get() {
  set -- -qq -o APT::Sandbox::User= -o Dir::Cache="$PWD/cache" "$@"
  if [ -z "$fresh" ]; then apt-get "$@" 2>/dev/null && return; fi
  mkdir -p lists/partial
  set -- -o Dir::State::lists="$PWD/lists" "$@"
  if [ -z "$fresh" ]; then
    fresh=yes
    apt-get -qq -o APT::Sandbox::User= -o Dir::State::lists="$PWD/lists" \
      -o Dir::Cache="$PWD/cache" update || true
  fi
  apt-get "$@"
}
mkdir -p cache/archives/partial
while read -r first second; do
  get download "$first" || get download "$second"
done
for package in *.deb; do dpkg -x "$package" .; done
# Of qemu's thirty processors these two are ours.
find usr/bin -name 'qemu-*' ! -name qemu-aarch64-static ! -name qemu-x86_64-static -delete
rm -rf ./*.deb lists cache usr/share
"#;

fn install_debian(place: &Path, packages: &str) {
    const NEED: &str = "this test needs packages of Debian or Ubuntu, as apt-get downloads them";
    let script =
        format!("{UNPACK}\n").replace("done\nfor", &format!("done <<'END'\n{packages}\nEND\nfor"));
    step(Command::new("sh").args(["-c", &script]).current_dir(place), NEED);
}

/// One step of an install.
fn step(command: &mut Command, needed: &str) {
    let ended = run(command, PATIENCE, needed);
    let (stdout, stderr) = (ended.stdout, ended.stderr);
    assert!(ended.status.success(), "{needed} ({command:?} failed:\n{stdout}\n{stderr})");
}
