//! Does Prometheus read what the proxy shows? Debian's own scrapes the real binary between two fake
//! upstreams, and is asked what a person would ask it.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::{Child, Command},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use testing::{
    answer::limited,
    aws::emulator::serve,
    child::{self, clean},
    client::Call,
    installed::{Requirements, installed},
    world::World,
};
use tokio::time::{Instant, sleep};

/// How the newest Prometheus of Debian asks.
const ACCEPT: &str = "application/openmetrics-text;version=1.0.0,\
                      application/openmetrics-text;version=0.0.1;q=0.75,\
                      text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
const PATIENCE: Duration = Duration::from_secs(60);

fn program(name: &str) -> PathBuf {
    installed("prometheus", Requirements::Debian("prometheus")).join("usr/bin").join(name)
}

fn scraped() -> World {
    let plan = World::with("LISTEN_METRICS", "127.0.0.1:0");
    plan.with("BUDGET_TOTAL_MONTH_USD", "100").start()
}

/// Three answers of Anthropic, and two of Bedrock.
async fn work(world: &World) {
    for _ in 0..3 {
        assert_eq!(world.call(Call::message()).await.upstream(), "anthropic");
    }
    world.anthropic.next([limited(600)]);
    for _ in 0..2 {
        assert_eq!(world.call(Call::message()).await.upstream(), "bedrock");
    }
}

/// What is shown once these five are counted.
async fn text(world: &World, accept: &str) -> String {
    let begun = Instant::now();
    loop {
        let call = Call::new("GET", "/metrics").header("accept", accept);
        let reply = call.send(world.metrics()).await;
        let text = String::from_utf8(reply.body.to_vec()).unwrap();
        if text.contains("\nclaude_proxy_requests_total 5\n") {
            return text;
        }
        assert!(begun.elapsed() < PATIENCE, "{text}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a program with this text as its input, and returns all that it says.
fn said_of(text: &str, program: &str, arguments: &[&str]) -> (bool, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("text");
    fs::write(&file, text).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec <\"$0\"; exec \"$@\""]).arg(&file).arg(program).args(arguments);
    let ended = child::run(clean(&mut command), PATIENCE, "it was installed");
    (ended.status.success(), ended.stdout + &ended.stderr)
}

#[tokio::test]
async fn promtool_and_a_strict_parser_find_nothing_to_say() {
    let world = scraped();
    work(&world).await;
    let promtool = program("promtool").display().to_string();
    let check = |text: &str| said_of(text, &promtool, &["check", "metrics"]);
    let older = text(&world, "*/*").await;
    assert_eq!(check(&older), (true, String::new()));
    let (_, found) = check(&older.replace("# HELP claude_proxy_requests", "# claude"));
    assert!(found.contains("claude_proxy_requests_total"), "it does look: {found}");
    let python = Requirements::Python(include_str!("requirements.txt"));
    let python = installed("openmetrics", python).join("bin/python").display().to_string();
    let script = "import sys\nfrom prometheus_client.openmetrics.parser import *\n\
                  for f in text_string_to_metric_families(sys.stdin.read()): print(f.name, f.type)";
    let (read, found) = said_of(&text(&world, ACCEPT).await, &python, &["-c", script]);
    assert!(read, "{found}");
    for family in [
        "claude_proxy_requests counter",
        "claude_proxy_first_byte_seconds histogram",
        "claude_proxy_total_budget_used_ratio gauge",
    ] {
        assert!(found.lines().any(|line| line == family), "{family}: {found}");
    }
    assert_eq!(found.lines().count(), 15, "{found}");
}

/// A real server that scrapes one proxy every second.
struct Prometheus {
    address: SocketAddr,
    _server: Child,
    _folder: TempDir,
}

impl Prometheus {
    fn start(target: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: claude-proxy\n  \
             static_configs: [{{targets: ['{target}']}}]\n"
        );
        fs::write(&config, text).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(program("prometheus"));
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address={address}"));
        Self { address, _server: serve(&command, address), _folder: folder }
    }

    /// What is at a path of its API.
    async fn get(&self, path: &str) -> Value {
        let mut reply = Call::new("GET", path).send(self.address).await;
        // It listens before it is ready (Prometheus, *Management API*).
        for _ in 0..600 {
            if reply.status != 503 {
                break;
            }
            sleep(Duration::from_millis(100)).await;
            reply = Call::new("GET", path).send(self.address).await;
        }
        let answer = reply.json();
        assert_eq!((reply.status, &answer["status"]), (200, &"success".into()), "{path}: {answer}");
        answer["data"].clone()
    }

    /// What a query finds: each label's value, if there is one, and the figure.
    async fn query(&self, query: &str) -> Vec<(String, String)> {
        let plain = |byte: u8| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        };
        let query: String = query.bytes().map(plain).collect();
        let data = self.get(&format!("/api/v1/query?query={query}")).await;
        let found = data["result"].as_array().unwrap().iter().map(|series| {
            let labels = series["metric"].as_object().unwrap().values();
            let labels: Vec<_> = labels.map(|label| label.as_str().unwrap()).collect();
            (labels.join(" "), series["value"][1].as_str().unwrap().to_owned())
        });
        let mut found: Vec<_> = found.collect();
        found.sort();
        found
    }

    /// Asks until this is the answer.
    async fn finds(&self, query: &str, expected: &[(&str, &str)]) {
        let begun = Instant::now();
        loop {
            let found = self.query(query).await;
            let pairs = found.iter().map(|(label, figure)| (label.as_str(), figure.as_str()));
            if pairs.eq(expected.iter().copied()) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{query}: {found:?}, not {expected:?}");
            sleep(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test]
async fn a_real_prometheus_has_the_right_figures_of_both_legs() {
    let world = scraped();
    let prometheus = Prometheus::start(world.metrics());
    prometheus.finds("sum(claude_proxy_requests_total)", &[("", "0")]).await;
    work(&world).await;
    prometheus.finds("sum(claude_proxy_requests_total)", &[("", "5")]).await;
    let answers = "sum by (upstream) (claude_proxy_duration_seconds_count)";
    prometheus.finds(answers, &[("anthropic", "3"), ("bedrock", "2")]).await;
    let fallbacks = "sum by (reason) (claude_proxy_fallbacks_total) > 0";
    prometheus.finds(fallbacks, &[("cooldown", "1"), ("rate_limited", "1")]).await;
    // 12 tokens in and 7 out of Sonnet 4.5 cost 156 millionths.
    prometheus.finds("sum(claude_proxy_bedrock_cost_micro_usd_total)", &[("", "312")]).await;
    prometheus.finds("sum(claude_proxy_limits_remembered_total)", &[("", "1")]).await;
    let targets = prometheus.get("/api/v1/targets").await;
    let target = &targets["activeTargets"][0];
    assert_eq!((&target["health"], &target["lastError"]), (&"up".into(), &"".into()), "{target}");
    let known = prometheus.get("/api/v1/metadata").await;
    for (family, kind, unit) in [
        ("claude_proxy_requests", "counter", ""),
        ("claude_proxy_duration_seconds", "histogram", "seconds"),
        ("claude_proxy_total_budget_used_ratio", "gauge", "ratio"),
    ] {
        let known = &known[family][0];
        assert_eq!((&known["type"], &known["unit"]), (&kind.into(), &unit.into()), "{family}");
    }
    every_query_of_the_dashboard_finds_something(&prometheus).await;
}

async fn every_query_of_the_dashboard_finds_something(prometheus: &Prometheus) {
    let dashboard: Value = serde_json::from_str(include_str!("../../docs/grafana.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets: Vec<_> = panels.flat_map(|panel| panel["targets"].as_array().unwrap()).collect();
    assert!(targets.len() > 20, "{targets:?}");
    for target in targets {
        let query = target["expr"].as_str().unwrap();
        let whole = query.replace("$instance", ".*");
        let whole = whole.replace("$__rate_interval", "5m").replace("$__range", "5m");
        let found = prometheus.query(&whole).await;
        assert!(!found.is_empty(), "{query} finds nothing");
    }
}
