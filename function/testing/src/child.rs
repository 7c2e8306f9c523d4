//! How does a program end? Runs one with its children in a process group of their own, and leaves
//! none of them behind.

use std::{
    io::Read,
    os::unix::process::CommandExt,
    process::{Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::time::Instant;

/// What a program left.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

/// Runs `command` to its end. Where it cannot be started, `needed` says what to do; a program that
/// still runs after `at_most` is killed and is a failure.
pub fn run(command: &mut Command, at_most: Duration, needed: &str) -> Ended {
    let begun = Instant::now();
    let mut child = command
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{needed} ({command:?}: {error})"));
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let status = loop {
        let status = child.try_wait().unwrap();
        if status.is_some() || begun.elapsed() > at_most {
            break status;
        }
        thread::sleep(Duration::from_millis(10));
    };
    let took = begun.elapsed();
    // What the program started may have outlived it, and holds the pipes open.
    let group = format!("-{}", child.id());
    drop(Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status());
    drop(child.wait());
    let (stdout, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
    let Some(status) = status else {
        panic!("{command:?} still ran after {at_most:?}\n{stdout}\n{stderr}");
    };
    Ended { status, stdout, stderr, took }
}

/// Takes the whole environment away but for the search path.
pub fn clean(command: &mut Command) -> &mut Command {
    #[expect(clippy::disallowed_methods, reason = "programs are found where the caller finds them")]
    let path = std::env::var_os("PATH").unwrap();
    command.env_clear().env("PATH", path)
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    let mut pipe = pipe.unwrap();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        drop(pipe.read_to_end(&mut bytes));
        String::from_utf8_lossy(&bytes).into_owned()
    })
}
