//! Where do a strict registry, an independent client and foreign processors come from? Packages of
//! Debian or Ubuntu, unpacked below `target/` without being installed; nobody needs to be root.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::tools::home;

const NEED: &str = "these tests want docker-registry, skopeo and qemu-user-static: run them on \
                    Debian or Ubuntu, where apt-get can download packages";

/// Downloads and unpacks in the current folder. A fresh machine has no lists of packages, so lists
/// of our own are fetched if it is asked in vain. Ubuntu's newer name of a library ends in `t64`.
const INSTALL: &str = r#"
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
rm -rf packages root && mkdir -p cache/archives/partial packages
for package in docker-registry skopeo libassuan0 libdevmapper1.02.1 qemu-user-static; do
  get download "$package"
done
get download libgpgme11 || get download libgpgme11t64
for package in *.deb; do dpkg -x "$package" new; done
find new/usr/bin -name 'qemu-*' ! -name qemu-aarch64-static ! -name qemu-x86_64-static -delete
rm -rf ./*.deb packages lists cache new/usr/share
mv new root
"#;

/// A command that runs a program of the packages.
pub(crate) fn program(name: &str) -> Command {
    let root = installed();
    let mut command = Command::new(root.join("usr/bin").join(name));
    let folders = ["usr/lib", "lib"].map(|folder| root.join(folder));
    let inside = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let libraries = inside.map(|entry| entry.unwrap().path());
    command.env_clear().env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap());
    command
}

/// The folder that has them all; it appears when it is whole.
fn installed() -> &'static PathBuf {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let home = home("debian");
        let lock = File::create(home.join("lock")).unwrap();
        lock.lock().unwrap();
        let root = home.join("root");
        if !root.exists() {
            drop(fs::remove_dir_all(home.join("new")));
            let ended = Command::new("sh").args(["-c", INSTALL]).current_dir(&home).output();
            let ended = ended.expect(NEED);
            let said = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success(), "{NEED}:\n{said}");
        }
        root
    })
}
