//! The program, with nothing in its environment but what a test puts there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

/// What stands in the environment as a secret, and must never be seen.
pub(crate) const SECRET: &str = "wJalrXUtnFEMIcanaryMDENGbPxRfiCYzEXAMPLEK";

#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

pub(crate) fn command(words: &[&str], url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provisioner"));
    command
        .args(words)
        .env_clear()
        .env("AWS_ENDPOINT_URL", url)
        .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_REGION", "eu-west-3")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("PROVISIONER_WAIT_UNIT_MS", "1")
        // Three quarters of a run would go into reading those of the machine.
        .env("SSL_CERT_FILE", certificates())
        .stdin(Stdio::null());
    command
}

/// A file with one certificate, of nobody.
pub(crate) fn certificates() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let nobody = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (new, file) =
            (tempfile::NamedTempFile::new_in(folder).unwrap(), folder.join("one.pem"));
        std::fs::write(&new, nobody.cert.pem()).unwrap();
        new.persist(&file).unwrap();
        file
    })
}

pub(crate) fn finish(command: &mut Command) -> Ended {
    let ended = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = ended.status.code().unwrap();
    Ended { code, stdout: text(ended.stdout), stderr: text(ended.stderr) }
}

impl Ended {
    /// What went wrong, from where it is said: behind the words of other programs.
    pub(crate) fn error(&self) -> String {
        let lines: Vec<&str> = self.stderr.lines().collect();
        let said = |line: &&str| line.starts_with("error: ");
        let Some(last) = lines.iter().rposition(said) else { return String::new() };
        let first = lines[..last].iter().rposition(|line| !said(line)).map_or(0, |at| at + 1);
        lines[first..].join("\n")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no object: {self:?}"))
    }

    /// Whether a person can read it: no debug text, no secret, nothing that steers a terminal, and
    /// an error of at most 8 lines of 80.
    #[track_caller]
    pub(crate) fn is_fit(&self, case: &str) {
        let Self { code, stdout, stderr } = self;
        for text in [stdout, stderr] {
            for debug in DEBUG {
                assert!(!text.contains(debug), "{case}: {debug} in {code}\n{stdout}\n{stderr}");
            }
            for secret in [SECRET, "canary"] {
                assert!(!text.contains(secret), "{case}: {secret} in\n{stdout}\n{stderr}");
            }
            let steers = text.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(steers, None, "{case}:\n{stdout}\n{stderr}");
        }
        assert!(!stderr.contains("panicked"), "{case}: {stderr}");
        let lines: usize =
            self.error().lines().map(|l| l.chars().count().div_ceil(80).max(1)).sum();
        assert!(lines <= 8, "{case}: {lines} lines\n{}", self.error());
    }
}

/// How Rust's debug form of a value looks.
const DEBUG: [&str; 14] = [
    "Some(",
    "None",
    "Error {",
    "Error(",
    "Failure {",
    "Failure(",
    "Response {",
    "kind: ",
    " source: ",
    "Os {",
    "Custom",
    "inner:",
    "{ name",
    "StatusCode",
];
