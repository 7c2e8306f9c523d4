//! What each command does, and how it ends: read, plan, show, ask, apply.

mod budget;
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
mod prices;
mod refuse;
mod room;
mod session;
mod status;
mod template;
mod up;
mod usage;
mod user;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anstream::ColorChoice;
use clap::Parser as _;
use clap::error::ErrorKind;
use serde_json::{Map, Value, json};
use tokio::sync::watch::{Sender, channel};

use crate::aws::Stop;
use crate::cli::{Cli, Command};
use crate::view::printer::{self, Printer};
pub use ending::{Cause, Exit, Failure};
use session::{Session, heading, image_source, random_bytes};

/// Runs what was typed.
pub fn main(words: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().collect();
    if words.iter().any(|word| word == "--no-color") {
        ColorChoice::Never.write_global();
    }
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error, words.iter().any(|word| word == "--json")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the system gives a new process a runtime");
    let exit = runtime.block_on(run(cli));
    // A question that nobody answered is still being waited for.
    runtime.shutdown_background();
    exit.into()
}

/// What `--json` prints where this program has a fault.
pub fn tell_of_a_fault() {
    let [what, hint] = function::startup::sentence("provisioner", None);
    let failure = Failure::new(Exit::Failed, what).hint(hint);
    Printer::new(true, true).data(json!({"error": failure.json()}));
}

fn wrong_usage(error: &clap::Error, json: bool) -> ExitCode {
    let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if json && !asked {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let failure = Failure::new(Exit::Usage, message).hint("see provisioner --help");
        Printer::new(true, true).data(json!({"error": failure.json()}));
    } else if let Err(why) = error.print() {
        printer::note_unprinted(&why);
    }
    if asked { told(Exit::Done, Printer::new(false, true), true) } else { Exit::Usage }.into()
}

async fn run(cli: Cli) -> Exit {
    let Cli { global, command } = cli;
    let printer = Printer::new(global.json, global.no_color).with_verbose(global.verbose);
    let calm = command.only_reads();
    let (say, heard) = channel(false);
    let (stop, asking) = (Stop::new(heard), Arc::new(AtomicBool::new(false)));
    let asked = Arc::clone(&asking);
    let mut session = Session { global, printer, stop, asking, report: Map::new() };
    let stop = session.stop.clone();
    let idle = || calm || asked.load(Relaxed) || !stop.has_begun();
    let command = async {
        match command {
            Command::Up(args) => Box::pin(up::run(&mut session, args)).await,
            Command::Plan(args) => plan::run(&mut session, args).await,
            Command::Template(args) => template::run(&mut session, args).await,
            Command::Down => down::run(&mut session).await,
            Command::Status(args) => status::run(&mut session, args).await,
            Command::Completions { shell } => manual::completions(&session, shell),
            Command::Man { command } => manual::page(&session, command.as_deref()),
            Command::Doctor(args) => doctor::run(&mut session, args).await,
            Command::Logs(args) => logs::run(&mut session, args).await,
            Command::User { command } => user::run(&mut session, command).await,
            Command::Limits { command } => limits::run(&mut session, command).await,
            Command::Config { command } => config::run(&mut session, command).await,
            Command::Usage(args) => usage::run(&mut session, args).await,
            Command::Budget { command } => budget::run(&mut session, command).await,
            Command::Prices(args) => prices::run(&mut session, args).await,
            Command::Drill(args) => drill::run(&mut session, args).await,
        }
    };
    let ended = tokio::select! {
        ended = command => ended,
        idle = interrupts(&say, printer, idle) => Err(match idle {
            true => Failure::new(Exit::Interrupted, "interrupted"),
            false => Failure::new(Exit::Interrupted, "interrupted in the middle of a step")
                .hint("run it again: it finishes the job"),
        }),
    };
    drop(stop);
    let exit = finish(&session, ended);
    told(exit, printer, calm)
}

/// What nobody could read is no success.
fn told(exit: Exit, printer: Printer, calm: bool) -> Exit {
    let Some(why) = Printer::unprinted().filter(|_| [Exit::Done, Exit::Pending].contains(&exit))
    else {
        return exit;
    };
    let failure = Failure::new(Exit::Failed, format!("standard output cannot be written: {why}"));
    let hint = match calm {
        true => "run it again where there is room for what it prints",
        false => "what it was to do is done; only what it says of that is lost",
    };
    failure.hint(hint).tell(printer);
    Exit::Failed
}

fn finish(session: &Session, ended: Result<Exit, Failure>) -> Exit {
    let Session { printer, report, .. } = session;
    let mut report = report.clone();
    let exit = match ended {
        Ok(exit) => exit,
        Err(failure) => {
            failure.tell(*printer);
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

/// Who hears the stop ends by itself within this time; what does not is left.
const GRACE: Duration = Duration::from_secs(2);

/// Hears Ctrl-C and SIGTERM: the first asks to stop, the second does not wait for it. Returns after
/// the second, or where nothing is under way that had to be ended first; says whether that is so.
async fn interrupts(say: &Sender<bool>, printer: Printer, idle: impl Fn() -> bool) -> bool {
    loop {
        interrupt().await;
        if say.send_replace(true) {
            return idle();
        }
        if idle() {
            tokio::select! {
                () = interrupt() => return idle(),
                () = tokio::time::sleep(GRACE) => {}
            }
        }
        if idle() {
            return true;
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
