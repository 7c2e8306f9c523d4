//! Processes that are measured: started on a core of their own, their CPU time and memory read from
//! `/proc`, ended together with all that they have started.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::time::ClockId;
use nix::unistd::Pid;

/// The core that the measured process has to itself; clients and upstream share the other one.
const CORE: &str = "1";

/// A process and those that it has started.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    pub fn start(
        command: &[String],
        environment: &[(String, String)],
        log: &Path,
    ) -> io::Result<Self> {
        let log = fs::File::create(log)?;
        let child = Command::new("taskset")
            .args(["-c", CORE])
            .args(command)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()?;
        Ok(Self { child })
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// CPU time of all its threads so far, those included that have ended.
    pub fn cpu(&self) -> Duration {
        let spent = self.all().into_iter().filter_map(|id| {
            let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(id.try_into().ok()?)).ok()?;
            clock.now().ok().map(Duration::from)
        });
        spent.sum()
    }

    /// Resident memory, in MiB.
    pub fn memory(&self) -> f64 {
        self.kib("smaps_rollup", "Rss:")
    }

    /// The most resident memory since [`Self::forget_peak`], in MiB.
    pub fn peak(&self) -> f64 {
        self.kib("status", "VmHWM:")
    }

    pub fn forget_peak(&self) {
        for id in self.all() {
            let _not_ours = fs::write(format!("/proc/{id}/clear_refs"), "5");
        }
    }

    fn kib(&self, file: &str, name: &str) -> f64 {
        let kib = self.all().into_iter().map(|id| {
            let text = fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(0.0)
        });
        kib.sum::<f64>() / 1024.0
    }

    /// Puts it before everything else on the machine, or back; for short measurements.
    pub fn hurry(&self, on: bool) {
        for id in self.all() {
            hurry(id, on);
        }
    }

    fn all(&self) -> Vec<u32> {
        let mut children = BTreeMap::<u32, Vec<u32>>::new();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
            let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1));
            if let (Some(id), Some(Ok(parent))) = (id, parent.map(str::parse)) {
                children.entry(parent).or_default().push(id);
            }
        }
        let mut all = vec![self.child.id()];
        let mut next = 0;
        while let Some(id) = all.get(next) {
            all.extend(children.get(id).into_iter().flatten().copied().collect::<Vec<_>>());
            next += 1;
        }
        all
    }

    fn signal(&self, name: &str) {
        let group = format!("-{}", self.child.id());
        let _gone = Command::new("kill").args(["-s", name, "--", &group]).output();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal("TERM");
        // Under valgrind, on a busy machine, an orderly end takes its time.
        let end = Instant::now() + Duration::from_secs(60);
        while self.is_running() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
        if self.is_running() {
            self.signal("KILL");
            let _status = self.child.wait();
        }
    }
}

/// Puts all threads of a process into the lowest real-time class, or back; needs root.
pub fn hurry(id: u32, on: bool) {
    let class: &[&str] = if on { &["-r", "-p", "1"] } else { &["-o", "-p", "0"] };
    let id = id.to_string();
    let _refused = Command::new("chrt").arg("-a").args(class).arg(id).output();
}

/// What a program says of its version.
pub fn version(command: &[&str]) -> Option<String> {
    let output = Command::new(command[0]).args(&command[1..]).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let digits = |word: &&str| word.contains('.') && word.contains(|c: char| c.is_ascii_digit());
    let word = text.split([' ', '/', '\n', '-']).find(digits)?;
    Some(word.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned())
}
