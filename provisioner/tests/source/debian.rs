//! Where do a strict registry, an independent client and foreign processors come from? Packages of
//! Debian or Ubuntu.

use std::fs;
use std::process::Command;

use testing::installed::{Requirements, installed};

/// Ubuntu's newer name of a library ends in `t64`.
const PACKAGES: &str = "docker-registry\nskopeo\nlibassuan0\nlibdevmapper1.02.1\nqemu-user-static\n\
                        libgpgme11 libgpgme11t64";

/// A command that runs a program of the packages.
pub(crate) fn program(name: &str) -> Command {
    let root = installed("debian", Requirements::Debian(PACKAGES));
    let mut command = Command::new(root.join("usr/bin").join(name));
    let folders = ["usr/lib", "lib"].map(|folder| root.join(folder));
    let inside = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
    let libraries = inside.map(|entry| entry.unwrap().path());
    command.env_clear().env("LD_LIBRARY_PATH", std::env::join_paths(libraries).unwrap());
    command
}
