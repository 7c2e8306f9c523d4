//! A copy of this workspace that may be changed, and an `up` that builds it.
//!
//! Built with the profile of a real `up`, but unoptimised: the way is the same, and it takes a tenth
//! of the time. All builds share one target folder, and so take turns.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use provisioner::image::{Architecture, Digest};
use testing::aws::emulator::Emulator;
use testing::aws::world::{Ended, World};

use crate::tools::{home, path};

/// What makes a build quick (*The Cargo Book*, "Profiles").
const QUICK: [(&str, &str); 3] = [
    ("CARGO_PROFILE_LAMBDA_OPT_LEVEL", "0"),
    ("CARGO_PROFILE_LAMBDA_LTO", "off"),
    ("CARGO_PROFILE_LAMBDA_CODEGEN_UNITS", "16"),
];

/// What a build needs to know of its user.
const KEPT: [&str; 5] = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "TMPDIR"];

/// A folder with the sources.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) folder: PathBuf,
}

impl Copy {
    /// The copy at this place below `target/`, the same as the workspace is now.
    pub(crate) fn at(place: &str) -> Self {
        let copy = Self { folder: home(place) };
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut wanted = BTreeSet::new();
        for name in ["Cargo.toml", "Cargo.lock", "function", "provisioner", "policies"] {
            files(&workspace.join(name), &mut wanted);
        }
        let mut there = BTreeSet::new();
        files(&copy.folder, &mut there);
        for file in &wanted {
            let to = copy.folder.join(file.strip_prefix(workspace).unwrap());
            let content = fs::read(file).unwrap();
            // What has not changed keeps its time, and is not built again.
            if fs::read(&to).ok().as_ref() != Some(&content) {
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::write(&to, content).unwrap();
            }
            there.remove(&to);
        }
        for file in there {
            fs::remove_file(file).unwrap();
        }
        copy
    }

    /// Changes a file, which must have `from`.
    pub(crate) fn change(&self, file: &str, from: &str, to: &str) {
        let file = self.folder.join(file);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(from), "{} has no {from:?}", file.display());
        fs::write(file, text.replace(from, to)).unwrap();
    }

    /// A command of the tool that builds this source.
    pub(crate) fn command(&self, world: &World, words: &[&str]) -> Command {
        let mut command = world.command(words);
        equip(command.current_dir(&self.folder));
        command
    }

    /// Runs it, one at a time.
    pub(crate) fn run(&self, world: &World, words: &[&str]) -> Ended {
        let _turn = turn();
        self.command(world, words).output().unwrap().into()
    }

    pub(crate) fn up(&self, world: &World, more: &[&str]) -> Ended {
        self.run(world, &[&["up", "--yes", "--no-probe", "--json"], more].concat())
    }
}

/// Gives a command what a quick build of the function needs.
pub(crate) fn equip(command: &mut Command) -> &mut Command {
    let kept = KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    command.envs(kept).envs(QUICK).env("PATH", path()).env("CARGO_TARGET_DIR", home("target"))
}

/// Waits until nobody else builds.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A stack whose image was built from the source as it is.
pub(crate) struct Deployed {
    pub(crate) copy: Copy,
    pub(crate) world: World,
    pub(crate) binary: Vec<u8>,
    pub(crate) digest: Digest,
    /// What cargo and the tool said meanwhile.
    pub(crate) said: String,
}

/// The stack for one architecture; the first who asks deploys it.
pub(crate) fn deployed(architecture: Architecture) -> &'static Deployed {
    static ARM64: OnceLock<Deployed> = OnceLock::new();
    static X86_64: OnceLock<Deployed> = OnceLock::new();
    let place = match architecture {
        Architecture::Arm64 => &ARM64,
        Architecture::X86_64 => &X86_64,
    };
    place.get_or_init(|| {
        let (copy, world) = (Copy::at("copy"), World::new(Emulator::MiniStack));
        let _turn = turn();
        let words = ["up", "--yes", "--no-probe", "--json", "--architecture", architecture.name()];
        let ended: Ended = copy.command(&world, &words).output().unwrap().into();
        ended.expect(0);
        let image = ended.json()["outputs"]["image"].as_str().unwrap().to_owned();
        let digest = image.split_once('@').unwrap().1.parse().unwrap();
        let binary = fs::read(binary(architecture)).unwrap();
        Deployed { copy, world, binary, digest, said: ended.stderr }
    })
}

/// Where cargo puts what it has built.
pub(crate) fn binary(architecture: Architecture) -> PathBuf {
    home("target").join(architecture.triple()).join("lambda/function")
}

fn files(at: &Path, found: &mut BTreeSet<PathBuf>) {
    if at.is_dir() {
        for entry in fs::read_dir(at).unwrap() {
            files(&entry.unwrap().path(), found);
        }
    } else {
        found.insert(at.to_owned());
    }
}
