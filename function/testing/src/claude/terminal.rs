//! Claude Code in a terminal, as a person sees it, and somebody who types.

use std::{
    fmt::Write as _,
    fs::{self, File},
    io::{Read as _, Write as _},
    net::SocketAddr,
    process::Child,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::Duration,
};

use function::session::client;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use vt100::Parser;

use super::{Claude, Turn};
use crate::terminal;

/// High enough for all that a test lets Claude Code say.
const SIZE: (u16, u16) = (400, 120);

/// One turn takes a second or two, unless the machine works on much else.
const PATIENCE: Duration = Duration::from_secs(120);

/// A session that goes on until it is dropped.
pub struct Terminal {
    child: Child,
    master: File,
    seen: Arc<Mutex<Seen>>,
    _turn: Turn,
}

struct Seen {
    screen: Parser,
    raw: Vec<u8>,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.screen())
    }
}

impl Claude {
    /// Has the hooks and the status line that a proxy at this address tells a person to paste.
    pub fn told_by(self, address: SocketAddr) -> Self {
        let url = format!("http://{address}");
        let hooks = client::hooks(&url, false).into_iter();
        let hooks: Map<String, Value> =
            hooks.map(|(event, group)| (event.to_owned(), json!([group]))).collect();
        let settings = json!({"hooks": hooks, "statusLine": client::status_line(&url, false)});
        fs::write(self.settings(), settings.to_string()).unwrap();
        self
    }

    /// Begins a session; whatever it would ask first has been answered before.
    pub fn opens(&self) -> Terminal {
        let project = self.home.path().join("project");
        let key = |(name, value): &(String, String)| {
            (name == "ANTHROPIC_API_KEY")
                .then(|| value[value.len().saturating_sub(20)..].to_owned())
        };
        let known = json!({
            "hasCompletedOnboarding": true,
            "theme": "dark",
            "numStartups": 3,
            "customApiKeyResponses": {
                "approved": self.variables.iter().filter_map(key).collect::<Vec<_>>(),
                "rejected": [],
            },
            "projects": {
                project.display().to_string(): {
                    "hasTrustDialogAccepted": true, "hasCompletedProjectOnboarding": true,
                },
            },
        });
        let file = self.home.path().join(".claude/.claude.json");
        fs::write(file, known.to_string()).unwrap();
        let turn = Turn::take();
        let mut command = self.command();
        command.args(&self.arguments);
        let master = terminal::open(&mut command, SIZE);
        let child = command.spawn().expect("Claude Code was installed");
        drop(command);
        let (rows, columns) = SIZE;
        let screen = Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0);
        let seen = Arc::new(Mutex::new(Seen { screen, raw: Vec::new() }));
        let (sees, mut shown) = (Arc::clone(&seen), master.try_clone().unwrap());
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = shown.read(&mut piece) {
                let mut seen = sees.lock().unwrap_or_else(PoisonError::into_inner);
                seen.screen.process(&piece[..length]);
                seen.raw.extend_from_slice(&piece[..length]);
            }
        });
        let terminal = Terminal { child, master, seen, _turn: turn };
        terminal.waits_for("a prompt", |terminal| terminal.screen().contains('❯'));
        terminal
    }
}

impl Terminal {
    /// Asks, and waits until `answer` is to be seen and the turn is over, its hooks included.
    pub fn asks(&mut self, prompt: &str, answer: &str) {
        let over = |terminal: &Self| terminal.screen().matches(" · done ").count();
        let before = over(self);
        self.types(prompt);
        self.waits_for(answer, |terminal| {
            terminal.screen().contains(answer) && over(terminal) > before
        });
    }

    /// Types a prompt and sends it off.
    pub fn types(&mut self, prompt: &str) {
        self.master.write_all(prompt.as_bytes()).unwrap();
        // What comes at once is taken for one paste, its end included.
        self.waits_for(prompt, |terminal| terminal.screen().contains(prompt));
        self.master.write_all(b"\r").unwrap();
    }

    /// What is on the screen, without empty lines.
    pub fn screen(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let contents = seen.screen.screen().contents();
        let mut text = String::new();
        for line in contents.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            let _infallible = writeln!(text, "{line}");
        }
        text
    }

    /// Everything that was written to the terminal, what it obeys included.
    pub fn raw(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&seen.raw).into_owned()
    }

    /// Waits until the terminal is as it should be.
    #[track_caller]
    pub fn waits_for(&self, what: &str, fits: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !fits(self) {
            assert!(begun.elapsed() < PATIENCE, "{what} is not there:\n{self:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // What it has started is in its group, or ends with its terminal.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
