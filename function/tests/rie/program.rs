//! Where is AWS's Runtime Interface Emulator? It comes out of the wheel `aws-sam-cli` from `PyPI`, and
//! is put below `target/`, once per machine.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const WHEEL: &str = "aws-sam-cli==1.170.0";
const NEED_PIP: &str = "these tests run AWS's Runtime Interface Emulator, which comes from PyPI: \
                        install python3 with pip";

/// The program, put below `target/` unless it is there.
pub(crate) fn emulator() -> &'static Path {
    static EMULATOR: OnceLock<PathBuf> = OnceLock::new();
    EMULATOR.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rie");
        fs::create_dir_all(&folder).unwrap();
        // Other test programs may want the same at the same time.
        let lock = File::create(folder.join("lock")).unwrap();
        lock.lock().unwrap();
        let name = match std::env::consts::ARCH {
            "aarch64" => "aws-lambda-rie-arm64",
            _ => "aws-lambda-rie-x86_64",
        };
        let place = folder.join(format!("{}-{name}", WHEEL.replace('=', "-")));
        if !place.exists() {
            install(&folder, name, &place);
        }
        place
    })
}

fn install(folder: &Path, name: &str, place: &Path) {
    let step = |command: &mut Command| {
        let ended = command.current_dir(folder).output();
        let ended = ended.unwrap_or_else(|error| panic!("{NEED_PIP} ({command:?}: {error})"));
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{NEED_PIP} ({command:?} failed:\n{said})");
    };
    let python = |arguments: &[&str]| step(Command::new("python3").args(arguments));
    let quiet = ["--quiet", "--disable-pip-version-check", "--no-deps"];
    python(&[&["-m", "pip", "download"], &quiet[..], &[WHEEL]].concat());
    let wheel = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let wheel = wheel.into_iter().find(|path| path.extension().is_some_and(|end| end == "whl"));
    let wheel = wheel.unwrap();
    let unpack = "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract(sys.argv[2])";
    let inside = format!("samcli/local/rapid/{name}");
    python(&["-c", unpack, wheel.to_str().unwrap(), &inside]);
    let unpacked = folder.join(&inside);
    fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755)).unwrap();
    // Last, so that a broken install is done again.
    fs::rename(unpacked, place).unwrap();
    fs::remove_file(wheel).unwrap();
}
