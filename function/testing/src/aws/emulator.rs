//! Where does an AWS without an account come from? Two emulators, started on the loopback and ended
//! with the test program.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::installed::{self, Requirements};

const REQUIREMENTS: &str = include_str!("../../lists/emulators.txt");

/// Which of the two. Their gaps hardly overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emulator {
    MiniStack,
    /// `MiniStack` that checks who asks, and what that may.
    Guarded,
    Moto,
}

impl Emulator {
    /// Where it listens; started if it is not running yet.
    pub fn address(self) -> SocketAddr {
        static MINISTACK: OnceLock<(SocketAddr, Child)> = OnceLock::new();
        static GUARDED: OnceLock<(SocketAddr, Child)> = OnceLock::new();
        static MOTO: OnceLock<(SocketAddr, Child)> = OnceLock::new();
        match self {
            Self::MiniStack => MINISTACK.get_or_init(|| ministack(false)).0,
            Self::Guarded => GUARDED.get_or_init(|| ministack(true)).0,
            Self::Moto => MOTO.get_or_init(moto).0,
        }
    }
}

fn moto() -> (SocketAddr, Child) {
    start(|bin, port| {
        let mut command = vec![bin.join("moto_server").display().to_string()];
        command.extend(["-H", "127.0.0.1", "-p", port].map(str::to_owned));
        let variables =
            [("MOTO_IAM_LOAD_MANAGED_POLICIES", "true"), ("MOTO_LAMBDA_STUB_ECR", "true")];
        (command, variables.map(|(key, value)| (key, value.to_owned())).into())
    })
}

fn ministack(guarded: bool) -> (SocketAddr, Child) {
    start(|bin, port| {
        let state = bin.parent().unwrap().join(format!("state-{port}")).display().to_string();
        let variables = [
            // It listens everywhere unless told otherwise.
            ("BIND_HOST", "127.0.0.1".to_owned()),
            ("MINISTACK_HOST", "127.0.0.1".to_owned()),
            ("GATEWAY_PORT", port.to_owned()),
            ("LOG_LEVEL", "ERROR".to_owned()),
            ("AUTH", guarded.to_string()),
            ("STATE_DIR", state.clone()),
            ("S3_DATA_DIR", state),
        ];
        (vec![bin.join("ministack").display().to_string()], variables.into())
    })
}

type Started = (Vec<String>, Vec<(&'static str, String)>);

fn start(command: impl Fn(&Path, &str) -> Started) -> (SocketAddr, Child) {
    let bin = installed().join("bin");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (words, variables) = command(&bin, &free.port().to_string());
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).envs(variables);
    (free, serve(&command, free))
}

/// Runs a server until this process ends, and returns when it listens.
pub fn serve(server: &Command, at: SocketAddr) -> Child {
    // Standard input ends with this process, however that ends; then so does the server.
    let script = "\"$@\" </dev/null & pid=$!; cat >/dev/null; kill $pid";
    let name = Path::new(server.get_program()).file_name().unwrap();
    let child = Command::new("sh")
        .args(["-c", script])
        .arg(name)
        .arg(server.get_program())
        .args(server.get_args())
        .envs(server.get_envs().filter_map(|(key, value)| Some((key, value?))))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    while TcpStream::connect(at).is_err() {
        assert!(start.elapsed() < Duration::from_secs(60), "{server:?} does not listen");
        std::thread::sleep(Duration::from_millis(50));
    }
    child
}

/// The virtual environment that has both.
pub fn installed() -> PathBuf {
    installed::installed("emulators", Requirements::Python(REQUIREMENTS))
}
