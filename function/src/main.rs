//! The proxy as a program: says what it was told wrong, or runs until it is stopped.

use std::io::Write;
use std::process::ExitCode;

use function::serve::{lambda, local};
use function::settings::{self, Command, EXIT_USAGE, Platform, Settings, Wanted};
use function::{startup, telemetry, usage};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    startup::run("the proxy", run, || {})
}

fn run() -> ExitCode {
    match Command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => say(&settings::help()),
        Ok(Command::Version) => say(&settings::version()),
        Ok(Command::Usage(options, wanted)) => tell(Settings::from_env(options), &wanted),
        Ok(Command::Serve(options)) => {
            let settings = Settings::from_env(options);
            match Platform::from_env() {
                Some(platform) => on_lambda(platform, settings),
                None => on_this_machine(settings),
            }
        }
        Err(error) => complain(&error, EXIT_USAGE),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn on_this_machine(settings: Result<Settings, settings::Problems>) -> ExitCode {
    match settings {
        Ok(settings) => ended(local::run(settings).await),
        Err(problems) => complain(&sentence(&problems), EXIT_USAGE),
    }
}

#[tokio::main(flavor = "current_thread")]
async fn tell(settings: Result<Settings, settings::Problems>, wanted: &Wanted) -> ExitCode {
    let settings = match settings {
        Ok(settings) => settings,
        Err(problems) => return complain(&problems, EXIT_USAGE),
    };
    match usage::run(&settings, wanted).await {
        Ok(text) => say(&text),
        Err(error) => complain(&format!("{error:#}"), 1),
    }
}

/// Several threads only where the platform hands over several requests at a time.
fn on_lambda(platform: Platform, settings: Result<Settings, settings::Problems>) -> ExitCode {
    let mut threads = match platform.concurrency {
        ..=1 => Builder::new_current_thread(),
        2.. => Builder::new_multi_thread(),
    };
    match threads.enable_all().build() {
        Ok(threads) => threads.block_on(answer_events(platform, settings)),
        Err(error) => complain(&error, 1),
    }
}

async fn answer_events(
    platform: Platform,
    settings: Result<Settings, settings::Problems>,
) -> ExitCode {
    let runtime = lambda::Runtime::at(&platform.runtime_api);
    match settings {
        Ok(settings) => ended(lambda::run(settings, runtime, &platform).await),
        Err(problems) => {
            let sentence = sentence(&problems);
            runtime.fail_init(&sentence).await;
            complain(&sentence, EXIT_USAGE)
        }
    }
}

fn sentence(problems: &settings::Problems) -> String {
    let lines = problems.to_string().replace('\n', "\n  ");
    format!("the proxy cannot start with these settings:\n  {lines}")
}

fn ended(end: anyhow::Result<()>) -> ExitCode {
    telemetry::flush();
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("{error:#}"), 1),
    }
}

fn say(text: &str) -> ExitCode {
    ExitCode::from(u8::from(write!(std::io::stdout(), "{text}").is_err()))
}

fn complain(what: &dyn std::fmt::Display, code: u8) -> ExitCode {
    let _nobody_reads = writeln!(std::io::stderr(), "error: {what}");
    ExitCode::from(code)
}
