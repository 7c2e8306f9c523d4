//! What each command does, and how it ends: read, plan, show, ask, apply.

mod config;
mod deployed;
mod doctor;
mod down;
mod drill;
mod ending;
mod limits;
mod logs;
mod manual;
mod plan;
mod refuse;
mod status;
mod up;
mod user;
mod watch;

use std::ffi::OsString;
use std::io::{self, BufRead as _, Write as _};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anstream::ColorChoice;
use clap::Parser as _;
use clap::error::ErrorKind;
use serde_json::{Map, Value, json};
use tokio::sync::watch::{Sender, channel};

use crate::build::{self, Workspace};
use crate::cli::{Cli, Command, Global, ImageArgs, StackArgs};
use crate::cloud::{Cloud, CloudError, Pace, Place, Reader, Stop};
use crate::image::{Architecture, Image};
use crate::names::Foreign;
use crate::plan::Style;
use crate::printer::Printer;
use crate::resource::LOOKS;
use crate::resources::image::Wanted;
use crate::settings::{Environment, Settings, Source};
use crate::stack::{Observed, Remembered, Stack};
use crate::view::Scope;
pub use ending::{Exit, Failure};
use refuse::{refuse_foreign, refuse_missing_image, refuse_settings};

/// What a command works with.
#[derive(Debug)]
struct Session {
    global: Global,
    printer: Printer,
    stop: Stop,
    /// The object that `--json` prints, as far as it is known.
    report: Map<String, Value>,
}

/// Runs what was typed.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    if words.iter().any(|word| word == "--no-color") {
        ColorChoice::Never.write_global();
    }
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, words.iter().any(|word| word == "--json")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the system gives a new process a runtime");
    let exit = runtime.block_on(run(cli));
    // A question that nobody answered is still being waited for.
    runtime.shutdown_background();
    exit.into()
}

fn usage(error: &clap::Error, json: bool) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if json && !asked {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let failure = Failure::new(Exit::Usage, message).hint("see provisioner --help");
        Printer::new(true, true).data(json!({"error": failure.json()}));
    } else {
        drop(error.print());
    }
    if asked { ExitCode::SUCCESS } else { Exit::Usage.into() }
}

async fn run(cli: Cli) -> Exit {
    let Cli { global, command } = cli;
    let printer = Printer::new(global.json, global.no_color).with_verbose(global.verbose);
    let calm = command.only_reads();
    let (say, heard) = channel(false);
    let mut session = Session { global, printer, stop: Stop::new(heard), report: Map::new() };
    let stop = session.stop.clone();
    let command = async {
        match command {
            Command::Up(args) => up::run(&mut session, args).await,
            Command::Plan(args) => plan::run(&mut session, args).await,
            Command::Down => down::run(&mut session).await,
            Command::Status(args) => status::run(&mut session, args).await,
            Command::Completions { shell } => manual::completions(&session, shell),
            Command::Man { command } => manual::page(&session, command.as_deref()),
            Command::Doctor(args) => doctor::run(&mut session, args).await,
            Command::Logs(args) => logs::run(&mut session, args).await,
            Command::User { command } => user::run(&mut session, command).await,
            Command::Limits { command } => limits::run(&mut session, command).await,
            Command::Config { command } => config::run(&mut session, command).await,
            Command::Drill(args) => drill::run(&mut session, args).await,
        }
    };
    let ended = tokio::select! {
        ended = command => ended,
        () = interrupts(&say, printer, calm) => {
            Err(Failure::new(Exit::Interrupted, "interrupted in the middle of a step")
                .hint("run it again: it finishes the job"))
        }
    };
    drop(stop);
    finish(&session, ended)
}

fn finish(session: &Session, ended: Result<Exit, Failure>) -> Exit {
    let Session { printer, report, .. } = session;
    let mut report = report.clone();
    let exit = match ended {
        Ok(exit) => exit,
        Err(failure) => {
            printer.error(&failure.message, &failure.causes, failure.hint.as_deref());
            report.insert("error".to_owned(), failure.json());
            failure.exit
        }
    };
    // A command that has printed line by line has nothing left to report.
    if printer.is_json() && !report.is_empty() {
        printer.data(Value::Object(report));
    }
    exit
}

/// Hears Ctrl-C and SIGTERM: the first asks to stop, the second does not wait for it. Returns after
/// the second.
async fn interrupts(say: &Sender<bool>, printer: Printer, calm: bool) {
    loop {
        interrupt().await;
        if say.send_replace(true) {
            return;
        }
        if calm {
            continue;
        }
        printer.progress("\nstopping after the step that is under way (Ctrl-C again: at once)");
    }
}

#[cfg(unix)]
async fn interrupt() {
    use tokio::signal::unix::{SignalKind, signal};
    let heard = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let [Ok(mut interrupt), Ok(mut terminate)] = heard else { return std::future::pending().await };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Session {
    /// Where the stack is, for texts.
    fn scope<'a>(&'a self, cloud: &'a Cloud) -> Scope<'a> {
        Scope { global: &self.global, account: &cloud.account }
    }

    async fn connect(&self) -> Result<Cloud, Failure> {
        Ok(self.try_connect().await??)
    }

    /// As `connect`, for whoever has more to say of a failure.
    async fn try_connect(&self) -> Result<Result<Cloud, CloudError>, Failure> {
        let Global { region, profile, wait_unit_ms, .. } = &self.global;
        let place = Place { region: region.clone(), profile: profile.clone() };
        let pace = Pace(Duration::from_millis(*wait_unit_ms));
        let connect = Cloud::connect(&place, pace, self.printer);
        self.unless_stopped(async { Ok(connect.await) }).await
    }

    /// Gives up at the first Ctrl-C: only for what changes nothing.
    fn unless_stopped<T>(
        &self,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> impl Future<Output = Result<T, Failure>> {
        let asking = Box::pin(asking);
        async move {
            tokio::select! {
                asked = asking => asked,
                () = self.stop.wait() => Err(Failure::new(Exit::Interrupted, "interrupted")),
            }
        }
    }

    /// Asks for a yes.
    async fn consent(&self, question: &str) -> Result<(), Failure> {
        if self.global.yes {
            return Ok(());
        }
        if !self.printer.can_ask() {
            self.printer.progress("");
            let message = "nobody is there to say yes: this is no terminal, so nothing was changed";
            return Err(Failure::new(Exit::Refused, message).hint("--yes says it beforehand"));
        }
        drop(write!(io::stderr(), "\n{question} [y/N] "));
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().lock().read_line(&mut line).map(|_| line)
        });
        let read = async { Ok(line.await.ok().and_then(Result::ok).unwrap_or_default()) };
        let line = self.unless_stopped(read).await?;
        if !line.ends_with('\n') {
            // The question stays to be read.
            drop(writeln!(io::stderr()));
        }
        match line.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Refused, "nothing was changed: the answer was not yes")),
        }
    }

    fn settings(&self, args: &StackArgs) -> Result<Settings, Failure> {
        let environment = Environment::parse(args.env.iter().map(String::as_str));
        let environment = environment
            .map_err(|problems| Failure::new(Exit::Usage, problems.join("\n")))
            .map_err(|failure| failure.hint("README.md lists the settings and what they take"))?;
        let default = Settings::defaults(self.global.name.clone());
        Ok(Settings {
            name: default.name,
            memory: args.memory.unwrap_or(default.memory),
            timeout: args.timeout.unwrap_or(default.timeout),
            retention: args.log_retention_days.unwrap_or(default.retention),
            concurrency: args.reserved_concurrency,
            boundary: args.permissions_boundary.clone(),
            architecture: args.architecture,
            dashboard: args.wants_dashboard(),
            environment,
            adopt: args.adopt,
        })
    }

    /// What is wanted, and what is there.
    async fn look(
        &self,
        cloud: &Cloud,
        settings: &Settings,
        source: Source,
    ) -> Result<(Stack, Observed), Failure> {
        let reader: Reader = cloud.reader();
        self.unless_stopped(async {
            let past = Remembered::read(settings, &cloud.account, &reader).await?;
            let architecture = past.architecture(settings);
            let wanted = wanted(source, architecture, self.printer).await?;
            let stack = Stack::new(settings, &cloud.account, &past, wanted)
                .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
            let there = self.observe(&stack, &reader).await?;
            Ok((stack, there))
        })
        .await
    }

    /// Reads all of it. Tags may come later than what carries them, so what shows none of ours is
    /// looked at again before it counts as somebody else's.
    async fn observe(&self, stack: &Stack, cloud: &Reader) -> Result<Observed, CloudError> {
        let mut there = stack.observe(cloud).await?;
        for _ in 1..LOOKS {
            let survey = stack.survey(&there);
            let bare = survey.iter().find(|found| found.foreign == Some(Foreign::Untagged));
            let Some(bare) = bare else { break };
            self.printer.waiting(&format!("{} shows no tags of ours: looking again", bare.address));
            cloud.rest(1.0).await;
            there = stack.observe(cloud).await?;
        }
        Ok(there)
    }
}

/// What a plan is for.
fn heading(scope: &Scope<'_>, style: Style) -> String {
    style.paint("1", format!("Plan for the {scope}"))
}

/// 256 bits of the operating system's random numbers.
fn random_bytes() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Exit::Failed, format!("the system gives no random numbers: {error}"))
    })?;
    Ok(bytes)
}

/// Reads what the image is to be made of.
async fn source(args: &ImageArgs, no_build: bool) -> Result<Source, Failure> {
    match args {
        _ if no_build => Ok(Source::NotCompared),
        ImageArgs { image: Some(digest), .. } => Ok(Source::Kept(digest.clone())),
        ImageArgs { binary: Some(path), .. } => build::read(path)
            .map(Source::Binary)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()).hint(error.hint())),
        ImageArgs { image: None, binary: None } => {
            Ok(Source::Built(Workspace::find(Path::new(".")).await?))
        }
    }
}

/// Makes the image, if one is to be made.
async fn wanted(
    source: Source,
    architecture: Architecture,
    printer: Printer,
) -> Result<Wanted, Failure> {
    let binary = match source {
        Source::Built(workspace) => workspace.build(architecture, printer).await?,
        Source::Binary(bytes) => bytes,
        Source::Kept(digest) => return Ok(Wanted::Kept(digest)),
        Source::NotCompared => return Ok(Wanted::NotCompared),
    };
    let image = Image::from_binary(&binary, architecture);
    image.map(Wanted::Ready).map_err(|error| {
        Failure::new(Exit::Preflight, error.to_string())
            .hint("build it for that processor, or name another with --architecture")
    })
}
