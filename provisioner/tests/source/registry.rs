//! A strict registry: `docker-registry` of Debian, which checks digests and parts, and wants a login.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command};

use provisioner::image::push::Registry;
use tempfile::TempDir;
use testing::aws::emulator::serve;

use crate::debian;

pub(crate) const PASSWORD: &str = "dummy-password";
/// The user `AWS` with that password, as bcrypt has it.
const LOGIN: &str = "AWS:$2b$04$4QDaeIUdmeZc3yLQNcvXYegzIECHD.etfZYBdb54qpt1dhmyAK5M6\n";

/// A registry that runs as long as the tests do; what it stores goes with its owner.
#[derive(Debug)]
pub(crate) struct Strict {
    pub(crate) address: SocketAddr,
    _server: Child,
    _folder: TempDir,
}

impl Strict {
    pub(crate) fn start() -> Self {
        Self::under(|_, command| command)
    }

    /// A registry whose command is changed before it starts; what it stores is in the folder.
    pub(crate) fn under(change: impl Fn(&std::path::Path, Command) -> Command) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (login, store) = (folder.path().join("login"), folder.path().join("store"));
        fs::write(&login, LOGIN).unwrap();
        fs::create_dir(&store).unwrap();
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}}}\n\
             auth: {{htpasswd: {{realm: test, path: {}}}}}\nhttp: {{addr: '{at}'}}\n",
            store.display(),
            login.display()
        );
        let file = folder.path().join("config.yml");
        fs::write(&file, config).unwrap();
        let mut command = debian::program("docker-registry");
        command.arg("serve").arg(file).env("OTEL_TRACES_EXPORTER", "none");
        let server = serve(&change(&store, command), at);
        Self { address: at, _server: server, _folder: folder }
    }

    pub(crate) fn login(&self) -> Registry {
        login(self.address, "claude-proxy")
    }
}

/// The way into a repository of a registry.
pub(crate) fn login(address: SocketAddr, repository: &str) -> Registry {
    Registry {
        endpoint: format!("http://{address}"),
        repository: repository.to_owned(),
        user: "AWS".to_owned(),
        password: PASSWORD.to_owned(),
    }
}
