//! The proxy as a program: says what it was told wrong, or runs until it is stopped.

use std::io::Write;
use std::process::ExitCode;

use function::serve::local;
use function::settings::{self, Command, EXIT_USAGE, Settings};

fn main() -> ExitCode {
    match Command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Help) => say(&settings::help()),
        Ok(Command::Version) => say(&settings::version()),
        Ok(Command::Serve(options)) => match Settings::from_env(options) {
            Ok(settings) => run(settings),
            Err(problems) => {
                let lines = problems.to_string().replace('\n', "\n  ");
                complain(
                    &format!("the proxy cannot start with these settings:\n  {lines}"),
                    EXIT_USAGE,
                )
            }
        },
        Err(error) => complain(&error, EXIT_USAGE),
    }
}

#[tokio::main]
async fn run(settings: Settings) -> ExitCode {
    match local::run(settings).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("{error:#}"), 1),
    }
}

fn say(text: &str) -> ExitCode {
    ExitCode::from(u8::from(writeln!(std::io::stdout(), "{}", text.trim_end()).is_err()))
}

fn complain(what: &dyn std::fmt::Display, code: u8) -> ExitCode {
    let _nobody_reads = writeln!(std::io::stderr(), "error: {what}");
    ExitCode::from(code)
}
