//! Does a linter that we have not written agree with the templates?

use std::fs;
use std::path::Path;
use std::process::Command;

use testing::installed::{Requirements, installed, program};

const REQUIREMENTS: &str = include_str!("templates.txt");

const KEYS: &str =
    "PROXY_KEYS=alice:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// What can be asked for, each with what it is like without.
const CHOICES: [&[&str]; 6] = [
    &["--dashboard"],
    &["--env", "BUDGET_TOTAL_MONTH_USD=10"],
    &["--permissions-boundary", "arn:aws:iam::123456789012:policy/edge", "--retain"],
    &["--reserved-concurrency", "7", "--memory", "10240", "--timeout", "1"],
    &["--architecture", "x86_64", "--log-retention-days", "3653"],
    &["--env", KEYS, "--env", "BEDROCK_REGIONS=us-east-1,eu-central-1"],
];

#[test]
fn the_linter_finds_nothing_in_any_template() {
    let folder = tempfile::tempdir().unwrap();
    for combination in 0_usize..1 << CHOICES.len() {
        let chosen = CHOICES.iter().enumerate().filter(|(bit, _)| combination >> bit & 1 == 1);
        let options: Vec<&str> = chosen.flat_map(|(_, words)| words.iter().copied()).collect();
        let (format, region) = match combination % 2 {
            0 => ("json", "us-east-1"),
            _ => ("yaml", "cn-north-1"),
        };
        write(&folder.path().join(format!("{combination}.{format}")), &options, format, region);
    }
    assert_eq!(findings(folder.path()), "");
}

#[test]
fn the_linter_of_templates_sees_faults() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("planted.json");
    write(&path, &[], "json", "us-east-1");
    let planted = fs::read_to_string(&path)
        .unwrap()
        .replace("RetentionInDays\": 30", "RetentionInDays\": 31");
    fs::write(path, planted).unwrap();
    assert!(findings(folder.path()).contains("31 is not one of"), "{}", findings(folder.path()));
}

fn write(path: &Path, options: &[&str], format: &str, region: &str) {
    let ended = Command::new(program("provisioner"))
        .args(["template", "--account", "123456789012", "--region", region, "--format", format])
        .args(options.iter().map(|word| match region.starts_with("cn-") {
            true => word.replace("arn:aws:", "arn:aws-cn:"),
            false => (*word).to_owned(),
        }))
        .env_clear()
        .output()
        .unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    fs::write(path, ended.stdout).unwrap();
}

/// What it says, informational remarks included.
fn findings(folder: &Path) -> String {
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    let ended = Command::new(
        installed("templates", Requirements::Python(REQUIREMENTS)).join("bin/cfn-lint"),
    )
    .args(["--include-checks", "I", "--template"])
    .args(paths)
    .output()
    .unwrap();
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    said(&ended.stdout) + &said(&ended.stderr)
}
