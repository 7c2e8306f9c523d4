//! What does a request cost through the proxy, and what through other proxies?
//!
//! Everything runs on this machine: an upstream and the clients on one core, the target on another,
//! in rounds in which all targets take turns. Printed are medians. Run: `scripts/bench`.

mod count;
mod floor;
mod goals;
mod load;
mod mark;
mod process;
mod report;
mod target;
mod upstream;
mod wire;

use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use self::load::Plan;
use self::process::Process;
use self::report::{Figures, Report, Start};
use self::target::{Place, Target};

const HELP: &str = "\
Prints what a request costs through the proxy, beside other proxies. Linux with two cores.

scripts/bench [OPTIONS]

  --rounds N     how often everything is measured (3)
  --only A,B     only these targets: direct, claude-proxy, hyper, nginx, HAProxy, LiteLLM, …
  --hurry        puts what is measured before all other work on the machine; needs root
  --install      installs LiteLLM, Portkey and claude-code-router below target/ (pip, npm) first
  --count        counts instructions instead, by valgrind
  --binary PATH  the proxy
  --folder PATH  for peers, configurations and logs (target/bench)

nginx and haproxy are taken from the PATH (Debian: nginx-light, haproxy). What is not installed is
left out.";

/// The versions that were measured last; newer ones may be configured differently.
const PACKAGES: [&str; 2] = ["@portkey-ai/gateway@1.15.2", "@musistudio/claude-code-router@2.0.0"];
const LITELLM: &str = "litellm[proxy]";

const ROUND_TIME: Duration = Duration::from_millis(700);
/// Starts that are measured; a slow target's only once.
const STARTS: usize = 7;

struct Options {
    rounds: usize,
    only: Option<Vec<String>>,
    hurry: bool,
    install: bool,
    count: bool,
    binary: PathBuf,
    folder: PathBuf,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let end = match words.split_first() {
        Some((first, words)) if first == floor::COMMAND => be_floor(words),
        _ => Options::read().and_then(|options| match options {
            None => {
                println!("{HELP}");
                Ok(())
            }
            Some(options) => run(&options),
        }),
    };
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn read() -> Result<Option<Self>, Box<dyn Error>> {
        use lexopt::prelude::{Long, ValueExt};
        let mut options = Self {
            rounds: 3,
            only: None,
            hurry: false,
            install: false,
            count: false,
            binary: "target/release/function".into(),
            folder: "target/bench".into(),
        };
        let mut words = lexopt::Parser::from_env();
        while let Some(word) = words.next()? {
            match word {
                Long("rounds") => options.rounds = words.value()?.parse()?,
                Long("only") => {
                    let names = words.value()?.string()?;
                    options.only = Some(names.split(',').map(str::to_owned).collect());
                }
                Long("hurry") => options.hurry = true,
                Long("install") => options.install = true,
                Long("count") => options.count = true,
                Long("binary") => options.binary = words.value()?.into(),
                Long("folder") => options.folder = words.value()?.into(),
                Long("help") => return Ok(None),
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(Some(options))
    }
}

/// Is a target itself.
fn be_floor(words: &[String]) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, floor::serve(words))
}

fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    std::fs::create_dir_all(&options.folder)?;
    let folder = options.folder.canonicalize()?;
    if options.install {
        install(&folder)?;
    }
    let scratch = folder.join("scratch");
    let _not_there = std::fs::remove_dir_all(&scratch);
    std::fs::create_dir_all(&scratch)?;
    let binary = options.binary.canonicalize()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = tokio::task::LocalSet::new();
    tasks.block_on(&runtime, async {
        let upstream = upstream::start().await?;
        let place = Place { binary, peers: folder, scratch, upstream };
        if options.count {
            let counted =
                |target: &Target| ["claude-proxy", "hyper", "nginx"].contains(&target.name);
            let targets: Vec<_> = target::all(&place)?.into_iter().filter(counted).collect();
            return Ok(count::print(&targets, &place).await?);
        }
        measure(options, &place).await
    })
}

/// Installs the peers of other languages by name.
fn install(folder: &std::path::Path) -> io::Result<()> {
    let venv = folder.join("litellm");
    let run = |command: &mut Command| {
        let status = command.current_dir(folder).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?} failed"))) }
    };
    if !venv.join("bin/litellm").exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", LITELLM]))?;
    }
    if !folder.join("node_modules").exists() {
        run(Command::new("npm").args(["init", "--yes"]))?;
        run(Command::new("npm").args(["install", "--no-audit", "--no-fund"]).args(PACKAGES))?;
    }
    Ok(())
}

/// The measurements of one round, in their order: which, how, and for whom.
fn scenarios() -> Vec<(&'static str, Plan, fn(&Target) -> bool)> {
    let requests = |connections, body, limited| Plan::Requests {
        connections,
        body,
        time: ROUND_TIME,
        limited,
    };
    let streams = |clients, rounds, events, gap, limited| Plan::Streams {
        clients,
        rounds,
        events,
        gap: Duration::from_millis(gap),
        limited,
    };
    let passes: fn(&Target) -> bool = |target| target.name != "claude-proxy (limited)";
    let native: fn(&Target) -> bool =
        |target| target.is_native && target.name != "claude-proxy (limited)";
    let streaming: fn(&Target) -> bool =
        |target| target.streams && target.name != "claude-proxy (limited)";
    let ours: fn(&Target) -> bool = |target| target.name == "claude-proxy";
    let limited: fn(&Target) -> bool = |target| target.name == "claude-proxy (limited)";
    vec![
        ("1", requests(1, 2 << 10, false), passes),
        ("16", requests(16, 2 << 10, false), passes),
        ("64", requests(64, 2 << 10, false), native),
        ("128k", requests(8, 128 << 10, false), native),
        ("1m", requests(4, 1 << 20, false), native),
        ("s1", streams(1, 8, 10, 10, false), streaming),
        ("s64", streams(64, 1, 60, 20, false), streaming),
        ("s256", streams(256, 1, 40, 40, false), streaming),
        ("clumps", streams(8, 2, 1000, 0, false), streaming),
        ("4", requests(4, 2 << 10, false), ours),
        ("4 limited", requests(4, 2 << 10, true), limited),
        ("s16", streams(16, 1, 50, 20, false), ours),
        ("s16 limited", streams(16, 1, 50, 20, true), limited),
    ]
}

async fn measure(options: &Options, place: &Place) -> Result<(), Box<dyn Error>> {
    let wanted = |target: &Target| {
        options.only.as_ref().is_none_or(|names| names.iter().any(|name| name == target.name))
    };
    let (targets, missing): (Vec<_>, Vec<_>) =
        target::all(place)?.into_iter().filter(wanted).partition(Target::is_installed);
    for target in missing {
        eprintln!("{} is not installed; left out", target.name);
    }
    let begun = Instant::now();
    let mut report = Report::default();
    let mut running = Vec::new();
    for target in &targets {
        for _ in 1..if target.is_native { STARTS } else { 1 } {
            drop(start(target, place, &mut report).await?);
        }
        running.push((target, start(target, place, &mut report).await?));
    }
    eprintln!("{} targets run after {:.0} s", running.len(), begun.elapsed().as_secs_f64());
    for round in 0..=options.rounds {
        for (index, (scenario, plan, is_for)) in scenarios().into_iter().enumerate() {
            let mut turn: Vec<_> = running.iter().filter(|(target, _)| is_for(target)).collect();
            // Whoever comes first has no advantage in the end.
            let turns = turn.len().max(1);
            turn.rotate_left((round * 3 + index) % turns);
            for (target, process) in turn {
                let figures = once(options, plan, target, process.as_ref()).await;
                // The first round warms up.
                if round > 0 {
                    report.rounds.entry((scenario, target.name)).or_default().push(figures);
                }
            }
        }
        eprintln!("round {round} done after {:.0} s", begun.elapsed().as_secs_f64());
    }
    let names: Vec<_> = targets.iter().map(|t| (t.name, t.version.clone())).collect();
    println!("Measured on {} with {} rounds, load {}.", date(), options.rounds, load_average());
    report.print(&names);
    goals::print(&report);
    Ok(())
}

async fn start(target: &Target, place: &Place, report: &mut Report) -> io::Result<Option<Process>> {
    let begun = Instant::now();
    let process = target.start(place).await?;
    let took = begun.elapsed().as_secs_f64() * 1e3;
    if let Some(process) = &process {
        let idle = process.memory();
        report.starts.entry(target.name).or_default().push(Start { took, idle });
    }
    Ok(process)
}

async fn once(
    options: &Options,
    plan: Plan,
    target: &Target,
    process: Option<&Process>,
) -> Figures {
    let hurry = |on| {
        if options.hurry {
            process::hurry(std::process::id(), on);
            process.inspect(|process| process.hurry(on));
        }
    };
    process.inspect(|process| process.forget_peak());
    hurry(true);
    let mut cpu = Vec::new();
    let seen = plan.run(&target.address, || cpu.extend(process.map(Process::cpu))).await;
    hurry(false);
    let spent = match cpu[..] {
        // A process that has ended takes its time along.
        [before, after] => after.saturating_sub(before).as_secs_f64() * 1e6,
        _ => 0.0,
    };
    if let Some(example) = &seen.example {
        eprintln!("{}: {} wrong, such as {example}", target.name, seen.wrong);
    }
    let count = if seen.events.is_empty() { seen.answers.len() } else { seen.events.len() };
    Figures {
        cpu: spent / count.max(1) as f64,
        answer: quantiles(seen.answers),
        event: quantiles(seen.events),
        peak: process.map(Process::peak).unwrap_or_default(),
        count,
        wrong: seen.wrong,
    }
}

/// The median and the 99th percentile of nanoseconds, in µs.
fn quantiles(mut nanos: Vec<u64>) -> (f64, f64) {
    nanos.sort_unstable();
    let at = |share: usize| nanos.get(nanos.len() * share / 100).map_or(0.0, |n| *n as f64 / 1e3);
    (at(50), at(99))
}

fn date() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%d"]).output();
    output.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned()).unwrap_or_default()
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or_default().to_owned()
}
