//! One stack's world: an emulator behind a proxy of its own, and the tool as a person runs it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use function::translate::model::Model;
use regex_lite::Regex;
use serde_json::{Value, json};

use super::emulator::Emulator;
use super::proxy::Proxy;
use crate::elf::{AARCH64, X86_64, program};

/// A stack of a name that nobody else uses.
#[derive(Debug)]
pub struct World {
    pub name: String,
    pub proxy: Proxy,
    /// The access key that the tool uses, and its secret.
    pub key: (String, String),
    folder: tempfile::TempDir,
}

/// How the tool ended.
#[derive(Debug)]
pub struct Ended {
    /// `None` if it was killed.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    pub fn new(emulator: Emulator) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("t{number}");
        let key = ("test".to_owned(), "test".to_owned());
        Self { name, proxy: Proxy::start(emulator), key, folder: tempfile::tempdir().unwrap() }
    }

    /// Makes Bedrock ready in the account: no emulator knows of that.
    pub fn entitle(&self) {
        let ids = Model::newest().map(|model| model.bedrock_id("us-east-1", None));
        let profiles: Vec<_> = ids.map(|id| json!({"inferenceProfileId": id})).collect();
        let profiles = json!({"inferenceProfileSummaries": profiles});
        self.proxy.answer("/inference-profiles", 200, profiles);
        self.proxy.answer("/use-case-for-model-access", 200, json!({"formData": "e30="}));
        let available = json!({
            "agreementAvailability": {"status": "AVAILABLE"}, "authorizationStatus": "AUTHORIZED",
            "entitlementAvailability": "AVAILABLE", "regionAvailability": "AVAILABLE",
        });
        self.proxy.answer("/foundation-model-availability/", 200, available);
    }

    /// A function binary that differs from others by its `code`.
    pub fn binary(&self, code: &str) -> PathBuf {
        let path = self.folder.path().join(code);
        std::fs::write(&path, program(AARCH64, code.as_bytes()).bytes()).unwrap();
        path
    }

    /// Such a binary's path, as it is typed.
    pub fn path(&self, code: &str) -> String {
        self.binary(code).display().to_string()
    }

    /// A binary for other processors.
    pub fn intel(&self) -> String {
        let path = self.folder.path().join("intel");
        std::fs::write(&path, program(X86_64, b"intel").bytes()).unwrap();
        path.display().to_string()
    }

    /// Where files of this world may be.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What was printed, without what differs from run to run.
    pub fn filtered(&self, text: &str) -> String {
        let name = format!(r"\b{}\b", self.name);
        let filters = [
            (self.folder.path().to_str().unwrap(), "FOLDER"),
            (r"ccp_[0-9a-f]{64}", "KEY"),
            (r"https?://[a-z0-9]+\.lambda-url\.[a-z0-9.:-]+[a-z0-9]", "URL"),
            (r"([A-Z][a-z]{2} \d+ [A-Z][a-z]{2} )?\d\d:\d\d (UTC|[+-]\d\d)(, in \d+ min)?", "WHEN"),
            (r" in \d{4}-\d\d([;\n])", " in MONTH$1"),
            (r#""month": "\d{4}-\d\d""#, r#""month": "MONTH""#),
            (r"\(\d+\.\d s\)", "(TIME)"),
            (&name, "NAME"),
            // Columns are as wide as what has just been taken out.
            (r"\b {2,}", "  "),
        ];
        filters.iter().fold(text.to_owned(), |text, (pattern, word)| {
            Regex::new(pattern).unwrap().replace_all(&text, *word).into_owned()
        })
    }

    /// The tool, with the emulator as its AWS and nothing else in its environment.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(crate::installed::program("provisioner"));
        command
            .args(words)
            .args(["--name", &self.name])
            .env_clear()
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.proxy.address))
            .env("AWS_ACCESS_KEY_ID", &self.key.0)
            .env("AWS_SECRET_ACCESS_KEY", &self.key.1)
            .env("AWS_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/dev/null")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
            .env("PROVISIONER_WAIT_UNIT_MS", "20")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub fn run(&self, words: &[&str]) -> Ended {
        self.finish(self.command(words))
    }

    /// Runs it to its end; the proxy knows whom to stop.
    pub fn finish(&self, mut command: Command) -> Ended {
        let child = self.proxy.launch(&mut command);
        child.wait_with_output().unwrap().into()
    }

    pub fn up(&self, more: &[&str]) -> Ended {
        let binary = self.binary("one");
        let mut words = vec!["up", "--yes", "--no-probe"];
        words.extend(more);
        if !words.contains(&"--binary") {
            words.extend(["--binary", binary.to_str().unwrap()]);
        }
        self.run(&words)
    }

    /// Runs it, and once it has said `words`, sends one signal after the other.
    pub fn interrupt(&self, mut command: Command, words: &str, signals: &[&str]) -> Ended {
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut stderr = String::new();
        while !stderr.contains(words) {
            assert!(said.read_line(&mut stderr).unwrap() > 0, "it never said {words}: {stderr}");
        }
        for signal in signals {
            let pid = child.id().to_string();
            Command::new("kill").args([&format!("-{signal}"), &pid]).status().unwrap();
            std::thread::sleep(Duration::from_millis(300));
        }
        said.read_to_string(&mut stderr).unwrap();
        Ended { stderr, ..Ended::from(child.wait_with_output().unwrap()) }
    }

    /// The words of an `up` without the probe.
    pub fn words_of_up(&self) -> Vec<String> {
        let binary = self.binary("one").display().to_string();
        let words = ["up", "--yes", "--no-probe", "--binary", &binary];
        words.map(str::to_owned).into()
    }

    /// Two at the same moment.
    pub fn both(&self, one: &[String], other: &[String]) -> [Ended; 2] {
        let both = [one, other].map(|words| {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            self.command(&words).spawn().unwrap()
        });
        both.map(|child| child.wait_with_output().unwrap().into())
    }

    /// The addresses that would change, and how.
    pub fn plan(&self) -> BTreeMap<String, String> {
        let binary = self.binary("one");
        let ended = self.run(&["plan", "--json", "--binary", binary.to_str().unwrap()]);
        ended.expect(0);
        let changes = ended.json()["changes"].as_array().unwrap().clone();
        let text = |change: &Value, key: &str| change[key].as_str().unwrap().to_owned();
        let pairs = changes.iter().map(|change| (text(change, "address"), text(change, "action")));
        pairs.filter(|(_, action)| action != "keep").collect()
    }

    /// The state of each resource.
    pub fn states(&self) -> BTreeMap<String, String> {
        let ended = self.run(&["status", "--json", "--no-probe"]);
        ended.expect(0);
        let resources = ended.json()["resources"].as_array().unwrap().clone();
        let text = |one: &Value, key: &str| one[key].as_str().unwrap().to_owned();
        resources.iter().map(|one| (text(one, "address"), text(one, "state"))).collect()
    }

    pub fn is_gone(&self) -> bool {
        self.states().values().all(|state| state == "absent")
    }

    /// The name of the table.
    pub fn table(&self) -> String {
        format!("{}-rate-limits", self.name)
    }

    /// For whoever changes things behind the tool's back.
    pub fn sdk(&self) -> SdkConfig {
        let credentials = Credentials::new("test", "test", None, None, "test");
        let http = aws_smithy_http_client::Builder::new().build_http();
        SdkConfig::builder()
            .http_client(http)
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://{}", self.proxy.address))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .build()
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        Self { code: output.status.code(), stdout, stderr }
    }
}

impl Ended {
    #[track_caller]
    pub fn expect(&self, code: i32) {
        let Self { code: ended, stdout, stderr } = self;
        assert_eq!(*ended, Some(code), "\n{stdout}\n{stderr}");
    }

    /// What it said, without its first lines: the error and what to do.
    pub fn error(&self) -> &str {
        self.stderr.find("error: ").map_or("", |start| &self.stderr[start..])
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap()
    }
}
