//! What is measured: the proxy in its ways of use, and its peers, each with the least configuration
//! that makes it pass a Messages request on.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::floor;
use crate::load::{self, Address};
use crate::process::{self, Process};
use crate::upstream::Upstream;

/// LiteLLM takes its time to start.
const START_WITHIN: Duration = Duration::from_secs(90);

/// One thing to measure. Without a command it is the upstream itself.
#[derive(Clone, Debug)]
pub struct Target {
    pub name: &'static str,
    pub version: String,
    pub command: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub address: Address,
    /// Small and quick enough for all measurements.
    pub is_native: bool,
    pub streams: bool,
}

/// Where everything is.
#[derive(Debug)]
pub struct Place {
    /// The proxy's binary.
    pub binary: PathBuf,
    /// Where `--install` has put the peers of other languages.
    pub peers: PathBuf,
    /// For configurations, logs and stores; emptied before.
    pub scratch: PathBuf,
    pub upstream: Upstream,
}

impl Target {
    /// Starts it and waits until it answers; `None` for the upstream itself.
    pub async fn start(&self, place: &Place) -> io::Result<Option<Process>> {
        if self.command.is_empty() {
            return Ok(None);
        }
        let log = place.scratch.join(format!("{}.log", self.name.replace(' ', "-")));
        let mut process = Process::start(&self.command, &self.environment, &log)?;
        let end = Instant::now() + START_WITHIN;
        while !load::answers(&self.address).await {
            if Instant::now() > end || !process.is_running() {
                let message = format!("{} does not answer; see {}", self.name, log.display());
                return Err(io::Error::other(message));
            }
            // The runtime's own sleep is a millisecond at least.
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(Some(process))
    }

    /// Whether what it needs is installed.
    pub fn is_installed(&self) -> bool {
        let Some(program) = self.command.first() else { return true };
        let script = self.command.get(1).filter(|_| program == "node");
        match script.unwrap_or(program) {
            path if path.contains('/') => Path::new(path).exists(),
            name => std::env::var_os("PATH").is_some_and(|path| {
                std::env::split_paths(&path).any(|folder| folder.join(name).exists())
            }),
        }
    }
}

/// All there is to measure.
pub fn all(place: &Place) -> io::Result<Vec<Target>> {
    let mut targets = vec![direct(place)];
    targets.extend(ours(place)?);
    targets.extend([floor(place, "hyper", false)?, floor(place, "hyper (TLS)", true)?]);
    for (name, buffered, tls) in
        [("nginx", false, false), ("nginx (buffered)", true, false), ("nginx (TLS)", false, true)]
    {
        targets.push(nginx(place, name, buffered, tls)?);
    }
    targets.extend([haproxy(place)?, litellm(place)?, portkey(place)?, router(place)?]);
    Ok(targets)
}

fn direct(place: &Place) -> Target {
    Target {
        name: "direct",
        version: String::new(),
        command: Vec::new(),
        environment: Vec::new(),
        address: address(place.upstream.plain),
        is_native: true,
        streams: true,
    }
}

/// The proxy as it is; with TLS to its upstream; with its line for each request; and one that does
/// not remember limits, so that each request is refused by Anthropic first.
fn ours(place: &Place) -> io::Result<Vec<Target>> {
    let (plain, tls) = (place.upstream.plain, place.upstream.tls);
    let trusted = place.scratch.join("trusted.pem");
    fs::write(&trusted, &place.upstream.certificate)?;
    let ways: [(&'static str, &[(&str, &str)]); 4] = [
        ("claude-proxy", &[]),
        ("claude-proxy (TLS)", &[("ANTHROPIC_UPSTREAM_URL", &format!("https://localhost:{tls}"))]),
        ("claude-proxy (logging)", &[("LOG_LEVEL", "info")]),
        (
            "claude-proxy (limited)",
            &[("RATE_LIMIT_TRACKING_ENABLED", "false"), ("RETRY_THRESHOLD_SECONDS", "0")],
        ),
    ];
    let mut targets = Vec::new();
    for (name, more) in ways {
        let port = free_port()?;
        let store = place.scratch.join(format!("{port}.redb"));
        let mut environment: Vec<(String, String)> = [
            ("ANTHROPIC_UPSTREAM_URL", format!("http://127.0.0.1:{plain}")),
            ("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", format!("http://127.0.0.1:{plain}")),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
            ("SSL_CERT_FILE", trusted.display().to_string()),
            ("RATE_LIMIT_STORE_PATH", store.display().to_string()),
            ("LISTEN_ADDRESS", format!("127.0.0.1:{port}")),
            ("LOG_LEVEL", "off".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        environment
            .extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        targets.push(Target {
            name,
            version: process::version(&[&place.binary.display().to_string(), "--version"])
                .unwrap_or_default(),
            command: vec![place.binary.display().to_string()],
            environment,
            address: address(port),
            is_native: true,
            streams: true,
        });
    }
    Ok(targets)
}

/// What the proxy is built of, and nothing else.
fn floor(place: &Place, name: &'static str, tls: bool) -> io::Result<Target> {
    let port = free_port()?;
    let url = match tls {
        true => format!("https://localhost:{}", place.upstream.tls),
        false => format!("http://127.0.0.1:{}", place.upstream.plain),
    };
    let program = std::env::current_exe()?.display().to_string();
    let trusted = place.scratch.join("trusted.pem").display().to_string();
    let command = [&program, floor::COMMAND, &port.to_string(), &url, &trusted];
    Ok(peer(name, Some("alone".to_owned()), &command, address(port)))
}

fn nginx(place: &Place, name: &'static str, buffered: bool, tls: bool) -> io::Result<Target> {
    let port = free_port()?;
    let folder = place.scratch.join(format!("nginx-{port}"));
    fs::create_dir_all(&folder)?;
    let folder = folder.display();
    let (scheme, upstream, trust) = if tls {
        let trusted = place.scratch.join("trusted.pem");
        let trust = format!(
            "proxy_ssl_trusted_certificate {}; proxy_ssl_verify on; proxy_ssl_name localhost; \
             proxy_ssl_session_reuse on; proxy_ssl_protocols TLSv1.3;",
            trusted.display()
        );
        ("https", place.upstream.tls, trust)
    } else {
        ("http", place.upstream.plain, String::new())
    };
    let buffering = if buffered { "on" } else { "off" };
    let text = format!(
        "worker_processes 1; daemon off; master_process off; pid {folder}/pid;
         error_log {folder}/error.log crit; events {{ worker_connections 4096; }}
         http {{
           access_log off; client_max_body_size 64m; keepalive_requests 100000000;
           client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
           fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
           upstream up {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 100000000; }}
           server {{
             listen 127.0.0.1:{port} backlog=4096;
             location / {{
               proxy_pass {scheme}://up; proxy_http_version 1.1; proxy_set_header Connection \"\";
               proxy_buffering off; proxy_request_buffering {buffering}; client_body_buffer_size 8m;
               {trust}
             }}
           }}
         }}
         "
    );
    let file = place.scratch.join(format!("nginx-{port}.conf"));
    fs::write(&file, text)?;
    let command = ["nginx", "-e", "stderr", "-c", &file.display().to_string()];
    let version = process::version(&["nginx", "-v"]);
    Ok(peer(name, version, &command, address(port)))
}

fn haproxy(place: &Place) -> io::Result<Target> {
    let port = free_port()?;
    let text = format!(
        "global\n  nbthread 1\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 120s\n  timeout server 120s\n\
         \x20 option http-keep-alive\n  option http-no-delay\n  http-reuse always\n\
         frontend in\n  bind 127.0.0.1:{port}\n  default_backend out\n\
         backend out\n  server up 127.0.0.1:{} pool-max-conn 512\n",
        place.upstream.plain
    );
    let file = place.scratch.join("haproxy.cfg");
    fs::write(&file, text)?;
    let command = ["haproxy", "-db", "-f", &file.display().to_string()];
    let version = process::version(&["haproxy", "-v"]);
    Ok(peer("HAProxy", version, &command, address(port)))
}

fn litellm(place: &Place) -> io::Result<Target> {
    let port = free_port()?;
    let text = format!(
        "model_list:\n  - model_name: claude-sonnet-5-5\n    litellm_params:\n      \
         model: anthropic/claude-sonnet-5-5\n      api_base: http://127.0.0.1:{}\n      \
         api_key: sk-ant-api03-test\nlitellm_settings:\n  telemetry: false\n  num_retries: 0\n\
         general_settings:\n  disable_spend_logs: true\n",
        place.upstream.plain
    );
    let file = place.scratch.join("litellm.yaml");
    fs::write(&file, text)?;
    let bin = place.peers.join("litellm/bin");
    let (program, file) = (bin.join("litellm").display().to_string(), file.display().to_string());
    let number = port.to_string();
    let command = [&program, "--config", &file, "--host", "127.0.0.1", "--port", &number];
    let version = shown(&bin.join("pip").display().to_string(), &["show", "litellm"]);
    let mut target = peer("LiteLLM", version, &command, address(port));
    target.is_native = false;
    target.environment = [
        ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
        ("LITELLM_LOG", "ERROR"),
        ("LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY", "true"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    Ok(target)
}

fn portkey(place: &Place) -> io::Result<Target> {
    let port = free_port()?;
    let package = place.peers.join("node_modules/@portkey-ai/gateway");
    let script = package.join("build/start-server.js").display().to_string();
    let command = ["node", &script, &format!("--port={port}"), "--headless"];
    let mut target = peer("Portkey", packaged(&package), &command, address(port));
    target.is_native = false;
    target.environment = vec![("NODE_ENV".to_owned(), "production".to_owned())];
    target.address.headers = vec![
        "x-portkey-provider: anthropic".to_owned(),
        format!("x-portkey-custom-host: http://127.0.0.1:{}/v1", place.upstream.plain),
    ];
    // 1.15.2 answers 500 to every stream.
    target.streams = false;
    Ok(target)
}

fn router(place: &Place) -> io::Result<Target> {
    let port = free_port()?;
    let home = place.scratch.join("router");
    let folder = home.join(".claude-code-router");
    fs::create_dir_all(&folder)?;
    let settings = serde_json::json!({
        "LOG": false, "HOST": "127.0.0.1", "PORT": port, "NON_INTERACTIVE_MODE": true,
        "Providers": [{
            "name": "anthropic", "api_key": "sk-ant-api03-test",
            "api_base_url": format!("http://127.0.0.1:{}/v1/messages", place.upstream.plain),
            "models": ["claude-sonnet-5-5"], "transformer": {"use": ["Anthropic"]},
        }],
        "Router": {"default": "anthropic,claude-sonnet-5-5"},
    });
    fs::write(folder.join("config.json"), settings.to_string())?;
    let package = place.peers.join("node_modules/@musistudio/claude-code-router");
    let script = package.join("dist/cli.js").display().to_string();
    let command = ["node", &script, "start"];
    let mut target = peer("claude-code-router", packaged(&package), &command, address(port));
    target.is_native = false;
    target.environment = vec![
        ("HOME".to_owned(), home.display().to_string()),
        ("NODE_ENV".to_owned(), "production".to_owned()),
    ];
    Ok(target)
}

fn peer(name: &'static str, version: Option<String>, command: &[&str], address: Address) -> Target {
    Target {
        name,
        version: version.unwrap_or_default(),
        command: command.iter().map(|&word| word.to_owned()).collect(),
        environment: Vec::new(),
        address,
        is_native: true,
        streams: true,
    }
}

/// The version in a package's own description.
fn packaged(folder: &Path) -> Option<String> {
    let text = fs::read(folder.join("package.json")).ok()?;
    let package: serde_json::Value = serde_json::from_slice(&text).ok()?;
    package["version"].as_str().map(str::to_owned)
}

fn shown(program: &str, arguments: &[&str]) -> Option<String> {
    let output = std::process::Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Version: ")).map(str::to_owned)
}

fn address(port: u16) -> Address {
    Address { port, path: "/v1/messages".to_owned(), headers: Vec::new() }
}

fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
