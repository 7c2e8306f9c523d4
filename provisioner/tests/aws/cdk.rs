//! How long does the same stack take with AWS CDK's command line? Both deploy to the emulator, in
//! turns, a first time and once more with nothing to change.
//!
//! CDK is given provisioner's own declaration, as `provisioner template` prints it, and `plan` then
//! says what differs. An image lies ready, since CDK publishes none without Docker; provisioner makes
//! and pushes its own, small one in the time that is measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use provisioner::image::{Architecture, OciImage};
use serde_json::Value;
use testing::aws::emulator::Emulator::MiniStack;
use testing::aws::world::World;
use testing::installed::{Requirements, installed};

const PACKAGE: &str = include_str!("cdk/package.json");
const APP: &str = include_str!("cdk/app.js");
const NEED: &str = "this compares with AWS CDK: install Node.js 20 or newer with npm";

/// Odd, so that there is a middle one.
const ROUNDS: usize = 5;

#[test]
#[ignore = "minutes, and CDK has to be installed: scripts/cdk-comparison runs it"]
fn the_same_stack_by_cdk() {
    let cdk = cdk();
    let mut times = [const { Vec::new() }; 4];
    let mut differs = Vec::new();
    for _ in 0..ROUNDS {
        let world = World::new(MiniStack);
        let declared = declared(&world);
        for index in [0, 1] {
            times[index].push(deploy(&cdk, &world, &declared));
        }
        differs = differences(&world);
        let world = World::new(MiniStack);
        for index in [2, 3] {
            let binary = world.binary("one");
            let words = ["up", "--yes", "--no-probe", "--binary", binary.to_str().unwrap()];
            // Waits as long as people wait.
            let start = Instant::now();
            let ended = world.command(&words).env("PROVISIONER_WAIT_UNIT_MS", "1000").output();
            let ended = ended.unwrap();
            times[index].push(start.elapsed());
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        }
    }
    let [cdk_first, cdk_again, first, again] = times.map(median);
    let ratio = |theirs: Duration, ours: Duration| theirs.as_secs_f64() / ours.as_secs_f64();
    let seconds = |time: Duration| format!("{:.2} s", time.as_secs_f64());
    println!("| medians of {ROUNDS} | AWS CDK {} | provisioner | ratio |", version("aws-cdk"));
    println!("|---|---|---|---|");
    for (what, theirs, ours) in [("first", cdk_first, first), ("again", cdk_again, again)] {
        let row = [what.to_owned(), seconds(theirs), seconds(ours)].join(" | ");
        println!("| {row} | {:.0} |", ratio(theirs, ours));
    }
    println!(
        "aws-cdk-lib {}; what `plan` finds of CDK's stack: {differs:?}",
        version("aws-cdk-lib")
    );
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Our own declaration, for the other tool: where it is written, and the image that it names.
fn declared(world: &World) -> (PathBuf, String) {
    let template = world.run(&["template"]);
    template.expect(0);
    let path = world.folder().join("template.json");
    fs::write(&path, template.stdout).unwrap();
    let binary = fs::read(world.binary("one")).unwrap();
    let image = OciImage::from_binary(&binary, Architecture::Arm64).unwrap();
    let host = "000000000000.dkr.ecr.us-east-1.amazonaws.com";
    (path, format!("{host}/{}@{}", world.name, image.digest()))
}

fn deploy(cdk: &Path, world: &World, (template, image): &(PathBuf, String)) -> Duration {
    let out = world.folder().join("cdk.out");
    let mut command = Command::new(cdk.join("node_modules/.bin/cdk"));
    command
        .args(["deploy", "--app", "node app.js", "--require-approval", "never", "--output"])
        .arg(out)
        .args(["--no-notices", "--no-version-reporting", "--no-path-metadata"])
        .args(["--no-asset-metadata", "--progress", "events"])
        .current_dir(cdk)
        .env_clear()
        .envs(["PATH", "HOME"].map(|name| (name, std::env::var(name).unwrap_or_default())))
        .env("NAME", &world.name)
        .env("TEMPLATE", template)
        .env("IMAGE", image)
        .env("CI", "1")
        .env("CDK_DISABLE_CLI_TELEMETRY", "true")
        .env("AWS_ENDPOINT_URL", format!("http://{}", world.proxy.address))
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_REGION", "us-east-1")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .stdin(Stdio::null());
    let start = Instant::now();
    let ended = command.output().expect(NEED);
    let time = start.elapsed();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(ended.status.success(), "{}{}", said(&ended.stdout), said(&ended.stderr));
    time
}

/// What `plan` would do to the stack that CDK has made.
fn differences(world: &World) -> Vec<String> {
    let plan = world.run(&["plan", "--no-build", "--json"]);
    plan.expect(0);
    let changes = plan.json()["changes"].as_array().unwrap().clone();
    let changes = changes.iter().filter(|change| change["action"] != "keep");
    let text = |change: &Value| {
        let fields = change["fields"].as_array().unwrap().iter();
        let fields: Vec<_> = fields.map(|field| field["path"].as_str().unwrap()).collect();
        format!("{} {} {fields:?}", change["action"].as_str().unwrap(), change["address"])
    };
    changes.map(text).collect()
}

fn version(package: &str) -> String {
    let package_json: Value = serde_json::from_str(PACKAGE).unwrap();
    package_json["dependencies"][package].as_str().unwrap().to_owned()
}

/// The folder that has CDK, and the app that it deploys.
fn cdk() -> PathBuf {
    let folder = installed("cdk", Requirements::Node(PACKAGE));
    fs::write(folder.join("app.js"), APP).unwrap();
    folder
}
