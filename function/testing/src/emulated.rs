//! AWS's own Runtime Interface Emulator with the real binary inside, between two fake upstreams.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{
    anthropic::FakeAnthropic,
    bedrock::FakeBedrock,
    child,
    client::Call,
    deployed::environment,
    installed::{Requirements, installed},
    world::program as proxy,
};

/// Runs the emulator that stands behind `$1`, a folder that takes the place of `/var`.
const IN_VAR: &str = r#"set -e; mount --bind "$1" /var; shift; exec "$@""#;
/// Where the emulator takes events.
const INVOCATIONS: &str = "/2015-03-31/functions/function/invocations";

/// The emulator with the binary inside; it ends with its owner, and the binary with it.
#[derive(Debug)]
pub struct Rie {
    pub anthropic: FakeAnthropic,
    pub bedrock: FakeBedrock,
    address: SocketAddr,
    child: Child,
    _home: TempDir,
    /// What lies over `/var`, for as long as the emulator runs.
    var: Option<TempDir>,
}

impl Rie {
    pub fn start(settings: &[(&str, &str)]) -> Self {
        Self::run(Command::new(emulator()), settings)
    }

    /// As on managed instances, where one process gets so many requests at a time.
    pub fn managed(concurrency: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let task = folder.path().join("task");
        fs::create_dir(&task).unwrap();
        fs::copy(proxy(), task.join("bootstrap")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]);
        command.args([IN_VAR, "sh"]).arg(folder.path()).arg(emulator());
        let many = concurrency.to_string();
        let mut rie = Self::run(command, &[("AWS_LAMBDA_MAX_CONCURRENCY", &many)]);
        rie.var = Some(folder);
        rie
    }

    fn run(mut command: Command, settings: &[(&str, &str)]) -> Self {
        let (anthropic, bedrock) = (FakeAnthropic::start(), FakeBedrock::start());
        let home = tempfile::tempdir().unwrap();
        let (address, api) = (free(), free());
        let inside = environment(&anthropic, &bedrock, &home);
        let child = child::clean(&mut command)
            .envs(inside.get_envs().filter_map(|(name, value)| Some((name, value?))))
            .envs(settings.iter().copied())
            .args(["--log-level", "error"])
            .args(["--runtime-interface-emulator-address", &address.to_string()])
            .args(["--runtime-api-address", &api.to_string()])
            .arg(proxy())
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let rie = Self { anthropic, bedrock, address, child, _home: home, var: None };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(20), "the emulator does not listen");
            thread::sleep(Duration::from_millis(20));
        }
        rie
    }

    pub async fn post(&self, event: &Value) -> String {
        let call = Call::new("POST", INVOCATIONS).body(event.to_string());
        let reply = call.send(self.address).await;
        String::from_utf8_lossy(&reply.body).into_owned()
    }

    /// The prelude and the body of an answer.
    pub async fn invoke(&self, event: &Value) -> (Value, String) {
        let told = self.post(event).await;
        let (prelude, body) = told.split_once("\0\0\0\0\0\0\0\0").expect(&told);
        (serde_json::from_str(prelude).unwrap(), body.to_owned())
    }
}

impl Drop for Rie {
    fn drop(&mut self) {
        // The emulator ends the binary with itself when it is asked to.
        let id = self.child.id().to_string();
        drop(Command::new("kill").args(["-TERM", &id]).status());
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() && begun.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(10));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A port that is free now; the emulator must be told one.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// The program, out of the wheel that AWS puts it into.
///
/// # Panics
///
/// If it cannot be installed.
pub fn emulator() -> PathBuf {
    let name = match std::env::consts::ARCH {
        "aarch64" => "aws-lambda-rie-arm64",
        _ => "aws-lambda-rie-x86_64",
    };
    let libraries = installed("rie", Requirements::Python("aws-sam-cli==1.170.0")).join("lib");
    let mut versions = fs::read_dir(libraries).unwrap().map(|entry| entry.unwrap().path());
    let place = versions.next().unwrap().join("site-packages/samcli/local/rapid").join(name);
    // A wheel's files are not for running.
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).unwrap();
    place
}
