//! How does the whole program behave? Starts the real binary as a child between a fake client and
//! two fake upstreams, with nothing of this machine's environment, and ends it with its owner.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::Instant;

use super::{
    anthropic::FakeAnthropic,
    bedrock::FakeBedrock,
    client::{Call, Reply},
    installed,
    tls::Door,
};

/// The binary.
pub fn program() -> PathBuf {
    installed::program("function")
}

/// Both upstreams and the proxy between them.
#[derive(Debug)]
pub struct World {
    pub anthropic: FakeAnthropic,
    pub bedrock: FakeBedrock,
    proxy: Proxy,
    settings: BTreeMap<String, String>,
    home: TempDir,
    _doors: Vec<Door>,
}

/// A world to be started.
#[derive(Debug, Default)]
pub struct Plan {
    settings: BTreeMap<String, String>,
    absent: Vec<&'static str>,
    tls: Option<&'static str>,
    tls_bedrock: Option<&'static str>,
    files: Option<usize>,
    unheard: bool,
}

impl Plan {
    /// Sets a variable of the proxy's environment.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Leaves out a variable that is there by default.
    pub fn without(mut self, name: &'static str) -> Self {
        self.absent.push(name);
        self
    }

    /// Puts TLS in front of Anthropic, with `h2` or `http/1.1` behind it.
    pub fn tls(mut self, protocol: &'static str) -> Self {
        self.tls = Some(protocol);
        self
    }

    /// Puts TLS in front of Bedrock, with these versions of HTTP behind it.
    pub fn tls_bedrock(mut self, protocols: &'static str) -> Self {
        self.tls_bedrock = Some(protocols);
        self
    }

    /// Lets the proxy open no more files than this.
    pub fn files(mut self, files: usize) -> Self {
        self.files = Some(files);
        self
    }

    /// Reads nothing of the log but where the proxy listens, until [`World::listen`].
    pub fn unheard(mut self) -> Self {
        self.unheard = true;
        self
    }

    pub fn start(self) -> World {
        let (anthropic, bedrock) = (FakeAnthropic::start(), FakeBedrock::start());
        let home = tempfile::tempdir().expect("a directory can be made");
        let store = home.path().join("limits.redb").display().to_string();
        let mut settings: BTreeMap<String, String> = [
            ("ANTHROPIC_UPSTREAM_URL", anthropic.url().as_str()),
            ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", &bedrock.url()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("RATE_LIMIT_STORE_PATH", &store),
            ("LOG_LEVEL", "trace"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let door = self.tls.map(|protocol| Door::open(anthropic.address(), protocol));
        if let Some(door) = &door {
            let trusted = home.path().join("trusted.pem");
            std::fs::write(&trusted, &door.certificate).expect("the directory is ours");
            settings.extend([
                ("ANTHROPIC_UPSTREAM_URL".to_owned(), format!("https://localhost:{}", door.port)),
                ("SSL_CERT_FILE".to_owned(), trusted.display().to_string()),
            ]);
        }
        let other = self.tls_bedrock.map(|protocols| Door::open(bedrock.address(), protocols));
        if let Some(door) = &other {
            let trusted = home.path().join("trusted.pem");
            let known = std::fs::read_to_string(&trusted).unwrap_or_default();
            std::fs::write(&trusted, known + &door.certificate).expect("the directory is ours");
            let url = format!("https://localhost:{}", door.port);
            settings.extend([
                ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME".to_owned(), url),
                ("SSL_CERT_FILE".to_owned(), trusted.display().to_string()),
            ]);
        }
        settings.extend(self.settings);
        settings.retain(|name, _| !self.absent.contains(&name.as_str()));
        let unheard = self.unheard.then(mpsc::channel);
        let proxy = Proxy::start(&settings, home.path(), self.files, unheard);
        let doors = [door, other].into_iter().flatten().collect();
        World { anthropic, bedrock, proxy, settings, home, _doors: doors }
    }
}

impl World {
    pub fn start() -> Self {
        Plan::default().start()
    }

    pub fn with(name: &str, value: &str) -> Plan {
        Plan::default().with(name, value)
    }

    pub async fn call(&self, call: Call) -> Reply {
        call.send(self.address()).await
    }

    pub fn address(&self) -> SocketAddr {
        self.proxy.address
    }

    /// A variable of the proxy's environment.
    pub fn setting(&self, name: &str) -> &str {
        &self.settings[name]
    }

    /// Changes a variable; it counts from the next start on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.insert(name.to_owned(), value.to_owned());
    }

    /// Ends the proxy and starts it again with the same store.
    pub fn restart(&mut self) {
        self.proxy.end();
        self.proxy = Proxy::start(&self.settings, self.home.path(), None, None);
    }

    pub fn proxy(&mut self) -> &mut Proxy {
        &mut self.proxy
    }

    /// Everything the proxy has logged so far. Its lines are written by a thread of their own, a
    /// moment after what they tell of: nothing more has come for a while.
    pub fn log(&self) -> String {
        let mut log = self.proxy.log();
        loop {
            thread::sleep(Duration::from_millis(50));
            let before = std::mem::replace(&mut log, self.proxy.log());
            if log.len() == before.len() {
                return log;
            }
        }
    }

    /// The line of the last request that has ended; waits for the first.
    pub fn last_line(&self) -> String {
        let begun = Instant::now();
        loop {
            let log = self.log();
            if let Some(line) = log.lines().rfind(|line| line.contains("answered by")) {
                return line.to_owned();
            }
            assert!(begun.elapsed() < Duration::from_secs(5), "there is no line:\n{log}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the start says of the fallback.
    pub fn fallback(&self) -> String {
        self.said("fallback")
    }

    /// Where the start says that figures are.
    pub fn metrics(&self) -> SocketAddr {
        let said = self.said("metrics");
        let address = said.strip_prefix("http://").and_then(|rest| rest.split('/').next());
        address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("{said}"))
    }

    /// A line of what the start says.
    fn said(&self, name: &str) -> String {
        let begun = Instant::now();
        let head = format!("  {name} ");
        loop {
            let log = self.log();
            if let Some(said) = log.lines().find_map(|line| line.strip_prefix(&head)) {
                return said.trim().to_owned();
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "nothing is said:\n{log}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Begins to read the log of a proxy to which nobody has listened.
    pub fn listen(&self) {
        self.proxy.listen.iter().for_each(|listen| listen.send(()).unwrap_or_default());
    }

    /// Resident memory of the proxy in KiB, and the most it ever was.
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.proxy.child.id()))
            .expect("the child runs on Linux");
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        (number("VmRSS:"), number("VmHWM:"))
    }

    /// How many files and sockets the proxy has open, and how many threads it has.
    pub fn handles(&self) -> (usize, usize) {
        let count = |what: &str| {
            let folder = format!("/proc/{}/{what}", self.proxy.child.id());
            std::fs::read_dir(folder).expect("the child runs on Linux").count()
        };
        (count("fd"), count("task"))
    }

    /// Sends raw bytes and returns what comes back until the connection ends or `stay` is over.
    pub fn raw(&self, bytes: &[u8], stay: Duration) -> String {
        let mut socket = std::net::TcpStream::connect(self.address()).expect("the proxy listens");
        socket.set_read_timeout(Some(stay)).expect("a time-out can be set");
        socket.write_all(bytes).expect("the proxy reads");
        let mut answer = Vec::new();
        drop(socket.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).into_owned()
    }
}

/// The child and what it wrote.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    listen: Option<mpsc::Sender<()>>,
}

impl Proxy {
    fn start(
        settings: &BTreeMap<String, String>,
        home: &Path,
        files: Option<usize>,
        unheard: Option<(mpsc::Sender<()>, mpsc::Receiver<()>)>,
    ) -> Self {
        let (listen, mut wait) = unheard.unzip();
        let mut child = command(settings, home, files)
            .args(["--listen", "127.0.0.1:0"])
            .spawn()
            .expect("the binary was built");
        let log = Arc::new(Mutex::new(String::new()));
        let (sender, receiver) = mpsc::channel();
        let stderr = child.stderr.take().expect("stderr is a pipe");
        let written = Arc::clone(&log);
        let others: Vec<String> = settings
            .values()
            .filter_map(|value| value.strip_prefix("http://"))
            .map(str::to_owned)
            .collect();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if let Some(address) = address_in(&line, &others) {
                    sender.send(address).unwrap_or_default();
                    wait.take().map(|wait| wait.recv()).transpose().unwrap_or_default();
                }
                let mut log = written.lock().unwrap_or_else(PoisonError::into_inner);
                log.push_str(&line);
                log.push('\n');
            }
        });
        let Ok(address) = receiver.recv_timeout(Duration::from_secs(20)) else {
            let log = log.lock().unwrap_or_else(PoisonError::into_inner).clone();
            drop(child.kill());
            drop(child.wait());
            panic!("the proxy did not say where it listens:\n{log}");
        };
        Self { child, address, log, listen }
    }

    fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        assert!(sent.expect("kill exists").success(), "the child still runs");
    }

    /// Sends SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().expect("the child is ours");
        self.wait(Duration::from_secs(30));
    }

    /// Sees to it that the child has ended.
    pub fn end(&mut self) {
        if self.child.try_wait().expect("the child is ours").is_none() {
            self.terminate();
            self.wait(Duration::from_secs(30));
        }
    }

    /// Waits for the end of the child.
    pub fn wait(&mut self, at_most: Duration) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                return status;
            }
            assert!(begun.elapsed() < at_most, "the proxy still runs:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn command(settings: &BTreeMap<String, String>, home: &Path, files: Option<usize>) -> Command {
    let mut command = Command::new(program());
    if let Some(files) = files {
        command = Command::new("/bin/sh");
        command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\"")]).arg(program());
    }
    command
        .env_clear()
        .env("HOME", home)
        .envs(settings)
        .current_dir(home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Runs the binary until it ends by itself, and returns its status and what it wrote to stderr.
pub fn run(settings: &[(&str, &str)], arguments: &[&str]) -> (ExitStatus, String) {
    let home = tempfile::tempdir().expect("a directory can be made");
    let mut all: BTreeMap<String, String> = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("RATE_LIMIT_STORE", "memory"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let mut child =
        command(&all, home.path(), None).args(arguments).spawn().expect("the binary was built");
    let stderr = child.stderr.take().expect("stderr is a pipe");
    let reader = thread::spawn(move || std::io::read_to_string(stderr).unwrap_or_default());
    let (address, log) = (([127, 0, 0, 1], 0).into(), Arc::default());
    let mut proxy = Proxy { child, address, log, listen: None };
    let status = proxy.wait(Duration::from_secs(20));
    (status, reader.join().expect("the reader does not panic"))
}

/// The address in a line like `… http://127.0.0.1:8080 …`, unless it is one of `others`.
fn address_in(line: &str, others: &[String]) -> Option<SocketAddr> {
    line.match_indices("http://127.0.0.1:").find_map(|(at, _)| {
        let rest = &line[at + "http://".len()..];
        let end = rest.find(|byte: char| !matches!(byte, '0'..='9' | '.' | ':'));
        let text = rest[..end.unwrap_or(rest.len())].trim_end_matches(['.', ':']);
        (!others.iter().any(|other| other == text)).then(|| text.parse().ok()).flatten()
    })
}
