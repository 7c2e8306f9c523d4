//! What does a change of the source change, and what does none of it change?

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use provisioner::image::{Architecture, Digest, OciImage};
use serde_json::{Value, json};
use testing::aws::world::{Ended, World};
use testing::elf::{AARCH64, program};

use crate::copy::{Copy, deployed, equip, turn};
use crate::tools::{home, path, wait};

/// Changed, undone and changed again, all in one stack: what is built takes turns anyway.
#[test]
fn a_changed_source_changes_image_and_code_and_nothing_else() {
    let _alone = alone();
    let first = deployed(Architecture::Arm64);
    let (copy, world) = (&first.copy, &first.world);
    world.proxy.take_journal();
    let second = copy.up(world, &[]);
    second.expect(0);
    assert_eq!(changes(&second), json!([]));
    assert_eq!(world.proxy.take_journal(), [""; 0]);
    copy.change("function/src/main.rs", "\"error: {what}\"", "\"fault: {what}\"");
    let third = copy.up(world, &[]);
    third.expect(0);
    let image = third.json()["outputs"]["image"].as_str().unwrap().to_owned();
    assert!(!image.ends_with(first.digest.as_str()), "{image}");
    let found = changes(&third);
    let paths = |change: &Value| {
        let fields = change["fields"].as_array().unwrap();
        fields.iter().map(|field| field["path"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let found: Vec<_> = found.as_array().unwrap().iter().collect();
    let [of_image, of_function] = found[..] else { panic!("{found:?}") };
    assert_eq!(of_image["action"], "create");
    assert_eq!(paths(of_image), ["imageDigest", "imageTag"]);
    assert_eq!(
        (&of_function["action"], paths(of_function)),
        (&"update".into(), vec!["Code.ImageUri".to_owned()])
    );
    let journal = world.proxy.take_journal();
    let of_lambda: Vec<_> =
        journal.iter().filter(|call| !call.contains("/v2/")).map(String::as_str).collect();
    assert_eq!(of_lambda, ["lambda.UpdateFunctionCode"]);
    copy.change("function/src/main.rs", "\"fault: {what}\"", "\"error: {what}\"");
    let fourth = copy.up(world, &[]);
    fourth.expect(0);
    let image = fourth.json()["outputs"]["image"].as_str().unwrap().to_owned();
    assert!(image.ends_with(first.digest.as_str()), "the same source is the same image: {image}");
}

/// Everything is compiled anew, since the crates lie elsewhere as well.
#[test]
#[ignore = "a second build of everything: scripts/same-image runs it"]
fn the_same_source_is_the_same_image_in_any_folder_and_for_anybody() {
    let _alone = alone();
    let first = deployed(Architecture::Arm64);
    let elsewhere = Copy::at("some/where/else");
    let (user, target) = (tempfile::tempdir().unwrap(), home("target-of-somebody-else"));
    // Not downloaded again: what counts is the path by which cargo knows the crates.
    let of_cargo = user.path().join("crates");
    fs::create_dir(&of_cargo).unwrap();
    symlink(known("CARGO_HOME", ".cargo").join("registry"), of_cargo.join("registry")).unwrap();
    let mut plan = elsewhere.command(&first.world, &["plan", "--json"]);
    plan.env("HOME", user.path())
        .env("CARGO_HOME", of_cargo)
        .env("RUSTUP_HOME", known("RUSTUP_HOME", ".rustup"))
        .env("CARGO_TARGET_DIR", &target);
    let plan = {
        let _turn = turn();
        Ended::from(plan.output().unwrap())
    };
    plan.expect(0);
    assert_eq!(changes(&plan), json!([]));
    let built = target.join(Architecture::Arm64.triple()).join("lambda/function");
    assert!(fs::read(built).unwrap() == first.binary, "the binaries differ");
}

/// A folder of this user: named by a variable, or in the home.
fn known(variable: &str, name: &str) -> PathBuf {
    let home = || Path::new(&std::env::var_os("HOME").unwrap()).join(name);
    std::env::var_os(variable).map_or_else(home, PathBuf::from)
}

/// Who writes Rust with an editor has the sources of its library, and then its names in programs
/// are places on that machine.
#[test]
fn the_same_source_is_the_same_program_beside_the_sources_of_rust() {
    let world = World::new(testing::aws::emulator::Emulator::MiniStack);
    let build = |folder: &Path, rust: Option<&Path>| {
        for (file, text) in SMALL {
            let file = folder.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let (mut plan, target) = (world.command(&["plan"]), folder.join("target"));
        equip(plan.current_dir(folder)).env("CARGO_TARGET_DIR", &target);
        if let Some(rust) = rust {
            let first = [rust.to_owned()].into_iter().chain(std::env::split_paths(path()));
            plan.env("PATH", std::env::join_paths(first).unwrap()).env("RUSTC", rust.join("rustc"));
        }
        Ended::from(plan.output().unwrap()).expect(0);
        fs::read(target.join(Architecture::Arm64.triple()).join("lambda/function")).unwrap()
    };
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let rust = with_sources(there.path());
    let names = |binary: &[u8], name: &str| {
        binary.windows(name.len()).any(|window| window == name.as_bytes())
    };
    let binary = build(here.path(), None);
    assert!(names(&binary, "/alloc/src/vec/"), "it names no generic code of the library");
    let other = build(&there.path().join("clone"), Some(&rust));
    assert!(!names(&other, there.path().to_str().unwrap()), "it says where it was built");
    assert!(other == binary, "the programs differ");
}

/// The least that is a clone to the tool.
const SMALL: [(&str, &str); 5] = [
    (
        "Cargo.toml",
        "[workspace]\nmembers = ['provisioner']\n\
         [package]\nname = 'function'\nversion = '0.0.0'\nedition = '2024'\n\
         [profile.lambda]\ninherits = 'release'\nstrip = true\n",
    ),
    (
        "Cargo.lock",
        "version = 4\n\n[[package]]\nname = \"function\"\nversion = \"0.0.0\"\n\n\
         [[package]]\nname = \"provisioner\"\nversion = \"0.0.0\"\n",
    ),
    (
        "provisioner/Cargo.toml",
        "[package]\nname = 'provisioner'\nversion = '0.0.0'\nedition = '2024'\n",
    ),
    ("provisioner/src/lib.rs", ""),
    (
        "src/main.rs",
        "fn main() {\n    let mut words: Vec<String> = std::env::args().collect();\n    \
         words.drain(..1);\n    println!(\"{}\", words[2..][0]);\n}\n",
    ),
];

/// A folder with a `rustc` that finds, beside its libraries, the sources of its own.
fn with_sources(folder: &Path) -> PathBuf {
    let printed = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    let real = PathBuf::from(String::from_utf8(printed.stdout).unwrap().trim());
    let rustlib = folder.join("lib/rustlib");
    let source = rustlib.join("src/rust/library/std/src/lib.rs");
    fs::create_dir_all(source.parent().unwrap()).unwrap();
    fs::write(source, "").unwrap();
    for entry in fs::read_dir(real.join("lib/rustlib")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "src" {
            symlink(entry.path(), rustlib.join(entry.file_name())).unwrap();
        }
    }
    let script = format!(
        "#!/bin/sh\nexec {} --sysroot {} \"$@\"\n",
        real.join("bin/rustc").display(),
        folder.display()
    );
    fs::write(folder.join("rustc"), script).unwrap();
    fs::set_permissions(folder.join("rustc"), fs::Permissions::from_mode(0o755)).unwrap();
    folder.to_owned()
}

/// Waits until nobody else changes, or compares with, what is deployed.
fn alone() -> MutexGuard<'static, ()> {
    static DEPLOYED: Mutex<()> = Mutex::new(());
    DEPLOYED.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_binary_says_nothing_of_who_built_it_and_where() {
    let binary = &deployed(Architecture::Arm64).binary;
    let home = format!("{}/", std::env::var("HOME").unwrap());
    for secret in [home.as_str(), env!("CARGO_MANIFEST_DIR"), env!("CARGO_TARGET_TMPDIR")] {
        let found = binary.windows(secret.len()).position(|window| window == secret.as_bytes());
        let found = found.map(|at| String::from_utf8_lossy(&binary[at..at + 120]));
        assert_eq!(found, None, "{secret}");
    }
    let place = b"/cargo/registry/src/";
    assert!(binary.windows(place.len()).any(|window| window == place), "nothing was mapped");
}

#[test]
fn progress_is_told_in_lines_where_nobody_looks() {
    let said = &deployed(Architecture::Arm64).said;
    for line in [
        "building the function for aarch64-unknown-linux-musl (the first time takes minutes)\n",
        "    Finished `lambda` profile",
        "\nbuilt the function: ",
        "  created image/",
    ] {
        assert!(said.contains(line), "{line:?} is missing in\n{said}");
    }
    let sent = said.lines().filter(|line| line.starts_with("    ") && line.ends_with(" MiB"));
    let sent: Vec<&str> = sent.collect();
    assert!((1..=4).contains(&sent.len()), "a line for each quarter at most:\n{said}");
    let (done, total) = sent.last().unwrap().trim().split_once(" of ").unwrap();
    assert_eq!(format!("{done} MiB"), total, "the last line says that all is there:\n{said}");
    assert!(!said.contains(['\r', '\u{1b}']), "{said}");
}

#[test]
fn what_is_not_built_is_not_compared() {
    let first = deployed(Architecture::Arm64);
    let plan = first.world.run(&["plan", "--no-build"]);
    plan.expect(0);
    assert_eq!(plan.stdout, "No changes.\n");
    assert_eq!(plan.stderr, "The image was not compared (--no-build).\n");
}

/// The deployed image and three before it stay; an older one goes only when the next one runs.
#[test]
fn four_images_are_kept() {
    let world = World::new(testing::aws::emulator::Emulator::MiniStack);
    let code = |number: u8| program(AARCH64, &[number]).bytes();
    for number in 0..6 {
        let path = world.binary(&number.to_string());
        fs::write(&path, code(number)).unwrap();
        let ended = world.up(&["--binary", path.to_str().unwrap()]);
        ended.expect(0);
    }
    let digest = |number| {
        let image = OciImage::from_binary(&code(number), Architecture::Arm64).unwrap();
        image.digest().clone()
    };
    let mut kept: Vec<Digest> = (2..6).map(digest).collect();
    kept.sort();
    assert_eq!(images(&world), kept);
    let back = ["up", "--yes", "--no-probe", "--image"];
    world.run(&[&back[..], &[digest(2).as_str()]].concat()).expect(0);
    assert_eq!(images(&world), kept, "the way back costs no image");
    let gone = world.run(&[&back[..], &[digest(0).as_str()]].concat());
    gone.expect(1);
}

fn images(world: &World) -> Vec<Digest> {
    let client = aws_sdk_ecr::Client::new(&world.sdk());
    let describe = client.describe_images().repository_name(&world.name).send();
    let found = wait(describe).unwrap();
    let digests = found.image_details().iter().map(|image| image.image_digest().unwrap());
    let mut digests: Vec<Digest> = digests.map(|digest| digest.parse().unwrap()).collect();
    digests.sort();
    digests
}

/// The changes of a report that are any.
fn changes(ended: &Ended) -> Value {
    let report = ended.json();
    let changes = report["changes"].as_array().unwrap().iter();
    changes.filter(|change| change["action"] != "keep").cloned().collect()
}
